"""What a precision costs by people's judgments: nDCG@10 of each query, and how sure its mean is.

A model that learnt from judged queries says little about them: it is measured on the others. Every query counts all the
same, because there are two models, each of which learnt from one half and is measured on the other. So it is with the
searches that int8 is calibrated on.

One swap at the top of one query moves the mean of 200 by half a percent, which is what a precision is allowed to lose.
So beside the loss stands its 95 % interval, by a paired bootstrap over queries: how much of it is luck of the queries.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

import nbproxy
from nbproxy import datasets

HALVES = (0, 1)
CANDIDATES = 20  # of each judged query
RESAMPLES = 9_999

Pairs = list[tuple[str, list[str]]]
Values = np.ndarray[Any, np.dtype[np.float64]]


class Judged(NamedTuple):
    """Searches of a collection: candidates by BM25, and what is relevant."""

    name: str
    pairs: Pairs
    ids: list[tuple[str, list[str]]]
    qrels: pd.DataFrame

    def half(self, which: int) -> Judged:
        """Every second query: those of 0, or the others."""
        return self._replace(pairs=self.pairs[which::2], ids=self.ids[which::2])


def judged(name: str, most: int | None = None) -> Judged:
    """A collection's judged queries with the 20 candidates that BM25 finds."""
    grades = datasets.CRANFIELD_GRADES if name.endswith("cranfield") else None
    collection = datasets.load(name, grades=grades)
    queries = collection.queries[collection.queries["query_id"].isin(collection.qrels["query_id"])].head(most or None)
    ids = list(collection.documents["doc_id"])
    texts = [f"{t}\n{x}" for t, x in zip(collection.documents["title"], collection.documents["text"], strict=True)]
    found = [(row.query_id, row.query, _best(row.query, texts)) for row in queries.itertuples()]
    return Judged(
        Path(name).name,
        [(query, [texts[place] for place in places]) for _, query, places in found],
        [(query_id, [ids[place] for place in places]) for query_id, _, places in found],
        collection.qrels,
    )


def _best(query: str, texts: list[str]) -> Any:
    bm25: Any = nbproxy.as_reranker("bm25")
    return np.argsort(-np.array(bm25(query, texts)), kind="stable")[:CANDIDATES]


def ndcg(score: Callable[[str, list[str]], Any], collection: Judged) -> Values:
    """nDCG@10 of each of a collection's queries, in their order."""
    scored = [
        {"query_id": query_id, "doc_id": doc_id, "score": float(number)}
        for (query, texts), (query_id, ids) in zip(collection.pairs, collection.ids, strict=True)
        for doc_id, number in zip(ids, score(query, texts), strict=True)
    ]
    asked = [query_id for query_id, _ in collection.ids]
    qrels = collection.qrels[collection.qrels["query_id"].isin(asked)]
    found = nbproxy.evaluate(pd.DataFrame(scored), qrels, measures=["nDCG@10"]).per_query
    found = found[found["measure"] == "nDCG@10"].set_index("query_id")["value"]
    return found.loc[asked].to_numpy(dtype=np.float64)


def loss(own: Values, plain: Values) -> tuple[float, float, float]:
    """The share of the mean that is lost (negative: gained), and the ends of its 95 % interval."""
    from scipy.stats import bootstrap

    def lost(found: Values, wanted: Values, axis: int = -1) -> Any:
        return 1 - found.mean(axis) / wanted.mean(axis)

    at = float(lost(own, plain))
    if np.array_equal(own, plain):
        return at, 0.0, 0.0
    found = bootstrap(
        (own, plain), lost, paired=True, n_resamples=RESAMPLES, method="percentile", rng=np.random.default_rng(0)
    ).confidence_interval
    return at, float(found.low), float(found.high)


def said(own: Values, plain: Values) -> str:
    """The mean, and what was lost."""
    at, low, high = loss(own, plain)
    return f"{own.mean():.4f} ({at:+.2%}; {low:+.1%} to {high:+.1%})"


def compared(names: Sequence[str], found: Sequence[Sequence[Values]]) -> list[list[str]]:
    """A table's rows from each way's values of each collection; the first way is what the others are compared with."""
    lines = [
        [name, *(said(*both) for both in zip(each, found[0], strict=True))]
        for name, each in zip(names, found, strict=True)
    ]
    return [[names[0], *(f"{values.mean():.4f}" for values in found[0])], *lines[1:]]
