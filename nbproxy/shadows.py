"""Models that score each search after its answer has gone: never in its way, dropped where they fall behind."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict, deque
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from . import pipeline
from .context import Context
from .dialects import Answer
from .errors import RerankFault
from .scoring import Scorer
from .settings import Settings
from .stats import percentiles

_PENDING = 64
_TIMED = 256


@dataclass(frozen=True, slots=True)
class About:
    """Which search was answered; ``returned`` says which of its hits the client got."""

    exchange_id: str
    part: int | None
    query_id: str
    query: str
    returned: tuple[bool, ...]


class Shadows:
    """Scores answers by ``settings.shadow`` and records the rankings with ``role="shadow"``."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._tasks: set[asyncio.Task[None]] = set()
        self._took: dict[tuple[str, str], deque[float]] = defaultdict(partial(deque, maxlen=_TIMED))
        self.dropped = 0

    def __call__(self, about: About, settings: Settings, answer: Answer) -> None:
        """An answer has gone."""
        for name, scorer in settings.shadow.items():
            if len(self._tasks) >= _PENDING:
                self.dropped += 1
                continue
            assert isinstance(scorer, Scorer)
            task: asyncio.Task[None] = self._context.spawn(self._score(about, settings, answer, name, scorer))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _score(self, about: About, settings: Settings, answer: Answer, name: str, scorer: Scorer) -> None:
        positions, begun = pipeline.candidates(answer, settings.depth), time.perf_counter()
        try:
            scores = await scorer.scores(about.query, [answer.hits[i] for i in positions], None) if positions else []
        except RerankFault as fault:
            self._context.note(f"shadow {name}", about.exchange_id, fault.__cause__ or fault)
            return
        if positions:
            self._took[name, scorer.fingerprint].append(1000 * (time.perf_counter() - begun))
        ranking = pipeline.all_ranked(answer, settings.depth, scorer, positions, scores, "shadow")
        ranking = replace(ranking, returned=about.returned)
        self._context.sink.append_ranking(about.exchange_id, about.part, about.query_id, about.query, ranking)

    def latency_ms(self, name: str, fingerprint: str) -> dict[str, Any]:
        """Percentiles of a shadow's newest scorings, queueing included; None where there were none. Any thread."""
        return percentiles(sorted(self._took.get((name, fingerprint), ())))

    async def drained(self) -> None:
        """Wait for what is being scored."""
        while self._tasks:
            await asyncio.wait(set(self._tasks))
