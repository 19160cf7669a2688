"""A reranker with a worker thread of its own: scoring never runs on the event loop, nor twice at once."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from typing import Any

from .background import Worker
from .errors import RerankFault
from .ranking import Hit, Reranker
from .rerankers import checked_scores


class Scorer:
    """What the proxy serves: a :class:`Reranker` that is called on its worker.

    The worker's thread ends when nobody refers to the scorer any longer: a swap drops the serving reference, and the
    exchanges that began with it keep theirs until they have ended.
    """

    def __init__(self, reranker: Reranker) -> None:
        self.reranker = reranker
        self.name = reranker.name
        self.fingerprint = reranker.fingerprint
        self._worker = Worker(f"nbproxy-model-{self.name}")
        weakref.finalize(self, self._worker.close)

    def close(self) -> None:
        """Begin no more calls, and let the thread end."""
        self._worker.close()

    def __repr__(self) -> str:
        return f"{self.name} ({self.fingerprint})"

    def score(self, query: str, hits: Sequence[Hit]) -> Sequence[float]:
        """On the caller's thread: for replays and notebooks."""
        return checked_scores(self.reranker.score(query, hits), len(hits))

    async def scores(self, query: str, hits: Sequence[Hit], deadline: float | None) -> list[float]:
        """On the worker's thread.

        :param deadline: seconds, queueing included.
        :raises RerankFault: the model failed; ``why`` is the reason.
        """
        reranker = self.reranker
        try:
            return await self._worker.call(lambda: checked_scores(reranker.score(query, hits), len(hits)), deadline)
        except (RerankFault, GeneratorExit):
            raise
        except Exception as error:
            raise RerankFault(f"{type(error).__name__}: {error}") from error

    def __getattr__(self, name: str) -> Any:
        """``source`` and whatever else a reranker of the user's own has."""
        return getattr(self.reranker, name)
