"""Several models as one: their ranks or their scores, put together.

Reciprocal rank fusion: Cormack, Clarke and Büttcher, "Reciprocal Rank Fusion outperforms Condorcet and individual Rank
Learning Methods" (SIGIR 2009): a document scores the sum over the models of ``1 / (k + rank)``, k = 60. The weighted
sum is that of Fox and Shaw's CombSUM ("Combination of Multiple Searches", TREC-2, 1994) over scores that are stretched
to [0, 1] for each model and search (min-max).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import groupby
from numbers import Real
from typing import Any, Literal

from ..errors import ConfigError
from ..ranking import Hit, Reranker
from .base import BaseReranker, hex16
from .checked import checked_scores
from .field import Field
from .original import Original
from .turns import turn

Method = Literal["rrf", "weighted"]
Values = Sequence[float | None]
K = 60


class Fusion(BaseReranker):
    """Several models, and upstream's order, as one. Made by :func:`fuse`.

    :ivar parts: the models with their weights; a part may be :class:`Original`, upstream's order.
    :ivar reads_source: whether one of them reads more of a document than its text.
    """

    def __init__(self, parts: Sequence[tuple[Reranker, float]], method: Method, k: float, name: str | None) -> None:
        self.parts, self.method, self.k = tuple(parts), method, k
        said = f"{method} {k} {[weight for _, weight in parts]}"
        fingerprint = hex16(b"fuse", said.encode(), *(one.fingerprint.encode() for one, _ in parts))
        names = ", ".join(one.name for one, _ in parts)
        super().__init__(name or f"fuse({names})", fingerprint, tuple(one for one, _ in parts))
        self.reads_source = any(getattr(one, "reads_source", False) for one, _ in parts)

    def score(self, query: str, hits: Sequence[Hit]) -> list[float]:
        """Reciprocal ranks: the weighted sum, as published. Weighted: the weighted mean, from 0 to 1."""
        totals = [0.0] * len(hits)
        for model, weight in self.parts:
            shares = self._shares(model, query, hits) if weight else totals
            totals = [total + weight * share for total, share in zip(totals, shares, strict=True)]
        whole = sum(weight for _, weight in self.parts) if self.method == "weighted" else 1.0
        return [total / whole for total in totals]

    def warm(self) -> None:
        """Warm the models that can be, before a search waits for one."""
        for model, weight in self.parts:
            own = getattr(model, "warm", None)
            if weight and callable(own):
                own()

    def _shares(self, model: Reranker, query: str, hits: Sequence[Hit]) -> list[float]:
        """What one model gives to each hit, before its weight."""
        if self.method == "weighted":
            return stretched(_upstreams(hits) if isinstance(model, Original) else _values(model, query, hits))
        ranks = _ranks(hits) if isinstance(model, Original) else shared_ranks(_values(model, query, hits))
        return [0.0 if rank is None else 1.0 / (self.k + rank) for rank in ranks]


def fuse(
    *models: Any,
    original: float = 0.0,
    method: Method = "rrf",
    weights: Sequence[float] | None = None,
    k: float = K,
    name: str | None = None,
) -> Fusion:
    """One model from several: ``nbproxy.fuse("bm25", encoder, nbproxy.field("rating"), original=0.3)``.

    :param models: whatever :func:`~nbproxy.as_reranker` takes.
    :param original: the weight of upstream's own order, beside the models'; 0: it does not count.
    :param method: ``"rrf"``: by ranks, a document scores the sum of weight / (k + rank). Documents that a model scores
        alike share the mean of their ranks, so a model without an opinion moves nothing. ``"weighted"``: by scores,
        each model's stretched to [0, 1] within the search; upstream's are its scores where it gave all hits one, else
        its ranks.
    :param weights: one for each model; None: 1 each.
    :param k: of ``"rrf"``; the larger, the less the first places stand out.
    :param name: None: ``fuse(…)`` with the models' names.
    :raises ConfigError: a wrong argument, or something that cannot be a model.
    """
    from .convert import as_reranker  # it knows fuse's models, and what fuse makes

    wanted = [1.0] * len(models) if weights is None else list(weights)
    if len(wanted) != len(models) or not all(_is_weight(weight) for weight in (*wanted, original)):
        raise ConfigError(
            f"fuse takes one weight of at least 0 for each of its {len(models)} models, and for original; "
            f"not weights={weights!r}, original={original!r}"
        )
    if method not in ("rrf", "weighted") or not (_is_weight(k) and k > 0):
        raise ConfigError(f'fuse: method is "rrf" or "weighted" and k above 0, not method={method!r}, k={k!r}')
    made = [(_model(as_reranker(one)), float(weight)) for one, weight in zip(models, wanted, strict=True)]
    parts = [*made, (Original(), float(original))] if original else made
    if not parts or not any(weight for _, weight in parts):
        raise ConfigError("fuse takes at least one model with a weight above 0")
    return Fusion(parts, method, float(k), name)


def shared_ranks(values: Values) -> list[float | None]:
    """Ranks from 1, the highest value first; equal values share the mean of their ranks, None has none.

    >>> shared_ranks([0.5, 2.0, None, 0.5])
    [2.5, 1.0, None, 2.5]
    """
    ranks: list[float | None] = [None] * len(values)
    there: dict[int, float] = {place: value for place, value in enumerate(values) if value is not None}
    first = 1
    for _, group in groupby(sorted(there, key=lambda place: -there[place]), key=there.__getitem__):
        places = list(group)
        for place in places:
            ranks[place] = first + (len(places) - 1) / 2
        first += len(places)
    return ranks


def stretched(values: Values) -> list[float]:
    """Values as shares of the way from the lowest to the highest; None is 0. All alike: no opinion, so 0.

    >>> stretched([1.0, 3.0, None, 2.0])
    [0.0, 1.0, 0.0, 0.5]
    """
    there = [value for value in values if value is not None]
    low, high = min(there, default=0.0), max(there, default=0.0)
    # halved: the difference of two floats may be too large for one
    width = high / 2 - low / 2
    return [(value / 2 - low / 2) / width if value is not None and width > 0 else 0.0 for value in values]


def _values(model: Reranker, query: str, hits: Sequence[Hit]) -> Values:
    """A model's scores; a field tells, too, which documents lack it."""
    own = getattr(model, "inner", model)
    if isinstance(own, Field):
        return own.values(hits)
    with turn(model):
        return checked_scores(model.score(query, hits), len(hits))


def _ranks(hits: Sequence[Hit]) -> list[float | None]:
    return [float(hit.rank) for hit in hits]


def _upstreams(hits: Sequence[Hit]) -> Values:
    """Upstream's scores where they say its order, else its ranks."""
    scores = [hit.score for hit in hits if hit.score is not None and math.isfinite(hit.score)]
    in_order = len(scores) == len(hits) and scores == sorted(scores, reverse=True)
    return list(scores) if in_order else [-float(hit.rank) for hit in hits]


def _model(made: Reranker | None) -> Reranker:
    if made is None:
        raise ConfigError("fuse takes models, not None")
    return made


def _is_weight(value: object) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value) and float(value) >= 0
