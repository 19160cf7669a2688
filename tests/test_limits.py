"""Every limit and time-out of contract §1, at the limit, one over it, and without it."""

from __future__ import annotations

import gzip
import json
import select
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import nbproxy
from nbproxy import Limits, Timeouts

from .upstreams import TIMEOUT, Client, Conversation, Scripted, searched

pytestmark = pytest.mark.usefixtures("both_loops")
Start = Callable[..., nbproxy.Session]
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
SOON = 0.2  # a time-out that is waited for


def backwards(query: str, texts: list[str]) -> list[float]:
    return [float(n) for n in range(len(texts))]


def head(size: int, fields: int = 2) -> bytes:
    """A request head of ``size`` bytes with so many fields."""
    start = b"GET / HTTP/1.1\r\nHost: a\r\n" + b"A:b\r\n" * (fields - 2)
    return start + b"X: " + b"y" * (size - len(start) - 7) + b"\r\n\r\n"


def with_fields(count: int) -> bytes:
    return b"GET / HTTP/1.1\r\nHost: a\r\n" + b"A: b\r\n" * (count - 1) + b"\r\n"


def with_target(size: int) -> bytes:
    return b"GET /%b HTTP/1.1\r\nHost: a\r\n\r\n" % (b"x" * (size - 1))


@pytest.mark.parametrize(
    ("limits", "raw", "status"),
    [
        (Limits(head_bytes=500), head(500), 200),
        (Limits(head_bytes=500), head(501), 431),
        (Limits(), head(65_536), 200),
        (Limits(), head(65_537), 431),
        (Limits(head_bytes=None), head(2_000_000), 200),
        (Limits(head_fields=3), with_fields(3), 200),
        (Limits(head_fields=3), with_fields(4), 431),
        (Limits(), with_fields(256), 200),
        (Limits(), with_fields(257), 431),
        (Limits(head_fields=None), with_fields(5_000), 200),
        (Limits(target_bytes=20), with_target(20), 200),
        (Limits(target_bytes=20), with_target(21), 414),
        (Limits(), with_target(8_192), 200),
        (Limits(), with_target(8_193), 414),
        (Limits(), with_target(60_000), 414),
        (Limits(target_bytes=None), with_target(60_000), 200),
        (Limits(target_bytes=None), with_target(70_000), 431),
    ],
)
@pytest.mark.parametrize("step", [100_000_000, 4_000])
def test_heads(start: Start, upstream: Scripted, limits: Limits, raw: bytes, status: int, step: int) -> None:
    """However the head comes apart on its way."""
    seen = upstream.answers(OK)
    session = start(upstream.url, limits=limits)
    with Client(session.url) as client:
        client.send(*(raw[at : at + step] for at in range(0, len(raw), step)))
        got = client.read()
        assert got.status == status
        if status != 200:
            assert (got.json["status"], got.json["error"]["type"]) == (status, "nbproxy_limit")
            assert client.rest() == b""
    assert len(seen) == (status == 200)
    assert session.frame.status.tolist() == [status]


def test_an_endless_target_or_method_ends_early(start: Start, upstream: Scripted) -> None:
    session = start(upstream.url)
    for raw, status in (
        (b"GET /" + b"x" * 9_000, 414),
        (b"G" * 70_000, 414),
        (b"GET / HTTP/1.1\r\n" + b"x" * 70_000, 431),
    ):
        with Client(session.url) as client:
            client.send(raw)
            assert client.read().status == status


# -- searches


def search_of(size: int) -> bytes:
    body = json.dumps({"query": {"match": {"title": "red shoes"}}}).encode()
    return body + b" " * (size - len(body))


def chunks(body: bytes) -> bytes:
    return b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)


