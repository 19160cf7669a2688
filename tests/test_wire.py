"""The wire: any split of the bytes gives the same messages, and nothing ambiguous passes. h11 is the oracle."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbproxy.errors import ClientFault, UpstreamFault
from nbproxy.settings import Limits
from nbproxy.wire import End, RequestReader, ResponseReader, chunk, last_chunk

TARGETS = st.text("abc/%?=&-_~é", min_size=0, max_size=20).map(lambda text: ("/" + text).encode())
BODIES = st.binary(max_size=300) | st.sampled_from([b"\r\n\r\n", b"0\r\n\r\n" * 3, b"GET / HTTP/1.1\r\n\r\n"])
NAMES = st.sampled_from([b"X-A", b"x-b", b"Accept"])
VALUES = st.text("az09 ,;é\t", max_size=10).map(lambda text: text.strip().encode("latin-1"))


@st.composite
def requests(draw: Any) -> tuple[bytes, tuple[bytes, bytes, bytes, bytes]]:
    """A request's bytes, and (method, target, body, trailers) as they should be read."""
    method, target = draw(st.sampled_from([b"GET", b"POST", b"PUT", b"PURGE"])), draw(TARGETS)
    fields = b"".join(b"%b: %b\r\n" % pair for pair in draw(st.lists(st.tuples(NAMES, VALUES), max_size=3)))
    head = b"%b %b HTTP/1.1\r\nHost: a\r\n%b" % (method, target, fields)
    body, framing = draw(BODIES), draw(st.sampled_from(["none", "length", "chunked", "trailers"]))
    if framing == "none":
        return head + b"\r\n", (method, target, b"", b"")
    if framing == "length":
        return head + b"Content-Length: %d\r\n\r\n%b" % (len(body), body), (method, target, body, b"")
    cuts = sorted(draw(st.lists(st.integers(0, len(body)), max_size=3)))
    pieces = [body[a:b] for a, b in pairwise([0, *cuts, len(body)]) if a < b]
    trailers = b"X-T: 1\r\n" if framing == "trailers" else b""
    raw = head + b"Transfer-Encoding: chunked\r\n\r\n" + b"".join(map(chunk, pieces)) + last_chunk(trailers)
    return raw, (method, target, body, trailers)


def read(raw: bytes, cuts: list[int], reader: Any) -> list[Any]:
    """The events of a reader that gets ``raw`` in pieces, bodies joined."""
    out: list[Any] = []
    for begin, end in pairwise([0, *sorted(cuts), len(raw)]):
        reader.receive(raw[begin:end])
        while (event := reader.next()) is not None:
            if isinstance(event, bytes) and out and isinstance(out[-1], bytes):
                out[-1] += event
            else:
                out.append(event)
    return out


@given(st.lists(requests(), min_size=1, max_size=3), st.data())
def test_any_split_gives_the_same_requests(messages: list[Any], data: Any) -> None:
    raw = b"".join(message for message, _ in messages)
    cuts = data.draw(st.lists(st.integers(0, len(raw)), max_size=8))
    events = read(raw, cuts, RequestReader(Limits()))
    got = []
    for event in events:
        if isinstance(event, bytes):
            got[-1][2] = event
        elif isinstance(event, End):
            got[-1][3] = event.trailers
        else:
            got.append([event.method.encode(), event.target.encode("latin-1"), b"", b""])
    assert [tuple(message) for message in got] == [wanted for _, wanted in messages]


@given(requests(), st.data())
def test_a_byte_changed_is_refused_or_read_as_h11_reads_it(message: Any, data: Any) -> None:
    raw = bytearray(message[0])
    raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    try:
        events = read(bytes(raw), [], RequestReader(Limits()))
    except ClientFault:
        return
    if not any(isinstance(event, End) for event in events) or max(bytes([b]) for b in raw) >= b"\x80":
        return  # incomplete, or bytes that h11 refuses and we pass on untouched
    oracle = h11.Connection(h11.SERVER)
    try:
        oracle.receive_data(bytes(raw))
        head = oracle.next_event()
        body = b""
        while isinstance(event := oracle.next_event(), h11.Data):
            body += event.data
    except h11.RemoteProtocolError:
        return  # stricter than we are
    assert isinstance(head, h11.Request)
    assert events[0].method.encode() == head.method
    assert (events[1] if isinstance(events[1], bytes) else b"") == body


