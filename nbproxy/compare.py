"""Two orders of the same searches side by side, with no judgments: what a reranking changes, and where.

Laws (contract §6): both orders are over the whole window (or both cut to the client's page); only queries
that both systems have are compared; what is undefined is NaN and left out of the mean.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np
import pandas as pd

from .errors import ConfigError, MissingExtra
from .orderings import moves, overlap_at, rbo, tau_b
from .plots import INSTALL
from .runs import Queries, Runs, read_runs
from .systems import ORIGINAL, SERVED, Scope, recorded_runs
from .tables import Shown, Table, counted

Axes = Any  # matplotlib's: a library that need not be there
Orders = dict[int, list[int]]
MOVED = ["doc", "rank_a", "rank_b", "move"]
SHOWN = 5  # movers in a result's repr


@dataclass(frozen=True, repr=False)
class Comparison(Shown):
    """What :func:`compare` found.

    :ivar per_query: ``query_id, query, a, b, top1_changed, overlap@k, rbo, tau_b, mean_move, max_move``
        (recorded runs: ``index`` after ``query``, the expression that was searched). ``a`` and ``b`` are
        systems, moves are absolute differences of ranks. Two empty orders: unchanged, the numbers NaN.
    :ivar summary: one row per (a, b): ``a, b, n_queries`` and the mean of each number.
    :ivar left_out: reason → count of searches that are in no order.
    """

    summary: pd.DataFrame
    per_query: pd.DataFrame
    left_out: pd.Series[int]
    _moves: pd.DataFrame

    def movers(self, n: int = 10) -> pd.DataFrame:
        """The ``n`` documents that moved furthest; among equals the nearest to the top of either order first.

        :returns: ``query_id, query, a, b, index, doc_id, rank_a, rank_b, move``; ``index`` is the document's
            own (recorded runs), ``move`` is ``rank_a - rank_b`` (positive: ``b`` lifted it).
        """
        far = self._moves.assign(far=self._moves["move"].abs(), top=self._moves[["rank_a", "rank_b"]].min(axis=1))
        far = far[far["far"] > 0].sort_values(["far", "top"], ascending=[False, True], kind="stable")
        return far.drop(columns=["far", "top"]).head(n).reset_index(drop=True)

    def plot(self, ax: Axes | None = None) -> Axes:
        """Each query's rank-biased overlap and overlap, the most changed query first.

        :param ax: where to draw; None: a new figure.
        :raises MissingExtra: matplotlib is not installed.
        """
        return _plot(self.per_query, ax)

    def _tables(self) -> Sequence[Table]:
        notes = counted("left out", self.left_out)
        tables = [Table("comparison", self.summary, notes)]
        movers = self.movers(SHOWN)
        return [*tables, Table("furthest moves", movers)] if len(movers) else tables


def compare(
    runs: pd.DataFrame | Mapping[str, pd.DataFrame],
    a: str | None = None,
    b: str | Sequence[str] | None = None,
    k: int = 10,
    queries: Queries | None = None,
) -> Comparison:
    """Compare plain runs.

    :param runs: ``system, query_id, doc_id, rank`` or ``score`` (rank wins; equal scores keep row order), or
        a dict name → frame.
    :param a: None: ``original`` if there is one, else the first system.
    :param b: one or several; None: all others.
    :param k: of ``overlap@k``.
    :param queries: what was searched (ids, or ``query_id, query``), so that a search without rows is an
        empty order.
    :raises ConfigError: empty or repeated input, a missing column, an unknown system.
    """
    read = read_runs(runs, queries)
    systems = read.systems
    base = a if a is not None else next((s for s in systems if s == ORIGINAL), systems[0])
    against = [s for s in systems if s != base] if b is None else [b] if isinstance(b, str) else list(b)
    return _compared(read, base, against, k)


def compare_recorded(
    frame: pd.DataFrame,
    hits: pd.DataFrame,
    a: str = ORIGINAL,
    b: str | Sequence[str] | None = SERVED,
    k: int = 10,
    scope: Scope = "window",
) -> Comparison:
    """Compare two systems of a recording.

    :param frame: ``session.frame``.
    :param hits: ``session.hits``.
    :param a: a system: ``original``, a model's name (with its fingerprint where one name had several), or
        ``served``, which is each query's newest reranked exchange, whichever model had it.
    :param b: likewise, one or several; None: every model.
    :param scope: ``page`` cuts both orders to as many hits as the client got.
    :raises ConfigError: nothing was searched, an unknown system, or no model to compare with.
    """
    runs = recorded_runs(frame, hits, scope=scope, served=True)
    if b is None:
        b = [system for system in runs.systems if system not in (a, SERVED)]
        if not b:
            raise ConfigError("no search was reranked, so there is one order only")
    return _compared(runs, a, [b] if isinstance(b, str) else list(b), k)


def _compared(runs: Runs, a: str, against: Sequence[str], k: int) -> Comparison:
    _check(runs, [a, *against], k)
    orders = _orders(runs)
    rows: list[dict[str, Any]] = []
    moved: list[tuple[Any, ...]] = []
    for b in against:
        for unit in [unit for unit in orders.get(a, {}) if unit in orders.get(b, {})]:
            row, changes = _row(orders[a][unit], orders[b][unit], k)
            rows.append({"unit": unit, "a": a, "b": b, **row})
            moved += [(unit, a, b, *change) for change in changes]
    numbers = ["top1_changed", f"overlap@{k}", "rbo", "tau_b", "mean_move", "max_move"]
    per_query = pd.DataFrame(rows, columns=["unit", "a", "b", *numbers]).join(runs.units, on="unit")
    return Comparison(
        summary=_summary(per_query, a, against, numbers),
        per_query=per_query[[*runs.unit_columns, "a", "b", *numbers]],
        left_out=runs.left_out,
        _moves=_moves(runs, moved),
    )


def _check(runs: Runs, systems: Sequence[str], k: int) -> None:
    if k < 1:
        raise ConfigError(f"k counts documents from 1, not {k}")
    known = {*runs.systems, ORIGINAL, SERVED} if runs.recorded else set(runs.systems)
    if unknown := [system for system in systems if system not in known]:
        raise ConfigError(f"no system {', '.join(map(repr, unknown))}; there are {', '.join(runs.systems)}")


def _orders(runs: Runs) -> dict[str, Orders]:
    """System → unit → documents, best first; units in their order."""
    orders: dict[str, Orders] = {}
    for system, unit in sorted(zip(runs.searched["system"], runs.searched["unit"], strict=True), key=lambda s: s[1]):
        orders.setdefault(system, {})[unit] = []
    for system, unit, doc in zip(runs.ranked["system"], runs.ranked["unit"], runs.ranked["doc"], strict=True):
        orders[system][unit].append(doc)
    return orders


def _row(a: list[int], b: list[int], k: int) -> tuple[dict[str, Any], list[tuple[int, int, int, int]]]:
    """The numbers of one query, and its documents' ``MOVED``."""
    shift = moves(a, b)
    distances = [abs(move) for move in shift.values()]
    place = {doc: rank for rank, doc in enumerate(a, 1)}
    changes = [(doc, place[doc], place[doc] - shift[doc], shift[doc]) for doc in a if doc in shift]
    return {
        "top1_changed": a[:1] != b[:1],
        f"overlap@{k}": overlap_at(a, b, k),
        "rbo": rbo(a, b),
        "tau_b": tau_b(a, b),
        "mean_move": sum(distances) / len(distances) if distances else math.nan,
        "max_move": float(max(distances)) if distances else math.nan,
    }, changes


