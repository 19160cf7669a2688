"""One request with its response, frozen: what everything downstream of the server reads."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Literal

import msgspec

from .ranking import Ranking

Route = Literal["search", "pass", "own"]


class Exchange(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A finished exchange, or one search of a multi-search (``part`` is then its number).

    Fields are the columns of ``session.frame`` (contract §5) but for four, which the recorder turns into columns
    off the event loop: ``request_head`` and ``response_head`` are raw header lines (redacted before they are
    stored), ``rankings`` become rows of ``session.hits``, and ``complete`` finishes what was not worth doing on
    the loop: it returns the exchange with its search columns and rankings filled in.

    Times are epoch microseconds (``started``) and milliseconds (``*_ms``). A body is content as transferred on
    the client's side, whole on search routes, else its first 64 KiB (``*_truncated`` says so); ``upstream_*_body``
    is None where it is the same.
    """

    exchange_id: str
    started: int
    method: str
    target: str
    client: str | None = None
    part: int | None = None
    route: Route = "pass"
    dialect: str | None = None
    index: str | None = None
    query_id: str | None = None
    ubi_query_id: str | None = None
    query: str | None = None
    offset: int | None = None
    size: int | None = None
    depth: int | None = None
    status: int | None = None
    request_head: bytes = b""
    request_body: bytes | None = None
    response_head: bytes = b""
    response_body: bytes | None = None
    upstream_request_body: bytes | None = None
    upstream_response_body: bytes | None = None
    request_truncated: bool = False
    response_truncated: bool = False
    bytes_in: int = 0
    bytes_out: int = 0
    upstream_ms: float | None = None
    rerank_ms: float | None = None
    total_ms: float | None = None
    model: str | None = None
    model_fingerprint: str | None = None
    reranked: bool = False
    reason: str | None = None
    error: str | None = None
    rankings: tuple[Ranking, ...] = ()
    complete: Callable[[Exchange], Exchange] | None = None


_last = (0, 0)


def new_exchange_id() -> str:
    """A time-ordered UUID (version 7, RFC 9562 §5.7; the 12 bits after the millisecond count up within it)."""
    global _last
    millis = time.time_ns() // 1_000_000
    last_millis, count = _last
    count = count + 1 if millis <= last_millis else 0
    if count > 0xFFF:
        last_millis, count = last_millis + 1, 0
    millis = max(millis, last_millis)
    _last = (millis, count)
    tail = int.from_bytes(os.urandom(8)) & 0x3FFF_FFFF_FFFF_FFFF | 0x8000_0000_0000_0000
    digits = f"{millis << 80 | 7 << 76 | count << 64 | tail:032x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"
