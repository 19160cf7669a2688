"""An interleaving as it serves: two models, each on its own worker, and the merging of their orders."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Coroutine, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from . import pipeline
from .dialects import Answer
from .errors import RerankFault
from .interleave import Interleave
from .merging import METHODS, coins
from .pipeline import Outcome
from .ranking import Hit, Ranking, Search, Teams, normalized
from .rerankers import is_original
from .rerankers.base import hex16
from .scoring import Scorer

T = TypeVar("T")


class Merger:
    """What the proxy serves of an :class:`~nbproxy.interleave.Interleave`; ``session.model`` gives it back.

    :ivar name: what frames call the merged order.
    :ivar fingerprint: 16 hex digits over both models, the method and the seed: two mergers of one fingerprint give the
        same order for the same orders.
    :ivar source: what was assigned.
    :ivar reads_source: whether one of them reads more of a document than its text.
    """

    def __init__(self, source: Interleave, a: Scorer, b: Scorer, name: str | None = None) -> None:
        self.source, self.scorers = source, (a, b)
        self.reads_source = any(getattr(one, "reads_source", False) for one in (a, b))
        self.name = name or f"interleave({a.name}, {b.name})"
        key = ("interleave", source.method, type(source.seed).__name__, str(source.seed), a.fingerprint, b.fingerprint)
        self.fingerprint = hex16(*(part.encode("utf-8", "surrogatepass") for part in key))

    @property
    def a(self) -> Any:
        """The first model, loaded."""
        return self.scorers[0].reranker

    @property
    def b(self) -> Any:
        """The second model, loaded."""
        return self.scorers[1].reranker

    def __repr__(self) -> str:
        return f"{self.name} ({self.fingerprint})"

    async def scores(self, query: str, hits: Sequence[Hit], deadline: float | None) -> Sequence[Sequence[float] | None]:
        """Both models' scores at the same time, None for ``"original"``; what serves as both is asked once.

        :param deadline: seconds for both of them, queueing included.
        :raises RerankFault: one of them failed; the other is not waited for.
        """
        asked = {id(one): one for one in self.scorers if not is_original(one.reranker)}
        given = await _together(*(_scored(one, query, hits, deadline) for one in asked.values()))
        by_model = dict(zip(asked, given, strict=True))
        return [by_model.get(id(one)) for one in self.scorers]


async def _scored(scorer: Scorer, query: str, hits: Sequence[Hit], deadline: float | None) -> Sequence[float]:
    try:
        return await scorer.scores(query, hits, deadline)
    except RerankFault as fault:
        raise RerankFault(f"{scorer.name}: {fault}", why=fault.why) from None  # its message says which error


async def _together(*calls: Coroutine[Any, Any, T]) -> list[T]:
    """What all of them give; the first error ends it, and whoever is not ready is abandoned."""
    tasks = [asyncio.ensure_future(call) for call in calls]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()


def merged(
    answer: Answer,
    search: Search,
    depth: int,
    merger: Merger,
    positions: Sequence[int],
    scores: Sequence[Sequence[float] | None],
) -> Outcome:
    """Both models' orders of the window as one, cut to the page; what is beyond ``depth`` stays where it is.

    :param positions: of the hits that the models were given; ``scores``: of these, as :meth:`Merger.scores` gives them.
    """
    n, size = min(depth, len(answer.hits)), len(answer.hits)
    own = [_own(answer, depth, one, positions, given) for one, given in zip(merger.scorers, scores, strict=True)]
    first, second = (sorted(range(n), key=ranking.ranks.__getitem__) for ranking in own)
    drawn = METHODS[merger.source.method](first, second, coins(normalized(search.query), merger.fingerprint))
    order = [*drawn.order, *range(n, size)]
    page = tuple(order[search.offset : search.offset + search.size])
    places, shown = {position: rank for rank, position in enumerate(order, 1)}, frozenset(page)
    returned = tuple(i in shown for i in range(size))
    a, b = ((one.name, one.fingerprint) for one in merger.scorers)
    ranking = Ranking(
        role="served",
        model=merger.name,
        model_fingerprint=merger.fingerprint,
        hits=answer.hits,
        scores=(math.nan,) * n + (None,) * (size - n),
        ranks=tuple(places[i] for i in range(size)),
        returned=returned,
        teams=Teams(merger.source.method, a, b, drawn.teams, drawn.propensities),
    )
    shadows = {(one.model, one.model_fingerprint): replace(one, returned=returned) for one in own if _is_scored(one)}
    return Outcome(page, ranking, reranked=True, others=tuple(shadows.values()))


def _own(
    answer: Answer, depth: int, scorer: Scorer, positions: Sequence[int], scores: Sequence[float] | None
) -> Ranking:
    """A model's own order of the whole window."""
    if scores is not None:
        return pipeline.all_ranked(answer, depth, scorer, positions, scores, "shadow")
    return replace(pipeline.in_order(answer.hits, range(0), scorer), role="shadow")


def _is_scored(ranking: Ranking) -> bool:
    """Whether it is a model's order, not upstream's."""
    return any(score is not None for score in ranking.scores)
