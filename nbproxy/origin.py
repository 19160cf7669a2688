"""Where upstream is, and how it is spoken to: its URL, credentials, TLS."""

from __future__ import annotations

import base64
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import SplitResult, unquote, urlsplit

from .errors import ConfigError
from .messages import Request

Auth = tuple[str, str] | str | Callable[[Request], Mapping[str, str]] | None


@dataclass(frozen=True)
class Origin:
    """Where upstream is, and how it is spoken to.

    :ivar authority: what stands in ``Host``.
    :ivar prefix: a path that is put before every target, without a trailing slash.
    """

    url: str
    host: str
    port: int
    authority: str
    prefix: str = ""
    tls: ssl.SSLContext | None = None
    fingerprint: bytes | None = None
    fields: Mapping[str, str] = field(default_factory=dict)
    sign: Callable[[Request], Mapping[str, str]] | None = None


def origin(
    url: str,
    *,
    verify: bool = True,
    ca: str | Path | None = None,
    cert: str | tuple[str, str] | None = None,
    fingerprint: str | None = None,
    auth: Auth = None,
    headers: Mapping[str, str] | None = None,
) -> Origin:
    """An :class:`Origin` from what ``start`` takes.

    :param fingerprint: SHA-256 of the server's certificate in hex, colons allowed, as Elasticsearch prints it.
    :raises ConfigError: the URL or a TLS file cannot be used.
    """
    parts = urlsplit(url if "://" in url else f"http://{url}")
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise ConfigError(f"upstream must look like http://host:port or https://host:port/path, not {_masked(parts)!r}")
    try:
        port = parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError as error:
        raise ConfigError(f"upstream's port cannot be used: {error}") from None
    if auth is None and parts.username is not None:
        auth = (unquote(parts.username), unquote(parts.password or ""))
    return Origin(
        url=f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path.rstrip('/')}",
        host=parts.hostname,
        port=port,
        authority=parts.netloc.rpartition("@")[2],
        prefix=parts.path.rstrip("/"),
        tls=_context(verify, ca, cert, fingerprint) if parts.scheme == "https" else None,
        fingerprint=_digest(fingerprint),
        fields={**_auth_field(auth), **_checked_fields(headers or {})},
        sign=auth if callable(auth) else None,
    )


def _masked(parts: SplitResult) -> str:
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def _auth_field(auth: Auth) -> dict[str, str]:
    if isinstance(auth, tuple):
        return {"Authorization": "Basic " + base64.b64encode(":".join(auth).encode()).decode()}
    if isinstance(auth, str):
        return {"Authorization": auth if " " in auth else f"ApiKey {auth}"}
    if auth is None or callable(auth):
        return {}
    raise ConfigError("auth must be (user, password), an API key, or a callable that returns header fields")


def _checked_fields(fields: Mapping[str, str]) -> dict[str, str]:
    for name, value in fields.items():
        if not name or any(c in f"{name}{value}" for c in "\r\n\0"):
            raise ConfigError(f"headers: {name!r} cannot be sent")
    return dict(fields)


def _digest(fingerprint: str | None) -> bytes | None:
    if fingerprint is None:
        return None
    try:
        digest = bytes.fromhex(fingerprint.replace(":", ""))
    except ValueError:
        digest = b""
    if len(digest) != 32:
        raise ConfigError("fingerprint must be the SHA-256 of upstream's certificate: 64 hex digits")
    return digest


def _context(
    verify: bool, ca: str | Path | None, cert: str | tuple[str, str] | None, fingerprint: str | None
) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=str(ca) if ca else None)
        if cert is not None:
            context.load_cert_chain(*((cert,) if isinstance(cert, str) else cert))
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(f"a TLS file cannot be used: {error}") from None
    if not verify or (fingerprint is not None and ca is None):
        context.check_hostname = False  # with a fingerprint the certificate itself is compared
        context.verify_mode = ssl.CERT_NONE
    return context
