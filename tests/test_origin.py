"""Where upstream is, and how it is spoken to: URLs, credentials, TLS."""

from __future__ import annotations

import hashlib
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import nbproxy
from nbproxy.errors import ConfigError
from nbproxy.messages import Request
from nbproxy.origin import origin

from .upstreams import Client, Conversation, Scripted

Start = Callable[..., nbproxy.Session]
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@pytest.mark.parametrize(
    ("url", "host", "port", "authority", "prefix"),
    [
        ("http://localhost:9200", "localhost", 9200, "localhost:9200", ""),
        ("localhost:9200", "localhost", 9200, "localhost:9200", ""),
        ("http://es/", "es", 80, "es", ""),
        ("https://es/a/b/", "es", 443, "es", "/a/b"),
        ("http://[::1]:9200", "::1", 9200, "[::1]:9200", ""),
    ],
)
def test_urls(url: str, host: str, port: int, authority: str, prefix: str) -> None:
    place = origin(url)
    assert (place.host, place.port, place.authority, place.prefix) == (host, port, authority, prefix)


def test_credentials_of_a_url_are_used_and_not_shown() -> None:
    place = origin("http://user:p%40ss@es:9200")
    assert place.fields == {"Authorization": "Basic dXNlcjpwQHNz"}
    assert "ss" not in place.url
    with pytest.raises(ConfigError) as caught:
        origin("ftp://user:secret@es")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("auth", "field"),
    [(("u", "p"), "Basic dTpw"), ("abc==", "ApiKey abc=="), ("Bearer xyz", "Bearer xyz"), (None, None)],
)
def test_auth(auth: object, field: str | None) -> None:
    assert origin("http://es", auth=auth).fields.get("Authorization") == field  # type: ignore[arg-type]


def test_a_callable_signs_the_final_request(start: Start, upstream: Scripted) -> None:
    seen = upstream.answers(OK)

    def sign(request: Request) -> dict[str, str]:
        return {"X-Signature": f"{request.method} {request.target} {hashlib.sha256(request.body).hexdigest()[:8]}"}

    session = start(upstream.url, auth=sign, model=lambda query, texts: [0.0] * len(texts))
    body = b'{"query":{"match":{"a":"b"}}}'
    with Client(session.url) as client:
        client.ask(b"POST", b"/i/_search", body)
        client.ask(b"PUT", b"/i/_doc/1", b"{}")

    sent = [(head, content) for head, content in seen if b'"size":50' in content]
    for head, content in [*sent[:1], seen[-1]]:
        digest = hashlib.sha256(content).hexdigest()[:8].encode()
        assert b"X-Signature: %b %b" % (head.split()[0], head.split()[1]) + b" " + digest in head
    assert sent


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A self-signed certificate for localhost, and its key."""
    folder = tmp_path_factory.mktemp("tls")
    cert, key = folder / "cert.pem", folder / "key.pem"
    names = "subjectAltName=DNS:localhost,IP:127.0.0.1"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    subprocess.run([*command, "-addext", names, "-keyout", key, "-out", cert], check=True, capture_output=True)
    return cert, key


@pytest.fixture
def tls(certificate: tuple[Path, Path], upstream: Scripted) -> Iterator[Scripted]:
    """The scripted upstream behind TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)

    def handler(talk: Conversation) -> None:
        talk.socket = context.wrap_socket(talk.socket, server_side=True)
        while True:
            talk.request()
            talk.send(OK)

    upstream.handler = handler
    upstream.url = upstream.url.replace("http:", "https:")
    yield upstream
    assert threading.active_count()


def status(session: nbproxy.Session) -> int:
    with Client(session.url) as client:
        return client.ask(b"GET").status


def test_tls_is_verified_unless_told_otherwise(start: Start, tls: Scripted, certificate: tuple[Path, Path]) -> None:
    digest = hashlib.sha256(ssl.PEM_cert_to_DER_cert(certificate[0].read_text())).hexdigest()
    colons = ":".join(digest[i : i + 2].upper() for i in range(0, 64, 2))
    for options, wanted in (
        ({}, 502),
        ({"verify": False}, 200),
        ({"ca": certificate[0]}, 200),
        ({"fingerprint": colons}, 200),
        ({"fingerprint": "0" * 64}, 502),
    ):
        session = start(tls.url, name=str(options), **options)
        assert status(session) == wanted, options


def test_a_missing_file_is_told(start: Start) -> None:
    with pytest.raises(ConfigError, match="TLS file"):
        start("https://localhost:1", ca="/no/such/file")
