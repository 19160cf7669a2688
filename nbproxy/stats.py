"""Counts and latencies of a running proxy. Counted by the recorder's thread, many at once."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from .drafts import Draft
from .exchange import Exchange

_KEPT = 2048
_PERCENTILES = {"p50": 0.50, "p95": 0.95, "p99": 0.99}
_SPANS = ("upstream", "rerank", "total")

Kind = tuple[str, int | None, str | None]  # route, status, reason


class Tally(NamedTuple):
    """What is counted of exchanges that have ended.

    :ivar kinds: how many there are of each kind.
    :ivar spans: milliseconds, in the order of ``_SPANS``, NaN where nothing was measured; a row for each exchange but
        those of our own routes, which are not timed: a model may load for minutes.
    """

    kinds: Counter[Kind]
    spans: Any


def tally(rows: Sequence[Draft | Exchange]) -> Tally:
    """Of exchanges as they are."""
    spans = [(row.upstream_ms, row.rerank_ms, row.total_ms) for row in rows if row.route != "own"]
    kinds: Counter[Kind] = Counter((row.route, row.status, row.reason) for row in rows)
    return Tally(kinds, np.array(spans, dtype=np.float64).reshape(-1, len(_SPANS)))


class Stats:
    """Counts of HTTP exchanges by route, status and reason; latencies over the newest 2,048."""

    def __init__(self) -> None:
        self._counts: Counter[Kind] = Counter()
        self._spans = np.empty((0, len(_SPANS)))
        self._lock = threading.Lock()

    def count(self, one: Tally) -> None:
        with self._lock:
            for kind, n in one.kinds.items():  # ``update`` takes three times as long
                self._counts[kind] += n
            self._spans = np.concatenate([self._spans, one.spans])[-_KEPT:]

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
        spans = self._spans
        columns = zip(_SPANS, (spans[:, place] for place in range(len(_SPANS))), strict=True)
        return {name: percentiles(np.sort(column[~np.isnan(column)]).tolist()) for name, column in columns}


def percentiles(times: list[float]) -> dict[str, Any]:
    """``p50, p95, p99`` (nearest rank) of sorted times, None where there are none."""
    last = len(times) - 1
    return {name: round(times[round(q * last)], 3) if times else None for name, q in _PERCENTILES.items()}
