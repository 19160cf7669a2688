"""One question to upstream, outside of any session: for whoever checks a set-up before it serves.

Asked as the proxy would ask: with the same trust, credentials and prefix (:class:`nbproxy.origin.Origin`).
"""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, cast

import msgspec

from .errors import ConfigError, UpstreamFault
from .messages import Headers, Request
from .origin import Origin
from .trust import explain

LARGEST = 1 << 20


@dataclass(frozen=True, slots=True)
class Answer:
    """What was answered. ``fields`` has names in lower case."""

    status: int
    fields: Mapping[str, str]
    body: bytes

    def json(self) -> dict[str, Any]:
        """The body as an object, an empty one where it is none."""
        with contextlib.suppress(msgspec.DecodeError, ValueError):
            value = msgspec.json.decode(self.body)
            return value if isinstance(value, dict) else {}
        return {}


@dataclass(frozen=True, slots=True)
class Certificate:
    """What a server showed of itself.

    :ivar fingerprint: SHA-256 as Elasticsearch prints it.
    :ivar expires: None where it could not be read: it has expired, or is not valid yet.
    """

    fingerprint: str
    names: tuple[str, ...] = ()
    expires: datetime | None = None


def ask(place: Origin, target: str = "/", *, timeout: float = 5.0) -> Answer:
    """``GET target``.

    :raises UpstreamFault: there is no answer; the reason says what that means, and what to do.
    """
    connection = http.client.HTTPConnection(place.authority, timeout=timeout)
    try:
        connection.sock = opened(place, timeout)
        full = place.target(target)
        connection.putrequest("GET", full, skip_host=True, skip_accept_encoding=True)
        for name, value in _fields(place, full).items():
            connection.putheader(name, value)
        connection.endheaders()
        response = connection.getresponse()
        fields = {name.lower(): value for name, value in response.getheaders()}
        return Answer(response.status, fields, response.read(LARGEST))
    except http.client.HTTPException as error:
        what = type(error).__name__
        raise UpstreamFault(f"{place.url} does not speak HTTP/1.1 as expected ({what}: {str(error)[:80]})") from error
    except OSError as error:
        raise UpstreamFault(f"{place.url} does not answer: {explain(error)}") from error
    finally:
        connection.close()


def _fields(place: Origin, target: str) -> dict[str, str]:
    fields = {"Host": place.authority, "Accept": "application/json", **place.fields}
    if place.sign is None:
        return fields
    raw = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in fields.items()]
    return fields | dict(place.sign(Request(method="GET", target=target, headers=Headers(raw))))


def opened(place: Origin, timeout: float) -> socket.socket:
    """A connection, past its handshake where there is one.

    :raises UpstreamFault: there is none.
    """
    if place.tls is None:
        return _plain(place, timeout)
    for _ in range(2):  # a fingerprint of an authority makes it connect anew, by what it has learned
        sock = _secured(place, place.tls.context, timeout)
        try:
            if place.tls.accept(cast(Any, sock)):
                return sock
        except BaseException:
            sock.close()
            raise
        sock.close()
    raise UpstreamFault(f"{place.url}: its certificate is not accepted")


def _plain(place: Origin, timeout: float) -> socket.socket:
    try:
        if place.socket_path is None:
            return socket.create_connection((place.host, place.port), timeout)
        sock = socket.socket(socket.AF_UNIX)
        sock.settimeout(timeout)
        sock.connect(place.socket_path)
    except OSError as error:
        raise UpstreamFault(f"{place.url} cannot be reached: {explain(error)}") from error
    return sock


def _secured(place: Origin, context: ssl.SSLContext, timeout: float) -> ssl.SSLSocket:
    sock = _plain(place, timeout)
    try:
        return context.wrap_socket(sock, server_hostname=place.server_name)
    except OSError as error:
        sock.close()
        raise UpstreamFault(f"{place.url}: {explain(error)}") from error


def certificate(place: Origin, *, timeout: float = 5.0) -> Certificate:
    """The certificate that the server shows, accepted or not: for showing only.

    :raises UpstreamFault: none is to be had.
    """
    if place.tls is None:
        raise ConfigError(f"{place.url} is spoken to without TLS")
    with _secured(place, _trusting(None), timeout) as sock:
        shown = sock.getpeercert(binary_form=True) or b""
    bare = hashlib.sha256(shown).hexdigest().upper()
    fingerprint = ":".join(bare[at : at + 2] for at in range(0, len(bare), 2))
    try:  # told in words only where it verifies: by itself
        with _secured(place, _trusting(shown), timeout) as sock:
            return _read(fingerprint, cast(Any, sock.getpeercert() or {}))
    except (UpstreamFault, ssl.SSLError):
        return Certificate(fingerprint)


def _trusting(shown: bytes | None) -> ssl.SSLContext:
    """A context that trusts nothing but this certificate; None: whatever comes."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_REQUIRED if shown else ssl.CERT_NONE
    if shown:
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        context.load_verify_locations(cadata=shown)
    return context


def _read(fingerprint: str, told: Mapping[str, Any]) -> Certificate:
    seconds = ssl.cert_time_to_seconds(str(told["notAfter"])) if "notAfter" in told else None
    expires = None if seconds is None else datetime.fromtimestamp(seconds, UTC)
    return Certificate(fingerprint, tuple(name for _, name in told.get("subjectAltName", ())), expires)
