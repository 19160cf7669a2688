"""Answers of an upstream that is broken or hostile, on real sockets: a client gets one answer that cannot be misread,
or 502; an answer that has begun and cannot end well is seen to be cut; nothing of it ever reaches the next answer.

Behind each request stands an innocent one on the same connection of the client's, which must be answered well.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable

import pytest

import nbproxy

from .test_smuggling import rows
from .upstreams import TIMEOUT, Client, Conversation, Scripted

Start = Callable[..., nbproxy.Session]
WELL = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nwell"
NEXT = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nConnection: close\r\n\r\nwell"
LAST = b"GET /next HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
POISON = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison"
_EMPTY = b"Content-Length: 0"
CHUNKED = b"Transfer-Encoding: chunked"
HELLO = b"5\r\nhello\r\n0\r\n\r\n"


@pytest.fixture
def session(start: Start, upstream: Scripted) -> nbproxy.Session:
    return start(upstream.url)


def answer(*fields: bytes, line: bytes = b"HTTP/1.1 200 OK", body: bytes = b"") -> bytes:
    return line + b"\r\n" + b"".join(field + b"\r\n" for field in fields) + b"\r\n" + body


def through(
    session: nbproxy.Session,
    upstream: Scripted,
    raw: bytes,
    *,
    method: bytes = b"GET",
    version: bytes = b"1.1",
    close: bool = False,
) -> tuple[bytes, threading.Event]:
    """All that a client gets whose first request is answered with ``raw``, and whether that connection was dropped."""
    dropped = threading.Event()

    def handler(talk: Conversation) -> None:
        while b" /next " in talk.request()[0]:
            talk.send(WELL)
        talk.send(raw)
        if not close and talk.closed():
            dropped.set()

    upstream.handler = handler
    with Client(session.url) as client:
        client.send(b"%b / HTTP/%b\r\nHost: a\r\nConnection: keep-alive\r\n\r\n" % (method, version) + LAST)
        return client.rest(), dropped


LENGTHS = {
    f"length {value!r}": answer(b"Content-Length: " + value, body=b"hello")
    for value in [
        b"+5", b"-5", b"0x5", b"1e1", b"5.0", b"5,6", b"5 5", b"5;", b'"5"', b"5_0", b"", b"five", b"5\xa0",
        b"9" * 40, b"18446744073709551621", b"5\r\n 6",
    ]
}  # fmt: skip
CODINGS = {
    f"coding {value!r}": answer(b"Transfer-Encoding: " + value, body=HELLO)
    for value in [
        b"", b"identity", b"gzip", b"gzip, chunked", b"chunked, gzip", b"chunked, identity", b"chunked, chunked",
        b"chunked;q=1", b'"chunked"', b"xchunked", b"chunkedx", b"chunked\xa0", b"chunked\r\n abc",
    ]
}  # fmt: skip
CODINGS |= {
    "two lengths": answer(b"Content-Length: 5", b"Content-Length: 6", body=b"hello"),
    "two codings": answer(CHUNKED, b"Transfer-Encoding: identity", body=HELLO),
    "equal codings": answer(CHUNKED, CHUNKED, body=HELLO),
    "identity and a length": answer(b"Transfer-Encoding: identity", b"Content-Length: 5", body=b"hello"),
}
HEADS = {
    f"line {line!r}": answer(_EMPTY, line=line)
    for line in [
        b"HTTP/1.1 099 X", b"HTTP/1.1 99 X", b"HTTP/1.1 6 X", b"HTTP/1.1 1000 X", b"HTTP/1.1 2 00 X",
        b"HTTP/1.1 -20 X", b"HTTP/1.1 20x X", b"HTTP/1.1 0x20 X", b"HTTP/1.1  200 OK", b"HTTP/1.1\t200 OK",
        b"HTTP/1.1 200\tOK", b"HTTP/1.1", b"HTTP/1.1 ", b"HTTP/1.1 200OK", b"HTTP/1.1 200 O\x00K",
        b"HTTP/1.1 200 O\x01K", b"HTTP/1.1 200 O\rK", b"HTTP/2.0 200 OK", b"HTTP/2 200 OK", b"HTTP/0.9 200 OK",
        b"http/1.1 200 OK", b"ICY 200 OK", b"HTTPS/1.1 200 OK", b" HTTP/1.1 200 OK", b"\x00HTTP/1.1 200 OK",
        b"200 OK", b"", b"GET / HTTP/1.1",
    ]
}  # fmt: skip
HEADS |= {
    f"field {line!r}": answer(line, b"Content-Length: 5", body=b"hello")
    for line in [
        b"X", b": y", b"X Y: z", b"X\x00: y", b"X\x01: y", b"X\xc3\xa9: y", b"X: \x00", b"X: \x01", b"X: \x7f",
        b"X: y\rz", b"X: y\nZ: 1", b"X: y\n", b"X: y\r", b"X: y\r\n \x00", b"(X): y", b" X: y", b"\tX: y",
    ]
}  # fmt: skip
HEADS |= {
    "LF only": answer(b"Content-Length: 5", body=b"hello").replace(b"\r\n", b"\n"),
    "LF as the empty line": b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\nhello\r\n\r\n",
    "an unasked 101": answer(b"Connection: Upgrade", b"Upgrade: h2c", line=b"HTTP/1.1 101 S", body=POISON),
    "a head over a megabyte": answer(b"X: " + b"a" * (1 << 20), _EMPTY),
    "a head without end": b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * (1 << 18),
    "a request": b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
}


@pytest.mark.parametrize("raw", rows({**LENGTHS, **CODINGS, **HEADS}))
def test_an_answer_that_could_be_misread_is_a_bad_gateway(
    session: nbproxy.Session, upstream: Scripted, raw: bytes
) -> None:
    got, dropped = through(session, upstream, raw)
    first, _, second = got.partition(b"}HTTP/1.1 ")
    head, _, body = first.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 502 Bad Gateway\r\n")
    assert json.loads(body + b"}")["error"]["type"] == "nbproxy_upstream_unreachable"
    assert b"HTTP/1.1 " + second == NEXT
    assert dropped.wait(TIMEOUT)


@pytest.mark.parametrize(
    ("method", "line"),
    [(b"HEAD", b"HTTP/1.1 200 OK\r\n"), (b"GET", b"HTTP/1.1 304 N\r\n")],
    ids=["HEAD", "304"],
)
@pytest.mark.parametrize("raw", rows({**LENGTHS, **CODINGS}))
def test_framing_must_be_clear_without_a_body_too(
    session: nbproxy.Session, upstream: Scripted, raw: bytes, method: bytes, line: bytes
) -> None:
    """Else a cache or a client that forgets what it asked reads it as it likes."""
    raw = raw.partition(b"\r\n\r\n")[0].replace(b"HTTP/1.1 200 OK\r\n", line) + b"\r\n\r\n"
    got, _ = through(session, upstream, raw, method=method)
    assert got.startswith(b"HTTP/1.1 502 ")
    assert got.endswith(NEXT)


# Chunks that cannot be read: what was whole has gone to the client, and the answer is cut.
CHUNKS = {
    f"chunk {body!r}": body
    for body in [
        b"0x5\r\nhello\r\n", b"+5\r\nhello\r\n", b" 5\r\nhello\r\n", b"5_0\r\nhello\r\n", b"\r\nhello\r\n",
        b"g\r\nhello\r\n", b"fffffffffffffffff\r\nhello\r\n", b"5\nhello\r\n", b"5\rhello\r\n", b"5\r\nhello\n",
        b"5\r\nhelloXX", b"4\r\nhello\r\n", b"6\r\nhello\r\n", b"5;a\nb\r\nhello\r\n", b"5;a\x00\r\nhello\r\n",
        b'5;a="b\r\nhello\r\n', b"0\n\n", b"0\r\n\n", b"0\r\nX", b"0\r\nX: \x00\r\n\r\n", b"0\r\nX : y\r\n\r\n",
        b"0\r\nX: y\r\n z\r\n\r\n", b"0\r\nX: y\n\r\n", b"-5\r\n",
    ]
}  # fmt: skip


@pytest.mark.parametrize("body", rows(CHUNKS))
def test_chunks_that_cannot_be_read_cut_the_answer(session: nbproxy.Session, upstream: Scripted, body: bytes) -> None:
    got, dropped = through(session, upstream, answer(CHUNKED, body=b"3\r\nabc\r\n" + body + b"0\r\n\r\n" + POISON))
    assert dropped.wait(TIMEOUT)
    head, _, rest = got.partition(b"\r\n\r\n")
    assert (head[:13], b"chunked" in head) in ((b"HTTP/1.1 200 ", True), (b"HTTP/1.1 502 ", False))
    assert (b"\r\n0\r\n" in rest, POISON in rest) == (False, False)
    assert (NEXT in rest) == (b" 502 " in head)


LENGTH = answer(b"Content-Length: 5", body=b"hello")
# Name → what upstream sends, and what the client gets.
CLEAR = {
    "a length": (LENGTH, LENGTH),
    "chunks": (answer(CHUNKED, body=HELLO), answer(CHUNKED, body=HELLO)),
    "equal lengths": (answer(b"Content-Length: 5", b"X: y", b"content-length: 5", body=b"hello"), None),
    "a list of equal lengths": (answer(b"Content-Length: 5, 5", body=b"hello"), LENGTH),
    "leading zeros": (answer(b"Content-Length: 005", body=b"hello"), LENGTH),
    "a length behind a blank": (answer(b"Content-Length : 5", body=b"hello"), LENGTH),
    "a folded length": (answer(b"Content-Length:\r\n 5", body=b"hello"), LENGTH),
    "a length in a fold": (
        answer(b"X: y\r\n Content-Length: 3", b"Content-Length: 5", body=b"hello"),
        answer(b"X: y Content-Length: 3", b"Content-Length: 5", body=b"hello"),
    ),
    "a length and a coding": (
        answer(b"Content-Length: 3", CHUNKED, b"X: y", body=HELLO),
        answer(CHUNKED, b"X: y", body=HELLO),
    ),
    "a coding and a length": (answer(CHUNKED, _EMPTY, body=HELLO), answer(CHUNKED, body=HELLO)),
    "a coding in HTTP/1.0": (answer(CHUNKED, line=b"HTTP/1.0 200 OK", body=HELLO), answer(CHUNKED, body=HELLO)),
    "fields that only look like framing": (
        answer(b"Transfer_Encoding: chunked", b"Content_Length: 1", b"Content-Length: 5", body=b"hello"),
        answer(b"Transfer_Encoding: chunked", b"Content_Length: 1", b"Content-Length: 5", body=b"hello"),
    ),
    "framing nominated by Connection": (
        answer(b"Connection: Content-Length", b"Content-Length: 5", body=b"hello"),
        LENGTH,
    ),
    "chunks nominated by Connection": (
        answer(b"Connection: Transfer-Encoding", CHUNKED, body=HELLO),
        answer(CHUNKED, body=HELLO),
    ),
    "fields of one hop": (
        answer(b"Connection: X-A, keep-alive", b"Keep-Alive: timeout=5", b"X-A: 1", b"Upgrade: h2c", _EMPTY),
        answer(_EMPTY, b"Connection: keep-alive"),
    ),
    "a trailer nominated by Connection": (
        answer(b"Connection: X-A", CHUNKED, body=b"0\r\nX-A: 1\r\nX-B: 2\r\n\r\n"),
        answer(CHUNKED, body=b"0\r\nX-B: 2\r\n\r\n"),
    ),
    "trailers": (
        answer(b"Trailer: X-A", CHUNKED, body=b"0\r\nX-A: 1\r\nx-b: \xc3\xa9\r\n\r\n"),
        answer(b"Trailer: X-A", CHUNKED, body=b"0\r\nX-A: 1\r\nx-b: \xc3\xa9\r\n\r\n"),
    ),
    "trailers that could be taken for fields": (
        answer(CHUNKED, body=b"0\r\nSet-Cookie: a\r\nConnection: close\r\nContent-Type: b\r\nX-A: 1\r\n\r\n"),
        answer(CHUNKED, body=b"0\r\nX-A: 1\r\n\r\n"),
    ),
    "trailers that could be taken for framing": (
        answer(CHUNKED, body=b"0\r\nContent-Length: 3\r\nX-A: 1\r\nTransfer-Encoding: chunked\r\n\r\n"),
        answer(CHUNKED, body=b"0\r\nX-A: 1\r\n\r\n"),
    ),
    "chunks are framed anew": (
        answer(CHUNKED, body=b'00005;a=b;c="d;e"\r\nhello\r\n00;x\r\n\r\n'),
        answer(CHUNKED, body=HELLO),
    ),
    "blanks in chunk extensions": (
        answer(CHUNKED, body=b"5 ; a = b\r\nhello\r\n0\r\n\r\n"),
        answer(CHUNKED, body=HELLO),
    ),
    "blanks behind a chunk's size": (
        answer(CHUNKED, body=b"5  \r\nhello\r\n0 \r\n\r\n"),
        answer(CHUNKED, body=HELLO),
    ),
    "a fold": (
        answer(b"X: y\r\n\t z", b"Content-Length: 5", body=b"hello"),
        answer(b"X: y z", b"Content-Length: 5", body=b"hello"),
    ),
    "a blank before a colon": (
        answer(b"X-A\t : y", _EMPTY),
        answer(b"X-A: y", _EMPTY),
    ),
    "no reason": (answer(_EMPTY, line=b"HTTP/1.1 200"), b"HTTP/1.1 200 \r\nContent-Length: 0\r\n\r\n"),
    "HTTP/1.9": (answer(b"Content-Length: 5", line=b"HTTP/1.9 200 OK", body=b"hello"), LENGTH),
    **{
        f"line {line!r}": (answer(_EMPTY, line=line), answer(_EMPTY, line=line))
        for line in [
            b"HTTP/1.1 200 ", b"HTTP/1.1 200 \xe9 \xc3\xa9\t!", b"HTTP/1.1 299 X", b"HTTP/1.1 599 X",
            b"HTTP/1.1 999 X",
        ]
    },
    **{
        f"field {line!r}": (answer(line, _EMPTY), answer(line, _EMPTY))
        for line in [
            b"X:", b"X:y", b"X: \t", b"X:  y z\t ", b"X: \xe9\xff", b"!#$%&'*+-.^_`|~09: y", b"Proxy-Authenticate: x",
        ]
    },
    "2,000 fields": (
        answer(*[b"X: y"] * 2000, _EMPTY), answer(*[b"X: y"] * 2000, _EMPTY)
    ),
    "205": (answer(_EMPTY, line=b"HTTP/1.1 205 R"), answer(_EMPTY, line=b"HTTP/1.1 205 R")),
    "interim answers": (
        answer(line=b"HTTP/1.1 102 P") + answer(b"Link: a", b"Link: b", line=b"HTTP/1.1 103 E") + LENGTH,
        answer(line=b"HTTP/1.1 102 P") + answer(b"Link: a", b"Link: b", line=b"HTTP/1.1 103 E") + LENGTH,
    ),
    "interim answers with framing": (
        answer(b"Content-Length: 5", line=b"HTTP/1.1 103 E") + answer(CHUNKED, line=b"HTTP/1.1 103 E") + LENGTH,
        answer(line=b"HTTP/1.1 103 E") * 2 + LENGTH,
    ),
    "an interim answer that says close": (
        answer(b"Connection: close, X", b"X: 1", line=b"HTTP/1.1 103 E") + LENGTH,
        answer(line=b"HTTP/1.1 103 E") + LENGTH,
    ),
    "426": (
        answer(_EMPTY, b"Connection: Upgrade", b"Upgrade: websocket", line=b"HTTP/1.1 426 U"),
        answer(_EMPTY, b"Connection: Upgrade", b"Upgrade: websocket", line=b"HTTP/1.1 426 U"),
    ),
}  # fmt: skip
CLEAR["equal lengths"] = (CLEAR["equal lengths"][0], answer(b"Content-Length: 5", b"X: y", body=b"hello"))


@pytest.mark.parametrize(
    ("raw", "wanted"),
    rows(CLEAR),
)
def test_what_is_clear_goes_on_as_one_answer(
    session: nbproxy.Session, upstream: Scripted, raw: bytes, wanted: bytes
) -> None:
    got, _ = through(session, upstream, raw)
    assert got == wanted + NEXT


# Bytes that no request asked for: the answer stands, the connection is dropped, the next answer comes by another.
POISONED = {
    "behind a length": (LENGTH + POISON, b"GET", LENGTH),
    "behind chunks": (answer(CHUNKED, body=HELLO) + POISON, b"GET", answer(CHUNKED, body=HELLO)),
    "behind nothing": (answer(_EMPTY) + POISON, b"GET", answer(_EMPTY)),
    "an empty line": (LENGTH + b"\r\n", b"GET", LENGTH),
    "one byte": (LENGTH + b"x", b"GET", LENGTH),
    "behind HEAD": (LENGTH, b"HEAD", answer(b"Content-Length: 5")),
    "behind HEAD, chunks": (answer(CHUNKED, body=HELLO), b"HEAD", answer(CHUNKED)),
    "behind HEAD, an answer": (answer(b"Content-Length: %d" % len(POISON)) + POISON, b"HEAD", None),
    "behind 204": (answer(line=b"HTTP/1.1 204 N") + POISON, b"GET", answer(line=b"HTTP/1.1 204 N")),
    "behind 204 with a length": (
        answer(b"Content-Length: 5", line=b"HTTP/1.1 204 N", body=b"hello"), b"GET", answer(line=b"HTTP/1.1 204 N")
    ),
    "behind 204 with chunks": (
        answer(CHUNKED, line=b"HTTP/1.1 204 N", body=HELLO), b"GET", answer(line=b"HTTP/1.1 204 N")
    ),
    "behind 304": (answer(line=b"HTTP/1.1 304 N") + POISON, b"GET", answer(line=b"HTTP/1.1 304 N")),
    "behind 304 with a length": (
        answer(b"Content-Length: 5", line=b"HTTP/1.1 304 N", body=b"hello"), b"GET",
        answer(b"Content-Length: 5", line=b"HTTP/1.1 304 N"),
    ),
    "behind 304 with chunks": (
        answer(CHUNKED, line=b"HTTP/1.1 304 N", body=HELLO), b"GET", answer(line=b"HTTP/1.1 304 N")
    ),
}  # fmt: skip
POISONED["behind HEAD, an answer"] = (
    *POISONED["behind HEAD, an answer"][:2],
    answer(b"Content-Length: %d" % len(POISON)),
)


@pytest.mark.parametrize(("raw", "method", "wanted"), rows(POISONED))
def test_what_nobody_asked_for_reaches_nobody(
    session: nbproxy.Session, upstream: Scripted, raw: bytes, method: bytes, wanted: bytes
) -> None:
    got, dropped = through(session, upstream, raw, method=method)
    assert got == wanted + NEXT
    assert dropped.wait(TIMEOUT)


def test_bytes_on_an_idle_connection_condemn_it(session: nbproxy.Session, upstream: Scripted) -> None:
    go, dropped = threading.Event(), threading.Event()

    def handler(talk: Conversation) -> None:
        first = not go.is_set()
        talk.request()
        talk.send(WELL)
        if first:
            go.wait(TIMEOUT)
            talk.send(POISON)
            if talk.closed():
                dropped.set()

    upstream.handler = handler
    with Client(session.url) as client:
        assert client.ask(b"GET").body == b"well"
        go.set()
        assert dropped.wait(TIMEOUT)
        assert client.ask(b"GET").body == b"well"


TRUNCATED = {
    "nothing": b"",
    "inside the status line": b"HTTP/1.1 20",
    "inside the head": b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n",
    "behind an interim answer": answer(line=b"HTTP/1.1 103 E"),
    "inside a length": answer(b"Content-Length: 50", body=b"hello"),
    "before the first chunk": answer(CHUNKED),
    "inside a chunk's size": answer(CHUNKED, body=b"5"),
    "inside a chunk": answer(CHUNKED, body=b"a\r\nhello"),
    "inside a chunk, behind an empty line": answer(CHUNKED, body=b"a\r\nhi\r\n\r\n"),
    "inside a chunk, behind CRLF": answer(CHUNKED, body=b"a\r\n\r\n"),
    "between chunks": answer(CHUNKED, body=b"5\r\nhello\r\n"),
    "before the last empty line": answer(CHUNKED, body=b"5\r\nhello\r\n0\r\n"),
    "inside the trailers": answer(CHUNKED, body=b"5\r\nhello\r\n0\r\nX: y\r\n"),
}


_EMPTY_PIECE = "an empty piece is framed as the last chunk"


@pytest.mark.parametrize("raw", rows(TRUNCATED))
def test_a_truncated_answer_is_a_bad_gateway_or_seen_to_be_cut(
    session: nbproxy.Session, upstream: Scripted, raw: bytes
) -> None:
    upstream.handler = lambda talk: (talk.request(), talk.send(raw))[1]
    with Client(session.url) as client:
        client.send(LAST)
        got = client.rest()
    head, _, rest = got.removeprefix(answer(line=b"HTTP/1.1 103 E")).partition(b"\r\n\r\n")
    if head.startswith(b"HTTP/1.1 502 "):
        assert json.loads(rest)["status"] == 502
    else:
        assert b"Content-Length: 50" in head or not rest.endswith(b"0\r\n\r\n")


@pytest.mark.parametrize("body", [b"", b"5", b"a\r\nhello", b"5\r\nhello\r\n", b"5\r\nhello\r\n0\r\n"])
def test_where_only_the_end_ends_an_answer_a_reset_says_that_it_is_cut(
    session: nbproxy.Session, upstream: Scripted, body: bytes
) -> None:
    """A client of HTTP/1.0 gets no chunks: a connection that merely ended would make the answer look whole."""
    upstream.handler = lambda talk: (talk.request(), talk.send(answer(CHUNKED, body=body)))[1]
    with Client(session.url) as client:
        client.send(b"GET / HTTP/1.0\r\n\r\n")
        with pytest.raises(ConnectionError):
            Conversation(client.socket).until(b"an end that never comes")


def test_a_flood_of_interim_answers_is_held_back_or_ended(session: nbproxy.Session, upstream: Scripted) -> None:
    """A client that reads nothing must not make the proxy keep all that upstream pours out."""
    flood = answer(b"X: " + b"a" * 1000, line=b"HTTP/1.1 103 E") * 64
    stopped = threading.Event()

    def handler(talk: Conversation) -> None:
        talk.request()
        talk.socket.settimeout(2)  # of a send that nobody takes
        try:
            for _ in range(1024):  # 64 MiB
                talk.send(flood)
        except OSError:
            stopped.set()

    upstream.handler = handler
    with Client(session.url) as client:
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert stopped.wait(TIMEOUT)
