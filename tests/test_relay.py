"""Pass-through on real sockets: streaming both ways, keep-alive, 1xx, early answers, tunnels, faults."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import socket
import sys
import threading
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import h11
import pytest

import nbproxy
from nbproxy import Limits, Timeouts, background

from .upstreams import TIMEOUT, Client, Conversation, Scripted

Start = Callable[..., nbproxy.Session]
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


MIB = b"x" * (1 << 20)


def taken(sock: socket.socket, block: bytes = MIB) -> int:
    """How many of 64 blocks (of a MiB) are taken before for half a second nothing more is."""
    sent = 0
    sock.settimeout(0.5)
    try:
        while sent < 64:
            sock.sendall(block)
            sent += 1
    except TimeoutError:
        pass
    sock.settimeout(TIMEOUT)
    return sent


def swallow(sock: socket.socket) -> None:
    """Read to the end, or to a reset."""
    with contextlib.suppress(ConnectionError):
        while sock.recv(1 << 20):
            pass


@pytest.fixture(autouse=True, params=["uvloop", "asyncio"])
def _loop(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything here holds on both loops."""
    if request.param == "asyncio":
        monkeypatch.setattr(background, "new_loop", asyncio.new_event_loop)
    else:
        pytest.importorskip("uvloop")


@pytest.fixture
def session(start: Start, upstream: Scripted) -> nbproxy.Session:
    return start(upstream.url, timeout=Timeouts(connect=2, read=10))


def test_requests_share_connections_on_both_sides(session: nbproxy.Session, upstream: Scripted) -> None:
    seen = upstream.answers(OK)
    with Client(session.url) as client:
        for n in range(5):
            assert client.ask(b"POST", b"/%d" % n, b"body %d" % n).body == b"ok"
    assert upstream.accepted == 1
    assert [body for _, body in seen] == [b"body %d" % n for n in range(5)]
    assert f"Host: 127.0.0.1:{upstream.port}".encode() in seen[0][0]


@pytest.mark.parametrize(
    "target", [b"/docs", b"/books/_search", b"/_nbproxy/click"], ids=["relayed", "a search left alone", "our own"]
)
def test_a_request_that_comes_whole_is_told_whole(session: nbproxy.Session, upstream: Scripted, target: bytes) -> None:
    """Its body came in one read with its head: on a new connection to upstream, then on one that is used again."""
    seen = upstream.answers(OK)
    body = b'{"doc_id": "1", "query_id": "q", "position": 1}'
    with Client(session.url) as client:
        for _ in range(3):
            assert client.ask(b"POST", target, body).status in (200, 202)
            assert client.ask(b"POST", target, body, b"Expect: 100-continue").status in (200, 202)
            assert client.ask(b"GET", b"/docs").status == 200
    posted = [sent for head, sent in seen if head.startswith(b"POST")]
    assert posted == ([] if b"nbproxy" in target else [body] * 6)
    assert upstream.accepted == 1
    assert session.frame.bytes_in.tolist() == [len(body), len(body), 0] * 3


def test_a_get_with_a_body_that_came_whole_is_sent_again_where_upstream_had_closed(
    session: nbproxy.Session, upstream: Scripted
) -> None:
    bodies: list[bytes] = []

    def handler(talk: Conversation) -> None:
        bodies.append(talk.request()[1])
        talk.send(OK)
        bodies.append(talk.request()[1])
        talk.reset()

    upstream.handler = handler
    with Client(session.url) as client:
        assert [client.ask(b"GET", b"/", body).status for body in (b"1", b"2")] == [200, 200]
    assert bodies == [b"1", b"2", b"2"]


def test_a_client_may_end_each_request_with_an_empty_line(session: nbproxy.Session, upstream: Scripted) -> None:
    upstream.answers(OK)
    with Client(session.url) as client:
        for _ in range(100):
            assert client.ask(b"GET").status == 200
            client.send(b"\r\n")
            assert session.status["state"] == "running"  # by itself, that is: the loop has read it


def test_pipelined_requests_are_answered_in_order(session: nbproxy.Session, upstream: Scripted) -> None:
    def handler(talk: Conversation) -> None:
        while True:
            target = talk.request()[0].split()[1]
            talk.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(target), target))

    upstream.handler = handler
    with Client(session.url) as client:
        client.send(b"".join(b"GET /%d HTTP/1.1\r\nHost: a\r\n\r\n" % n for n in range(50)))
        assert [client.read().body for _ in range(50)] == [b"/%d" % n for n in range(50)]


@pytest.mark.parametrize(
    ("answer", "method", "status", "body"),
    [
        (b"HTTP/1.1 204 No Content\r\n\r\n", b"DELETE", 204, b""),
        (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 99\r\n\r\n", b"GET", 304, b""),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n", b"HEAD", 200, b""),
        (b"HTTP/1.1 404 Gone Fishing\r\nContent-Length: 1\r\n\r\nx", b"GET", 404, b"x"),
        (CHUNKED + b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n", b"GET", 200, b"abcde"),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nab", b"GET", 200, b"ab"),
    ],
)
def test_answers_end_where_they_end(
    session: nbproxy.Session, upstream: Scripted, answer: bytes, method: bytes, status: int, body: bytes
) -> None:
    upstream.answers(answer, OK)
    with Client(session.url) as client:
        got = client.ask(method)
        assert (got.status, got.body) == (status, body)
        assert client.ask(b"GET").body == b"ok"


def test_a_body_without_length_ends_with_upstreams_connection(session: nbproxy.Session, upstream: Scripted) -> None:
    def handler(talk: Conversation) -> None:
        talk.request()
        talk.send(b"HTTP/1.1 200 OK\r\n\r\nall ", b"of it")

    upstream.handler = handler
    for _ in range(2):
        with Client(session.url) as client:
            got = client.ask(b"GET")
            assert (got.body, got.fields, client.rest()) == (b"all of it", [], b"")


def test_trailers_go_both_ways(session: nbproxy.Session, upstream: Scripted) -> None:
    seen = []

    def handler(talk: Conversation) -> None:
        talk.request()
        seen.append(talk.trailers)
        talk.send(CHUNKED + b"1\r\nx\r\n0\r\nX-Out: 2\r\n\r\n")

    upstream.handler = handler
    with Client(session.url) as client:
        client.send(b"PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-In: 1\r\n\r\n")
        assert client.read().trailers == [(b"x-out", b"2")]
    assert seen == [b"X-In: 1\r\n"]


