"""int8: calibrated on what was searched, and measured against float32 before it serves.

Half of the recorded searches show the ranges of the layers' inputs; the other half are scored by both, and the orders
compared. Where int8 loses more nDCG@10 than allowed, float32 serves.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import ConfigError
from ..warn import warn
from .backends import Backend, Choice, Sample, TorchBackend, choose, open_checked
from .base import hex16

if TYPE_CHECKING:
    from .loaded import TransformerReranker

MAX_LOSS = 0.005  # of nDCG@10
_QUERIES, _TEXTS = 64, 50  # at most that many are read
_K = 10

Gains = Mapping[tuple[str, str], float]  # (query id, document id) → relevance


@dataclass(frozen=True)
class Asked:
    """One search that was recorded.

    :ivar gains: the texts' judged relevance; None: not judged.
    """

    query: str
    texts: list[str]
    gains: list[float] | None = None


@dataclass(frozen=True)
class Calibration:
    """What int8 costs.

    :ivar queries, pairs: what it was measured on, apart from what it was calibrated on.
    :ivar rank_correlation: Spearman's, with float32's scores, the mean over the queries.
    :ivar ndcg, ndcg_float32: nDCG@10 by the judgments, or by float32's own order where there are none.
    :ivar judged: whether there were judgments.
    :ivar accepted: whether int8 serves.
    :ivar fingerprint: of what it was calibrated on.
    """

    queries: int
    pairs: int
    rank_correlation: float
    ndcg: float
    ndcg_float32: float
    judged: bool
    accepted: bool
    fingerprint: str

    @property
    def loss(self) -> float:
        """The share of float32's nDCG@10 that int8 loses; negative: it gains."""
        return (self.ndcg_float32 - self.ndcg) / self.ndcg_float32 if self.ndcg_float32 else 0.0

    def __str__(self) -> str:
        by = "the judgments" if self.judged else "float32's order"
        return (
            f"int8 on {self.pairs} recorded pairs of {self.queries} searches: rank correlation "
            f"{self.rank_correlation:.4f}, nDCG@{_K} {self.ndcg:.4f} instead of {self.ndcg_float32:.4f} by {by}, "
            f"a loss of {self.loss:.2%}"
        )


class Quantizing:
    """One model on its way to int8."""

    def __init__(
        self,
        model: TransformerReranker,
        module: Any,
        sample: Sample,
        key: str,
        calibration: Any,
        qrels: Any,
        max_loss: float | None,
    ) -> None:
        asked = recorded(calibration, qrels)
        if len(asked) < 2:
            raise ConfigError(
                "precision='int8' needs calibration=: a recording, a session, their hits, or [(query, texts), …], of "
                "two searches or more"
            )
        self.model, self.module, self.sample, self.max_loss = model, module, sample, max_loss
        self.seen, self.measured = asked[::2], asked[1::2]
        self.key = key

    def done(self, choice: Choice) -> tuple[Choice, Backend, Calibration]:
        """What serves: int8, or float32 where int8 is not good enough."""
        from .quantized import quantized

        plain = TorchBackend(self.module, "cpu", "float32")
        wanted = self._scores(plain, self.measured)
        int8 = quantized(self.module, self._show, choice.backend)
        choice, backend = open_checked(choice, int8, self.sample, f"{self.key}-int8-{_fingerprint(self.seen)}")
        report = self._report(wanted, self._scores(backend, self.measured))
        if choice.precision != "int8":  # the runtime cannot, and that was not insisted on
            return choice, backend, report
        if report.accepted:
            return replace(choice, why=str(report)), backend, report
        warn(f"{report}; that is more than {self.max_loss:.2%}, so float32 serves (max_loss=None serves int8)")
        other = replace(choose("auto", "float32", "cpu"), why=f"refused: {report}")
        return *open_checked(other, self.module, self.sample, self.key), report

    def _show(self, module: Any) -> None:
        self._scores(TorchBackend(module, "cpu", "float32"), self.seen)

    def _scores(self, backend: Backend, asked: Sequence[Asked]) -> list[Any]:
        self.model.backend, self.model.budget = backend, _BUDGET
        return [self.model.raw(each.query, each.texts) for each in asked]

    def _report(self, wanted: list[Any], found: list[Any]) -> Calibration:
        judged = any(each.gains for each in self.measured)
        gains = [
            (each.gains or [0.0] * len(each.texts)) if judged else _places(w)
            for each, w in zip(self.measured, wanted, strict=True)
        ]
        ndcg, ndcg_float32 = (_mean_ndcg(scores, gains) for scores in (found, wanted))
        report = Calibration(
            queries=len(wanted),
            pairs=sum(map(len, wanted)),
            rank_correlation=float(np.nanmean([_correlation(*both) for both in zip(wanted, found, strict=True)])),
            ndcg=ndcg,
            ndcg_float32=ndcg_float32,
            judged=judged,
            accepted=True,
            fingerprint=_fingerprint(self.seen),
        )
        return replace(report, accepted=self.max_loss is None or report.loss <= self.max_loss)


