"""The queue before a model: bounded, the urgent first, several searches in one call where that pays. Knows no HTTP.

Laws:

- One thread a lane, a daemon, which begins with the first job. What a lane calls is never called concurrently with
  itself; :func:`lane_of` gives whoever calls the same object the same lane, as long as one of its calls runs even where
  nobody serves it any longer.
- A call that has begun keeps the thread until it ends. Its scores come late; who still wants them gets them.
- A full queue takes no more. What cannot be done in time even if all goes as fast as it lately did leaves it at once:
  the sooner its client is answered, the better.
- What is begun is the oldest that can still be done in time, by what calls took so far. Oldest first alone would, under
  load, only ever begin what is too late when it ends.
- What nobody waits for (``urgent`` is false) is begun where nothing urgent is, on a thread of low priority.
- No lane keeps an interpreter alive, nor a model that nobody refers to.
"""

from __future__ import annotations

import contextlib
import math
import os
import sys
import threading
import time
import weakref
from collections import deque
from collections.abc import Iterable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from .background import contained, settle
from .errors import RerankFault
from .ranking import Hit, Reranker
from .rerankers import checked_scores
from .rerankers.turns import turn

CAPACITY = 1024  # urgent ones, and as many of the others
TOGETHER = 32  # searches in one call, …
TOGETHER_HITS = 4096  # … and their hits
WORTH = 0.9  # they share one where that costs less than so much of what they cost alone; …
RECENT, KNOWN = 8, 3  # calls that are remembered, and that tell something
TRIED, PROBED = 8, 16  # … so many are tried to find out, and again every so many times
_NICE = 10


@dataclass(eq=False, slots=True)
class Job:
    """One search's hits to be scored.

    :ivar expires: ``time.monotonic``; it is not begun after it. None: whenever.
    :ivar urgent: whether a client waits for it.
    :ivar lane: keeps it alive as long as this waits or runs.
    """

    reranker: Reranker
    query: str
    hits: Sequence[Hit]
    expires: float | None = None
    urgent: bool = True
    lane: Any = field(default=None, repr=False)
    future: Future[list[float]] = field(default_factory=Future, repr=False)

    @property
    def end(self) -> float:
        """``expires``, infinite where there is none."""
        return math.inf if self.expires is None else self.expires


class Pace:
    """How long a call takes, learnt from those that have ended: in seconds a hit, for one search and for several."""

    def __init__(self) -> None:
        self.alone: float | None = None
        self.together: float | None = None
        self._chances = 0
        self._recent: deque[tuple[int, float]] = deque(maxlen=RECENT)  # hits, seconds

    def learn(self, searches: int, hits: int, seconds: float) -> None:
        name, rate = "alone" if searches == 1 else "together", seconds / max(1, hits)
        self._recent.append((max(1, hits), seconds))
        known = getattr(self, name)
        setattr(self, name, rate if known is None or not math.isfinite(known) else (known + rate) / 2)

    def seconds(self, hits: int) -> float:
        """What a call for one search is expected to take; 0 before one has ended."""
        known = [rate for rate in (self.alone, self.together) if rate is not None and math.isfinite(rate)]
        return known[0] * hits if known else 0.0

    def shared(self, hits: int) -> float:
        """What a call for several may take: as long as one of late that was larger, or longer in proportion."""
        return min((seconds * max(1.0, hits / size) for size, seconds in self._recent), default=0.0)

    def at_best(self, hits: int) -> float:
        """What a call may take if it is as fast as the fastest of late; 0 before there were some."""
        return min(seconds / size for size, seconds in self._recent) * hits if len(self._recent) >= KNOWN else 0.0

    def room(self) -> int:
        """How many searches to give to the model at once. On a GPU or over a network several cost little more than one;
        on a busy CPU the first of them would only wait for the last."""
        if self.together is None:
            return TRIED
        if self.alone is None:
            return 1
        if self.together < WORTH * self.alone:
            return TOGETHER
        self._chances += 1
        return 1 if self._chances % PROBED else TRIED


def chosen(waiting: Iterable[Job], pace: Pace, now: float) -> list[Job]:
    """What the model is called with next: the oldest that can be done in time, with those that may share its call.

    Where none can be, the newest is tried: what it takes may be less by now.
    """
    jobs = [job for job in waiting if job.end > now]
    if not jobs:
        return []
    first = next((job for job in jobs if now + pace.seconds(len(job.hits)) <= job.end), jobs[-1])
    others = [job for job in jobs if job is not first and job.reranker is first.reranker]
    if not others or not callable(getattr(first.reranker, "score_many", None)):
        return [first]
    return _sharing(first, others[: pace.room() - 1], pace, now)


def _sharing(first: Job, others: Iterable[Job], pace: Pace, now: float) -> list[Job]:
    """``first`` and as many of ``others`` as leave each of them in time."""
    batch, hits, end = [first], len(first.hits), first.end
    for job in others:
        more, soonest = hits + len(job.hits), min(end, job.end)
        if more > TOGETHER_HITS:
            break
        if now + pace.shared(more) <= soonest:
            batch.append(job)
            hits, end = more, soonest
    return batch


def hopeless(waiting: Iterable[Job], begun: Sequence[Job], pace: Pace, now: float) -> list[Job]:
    """Which of those that wait will not be done in time, as ``begun`` come before them."""
    free = now + pace.at_best(sum(len(job.hits) for job in begun))
    return [job for job in waiting if free + pace.at_best(len(job.hits)) > job.end]


