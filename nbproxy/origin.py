"""Where upstream is, and how it is spoken to: its URL, credentials, TLS.

Law: credentials are in ``fields`` and in ``sign`` only. Neither a repr, nor an error, nor ``url`` shows them, also not
where they were written so badly that they end up in another part of the URL.
"""

from __future__ import annotations

import base64
import ipaddress
import re
import socket
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, quote, unquote, urlsplit

from .errors import ConfigError, UpstreamFault
from .messages import Request
from .trust import Cert, Trust, digest_of

Auth = tuple[str, str] | str | Callable[[Request], Mapping[str, str]] | None

_PORTS = {"http": 80, "https": 443}
_UNIX = "http+unix"
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110 §5.6.2
_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")  # §5.5, as Latin-1
_NAME = re.compile(r"(?a)(?:[\w-]{1,63}\.)*[\w-]{1,63}\.?")  # a host's (RFC 1035 §2.3.4), underscores too
_UNSAFE = re.compile(r"[\x00-\x20\x7f\\]")
# IDNA 2003 and 2008 make different names of these: whose server would it be?
_DEVIATING = frozenset("ßς\u200c\u200d")
# What decides where a message ends, or belongs to one connection, is the wire's.
_FRAMING = frozenset(["connection", "content-length", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade"])
_SHAPE = "upstream must look like http://host:port, https://host:port/path, or http+unix://%2Fpath%2Fto.sock"


@dataclass(frozen=True)
class Origin:
    """Where upstream is, and how it is spoken to.

    :ivar url: as it may be shown: without credentials.
    :ivar host: a name (in ASCII) or an address, which may have a zone (``fe80::1%eth0``).
    :ivar authority: what stands in ``Host``: a default port and a zone are left out (RFC 9110 §4.2.3, RFC 6874 §1).
    :ivar prefix: a path that is put before every target, without a trailing slash.
    :ivar tls: None: plain.
    :ivar fields: set on every request.
    :ivar sign: gives more fields for a whole request, as it goes upstream.
    :ivar socket_path: of a Unix socket; None: by ``host`` and ``port``.
    """

    url: str
    host: str
    port: int
    authority: str
    prefix: str = ""
    tls: Trust | None = None
    fields: Mapping[str, str] = field(default_factory=dict, repr=False)
    sign: Callable[[Request], Mapping[str, str]] | None = field(default=None, repr=False)
    socket_path: str | None = None

    @property
    def server_name(self) -> str:
        """What the server's certificate must be for; sent along as SNI where it is no address (RFC 6066 §3)."""
        return self.host.partition("%")[0].rstrip(".")

    def target(self, target: str) -> str:
        """A client's target as it goes upstream: behind the prefix, but for ``OPTIONS *`` (RFC 9112 §3.2.4).

        >>> Origin("http://es/a", "es", 80, "es", "/a").target("/_search")
        '/a/_search'
        """
        return target if target == "*" else self.prefix + target


def origin(
    url: str,
    *,
    verify: bool = True,
    ca: str | Path | None = None,
    cert: Cert | None = None,
    fingerprint: str | None = None,
    auth: Auth = None,
    headers: Mapping[str, str] | None = None,
) -> Origin:
    """An :class:`Origin` from what ``start`` takes.

    :param url: ``http://…`` or ``https://…`` (a path in it is put before every target; ``user:password@`` is used for
        Basic authentication unless ``auth`` is given), or ``http+unix://%2Frun%2Fsearch.sock/path``.
    :param verify, ca, cert, fingerprint: see :class:`nbproxy.trust.Trust`.
    :param auth: (user, password); an API key as Elasticsearch encodes it, or a whole ``Authorization`` value
        (``"Bearer …"``); or a callable that takes the final :class:`~nbproxy.messages.Request` and returns fields.
    :param headers: fields set on every request.
    :raises ConfigError: something cannot be used.
    """
    parts = _split(url)
    if auth is None and parts.username is not None:
        auth = (unquote(parts.username), unquote(parts.password or ""))
    if parts.scheme == "https":
        tls = Trust(verify=verify, ca=ca, cert=cert, fingerprint=fingerprint)
    else:
        tls = None
        _without_tls(digest_of(fingerprint), ca, cert)
    return Origin(
        url=f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path.rstrip('/')}",
        prefix=quote(parts.path.rstrip("/"), safe="/%:@!$&'()*+,;=~[]|"),
        tls=tls,
        fields=_checked({**_auth_field(auth), **(headers or {})}),
        sign=_guarded(auth) if callable(auth) else None,
        **_place(parts),
    )


# -- the URL


def _split(url: str) -> SplitResult:
    if not isinstance(url, str):
        raise ConfigError(f"{_SHAPE}, not {type(url).__name__}")
    full = url.strip() if "://" in url else f"http://{url.strip()}"
    try:
        parts = urlsplit(full)
        parts.port  # noqa: B018 - a property that raises
    except ValueError:  # its message may show the password
        raise ConfigError(f"{_SHAPE}, not {_shown(full)!r}") from None
    wrong = _UNSAFE.search(full) or parts.query or parts.fragment or not parts.hostname
    if wrong or parts.scheme not in (*_PORTS, _UNIX):
        raise ConfigError(f"{_SHAPE}, not {_shown(full)!r}")
    if "@" in parts.path:
        raise ConfigError("an @ behind upstream's host: write it as %40, and a / in a password as %2F")
    return parts


def _shown(url: str) -> str:
    """What can be told of a URL that is wrong: nothing of what may be credentials."""
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{re.split('[?#]', rest.rpartition('@')[2])[0]}"


def _place(parts: SplitResult) -> dict[str, Any]:
    """Where upstream is, as fields of an :class:`Origin`."""
    if parts.scheme == _UNIX:
        if not hasattr(socket, "AF_UNIX"):
            raise ConfigError("this system has no Unix sockets")
        path = unquote(parts.netloc.rpartition("@")[2])
        return {"host": "localhost", "port": 0, "authority": "localhost", "socket_path": path}
    host = _host(parts.hostname or "")
    port = _PORTS[parts.scheme] if parts.port is None else parts.port
    shown = f"[{host.partition('%')[0]}]" if ":" in host else host
    return {"host": host, "port": port, "authority": shown if port == _PORTS[parts.scheme] else f"{shown}:{port}"}


def _host(host: str) -> str:
    """As DNS, certificates and ``Host`` know it: an address, or a name in ASCII."""
    if ":" in host:
        host = host.replace("%25", "%", 1)  # RFC 6874 §2
        try:
            return str(ipaddress.IPv6Address(host))
        except ValueError:
            raise ConfigError(f"upstream's address cannot be used: {host!r}") from None
    if not host.isascii():
        if _DEVIATING & set(host):
            raise ConfigError(f"upstream's name {host!r} has more than one form in ASCII: write the one that you mean")
        try:
            host = host.encode("idna").decode()
        except UnicodeError:
            raise ConfigError(f"upstream's name cannot be used: {host!r}") from None
    if not _NAME.fullmatch(host):
        raise ConfigError(f"upstream's name cannot be used: {host!r}")
    return host


def _without_tls(fingerprint: bytes | None, ca: object, cert: object) -> None:
    """Who gives these must not believe that they are looked at."""
    for name, value in (("fingerprint", fingerprint), ("ca", ca), ("cert", cert)):
        if value is not None:
            raise ConfigError(f"{name}= is for an upstream that is https://")


# -- fields


def _auth_field(auth: Auth) -> dict[str, str]:
    if isinstance(auth, tuple) and len(auth) == 2 and all(isinstance(part, str) for part in auth):
        if ":" in auth[0]:
            raise ConfigError("auth: a user with a colon cannot be sent (RFC 7617 §2)")
        return {"Authorization": "Basic " + base64.b64encode(":".join(auth).encode()).decode()}
    if isinstance(auth, str) and auth.strip():
        auth = auth.strip()
        return {"Authorization": auth if " " in auth else f"ApiKey {auth}"}
    if auth is None or callable(auth):
        return {}
    raise ConfigError("auth must be (user, password), an API key, or a callable that returns header fields")


def _checked(fields: Mapping[str, str]) -> dict[str, str]:
    for name, value in fields.items():
        if not (isinstance(name, str) and _TOKEN.fullmatch(name)) or name.lower() in _FRAMING:
            raise ConfigError(f"headers: {name!r} cannot be set")
        if not (isinstance(value, str) and _VALUE.fullmatch(value)):
            raise ConfigError(f"headers: the value of {name!r} cannot be sent")
    return dict(fields)


def _guarded(sign: Callable[[Request], Mapping[str, str]]) -> Callable[[Request], Mapping[str, str]]:
    """``sign``, whose errors are faults that show none of its values, and whose fields can be sent.

    Signers give back all the fields that they were given, as botocore's does: what is unchanged is left out.
    """

    def signed(request: Request) -> Mapping[str, str]:
        try:
            given = {str(name): str(value) for name, value in dict(sign(request)).items()}
            return _checked({name: value for name, value in given.items() if request.headers.get(name) != value})
        except ConfigError as error:
            raise UpstreamFault(f"auth= gave what cannot be sent: {error}") from None
        except Exception as error:
            frame = traceback.extract_tb(error.__traceback__)[-1]
            where = f"{Path(frame.filename).name}:{frame.lineno}"
            raise UpstreamFault(f"auth= could not sign the request: {type(error).__name__} at {where}") from error

    return signed
