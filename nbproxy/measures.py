"""Measures of ranked lists, trec_eval's to the last digit, computed for all lists of all systems at once.

Gains are linear, relevant means a relevance above 0, a negative relevance gains nothing. A list whose query
has no relevant document scores 0, and so does an empty one.

The measures in :data:`OWN` need nothing but numpy. Every other name goes to ``ir-measures`` (an extra: the
library behind it has to be compiled on some platforms), from ranks: trec_eval would keep a model's scores as
float32 and break ties by document id.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from .errors import ConfigError, MissingExtra

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
JUDGED = "Judged@10"


@dataclass(frozen=True, slots=True)
class Lists:
    """Ranked lists, row by row, and the judgments of their queries.

    ``row_*`` run in parallel, sorted by list and rank; ``pool_*`` run in parallel.

    :ivar query: of each list, from 0.
    :ivar row_list: the list that a row belongs to, from 0.
    :ivar row_rank: from 1, without gaps.
    :ivar row_doc: the document, a number.
    :ivar row_relevance: 0 where not judged.
    :ivar row_judged: whether there is a judgment.
    :ivar pool_query, pool_doc, pool_relevance: every judgment.
    """

    query: Ints
    row_list: Ints
    row_rank: Ints
    row_doc: Ints
    row_relevance: Ints
    row_judged: npt.NDArray[np.bool_]
    pool_query: Ints
    pool_doc: Ints
    pool_relevance: Ints

    def total(self, rows: npt.NDArray[Any]) -> Floats:
        """The sum of ``rows`` over each list."""
        return np.bincount(self.row_list, rows, len(self.query)).astype("float64")

    def relevant(self) -> Floats:
        """How many relevant documents each list's query has."""
        counts = np.bincount(self.pool_query, self.pool_relevance > 0, int(self.query.max(initial=-1)) + 1)
        return counts[self.query].astype("float64")


def _ratio(a: Floats, b: Floats) -> Floats:
    return np.divide(a, b, out=np.zeros_like(a), where=b > 0)


def ndcg(lists: Lists, k: float) -> Floats:
    """Σ relevance/log2(rank+1) to rank k, over the same sum of the judgments in their best order."""
    gained = np.where(lists.row_rank <= k, np.maximum(lists.row_relevance, 0), 0) / np.log2(lists.row_rank + 1)
    return _ratio(lists.total(gained), _ideal(lists, k)[lists.query])


def _ideal(lists: Lists, k: float) -> Floats:
    order = np.lexsort((-lists.pool_relevance, lists.pool_query))
    query, gain = lists.pool_query[order], np.maximum(lists.pool_relevance[order], 0)
    starts = np.searchsorted(query, query)
    rank = np.arange(len(query)) - starts + 1
    best = np.where(rank <= k, gain, 0) / np.log2(rank + 1)
    return np.bincount(query, best, int(lists.query.max(initial=-1)) + 1).astype("float64")


def _found(lists: Lists, k: float) -> npt.NDArray[np.bool_]:
    return (lists.row_relevance > 0) & (lists.row_rank <= k)


def reciprocal_rank(lists: Lists, k: float) -> Floats:
    """1 over the rank of the first relevant document, 0 if it lies beyond k."""
    best = np.full(len(lists.query), np.inf)
    found = _found(lists, k)
    np.minimum.at(best, lists.row_list[found], lists.row_rank[found])
    return np.asarray(1 / best, dtype="float64")


def precision(lists: Lists, k: float) -> Floats:
    """Relevant documents to rank k, over k."""
    return lists.total(_found(lists, k)) / k


def recall(lists: Lists, k: float) -> Floats:
    """Relevant documents to rank k, over all relevant ones."""
    return _ratio(lists.total(_found(lists, k)), lists.relevant())


def average_precision(lists: Lists, k: float) -> Floats:
    """The precision at each relevant document to rank k, summed, over all relevant ones."""
    found = _found(lists, k)
    running = np.cumsum(found)
    before = np.concatenate([[0], running])[np.searchsorted(lists.row_list, lists.row_list)]
    return _ratio(lists.total(np.where(found, (running - before) / lists.row_rank, 0)), lists.relevant())


def success(lists: Lists, k: float) -> Floats:
    """1 where a relevant document stands to rank k, else 0."""
    return (lists.total(_found(lists, k)) > 0).astype("float64")


