"""What is scored after an answer has gone: by the shadows, and by a serving model that missed the deadline.

Never in an answer's way: a shadow has a thread of its own, of low priority, and is spared searches where it falls
behind. Both are recorded with ``role="shadow"``; a late ranking bears the name of the model that served, and the
exchange's reason is ``deadline``: by that ``systems`` tells it from a shadow's. Those of two that were to be merged
bear their own names, not the one of what served, so an event says of each that it is late.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass, replace
from typing import Any

from . import pipeline
from .context import Context
from .dialects import Answer
from .errors import RerankFault
from .mergers import Merger
from .rerankers import is_original
from .scoring import Asked, Late, Scorer
from .settings import Settings

WAITING = 64  # answers that wait for one shadow …
WAITING_BYTES = 64 * 2**20  # … and what they weigh


@dataclass(frozen=True, slots=True)
class About:
    """Which search was answered; ``returned`` says which of its hits the client got."""

    exchange_id: str
    part: int | None
    query_id: str
    query: str
    returned: tuple[bool, ...]


@dataclass(frozen=True, slots=True)
class _Work:
    """What is to be scored by whom."""

    about: About
    answer: Answer
    depth: int
    positions: list[int]
    scorer: Scorer
    late: bool = False  # one of two that were to be merged


class Shadows:
    """Scores answers by ``settings.shadow``, and waits for late scores."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._tasks: set[asyncio.Task[None]] = set()

    def __call__(self, about: About, settings: Settings, answer: Answer, late: Sequence[Late] = ()) -> None:
        """An answer has gone; ``late`` scores of the serving model's, or of two that it merges, will come."""
        positions = pipeline.candidates(answer, settings.depth)
        parts = isinstance(settings.model, Merger)
        for one in late:
            work = _Work(about, answer, settings.depth, positions, one.scorer, late=parts)
            self._spawn(self._record(work, one.asked, "model"))
        for name, scorer in settings.shadow.items():
            assert isinstance(scorer, Scorer)
            self._shadow(_Work(about, answer, settings.depth, positions, scorer), name)

    def _shadow(self, work: _Work, name: str) -> None:
        tally, weight = work.scorer.tally, len(work.answer.body)
        if not work.positions or is_original(work.scorer.reranker):  # nothing to score: upstream's order
            self._append(replace(work, positions=[]), [])
            return
        try:
            asked = self._asked(work)
        except RerankFault:  # it falls behind
            tally.dropped += 1
            return
        tally.waiting, tally.bytes = tally.waiting + 1, tally.bytes + weight

        def ended(_: object) -> None:
            tally.waiting, tally.bytes = tally.waiting - 1, tally.bytes - weight

        self._spawn(self._record(work, asked, f"shadow {name}")).add_done_callback(ended)

    def _asked(self, work: _Work) -> Asked:
        tally = work.scorer.tally
        if tally.waiting >= WAITING or tally.bytes > WAITING_BYTES:
            raise RerankFault("too many searches wait for the shadow", why="overloaded")
        hits = [work.answer.hits[i] for i in work.positions]
        return work.scorer.ask(work.about.query, hits, None, urgent=False)

    def _spawn(self, record: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task: asyncio.Task[None] = self._context.spawn(record)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _record(self, work: _Work, asked: Asked, where: str) -> None:
        begun = time.perf_counter()
        try:
            scores = await asked.late()
        except RerankFault as fault:
            self._context.note(where, work.about.exchange_id, fault.__cause__ or fault)
            return
        if where != "model":
            work.scorer.tally.scored += 1
            work.scorer.tally.took.append((time.perf_counter() - begun) * 1e3)
        self._append(work, scores)

    def _append(self, work: _Work, scores: Sequence[float]) -> None:
        about = work.about
        ranking = pipeline.all_ranked(work.answer, work.depth, work.scorer, work.positions, scores, "shadow")
        ranking = replace(ranking, returned=about.returned, late=work.late)
        self._context.sink.append_ranking(about.exchange_id, about.part, about.query_id, about.query, ranking)

    async def drained(self) -> None:
        """Wait for what is being scored now; not for what comes meanwhile."""
        if self._tasks:
            await asyncio.wait(set(self._tasks))
