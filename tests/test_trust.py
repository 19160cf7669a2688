"""TLS to upstream through a whole proxy, on both loops: who is trusted, what is told, how answers end."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import ssl
import threading
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import h11
import pytest

import nbproxy
from nbproxy import background
from nbproxy.errors import ConfigError
from nbproxy.trust import Trust

from .certificates import Certificate, root, server_context
from .upstreams import TIMEOUT, Client, Conversation, Scripted

Start = Callable[..., nbproxy.Session]
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
UNTRUSTED = ("ca= ", "fingerprint= ", "verify=False")


@pytest.fixture(autouse=True, params=["uvloop", "asyncio"])
def loop(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Everything here holds on both loops."""
    if request.param == "asyncio":
        monkeypatch.setattr(background, "new_loop", asyncio.new_event_loop)
    else:
        pytest.importorskip("uvloop")
    return str(request.param)


class Secured:
    """The scripted upstream behind TLS. ``seen``: the requests that it got."""

    def __init__(self, server: Scripted, folder: Path) -> None:
        self.server, self.folder = server, folder
        self.url = server.url.replace("http:", "https:")
        self.seen: list[bytes] = []
        self.answer: Callable[[Conversation], None] = lambda talk: talk.send(OK)

    def shows(self, certificate: Certificate, *more: Certificate) -> ssl.SSLContext:
        """From now on, with this certificate, those above it, and ``more``."""
        context = server_context(self.folder, certificate, *more)

        def handler(talk: Conversation) -> None:
            talk.socket = context.wrap_socket(talk.socket, server_side=True)
            while True:
                self.seen.append(talk.request()[0])
                self.answer(talk)

        self.server.handler = handler
        return context


@pytest.fixture
def secured(upstream: Scripted, tmp_path: Path) -> Secured:
    return Secured(upstream, tmp_path)


def asked(session: nbproxy.Session) -> tuple[int, str]:
    """The status of a request through the proxy, and the reason where it is an error of ours."""
    with Client(session.url) as client:
        answer = client.ask(b"GET", b"/", None, b"Authorization: Basic c2VjcmV0")
    return answer.status, "" if answer.status == 200 else answer.json["error"]["reason"]


def test_who_is_trusted(start: Start, secured: Secured, tmp_path: Path) -> None:
    authority, stranger = root("authority"), root("stranger")
    certificate = authority.issue("127.0.0.1")
    secured.shows(certificate)
    ca, own, above = authority.file(tmp_path), certificate.fingerprint, authority.fingerprint
    table: list[tuple[dict[str, Any], tuple[str, ...] | None]] = [
        ({}, UNTRUSTED),
        ({"verify": False}, None),
        ({"ca": ca}, None),
        ({"ca": certificate.file(tmp_path)}, None),
        ({"ca": stranger.file(tmp_path)}, UNTRUSTED),
        ({"fingerprint": own}, None),
        ({"fingerprint": ":".join(own.upper()[i : i + 2] for i in range(0, 64, 2))}, None),
        ({"fingerprint": above}, None),
        ({"fingerprint": stranger.fingerprint}, ("no certificate has the fingerprint given", own, above)),
        ({"verify": False, "fingerprint": own}, None),
        ({"verify": False, "fingerprint": above}, None),
        ({"verify": False, "fingerprint": stranger.fingerprint}, ("fingerprint",)),
        ({"ca": ca, "fingerprint": own}, None),
        ({"ca": ca, "fingerprint": above}, None),
        ({"ca": ca, "fingerprint": stranger.fingerprint}, ("fingerprint",)),
        ({"ca": stranger.file(tmp_path), "fingerprint": own}, UNTRUSTED),
    ]
    for options, wrong in table:
        secured.seen.clear()
        status, reason = asked(start(secured.url, name=repr(options), **options))
        assert status == (502 if wrong else 200), (options, reason)
        assert all(part in reason for part in wrong or ()), reason
        assert len(secured.seen) == (0 if wrong else 1)  # whoever is not trusted has not seen a byte of a request