@pytest.mark.parametrize(("size", "limit", "reason"), [(300, 300, None), (301, 300, "too-large"), (10_000, None, None)])
@pytest.mark.parametrize("how", ["length", "chunked", "gzip"])
def test_a_searchs_body(
    start: Start, upstream: Scripted, size: int, limit: int | None, reason: str | None, how: str
) -> None:
    answer = json.dumps(searched("POST", "/books/_search", {}, b'{"size": 50}')[1]).encode()
    seen = upstream.answers(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(answer), answer))
    session = start(upstream.url, model=backwards, limits=Limits(search_bytes=limit))
    body, sent, field = search_of(size), search_of(size), b"Content-Length: %d" % size
    if how == "chunked":
        sent, field = chunks(body), b"Transfer-Encoding: chunked"
    elif how == "gzip":
        sent = gzip.compress(body)
        field = b"Content-Encoding: gzip\r\nContent-Length: %d" % len(sent)
    with Client(session.url) as client:
        client.send(b"POST /books/_search HTTP/1.1\r\nHost: a\r\n%b\r\n\r\n%b" % (field, sent))
        assert client.read(b"POST").json["hits"]["hits"][0]["_id"] == ("49" if reason is None else "0")
    row = session.frame.iloc[0]
    assert (None if row.isna().reason else row.reason) == reason
    if reason is not None:
        assert seen[0][1] == (sent if how == "gzip" else body)  # as it was


@pytest.mark.parametrize("over", [None, 0, 1])
@pytest.mark.parametrize("coding", [None, "gzip"])
def test_a_searchs_answer(start: Start, upstream: Scripted, over: int | None, coding: str | None) -> None:
    plain = json.dumps(searched("POST", "/books/_search", {}, b'{"size": 50}')[1]).encode()
    body = gzip.compress(plain) if coding else plain
    coded = b"Content-Encoding: gzip\r\n" if coding else b""
    upstream.answers(b"HTTP/1.1 200 OK\r\n%bContent-Length: %d\r\n\r\n%b" % (coded, len(body), body))
    session = start(
        upstream.url, model=backwards, limits=Limits(answer_bytes=None if over is None else len(plain) - over)
    )
    with Client(session.url) as client:
        got = client.ask(b"POST", b"/books/_search", search_of(100), b"Accept-Encoding: gzip")
    row = session.frame.iloc[0]
    if over == 1:
        assert (row.reason, got.body) == ("too-large", body)
    else:
        assert row.isna().reason
        assert json.loads(gzip.decompress(got.body) if coding else got.body)["hits"]["hits"][0]["_id"] == "49"


# -- connections

Opened = Callable[[nbproxy.Session], Client]


def test_as_many_connections_as_are_allowed(start: Start, upstream: Scripted, opened: Opened) -> None:
    upstream.answers(OK)
    session = start(upstream.url, limits=Limits(connections=3))
    clients = [opened(session) for _ in range(3)]
    assert [client.ask(b"GET").status for client in clients] == [200] * 3
    for _ in range(5):
        with Client(session.url) as refused:
            got = refused.read()
            assert (got.status, got.json["error"]["type"]) == (503, "nbproxy_limit")
            assert got.all(b"connection") == [b"close"]
            assert refused.rest() == b""
        assert [client.ask(b"GET").status for client in clients] == [200] * 3


