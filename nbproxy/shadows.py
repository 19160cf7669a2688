"""Models that score each search after its answer has gone: never in its way, dropped where they fall behind."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from . import pipeline
from .context import Context
from .dialects import Answer
from .drafts import Draft
from .errors import RerankFault
from .scoring import Scorer
from .settings import Settings

_PENDING = 64


class Shadows:
    """Scores answers by ``settings.shadow`` and records the rankings with ``role="shadow"``."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._tasks: set[asyncio.Task[None]] = set()
        self.dropped = 0

    def __call__(self, draft: Draft, settings: Settings, answer: Answer, returned: tuple[bool, ...]) -> None:
        """An answer has gone: ``returned`` says which of its hits the client got."""
        for name, scorer in settings.shadow.items():
            if len(self._tasks) >= _PENDING:
                self.dropped += 1
                continue
            assert isinstance(scorer, Scorer)
            task: asyncio.Task[None] = self._context.spawn(self._score(draft, settings, answer, returned, name, scorer))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _score(
        self, draft: Draft, settings: Settings, answer: Answer, returned: tuple[bool, ...], name: str, scorer: Scorer
    ) -> None:
        known = draft.more or {}
        query = known.get("query") or ""
        positions = pipeline.candidates(answer, settings.depth)
        try:
            scores = await scorer.scores(query, [answer.hits[i] for i in positions], None) if positions else []
        except RerankFault as fault:
            self._context.note(f"shadow {name}", draft.exchange_id, fault.__cause__ or fault)
            return
        ranking = pipeline.all_ranked(answer, settings.depth, scorer, positions, scores, "shadow")
        ranking = replace(ranking, returned=returned)
        self._context.sink.append_ranking(draft.exchange_id, None, known.get("query_id"), query, ranking)

    async def drained(self) -> None:
        """Wait for what is being scored."""
        while self._tasks:
            await asyncio.wait(set(self._tasks))
