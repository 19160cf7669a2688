"""Exchanges to record, and what a recorder told."""

from __future__ import annotations

from typing import Any

from nbproxy.exchange import Exchange
from nbproxy.ranking import Hit, Ranking

T0 = 1_700_000_000_000_000  # epoch µs


def exchange(number: int, **fields: Any) -> Exchange:
    """The ``number``-th exchange: ids and times rise with it."""
    known: dict[str, Any] = {"exchange_id": f"{number:08d}", "started": T0 + number, "method": "GET", "target": "/"}
    return Exchange(**(known | fields))


def ranking(*scores: float | None, role: Any = "served", model: str | None = "m", **fields: Any) -> Ranking:
    """Hits ``d0, d1 …`` in upstream's order with these scores; the order of the ranks is the same."""
    n = len(scores)
    hits = tuple(Hit("docs", f"d{i}", i + 1, 10.0 - i, f"text {i}", **fields) for i in range(n))
    return Ranking(role, model, "f", hits, scores, tuple(range(1, n + 1)), (True,) * n)


class Told(list[tuple[str, str | None, BaseException]]):
    """An ``on_error`` that remembers."""

    def __call__(self, where: str, exchange_id: str | None, error: BaseException) -> None:
        self.append((where, exchange_id, error))
