"""A reranker with a lane of its own: scoring never runs on the event loop, nor twice at once."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from .errors import RerankFault
from .lanes import Job, Lane, lane_of
from .ranking import Hit, Reranker
from .rerankers.turns import called


@dataclass
class Tally:
    """What became of the searches that a model was to score as a shadow.

    :ivar took: milliseconds, queueing included, of the newest.
    """

    waiting: int = 0
    bytes: int = 0  # of the answers that wait
    scored: int = 0
    dropped: int = 0
    took: deque[float] = field(default_factory=lambda: deque(maxlen=256))


class Scorer:
    """What the proxy serves: a :class:`Reranker` that is called on its lane.

    The lane's thread ends when nobody refers to it any longer: a swap drops the serving reference, and the exchanges
    that began with it keep theirs until they have ended.
    """

    def __init__(self, reranker: Reranker) -> None:
        self.reranker = reranker
        self.name = reranker.name
        self.fingerprint = reranker.fingerprint
        self.tally = Tally()
        self._lane: Lane | None = lane_of(called(reranker), f"nbproxy-model-{self.name}")

    @property
    def fresh(self) -> bool:
        """Whether its model was never called by us, under whatever name."""
        return self._lane is not None and self._lane.fresh

    def close(self) -> None:
        """Begin no more calls, and let the thread end."""
        self._lane = None

    def __repr__(self) -> str:
        return f"{self.name} ({self.fingerprint})"

    def score(self, query: str, hits: Sequence[Hit]) -> Sequence[float]:
        """Wait for the scores: for replays and notebooks, not on an event loop. Searches go first."""
        return self._submitted(Job(self.reranker, query, hits, urgent=False)).future.result()

    def ask(self, query: str, hits: Sequence[Hit], seconds: float | None, *, urgent: bool = True) -> Asked:
        """Queue for the model, from an event loop.

        :param seconds: not begun after so long; None: whenever.
        :param urgent: whether a client waits.
        :raises RerankFault: ``overloaded``: the queue is full; ``deadline``: there is no time left.
        """
        if seconds is not None and seconds <= 0:
            raise RerankFault("the deadline had passed before the model could be asked", why="deadline")
        expires = None if seconds is None else time.monotonic() + seconds
        return Asked(self._submitted(Job(self.reranker, query, hits, expires, urgent)), seconds)

    def _submitted(self, job: Job) -> Job:
        lane = self._lane
        if lane is None:
            raise RerankFault("the model is served no longer", why="overloaded")
        lane.submit(job)
        return job

    async def scores(
        self, query: str, hits: Sequence[Hit], deadline: float | None, *, urgent: bool = True
    ) -> list[float]:
        """As :meth:`ask`, and wait for them.

        :param deadline: seconds, queueing included.
        :raises RerankFault: the model failed; ``why`` is the reason.
        """
        return await self.ask(query, hits, deadline, urgent=urgent).in_time()

    def __getattr__(self, name: str) -> Any:
        """``source`` and whatever else a reranker of the user's own has."""
        return getattr(self.reranker, name)


class Asked:
    """Scores that were asked for, on the event loop that waits for them."""

    def __init__(self, job: Job, seconds: float | None) -> None:
        self._job, self._seconds = job, seconds
        self._scores = asyncio.wrap_future(job.future)
        self._scores.add_done_callback(_seen)

    async def in_time(self) -> list[float]:
        """The scores.

        :raises RerankFault: ``overloaded``: the model was not to be had in time; ``deadline``: it did not end in time,
            and :meth:`late` waits on; else what the model raised.
        """
        await self._waited(self._seconds)
        return await self.decided()

    async def decided(self) -> list[float]:
        """As :meth:`in_time`, now that time is up."""
        if self._scores.done():
            return self._result()
        if self._job.future.done():  # it is on its way to this loop
            return await self.late()
        if self._job.lane.leave(self._job):
            raise RerankFault(f"the model was busy for {round(self._seconds or 0, 3):g} s", why="overloaded")
        raise RerankFault(f"no scores within {round(self._seconds or 0, 3):g} s", why="deadline")

    async def late(self) -> list[float]:
        """The scores, whenever they come.

        :raises RerankFault: what the model raised.
        """
        await self._waited(None)
        return self._result()

    @property
    def has_come(self) -> bool:
        """Whether the model has given its scores, or failed."""
        return self._scores.done()

    def drop(self) -> None:
        """Nobody wants them any longer."""
        self._job.lane.leave(self._job)
        self._scores.cancel()

    async def _waited(self, seconds: float | None) -> None:
        await waited([self], seconds)

    def _result(self) -> list[float]:
        try:
            return self._scores.result()
        except RerankFault:
            raise
        except Exception as error:
            raise RerankFault(f"{type(error).__name__}: {error}") from error


async def waited(all_asked: Sequence[Asked], seconds: float | None) -> None:
    """Wait until all have come, or one has failed, or time is up; a waiter that is cancelled drops them."""
    try:
        scores = [asked._scores for asked in all_asked]
        await asyncio.wait(scores, timeout=seconds, return_when=asyncio.FIRST_EXCEPTION)
    except asyncio.CancelledError:
        for asked in all_asked:
            asked.drop()
        raise


class Late(NamedTuple):
    """Scores that did not come in time, but will, and whose they are."""

    scorer: Scorer
    asked: Asked


def _seen(scores: asyncio.Future[list[float]]) -> None:
    """Nobody may have waited for what it raised, of which asyncio would complain."""
    if not scores.cancelled():
        scores.exception()