def _summary(per_query: pd.DataFrame, a: str, against: Sequence[str], numbers: list[str]) -> pd.DataFrame:
    rows = []
    for b in against:
        own = per_query[per_query["b"] == b]
        rows.append({"a": a, "b": b, "n_queries": len(own), **own[numbers].astype("float64").mean()})
    return pd.DataFrame(rows)


def _moves(runs: Runs, moved: list[tuple[Any, ...]]) -> pd.DataFrame:
    rows = pd.DataFrame(moved, columns=["unit", "a", "b", *MOVED])
    rows = rows.join(runs.units[["query_id", "query"]], on="unit").join(runs.docs, on="doc")
    document = ["index", "doc_id"] if runs.recorded else ["doc_id"]
    return rows[["query_id", "query", "a", "b", *document, *MOVED[1:]]]


def _plot(per_query: pd.DataFrame, ax: Axes | None) -> Axes:
    ax = _axes() if ax is None else ax
    overlap = next(name for name in per_query.columns if name.startswith("overlap@"))
    colours = itertools.cycle(["#3b82c4", "#d97706", "#2f9e6e", "#b5548f"])  # told apart on white and on black
    for (a, b), own in per_query.groupby(["a", "b"], sort=False):
        ranked = own.sort_values("rbo", na_position="last")
        places, colour = np.arange(1, len(ranked) + 1), next(colours)
        ax.plot(places, ranked["rbo"], color=colour, linewidth=2, label=f"rbo, {a} and {b}")
        ax.plot(
            places,
            ranked[overlap],
            "o",
            color=colour,
            alpha=0.45,
            markersize=4,
            label=f"{overlap}, {a} and {b}",
        )
    ax.set(xlabel="queries, most changed first", ylabel="agreement (1: the same order)", ylim=(-0.02, 1.02))
    ax.xaxis.get_major_locator().set_params(integer=True)
    _quiet(ax)
    return ax


def _axes() -> Axes:
    try:
        plt = import_module("matplotlib.pyplot")
    except ImportError as error:
        raise MissingExtra("matplotlib", INSTALL, "for plot()") from error
    return plt.subplots(figsize=(7, 3.5), layout="constrained", facecolor="none")[1]


def _quiet(ax: Axes) -> None:
    """No background, and one grey that is read on white and on black."""
    grey = "#8a8f98"
    ax.set_facecolor("none")
    ax.tick_params(colors=grey)
    for text in (ax.xaxis.label, ax.yaxis.label):
        text.set_color(grey)
    for side, spine in ax.spines.items():
        spine.set(color=grey, visible=side in ("left", "bottom"))
    if ax.lines:
        ax.legend(frameon=False, labelcolor=grey, loc="lower right")
