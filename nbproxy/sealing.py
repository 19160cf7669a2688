"""When full streams are sealed, and what goes when a recording is over its limit.

Sealing a stream takes a tenth of a second of a processor, which traffic and whoever looks at it could use.

Laws:

- Under load, and for ``CALM_S`` after it, a full stream is left a stream: loads come in bursts. Not for ever: what
  waits to be sealed is at most a share of the limit.
- Nothing is sealed for whoever waits for the rows: that one is about to do more with them.
- One thread's (the recorder's).
"""

from __future__ import annotations

import contextlib
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from .segments import ROLL_BYTES, Log, Table, shrink, size_of

LIMIT_BYTES = 10 * 2**30  # of a recording, where nothing is said
BUSY_ROWS, BUSY_BYTES = 64, 4 * 2**20  # while so much comes in a round, and …
CALM_S = 3.0  # … for so long after it, there is load …
ROLLED_SHARE = 2  # … that is waited for until half of the limit waits to be sealed
PATIENCE = 20  # rounds in a row that somebody waited for; then there is no better time


class Attempt(Protocol):
    """Does something with a table, under the lock unless it is ``sealing``; reports where the disk refuses."""

    def __call__(self, table: Table, act: Callable[[], object], *, sealing: bool = False) -> None: ...


class Sealer:
    """Seals the streams of one session's tables.

    :param directory: None: there are no streams.
    :param limit: bytes of all recordings in the directory; None: unlimited.
    :param lock: taken while what a table lists changes.
    :param came: how many rows and bytes of bodies have come so far.
    :param removed: told what went as the recording was over its limit.
    """

    def __init__(
        self,
        directory: Path | None,
        session: str,
        tables: Sequence[Table],
        *,
        roll_bytes: int,
        limit: int | None,
        lock: AbstractContextManager[Any],
        came: Callable[[], tuple[int, int]],
        attempt: Attempt,
        removed: Callable[[Path], None],
    ) -> None:
        self._directory, self._session, self._tables, self._limit = directory, session, tables, limit
        self._most_rolled = (limit or LIMIT_BYTES) // ROLLED_SHARE // roll_bytes
        self._lock, self._came, self._attempt, self._removed = lock, came, attempt, removed
        self._marks = deque([(0, 0)], maxlen=2)  # what had come when the last rounds began
        self._calm_at, self._kept_waiting = 0.0, 0
        self._settled = 0  # bytes in sealed files
        self._measure()

    @property
    def bytes(self) -> int:
        """Of this session on disk."""
        return self._settled + self._open_bytes

    @property
    def waiting(self) -> bool:
        """Whether there are streams to be sealed when there is time."""
        return any(log.rolled for log in self._logs)

    @property
    def busy(self) -> bool:
        """Whether much came in this round or the one before, or lately."""
        (rows, size), (rows_now, size_now), now = self._marks[0], self._came(), time.monotonic()
        if rows_now - rows > BUSY_ROWS or size_now - size > BUSY_BYTES:
            self._calm_at = now + CALM_S
        return now < self._calm_at

    def begin_round(self) -> None:
        """The thread is about to write what has come."""
        self._marks.append(self._came())

    def end_round(self, *, asked: bool) -> None:
        """It has. ``asked``: somebody waited for it. Seals one stream of each table, if there is time."""
        self._kept_waiting = self._kept_waiting + 1 if asked else 0
        if self._kept_waiting % PATIENCE:
            return
        for table in self._tables:
            if table.log is not None and table.log.rolled and not self.busy:
                self._seal(table, table.log.seal_rolled)

    def look(self, table: Table) -> None:
        """It was written to: seal its stream if it is full, or leave that for later."""
        log = table.log
        if log is None or not log.full:
            return
        if self.busy and log.rolled < self._most_rolled:
            self._attempt(table, log.roll)
        else:
            self._seal(table, log.seal)

    def finish(self, table: Table) -> None:
        """Seal all that there is of it."""
        while table.log is not None and table.log.rolled:
            self._seal(table, table.log.seal_rolled)
        if table.log is not None:
            self._seal(table, table.log.seal)

    def _seal(self, table: Table, seal: Callable[[AbstractContextManager[Any]], None]) -> None:
        """Readers do not wait meanwhile. Keeps the recording under its limit."""
        self._attempt(table, partial(seal, self._lock), sealing=True)
        if self._directory is not None and self._limit is not None:
            with contextlib.suppress(OSError):
                for path in shrink(self._directory, self._limit):
                    self._removed(path)
        self._measure()

    def _measure(self) -> None:
        if self._directory is not None:
            with contextlib.suppress(OSError):
                self._settled = size_of(self._directory, self._session) - self._open_bytes

    @property
    def _open_bytes(self) -> int:
        return sum(log.open_bytes for log in self._logs)

    @property
    def _logs(self) -> list[Log]:
        return [table.log for table in self._tables if table.log is not None]


def roll_size(limit: int | None) -> int:
    """How long a stream grows: so short that a limit can be kept, as bodies go by the file."""
    return ROLL_BYTES if limit is None else min(ROLL_BYTES, max(limit // 16, 65_536))
