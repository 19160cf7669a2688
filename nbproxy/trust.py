"""Whether the server at the other end is upstream: TLS contexts, fingerprints, and what an error means. No I/O but
the reading of certificate files.

Law: nothing here fails open. A fingerprint that is given is compared on every connection, also with ``verify=False``.
It may be that of

- the server's own certificate: the handshake has proved that the server holds its key, so nothing else is checked;
- an authority's in the chain that the server sends, as Elasticsearch prints it when it sets up its security. That the
  certificate is *there* proves nothing, as anybody may send a copy of it along. So it becomes the only authority that
  is trusted, and the connection is made anew, now verified: chain, dates and (unless ``verify=False``) names.
"""

from __future__ import annotations

import hashlib
import ssl
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .errors import ConfigError, UpstreamFault

Cert = str | Path | Sequence[str | Path]
_ALPN = ["http/1.1"]
_HOW_TO_TRUST = (
    "give ca= (a file with its authority), fingerprint= (the SHA-256 of the certificate, or of the authority that "
    "upstream sends along), or verify=False (on a network that you trust)"
)
_NAMES = "use a name for upstream that its certificate has, give fingerprint= (its SHA-256), or verify=False"
_DATES = "renew it, give fingerprint= (its SHA-256), or verify=False"
_OURS = "it wants a client certificate that it knows: give cert=, a file or (certificate, key)"
_PLAIN = "no TLS is spoken there: is upstream http:// instead of https://?"

# By OpenSSL's X509_V_ERR_… (x509_vfy.h): whatever is not here means that nobody vouches for the certificate.
_VERIFY: dict[int, str] = {9: _DATES, 10: _DATES, 62: _NAMES, 64: _NAMES}
# By what stands in the name of OpenSSL's reason; the first that does.
_REASONS: tuple[tuple[str, str], ...] = (
    ("CERTIFICATE_VERIFY_FAILED", _HOW_TO_TRUST),
    ("ALERT_CERTIFICATE", _OURS),
    ("ALERT_BAD_CERTIFICATE", _OURS),
    ("ALERT_UNKNOWN_CA", _OURS),
    ("ALERT_ACCESS_DENIED", _OURS),
    ("ALERT_HANDSHAKE_FAILURE", f"where this is about certificates, {_OURS}"),
    ("PROTOCOL_VERSION", "it speaks TLS below 1.2 only"),
    ("UNSUPPORTED_PROTOCOL", "it speaks TLS below 1.2 only"),
    ("WRONG_VERSION_NUMBER", _PLAIN),
    ("HTTP_REQUEST", _PLAIN),
    ("RECORD_LAYER_FAILURE", _PLAIN),
    ("PACKET_LENGTH_TOO_LONG", _PLAIN),
)


class Trust:
    """How upstream's certificate is checked, and ours is shown.

    :ivar context: for the next connection.
    :param verify: False: neither chain nor names are checked; a fingerprint still is.
    :param ca: a file of authorities (PEM), trusted instead of the system's.
    :param cert: our certificate: a file that has the key too, (certificate, key), or (certificate, key, password).
    :param fingerprint: SHA-256 in hex, colons allowed, of upstream's certificate or of an authority that it sends.
    :raises ConfigError: a file cannot be used, or the fingerprint is none.
    """

    def __init__(
        self,
        *,
        verify: bool = True,
        ca: str | Path | None = None,
        cert: Cert | None = None,
        fingerprint: str | None = None,
    ) -> None:
        self._fingerprint = digest_of(fingerprint)
        try:
            self.context = _context(cert)
            if not verify or (self._fingerprint is not None and ca is None):
                self.context.check_hostname = False
                self.context.verify_mode = ssl.CERT_NONE  # ``accept`` decides
            elif ca is None:
                self.context.load_default_certs()
            else:
                self.context.load_verify_locations(cafile=str(ca))
            self._pinned = _context(cert)  # trusts nobody, until an authority has the fingerprint
            self._pinned.check_hostname = verify
        except ConfigError:
            raise
        except (OSError, TypeError, ValueError) as error:  # an SSLError is an OSError
            raise ConfigError(f"a TLS file cannot be used: {error}") from None

    def __repr__(self) -> str:
        return f"<Trust {self.context.verify_mode.name}{' fingerprint' if self._fingerprint else ''}>"

    def accept(self, connection: ssl.SSLObject) -> bool:
        """Whether a connection that is past its handshake may be used. False: connect anew, by the ``context`` of now.

        :raises UpstreamFault: no certificate has the fingerprint.
        """
        if self._fingerprint is None:
            return True
        # Its own context says what the handshake has checked: ours may have been replaced meanwhile.
        verified = connection.context.verify_mode == ssl.CERT_REQUIRED
        chain = _chain(connection, verified=verified)
        digests = [hashlib.sha256(certificate).digest() for certificate in chain]
        if self._fingerprint not in digests:
            raise UpstreamFault(_other_fingerprint(digests))
        place = digests.index(self._fingerprint)
        if place == 0 or verified:
            return True
        self._pinned.load_verify_locations(cadata=chain[place])
        self.context = self._pinned
        return False


