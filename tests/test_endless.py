"""What never ends, or unpacks without end: from clients and from upstream. It costs bounded memory, and is told."""

from __future__ import annotations

import contextlib
import gzip
import json
import threading
import tracemalloc
from collections.abc import Callable, Iterator
from typing import Any

import h11
import pyarrow as pa
import pytest

import nbproxy
from nbproxy import Limits

from .upstreams import TIMEOUT, Client, Conversation, Scripted, searched

pytestmark = pytest.mark.usefixtures("both_loops")
Start = Callable[..., nbproxy.Session]
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
MANY = 1_500_000  # bytes: whoever takes so many takes them for ever
FIFTY = json.dumps(searched("POST", "/books/_search", {}, b'{"size": 50}')[1]).encode()


def backwards(query: str, texts: list[str]) -> list[float]:
    return [float(n) for n in range(len(texts))]


@pytest.fixture
def peak() -> Iterator[Callable[[], int]]:
    """The most memory that Python objects have taken at once."""
    tracemalloc.start()
    yield lambda: tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()


HEAD = b"POST %b HTTP/1.1\r\nHost: a\r\n"
BODY = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
# (what comes before, what is repeated, what ends it well): nobody has use for so much of it
POURED = {
    "fields": (HEAD, b"A: b\r\n", b"\r\n"),
    "a field": (HEAD + b"A: ", b"b", b"\r\n\r\n"),
    "a folded field": (HEAD + b"A: b\r\n", b" b\r\n", b"\r\n"),
    "a chunk's extension": (BODY + b"1;", b"a", b"\r\nx\r\n0\r\n\r\n"),
    "a chunk's size": (BODY, b"0", b"1\r\nx\r\n0\r\n\r\n"),
    "extensions": (BODY, b"1;" + b"a" * 20_000 + b"\r\nx\r\n", b"0\r\n\r\n"),
    "trailers": (BODY + b"1\r\nx\r\n0\r\n", b"A: b\r\n", b"\r\n"),
    "a trailer": (BODY + b"1\r\nx\r\n0\r\nA: ", b"b", b"\r\n\r\n"),
    "blank lines": (b"", b"\r\n", HEAD + b"\r\n"),
}


@pytest.mark.parametrize("target", [b"/", b"/books/_search"])
@pytest.mark.parametrize("what", POURED)
def test_what_a_client_never_ends_is_refused(start: Start, upstream: Scripted, target: bytes, what: str) -> None:
    def handler(talk: Conversation) -> None:
        if b"chunked" in talk.head():
            talk.until(b"\r\n0\r\n")
        talk.send(OK)
        talk.closed()

    upstream.handler = handler
    session = start(upstream.url, model=backwards)
    beginning, piece, end = (part.replace(b"%b", target) for part in POURED[what])
    with Client(session.url) as client:
        with contextlib.suppress(ConnectionError):
            client.send(beginning, piece * (MANY // len(piece)), end)
        got = client.read(b"POST")
        assert got.status in (400, 431)
        assert got.all(b"connection") == [b"close"]


@pytest.mark.parametrize("target", [b"/", b"/books/_search"])
def test_a_hundred_thousand_chunks_of_a_byte(start: Start, upstream: Scripted, target: bytes) -> None:
    got: list[int] = []

    def handler(talk: Conversation) -> None:
        with talk.socket.makefile("rb") as file:
            while (line := file.readline()) != b"\r\n":
                length = int(line.split()[1]) if line.lower().startswith(b"content-length") else 0
            size = len(file.read(length)) if length else 0
            while not length and (n := int(file.readline(), 16)):
                size += len(file.read(n + 2)) - 2
        got.append(size)
        talk.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(FIFTY), FIFTY))

    upstream.handler = handler
    session = start(upstream.url, model=backwards)
    body = json.dumps({"query": {"match": {"title": "red shoes"}}}).encode().ljust(100_000)
    with Client(session.url) as client:
        client.send(BODY % target, *(b"1\r\n%c\r\n" % byte for byte in body), b"0\r\n\r\n")
        assert client.read(b"POST").status == 200
    assert session.frame.bytes_in.tolist() == [100_000]
    if target == b"/":
        assert got == [100_000]
    else:
        assert session.frame.reranked.tolist() == [True]


# -- upstream


