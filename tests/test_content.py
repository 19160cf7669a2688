"""Content codings, with caps."""

from __future__ import annotations

import gzip
import tracemalloc
import zlib
from collections.abc import Callable

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbproxy import content


def packed(body: bytes, codec: str) -> bytes:
    return bytes(pa.compress(body, codec=codec, asbytes=True))


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
        (packed(b"hello", "brotli"), "br"),
        (packed(b"hello", "zstd"), "zstd"),
        (packed(b"he", "zstd") + packed(b"llo", "zstd"), "zstd"),
        (gzip.compress(packed(packed(b"hello", "zstd"), "brotli")), "zstd, br, gzip"),
        (gzip.compress(b"") * 999 + gzip.compress(b"hello"), "gzip"),
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
        *[(b"", coding) for coding in ("deflate", "br", "zstd")],
        *[(b"garbage" * 9, coding) for coding in ("gzip", "br", "zstd")],
        (packed(b"hello" * 100, "brotli")[:-1], "br"),
        (packed(b"hello" * 100, "zstd")[:-1], "zstd"),
        (gzip.compress(b"hello") + b"garbage", "gzip"),
        (gzip.compress(gzip.compress(gzip.compress(gzip.compress(b"hello")))), "gzip, gzip, gzip, gzip"),
        (gzip.compress(b"") * 20_000, "gzip"),  # costs time, and nothing against the cap
    ],
)
def test_broken_bytes_and_unknown_codings_are_told(body: bytes, coding: str) -> None:
    with pytest.raises(content.Undecodable):
        content.decode(body, coding)


@pytest.mark.parametrize("size", [0, 1, 1023, 1024, 1025, 300_000])
def test_whole_bodies_come_out_at_any_size(size: int) -> None:
    body = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
    for coding, pack in PACK.items():
        assert content.decode(pack(body), coding) == body
        if "," not in coding:  # what comes in between has the same cap
            assert content.decode(pack(body), coding, size) == body
        if size:
            with pytest.raises(content.TooLarge):
                content.decode(pack(body), coding, size - 1)


PACK: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "deflate": zlib.compress,
    "br": lambda body: packed(body, "brotli"),
    "zstd": lambda body: packed(body, "zstd"),
    "gzip, br": lambda body: packed(gzip.compress(body), "brotli"),
}


@pytest.mark.parametrize("coding", PACK)
def test_a_bomb_is_not_unpacked(coding: str) -> None:
    bomb, limit, before = PACK[coding](bytes(50_000_000)), 1_000_000, pa.total_allocated_bytes()
    tracemalloc.start()
    try:
        with pytest.raises(content.TooLarge):
            content.decode(bomb, coding, limit)
        assert tracemalloc.get_traced_memory()[1] < 3 * limit
    finally:
        tracemalloc.stop()
    assert pa.total_allocated_bytes() == before


def test_no_coding_has_a_cap_too() -> None:
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
