"""One search's answer, from upstream's bytes to the client's: its hits read, their order decided, written.

It fails open: whatever goes wrong with a model or with the user's own ``fields``, the order is upstream's. Only an
answer that cannot be read is an error here: the client's own request is then sent instead.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from . import pipeline
from .context import Context
from .dialects import Answer, Dialect, Unreadable, splice
from .errors import RerankFault
from .mergers import AskedBoth, Merger, merged
from .pipeline import Outcome, Plan, Several
from .ranking import Search
from .rerankers import is_original
from .scoring import Asked, Late, Scorer
from .settings import FieldsSetting, Settings


@dataclass(frozen=True, slots=True)
class Answered:
    """A search's answer.

    :ivar body: what the client gets; the very object that upstream sent if nothing changed.
    :ivar rerank_ms: how long the model took, queueing included; None where it was not asked.
    :ivar late: the scores that did not come in time, but will.
    """

    search: Search
    answer: Answer
    outcome: Outcome
    body: bytes
    rerank_ms: float | None
    late: tuple[Late, ...] = ()

    @property
    def columns(self) -> dict[str, Any]:
        """What the frame says of it."""
        outcome = self.outcome
        return {
            "ubi_query_id": self.search.ubi_query_id,
            "rankings": (outcome.ranking, *outcome.others),
            "reranked": outcome.reranked,
            "reason": outcome.reason,
            "error": outcome.error,
        }


class _Decided(NamedTuple):
    outcome: Outcome
    rerank_ms: float | None = None
    late: tuple[Late, ...] = ()


@dataclass(frozen=True, slots=True)
class AnsweredEach:
    """The answer to a request of several searches.

    :ivar body: the whole of it, for the client.
    :ivar came: upstream's answer to each search.
    :ivar went: the client's answer to each search.
    :ivar done: those that were not left alone, by their number.
    """

    body: bytes
    came: tuple[bytes, ...]
    went: tuple[bytes, ...]
    done: Mapping[int, Answered]

    @property
    def columns(self) -> dict[str, Any]:
        """What the frame says of the whole: reranked if one search was, else the reason of the first that was to be;
        where none was answered, upstream answered each with an error."""
        outcomes = [answered.outcome for answered in self.done.values()]
        reranked = any(outcome.reranked for outcome in outcomes)
        return {
            "reranked": reranked,
            "reason": None if reranked else next((outcome.reason for outcome in outcomes), "upstream-error"),
            "error": next((outcome.error for outcome in outcomes if outcome.error), None),
        }

    @property
    def rerank_ms(self) -> float | None:
        """Until the last of them was decided."""
        return max((one.rerank_ms for one in self.done.values() if one.rerank_ms is not None), default=None)


class Answering:
    """Answers the searches of one exchange.

    :param exchange_id: gives the exchange's id; asked for only where something failed.
    """

    def __init__(self, context: Context, settings: Settings, dialect: Dialect, exchange_id: Callable[[], str]) -> None:
        self._context, self._settings, self._dialect, self._exchange_id = context, settings, dialect, exchange_id

    async def answer(self, plan: Plan, body: bytes, arrived: float) -> Answered:
        """The client's answer to one search.

        :param body: upstream's, without its content coding.
        :param arrived: ``perf_counter`` when it was there: the deadline counts from then.
        :raises Unreadable: the hits cannot be found safely.
        """
        answer, outcome = await self._read(plan, body, arrived)
        search = pipeline.identified(plan.search, answer)
        if plan.unchanged:  # a template may have its size for itself
            search = replace(search, size=max(search.size, len(answer.hits)))
        decided = _Decided(outcome) if outcome else await self._decide(search, answer, arrived)
        order = decided.outcome.order
        written = await self._context.maybe_heavy(len(body), lambda: self._dialect.write_hits(answer, order))
        return Answered(search, answer, decided.outcome, written, decided.rerank_ms, decided.late)

    async def answer_each(self, several: Several, body: bytes, arrived: float) -> AnsweredEach:
        """The client's answer to several searches; they queue for the model together, each with the whole deadline.

        :raises Unreadable: the answers, or the hits in one of them, cannot be found safely.
        """
        spans = await self._context.maybe_heavy(len(body), lambda: self._dialect.part_spans(body))
        if len(spans) != len(several.plans):
            raise Unreadable(f"{len(spans)} answers to {len(several.plans)} searches")
        came = tuple(body[start:end] for start, end in spans)
        asked = {
            number: plan
            for number, (plan, answer) in enumerate(zip(several.plans, came, strict=True))
            if isinstance(plan, Plan) and (self._dialect.part_status(answer) or 200) < 400
        }
        answers = await asyncio.gather(*(self.answer(plan, came[number], arrived) for number, plan in asked.items()))
        done = dict(zip(asked, answers, strict=True))
        went = tuple(done[number].body if number in done else answer for number, answer in enumerate(came))
        return AnsweredEach(splice.set_spans(body, spans, went), came, went, done)

    async def _read(self, plan: Plan, body: bytes, arrived: float) -> tuple[Answer, Outcome | None]:
        """The answer's hits. Where the user's own ``fields`` raises or takes too long, they are read by the default
        ones, and the outcome is decided: it fails open as a model would."""
        fields, search = self._settings.fields, plan.search

        def read(fields: FieldsSetting) -> Answer:
            return self._dialect.read_hits(body, search, fields, undo=plan.widened.undo)

        try:
            if callable(fields):  # user code does not run on the event loop
                return await self._context.users(fields, lambda: read(fields), self._left(arrived)), None
            return await self._context.maybe_heavy(len(body), lambda: read(fields)), None
        except RerankFault as fault:
            self._context.note("fields", self._exchange_id(), fault.__cause__ or fault)
            answer = await self._context.maybe_heavy(len(body), lambda: read(None))
            return answer, pipeline.unranked(answer, search, self._settings.model, fault.why, str(fault))

    async def _decide(self, search: Search, answer: Answer, arrived: float) -> _Decided:
        """The order to answer with."""
        model, positions = self._settings.model, pipeline.candidates(answer, self._settings.depth)
        reason = "no-model" if model is None else answer.reason if answer.hits else "no-hits"
        if reason is not None or model is None:
            return _Decided(pipeline.unranked(answer, search, model, reason))
        if is_original(getattr(model, "reranker", model)):
            return _Decided(pipeline.unranked(answer, search, model, None, reranked=True, score=math.nan))
        if not positions:
            return _Decided(pipeline.unranked(answer, search, model, "no-text"))
        assert isinstance(model, (Scorer, Merger))
        began = time.perf_counter()
        outcome, late = await self._scored(search, answer, model, positions, arrived)
        return _Decided(outcome, (time.perf_counter() - began) * 1e3, late)

    def _left(self, arrived: float) -> float | None:
        """Seconds until the deadline."""
        deadline = self._settings.deadline
        return None if deadline is None else deadline - (time.perf_counter() - arrived)

    async def _scored(
        self, search: Search, answer: Answer, model: Scorer | Merger, positions: Sequence[int], arrived: float
    ) -> tuple[Outcome, tuple[Late, ...]]:
        hits, left = [answer.hits[i] for i in positions], self._left(arrived)
        asked: Asked | AskedBoth | None = None
        try:
            if isinstance(model, Merger):
                asked = model.ask(search.query, hits, left)
                return merged(answer, search, self._settings.depth, model, positions, await asked.in_time()), ()
            asked = model.ask(search.query, hits, left)
            scores = await asked.in_time()
        except RerankFault as fault:
            self._context.note("model", self._exchange_id(), fault.__cause__ or fault)
            outcome = pipeline.unranked(answer, search, model, fault.why, str(fault))
            return outcome, _late(model, asked) if fault.why == "deadline" else ()
        return pipeline.ranked(answer, search, self._settings, model, positions, scores), ()


def _late(model: Scorer | Merger, asked: Asked | AskedBoth | None) -> tuple[Late, ...]:
    """The scores that will come; none where there was no time left to ask for any."""
    if isinstance(asked, AskedBoth):
        return asked.late
    assert isinstance(model, Scorer) or asked is None
    return (Late(model, asked),) if isinstance(model, Scorer) and asked is not None else ()