@pytest.mark.parametrize(
    "raw",
    [
        b"GET / HTTP/1.1\nHost: a\n\n",
        b"GET / HTTP/1.1\r\nHost: a\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX: 1\r\n 2\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost : a\r\n\r\n",
        b"GET / HTTP/1.1\r\n Host: a\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\x00\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\rb\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nno colon\r\n\r\n",
        b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET / HTTP/2.0\r\nHost: a\r\n\r\n",
        b"GET /a b HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /\r\nHost: a\r\n\r\n",
        b"G@T / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"\n\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0x5\r\nabcde\r\n0\r\n\r\n",
        b"PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\nabcde\r\n0\r\n\r\n",
        b"PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5;a\nb\r\nabcde\r\n0\r\n\r\n",
        b"PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nabcde\r\n0\r\n\r\n",
        b"PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\na",
        b"PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX : 1\r\n\r\n",
    ],
)
def test_what_could_be_read_in_two_ways_is_refused(raw: bytes) -> None:
    with pytest.raises(ClientFault) as caught:
        read(raw, [], RequestReader(Limits()))
    assert caught.value.status == 400


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\nHost: a\r\n\r\n", 414),
        (b"GET /" + b"a" * 9000, 414),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"a" * 70_000 + b"\r\n\r\n", 431),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"a" * 70_000, 431),
        (b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: 1\r\n" * 300 + b"\r\n", 431),
    ],
)
def test_limits_of_a_head(raw: bytes, status: int) -> None:
    with pytest.raises(ClientFault) as caught:
        read(raw, [], RequestReader(Limits()))
    assert (caught.value.status, caught.value.type) == (status, "nbproxy_limit")


@pytest.mark.parametrize("size", [b"5 ", b"5 ;a=b", b"005", b'5;a="b"'])
def test_odd_chunk_sizes_that_can_be_read_in_one_way_are_framed_anew(size: bytes) -> None:
    head = b"PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    events = read(head + size + b"\r\nabcde\r\n0\r\n\r\n", [], RequestReader(Limits()))
    assert events[1] == b"abcde"
    assert isinstance(events[2], End)


def test_a_higher_minor_version_is_read_as_ours() -> None:
    assert read(b"GET / HTTP/1.7\r\nHost: a\r\n\r\n", [], RequestReader(Limits()))[0].minor == 1


@pytest.mark.parametrize("extra", [b";x=" + b"a" * 200_000, b"\r\na\r\n0\r\nX: " + b"a" * 200_000])
def test_what_stands_beside_a_bodys_data_is_bounded(extra: bytes) -> None:
    head = b"PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    with pytest.raises(ClientFault) as caught:
        read(head + b"1" + extra, [], RequestReader(Limits()))
    assert caught.value.status == 431


def test_empty_lines_before_a_request_are_ignored() -> None:
    events = read(b"\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", [], RequestReader(Limits()))
    assert events[0].target == "/"


def answer(raw: bytes, method: str = "GET", *, eof: bool = False) -> tuple[list[Any], ResponseReader]:
    reader = ResponseReader()
    reader.expect(method)
    events = read(raw, [], reader)
    if eof and (end := reader.eof()):
        events.append(end)
    return events, reader


def test_a_head_response_does_not_swallow_what_follows() -> None:
    events, reader = answer(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", "HEAD")
    assert [type(event) for event in events] == [type(events[0]), End]
    assert not reader.clean


def test_bytes_behind_an_answer_are_known() -> None:
    assert answer(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na")[1].clean
    assert not answer(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nab")[1].clean


def test_interim_answers_come_before_the_final_one() -> None:
    events, _ = answer(b"HTTP/1.1 103 Early\r\nLink: a\r\n\r\nHTTP/1.1 204 No\r\n\r\n")
    assert [event.status for event in events[:2]] == [103, 204]


def test_a_body_without_length_ends_with_the_connection() -> None:
    events, _ = answer(b"HTTP/1.1 200 OK\r\n\r\nabc", eof=True)
    assert events[1] == b"abc"
    assert isinstance(events[2], End)


@pytest.mark.parametrize(
    "raw",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n",
    ],
)
def test_a_truncated_answer_has_no_end(raw: bytes) -> None:
    events, reader = answer(raw)
    assert not any(isinstance(event, End) for event in events)
    assert reader.eof() is None


def test_folds_and_blanks_before_the_colon_are_repaired_in_answers() -> None:
    events, _ = answer(b"HTTP/1.1 200 OK\r\nX-A : 1\r\nX-B: 2\r\n  3\r\nContent-Length: 0\r\n\r\n")
    assert events[0].block == b"X-A: 1\r\nX-B: 2 3\r\nContent-Length: 0\r\n"


@pytest.mark.parametrize(
    "raw",
    [
        b"HTTX/1.1 200 OK\r\n\r\n",
        b"HTTP/1.1 20 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nnonsense\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: a\x00\r\n\r\n",
        b"HTTP/1.1 200 OK\nX: a\n\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"x" * (2 << 20),
    ],
)
def test_garbage_from_upstream_is_refused(raw: bytes) -> None:
    with pytest.raises(UpstreamFault):
        answer(raw)
