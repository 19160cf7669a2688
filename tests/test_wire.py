"""The wire: any split of the bytes gives the same messages, and nothing ambiguous passes. h11 is the oracle."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbproxy.errors import ClientFault, UpstreamFault
from nbproxy.heads import RequestHead
from nbproxy.settings import Limits
from nbproxy.wire import End, RequestReader, ResponseReader, chunk, last_chunk

from .ambiguous import REFUSED, chunked

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


@given(st.lists(requests(), min_size=1, max_size=3), st.data())
def test_the_short_way_gives_what_the_long_one_gives(messages: list[Any], data: Any) -> None:
    raw = b"".join(message for message, _ in messages)
    ends = [len(b"".join(message for message, _ in messages[:n])) for n in range(1, len(messages))]
    cuts = sorted(data.draw(st.lists(st.integers(0, len(raw)), max_size=3)) + ends)
    short, out = RequestReader(Limits()), list[Any]()
    for begin, end in pairwise([0, *cuts, len(raw)]):
        piece, told = raw[begin:end], data.draw(st.booleans())
        if (whole := short.whole(piece)) is None:
            out += read(piece, [], short)
        else:
            out.append(whole[0])
            if told:  # whoever got the head wants the body told
                short.go_on(*whole)
                out += read(b"", [], short)
            else:
                out += [whole[1], End()] if whole[1] else [End()]
    assert plain(out) == plain(read(raw, [], RequestReader(Limits())))


def plain(events: list[Any]) -> list[Any]:
    """Events as values, a body as one."""
    out: list[Any] = []
    for event in events:
        if isinstance(event, bytes) and isinstance(out[-1], bytes):
            out[-1] += event
        elif isinstance(event, RequestHead):
            out.append((event.method, event.target, event.block))
        else:
            out.append(event if isinstance(event, bytes) else (event.trailers,))
    return out


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhell",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello!",
        b"GET / HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +5\r\n\r\nhello",
        *REFUSED.values(),
        chunked(b"0\r\n\r\n"),
    ],
)
def test_the_short_way_is_for_whole_requests_only_and_leaves_no_trace(raw: bytes) -> None:
    reader = RequestReader(Limits())
    assert reader.whole(raw) is None
    assert (reader.pending, reader.started) == (0, False)


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


@pytest.mark.parametrize("size", [b"005", b"5;a=b;c", b'5;a="b"'])
def test_odd_chunk_sizes_that_can_be_read_in_one_way_are_framed_anew(size: bytes) -> None:
    head = b"PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    events = read(head + size + b"\r\nabcde\r\n0\r\n\r\n", [], RequestReader(Limits()))
    assert events[1] == b"abcde"
    assert isinstance(events[2], End)


def test_a_higher_minor_version_is_read_as_ours() -> None:
    assert read(b"GET / HTTP/1.7\r\nHost: a\r\n\r\n", [], RequestReader(Limits()))[0].minor == 1


@pytest.mark.parametrize(
    ("extra", "status"), [(b";x=" + b"a" * 200_000, 400), (b"\r\na\r\n0\r\nX: " + b"a" * 200_000, 431)]
)
def test_what_stands_beside_a_bodys_data_is_bounded(extra: bytes, status: int) -> None:
    head = b"PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    with pytest.raises(ClientFault) as caught:
        read(head + b"1" + extra, [], RequestReader(Limits()))
    assert caught.value.status == status


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


@pytest.mark.parametrize("fold", [b"\r\n ", b" \r\n\t", b"\t\r\n ", b" \t\r\n\t  ", b"\r\n \r\n\t\r\n "])
def test_a_fold_in_an_answer_is_one_space_with_the_blanks_around_it(fold: bytes) -> None:
    """RFC 9112 §5.2: obs-fold is OWS CRLF RWS; two in a row are one."""
    events, _ = answer(b"HTTP/1.1 200 OK\r\nX-A: 1%b2%b3\t 4\r\nContent-Length: 0\r\n\r\n" % (fold, fold))
    assert events[0].block == b"X-A: 1 2 3\t 4\r\nContent-Length: 0\r\n"


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


# -- any split, of what is clear and of what is not

NEXT = b"GET /next HTTP/1.1\r\nHost: a\r\n\r\n"
ALL_REFUSED = sorted(name for name, raw in REFUSED.items() if len(raw) < 10_000)


def outcome(raw: bytes, cuts: list[int], reader: Any) -> tuple[list[str], int | None]:
    """What a reader makes of ``raw``: the kinds of its events, and the status of its refusal."""
    kinds: list[str] = []
    try:
        for begin, end in pairwise([0, *sorted(cuts), len(raw)]):
            reader.receive(raw[begin:end])
            while (event := reader.next()) is not None:
                if not isinstance(event, bytes):  # a body's last pieces may be lost in a refusal
                    kinds.append(type(event).__name__)
    except (ClientFault, UpstreamFault) as fault:
        return kinds, fault.status
    return kinds, None


@given(st.sampled_from(ALL_REFUSED), st.data())
def test_any_split_gives_the_same_refusal(name: str, data: Any) -> None:
    raw = REFUSED[name] + NEXT
    cuts = data.draw(st.lists(st.integers(0, len(raw)), max_size=8))
    assert outcome(raw, cuts, RequestReader(Limits())) == outcome(raw, [], RequestReader(Limits()))


@pytest.mark.parametrize("name", ALL_REFUSED)
def test_byte_by_byte_gives_the_same_refusal(name: str) -> None:
    raw = REFUSED[name] + NEXT
    bytewise = outcome(raw, list(range(len(raw))), RequestReader(Limits()))
    assert bytewise == outcome(raw, [], RequestReader(Limits()))


def test_empty_lines_may_be_split_too() -> None:
    raw = b"\r\n\r\n" + NEXT
    for cut in range(5):
        assert outcome(raw, [cut], RequestReader(Limits())) == (["RequestHead", "End"], None)


@pytest.mark.parametrize("trailers", [b"X: " + b"y" * 100_000 + b"\r\n", b"X: y\r\n" * 300], ids=["bytes", "fields"])
def test_trailers_have_the_limits_of_a_head(trailers: bytes) -> None:
    raw = chunked(b"0\r\n" + trailers + b"\r\n")
    assert outcome(raw, [], RequestReader(Limits())) == (["RequestHead"], 431)
    assert outcome(raw[:-2], list(range(0, len(raw) - 2, 999)), RequestReader(Limits())) == (["RequestHead"], 431)


@st.composite
def responses(draw: Any) -> tuple[bytes, str, tuple[int, bytes, bytes, list[int]]]:
    """A response's bytes, the method that it answers, and (status, body, trailers, interim) as it should be read."""
    method = draw(st.sampled_from(["GET", "HEAD", "POST"]))
    interim = draw(st.lists(st.sampled_from([100, 102, 103]), max_size=2))
    status = draw(st.sampled_from([200, 204, 304, 404, 500, 599]))
    head = b"".join(b"HTTP/1.1 %d E\r\nLink: a\r\n\r\n" % number for number in interim)
    head += b"HTTP/1.%d %d Why\r\n" % (draw(st.sampled_from([1, 1, 0])), status)
    head += b"".join(b"%b: %b\r\n" % pair for pair in draw(st.lists(st.tuples(NAMES, VALUES), max_size=3)))
    body, framing = draw(BODIES), draw(st.sampled_from(["length", "chunked", "trailers"]))
    if method == "HEAD" or status in (204, 304):
        length = b"" if status == 204 else b"Content-Length: %d\r\n" % len(body)
        return head + length + b"\r\n", method, (status, b"", b"", interim)
    if framing == "length":
        raw = head + b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
        return raw, method, (status, body, b"", interim)
    cuts = sorted(draw(st.lists(st.integers(0, len(body)), max_size=3)))
    pieces = [body[a:b] for a, b in pairwise([0, *cuts, len(body)]) if a < b]
    trailers = b"X-T: 1\r\nX-T: 2\r\n" if framing == "trailers" else b""
    raw = head + b"Transfer-Encoding: chunked\r\n\r\n" + b"".join(map(chunk, pieces)) + last_chunk(trailers)
    return raw, method, (status, body, trailers, interim)