@pytest.mark.parametrize("verify", [True, False])
def test_an_authoritys_fingerprint_is_no_help_to_who_sends_its_certificate_along(
    start: Start, secured: Secured, verify: bool
) -> None:
    authority, impostor = root("authority"), root("impostor")
    session = start(secured.url, fingerprint=authority.fingerprint, verify=verify, auth=("user", "secret"))
    for shown in (impostor.issue("127.0.0.1"), root("authority").issue("127.0.0.1")):  # of the same name, too
        secured.shows(shown, authority)
        assert asked(session)[0] == 502
    assert secured.seen == []
    secured.shows(authority.issue("127.0.0.1"))
    assert asked(session) == (200, "")
    secured.server.drop()
    secured.shows(impostor.issue("127.0.0.1"), authority)
    assert asked(session)[0] == 502  # also once the authority is known
    assert len(secured.seen) == 1


def test_names_and_dates(start: Start, secured: Secured, tmp_path: Path) -> None:
    authority = root()
    ca = authority.file(tmp_path)
    other = authority.issue("other.test", "127.0.0.2")
    late = authority.issue("127.0.0.1", until=timedelta(hours=-1))
    for certificate, word in ((other, "use a name for upstream that its certificate has"), (late, "renew it")):
        secured.shows(certificate)
        table: list[tuple[dict[str, Any], bool]] = [
            ({"ca": ca}, False),
            ({"fingerprint": authority.fingerprint}, False),
            ({"fingerprint": authority.fingerprint, "verify": False}, certificate is other),
            ({"fingerprint": certificate.fingerprint}, True),
            ({"verify": False}, True),
        ]
        for options, good in table:
            status, reason = asked(start(secured.url, name=f"{word} {options}", **options))
            assert status == (200 if good else 502), (options, reason)
            assert good or word in reason, reason


def test_authorities_between_and_those_without_a_usage(start: Start, secured: Secured, tmp_path: Path) -> None:
    top = root(usage=False)
    between = top.issue("between", authority=True, usage=False)
    secured.shows(between.issue("127.0.0.1"))
    for options in (
        {"ca": top.file(tmp_path)},
        {"ca": between.file(tmp_path)},
        {"fingerprint": top.fingerprint},
        {"fingerprint": between.fingerprint},
    ):
        assert asked(start(secured.url, name=str(options), **options)) == (200, ""), options


# -- our own certificate


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_client_certificates(start: Start, secured: Secured, tmp_path: Path, version: ssl.TLSVersion) -> None:
    authority, stranger = root("authority"), root("stranger")
    context = secured.shows(authority.issue("127.0.0.1"))
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(authority.file(tmp_path))
    context.maximum_version = version
    mine, theirs = authority.issue("client"), stranger.issue("client")
    whole = tmp_path / "whole.pem"
    whole.write_bytes(mine.chain + mine.key_pem())
    pair = mine.pair(tmp_path)
    (tmp_path / "locked").mkdir()
    locked = mine.pair(tmp_path / "locked", "geheim")
    for cert in (pair, str(whole), whole, (*locked, "geheim")):
        options: dict[str, Any] = {"ca": authority.file(tmp_path), "cert": cert}
        assert asked(start(secured.url, name=str(cert), **options)) == (200, "")
    assert asked(start(secured.url, name="pinned", fingerprint=authority.fingerprint, cert=pair)) == (200, "")
    secured.seen.clear()
    for cert in (None, theirs.pair(tmp_path)):
        status, reason = asked(start(secured.url, name=f"refused {cert}", ca=authority.file(tmp_path), cert=cert))
        assert status == 502
        # With 1.3 the refusal comes after the handshake (RFC 8446 §4.4.2.4): it is an end of the connection.
        assert version == ssl.TLSVersion.TLSv1_3 or "give cert=" in reason, reason
    assert secured.seen == []


