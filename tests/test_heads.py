"""Heads: what is accepted, what is refused, what goes on to the next hop."""

from __future__ import annotations

import pytest

from nbproxy.errors import ClientFault, UpstreamFault
from nbproxy.heads import RequestHead, ResponseHead, onward, persistence, restated


def request(
    block: bytes = b"Host: a\r\n", *, method: bytes = b"GET", target: bytes = b"/x", minor: int = 1
) -> RequestHead:
    return RequestHead(method, target, minor, block)


def response(block: bytes, status: int = 200, *, minor: int = 1, method: str = "GET") -> ResponseHead:
    return ResponseHead(minor, status, b"OK", block, method)


@pytest.mark.parametrize(
    ("block", "framing", "length"),
    [
        (b"Host: a\r\n", "none", 0),
        (b"Host: a\r\nContent-Length: 12\r\n", "length", 12),
        (b"Host: a\r\ncontent-LENGTH:0\r\n", "length", 0),
        (b"Host: a\r\nTransfer-Encoding: Chunked\r\n", "chunked", None),
    ],
)
def test_a_request_is_framed(block: bytes, framing: str, length: int | None) -> None:
    head = request(block)
    assert (head.framing, head.length) == (framing, length)


@pytest.mark.parametrize(
    "block",
    [
        b"Host: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n",
        b"Host: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n",
        b"Host: a\r\nContent-Length: 1, 1\r\n",
        b"Host: a\r\nContent-Length: +1\r\n",
        b"Host: a\r\nContent-Length: 1e1\r\n",
        b"Host: a\r\nContent-Length:\r\n",
        b"Host: a\r\nContent-Length: 9999999999999999999\r\n",
        b"Host: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n",
        b"Host: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        b"Host: a\r\nTransfer-Encoding: gzip, chunked\r\n",
        b"Host: a\r\nTransfer-Encoding: xchunked\r\n",
        b"Host: a\r\nTransfer-Encoding: identity\r\n",
        b"Host: a\r\nTransfer-Encoding:\r\n",
        b"",
        b"Host: a\r\nHost: a\r\n",
        b"Host: a b\r\n",
        b"Host: a/b\r\n",
    ],
)
def test_an_ambiguous_request_is_refused(block: bytes) -> None:
    with pytest.raises(ClientFault) as caught:
        request(block)
    assert caught.value.status == 400


def test_http10_needs_no_host_and_has_no_chunks() -> None:
    assert request(b"", minor=0).framing == "none"
    with pytest.raises(ClientFault):
        request(b"Transfer-Encoding: chunked\r\n", minor=0)


@pytest.mark.parametrize(
    ("target", "block", "origin_form"),
    [
        (b"/a%2Fb//c/../d?x=%20#y", b"Host: a\r\n", "/a%2Fb//c/../d?x=%20#y"),
        (b"http://a:1/p?q", b"Host: a:1\r\n", "/p?q"),
        (b"HTTP://A:1", b"Host: a:1\r\n", "/"),
        (b"http://a?q", b"Host: a\r\n", "/?q"),
        ("/é".encode(), b"Host: a\r\n", "/é".encode().decode("latin-1")),
    ],
)
def test_a_target_is_taken_as_it_is(target: bytes, block: bytes, origin_form: str) -> None:
    assert request(block, target=target).target == origin_form


@pytest.mark.parametrize("target", [b"*", b"a:443", b"ftp://a/", b"http://", b"http://u:p@a/", b"http://b/"])
def test_other_targets_are_refused(target: bytes) -> None:
    with pytest.raises(ClientFault):
        request(target=target)


def test_an_asterisk_is_for_options() -> None:
    assert request(method=b"OPTIONS", target=b"*").target == "*"


def test_fields_of_one_hop_go_and_all_others_stay_as_they_are() -> None:
    head = request(
        b"Host: a\r\nX-B: 1\r\nconnection: X-Hop, keep-alive\r\nx-hop: 2\r\nKeep-Alive: 3\r\nProxy-Connection: x\r\n"
        b"X-b:  padded \t\r\nTE: trailers\r\nX-Empty:\r\n"
    )
    assert head.forwarded(replace={b"host": b"up:9"}) == b"Host: up:9\r\nX-B: 1\r\nX-b:  padded \t\r\nX-Empty:\r\n"


def test_connection_cannot_nominate_what_is_not_of_one_hop() -> None:
    head = request(b"Host: a\r\nConnection: host, content-type\r\nContent-Type: b\r\n")
    assert head.forwarded() == b"Host: a\r\nContent-Type: b\r\n"


@pytest.mark.parametrize(
    ("minor", "connection", "kept"),
    [(1, b"", True), (1, b"close", False), (1, b"x, CLOSE", False), (0, b"", False), (0, b"Keep-Alive", True)],
)
def test_persistence(minor: int, connection: bytes, kept: bool) -> None:
    block = b"Host: a\r\n" + (b"Connection: " + connection + b"\r\n" if connection else b"")
    assert request(block, minor=minor).persistent is kept


def test_h2c_is_not_offered_but_other_protocols_are() -> None:
    assert request(b"Host: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n").upgrade is None
    assert request(b"Host: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n").upgrade == b"websocket"
    assert request(b"Host: a\r\nUpgrade: websocket\r\n").upgrade is None