def poured_by(upstream: Scripted, beginning: bytes, piece: bytes, end: bytes = b"") -> None:
    """An upstream whose every answer goes on for ``MANY`` bytes."""
    block = piece * (65_536 // len(piece) + 1)

    def handler(talk: Conversation) -> None:
        while True:
            talk.request()
            talk.send(beginning, *[block] * (MANY // len(block)), end)

    upstream.handler = handler


ANSWERED = {
    "interim answers": (b"", b"HTTP/1.1 103 Early Hints\r\n\r\n", OK),
    "fields": (b"HTTP/1.1 200 OK\r\n", b"A: b\r\n", b"\r\n"),
    "a field": (b"HTTP/1.1 200 OK\r\nA: ", b"b", b"\r\n\r\n"),
    "trailers": (CHUNKED + b"1\r\nx\r\n0\r\n", b"A: b\r\n", b"\r\n"),
    "a trailer": (CHUNKED + b"1\r\nx\r\n0\r\nA: ", b"b", b"\r\n\r\n"),
    "a chunk's extension": (CHUNKED + b"1;", b"a", b"\r\nx\r\n0\r\n\r\n"),
}


@pytest.mark.parametrize("ask", [b"GET / HTTP/1.1", b"GET / HTTP/1.0", b"GET /books/_search?q=red HTTP/1.1"])
@pytest.mark.parametrize("what", ANSWERED)
def test_what_upstream_never_ends_is_a_bad_gateway(start: Start, upstream: Scripted, ask: bytes, what: str) -> None:
    """Or, once a head has gone on to the client, an answer that is cut."""
    poured_by(upstream, *ANSWERED[what])
    session = start(upstream.url, model=backwards)
    with Client(session.url) as client:
        client.send(ask + b"\r\nHost: a\r\nConnection: close\r\n\r\n")
        client.rest()
    assert session.frame.status.tolist() in ([502], [200])
    assert session.frame.error.notna().all()


@pytest.mark.parametrize("model", [None, backwards, "original"])
@pytest.mark.parametrize("coding", ["gzip", "br", "zstd", "gzip, gzip", "gzip, gzip, gzip, gzip, gzip"])
def test_a_bomb_for_an_answer_is_relayed_packed(
    start: Start, upstream: Scripted, model: Any, coding: str, peak: Callable[[], int]
) -> None:
    bomb = BOMBS[coding]
    upstream.answers(
        b"HTTP/1.1 200 OK\r\nContent-Encoding: %b\r\nContent-Length: %d\r\n\r\n%b" % (coding.encode(), len(bomb), bomb)
    )
    session = start(upstream.url, model=model, limits=Limits(answer_bytes=1_000_000))
    body = b'{"query": {"match": {"title": "red shoes"}}}'
    with Client(session.url) as client:
        got = client.ask(b"POST", b"/books/_search", body, b"Accept-Encoding: gzip")
        assert got.body == bomb
        assert client.ask(b"GET", b"/_nbproxy/status").status == 200
    reason = session.frame.reason.iloc[0]
    assert reason == ("no-model" if model is None else "unreadable" if coding.count(",") > 2 else "too-large")
    assert session.hits.empty
    assert peak() < 20_000_000


def bomb(coding: str) -> bytes:
    pack: dict[str, Callable[[bytes], bytes]] = {
        "gzip": gzip.compress,
        "br": lambda body: bytes(pa.compress(body, codec="brotli", asbytes=True)),
        "zstd": lambda body: bytes(pa.compress(body, codec="zstd", asbytes=True)),
    }
    body = bytes(50_000_000)
    for name in coding.split(", "):
        body = pack[name](body)
    return body


BOMBS = {name: bomb(name) for name in ("gzip", "br", "zstd", "gzip, gzip", "gzip, gzip, gzip, gzip, gzip")}


@pytest.mark.parametrize("coding", BOMBS)
def test_a_bomb_for_a_search_goes_on_as_it_is(
    start: Start, upstream: Scripted, coding: str, peak: Callable[[], int]
) -> None:
    seen = upstream.answers(b"HTTP/1.1 400 Bad\r\nContent-Length: 2\r\n\r\n{}")
    session = start(upstream.url, model=backwards, limits=Limits(search_bytes=1_000_000))
    with Client(session.url) as client:
        got = client.ask(b"POST", b"/books/_search", BOMBS[coding], b"Content-Encoding: " + coding.encode())
    assert got.status == 400
    assert [body for _, body in seen] == [BOMBS[coding]]
    assert session.frame.reason.tolist() == ["encoding" if coding.count(",") > 2 else "too-large"]
    assert peak() < 20_000_000


def deep(levels: int, inner: bytes = b"1") -> bytes:
    return b'{"a":' * levels + inner + b"}" * levels


SEARCHES = {
    "brackets": b"[" * 100_000,
    "closed brackets": b"[" * 100_000 + b"]" * 100_000,
    "deep objects": b'{"query":%b}' % deep(100_000),
    "deep clauses": b'{"query":' + b'{"bool":{"must":' * 20_000 + b'{"match":{"title":"x"}}' + b"}}" * 20_000 + b"}",
    "a thousand clauses deep": b'{"query":' + b'{"bool":{"must":' * 300 + b'{"match":{"t":"x"}}' + b"}}" * 300 + b"}",
    "a huge size": b'{"query":{"match":{"title":"x"}},"size":1e400}',
    "a long size": b'{"query":{"match":{"title":"x"}},"size":' + b"9" * 50_000 + b"}",
    "a long offset": b'{"query":{"match":{"title":"x"}},"from":' + b"9" * 5_000 + b"}",
    "a negative size": b'{"query":{"match":{"title":"x"}},"size":-1}',
    "a long boost": b'{"query":{"match":{"title":{"query":"x","boost":' + b"9" * 5_000 + b"}}}}",
    "many keys": b'{"query":{"match":{"title":"x"}},' + b",".join(b'"k%d":1' % n for n in range(50_000)) + b"}",
    "a long query": b'{"query":{"match":{"title":"' + b"x " * 500_000 + b'"}}}',
}


@pytest.mark.parametrize("what", SEARCHES)
def test_odd_searches_are_answered(start: Start, upstream: Scripted, what: str) -> None:
    """Whatever we make of them, upstream is asked, and its answer is the client's."""
    seen = upstream.answers(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(FIFTY), FIFTY))
    for model in (None, backwards):
        session = start(upstream.url, model=model)
        with Client(session.url) as client:
            got = client.ask(b"POST", b"/books/_search", SEARCHES[what])
            assert got.status == 200
            assert json.loads(got.body)["hits"]["hits"]
            assert client.ask(b"GET", b"/_nbproxy/status").status == 200
    assert len(seen) == 2
    assert session.errors == []
    assert len(session.frame) == 4


ODD_ANSWERS = {
    "brackets": b"[" * 100_000,
    "deep": deep(100_000),
    "a deep source": b'{"hits":{"hits":[{"_id":"1","_index":"b","_source":%b}]}}' % deep(50_000),
    "huge numbers": b'{"took":1e999,"hits":{"total":%b,"hits":[{"_id":"1","_index":"b","_score":1e400,'
    b'"_source":{"title":"x","n":%b}}]}}' % (b"9" * 10_000, b"9" * 10_000),
    "a huge score": b'{"hits":{"hits":[{"_id":"1","_index":"b","_score":%b,"_source":{}}]}}' % (b"9" * 9_000),
    "not hits": b'{"hits":{"hits":{"a":1}}}',
    "nothing": b"",
}  # fmt: skip


@pytest.mark.parametrize("what", ODD_ANSWERS)
def test_odd_answers_are_relayed_as_they_are(start: Start, upstream: Scripted, what: str) -> None:
    body = ODD_ANSWERS[what]
    upstream.answers(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
    session = start(upstream.url, model=backwards)
    with Client(session.url) as client:
        got = client.ask(b"POST", b"/books/_search", b'{"query":{"match":{"title":"x"}}}')
        assert (got.status, got.body) == (200, body)
    assert len(session.frame) == 1
    assert session.errors == []


def test_an_answer_without_end_is_read_no_faster_than_it_is_taken(
    start: Start, upstream: Scripted, peak: Callable[[], int]
) -> None:
    full = threading.Event()

    def handler(talk: Conversation) -> None:
        talk.request()
        talk.send(CHUNKED)
        talk.socket.settimeout(0.2)
        sent = 0
        try:
            while sent < 100 * MANY:
                sent += talk.socket.send(b"10000\r\n" + b"x" * 65_536 + b"\r\n")
        except TimeoutError:
            full.set()

    upstream.handler = handler
    session = start(upstream.url)
    with Client(session.url) as client:
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert full.wait(TIMEOUT)
        assert peak() < 8_000_000
        with pytest.raises((h11.RemoteProtocolError, ConnectionError)):
            client.read()
