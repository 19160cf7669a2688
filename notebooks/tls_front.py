"""For notebook 05: an engine behind HTTPS and a password, as an Elasticsearch of today sets itself up.

An authority of its own signs the server's certificate, and is sent along with it; its fingerprint is what Elasticsearch
prints on its first start. Not for production: nginx and its like do this well.
"""

from __future__ import annotations

import base64
import hmac
import http.client
import ipaddress
import secrets
import ssl
import sys
import threading
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

_HOP = {"connection", "keep-alive", "transfer-encoding", "content-length", "date", "server"}
_WHO = b'{"error":{"type":"security_exception","reason":"missing or wrong authentication credentials"},"status":401}'


class Front:
    """HTTPS with basic authentication in front of an engine's plain HTTP, on a free port of this machine.

    :param engine: its address.
    :param folder: where the certificates are written.
    :param user: who may ask; the password is made up.
    :ivar url: the front's address.
    :ivar ca: the file of the authority that signed its certificate.
    :ivar fingerprint: that authority's, as Elasticsearch prints it.
    """

    def __init__(self, engine: str, folder: str | Path, user: str = "elastic") -> None:
        self.password = secrets.token_urlsafe(12)
        self.authorization = "Basic " + base64.b64encode(f"{user}:{self.password}".encode()).decode()
        self.ca, chain, key, self.fingerprint = _certificates(Path(folder))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(chain, key)
        place, authorization = urlsplit(engine), self.authorization

        class Handler(_Handler):
            upstream = (place.hostname or "127.0.0.1", place.port or 80)
            expected = authorization
            tls = context

        self._server = _Server(("127.0.0.1", 0), Handler)
        self.url = f"https://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        """Take no more connections."""
        self._server.shutdown()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that does not accept the certificate hangs up; that is its right, and no news."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    """One connection: TLS, then each request checked and passed on."""

    protocol_version = "HTTP/1.1"
    wbufsize = 65_536  # head and body in one piece: two would wait for the other side's acknowledgement
    upstream: tuple[str, int]
    expected: str
    tls: ssl.SSLContext

    def setup(self) -> None:
        # the handshake is this connection's thread's, so that a client that refuses us holds up nobody
        self.request = self.tls.wrap_socket(self.request, server_side=True)
        super().setup()

    def handle_one_request(self) -> None:
        try:
            super().handle_one_request()
        except OSError:  # the other side is gone
            self.close_connection = True

    def _pass_on(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if not hmac.compare_digest(self.headers.get("Authorization", ""), self.expected):
            self._answer(
                401, [("WWW-Authenticate", 'Basic realm="security"'), ("Content-Type", "application/json")], _WHO
            )
            return
        engine = http.client.HTTPConnection(*self.upstream)
        asked = {name: value for name, value in self.headers.items() if name.lower() not in {*_HOP, "authorization"}}
        engine.request(self.command, self.path, body or None, asked)
        answer = engine.getresponse()
        content = answer.read()
        self._answer(answer.status, answer.getheaders(), content)
        engine.close()

    do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = _pass_on  # noqa: N815 - http.server's names

    def _answer(self, status: int, fields: list[tuple[str, str]], body: bytes) -> None:
        self.send_response(status)
        for name, value in fields:
            if name.lower() not in _HOP:
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Nothing."""


def _certificates(folder: Path) -> tuple[str, str, str, str]:
    """Files of the authority, of the server's chain and of its key; the authority's fingerprint."""
    authority_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    authority = _signed("demo authority", authority_key, None, authority_key)
    server = _signed("127.0.0.1", key, authority, authority_key)
    ca, chain, key_file = folder / "http_ca.crt", folder / "chain.pem", folder / "server.key"
    ca.write_bytes(authority.public_bytes(Encoding.PEM))
    chain.write_bytes(server.public_bytes(Encoding.PEM) + authority.public_bytes(Encoding.PEM))
    key_file.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return str(ca), str(chain), str(key_file), authority.fingerprint(SHA256()).hex(":").upper()


def _signed(
    name: str,
    key: ec.EllipticCurvePrivateKey,
    issuer: x509.Certificate | None,
    issuer_key: ec.EllipticCurvePrivateKey,
) -> x509.Certificate:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder(subject_name=subject, issuer_name=issuer.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    if issuer is not None:
        names = [x509.IPAddress(ipaddress.ip_address(name)), x509.DNSName("localhost")]
        return builder.add_extension(x509.SubjectAlternativeName(names), critical=False).sign(issuer_key, SHA256())
    usage = x509.KeyUsage(
        digital_signature=False,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=True,
        crl_sign=True,
        encipher_only=False,
        decipher_only=False,
    )
    return builder.add_extension(usage, critical=True).sign(issuer_key, SHA256())