@pytest.mark.parametrize(
    ("block", "status", "method", "framing", "length"),
    [
        (b"Content-Length: 5\r\n", 200, "GET", "length", 5),
        (b"Content-Length: 5\r\nContent-Length: 5\r\n", 200, "GET", "length", 5),
        (b"Content-Length: 5\r\n", 200, "HEAD", "none", 0),
        (b"Content-Length: 5\r\n", 304, "GET", "none", 0),
        (b"Content-Length: 5\r\n", 204, "GET", "none", 0),
        (b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", 200, "GET", "chunked", None),
        (b"", 200, "GET", "close", None),
    ],
)
def test_a_response_is_framed(block: bytes, status: int, method: str, framing: str, length: int | None) -> None:
    head = response(block, status, method=method)
    assert (head.framing, head.length) == (framing, length)


@pytest.mark.parametrize(
    "block", [b"Content-Length: 5\r\nContent-Length: 6\r\n", b"Content-Length: x\r\n", b"Transfer-Encoding: gzip\r\n"]
)
def test_an_ambiguous_response_is_refused(block: bytes) -> None:
    with pytest.raises(UpstreamFault) as caught:
        response(block)
    assert caught.value.status == 502


def test_a_connection_with_odd_framing_is_not_used_again() -> None:
    assert not response(b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n").persistent
    assert not response(b"").persistent
    assert response(b"Content-Length: 5\r\n").persistent


@pytest.mark.parametrize(
    ("block", "minor", "lines", "framing"),
    [
        (b"A: 1\r\nContent-Length: 5\r\nB: 2\r\n", 1, b"A: 1\r\nContent-Length: 5\r\nB: 2\r\n", "length"),
        (b"Content-Length: 5\r\nA: 1\r\nContent-Length: 5\r\n", 1, b"Content-Length: 5\r\nA: 1\r\n", "length"),
        (b"Transfer-Encoding: chunked\r\nA: 1\r\n", 1, b"Transfer-Encoding: chunked\r\nA: 1\r\n", "chunked"),
        (b"Transfer-Encoding: chunked\r\nA: 1\r\n", 0, b"A: 1\r\n", "close"),
        (b"A: 1\r\n", 1, b"A: 1\r\n", "close"),
        (b"A: 1\r\n", 0, b"A: 1\r\n", "close"),
    ],
)
def test_an_answer_goes_on_as_the_client_can_read_it(block: bytes, minor: int, lines: bytes, framing: str) -> None:
    assert onward(response(block), request(minor=minor)) == (b"HTTP/1.1 200 OK\r\n" + lines, framing)


def test_204_has_no_framing_and_304_keeps_its_length() -> None:
    block = b"Content-Length: 7\r\n"
    assert onward(response(block, 204), request())[0].endswith(b"OK\r\n")
    assert onward(response(block, 304), request())[0].endswith(block)


def test_another_representation_has_its_own_length_and_no_validators() -> None:
    head = response(b"ETag: x\r\nContent-Length: 5\r\nA: 1\r\n")
    assert restated(head, 9, frozenset([b"etag"])) == b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\nA: 1\r\n"


def test_the_answers_connection_field() -> None:
    assert persistence(request(), keep=True) == b""
    assert persistence(request(), keep=False) == b"Connection: close\r\n"
    assert persistence(request(minor=0), keep=True) == b"Connection: Keep-Alive\r\n"


@pytest.mark.parametrize(
    ("offered", "forwarded"),
    [
        (b"websocket", b"websocket"),
        (b"foo/2, bar", b"foo/2, bar"),
        (b"h2c-14", None),
        (b"\th2c", None),
        pytest.param(b"websocket, h2c", b"websocket"),
        pytest.param(b", H2C ,", None),
        pytest.param(b"HTTP/2.0", None),
        pytest.param(b"h2", None),
    ],
)
def test_no_other_http_is_offered_in_a_list_either(offered: bytes, forwarded: bytes | None) -> None:
    """Else upstream could pick it, and what follows would pass us by unread."""
    assert request(b"Host: a\r\nConnection: upgrade\r\nUpgrade: %b\r\n" % offered).upgrade == forwarded


@pytest.mark.parametrize(
    "host",
    [b"", b"a", b"a:80", b"A-b_c.d~e", b"192.0.2.1:9", b"[::1]", b"[2001:db8::1]:80", b"a%C3%A9", b"!$&'()*+;=", b"a:"],
)
def test_a_host_that_the_grammar_knows_is_taken(host: bytes) -> None:
    assert request(b"Host: " + host + b"\r\n").values(b"host") == [host]


@pytest.mark.parametrize(("status", "method"), [(200, "HEAD"), (304, "GET")])
@pytest.mark.parametrize(
    "block",
    [
        b"Content-Length: 5\r\nContent-Length: 6\r\n",
        b"Content-Length: +5\r\n",
        b"Transfer-Encoding: gzip\r\n",
        b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
    ],
)
def test_an_ambiguous_response_without_a_body_is_refused_too(block: bytes, status: int, method: str) -> None:
    with pytest.raises(UpstreamFault):
        response(block, status, method=method)


@pytest.mark.parametrize(("status", "method"), [(200, "HEAD"), (304, "GET")])
def test_a_bodiless_response_says_its_framing_once(status: int, method: str) -> None:
    head = response(b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", status, method=method)
    assert b"Content-Length" not in onward(head, RequestHead(method.encode(), b"/", 1, b"Host: a\r\n"))[0]
    head = response(b"Content-Length: 5\r\nContent-Length: 5\r\n", status, method=method)
    assert onward(head, RequestHead(method.encode(), b"/", 1, b"Host: a\r\n"))[0].count(b"Content-Length: 5") == 1
