"""Chunked bodies: the grammar to the letter, whatever the split; llhttp (of httptools) and h11 are the oracles."""

from __future__ import annotations

import contextlib
from itertools import pairwise
from typing import Any

import h11
import httptools
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbproxy.chunks import Chunked
from nbproxy.errors import ClientFault
from nbproxy.settings import Limits

Outcome = tuple[bytes, bytes, bytes] | str | None  # (content, trailers, what stands behind), a fault, or "more, please"
NOTHING = b"0\r\n\r\n"


def read(raw: bytes, cuts: list[int], *, padded: bool = False, limits: Limits | None = None) -> Outcome:
    body, content = Chunked(limits or Limits(), frozenset([b"x-hop"]), padded=padded), b""
    try:
        for begin, end in pairwise([0, *sorted(cuts), len(raw)]):
            pieces, rest = body.feed(raw[begin:end])
            assert all(pieces), "an empty piece, framed anew, would be the last chunk"
            content += b"".join(pieces)
            if rest is not None:
                return content, body.trailers(), rest + raw[end:]
    except ClientFault as fault:
        return str(fault.status)
    except ValueError:
        return "malformed"
    return None


TOKENS = st.text("aZ9!~-", min_size=1, max_size=4).map(str.encode)
QUOTED = st.sampled_from([b'""', b'"a b"', b'"\\""', b'"\\\\"', b'";\t="', b'"\xe9"'])
BLANKS = st.sampled_from([b"", b"", b" ", b"\t", b" \t "])


@st.composite
def extensions(draw: Any) -> bytes:
    """Chunk extensions as RFC 9112 §7.1.1 knows them, with bad white space."""
    out = b""
    for _ in range(draw(st.integers(0, 3))):
        out += draw(BLANKS) + b";" + draw(BLANKS) + draw(TOKENS)
        if draw(st.booleans()):
            out += draw(BLANKS) + b"=" + draw(BLANKS) + draw(TOKENS | QUOTED)
    return out


@st.composite
def bodies(draw: Any) -> tuple[bytes, bytes, bytes]:
    """A chunked body, its content, and its trailers."""
    contents = draw(st.lists(st.binary(min_size=1, max_size=40) | st.sampled_from([b"\r\n", NOTHING]), max_size=4))
    raw = b"".join(
        b"0" * draw(st.integers(0, 20)) + b"%x%b\r\n%b\r\n" % (len(part), draw(extensions()), part) for part in contents
    )
    trailers = draw(st.sampled_from([b"", b"X-A: 1\r\n", b"x-a:2\r\nX-B:\r\nX-A: \xe9\r\n"]))
    last = b"0" * draw(st.integers(1, 20)) + draw(extensions())
    return raw + last + b"\r\n" + trailers + b"\r\n", b"".join(contents), trailers


@given(bodies(), st.sampled_from([b"", b"x", b"\r\n", NOTHING, b"GET / HTTP/1.1\r\n\r\n"]), st.data())
def test_any_split_gives_the_same_content_and_knows_what_stands_behind(body: Any, behind: bytes, data: Any) -> None:
    raw, content, trailers = body
    cuts = data.draw(st.lists(st.integers(0, len(raw + behind)), max_size=8))
    assert read(raw + behind, cuts) == (content, trailers, behind)
    assert read(raw + behind, list(range(len(raw + behind)))) == (content, trailers, behind)


@given(bodies(), st.data())
def test_a_body_cut_anywhere_has_no_end(body: Any, data: Any) -> None:
    raw = body[0][: data.draw(st.integers(0, len(body[0]) - 1))]
    assert read(raw, []) is None
    assert read(raw, list(range(len(raw)))) is None


NOISE = st.text('05aF;= \t"\\\r\nxX:', max_size=24).map(str.encode) | st.binary(max_size=24)


@given(NOISE, st.booleans(), st.data())
def test_any_split_of_anything_gives_the_same(noise: bytes, padded: bool, data: Any) -> None:
    raw = noise + b"\r\n" + NOTHING
    cuts = data.draw(st.lists(st.integers(0, len(raw)), max_size=6))
    whole = read(raw, [], padded=padded)
    assert read(raw, cuts, padded=padded) == whole
    assert read(raw, list(range(len(raw))), padded=padded) == whole


@given(NOISE | bodies().map(lambda body: body[0]), st.data())
def test_what_is_read_is_what_others_read(noise: bytes, data: Any) -> None:
    """Nothing passes that llhttp or h11, where they take it, would read otherwise."""
    raw = noise + b"\r\n" + NOTHING
    ours = read(raw, data.draw(st.lists(st.integers(0, len(raw)), max_size=6)))
    if not isinstance(ours, tuple):
        return
    assert by_llhttp(raw) in (ours[0], None)
    assert by_h11(raw) in (ours[0], None)


class Noted:
    def __init__(self) -> None:
        self.content, self.whole = b"", False

    def on_body(self, data: bytes) -> None:
        self.content += b"" if self.whole else data

    def on_message_complete(self) -> None:
        self.whole = True