def judged(lists: Lists, k: float) -> Floats:
    """Judged documents to rank k, over ``min(k, hits)``; NaN where there are no hits."""
    top = lists.row_rank <= k
    hits = lists.total(top)
    return np.divide(lists.total(top & lists.row_judged), hits, out=np.full_like(hits, np.nan), where=hits > 0)


Measure = Callable[[Lists, float], Floats]

# name → the measure, and whether it can do without a cutoff; names as ir-measures has them
OWN: Mapping[str, tuple[Measure, bool]] = {
    "nDCG": (ndcg, True), "NDCG": (ndcg, True),
    "RR": (reciprocal_rank, True), "MRR": (reciprocal_rank, True),
    "AP": (average_precision, True), "MAP": (average_precision, True),
    "P": (precision, False), "Precision": (precision, False),
    "R": (recall, False), "Recall": (recall, False),
    "Success": (success, False),
    "Judged": (judged, True),
}  # fmt: skip
_NAME = re.compile(r"(\w+)(?:@([1-9][0-9]*))?")


def values(names: Sequence[str], lists: Lists) -> dict[str, Floats]:
    """One value per list for each measure.

    :raises ConfigError: no such measure; :class:`MissingExtra` where only ``ir-measures`` may know.
    """
    own = {name: measure(lists) for name in names if (measure := _own(name))}
    others = [name for name in names if name not in own]
    computed = {**own, **(_others(others, lists) if others else {})}
    return {name: computed[name] for name in names}


def _own(name: str) -> Callable[[Lists], Floats] | None:
    match = _NAME.fullmatch(name)
    known = OWN.get(match[1]) if match else None
    if match is None or known is None or not (match[2] or known[1]):
        return None
    measure, k = known[0], float(match[2] or np.inf)
    return lambda lists: measure(lists, k)


def _others(names: Sequence[str], lists: Lists) -> dict[str, Floats]:
    ir_measures = _ir_measures(names)
    parsed = {name: _parsed(ir_measures, name) for name in names}
    try:
        evaluator = ir_measures.evaluator(list(dict.fromkeys(parsed.values())), _pool(lists))
    except (ValueError, RuntimeError) as error:
        raise ConfigError(str(error)) from error
    found: dict[tuple[str, Any], float] = {}
    for queries, run in _runs(lists):
        for metric in evaluator.iter_calc(run):
            if metric.query_id in queries:
                found[queries[metric.query_id], metric.measure] = metric.value
    each = map(str, range(len(lists.query)))
    numbers = list(each)
    return {name: np.array([found[n, measure] for n in numbers], dtype="float64") for name, measure in parsed.items()}


def _ir_measures(names: Sequence[str]) -> Any:
    try:
        import ir_measures
    except ImportError as error:
        raise MissingExtra("ir_measures", "pip install ir-measures", f"for {', '.join(names)}") from error
    return ir_measures


def _parsed(ir_measures: Any, name: str) -> Any:
    try:
        return ir_measures.parse_measure(name)
    except (NameError, ValueError, KeyError, TypeError, AssertionError) as error:
        raise ConfigError(f"no measure {name!r}: {error}") from error


def _pool(lists: Lists) -> dict[str, dict[str, int]]:
    pool: dict[str, dict[str, int]] = {}
    for query, doc, relevance in zip(
        lists.pool_query.tolist(), lists.pool_doc.tolist(), lists.pool_relevance.tolist(), strict=True
    ):
        pool.setdefault(str(query), {})[str(doc)] = relevance
    return pool


def _runs(lists: Lists) -> list[tuple[dict[str, str], dict[str, dict[str, float]]]]:
    """Lists in runs that have a query once each: (query → list, the run with minus the rank as score)."""
    run_of: list[int] = []
    seen: dict[int, int] = {}
    for query in lists.query.tolist():
        run_of.append(seen.get(query, 0))
        seen[query] = run_of[-1] + 1
    runs: list[tuple[dict[str, str], dict[str, dict[str, float]]]] = [
        ({}, {}) for _ in range(max(run_of, default=-1) + 1)
    ]
    for number, (query, run) in enumerate(zip(lists.query.tolist(), run_of, strict=True)):
        runs[run][0][str(query)] = str(number)
    for number, doc, rank in zip(lists.row_list.tolist(), lists.row_doc.tolist(), lists.row_rank.tolist(), strict=True):
        query = str(lists.query[number])
        runs[run_of[number]][1].setdefault(query, {})[str(doc)] = -float(rank)
    return runs
