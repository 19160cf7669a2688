"""An interleaving as it serves: two models, each on its own worker, and the merging of their orders."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from . import pipeline
from .dialects import Answer
from .errors import RerankFault
from .interleave import Interleave
from .merging import METHODS, coins
from .pipeline import Outcome
from .ranking import Hit, Ranking, Search, Teams, normalized
from .rerankers import is_original
from .rerankers.base import hex16
from .scoring import Late, Scorer, waited

Given = dict[int, list[float] | RerankFault]  # by which scorer


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

    def ask(self, query: str, hits: Sequence[Hit], seconds: float | None) -> AskedBoth:
        """Queue for both models at once, from an event loop; what serves as both is asked once, ``"original"`` never.

        :param seconds: for both of them, queueing included.
        :raises RerankFault: one of them could not be asked.
        """
        both = AskedBoth(self.scorers, seconds)
        for one in self.scorers:
            both.ask(one, query, hits)
        return both


class AskedBoth:
    """Both models' scores, on the event loop that waits for them.

    :ivar late: after the deadline: the scores that will come, and those that came in time for nothing.
    """

    def __init__(self, scorers: Sequence[Scorer], seconds: float | None) -> None:
        self._scorers, self._seconds = scorers, seconds
        self._asked: dict[int, Late] = {}
        self.late: tuple[Late, ...] = ()

    def ask(self, scorer: Scorer, query: str, hits: Sequence[Hit]) -> None:
        """Queue for one of them.

        :raises RerankFault: it could not be asked; the other's place is given up.
        """
        if is_original(scorer.reranker) or id(scorer) in self._asked:
            return
        try:
            self._asked[id(scorer)] = Late(scorer, scorer.ask(query, hits, self._seconds))
        except RerankFault as fault:
            self._drop()
            raise _named(scorer, fault) from None

    async def in_time(self) -> list[list[float] | None]:
        """Both models' scores, None for ``"original"``.

        :raises RerankFault: one of them failed; the other is not waited for. ``deadline``: one did not end in time;
            :attr:`late` is what to wait for.
        """
        every = [one.asked for one in self._asked.values()]
        if every:
            await waited(every, self._seconds)
        given = await self._decided([key for key, one in self._asked.items() if one.asked.has_come])
        if not _faults(given):  # else time may not be up for the other
            given |= await self._decided([key for key in self._asked if key not in given])
        if faults := _faults(given):
            raise self._failed(given, min(faults, key=lambda fault: fault.why == "overloaded"))
        return [_scores(given.get(id(one))) for one in self._scorers]

    async def _decided(self, keys: Sequence[int]) -> Given:
        given: Given = {}
        for key in keys:
            try:
                given[key] = await self._asked[key].asked.decided()
            except RerankFault as fault:
                given[key] = _named(self._asked[key].scorer, fault)
        return given

    def _failed(self, given: Given, fault: RerankFault) -> RerankFault:
        """``fault``; who missed the deadline will be waited for, and what the other gave in time is kept with it."""
        if fault.why == "deadline":
            begun = [key for key, one in given.items() if getattr(one, "why", None) != "overloaded"]
            self.late = tuple(self._asked[key] for key in begun)
        else:
            self._drop()
        return fault

    def _drop(self) -> None:
        for one in self._asked.values():
            one.asked.drop()


def _faults(given: Given) -> list[RerankFault]:
    return [one for one in given.values() if isinstance(one, RerankFault)]


def _scores(given: list[float] | RerankFault | None) -> list[float] | None:
    return given if isinstance(given, list) else None


def _named(scorer: Scorer, fault: RerankFault) -> RerankFault:
    """The fault of one of two, which its message tells."""
    return RerankFault(f"{scorer.name}: {fault}", why=fault.why)


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
