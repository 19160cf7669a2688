"""Counts and latencies of a running proxy. Counted by the recorder's thread, many at once."""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Sequence
from operator import attrgetter
from typing import Any

from .drafts import Draft
from .exchange import Exchange

_KEPT = 2048
_PERCENTILES = {"p50": 0.50, "p95": 0.95, "p99": 0.99}
_SPANS = ("upstream", "rerank", "total")
_KIND = attrgetter("route", "status", "reason")
_TIMES = attrgetter("sent_at", "answered_at", "rerank_ms", "t0", "ended_at")

Row = Draft | Exchange
Times = tuple[float | None, float | None, float | None, float | None, float | None]  # as noted: taken apart when asked


class Stats:
    """Counts of HTTP exchanges by route, status and reason; latencies over the newest 2,048."""

    def __init__(self) -> None:
        self._counts: Counter[tuple[str, int | None, str | None]] = Counter()
        self._times: deque[Times] = deque(maxlen=_KEPT)
        self._lock = threading.Lock()

    def count(self, rows: Sequence[Row]) -> None:
        """Exchanges that have ended. Those of our own routes are not timed: a model may load for minutes."""
        with self._lock:
            self._counts.update(map(_KIND, rows))
            timed = [row for row in rows[-_KEPT:] if row.route != "own"]
            self._times.extend([_TIMES(row) if isinstance(row, Draft) else _times(row) for row in timed])

    def counts(self) -> dict[str, dict[str, int]]:
        """By route, by status and by reason (``null``-reasoned ones are not listed under reason)."""
        out: dict[str, dict[str, int]] = {"route": {}, "status": {}, "reason": {}}
        for (route, status, reason), n in list(self._counts.items()):
            for group, key in (("route", route), ("status", status), ("reason", reason)):
                if key is not None:
                    out[group][str(key)] = out[group].get(str(key), 0) + n
        return out

    def latency_ms(self) -> dict[str, dict[str, float | None]]:
        """Percentiles (nearest rank), None where nothing was measured."""
        columns = zip(*map(_spans, list(self._times)), strict=True) if self._times else ((), (), ())
        return {
            span: percentiles(sorted(t for t in times if t is not None))
            for span, times in zip(_SPANS, columns, strict=True)
        }


def _times(row: Exchange) -> Times:
    upstream, total = (None if ms is None else ms / 1e3 for ms in (row.upstream_ms, row.total_ms))
    return 0.0, upstream, row.rerank_ms, 0.0, total


def _spans(times: Times) -> tuple[float | None, float | None, float | None]:
    """Milliseconds, in the order of ``_SPANS``."""
    sent, answered, rerank, t0, ended = times
    return _ms(sent, answered), rerank, _ms(t0, ended)


def _ms(begin: float | None, end: float | None) -> float | None:
    return None if begin is None or end is None else (end - begin) * 1e3


def percentiles(times: list[float]) -> dict[str, Any]:
    """``p50, p95, p99`` (nearest rank) of sorted times, None where there are none."""
    last = len(times) - 1
    return {name: round(times[round(q * last)], 3) if times else None for name, q in _PERCENTILES.items()}