def answered(events: list[Any]) -> tuple[int, bytes, bytes, list[int]]:
    """What the events of one response say."""
    heads = [event for event in events if not isinstance(event, bytes | End)]
    ends = [event for event in events if isinstance(event, End)]
    assert len(ends) == 1
    body = b"".join(event for event in events if isinstance(event, bytes))
    return heads[-1].status, body, ends[0].trailers, [head.status for head in heads[:-1]]


@given(responses(), st.sampled_from([b"", b"x", b"\r\n", b"HTTP/1.1 200 OK\r\n\r\n"]), st.data())
def test_any_split_gives_the_same_response_and_knows_what_stands_behind(message: Any, behind: bytes, data: Any) -> None:
    raw, method, wanted = message
    cuts = data.draw(st.lists(st.integers(0, len(raw + behind)), max_size=8))
    reader = ResponseReader()
    reader.expect(method)
    assert answered(read(raw + behind, cuts, reader)) == wanted
    assert reader.clean is (not behind)


@given(responses(), st.data())
def test_a_response_cut_anywhere_has_no_end(message: Any, data: Any) -> None:
    raw, method, _ = message
    reader = ResponseReader()
    reader.expect(method)
    events = read(raw[: data.draw(st.integers(0, len(raw) - 1))], [], reader)
    assert not any(isinstance(event, End) for event in events)
    assert reader.eof() is None