_BUDGET = 1_024


def recorded(calibration: Any, qrels: Any = None) -> list[Asked]:
    """Searches with their texts, from whatever holds them: at most 64, spread over all.

    :param calibration: a session or a recording, its ``hits``, or ``(query, texts)`` pairs; None: none.
    :param qrels: ``query_id, doc_id, relevance``; needs ``hits``.
    """
    hits = getattr(calibration, "hits", calibration)
    if hits is None:
        return []
    if not hasattr(hits, "columns"):
        return _spread(_given(hits))
    rows = hits[hits["text"].notna() & (hits["text"] != "")].drop_duplicates(["query", "text"])
    gains = _gains(qrels)
    return _spread([_asked(str(query), group, gains) for query, group in rows.groupby("query", sort=False)])


def _given(pairs: Any) -> list[Asked]:
    try:
        found = [(query, texts if isinstance(texts, str) else list(texts)) for query, texts in pairs]
    except (TypeError, ValueError):  # nothing to iterate over, or no pairs
        found = [("", "")]
    if any(
        isinstance(texts, str) or not all(isinstance(one, str) for one in (query, *texts)) for query, texts in found
    ):
        raise ConfigError("calibration must be a recording, a session, their hits, or [(query, [text, …]), …]")
    return [Asked(query, list(dict.fromkeys(texts))[:_TEXTS]) for query, texts in found]


def _asked(query: str, rows: Any, gains: Gains | None) -> Asked:
    rows = rows.head(_TEXTS)
    texts = [str(text) for text in rows["text"]]
    if gains is None:
        return Asked(query, texts)
    keys = zip(rows["query_id"].astype(str), rows["doc_id"].astype(str), strict=True)
    return Asked(query, texts, [max(0.0, gains.get(key, 0.0)) for key in keys])


def _gains(qrels: Any) -> Gains | None:
    if qrels is None:
        return None
    columns = (qrels["query_id"].astype(str), qrels["doc_id"].astype(str), qrels["relevance"].astype(float))
    return {(query, document): relevance for query, document, relevance in zip(*columns, strict=True)}


def _spread(asked: Iterable[Asked]) -> list[Asked]:
    """At most 64, evenly, of those that have an order."""
    ordered = [each for each in asked if len(each.texts) > 1]
    step = max(1, math.ceil(len(ordered) / _QUERIES))
    return ordered[::step]


def _places(scores: Any) -> list[float]:
    """float32's first ten as what is relevant: 10 for the best, 1 for the tenth."""
    gains = np.zeros(len(scores))
    best = np.argsort(-scores, kind="stable")[:_K]
    gains[best] = np.arange(_K, _K - len(best), -1)
    return [float(gain) for gain in gains]


def _fingerprint(asked: Sequence[Asked]) -> str:
    """Of what int8 was calibrated on, which decides its scores."""
    texts = [text for each in asked for text in (each.query, *each.texts)]
    return hex16(*(text.encode("utf-8", "surrogatepass") for text in texts))


def _mean_ndcg(scores: Sequence[Any], gains: Sequence[Sequence[float]]) -> float:
    return float(np.mean([_ndcg(*both) for both in zip(scores, gains, strict=True)]))


def _ndcg(scores: Any, gains: Sequence[float]) -> float:
    """nDCG@10 with linear gains, over these texts alone; 0 where none is relevant."""
    discounts = 1 / np.log2(np.arange(2, _K + 2))
    values = np.asarray(gains, dtype=np.float64)
    found, ideal = values[np.argsort(-scores, kind="stable")][:_K], -np.sort(-values)[:_K]
    best = float(ideal @ discounts[: len(ideal)])
    return float(found @ discounts[: len(found)]) / best if best else 0.0


def _correlation(one: Any, other: Any) -> float:
    """Spearman's; NaN where one of them tells nothing apart."""
    from scipy.stats import rankdata

    ranks = [rankdata(scores) for scores in (one, other)]
    if any(np.ptp(each) == 0 for each in ranks):
        return math.nan
    return float(np.corrcoef(*ranks)[0, 1])
