"""Request smuggling, on real sockets: what could be read in two ways is refused, or goes upstream as one message.

Behind each row's bytes stands an innocent request; upstream, which takes every message for what its framing says, must
have seen exactly the message of the row (and the innocent one), or none where the row is refused.
"""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Callable, Mapping
from typing import Any

import pytest

import nbproxy

from .ambiguous import HIDDEN, NOTHING, REFUSED, chunked, get, post
from .upstreams import TIMEOUT, Client, Conversation, Scripted

Start = Callable[..., nbproxy.Session]
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
LAST = b"GET /next HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"


def message(talk: Conversation) -> bytes:
    """The bytes of one request, by its framing."""
    raw = talk.head()
    fields = [line.partition(b":") for line in raw.lower().split(b"\r\n")[1:-2]]
    framing = {name: value.strip() for name, _, value in fields if name in (b"content-length", b"transfer-encoding")}
    if b"transfer-encoding" not in framing:
        return raw + talk.exactly(int(framing.get(b"content-length", b"0")))
    while size := int((line := talk.until(b"\r\n")).split(b";")[0], 16):
        raw += line + talk.exactly(size + 2)
    raw += line
    while (line := talk.until(b"\r\n")) != b"\r\n":
        raw += line
    return raw + line


def listen(upstream: Scripted) -> list[bytes]:
    """Have ``upstream`` answer whatever comes; gives the list of whole messages."""
    seen: list[bytes] = []

    def handler(talk: Conversation) -> None:
        seen.append(message(talk))
        talk.send(ANSWER)

    upstream.handler = handler
    return seen


@pytest.fixture
def session(start: Start, upstream: Scripted) -> nbproxy.Session:
    return start(upstream.url, host_header="preserve")


def through(session: nbproxy.Session, raw: bytes) -> bytes:
    """All that a client gets that sends ``raw`` and then :data:`LAST`."""
    with Client(session.url) as client:
        client.send(raw.replace(b"OURS", client.authority) + LAST)
        return client.rest()


def rows(table: Mapping[str, Any], failing: Mapping[str, str] | None = None) -> list[Any]:
    """The parameters of a table; ``failing``: the reasons of those that do not hold yet."""
    marks = {name: pytest.mark.xfail(strict=True, reason=reason) for name, reason in (failing or {}).items()}
    assert marks.keys() <= table.keys()
    return [
        pytest.param(*(row if isinstance(row, tuple) else (row,)), id=name, marks=marks.get(name, ()))
        for name, row in table.items()
    ]


@pytest.mark.parametrize("raw", rows(REFUSED))
def test_what_could_be_read_in_two_ways_is_refused(session: nbproxy.Session, upstream: Scripted, raw: bytes) -> None:
    seen = listen(upstream)
    got = through(session, raw)
    upstream.settle()
    head, _, body = got.partition(b"\r\n\r\n")
    assert (got[:13], got.count(b"HTTP/1.1 ")) == (b"HTTP/1.1 400 ", 1)
    assert b"\r\nConnection: close" in head
    assert json.loads(body)["error"]["type"] == "nbproxy_bad_request"
    assert seen == []


@pytest.mark.parametrize(
    "raw",
    [
        b"GET /x\r\n",
        b"GET /x\r\nHost: a\r\n",
        b"PRI * HTTP/2.0\r\n",
        b"\x16\x03\x01\x02\x00",
        b"SSH-2.0-x_1\r\n",
        b"\x00",
    ],
)
def test_another_protocol_is_told_before_its_head_is_whole(
    session: nbproxy.Session, upstream: Scripted, raw: bytes
) -> None:
    """It would never be: none of them has the empty line that ends a head."""
    with Client(session.url) as client:
        client.send(raw)
        assert client.rest().startswith(b"HTTP/1.1 400 ")


def up(line: bytes = b"GET /x HTTP/1.1", *fields: bytes, host: bytes = b"Host: a\r\n", body: bytes = b"") -> bytes:
    """What upstream should see."""
    return get(*fields, line=line, host=host, body=body)


POST = b"POST /x HTTP/1.1"
_CHUNKED = b"Transfer-Encoding: chunked"
_UPGRADE = b"Connection: Upgrade"