@given(responses(), st.data())
def test_a_byte_changed_in_a_response_is_refused_or_read_as_h11_reads_it(message: Any, data: Any) -> None:
    raw, method = bytearray(message[0]), message[1]
    raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    reader = ResponseReader()
    reader.expect(method)
    try:
        events = read(bytes(raw), [], reader)
    except UpstreamFault:
        return
    if not any(isinstance(event, End) for event in events):
        return  # incomplete, or ended by the connection only
    theirs = by_h11(bytes(raw), method)
    if theirs is not None:
        status, body, _, interim = answered(events)
        assert (status, body, interim) == theirs


def by_h11(raw: bytes, method: str) -> tuple[int, bytes, list[int]] | None:
    """What h11 makes of a response; None where it is stricter than we are, or waits for more."""
    oracle = h11.Connection(h11.CLIENT)
    oracle.send(h11.Request(method=method, target="/", headers=[("Host", "a")]))
    oracle.send(h11.EndOfMessage())
    oracle.receive_data(raw)
    status, body, interim = 0, b"", []
    try:
        while not isinstance(event := oracle.next_event(), h11.EndOfMessage):
            if isinstance(event, h11.InformationalResponse):
                interim.append(event.status_code)
            elif isinstance(event, h11.Response):
                status = event.status_code
            elif isinstance(event, h11.Data):
                body += event.data
            else:
                return None
    except h11.RemoteProtocolError:
        return None
    return status, body, interim


@given(st.binary(max_size=40), st.data())
def test_noise_behind_a_head_is_a_body_or_refused_and_never_anything_else(noise: bytes, data: Any) -> None:
    """Whatever stands where chunks should: no exception but ours, and the same whatever the split."""
    raw = chunked(noise)
    cuts = data.draw(st.lists(st.integers(0, len(raw)), max_size=4))
    assert outcome(raw, cuts, RequestReader(Limits())) == outcome(raw, [], RequestReader(Limits()))


CHUNK_BYTES = st.text('05aF;= \t"\\\r\nxX:', max_size=24).map(str.encode)


@given(CHUNK_BYTES, st.data())
def test_what_looks_like_chunks_is_read_as_h11_reads_it_or_refused(body: bytes, data: Any) -> None:
    raw = chunked(body + b"\r\n0\r\n\r\n")
    cuts = data.draw(st.lists(st.integers(0, len(raw)), max_size=4))
    assert outcome(raw, cuts, RequestReader(Limits())) == outcome(raw, [], RequestReader(Limits()))
    kinds, fault = outcome(raw, [], RequestReader(Limits()))
    if fault is not None or "End" not in kinds:
        return
    ours = b"".join(event for event in read(raw, [], RequestReader(Limits())) if isinstance(event, bytes))
    oracle = h11.Connection(h11.SERVER)
    oracle.receive_data(raw)
    theirs = b""
    try:
        oracle.next_event()
        while isinstance(event := oracle.next_event(), h11.Data):
            theirs += event.data
    except h11.RemoteProtocolError:
        return
    assert ours == theirs


def test_no_piece_of_a_body_is_empty() -> None:
    """Framed anew, an empty piece would be the last chunk."""
    reader = RequestReader(Limits())
    reader.receive(chunked(b"9\r\nab\r\n\r\n"))
    assert isinstance(reader.next(), RequestHead)
    assert (reader.next(), reader.next()) == (b"ab\r\n\r\n", None)


@given(st.lists(st.sampled_from([b"\r\n\r\n", b"\r\n", b"a", b"0\r\n\r\n"]), max_size=6), st.data())
def test_every_piece_of_any_split_has_bytes(parts: list[bytes], data: Any) -> None:
    body = b"".join(parts)
    raw = chunked(b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)) if body else chunked(b"0\r\n\r\n")
    reader, pieces = RequestReader(Limits()), []
    for begin, end in pairwise([0, *sorted(data.draw(st.lists(st.integers(0, len(raw)), max_size=6))), len(raw)]):
        reader.receive(raw[begin:end])
        while (event := reader.next()) is not None:
            pieces += [event] if isinstance(event, bytes) else []
    assert b"".join(pieces) == body
    assert all(pieces)


@pytest.mark.parametrize("side", ["request", "response"])
def test_a_body_that_comes_byte_by_byte_is_told_by_reads(side: str) -> None:
    """Not by the piece: each would cost a write. A few stay the pieces that they were."""
    head = b"POST / HTTP/1.1\r\nHost: a\r\n" if side == "request" else b"HTTP/1.1 200 OK\r\n"
    for count, pieces in ((3, 3), (1000, 1)):
        reader = RequestReader(Limits()) if side == "request" else ResponseReader()
        reader.receive(head + b"Transfer-Encoding: chunked\r\n\r\n" + chunk(b"x") * count + last_chunk())
        events = list(iter(reader.next, None))
        bodies = [event for event in events if isinstance(event, bytes)]
        assert (b"".join(bodies), len(bodies)) == (b"x" * count, pieces)
        assert isinstance(events[-1], End)