def test_files_that_cannot_be_used_are_told(tmp_path: Path) -> None:
    certificate = root().issue("client")
    locked = certificate.pair(tmp_path, "geheim")
    broken = tmp_path / "broken.pem"
    broken.write_text("no certificate")
    table: list[tuple[dict[str, Any], str]] = [
        ({"ca": tmp_path / "missing.pem"}, "TLS file"),
        ({"ca": broken}, "TLS file"),
        ({"cert": str(broken)}, "TLS file"),
        ({"cert": (locked[0], root().pair(tmp_path)[1])}, "TLS file"),
        ({"cert": locked}, r"is encrypted: give cert=\(certificate, key, password\)"),  # and nobody is asked for it
        ({"cert": (*locked, "falsch")}, "TLS file"),
        ({"cert": (*locked, "geheim", "more")}, "cert must be"),
        ({"cert": ()}, "cert must be"),
        ({"fingerprint": "00:11"}, "64 hex digits"),
        ({"fingerprint": "x" * 64}, "64 hex digits"),
        ({"fingerprint": 5}, "64 hex digits"),
    ]
    for options, match in table:
        with pytest.raises(ConfigError, match=match) as caught:
            Trust(**options)
        assert "geheim" not in str(caught.value)
        assert "falsch" not in str(caught.value)


# -- how answers end


def _without_alert(talk: Conversation) -> None:
    """End the TCP connection, but not TLS's."""
    with contextlib.suppress(OSError):
        os.close(talk.socket.detach())
    raise EOFError


def _with_alert(talk: Conversation) -> None:
    with contextlib.suppress(OSError):
        talk.socket.unwrap()  # type: ignore[attr-defined]
    raise EOFError


@pytest.fixture
def trusted(start: Start, secured: Secured, tmp_path: Path) -> nbproxy.Session:
    authority = root()
    secured.shows(authority.issue("127.0.0.1"))
    return start(secured.url, ca=authority.file(tmp_path))


def test_an_answer_that_ends_with_the_connection_is_whole_with_a_closure_alert(
    trusted: nbproxy.Session, secured: Secured
) -> None:
    def answer(talk: Conversation) -> None:
        talk.send(b"HTTP/1.1 200 OK\r\n\r\nall of it")
        _with_alert(talk)

    secured.answer = answer
    with Client(trusted.url) as client:
        assert client.ask(b"GET").body == b"all of it"


def test_an_answer_that_ends_with_the_connection_is_cut_without_a_closure_alert(
    trusted: nbproxy.Session, secured: Secured
) -> None:
    """RFC 9112 §9.8."""

    def answer(talk: Conversation) -> None:
        talk.send(b"HTTP/1.1 200 OK\r\n\r\nall of it?")
        _without_alert(talk)

    secured.answer = answer
    with Client(trusted.url) as client, pytest.raises((h11.RemoteProtocolError, ConnectionResetError)):
        client.ask(b"GET")


@pytest.mark.parametrize("end", [_with_alert, _without_alert])
def test_an_answer_that_tells_its_length_is_whole_either_way(
    trusted: nbproxy.Session, secured: Secured, end: Callable[[Conversation], None]
) -> None:
    body = bytes(range(256)) * 4096

    def answer(talk: Conversation) -> None:
        talk.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body), body)
        end(talk)

    secured.answer = answer
    with Client(trusted.url) as client:
        assert client.ask(b"GET").body == body
        assert client.ask(b"GET").body == body


def _garbage(talk: Conversation) -> None:
    with socket.socket(fileno=talk.socket.detach()) as plain:
        plain.sendall(b"\x17\x03\x03\x00\x20" + bytes(32))  # a record that nobody has signed
        Conversation(plain).closed()
    raise EOFError


@pytest.mark.parametrize("end", [_with_alert, _without_alert, _garbage])
@pytest.mark.parametrize("framing", [b"Content-Length: 99", b"Transfer-Encoding: chunked"])
def test_an_answer_that_breaks_off_is_cut(
    trusted: nbproxy.Session, secured: Secured, framing: bytes, end: Callable[[Conversation], None]
) -> None:
    begun = threading.Event()

    def answer(talk: Conversation) -> None:
        talk.send(b"HTTP/1.1 200 OK\r\n" + framing + b"\r\n\r\n5\r\nhello\r\n")
        begun.wait(TIMEOUT)
        end(talk)

    secured.answer = answer
    with Client(trusted.url) as client:
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        Conversation(client.socket).until(b"hello\r\n")
        begun.set()
        assert client.rest() == b""
    secured.answer = lambda talk: talk.send(OK)
    with Client(trusted.url) as client:
        assert client.ask(b"GET").body == b"ok"