def digest_of(fingerprint: str | None) -> bytes | None:
    """A fingerprint as bytes.

    >>> digest_of("00:" * 31 + "0a")[-2:]
    b'\\x00\\n'
    """
    if fingerprint is None:
        return None
    try:
        digest = bytes.fromhex(fingerprint.replace(":", ""))
    except (AttributeError, ValueError):
        digest = b""
    if len(digest) != 32:
        raise ConfigError("fingerprint must be the SHA-256 of a certificate: 64 hex digits, colons allowed")
    return digest


def _context(cert: Cert | None) -> ssl.SSLContext:
    """A client's context that verifies, and trusts nobody yet. TLS 1.2 and later; HTTP/1.1 only."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(_ALPN)
    # What the user names is trusted, be it a root, an intermediate authority, or a server's own certificate; and
    # authorities made without RFC 5280's key usage, as elasticsearch-certutil made them, are (no X509_STRICT).
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN | ssl.VERIFY_X509_TRUSTED_FIRST
    if cert is not None:
        file, key, password = _parts(cert)
        context.load_cert_chain(file, key, password)
    return context


def _parts(cert: Cert) -> tuple[str, str | None, Any]:
    parts = [str(part) for part in ((cert,) if isinstance(cert, str | Path) else cert)]
    if not 1 <= len(parts) <= 3:
        raise ConfigError("cert must be a file, (certificate, key), or (certificate, key, password)")
    return parts[0], parts[1] if len(parts) > 1 else None, parts[2] if len(parts) > 2 else _no_password


def _no_password() -> str:
    """Without it, OpenSSL would ask on the terminal, and a kernel would wait there for ever."""
    raise ConfigError("the client certificate's key is encrypted: give cert=(certificate, key, password)")


def _chain(connection: ssl.SSLObject, *, verified: bool) -> list[bytes]:
    """Certificates as DER, the server's own first: as sent, or as verified up to an authority that is trusted."""
    name = "get_verified_chain" if verified else "get_unverified_chain"
    public = getattr(connection, name, None)  # from Python 3.13 on
    if public is not None:
        return list(public())
    # Before, only the private object has it. Where it has not: the server's own certificate, so authorities' fail.
    private = getattr(getattr(connection, "_sslobj", None), name, None)
    if private is not None:
        return [ssl.PEM_cert_to_DER_cert(certificate.public_bytes()) for certificate in private()]
    own = connection.getpeercert(binary_form=True)
    return [own] if own else []


def _other_fingerprint(digests: list[bytes]) -> str:
    found = ", ".join(digest.hex() for digest in digests) or "none"
    return f"no certificate has the fingerprint given; those sent (upstream's own first) have: {found}"


def explain(error: BaseException) -> str:
    """What an error of a TLS connection means, and what to do about it.

    >>> explain(ConnectionResetError(104, "Connection reset by peer"))
    'Connection reset by peer'
    """
    if isinstance(error, ssl.SSLCertVerificationError):
        message = error.verify_message.rstrip(".")
        return f"its certificate is not accepted ({message}): {_VERIFY.get(error.verify_code, _HOW_TO_TRUST)}"
    if isinstance(error, ssl.SSLError):
        reason = error.reason or ""
        advice = next((f": {advice}" for part, advice in _REASONS if part in reason), "")
        return f"TLS failed ({(reason or str(error)).lower().replace('_', ' ')}){advice}"
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def ended_properly(transport: Any) -> bool:
    """Whether upstream has really ended its side, now that ``eof_received`` was called.

    Over TLS it has only with a closure alert; without one, anybody on the way may have cut the connection, so an
    answer that ends with the connection is not complete (RFC 9112 §9.8). asyncio calls ``eof_received`` either way
    (uvloop calls only ``connection_lost`` where the alert is missing): OpenSSL knows, reading tells.
    """
    connection = transport.get_extra_info("ssl_object")
    if connection is None:
        return True
    try:
        return bool(connection.read(1) == b"")
    except ssl.SSLZeroReturnError:
        return True
    except (ssl.SSLError, ValueError):
        return False
