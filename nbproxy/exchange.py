"""One request with its response, frozen: what everything downstream of the server reads."""

from __future__ import annotations

import html
import threading
from collections.abc import Callable
from typing import Any, Literal

import msgspec
import numpy as np

from .clicks import Click
from .ranking import Ranking

Route = Literal["search", "pass", "own"]


class Exchange(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A finished exchange, or one search of a multi-search (``part`` is then its number).

    Fields are the columns of ``session.frame`` (contract §5) but for six, which the recorder turns into columns
    off the event loop: ``request_head`` and ``response_head`` are raw header lines (redacted before they are
    stored), ``rankings`` become rows of ``session.hits``, ``parts``, the searches of a multi-search, rows of the
    frame after its own, ``clicks`` (that the request told of) are kept beside both, and ``complete`` finishes what was
    not worth doing on the loop: it returns the exchange with its search columns, rankings, clicks and parts filled in.

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
    clicks: tuple[Click, ...] = ()
    parts: tuple[Exchange, ...] = ()
    complete: Callable[[Exchange], Exchange] | None = None

    def __repr__(self) -> str:
        """One line: bodies may be megabytes."""
        query = f" {self.query[:80]!r}" if self.query else ""
        size = f"{self.bytes_in:,} bytes in, {self.bytes_out:,} out"
        asked = f"{self.method} {self.target[:80]!r} → {self.status}"
        return f"<Exchange {self.exchange_id} {asked} · {self.route}{query} · {size}>"

    def _repr_html_(self) -> str:
        return f"<code>{html.escape(repr(self))}</code>"

    @property
    def weight(self) -> int:
        """Bytes of its bodies."""
        bodies = (self.request_body, self.response_body, self.upstream_request_body, self.upstream_response_body)
        return sum(len(body) for body in bodies if body)


_counted, _counting = 0, threading.Lock()
_PAIRS = np.frombuffer(bytes(range(256)).hex().encode(), dtype=np.uint16)  # two digits each
_DIGITS = np.array([place for place in range(36) if place not in (8, 13, 18, 23)])


def next_count(n: int) -> int:
    """The first of ``n`` numbers that nobody else gets. From any thread."""
    global _counted
    with _counting:
        first, _counted = _counted, _counted + n
    return first


def exchange_ids(started: Any, first: int, noise: bytes) -> Any:
    """Time-ordered UUIDs (version 7, RFC 9562 §5.7) of exchanges that began at ``started``, an array of n epoch
    microseconds: an array of n × 36 characters.

    :param first: of the numbers (:func:`next_count`) that are the 12 bits after the millisecond, so that what is made
        one after the other in a millisecond stays in order.
    :param noise: 8 random bytes each.
    """
    n = len(started)
    raw = np.empty((n, 16), dtype=np.uint8)
    raw[:, :8] = (started // 1000 << 16).astype(">i8").view(np.uint8).reshape(n, 8)
    counts = first + np.arange(n)
    raw[:, 6:8] = (0x7000 | counts & 0xFFF).astype(">u2").view(np.uint8).reshape(n, 2)
    raw[:, 8:] = np.frombuffer(noise, dtype=np.uint8).reshape(n, 8)
    raw[:, 8] = 0x80 | raw[:, 8] & 0x3F
    out = np.full((n, 36), ord("-"), dtype=np.uint8)
    out[:, _DIGITS] = _PAIRS[raw].view(np.uint8)
    return out


def id_texts(ids: Any) -> list[str]:
    """The rows of an array of characters as texts."""
    text = ids.tobytes().decode("ascii")
    return [text[at : at + 36] for at in range(0, len(text), 36)]
