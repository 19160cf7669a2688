"""Where upstream is, and how it is spoken to: URLs, credentials, signatures."""

from __future__ import annotations

import hashlib
import hmac
import re
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import nbproxy
from nbproxy.errors import ConfigError, UpstreamFault
from nbproxy.messages import Headers, Request
from nbproxy.options import Options
from nbproxy.origin import origin

from .upstreams import Client, Scripted

Start = Callable[..., nbproxy.Session]
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@pytest.mark.parametrize(
    ("url", "host", "port", "authority", "prefix"),
    [
        ("http://localhost:9200", "localhost", 9200, "localhost:9200", ""),
        ("localhost:9200", "localhost", 9200, "localhost:9200", ""),
        (" http://es/ ", "es", 80, "es", ""),
        ("http://ES_1.Test:80", "es_1.test", 80, "es_1.test", ""),
        ("https://es/a/b/", "es", 443, "es", "/a/b"),
        ("https://es:443", "es", 443, "es", ""),
        ("https://es:80", "es", 80, "es:80", ""),
        ("http://es./äb%2F/", "es.", 80, "es.", "/%C3%A4b%2F"),
        ("http://[::1]:9200", "::1", 9200, "[::1]:9200", ""),
        ("http://[2001:DB8:0::1]/x", "2001:db8::1", 80, "[2001:db8::1]", "/x"),
        ("http://[fe80::1%25eth0]:9200", "fe80::1%eth0", 9200, "[fe80::1]:9200", ""),
        ("http://[fe80::1%eth0]:9200", "fe80::1%eth0", 9200, "[fe80::1]:9200", ""),
        ("http://bücher.test:9200", "xn--bcher-kva.test", 9200, "xn--bcher-kva.test:9200", ""),
        ("http+unix://%2Frun%2FSearch.sock/p/", "localhost", 0, "localhost", "/p"),
    ],
)
def test_urls(url: str, host: str, port: int, authority: str, prefix: str) -> None:
    place = origin(url)
    assert (place.host, place.port, place.authority, place.prefix) == (host, port, authority, prefix)
    assert place.socket_path == ("/run/Search.sock" if "unix" in url else None)


def test_what_a_certificate_must_be_for() -> None:
    assert origin("https://es.test.").server_name == "es.test"
    assert origin("https://[fe80::1%25eth0]").server_name == "fe80::1"


def test_the_prefix_is_put_before_every_target_but_one() -> None:
    place = origin("http://es/a")
    assert [place.target(target) for target in ("/", "/_search?q=*", "*")] == ["/a/", "/a/_search?q=*", "*"]
    assert origin("http://es").target("*") == "*"