def test_who_was_refused_takes_no_place(start: Start, upstream: Scripted, opened: Opened) -> None:
    """A refused client that stays does not keep out those who come when places are free again."""
    upstream.answers(OK)
    session = start(upstream.url, limits=Limits(connections=1))
    with Client(session.url) as first:
        assert first.ask(b"GET").status == 200
        refused = [opened(session) for _ in range(3)]
        assert [client.read().status for client in refused] == [503] * 3
        first.send(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        assert first.read().status == 200
        assert first.rest() == b""
    with Client(session.url) as second:
        assert second.ask(b"GET").status == 200


def test_without_a_limit_on_connections(start: Start, upstream: Scripted, opened: Opened) -> None:
    upstream.answers(OK)
    session = start(upstream.url, limits=Limits(connections=None))
    clients = [opened(session) for _ in range(200)]
    for client in clients:
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    assert {client.read().status for client in clients} == {200}


# -- time


@pytest.fixture
def later() -> Callable[[nbproxy.Session], None]:
    """Waits until a connection that began afterwards was closed for idling: so much time has passed."""

    def wait(session: nbproxy.Session) -> None:
        with Client(session.url) as idle:
            assert idle.rest() == b""

    return wait


REQUEST = b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi"


@pytest.mark.parametrize(
    ("limits", "cut"), [(Limits(head_s=None, idle_s=SOON), 9), (Limits(body_s=None, idle_s=SOON), -1)]
)
def test_without_a_limit_on_a_request(
    start: Start, upstream: Scripted, later: Callable[..., None], limits: Limits, cut: int
) -> None:
    upstream.answers(OK)
    session = start(upstream.url, limits=limits)
    with Client(session.url) as client:
        client.send(REQUEST[:cut])
        later(session)
        client.send(REQUEST[cut:])
        assert client.read(b"PUT").status == 200


def test_without_a_limit_on_idling(start: Start, upstream: Scripted) -> None:
    upstream.answers(OK)
    session = start(upstream.url, limits=Limits(idle_s=None, head_s=SOON))
    with Client(session.url) as client, Client(session.url) as fresh, Client(session.url) as slow:
        assert client.ask(b"GET").status == 200
        slow.send(b"G")
        assert slow.read().status == 408  # so much time has passed
        assert client.ask(b"GET").status == 200
        assert fresh.ask(b"GET").status == 200


@pytest.mark.parametrize("target", [b"/", b"/books/_search", b"/_nbproxy/model"])
def test_a_body_that_stops_is_408(start: Start, upstream: Scripted, target: bytes) -> None:
    upstream.answers(OK)
    session = start(upstream.url, model=backwards, limits=Limits(body_s=SOON))
    for framing in (b"Content-Length: 9\r\n\r\nx", b"Transfer-Encoding: chunked\r\n\r\n5\r\nx"):
        with Client(session.url) as client:
            client.send(b"POST %b HTTP/1.1\r\nHost: a\r\n%b" % (target, framing))
            got = client.read(b"POST")
            assert (got.status, got.json["error"]["type"]) == (408, "nbproxy_limit")
            assert client.rest() == b""
    assert session.frame.status.tolist() == [408] * 2


def test_a_head_that_drips_is_408(start: Start, upstream: Scripted) -> None:
    """A byte now and then does not prolong it, nor does a first request that was served."""
    upstream.answers(OK)
    session = start(upstream.url, limits=Limits(head_s=SOON, idle_s=None))
    with Client(session.url) as client:
        assert client.ask(b"GET").status == 200
        client.send(b"GET / HTTP/1.1\r\nX: ")
        while not select.select([client.socket], [], [], 0.01)[0]:
            client.send(b"x")
        assert client.read().status == 408


def test_blank_lines_do_not_keep_a_connection(start: Start, upstream: Scripted) -> None:
    session = start(upstream.url, limits=Limits(head_s=SOON, idle_s=SOON))
    with Client(session.url) as client:
        for _ in range(150):
            if select.select([client.socket], [], [], 0.01)[0]:
                break
            client.send(b"\r\n")
        else:
            pytest.fail("still open")


@pytest.mark.parametrize("target", [b"/", b"/books/_search"])
def test_who_does_not_read_its_answer_is_dropped(start: Start, upstream: Scripted, target: bytes) -> None:
    """Upstream is read no further than the client, and both are let go."""
    dropped = threading.Event()

    def handler(talk: Conversation) -> None:
        talk.request()
        try:
            talk.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n", *[b"x" * 1_000_000] * 1000)
        finally:
            dropped.set()

    upstream.handler = handler
    session = start(upstream.url, limits=Limits(idle_s=SOON))
    with Client(session.url) as client:
        client.send(b"GET %b HTTP/1.1\r\nHost: a\r\n\r\n" % target)
        assert dropped.wait(TIMEOUT)
        assert session.frame.error.tolist() == ["the client closed the connection"]
        assert session.frame.bytes_out[0] < 50_000_000


@pytest.fixture
def large(start: Start, upstream: Scripted) -> Callable[[Limits], nbproxy.Session]:
    """Sessions whose searches are answered with 30 MB: more than sockets hold, and written whole."""
    hits = {"hits": {"hits": [{"_id": "1", "_index": "b", "_source": {"title": "x" * LARGE}}]}}
    body = json.dumps(hits).encode()
    upstream.answers(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
    return lambda limits: start(upstream.url, model="original", limits=limits)


@pytest.mark.parametrize("target", [b"/", b"/books/_search?q=red"])
def test_who_asks_on_without_reading_is_not_answered_on(
    start: Start, upstream: Scripted, later: Callable[..., None], target: bytes
) -> None:
    """Pipelined requests wait while answers do."""
    body = json.dumps({"hits": {"hits": [{"_id": "1", "_index": "b", "_source": {"title": "x" * 60_000}}]}}).encode()
    seen = upstream.answers(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
    session = start(upstream.url, model="original", limits=Limits(idle_s=SOON))
    with Client(session.url) as client:
        client.send(b"GET %b HTTP/1.1\r\nHost: a\r\n\r\n" % target * 1000)
        for _ in range(5):
            later(session)
        assert len(seen) < 500  # 60 kB each; sockets hold some MB


LARGE = 30_000_000
LARGE_SEARCH = b"POST /books/_search HTTP/1.1\r\nHost: a\r\n%bContent-Length: 100\r\n\r\n" + search_of(100)


@pytest.mark.parametrize("field", [b"", b"Connection: close\r\n"])
def test_who_does_not_read_the_end_of_its_answer_is_dropped(
    large: Callable[[Limits], nbproxy.Session], later: Callable[..., None], field: bytes
) -> None:
    session = large(Limits(idle_s=SOON))
    with Client(session.url) as client:
        client.send(LARGE_SEARCH % field)
        assert client.socket.recv(10) == b"HTTP/1.1 2"
        for _ in range(5):
            later(session)
        assert len(client.rest()) < LARGE


def test_who_reads_slowly_gets_all_of_it(large: Callable[[Limits], nbproxy.Session]) -> None:
    """Longer than one may idle, but never so long without a read."""
    session = large(Limits(idle_s=5 * SOON, head_s=SOON))
    with Client(session.url) as client:
        talk = Conversation(client.socket)
        talk.send(LARGE_SEARCH % b"")
        for _ in range(4):
            talk.exactly(5_000_000)
            with Client(session.url) as slow:
                slow.send(b"G")
                assert slow.read().status == 408  # so much time has passed
        assert len(talk.exactly(LARGE - 20_000_000)) == LARGE - 20_000_000


# -- upstream


def test_a_slow_upload_is_not_upstreams_fault(start: Start, upstream: Scripted) -> None:
    """``read`` counts what upstream owes; before the request is whole, that is nothing."""
    silent = threading.Event()

    def handler(talk: Conversation) -> None:
        first, _, _ = talk.head().partition(b"\r\n")
        if b"/silent" in first:
            talk.closed()
            silent.set()
            return
        talk.exactly(2)
        talk.send(OK)

    upstream.handler = handler
    session = start(upstream.url, timeout=Timeouts(connect=2, read=SOON), limits=Limits(body_s=None))
    with Client(session.url) as slow, Client(session.url) as other:
        slow.send(REQUEST[:-1])
        assert other.ask(b"GET", b"/silent").status == 504  # so much time has passed
        slow.send(REQUEST[-1:])
        assert slow.read(b"PUT").status == 200


@pytest.mark.parametrize("target", [b"/", b"/books/_search"])
def test_who_waits_for_a_100_waits_no_longer_than_for_an_answer(
    start: Start, upstream: Scripted, target: bytes
) -> None:
    upstream.handler = lambda talk: (talk.head(), talk.closed(), None)[2]
    session = start(upstream.url, timeout=Timeouts(connect=2, read=SOON), limits=Limits(body_s=None))
    with Client(session.url) as client:
        client.send(b"PUT %b HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n" % target)
        assert client.read(b"PUT").status == 504
        assert client.rest() == b""


def test_without_a_limit_on_upstreams_silence(start: Start, upstream: Scripted, later: Callable[..., None]) -> None:
    go = threading.Event()
    upstream.handler = lambda talk: (talk.request(), go.wait(TIMEOUT), talk.send(OK), talk.closed(), None)[4]
    session = start(upstream.url, timeout=Timeouts(connect=2, read=None), limits=Limits(idle_s=SOON))
    with Client(session.url) as client:
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        later(session)
        go.set()
        assert client.read().status == 200


def test_an_answer_that_stops_is_cut_and_one_that_drips_is_not(start: Start, upstream: Scripted) -> None:
    def handler(talk: Conversation) -> None:
        talk.request()
        talk.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nfour")
        talk.closed()

    upstream.handler = handler
    session = start(upstream.url, timeout=Timeouts(connect=2, read=SOON))
    with Client(session.url) as client:
        talk = Conversation(client.socket)
        talk.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert talk.head().startswith(b"HTTP/1.1 200")
        assert talk.exactly(4) == b"four"
        assert client.rest() == b""
    assert session.frame.error[0] == f"upstream sent nothing for {SOON:g} s"


@pytest.fixture
def full() -> Iterator[socket.socket]:
    """A listener whose queue is full: who connects waits."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        waiting = [socket.socket() for _ in range(3)]
        for sock in waiting:
            sock.setblocking(False)
            sock.connect_ex(listener.getsockname())
        yield listener
        for sock in waiting:
            sock.close()


def test_an_upstream_that_does_not_accept_is_504(start: Start, full: socket.socket) -> None:
    session = start(
        f"http://127.0.0.1:{full.getsockname()[1]}", timeout=Timeouts(connect=SOON, read=None), model=backwards
    )
    for target in (b"/", b"/books/_search"):
        with Client(session.url) as client:
            got: Any = client.ask(b"POST", target, search_of(100))
            assert (got.status, got.json["error"]["type"]) == (504, "nbproxy_upstream_timeout")


def test_without_a_limit_on_connecting(start: Start, full: socket.socket, later: Callable[..., None]) -> None:
    url = f"http://127.0.0.1:{full.getsockname()[1]}"
    session = start(url, timeout=Timeouts(connect=None, read=None), limits=Limits(idle_s=SOON))
    with Client(session.url) as client:
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        later(session)
        while True:  # takes those who waited first, then ours
            sock, _ = full.accept()
            with sock:
                sock.settimeout(0.1)
                talk = Conversation(sock)
                try:
                    talk.request()
                except (EOFError, TimeoutError):
                    continue
                talk.send(OK)
                break
        assert client.read().status == 200


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"/" + b"a" * 9_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 414),
        (b"/" + b"a" * 9_000, 414),
        (b"/ HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 70_000 + b"\r\n\r\n", 431),
        (b"/ HTTP/1.1\r\n\r\n", 400),
        (b"/ HTTP/1.1\nHost: x\n\n", 400),
    ],
)
@pytest.mark.parametrize("method", [b"HEAD", b"GET"])
def test_no_body_answers_a_head_that_cannot_be_read(
    start: Start, upstream: Scripted, method: bytes, head: bytes, status: int
) -> None:
    session = start(upstream.url)
    with Client(session.url) as client:
        client.send(method + b" " + head)
        client.socket.shutdown(socket.SHUT_WR)
        answer = client.rest()
    fields, _, body = answer.partition(b"\r\n\r\n")
    assert fields.startswith(b"HTTP/1.1 %d " % status)
    assert (body == b"") == (method == b"HEAD")
    assert session.frame.bytes_out.item() == len(body)