# Name → what a client sends, and the one message that upstream sees.
FORWARDED = {
    "a length over a request": (
        post(b"Content-Length: %d" % len(HIDDEN), body=HIDDEN),
        up(POST, b"Content-Length: %d" % len(HIDDEN), body=HIDDEN),
    ),
    "a length over a request, with GET": (
        get(b"Content-Length: %d" % len(HIDDEN), body=HIDDEN),
        up(b"GET /x HTTP/1.1", b"Content-Length: %d" % len(HIDDEN), body=HIDDEN),
    ),
    "a chunk over a request": (
        chunked(b"%x\r\n%b\r\n0\r\n\r\n" % (len(HIDDEN), HIDDEN)),
        up(POST, _CHUNKED, body=b"%x\r\n%b\r\n0\r\n\r\n" % (len(HIDDEN), HIDDEN)),
    ),
    "a length over what looks like chunks": (
        post(b"Content-Length: 5", body=NOTHING),
        up(POST, b"Content-Length: 5", body=NOTHING),
    ),
    "leading zeros": (post(b"Content-Length: 0005", body=b"hello"), up(POST, b"Content-Length: 5", body=b"hello")),
    "blanks around a length": (
        post(b"Content-Length:\t 5 \t", body=b"hello"),
        up(POST, b"Content-Length: 5", body=b"hello"),
    ),
    "a length behind no blank": (
        post(b"content-length:5", body=b"hello"),
        up(POST, b"content-length: 5", body=b"hello"),
    ),
    "blanks around a coding": (
        post(b"Transfer-Encoding:\t chunked\t ", body=NOTHING),
        up(POST, _CHUNKED, body=NOTHING),
    ),
    "a coding in capitals": (post(b"Transfer-Encoding: CHUNKED", body=NOTHING), up(POST, _CHUNKED, body=NOTHING)),
    "fields that only look like framing": (
        post(b"Content_Length: 9", b"Transfer_Encoding: chunked", b"X-Content-Length: 9", b"Content-Length: 0"),
        up(POST, b"Content_Length: 9", b"Transfer_Encoding: chunked", b"X-Content-Length: 9", b"Content-Length: 0"),
    ),
    "framing nominated by Connection": (
        post(b"Connection: Content-Length", b"Content-Length: 5", body=b"hello"),
        up(POST, b"Content-Length: 5", body=b"hello"),
    ),
    "chunks nominated by Connection": (
        chunked(NOTHING, b"Connection: transfer-encoding"),
        up(POST, _CHUNKED, body=NOTHING),
    ),
    "Host nominated by Connection": (get(b"Connection: Host"), up()),
    "any field nominated by Connection": (
        get(b"X-A: 1", b"Connection: x-a , ,keep-alive", b"x-a: 2", b"X-B: 3", b"connection:X-C", b"X-C: 4"),
        up(b"GET /x HTTP/1.1", b"X-B: 3", b"Connection: keep-alive"),
    ),
    "a trailer nominated by Connection": (
        chunked(b"0\r\nX-A: 1\r\nX-B: 2\r\n\r\n", b"Connection: X-A"),
        up(POST, _CHUNKED, body=b"0\r\nX-B: 2\r\n\r\n"),
    ),
    "fields of one hop": (
        get(b"Keep-Alive: timeout=5", b"Proxy-Connection: keep-alive", b"TE: gzip", b"Upgrade: x", b"Via: 1.1 b"),
        up(b"GET /x HTTP/1.1", b"Via: 1.1 b"),
    ),
    "TE is ours but for trailers": (
        get(b"TE: gzip;q=1, Trailers", b"Connection: TE"),
        up(b"GET /x HTTP/1.1", b"TE: trailers", b"Connection: TE"),
    ),
    "TE that only looks like trailers": (get(b"TE: xtrailers", b"Connection: TE"), up()),
    "our own fields": (get(b"X-Nbproxy: off", b"x-nbproxy-model:", b"HTTP2-Settings: AAA"), up()),
    "chunks are framed anew": (
        chunked(b'00005;a=b;c="d;\\"e";f\r\nhello\r\n00;x\r\n\r\n'),
        up(POST, _CHUNKED, body=b"5\r\nhello\r\n0\r\n\r\n"),
    ),
    "blanks in chunk extensions": (
        chunked(b'5 ; a = b\t;\tc = "d"\r\nhello\r\n0 ;x\r\n\r\n'),
        up(POST, _CHUNKED, body=b"5\r\nhello\r\n0\r\n\r\n"),
    ),
    "a trailer": (
        chunked(b"1\r\nx\r\n0\r\nX-A: 1\r\nx-a: 2\r\nX-B: \xc3\xa9\r\n\r\n"),
        up(POST, _CHUNKED, body=b"1\r\nx\r\n0\r\nX-A: 1\r\nx-a: 2\r\nX-B: \xc3\xa9\r\n\r\n"),
    ),
    "trailers that could be taken for fields": (
        chunked(b"0\r\nHost: b\r\nAuthorization: b\r\nConnection: close\r\nTE: b\r\nUpgrade: b\r\nX-A: 1\r\n\r\n"),
        up(POST, _CHUNKED, body=b"0\r\nX-A: 1\r\n\r\n"),
    ),
    "trailers that change a request": (
        chunked(b"0\r\nExpect: 100-continue\r\nX-Nbproxy: off\r\nCookie: a=b\r\nX-A: 1\r\n\r\n"),
        up(POST, _CHUNKED, body=b"0\r\nX-A: 1\r\n\r\n"),
    ),
    "HEAD with a body": (
        get(b"Content-Length: 2", line=b"HEAD /x HTTP/1.1", body=b"hi"),
        up(b"HEAD /x HTTP/1.1", b"Content-Length: 2", body=b"hi"),
    ),
    "TRACE with a body": (
        get(b"Content-Length: 2", line=b"TRACE /x HTTP/1.1", body=b"hi"),
        up(b"TRACE /x HTTP/1.1", b"Content-Length: 2", body=b"hi"),
    ),
    "an upgrade with a length": (
        post(b"Content-Length: 2", _UPGRADE, b"Upgrade: x", body=b"hi"),
        up(POST, b"Content-Length: 2", _UPGRADE, b"Upgrade: x", body=b"hi"),
    ),
    "an upgrade with chunks": (
        post(_CHUNKED, _UPGRADE, b"Upgrade: x", body=b"2\r\nhi\r\n0\r\n\r\n"),
        up(POST, _CHUNKED, _UPGRADE, b"Upgrade: x", body=b"2\r\nhi\r\n0\r\n\r\n"),
    ),
    "h2c": (
        post(b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAA", b"Content-Length: 0"),
        up(POST, b"Content-Length: 0"),
    ),
    **{
        f"h2c in {value!r}": (get(_UPGRADE, b"Upgrade: " + value), up())
        for value in [b"H2C", b"h2c-14", b"\th2c", b", h2c", b"h2", b"HTTP/2.0", b"h2c, h2c"]
    },
    "h2c among others": (
        get(_UPGRADE, b"Upgrade: websocket, h2c"),
        up(b"GET /x HTTP/1.1", _UPGRADE, b"Upgrade: websocket"),
    ),
    "h2c on a second line": (
        get(_UPGRADE, b"Upgrade: websocket", b"Upgrade: H2C"),
        up(b"GET /x HTTP/1.1", _UPGRADE, b"Upgrade: websocket"),
    ),
    "an upgrade that Connection does not name": (get(b"Upgrade: websocket"), up()),
    "our host in the target": (
        get(line=b"GET http://OURS/x?y HTTP/1.1", host=b"Host: OURS\r\n"),
        up(b"GET /x?y HTTP/1.1", host=b"Host: OURS\r\n"),
    ),
    "our host without a path": (
        get(line=b"OPTIONS http://OURS HTTP/1.1", host=b"Host: OURS\r\n"),
        up(b"OPTIONS * HTTP/1.1", host=b"Host: OURS\r\n"),
    ),
    "an asterisk": (get(line=b"OPTIONS * HTTP/1.1"), up(b"OPTIONS * HTTP/1.1")),
    **{
        f"target {target!r}": (get(line=b"GET %b HTTP/1.1" % target), up(b"GET %b HTTP/1.1" % target))
        for target in [
            b"//b/x", b"/../..//x", b"/%00%0d%0a", b"/x?a=http://b/&", b"/;a=b:80@c", b"/\xc3\xa9\xff",
            b"/[{|}]\\^`<>\"'", b"/x/../_nbproxy/status", b"//_nbproxy/status", b"/%5fnbproxy/status",
            b"/?" + b"a" * 8000,
        ]
    },
    **{
        f"host {value!r}": (get(host=b"Host: %b\r\n" % value), up(host=b"Host: %b\r\n" % value))
        for value in [b"a:80", b"[::1]:80", b"a_b.c-d", b"192.0.2.1", b"a.", b"xn--a", b"a%C3%A9", b"a:"]
    },
    **{
        f"method {method!r}": (get(line=b"%b /x HTTP/1.1" % method), up(b"%b /x HTTP/1.1" % method))
        for method in [b"get", b"M-SEARCH", b"PROPFIND", b"!#$%&'*+-.^_`|~09AZaz"]
    },
    **{
        f"field {line!r}": (get(line), up(b"GET /x HTTP/1.1", line))
        for line in [
            b"!#$%&'*+-.^_`|~09AZaz: y", b"X:", b"X: \t", b"X:y", b"X:  y z\t", b"X: \xe9\xff\x80", b'X: "a, b',
            b"X: :", b"Expect: 200-ok", b"Expect: x, 100-continue", b"Proxy-Authorization: Basic b",
        ]
    },
    "255 more fields": (get(*[b"X: y"] * 255), up(b"GET /x HTTP/1.1", *[b"X: y"] * 255)),
    "empty lines before it": (b"\r\n\r\n" + get(), up()),
    "HTTP/1.9": (get(line=b"GET /x HTTP/1.9"), up()),
}  # fmt: skip
_BWS = "llhttp knows no BWS in chunk extensions (RFC 9112 §7.1.1, RFC 9110 §5.6.3)"


@pytest.mark.parametrize(("raw", "forwarded"), rows(FORWARDED, {"blanks in chunk extensions": _BWS}))
def test_what_is_clear_goes_upstream_as_one_message(
    session: nbproxy.Session, upstream: Scripted, raw: bytes, forwarded: bytes
) -> None:
    seen = listen(upstream)
    got = through(session, raw)
    upstream.settle()
    assert seen == [forwarded.replace(b"OURS", session.url.removeprefix("http://").encode()), LAST]
    assert got.count(b"HTTP/1.1 200 OK\r\n") == got.count(b"HTTP/1.1 ") == 2


# What ends the connection: nothing behind it is read as a request.
LAST_ONES = {
    "close": (get(b"Connection: close"), up(b"GET /x HTTP/1.1", b"Connection: close")),
    "close among others": (
        get(b"Connection: x, CLOSE, keep-alive"), up(b"GET /x HTTP/1.1", b"Connection: close")
    ),
    "HTTP/1.0": (get(line=b"GET /x HTTP/1.0"), up()),
    "HTTP/1.0 without Host": (get(line=b"GET /x HTTP/1.0", host=b""), up(host=b"Host: UPSTREAM\r\n")),
    "HTTP/1.0 with our host": (
        get(line=b"GET http://OURS/x HTTP/1.0", host=b""), up(host=b"Host: OURS\r\n")
    ),
    "HTTP/1.0 with a length": (
        get(b"Content-Length: 2", line=b"POST /x HTTP/1.0", body=b"hi"),
        up(b"POST /x HTTP/1.1", b"Content-Length: 2", body=b"hi"),
    ),
    "HTTP/1.0 with an upgrade": (get(_UPGRADE, b"Upgrade: x", line=b"GET /x HTTP/1.0"), up()),
    "HTTP/1.0 with an expectation": (
        get(b"Content-Length: 2", b"Expect: 100-continue", line=b"POST /x HTTP/1.0", body=b"hi"),
        up(b"POST /x HTTP/1.1", b"Content-Length: 2", body=b"hi"),
    ),
}  # fmt: skip


@pytest.mark.parametrize(("raw", "forwarded"), rows(LAST_ONES))
def test_nothing_behind_the_last_request_is_read(
    session: nbproxy.Session, upstream: Scripted, raw: bytes, forwarded: bytes
) -> None:
    seen = listen(upstream)
    got = through(session, raw)
    upstream.settle()
    ours, theirs = session.url.removeprefix("http://").encode(), b"127.0.0.1:%d" % upstream.port
    assert seen == [forwarded.replace(b"OURS", ours).replace(b"UPSTREAM", theirs)]
    assert got.count(b"HTTP/1.1 ") == 1


# A body that does not come whole: upstream must not take what came for a whole message.
CUT = {
    "length": post(b"Content-Length: 10", body=b"01234"),
    "before the first chunk": chunked(b""),
    "between chunks": chunked(b"5\r\n01234\r\n"),
    "inside a chunk": chunked(b"a\r\n01234"),
    "before the last line": chunked(b"5\r\n01234\r\n0\r\n"),
    "inside a trailer": chunked(b"5\r\n01234\r\n0\r\nX: y\r\n"),
}


@pytest.mark.parametrize("hard", [False, True], ids=["closed", "reset"])
@pytest.mark.parametrize("raw", rows(CUT))
def test_a_request_cut_short_never_looks_whole(
    session: nbproxy.Session, upstream: Scripted, raw: bytes, hard: bool
) -> None:
    came = threading.Event()
    left: list[bytes] = []

    def handler(talk: Conversation) -> None:
        talk.head()
        came.set()
        with contextlib.suppress(ConnectionError):
            while data := talk.socket.recv(65536):
                talk.buffer += data
        left.append(talk.buffer)

    upstream.handler = handler
    with Client(session.url) as client:
        client.send(raw)
        assert came.wait(TIMEOUT)
        client.reset() if hard else client.socket.shutdown(socket.SHUT_WR)
        upstream.settle()
    assert b"0\r\n" not in left[0]
    assert len(left[0]) < 10 or b"Transfer-Encoding" in raw


def test_an_early_answer_leaves_the_rest_of_the_body_where_it_belongs(
    session: nbproxy.Session, upstream: Scripted
) -> None:
    rest: list[bytes] = []

    def handler(talk: Conversation) -> None:
        talk.head()
        talk.send(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n")
        rest.append(talk.exactly(len(HIDDEN)))
        rest.append(message(talk))
        talk.send(ANSWER)

    upstream.handler = handler
    with Client(session.url) as client:
        client.send(post(b"Content-Length: %d" % len(HIDDEN)))
        assert client.read(b"POST").status == 413
        client.send(HIDDEN, LAST)
        assert client.read().status == 200
    assert rest == [HIDDEN, LAST]


def test_a_piece_that_ends_in_an_empty_line_does_not_end_the_body(session: nbproxy.Session, upstream: Scripted) -> None:
    """Else what stands behind it in the chunk is upstream's next request."""
    came = threading.Event()
    bodies: list[bytes] = []

    def handler(talk: Conversation) -> None:
        raw = talk.until(b"ab\r\n\r\n")
        came.set()
        talk.buffer = raw + talk.buffer
        bodies.append(talk.request()[1])
        talk.send(ANSWER)

    upstream.handler = handler
    with Client(session.url) as client:
        client.send(chunked(b"%x\r\nab\r\n\r\n" % (6 + len(HIDDEN))))
        assert came.wait(TIMEOUT)
        client.send(HIDDEN + b"\r\n0\r\n\r\n")
        assert client.read().status == 200
    assert bodies == [b"ab\r\n\r\n" + HIDDEN]


def test_a_tunnel_begins_behind_the_whole_request_only(session: nbproxy.Session, upstream: Scripted) -> None:
    def handler(talk: Conversation) -> None:
        talk.head()
        talk.send(b"HTTP/1.1 101 Switching\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n")
        talk.closed()

    upstream.handler = handler
    with Client(session.url) as client:
        client.send(post(_UPGRADE, b"Upgrade: x", b"Content-Length: 9", body=b"some"))
        assert Conversation(client.socket).head().startswith(b"HTTP/1.1 502 ")


def test_what_is_asked_and_what_is_answered_must_be_one_protocol(session: nbproxy.Session, upstream: Scripted) -> None:
    upstream.answers(b"HTTP/1.1 101 Switching\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n")
    with Client(session.url) as client:
        client.send(get(_UPGRADE, b"Upgrade: websocket"))
        assert Conversation(client.socket).head().startswith(b"HTTP/1.1 502 ")


def test_an_upgrade_that_is_declined_hides_no_request(session: nbproxy.Session, upstream: Scripted) -> None:
    seen = listen(upstream)
    through(session, get(_UPGRADE, b"Upgrade: websocket") + HIDDEN)
    upstream.settle()
    assert seen[1:] == [HIDDEN, LAST]  # the client's own next request, in the client's own turn


def test_an_asterisk_has_no_prefix(start: Start, upstream: Scripted) -> None:
    seen = listen(upstream)
    through(start(upstream.url + "/es", host_header="preserve"), get(line=b"OPTIONS * HTTP/1.1"))
    upstream.settle()
    assert [raw.split()[1] for raw in seen] == [b"*", b"/es/next"]
