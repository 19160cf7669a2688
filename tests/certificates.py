"""Certificates for tests: authorities, what they issue, and servers' TLS, made anew in each run."""

from __future__ import annotations

import hashlib
import ipaddress
import ssl
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import NameOID

DAY = timedelta(days=1)
AUTHORITY_USAGE = x509.KeyUsage(
    digital_signature=False, content_commitment=False, key_encipherment=False, data_encipherment=False,
    key_agreement=False, key_cert_sign=True, crl_sign=True, encipher_only=None, decipher_only=None,
)  # fmt: skip


def _general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


@dataclass(frozen=True)
class Certificate:
    """A certificate, its key, and those above it up to its root."""

    made: x509.Certificate
    key: ec.EllipticCurvePrivateKey
    above: tuple[x509.Certificate, ...] = field(default=())

    @property
    def fingerprint(self) -> str:
        """As Elasticsearch prints it."""
        return hashlib.sha256(self.made.public_bytes(Encoding.DER)).hexdigest()

    @property
    def pem(self) -> bytes:
        return self.made.public_bytes(Encoding.PEM)

    @property
    def chain(self) -> bytes:
        """This one and those above it."""
        return self.pem + b"".join(one.public_bytes(Encoding.PEM) for one in self.above)

    def key_pem(self, password: str | None = None) -> bytes:
        locked = BestAvailableEncryption(password.encode()) if password else NoEncryption()
        return self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, locked)

    def file(self, folder: Path) -> Path:
        """A file of this certificate alone."""
        path = folder / f"{self.fingerprint[:16]}.pem"
        path.write_bytes(self.pem)
        return path

    def pair(self, folder: Path, password: str | None = None) -> tuple[str, str]:
        """Files of the chain and of the key."""
        chain, key = folder / f"{self.fingerprint[:16]}.chain.pem", folder / f"{self.fingerprint[:16]}.key"
        chain.write_bytes(self.chain)
        key.write_bytes(self.key_pem(password))
        return str(chain), str(key)

    def issue(self, *names: str, authority: bool = False, until: timedelta = DAY, usage: bool = True) -> Certificate:
        """A certificate signed by this one, for a server's or a client's names, or of another authority."""
        key = ec.generate_private_key(ec.SECP256R1())
        return Certificate(_signed(key, names, authority, until, usage, self), key, (self.made, *self.above))


def root(name: str = "root", *, usage: bool = True) -> Certificate:
    """An authority of its own. Without ``usage``: as elasticsearch-certutil made them, without RFC 5280's key usage."""
    key = ec.generate_private_key(ec.SECP256R1())
    return Certificate(_signed(key, (name,), True, DAY, usage, None), key)


def _signed(
    key: ec.EllipticCurvePrivateKey,
    names: tuple[str, ...],
    authority: bool,
    until: timedelta,
    usage: bool,
    issuer: Certificate | None,
) -> x509.Certificate:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0])])
    now, signer = datetime.now(UTC), issuer.key if issuer else key
    builder = (
        x509.CertificateBuilder(subject_name=subject, issuer_name=issuer.made.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - 3 * DAY)
        .not_valid_after(now + until)
        .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    if not authority:
        builder = builder.add_extension(x509.SubjectAlternativeName(map(_general, names)), critical=False)
    elif usage:
        builder = builder.add_extension(AUTHORITY_USAGE, critical=True)
    return builder.sign(signer, SHA256())


def server_context(folder: Path, certificate: Certificate, *more: Certificate) -> ssl.SSLContext:
    """A server's TLS that sends a certificate, those above it, and ``more``."""
    chain, key = certificate.pair(folder)
    with Path(chain).open("ab") as file:
        file.writelines(one.pem for one in more)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain, key)
    return context