def test_both_directions_stream(session: nbproxy.Session, upstream: Scripted) -> None:
    def handler(talk: Conversation) -> None:
        talk.head()
        first = talk.exactly(5)
        talk.send(CHUNKED, b"5\r\n" + first + b"\r\n")
        second = talk.exactly(5)
        talk.send(b"5\r\n" + second + b"\r\n0\r\n\r\n")
        talk.closed()

    upstream.handler = handler
    with Client(session.url) as client:
        talk = Conversation(client.socket)
        talk.send(b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nfirst")
        talk.head()
        assert talk.exactly(10) == b"5\r\nfirst\r\n"  # the answer begins while the request is still being sent
        talk.send(b"later")
        assert talk.exactly(15) == b"5\r\nlater\r\n0\r\n\r\n"


@pytest.mark.parametrize("direction", ["up", "down"])
def test_large_bodies_do_not_grow_memory(session: nbproxy.Session, upstream: Scripted, direction: str) -> None:
    block, n = bytes(range(256)) * 4096, 192  # 192 MiB
    digest = hashlib.sha256()

    def swallow(talk: Conversation) -> None:
        talk.head()
        for _ in range(n):
            digest.update(talk.exactly(len(block)))
        talk.send(OK)
        talk.closed()

    def pour(talk: Conversation) -> None:
        talk.request()
        talk.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (len(block) * n))
        for _ in range(n):
            talk.send(block)
        talk.closed()

    upstream.handler = swallow if direction == "up" else pour
    tracemalloc.start()
    try:
        with Client(session.url) as client:
            talk = Conversation(client.socket)
            if direction == "up":
                talk.send(b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % (len(block) * n))
                for _ in range(n):
                    talk.send(block)
                assert talk.head().startswith(b"HTTP/1.1 200")
            else:
                talk.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
                talk.head()
                for _ in range(n):
                    digest.update(talk.exactly(len(block)))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert digest.hexdigest() == hashlib.sha256(block * n).hexdigest()
    assert peak < 24 * 2**20


def test_a_slow_reader_holds_upstream_back(session: nbproxy.Session, upstream: Scripted) -> None:
    sent, release = [0], threading.Event()

    def pour(talk: Conversation) -> None:
        talk.request()
        talk.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (64 << 20))
        sent[0] = taken(talk.socket)
        release.set()

    upstream.handler = pour
    with Client(session.url) as client:
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert release.wait(TIMEOUT)
    assert sent[0] < 40