class _Queue:
    """What a lane and its thread share: the thread must not keep the lane."""

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.urgent: dict[Job, None] = {}  # in the order in which they came; any of them can leave
        self.others: dict[Job, None] = {}
        self.pace = Pace()
        self.turn = threading.Lock()  # held by the thread that calls the model
        self.thread: object = None  # the mark of the thread that should
        self.low = False

    def of(self, job: Job) -> dict[Job, None]:
        return self.urgent if job.urgent else self.others

    def take(self, mark: object) -> list[Job]:
        """Wait for jobs; none: another thread has taken over, or the lane has gone."""
        with self.changed:
            while self.thread is mark:
                now = time.monotonic()
                batch = chosen(self.urgent, self.pace, now) or chosen(self.others, self.pace, now)
                if batch:
                    for job in batch:
                        del self.of(job)[job]
                    for job in hopeless(self.urgent, batch, self.pace, now):
                        del self.urgent[job]
                        settle(job.future, _shed)
                    return batch
                self.changed.wait()
        return []

    def retire(self) -> None:
        """Let the thread end."""
        with self.changed:
            self.thread = None
            self.changed.notify_all()


class Lane:
    """A queue and a thread that calls whatever stands in it, one after the other.

    :param called: what must not be called concurrently with itself.
    """

    def __init__(self, called: object, name: str) -> None:
        self.called, self._name, self._queue = called, name, _Queue()
        weakref.finalize(self, self._queue.retire).atexit = False

    def submit(self, job: Job) -> None:
        """Queue a job; its ``future`` gets the scores, checked, or what the model raised.

        :raises RerankFault: ``overloaded``: the queue is full.
        """
        queue = self._queue
        with queue.changed:
            waiting = queue.of(job)
            if len(waiting) >= CAPACITY:
                raise RerankFault(f"{CAPACITY} searches wait for the model", why="overloaded")
            job.lane = self
            waiting[job] = None
            try:
                if queue.thread is None or (queue.low and job.urgent):  # what was nice once cannot be less so again
                    self._start(low=not job.urgent)
            except RuntimeError as error:  # no more threads: the system's limit, or the interpreter's end
                del waiting[job]
                raise RerankFault(f"no thread for the model: {error}", why="overloaded") from None
            queue.changed.notify_all()

    def _start(self, *, low: bool) -> None:
        mark, queue = object(), self._queue
        threading.Thread(target=_run, args=(queue, mark, low), name=self._name, daemon=True).start()
        queue.thread, queue.low = mark, low  # in time: we hold what it waits for

    def leave(self, job: Job) -> bool:
        """Take a job out of the queue; false where it has begun."""
        with self._queue.changed:
            return self._queue.of(job).pop(job, self) is None

    @property
    def fresh(self) -> bool:
        """Whether nothing was ever submitted."""
        return self._queue.thread is None


def _run(queue: _Queue, mark: object, low: bool) -> None:
    with queue.turn:
        if low:
            _be_nice()
        while batch := queue.take(mark):
            _call(batch, queue.pace)
            del batch  # not to keep a model alive while waiting for the next


def _be_nice() -> None:
    """Linux has priorities of threads; those that a model library starts from this one inherit it."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE)


def _call(batch: Sequence[Job], pace: Pace) -> None:
    """Give each job its scores. Where the model fails for several at once it is asked for each alone, as one of them
    may be to blame."""
    if len(batch) > 1:
        began = time.monotonic()
        try:
            for job, scores in zip(batch, _many(batch), strict=True):
                settle(job.future, partial(_checked, job, scores))
        except Exception:
            pace.together = math.inf
        else:
            pace.learn(len(batch), sum(len(job.hits) for job in batch), time.monotonic() - began)
            return
    for job in batch:
        began = time.monotonic()
        settle(job.future, partial(_alone, job))
        pace.learn(1, len(job.hits), time.monotonic() - began)


def _shed() -> list[float]:
    raise RerankFault("the model is too busy to be done in time", why="overloaded")


def _many(batch: Sequence[Job]) -> list[Any]:
    reranker: Any = batch[0].reranker
    with turn(reranker):
        answers = contained(lambda: list(reranker.score_many([(job.query, job.hits) for job in batch])))
    if len(answers) != len(batch):
        raise RerankFault(f"score_many returned {len(answers)} lists of scores for {len(batch)} searches")
    return answers


def _checked(job: Job, scores: object) -> list[float]:
    return contained(lambda: checked_scores(scores, len(job.hits)))


def _alone(job: Job) -> list[float]:
    with turn(job.reranker):
        return contained(lambda: checked_scores(job.reranker.score(job.query, job.hits), len(job.hits)))


_lanes: weakref.WeakValueDictionary[int, Lane] = weakref.WeakValueDictionary()
_making = threading.Lock()


def lane_of(called: object, name: str) -> Lane:
    """The lane of an object: one for all who call it, in whatever session and under whatever name."""
    with _making:
        lane = _lanes.get(id(called))  # a lane keeps its object, so that nothing else has the id
        if lane is None:
            lane = _lanes[id(called)] = Lane(called, name)
        return lane


def _forked() -> None:
    """In a fork's child there are none of its parent's threads: what was theirs is begun anew."""
    global _making
    _making = threading.Lock()
    _lanes.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