HEAD = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"


def by_llhttp(raw: bytes) -> bytes | None:
    noted = Noted()
    parser = httptools.HttpRequestParser(noted)
    with contextlib.suppress(httptools.HttpParserError):
        parser.feed_data(HEAD + raw)
    return noted.content if noted.whole else None


def by_h11(raw: bytes) -> bytes | None:
    oracle, content = h11.Connection(h11.SERVER), b""
    oracle.receive_data(HEAD + raw)
    try:
        oracle.next_event()
        while isinstance(event := oracle.next_event(), h11.Data):
            content += event.data
    except h11.RemoteProtocolError:
        return None
    return content if isinstance(event, h11.EndOfMessage) else None


@pytest.mark.parametrize(
    "line",
    [
        b"", b" ", b" 5", b"+5", b"-5", b"0x5", b"5_0", b"5h", b"5,", b";a", b"5\x00", b"5\x0b", b"5\xa0", b"\xb2",
        b"5\r", b"5 5", b"5 a", b"5;", b"5;;", b"5; ;a", b"5;=", b"5;a=", b"5;a b", b"5;a=b c", b'5;a="b', b'5;a="b"c',
        b'5;a="\\', b"5;a\x00", b"5;a=\x7f", b"5;\xe9", b"5;a\rb", b"8000000000000000", b"ffffffffffffffff",
        b"10000000000000005", b"00010000000000000005",
    ],
)  # fmt: skip
@pytest.mark.parametrize("padded", [False, True])
def test_other_lines_are_refused(line: bytes, padded: bool) -> None:
    raw = line + b"\r\nhello\r\n" + NOTHING
    assert read(raw, [], padded=padded) == read(raw, list(range(len(raw))), padded=padded) == "malformed"


def test_blanks_behind_a_size_are_for_answers_only() -> None:
    raw = b"5 \t\r\nhello\r\n0 \r\n\r\n"
    assert (read(raw, []), read(raw, [], padded=True)) == ("malformed", (b"hello", b"", b""))


@pytest.mark.parametrize(
    "raw", [b"5\nhello\r\n", b"5\r\nhello\n", b"5\r\nhello\r\n0\n\n", b"0\r\n\n", b"0\r\nX: y\n\r\n"]
)
def test_lines_end_in_crlf(raw: bytes) -> None:
    assert read(raw + NOTHING, []) == "malformed"


@pytest.mark.parametrize("raw", [b"x", b"-", b"\r", b"5\r\nhelloX", b"5\r\nhello\rX", b"0\r\nX: y\n"])
def test_what_can_become_nothing_is_refused_before_its_line_ends(raw: bytes) -> None:
    assert read(raw, []) == "malformed"


def test_trailers_lose_what_may_not_stand_there() -> None:
    section = b"Content-Length: 5\r\nX-A: 1\r\nHOST: b\r\nX-Hop: 2\r\nTransfer-Encoding: chunked\r\nx-b:3\r\n"
    assert read(b"0\r\n" + section + b"\r\n", []) == (b"", b"X-A: 1\r\nx-b:3\r\n", b"")


@pytest.mark.parametrize(
    "section", [b"X : 1", b" X: 1", b"X", b": 1", b"X: \x00", b"X: 1\r2", b"X: 1\r\n 2", b"X: 1\r\r"]
)
def test_trailers_are_held_to_a_heads_grammar(section: bytes) -> None:
    assert read(b"0\r\n" + section + b"\r\n\r\n", []) == "malformed"


LIMITS = Limits(head_bytes=1000, head_fields=10)


@pytest.mark.parametrize(
    ("raw", "outcome"),
    [
        (b"5;a=" + b"b" * 2000, "malformed"),
        (b"0" * 2000, "malformed"),
        (b"1;a=%b\r\nx\r\n" % (b"b" * 400) * 5, "malformed"),
        (b"0\r\nX: " + b"y" * 2000, "431"),
        (b"0\r\n" + b"X: y\r\n" * 12, "431"),
        (b"1;a=%b\r\nx\r\n" % (b"b" * 200) * 50 + NOTHING, (b"x" * 50, b"", b"")),
        (b"0\r\n" + b"X: y\r\n" * 10 + b"\r\n", (b"", b"X: y\r\n" * 10, b"")),
    ],
)
def test_what_stands_beside_the_content_is_bounded(raw: bytes, outcome: Outcome) -> None:
    assert read(raw, [], limits=LIMITS) == outcome
    assert read(raw, list(range(0, len(raw), 7)), limits=LIMITS) == outcome


def test_nothing_is_bounded_without_limits() -> None:
    raw = b"1;a=%b\r\nx\r\n" % (b"b" * 100_000) + b"0\r\n" + b"X: y\r\n" * 20_000 + b"\r\n"
    assert read(raw, [], limits=Limits(head_bytes=None, head_fields=None)) == (b"x", b"X: y\r\n" * 20_000, b"")