def test_expect_100_continue(session: nbproxy.Session, upstream: Scripted) -> None:
    def handler(talk: Conversation) -> None:
        head = talk.head()
        assert b"Expect: 100-continue" in head
        talk.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        talk.send(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n" + talk.exactly(5))
        talk.closed()

    upstream.handler = handler
    with Client(session.url) as client:
        talk = Conversation(client.socket)
        talk.send(b"PUT / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n")
        assert talk.head() == b"HTTP/1.1 100 Continue\r\n\r\n"
        talk.send(b"hello")
        assert client.read(b"PUT").body == b"hello"


def test_a_refused_expectation_ends_the_connection(session: nbproxy.Session, upstream: Scripted) -> None:
    upstream.handler = lambda talk: (talk.head(), talk.send(b"HTTP/1.1 417 No\r\nContent-Length: 0\r\n\r\n"))[1]
    with Client(session.url) as client:
        client.send(b"PUT / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n")
        got = client.read(b"PUT")
        assert (got.status, got.all(b"connection")) == (417, [b"close"])
        assert client.rest() == b""


def test_interim_answers_are_relayed_but_not_to_http10(session: nbproxy.Session, upstream: Scripted) -> None:
    upstream.answers(b"HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\n" + OK)
    with Client(session.url) as client:
        assert client.ask(b"GET").interim == [103]
    with Client(session.url) as client:
        client.send(b"GET / HTTP/1.0\r\n\r\n")
        assert client.rest().startswith(b"HTTP/1.1 200")


def test_http10_clients_get_no_chunks(session: nbproxy.Session, upstream: Scripted) -> None:
    upstream.answers(CHUNKED + b"3\r\nabc\r\n0\r\n\r\n", OK)
    with Client(session.url) as client:
        client.send(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
        raw = client.rest()
        assert raw.endswith(b"\r\n\r\nabc")
        assert b"chunked" not in raw.lower()
    with Client(session.url) as client:
        client.send(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
        assert Conversation(client.socket).head().lower().count(b"connection: keep-alive") == 1


def test_half_closed_clients_are_answered(session: nbproxy.Session, upstream: Scripted) -> None:
    upstream.answers(OK)
    with Client(session.url) as client:
        client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx")
        client.socket.shutdown(socket.SHUT_WR)
        assert client.read().body == b"ok"


def test_an_early_answer_does_not_stop_the_upload(session: nbproxy.Session, upstream: Scripted) -> None:
    whole: list[bytes] = []

    def handler(talk: Conversation) -> None:
        talk.head()
        talk.send(OK)
        whole.append(talk.exactly(10))
        talk.request()
        talk.send(OK)

    upstream.handler = handler
    with Client(session.url) as client:
        client.send(b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nfirst")
        assert client.read(b"PUT").body == b"ok"
        client.send(b"later")
        assert client.ask(b"GET").body == b"ok"
    assert whole == [b"firstlater"]


def test_a_tunnel_after_101(session: nbproxy.Session, upstream: Scripted) -> None:
    def handler(talk: Conversation) -> None:
        assert b"Upgrade: echo" in talk.head()
        talk.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\nhello")
        while data := talk.socket.recv(100):
            talk.send(data[::-1])

    upstream.handler = handler
    with Client(session.url) as client:
        talk = Conversation(client.socket)
        talk.send(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
        assert b"Upgrade: echo" in talk.head()
        assert talk.exactly(5) == b"hello"
        talk.send(b"GET / HTTP/1.1\r\n\r\n")
        assert talk.exactly(18) == b"GET / HTTP/1.1\r\n\r\n"[::-1]
        client.socket.shutdown(socket.SHUT_WR)
        assert client.rest() == b""


@pytest.mark.parametrize("behind", [b"", b"x", OK.replace(b"ok", b"no"), OK[:-1]])
def test_an_unasked_101_that_names_no_protocol_is_told_on_and_nothing_behind_it(
    session: nbproxy.Session, upstream: Scripted, behind: bytes
) -> None:
    """Neither to this client nor to the next one: upstream's connection is used no more."""
    upstream.answers(b"HTTP/1.1 101 Switching Protocols\r\nX-A: b\r\nContent-Length: 3\r\n\r\n" + behind, OK)
    with Client(session.url) as client:
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n" * 2)
        assert client.rest() == b"HTTP/1.1 101 Switching Protocols\r\nX-A: b\r\nConnection: close\r\n\r\n"
    with Client(session.url) as client:
        assert client.ask(b"GET").body == b"ok"
    assert (session.frame.status.tolist(), upstream.accepted) == ([101, 200], 2)


def test_an_unasked_101_is_a_bad_gateway(session: nbproxy.Session, upstream: Scripted) -> None:
    upstream.answers(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n")
    with Client(session.url) as client:
        assert client.ask(b"GET").status == 502


@pytest.mark.parametrize(
    "raw",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort",
        CHUNKED + b"5\r\nshort\r\n",
        CHUNKED + b"5\r\nshort\r\n0\r\n",
    ],
)
def test_a_truncated_answer_is_seen_to_be_cut(session: nbproxy.Session, upstream: Scripted, raw: bytes) -> None:
    upstream.handler = lambda talk: (talk.request(), talk.send(raw))[1]
    with Client(session.url) as client, pytest.raises((h11.RemoteProtocolError, ConnectionError)):
        client.ask(b"GET")
    assert "closed the connection" in session.frame.error.iloc[-1]


def test_a_reset_of_a_body_without_length_is_not_a_clean_end(session: nbproxy.Session, upstream: Scripted) -> None:
    taken = threading.Event()

    def handler(talk: Conversation) -> None:
        talk.request()
        talk.send(b"HTTP/1.1 200 OK\r\n\r\npart")
        taken.wait(TIMEOUT)
        talk.reset()

    upstream.handler = handler
    with Client(session.url) as client:
        talk = Conversation(client.socket)
        talk.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        talk.until(b"part")
        taken.set()
        with pytest.raises(ConnectionResetError):
            client.socket.recv(1)


@pytest.mark.parametrize("raw", [b"", b"HTTP/1.1 200 OK\r\nContent-", b"garbage\r\n\r\n"])
def test_an_answer_that_never_came_is_a_bad_gateway(session: nbproxy.Session, upstream: Scripted, raw: bytes) -> None:
    upstream.handler = lambda talk: (talk.request(), talk.send(raw))[1]
    with Client(session.url) as client:
        got = client.ask(b"POST", b"/", b"x")
    assert got.status == 502
    assert got.json["error"]["type"] == "nbproxy_upstream_unreachable"
    assert got.json["error"]["root_cause"][0]["reason"] == got.json["error"]["reason"]
    assert got.all(b"content-type") == [b"application/json"]
    assert session.errors[-1].where == "upstream"


def test_upstream_down_is_502_and_up_again_is_well(start: Start, upstream: Scripted) -> None:
    with Scripted() as gone:
        pass
    session = start(gone.url)
    with Client(session.url) as client:
        assert client.ask(b"GET").status == 502
        assert client.ask(b"HEAD").body == b""


def test_a_silent_upstream_is_504(start: Start, upstream: Scripted) -> None:
    upstream.handler = lambda talk: (talk.request(), talk.closed(), None)[2]
    session = start(upstream.url, timeout=0.3)
    with Client(session.url) as client:
        got = client.ask(b"GET")
    assert (got.status, got.json["error"]["type"]) == (504, "nbproxy_upstream_timeout")


def test_a_stale_connection_is_replaced_for_a_get_but_a_post_goes_once(
    session: nbproxy.Session, upstream: Scripted
) -> None:
    posts: list[bytes] = []

    def handler(talk: Conversation) -> None:
        head, _ = talk.request()
        talk.send(OK)
        head, _ = talk.request()
        posts.append(head.split()[0])
        talk.reset()  # before any byte of an answer

    upstream.handler = handler
    with Client(session.url) as client:
        assert client.ask(b"GET").status == 200
        assert client.ask(b"GET").status == 200  # closed under it, sent again on a new connection
        assert client.ask(b"POST", b"/", b"x").status == 502
    assert posts == [b"GET", b"POST"]


def test_bytes_behind_an_answer_never_reach_the_next(session: nbproxy.Session, upstream: Scripted) -> None:
    upstream.answers(OK + b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison")
    with Client(session.url) as client:
        assert [client.ask(b"GET").body for _ in range(4)] == [b"ok"] * 4


@pytest.mark.parametrize(
    "leave",
    [
        Client.reset,
        pytest.param(Client.close, marks=pytest.mark.skipif(sys.platform != "linux", reason="Linux tells")),
    ],
)
def test_a_client_that_leaves_frees_upstream(
    session: nbproxy.Session, upstream: Scripted, leave: Callable[[Client], None]
) -> None:
    asked, freed = threading.Event(), threading.Event()

    def handler(talk: Conversation) -> None:
        talk.request()
        asked.set()
        if talk.closed():
            freed.set()

    upstream.handler = handler
    client = Client(session.url)
    client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    assert asked.wait(TIMEOUT)
    leave(client)
    assert freed.wait(TIMEOUT)
    assert session.frame.error.iloc[-1] == "the client closed the connection"


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (b"CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n", 405),
        (b"GET http://elsewhere/ HTTP/1.1\r\nHost: elsewhere\r\n\r\n", 421),
        (b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"y" * 70_000 + b"\r\n\r\n", 431),
    ],
)
def test_a_refused_request_is_told_why_and_goes_nowhere(
    session: nbproxy.Session, upstream: Scripted, raw: bytes, status: int
) -> None:
    seen = upstream.answers(OK)
    with Client(session.url) as client:
        client.send(raw)
        got = client.read()
        assert got.status == got.json["status"] == status
        assert client.rest() == b""
    assert not seen
    assert session.frame.status.iloc[-1] == status


def test_our_own_host_in_absolute_form_is_served(session: nbproxy.Session, upstream: Scripted) -> None:
    seen = upstream.answers(OK)
    with Client(session.url) as client:
        client.send(b"GET http://%b/p?q HTTP/1.1\r\nHost: %b\r\n\r\n" % (client.authority, client.authority))
        assert client.read().status == 200
    assert seen[0][0].startswith(b"GET /p?q HTTP/1.1\r\n")


@pytest.mark.parametrize("prefix", [b"", b"/es"])
def test_where_upstream_judges_the_host_it_judges_absolute_forms_too(
    start: Start, upstream: Scripted, prefix: bytes
) -> None:
    """So does a server that is itself a proxy (urllib3's suite), or is asked for a name that is not quite ours."""
    seen = upstream.answers(OK)
    session = start(upstream.url + prefix.decode(), host_header="preserve")
    for place in (b"http://LoCaLhOsT:9", b"https://trusted.example"):
        with Client(session.url) as client:
            client.send(b"GET %b/p?q HTTP/1.1\r\nHost: %b\r\n\r\n" % (place, place.rpartition(b"/")[2]))
            assert client.read().status == 200
        assert seen.pop()[0].startswith(
            b"GET %b%b/p?q HTTP/1.1\r\nHost: %b\r\n" % (place, prefix, place.split(b"/")[2])
        )
    with Client(session.url) as client:
        client.send(b"GET http://elsewhere/_nbproxy/status HTTP/1.1\r\nHost: elsewhere\r\n\r\n")
        assert client.read().status == 421
    assert not seen


@pytest.mark.parametrize("target", [b"/", b"/books/_search?q=a"])
def test_what_a_client_says_of_its_connection_is_said_of_the_one_upstream(
    session: nbproxy.Session, upstream: Scripted, target: bytes
) -> None:
    """The tests of both JavaScript clients look for it, at either end."""
    seen: list[bytes] = []

    def handler(talk: Conversation) -> None:
        while True:
            seen.append(talk.head())
            talk.send(OK.replace(b"\r\n\r\n", b"\r\nConnection: keep-alive\r\nKeep-Alive: timeout=5\r\n\r\n"))

    upstream.handler = handler
    with Client(session.url) as client:
        for asked, told in (
            (b"Keep-Alive", b"keep-alive"),
            (b"keep-alive, X-Hop", b"keep-alive"),
            (b"close", b"close"),
        ):
            client.send(b"GET %b HTTP/1.1\r\nHost: a\r\nConnection: %b\r\nX-Hop: 1\r\n\r\n" % (target, asked))
            talk = Conversation(client.socket)
            lines = talk.head().lower().split(b"\r\n")
            assert talk.exactly(2) == b"ok"
            assert b"connection: " + told in lines
            assert not any(line.startswith(b"keep-alive") for line in lines)
            assert seen[-1].endswith(b"\r\nConnection: %b\r\n\r\n" % told)
            assert seen[-1].count(b"onnection:") == 1
        assert client.rest() == b""
    accepted = upstream.accepted
    with Client(session.url) as client:
        assert client.ask(b"GET").status == 200
    assert upstream.accepted == accepted + 1  # though upstream did not end the last one


def test_slow_heads_and_bodies_are_ended(start: Start, upstream: Scripted) -> None:
    upstream.answers(OK)
    session = start(upstream.url, limits=Limits(head_s=0.2, body_s=0.2, idle_s=0.2))
    for raw, status in (
        (b"GET / HT", b" 408 "),
        (b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nx", b" 408 "),
        (b"", b""),
    ):
        with Client(session.url) as client:
            client.send(raw)
            assert status in client.rest()


def test_too_many_connections_are_503(start: Start, upstream: Scripted) -> None:
    upstream.answers(OK)
    session = start(upstream.url, limits=Limits(connections=1))
    with Client(session.url) as first:
        assert first.ask(b"GET").status == 200
        with Client(session.url) as second:
            assert second.read().status == 503
        assert first.ask(b"GET").status == 200


def test_the_host_is_preserved_where_asked_and_prefixes_are_put_before(start: Start, upstream: Scripted) -> None:
    seen = upstream.answers(OK)
    session = start(upstream.url + "/es/", host_header="preserve", auth=("u", "p"), headers={"X-Team": "search"})
    with Client(session.url) as client:
        client.ask(b"GET", b"/_cat", None, b"Authorization: Bearer mine")
    head = seen[0][0]
    assert head.startswith(b"GET /es/_cat HTTP/1.1\r\n")
    assert b"Host: " + session.url.removeprefix("http://").encode() in head
    assert head.count(b"Authorization:") == 1
    assert b"Authorization: Basic dTpw\r\n" in head
    assert b"X-Team: search\r\n" in head


# -- faithfulness

EVENT = b"data: %d\n\n"


@pytest.mark.parametrize(
    ("head", "event", "end"),
    [
        (CHUNKED, b"9\r\ndata: %d\n\n\r\n", b"0\r\n\r\n"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 45\r\n\r\n", EVENT, b""),
        (b"HTTP/1.1 200 OK\r\n\r\n", EVENT, b""),
        (b"HTTP/1.0 200 OK\r\n\r\n", EVENT, b""),
    ],
    ids=["chunks", "length", "close", "HTTP/1.0"],
)
def test_each_piece_of_an_answer_is_seen_at_once(
    session: nbproxy.Session, upstream: Scripted, head: bytes, event: bytes, end: bytes
) -> None:
    """Server-sent events: the next one is sent only when the last one has been seen."""
    seen = threading.Semaphore(0)

    def handler(talk: Conversation) -> None:
        talk.request()
        talk.send(head)
        for n in range(5):
            assert seen.acquire(timeout=TIMEOUT)
            talk.send(event % n)
        talk.send(end)

    upstream.handler = handler
    with Client(session.url) as client:
        talk = Conversation(client.socket)
        talk.send(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        talk.head()
        for n in range(5):
            seen.release()
            talk.until(EVENT % n)
        assert talk.buffer + client.rest() in (b"", b"\r\n0\r\n\r\n")


def test_each_piece_of_a_request_is_seen_at_once(session: nbproxy.Session, upstream: Scripted) -> None:
    seen = threading.Semaphore(0)

    def handler(talk: Conversation) -> None:
        talk.head()
        for n in range(5):
            talk.until(b"piece %d" % n)
            seen.release()
        talk.until(b"0\r\n\r\n")
        talk.send(OK)

    upstream.handler = handler
    with Client(session.url) as client:
        client.send(b"PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
        for n in range(5):
            client.send(b"7\r\npiece %d\r\n" % n)
            assert seen.acquire(timeout=TIMEOUT)
        client.send(b"0\r\n\r\n")
        assert client.read(b"PUT").body == b"ok"


REQUEST = (
    b"PATCH /a%2Fb/../c?q=%C3%A9&q=2&&z HTTP/1.1\r\naccept: */*\r\nHOST: up\r\nuser-AGENT: x/1 (y; z)\r\n"
    b'Accept-Encoding: gzip;q=1.0, *;q=0\r\nCookie: a=1; b="2"\r\ncookie: c=3\r\nAuthorization: Bearer x==\r\n'
    b'X-Empty:\r\nX-Latin: \xe9\r\nIf-None-Match: W/"x"\r\nRange: bytes=0-1\r\nContent-Type: a/b;c=d\r\n'
    b"Content-Encoding: gzip\r\nX-Forwarded-For: 192.0.2.1\r\nVia: 1.1 b\r\nContent-Length: 3\r\nOrigin: null\r\n\r\n"
    b"\x00\r\n"
)
RESPONSE = (
    b"HTTP/1.1 206 Partial \xe9\r\nserver: up/1\r\nDate: Mon, 01 Jan 2024 00:00:00 GMT\r\nSet-Cookie: a=1; Path=/\r\n"
    b'set-cookie: b=2\r\nLocation: http://elsewhere/x\r\nContent-Range: bytes 0-2/9\r\nETag: W/"x"\r\nX-Empty:\r\n'
    b'Content-Encoding: gzip\r\nWWW-Authenticate: Basic realm="a, b"\r\nX-Elastic-Product: Elasticsearch\r\n'
    b'content-LENGTH: 3\r\nVary: *\r\nAge: 1\r\nAlt-Svc: h2=":443"\r\n\r\n\x00\r\n'
)


def test_nothing_is_added_lost_or_changed(start: Start, upstream: Scripted) -> None:
    came: list[bytes] = []

    def handler(talk: Conversation) -> None:
        came.append(talk.exactly(len(REQUEST)))
        talk.send(RESPONSE)
        talk.closed()

    upstream.handler = handler
    with Client(start(upstream.url, host_header="preserve").url) as client:
        talk = Conversation(client.socket)
        talk.send(REQUEST)
        assert talk.exactly(len(RESPONSE)) == RESPONSE
    assert came == [REQUEST]


@pytest.mark.parametrize(
    ("field", "told"),
    [
        (b"ETag: a", "ETag: a"),
        (b"Set-Cookie: sesame", "Set-Cookie: [redacted]"),
        (b"Location: http://a/?token=sesame", "Location: http://a/?token=[redacted]"),
        (b"Connection: keep-alive\r\nKeep-Alive: 5", "Connection: keep-alive\nKeep-Alive: 5"),
    ],
    ids=["harmless", "a cookie", "a token", "fields of one hop"],
)
def test_large_answers_are_recorded_without_secrets(
    start: Start, upstream: Scripted, tmp_path: Path, field: bytes, told: str
) -> None:
    """They lie in the recording behind where their heads were read. The same head comes again and again, so that it is
    known by heart, and a longer body so that there is no room."""
    rest = b"Content-Length: %d\r\n\r\n%b"
    bodies = [b"%03d" % n * (11_000 if n != 50 else 80_000) for n in range(100)]
    upstream.answers(*(b"HTTP/1.1 200 OK\r\n" + field + b"\r\n" + rest % (len(body), body) for body in bodies))
    session = start(upstream.url, record=tmp_path)
    name, _, value = field.partition(b"\r\n")[0].partition(b": ")
    with Client(session.url) as client:
        for body in bodies:
            answer = client.ask(b"GET", b"/")
            assert answer.body == body
            assert dict(answer.fields) == {name: value, b"Content-Length": b"%d" % len(body)}
    kept, frame = [body[:65_536] for body in bodies], session.frame
    assert frame.response_body.tolist() == kept
    assert set(frame.response_headers[:50]) == {f"{told}\nContent-Length: 33000"}
    streams = b"".join(path.read_bytes() for path in tmp_path.glob("rows-*.arrows"))
    assert bodies[30] in streams
    assert b"sesame" not in streams
    session.stop()
    assert nbproxy.load(tmp_path).frame.response_body.tolist() == kept


def test_pipelined_requests_of_all_kinds_are_answered_in_order(session: nbproxy.Session, upstream: Scripted) -> None:
    answers = {
        b"HEAD": b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n",
        b"PUT": b"HTTP/1.1 103 E\r\n\r\n" + CHUNKED + b"3\r\nput\r\n0\r\nX: y\r\n\r\n",
        b"DELETE": b"HTTP/1.1 204 N\r\n\r\n",
        b"LOCK": b"HTTP/1.1 304 N\r\nContent-Length: 9\r\n\r\n",
        b"GET": OK,
    }
    seen: list[tuple[bytes, bytes]] = []

    def handler(talk: Conversation) -> None:
        while True:
            head, body = talk.request()
            seen.append((method := head.split()[0], body))
            talk.send(answers[method])

    upstream.handler = handler
    chunks = b"Transfer-Encoding: chunked\r\n\r\n3\r\nput\r\n0\r\n\r\n"
    bodies = {b"PUT": (chunks, b"put"), b"LOCK": (b"Content-Length: 4\r\n\r\nlock", b"lock")}
    methods = [*answers] * 5
    with Client(session.url) as client:
        for method in methods:
            client.send(b"%b / HTTP/1.1\r\nHost: a\r\n%b" % (method, bodies.get(method, (b"\r\n", b""))[0]))
        got = [client.read(method) for method in methods]
    assert seen == [(method, bodies.get(method, (b"", b""))[1]) for method in methods]
    assert [answered.body for answered in got] == [b"", b"put", b"", b"", b"ok"] * 5
    assert [answered.status for answered in got] == [200, 200, 204, 304, 200] * 5


def test_both_sides_may_speak_early_in_a_tunnel_and_end_it_alone(session: nbproxy.Session, upstream: Scripted) -> None:
    """A WebSocket client may send frames right behind its request; either side may end its own first."""
    rest: list[bytes] = []

    def handler(talk: Conversation) -> None:
        head = talk.head()
        assert b"\r\nUpgrade: websocket\r\n" in head
        assert b"\r\nSec-WebSocket-Key: x\r\n" in head
        talk.send(b"HTTP/1.1 101 S\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n\x00\xff")
        assert talk.exactly(5) == b"early"
        talk.socket.shutdown(socket.SHUT_WR)
        while data := talk.socket.recv(100):
            rest.append(data)

    upstream.handler = handler
    with Client(session.url) as client:
        talk = Conversation(client.socket)
        talk.send(
            b"GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, upgrade\r\nUpgrade: websocket\r\n"
            b"Sec-WebSocket-Key: x\r\n\r\nearly"
        )
        assert talk.head().startswith(b"HTTP/1.1 101 S\r\n")
        assert talk.exactly(2) == b"\x00\xff"
        assert talk.closed()
        talk.send(b"still ", b"heard")
        client.socket.shutdown(socket.SHUT_WR)
        upstream.settle()
    assert b"".join(rest) == b"still heard"


def test_a_tunnel_that_upstream_ends_first_is_over(session: nbproxy.Session, upstream: Scripted) -> None:
    def handler(talk: Conversation) -> None:
        talk.head()
        talk.send(b"HTTP/1.1 101 S\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n")
        talk.socket.shutdown(socket.SHUT_WR)
        talk.closed()

    upstream.handler = handler
    with Client(session.url) as client:
        talk = Conversation(client.socket)
        talk.send(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n")
        talk.head()
        assert talk.closed()
        client.socket.shutdown(socket.SHUT_WR)
        upstream.settle()
        assert session.frame.status.tolist() == [101]


def test_an_early_refusal_reaches_a_client_that_waits_to_continue(session: nbproxy.Session, upstream: Scripted) -> None:
    def handler(talk: Conversation) -> None:
        talk.head()
        talk.send(b"HTTP/1.1 401 No\r\nContent-Length: 3\r\nConnection: close\r\n\r\nwho")

    upstream.handler = handler
    with Client(session.url) as client:
        client.send(b"PUT / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\n")
        got = client.read(b"PUT")
        assert (got.status, got.body, got.interim) == (401, b"who", [])


def test_an_upload_goes_on_behind_an_answer_that_closes(session: nbproxy.Session, upstream: Scripted) -> None:
    """Upstream has answered and reads no more: the client is not cut off in the middle of what it sends."""

    def handler(talk: Conversation) -> None:
        talk.head()
        talk.send(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        talk.socket.shutdown(socket.SHUT_WR)
        talk.exactly(1 << 16)

    upstream.handler = handler
    with Client(session.url) as client:
        client.send(b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % (1 << 22))
        assert client.read(b"PUT").status == 413
        client.send(b"x" * (1 << 22))


@pytest.mark.parametrize("size", [1 << 14, 1 << 18, 1 << 22])
def test_a_refusal_reaches_a_client_whose_upload_is_reset(
    session: nbproxy.Session, upstream: Scripted, size: int
) -> None:
    """Upstream answers and closes without reading on, so that a reset follows the answer at once."""

    def handler(talk: Conversation) -> None:
        talk.head()
        talk.send(b"HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\nConnection: close\r\n\r\nbig")
        talk.socket.close()

    upstream.handler = handler
    for _ in range(20):
        with Client(session.url) as client:
            client.send(b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % size)
            client.send(b"x" * size)
            got = client.read(b"PUT")
            assert (got.status, got.body) == (413, b"big")
            assert client.rest() == b""


def test_what_upstream_says_of_its_connection_is_heeded(session: nbproxy.Session, upstream: Scripted) -> None:
    """Four answers, on three connections: only the second of them is used again."""
    upstream.answers(
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: x, CLOSE\r\n\r\nok",
        b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\nConnection: Keep-Alive\r\n\r\nok",
        b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
        OK,
    )
    with Client(session.url) as client:
        assert client.ask(b"GET").all(b"connection") == [b"close"]
        assert client.rest() == b""
    with Client(session.url) as client:
        assert [client.ask(b"GET").body for _ in range(3)] == [b"ok"] * 3
    assert upstream.accepted == 3


def test_a_client_of_http10_keeps_its_connection(session: nbproxy.Session, upstream: Scripted) -> None:
    upstream.answers(OK)
    with Client(session.url) as client:
        talk = Conversation(client.socket)
        for _ in range(3):
            talk.send(b"GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n")
            head = talk.head().lower()
            assert b"connection: keep-alive" in head
            assert b"content-length: 2\r\n" in head
            assert talk.exactly(2) == b"ok"


# A request that upstream never answers serves as a clock: once it has got its 504, whatever began to wait before it has
# waited longer than upstream may be silent.
def tick(session: nbproxy.Session) -> None:
    with Client(session.url) as clock:
        assert clock.ask(b"GET", b"/silent").status == 504


def test_a_client_may_be_slower_than_upstream_may_be(start: Start, upstream: Scripted) -> None:
    came = threading.Event()

    def handler(talk: Conversation) -> None:
        if b" /silent " in talk.head():
            talk.closed()
            return
        came.set()
        assert talk.exactly(10) == b"firstlater"
        talk.send(OK)

    upstream.handler = handler
    session = start(upstream.url, timeout=Timeouts(connect=2, read=0.1))
    with Client(session.url) as client:
        client.send(b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nfirst")
        assert came.wait(TIMEOUT)
        tick(session)
        client.send(b"later")
        assert client.read(b"PUT").status == 200


@pytest.mark.parametrize("first", ["client", "upstream"])
def test_a_reset_in_a_tunnel_is_a_reset_on_the_other_side(
    session: nbproxy.Session, upstream: Scripted, first: str
) -> None:
    open_, seen = threading.Event(), list[type[BaseException] | bytes]()
    ended = threading.Event()

    def outcome(sock: socket.socket) -> type[BaseException] | bytes:
        try:
            return sock.recv(1)
        except OSError as error:
            return type(error)

    def handler(talk: Conversation) -> None:
        talk.head()
        talk.send(b"HTTP/1.1 101 S\r\nConnection: Upgrade\r\nUpgrade: other-than-asked\r\n\r\n")
        if first == "upstream":
            open_.wait(TIMEOUT)
            talk.reset()
        else:
            seen.append(outcome(talk.socket))
            ended.set()

    upstream.handler = handler
    with Client(session.url) as client:
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n")
        assert b"\r\nUpgrade: other-than-asked\r\n" in Conversation(client.socket).head()
        open_.set()
        if first == "client":
            client.reset()
            assert ended.wait(TIMEOUT)
        else:
            seen.append(outcome(client.socket))
    assert seen == [ConnectionResetError]


def test_a_tunnel_may_be_silent(start: Start, upstream: Scripted) -> None:
    came = threading.Event()

    def handler(talk: Conversation) -> None:
        if b" /silent " in talk.head():
            talk.closed()
            return
        talk.send(b"HTTP/1.1 101 S\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n")
        talk.exactly(4)
        came.set()
        talk.send(talk.exactly(4))

    upstream.handler = handler
    session = start(upstream.url, timeout=Timeouts(connect=2, read=0.1))
    with Client(session.url) as client:
        talk = Conversation(client.socket)
        talk.send(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n")
        talk.head()
        talk.send(b"ping")
        assert came.wait(TIMEOUT)
        tick(session)
        talk.send(b"pong")
        assert talk.exactly(4) == b"pong"


def test_a_body_cut_short_before_upstream_is_connected(start: Start, upstream: Scripted) -> None:
    upstream.handler = lambda talk: (talk.head(), talk.closed(), None)[2]
    session = start(upstream.url, timeout=Timeouts(connect=2, read=0.1))
    with Client(session.url) as client:
        client.send(b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nfirst")
        client.socket.shutdown(socket.SHUT_WR)
        assert client.rest() == b""
    assert session.frame.error.iloc[-1] == "the client closed the connection"


def test_no_body_means_nothing_to_continue_with(session: nbproxy.Session, upstream: Scripted) -> None:
    upstream.answers(OK)
    with Client(session.url) as client:
        got = client.ask(b"GET", b"/", None, b"Expect: 100-continue")
        assert (got.body, got.all(b"connection")) == (b"ok", [])
        assert client.ask(b"POST", b"/", b"", b"Expect: 100-continue").all(b"connection") == []


@pytest.mark.parametrize("said", [b"Connection: close\r\n", b""])
def test_an_early_answer_that_closes_ends_the_clients_connection_too(
    session: nbproxy.Session, upstream: Scripted, said: bytes
) -> None:
    """A client that reads to the end must see one, though its own request never ends (tornado's suite does this);
    whether upstream had said so or just closes."""

    def handler(talk: Conversation) -> None:
        talk.head()
        talk.send(b"HTTP/1.1 401 No\r\nContent-Length: 0\r\n%b\r\n" % said)

    upstream.handler = handler
    with Client(session.url) as client:
        client.send(b"PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nmore\r\n")
        assert client.rest().startswith(b"HTTP/1.1 401 No\r\n")


def test_a_request_behind_a_body_that_nobody_takes_is_answered(session: nbproxy.Session, upstream: Scripted) -> None:
    """The answer came early and said nothing of an end: so upstream's own end is not the client's."""
    ended = threading.Event()

    def handler(talk: Conversation) -> None:
        if b"PUT" in talk.head():
            talk.exactly(1)  # all that was sent so far: nothing is on its way that a reset could meet before the answer
            talk.send(b"HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n")
            talk.reset()
            ended.set()
        else:
            talk.send(OK)
            talk.closed()

    upstream.handler = handler
    with Client(session.url) as client:
        client.send(b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\nx")
        assert (client.read(b"PUT").status, ended.wait(TIMEOUT)) == (404, True)
        client.send(b"x" * 99_999 + b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert client.read().status == 200


def test_a_connection_that_was_asked_to_switch_is_not_used_again(session: nbproxy.Session, upstream: Scripted) -> None:
    """Upstream kept it alive, but may have handed it over: node's servers do (the suite of ``ws`` shows it)."""
    ended = threading.Event()

    def handler(talk: Conversation) -> None:
        asked = b"upgrade: websocket" in talk.head().lower()
        talk.send(OK)
        if asked and talk.closed():
            ended.set()

    upstream.handler = handler
    with Client(session.url) as client:
        assert client.ask(b"GET", b"/", None, b"Connection: Upgrade", b"Upgrade: websocket").status == 200
        assert client.ask(b"GET").status == 200
        assert ended.wait(TIMEOUT)


def test_a_client_that_ends_before_its_tunnel_is_there_has_gone(session: nbproxy.Session, upstream: Scripted) -> None:
    """A half-closed client gets its answer, but nobody half-closes what is to become a WebSocket: upstream is told at
    once (the suite of ``ws`` waits for it)."""
    asked, ended = threading.Event(), threading.Event()

    def handler(talk: Conversation) -> None:
        talk.head()
        asked.set()
        if talk.closed():
            ended.set()

    upstream.handler = handler
    with Client(session.url) as client:
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
        assert asked.wait(TIMEOUT)
        client.socket.shutdown(socket.SHUT_WR)
        assert ended.wait(TIMEOUT)
        assert client.rest() == b""  # an end, not a reset


def test_every_interim_answer_is_relayed(session: nbproxy.Session, upstream: Scripted) -> None:
    upstream.answers(b"HTTP/1.1 100 Continue\r\n\r\n" * 3 + b"HTTP/1.1 102 P\r\n\r\n" * 2 + OK)
    with Client(session.url) as client:
        assert client.ask(b"GET").interim == [100, 100, 100, 102, 102]


def test_a_client_of_http10_is_not_told_what_it_knows(session: nbproxy.Session, upstream: Scripted) -> None:
    upstream.answers(OK)
    with Client(session.url) as client:
        client.send(b"GET / HTTP/1.0\r\n\r\n")
        assert client.rest() == OK


UPGRADE = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n"
SWITCHED = b"HTTP/1.1 101 S\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n"


@pytest.mark.parametrize("side", ["client", "upstream"])
def test_a_tunnel_is_read_only_as_fast_as_the_other_side_takes_it(
    session: nbproxy.Session, upstream: Scripted, side: str
) -> None:
    done, sent = threading.Event(), [64]

    def handler(talk: Conversation) -> None:
        talk.head()
        talk.send(SWITCHED)
        if side == "upstream":
            sent[0] = taken(talk.socket)
            done.set()
        done.wait(TIMEOUT)

    upstream.handler = handler
    with Client(session.url) as client:
        talk = Conversation(client.socket)
        talk.send(UPGRADE)
        talk.head()
        if side == "client":
            sent[0] = taken(client.socket)
            done.set()
        assert done.wait(TIMEOUT)
    assert sent[0] < 40


def test_what_is_said_before_a_tunnel_is_there_and_after_arrives(session: nbproxy.Session, upstream: Scripted) -> None:
    """More than waits here: the rest waits in the socket."""
    early, late, came = b"e" * 300_000, b"late" * 100, threading.Event()

    def handler(talk: Conversation) -> None:
        talk.head()
        came.wait(TIMEOUT)
        talk.send(SWITCHED)
        assert talk.exactly(len(early)) == early
        talk.send(b"ready")
        assert talk.exactly(len(late)) == late
        talk.send(b"end" if talk.closed() else b"more")

    upstream.handler = handler
    with Client(session.url) as client:
        talk = Conversation(client.socket)
        talk.send(UPGRADE + early)
        came.set()
        talk.head()
        assert talk.exactly(5) == b"ready"
        talk.send(late)
        client.socket.shutdown(socket.SHUT_WR)
        assert talk.exactly(3) == b"end"


def test_who_has_said_all_gets_every_answer(session: nbproxy.Session, upstream: Scripted) -> None:
    """Also where answers to it, and requests of it, wait until it reads on."""
    body = b"x" * 250_000
    seen = upstream.answers(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
    with Client(session.url) as client:
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n" * 60)  # more than all buffers hold the answers of
        assert client.read().body == body
        client.socket.shutdown(socket.SHUT_WR)
        assert all(client.read().body == body for _ in range(59))
        assert client.rest() == b""
    assert len(seen) == 60


def test_the_end_of_what_a_client_says_may_come_at_any_time(session: nbproxy.Session, upstream: Scripted) -> None:
    """While an answer is awaited, or between two."""
    upstream.answers(OK)
    for _ in range(100):
        with Client(session.url) as client:
            client.send(b"GET /first HTTP/1.1\r\nHost: a\r\n\r\nGET /second HTTP/1.1\r\nHost: a\r\n\r\n")
            client.socket.shutdown(socket.SHUT_WR)
            assert client.rest() == OK * 2


def test_who_reads_nothing_is_read_no_more(session: nbproxy.Session, upstream: Scripted) -> None:
    body = b"x" * 250_000
    seen = upstream.answers(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
    request = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1048400\r\n\r\n"
    with Client(session.url) as client:
        sent = taken(client.socket, request + b"x" * 1_048_400)
        assert sent < 40
        assert len(seen) <= sent


def test_an_end_inside_a_request_that_waited_is_seen_when_its_turn_comes(
    session: nbproxy.Session, upstream: Scripted
) -> None:
    ended, answer = threading.Event(), threading.Event()

    def handler(talk: Conversation) -> None:
        head = talk.head()
        if b"GET" in head:
            assert answer.wait(TIMEOUT)
            talk.send(OK)
            head = talk.head()
        with pytest.raises((EOFError, ConnectionError)):
            talk.exactly(10)
        ended.set()

    upstream.handler = handler
    with Client(session.url) as client:
        client.send(
            b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\nPOST /b HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhel"
        )
        client.socket.shutdown(socket.SHUT_WR)
        answer.set()
        assert client.read().body == b"ok"
        assert client.rest() == b""
        assert ended.wait(TIMEOUT)


def test_who_answers_early_and_reads_no_more_is_not_waited_for(start: Start, upstream: Scripted) -> None:
    """Neither by the client, which cannot send the rest, nor for the connection's sake."""
    session, over, ended = start(upstream.url, timeout=Timeouts(read=0.5)), threading.Event(), threading.Event()

    def handler(talk: Conversation) -> None:
        talk.head()
        talk.send(b"HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\n\r\nbig")
        assert over.wait(TIMEOUT)
        swallow(talk.socket)
        ended.set()

    upstream.handler = handler
    with Client(session.url) as client:
        client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % (256 << 20))
        assert client.read().status == 413
        with contextlib.suppress(ConnectionError):  # it is read and forgotten for a while, then refused
            for _ in range(256):
                client.send(b"x" * (1 << 20))
        over.set()
        assert ended.wait(TIMEOUT)


def test_a_search_that_proves_too_large_is_read_only_as_fast_as_upstream_takes_it(
    start: Start, upstream: Scripted
) -> None:
    """It was gathered to here, and goes on by a new connection."""
    session, done = start(upstream.url, model="original"), threading.Event()

    def handler(talk: Conversation) -> None:
        done.wait(TIMEOUT)

    upstream.handler = handler
    with Client(session.url) as client:
        client.send(b"POST /a/_search HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n4000000\r\n")
        assert taken(client.socket) < 40
        done.set()


def test_no_tunnel_for_http_1_0_and_no_framing_for_a_204(session: nbproxy.Session, upstream: Scripted) -> None:
    upstream.answers(
        b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
        b"HTTP/1.1 204 N\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 304 N\r\nTransfer-Encoding: chunked\r\n\r\n",
    )
    with Client(session.url) as client:
        client.send(b"GET / HTTP/1.0\r\n\r\n")
        assert client.read().status == 502
    for status, kept in ((204, b""), (304, b"Transfer-Encoding: chunked\r\n")):
        with Client(session.url) as client:
            client.send(b"HEAD / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            assert client.rest() == b"HTTP/1.1 %d N\r\n%bConnection: close\r\n\r\n" % (status, kept)


@pytest.mark.parametrize("how", ["reset", "close"])
@pytest.mark.parametrize("what", ["upload", "tunnel"])
@pytest.mark.skipif(sys.platform != "linux", reason="a client that has closed is told from a half-closed one on Linux")
def test_who_leaves_while_nobody_reads_is_missed(start: Start, upstream: Scripted, what: str, how: str) -> None:
    """Upstream takes nothing, so that the client is not read."""
    session, left, ended = start(upstream.url, timeout=Timeouts(read=1000)), threading.Event(), threading.Event()

    def handler(talk: Conversation) -> None:
        talk.head()
        if what == "tunnel":
            talk.send(SWITCHED)
        left.wait(TIMEOUT)
        swallow(talk.socket)
        ended.set()

    upstream.handler = handler
    with Client(session.url) as client:
        client.send(UPGRADE if what == "tunnel" else b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000000\r\n\r\n")
        assert taken(client.socket) < 40
        client.reset() if how == "reset" else client.close()
        while session.frame.empty:
            pass
        left.set()
        assert ended.wait(TIMEOUT)


def test_what_a_client_says_last_in_a_tunnel_arrives(session: nbproxy.Session, upstream: Scripted) -> None:
    """Upstream has said all, and takes its time."""
    sizes, came = [4_000_000 + 40_000 * n for n in range(8)], []

    def handler(talk: Conversation) -> None:
        talk.head()
        talk.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
        talk.send(SWITCHED + b"bye")
        talk.socket.shutdown(socket.SHUT_WR)
        size = 0
        while data := talk.socket.recv(4096):
            size += len(data)
        came.append(size)
        done.release()

    done, upstream.handler = threading.Semaphore(0), handler
    for size in sizes:
        with Client(session.url) as client:
            talk = Conversation(client.socket)
            talk.send(UPGRADE)
            talk.head()
            assert talk.exactly(3) == b"bye"
            talk.send(b"x" * size)
            client.socket.shutdown(socket.SHUT_WR)
            assert done.acquire(timeout=TIMEOUT)
    assert came == sizes