@pytest.mark.parametrize(
    "url",
    [
        "ftp://user:hush@es", "http://", "http://user:hush@", "http://user:hush@es:port", "http://user:hush@es:99999",
        "http://user:hu/sh@es", "http://user:12/hush@es", "http://user:hu#sh@es", "http://user:hu?sh@es",
        "user:hush@es:x", "http://user:hush@[::1", "http://user:hush@[::g]", "http://user:hush@es\n.test",
        "http://user:hush@es test", "http://user:hush@es\\.test", "http://user:hush@a..b", "http://user:hush@.es",
        "http://user:hush@es/?api_key=hush", "http://user:hush@es/#hush", "http://user:hush@es/a@b",
        "http://user:hush@" + "a" * 64, "http://user:hush@straße.test", "http://user:hush@e\uff0fs",
        "http://user:hush@ä" + "a" * 64, "https+unix://user:hush@%2Frun%2Fs", 5, b"http://user:hush@es",
    ],
)  # fmt: skip
def test_urls_that_cannot_be_used_are_refused_and_their_credentials_not_shown(url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        origin(url)
    assert not {"hu", "sh@", "hush", "12"} & set(re.split(r"\W+", str(caught.value)))
    assert "hush" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


def test_credentials_of_a_url_are_used_and_not_shown() -> None:
    place = origin("http://user:p%40ss@es:9200", headers={"X-Api-Key": "hush"})
    assert place.fields == {"Authorization": "Basic dXNlcjpwQHNz", "X-Api-Key": "hush"}
    for shown in (place.url, repr(place)):
        assert not any(secret in shown for secret in ("user", "ss@", "dXNl", "hush"))
    assert origin("http://user@es").fields == {"Authorization": "Basic dXNlcjo="}
    assert origin("http://user:a@es", auth=("u", "p")).fields == {"Authorization": "Basic dTpw"}


def test_options_show_no_credentials() -> None:
    options = Options("http://user:hush@es", auth=("u", "hush"), headers={"X-Key": "hush"}, cert=("a", "b", "hush"))
    assert "hush" not in repr(options)


@pytest.mark.parametrize(
    ("auth", "field"),
    [
        (("u", "p"), "Basic dTpw"),
        (("ü", "p:q"), "Basic w7w6cDpx"),
        ("abc==", "ApiKey abc=="),
        (" abc==\n", "ApiKey abc=="),
        ("Bearer xyz", "Bearer xyz"),
        (None, None),
    ],
)
def test_auth(auth: object, field: str | None) -> None:
    assert origin("http://es", auth=auth).fields.get("Authorization") == field  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "options",
    [
        {"auth": ("hush:u", "p")}, {"auth": ("hush",)}, {"auth": ("u", 5)}, {"auth": ""}, {"auth": b"hush"},
        {"auth": "hush\r\nX: y"}, {"auth": "Bearer hush\u20ac"}, {"headers": {"X": "hush\n"}},
        {"headers": {"": "hush"}}, {"headers": {"X Y": "hush"}}, {"headers": {"Content-Length": "5"}},
        {"headers": {"connection": "close"}},
        {"headers": {"X": 5}}, {"headers": {5: "hush"}}, {"fingerprint": "0" * 64},
        {"ca": "/hush"}, {"cert": "/hush"},
    ],
)  # fmt: skip
def test_what_cannot_be_sent_or_kept_to_is_refused_at_the_start(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError) as caught:
        origin("http://es", **options)
    assert "hush" not in str(caught.value)


# -- signing


def test_a_signer_gets_the_whole_request_and_gives_fields() -> None:
    def sign(request: Request) -> dict[str, str]:
        return {**dict(every(request)), "X-Signature": "abc"}

    def every(request: Request) -> Iterator[tuple[str, str]]:
        return ((name.decode(), value.decode()) for name, value in request.headers)

    signed = origin("http://es", auth=sign).sign
    assert signed is not None
    request = Request("GET", "/", Headers([(b"Host", b"es"), (b"Content-Length", b"0")]))
    assert signed(request) == {"X-Signature": "abc"}  # what is there already is not set again


@pytest.mark.parametrize(
    ("given", "match"),
    [
        ({"X": "hush\r\nY: z"}, "the value of 'X' cannot be sent"),
        ({"Content-Length": "3"}, "'Content-Length' cannot be set"),
        (None, r"TypeError at origin\.py"),
        (KeyError("hush"), r"KeyError at test_origin\.py:\d+"),
    ],
)
def test_what_goes_wrong_in_a_signer_is_upstreams_fault_and_shows_nothing(given: Any, match: str) -> None:
    def sign(request: Request) -> Any:
        if isinstance(given, Exception):
            raise given
        return given

    signed = origin("http://es", auth=sign).sign
    assert signed is not None
    with pytest.raises(UpstreamFault, match=match) as caught:
        signed(Request("GET", "/"))
    assert "hush" not in str(caught.value)


SECRET = b"wJalrXUtnFEMI"


