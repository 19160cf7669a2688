"""Not an open proxy: whatever a request says, we speak to our upstream only, and our own routes to those who may."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator

import psutil
import pytest

import nbproxy

from .upstreams import Client, Scripted

Start = Callable[..., nbproxy.Session]
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@pytest.fixture
def elsewhere() -> Iterator[Scripted]:
    """Where nobody must be led."""
    with Scripted() as server:
        server.answers(OK)
        yield server
        assert server.accepted == 0


TARGETS = [
    "http://127.0.0.1:ELSE/",
    "HTTP://127.0.0.1:ELSE/",
    "http://localhost:ELSE/",
    "http://evil.example/",
    "http://evil.example:OURS/",
    "http://127.0.0.1:OURS@127.0.0.1:ELSE/",
    "http://user:pass@127.0.0.1:OURS/",
    "http://127.0.0.1:OURS.evil.example/",
    "http://127.0.0.1:0OURS/",
    "http://127.0.0.1/",
    "http:///",
    "http://",
    "http:127.0.0.1:ELSE/",
    "https://127.0.0.1:ELSE/",
    "ftp://127.0.0.1:ELSE/",
    "ws://127.0.0.1:ELSE/",
    "127.0.0.1:ELSE",
    "@127.0.0.1:ELSE/",
    "\\\\127.0.0.1:ELSE",
]


def told(text: str, session: nbproxy.Session, elsewhere: Scripted) -> bytes:
    return text.replace("ELSE", str(elsewhere.port)).replace("OURS", str(session.port)).encode()


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("method", [b"GET", b"POST", b"OPTIONS"])
def test_other_places_are_refused(
    start: Start, upstream: Scripted, elsewhere: Scripted, target: str, method: bytes
) -> None:
    seen = upstream.answers(OK)
    session = start(upstream.url)
    for host in (b"127.0.0.1:%d" % session.port, b"127.0.0.1:%d" % elsewhere.port):
        with Client(session.url) as client:
            client.send(b"%b %b HTTP/1.1\r\nHost: %b\r\n\r\n" % (method, told(target, session, elsewhere), host))
            got = client.read(method)
            assert got.status in (400, 421)
            assert got.json["status"] == got.status
    assert seen == []


@pytest.mark.parametrize("target", ["127.0.0.1:ELSE", "127.0.0.1:OURS", "/", "http://127.0.0.1:ELSE/", "evil:443"])
def test_connect_is_refused(start: Start, upstream: Scripted, elsewhere: Scripted, target: str) -> None:
    seen = upstream.answers(OK)
    session = start(upstream.url)
    with Client(session.url) as client:
        place = told(target, session, elsewhere)
        client.send(b"CONNECT %b HTTP/1.1\r\nHost: %b\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n" % (place, place))
        assert client.read(b"GET").status in (400, 405, 421)
        assert client.rest() == b""
    assert seen == []


@pytest.mark.parametrize("host_header", ["upstream", "preserve"])
@pytest.mark.parametrize(
    "target", [b"/", b"//127.0.0.1:9/", b"/http://evil.example/", b"/a/../../b", b"/books/_search"]
)
def test_no_field_says_where_we_connect(
    start: Start, upstream: Scripted, elsewhere: Scripted, host_header: str, target: bytes
) -> None:
    seen = upstream.answers(OK)
    session = start(upstream.url, host_header=host_header)
    place = b"127.0.0.1:%d" % elsewhere.port
    names = (
        b"X-Forwarded-Host X-Forwarded-Server X-Host X-Original-URL X-Rewrite-URL X-Forwarded-For X-Real-IP Origin "
        b"X-Original-Host Referer Via Location Alt-Svc Alt-Used X-HTTP-Host-Override Proxy-Host Content-Location"
    )
    fields = [b"%b: http://%b/" % (name, place) for name in names.split()]
    fields += [b"Forwarded: for=%b;host=%b;proto=http" % (place, place)]
    with Client(session.url) as client:
        client.authority = place  # what the Host field says
        assert client.ask(b"GET", target, None, *fields).status == 200
    head = seen[0][0]
    assert head.startswith(b"GET %b HTTP/1.1\r\n" % target)
    own = upstream.url.removeprefix("http://").encode()
    assert b"\r\nHost: %b\r\n" % (own if host_header == "upstream" else place) in head
    assert head.count(b"Host: ") - head.count(b"-Host: ") == 1


def test_redirects_are_the_clients_to_follow(start: Start, upstream: Scripted, elsewhere: Scripted) -> None:
    where = f"{elsewhere.url}/x".encode()
    upstream.answers(b"HTTP/1.1 307 Go\r\nLocation: %b\r\nContent-Length: 0\r\n\r\n" % where)
    session = start(upstream.url, model="original")
    for target in (b"/", b"/books/_search"):
        with Client(session.url) as client:
            got = client.ask(b"POST", target, b'{"query":{"match":{"title":"x"}}}')
            assert (got.status, got.all(b"location")) == (307, [where])


# -- our own routes

HOSTS = {
    "127.0.0.1:OURS": 200,
    "127.0.0.1": 200,
    "localhost:OURS": 200,
    "LOCALHOST": 200,
    "[::1]:OURS": 200,
    "evil.example": 401,
    "evil.example:OURS": 401,
    "127.0.0.1.evil.example:OURS": 401,
    "localhost.evil.example": 401,
    "evil-localhost": 401,
    "127.0.0.2:OURS": 401,
    "0.0.0.0:OURS": 401,
    "": 401,
}


@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_the_right_token_needs_a_host_of_ours(start: Start, upstream: Scripted, host: str, method: str) -> None:
    """DNS rebinding: a page that a browser believes to be of evil.example."""
    seen = upstream.answers(OK)
    session = start(upstream.url)
    with Client(session.url) as client:
        client.authority = told(host, session, upstream)
        token = b"Authorization: Bearer " + session.token.encode()
        got = client.ask(method.encode(), b"/_nbproxy/snapshot", None, token)
        assert got.status == HOSTS[host]
        if got.status == 401 and method == "GET":
            assert got.json["error"]["type"] == "nbproxy_unauthorized"
    assert seen == []


@pytest.mark.parametrize("version", [b"1.0", b"1.1"])
@pytest.mark.parametrize("hosts", [(), (b"127.0.0.1", b"evil.example"), (b"evil.example", b"127.0.0.1")])
def test_none_or_two_hosts_open_nothing(
    start: Start, upstream: Scripted, version: bytes, hosts: tuple[bytes, ...]
) -> None:
    session = start(upstream.url)
    lines = b"".join(b"Host: %b\r\n" % host for host in hosts)
    with Client(session.url) as client:
        client.send(
            b"GET /_nbproxy/snapshot HTTP/%b\r\n%bAuthorization: Bearer %b\r\n\r\n"
            % (version, lines, session.token.encode())
        )
        assert client.read().status in (400, 401)


TOKENS = [
    "",
    "Bearer",
    "Bearer ",
    "Bearer x",
    "Basic TOKEN",
    "TOKEN",
    "Bearer TOKENx",
    "Bearer x, Bearer TOKEN",
    "bearer é",
]


ASKED = ["GET snapshot", "GET sight?exchange_id=1", "POST model", "GET nothing", "GET snapshot?token=TOKEN"]


@pytest.mark.parametrize("given", TOKENS)
@pytest.mark.parametrize("asked", ASKED)
def test_without_the_token_nothing_is_told(start: Start, upstream: Scripted, given: str, asked: str) -> None:
    method, route = asked.split()
    seen = upstream.answers(OK)
    session = start(upstream.url)
    field = b"Authorization: " + given.replace("TOKEN", session.token).encode()
    target = f"/_nbproxy/{route.replace('TOKEN', session.token)}".encode()
    with Client(session.url) as client:
        body = b'{"model": "bm25"}' if method == "POST" else None
        got = client.ask(method.encode(), target, body, *([field] if given else []))
        assert got.status == 401
        assert session.token.encode() not in got.body
    assert session.model is None
    assert seen == []


@pytest.mark.parametrize("rest", [b"", b"/", b"?x=1", b"/../a", b"/%2e%2e/a", b"/status/x"])
@pytest.mark.parametrize("method", [b"GET", b"PUT", b"DELETE", b"OPTIONS"])
def test_what_is_under_our_path_never_goes_upstream(
    start: Start, upstream: Scripted, rest: bytes, method: bytes
) -> None:
    seen = upstream.answers(OK)
    session = start(upstream.url)
    with Client(session.url) as client:
        assert client.ask(method, b"/_nbproxy" + rest).status in (401, 404, 405)
    assert seen == []


@pytest.mark.parametrize(
    "target", [b"//_nbproxy/snapshot", b"/%5fnbproxy/snapshot", b"/x/../_nbproxy/snapshot", b"/_NBPROXY/snapshot"]
)
def test_other_spellings_of_our_path_are_not_our_routes(start: Start, upstream: Scripted, target: bytes) -> None:
    upstream.answers(OK)
    session = start(upstream.url)
    with Client(session.url) as client:
        got = client.ask(b"GET", target + b"/snapshot", None, b"Authorization: Bearer " + session.token.encode())
        assert got.body == b"ok" or got.status in (401, 404)


# -- where we listen


def listening(session: nbproxy.Session) -> set[str]:
    return {
        c.laddr.ip
        for c in psutil.Process().net_connections("tcp")
        if c.status == psutil.CONN_LISTEN and c.laddr.port == session.port
    }


def test_only_this_machine_reaches_us(start: Start, upstream: Scripted) -> None:
    session = start(upstream.url)
    assert listening(session) == {"127.0.0.1"}
    with pytest.raises(ConnectionError):
        socket.create_connection(("127.0.0.2", session.port), timeout=2)


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
def test_listening_for_all_is_said_loudly_at_the_users_line(start: Start, upstream: Scripted, host: str) -> None:
    upstream.answers(OK)
    with pytest.warns(UserWarning, match="everybody who reaches this machine") as caught:
        session = nbproxy.start(upstream.url, name="open", host=host, record=False)
    with session:
        assert [warning.filename for warning in caught] == [__file__]
        assert upstream.url in str(caught[0].message)
        with Client(session.url) as client:
            assert client.ask(b"GET").status == 200


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "127.0.0.2", "::1"])
def test_listening_for_this_machine_is_not(start: Start, upstream: Scripted, host: str) -> None:
    assert start(upstream.url, host=host).running  # warnings are errors here
