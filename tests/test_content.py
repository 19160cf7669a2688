"""Content codings, with caps."""

from __future__ import annotations

import gzip
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbproxy import content

RAW = zlib.compressobj(wbits=-15)
DEFLATED = RAW.compress(b"hello") + RAW.flush()


@pytest.mark.parametrize(
    ("body", "coding"),
    [
        (b"hello", None),
        (b"hello", "identity"),
        (gzip.compress(b"hello"), "gzip"),
        (gzip.compress(b"hello"), " X-GZIP"),
        (gzip.compress(b"he") + gzip.compress(b"llo"), "gzip"),
        (zlib.compress(b"hello"), "deflate"),
        (DEFLATED, "deflate"),
        (gzip.compress(zlib.compress(b"hello")), "deflate, gzip"),
    ],
)
def test_codings_are_undone(body: bytes, coding: str | None) -> None:
    assert content.decode(body, coding) == b"hello"


@given(st.binary(max_size=5000))
def test_gzip_comes_back(body: bytes) -> None:
    assert content.decode(content.gzip(body), "gzip") == body


@pytest.mark.parametrize(
    ("body", "coding"),
    [
        (b"hello", "gzip"),
        (gzip.compress(b"hello" * 100)[:-9], "gzip"),
        (gzip.compress(b"hello")[:-12] + b"xxxxxxxxxxxx", "gzip"),
        (b"hello", "snappy"),
        (b"\x00garbage", "deflate"),
        (b"", "gzip"),
    ],
)
def test_broken_bytes_and_unknown_codings_are_told(body: bytes, coding: str) -> None:
    with pytest.raises(content.Undecodable):
        content.decode(body, coding)


def test_a_bomb_is_not_unpacked() -> None:
    bomb = gzip.compress(b"\0" * 50_000_000)
    with pytest.raises(content.TooLarge):
        content.decode(bomb, "gzip", 1_000_000)
    with pytest.raises(content.TooLarge):
        content.decode(b"12345", None, 4)


@pytest.mark.parametrize(
    ("field", "wanted"),
    [
        (None, False),
        ("", False),
        ("gzip", True),
        ("deflate, GZIP ;q=1.0", True),
        ("x-gzip", True),
        ("gzip;q=0", False),
        ("gzip;q=0.8, *;q=0.1", False),
        ("br, *", False),
        ("identity", False),
    ],
)
def test_gzip_is_sent_only_where_it_is_wanted(field: str | None, wanted: bool) -> None:
    assert content.accepts_gzip(field) is wanted