def sigv4(method: str, target: str, headers: Headers, body: bytes) -> str:
    """The shape of AWS's Signature Version 4, its dates and its canonical encoding left out."""
    names = sorted({name.lower().decode() for name, _ in headers} - {"authorization"})
    lines = [f"{name}:{','.join(headers.all(name))}" for name in names]
    path, _, query = target.partition("?")
    canonical = "\n".join([method, path, query, *lines, ";".join(names), hashlib.sha256(body).hexdigest()])
    return f"AWS4-HMAC-SHA256 {hmac.new(SECRET, canonical.encode(), 'sha256').hexdigest()}"


@pytest.mark.parametrize("host_header", ["upstream", "preserve"])
def test_a_signature_holds_for_what_upstream_gets(start: Start, upstream: Scripted, host_header: str) -> None:
    seen = upstream.answers(OK)

    def sign(request: Request) -> dict[str, str]:
        return {"Authorization": sigv4(request.method, request.target, request.headers, request.body)}

    session = start(
        upstream.url + "/prefix", auth=sign, headers={"X-Team": "search"}, host_header=host_header,
        model=lambda query, texts: [0.0] * len(texts),
    )  # fmt: skip
    with Client(session.url) as client:
        client.ask(b"GET", b"/_cat?v", None, b"Authorization: of the client", b"X-Two: 1", b"X-Two: 2")
        client.ask(b"POST", b"/i/_search?routing=a", b'{"query":{"match":{"a":"b"}}}')
        client.ask(b"PUT", b"/i/_doc/1", b"{}")
        client.send(b"PUT /i/_doc/2 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n")
        client.read()

    assert len(seen) >= 4
    for head, body in seen:
        line, _, block = head.partition(b"\r\n")
        method, target, _ = line.decode().split()
        headers = Headers.parse(block)
        assert target.startswith("/prefix/")
        assert headers.all("authorization") == [sigv4(method, target, headers, body)]


@pytest.mark.parametrize(
    "target",
    [
        b"/_cat",
        b"/i/_search",
    ],
)
def test_a_signer_that_raises_is_a_502(start: Start, upstream: Scripted, target: bytes) -> None:
    upstream.answers(OK)

    def sign(request: Request) -> dict[str, str]:
        raise KeyError("hush")

    session = start(upstream.url, auth=sign, model=lambda query, texts: [0.0] * len(texts))
    with Client(session.url) as client:
        answer = client.ask(b"POST", target, b'{"query":{"match":{"a":"b"}}}')
    assert answer.status == 502
    assert b"KeyError" in answer.body
    assert b"hush" not in answer.body


# -- through a whole proxy


def test_options_of_the_whole_server_has_no_prefix(start: Start, upstream: Scripted) -> None:
    seen = upstream.answers(OK)
    session = start(upstream.url + "/prefix")
    with Client(session.url) as client:
        client.ask(b"OPTIONS", b"*")
    assert seen[0][0].startswith(b"OPTIONS * HTTP/1.1\r\n")


@pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="this system has no Unix sockets")
def test_an_engine_behind_a_unix_socket(start: Start, tmp_path: Path) -> None:
    with Scripted(str(tmp_path / "search.sock")) as server:
        seen = server.answers(OK)
        session = start(server.url + "/prefix")
        with Client(session.url) as client:
            assert client.ask(b"GET", b"/_cat").body == b"ok"
        assert seen[0][0].startswith(b"GET /prefix/_cat HTTP/1.1\r\nHost: localhost\r\n")
        assert session.upstream == server.url + "/prefix"


def test_credentials_are_shown_nowhere(start: Start, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        session = start(f"http://user:hush@127.0.0.1:{nobody.getsockname()[1]}/x")
        with Client(session.url) as client:
            answer = client.ask(b"GET")
        assert answer.status == 502
        places = [repr(session), session.upstream, str(session.status), str(session.errors), capsys.readouterr().out]
        places += [session.frame.to_string(), answer.body.decode()]
        assert all("hush" not in place and "aHVza" not in place and "user" not in place for place in places)


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
