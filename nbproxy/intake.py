"""What waits to be recorded: appended on the event loop, taken by the recorder's thread.

Laws:

- :meth:`Intake.append` is all that the loop pays: an append to a deque, and now and then a slice of columns. It never
  blocks, raises, or waits for the disk. If the thread falls so far behind that ``BACKLOG_ROWS`` rows or
  ``BACKLOG_BYTES`` of bodies wait, new rows are refused.
- What comes is a reference (an ended ``Draft``). Plain ones become columns on the loop, ``SLICE_ROWS`` at once: two
  threads that want the interpreter cost each other more than the work. So every ``FLUSH_S`` the loop is asked to make
  columns of what there is with the next rows, and only if too few come the thread does it. Where there is no file, they
  become columns when somebody reads them (``unbuilt``).
- A slice is made in steps, one every ``STEP_ROWS`` rows: at once it would keep as many requests waiting as come in a
  millisecond. Whoever hands over what is behind it makes the rest of it first.
- Everything is taken in the order in which it came; a barrier (an event) stands behind what came before it.
"""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from .batches import Row, Steps
from .drafts import Draft
from .exchange import Exchange

FLUSH_S = 0.1
ASKED_S = 0.02  # so long the thread waits for the loop to make columns of what is left
FLUSH_ROWS = 4096
FLUSH_BYTES = 16 * 2**20
HURRY_ITEMS = 4  # slices
SLICE_ROWS, SLICE_BYTES = 512, 8 * 2**20  # two milliseconds of the loop, in eight steps or nine
STEP_ROWS = 8
HEAVY_BYTES = 2**20  # of a slice, whose bodies are not copied on the loop, and are best written while they are near
BACKLOG_ROWS = 65_536
BACKLOG_BYTES = 256 * 2**20


class Late(NamedTuple):
    """A ranking that came after its exchange, or a click."""

    carrier: Exchange
    weight: int = 0


class Built(NamedTuple):
    """Plain rows as they are kept: what ``build`` has made of them."""

    kept: Any
    weight: int
    rows: int


Item = Row | Late | Built | threading.Event  # an event is a barrier: set once all before it is written


class _Making(NamedTuple):
    """A slice that is being made."""

    steps: Steps[Any]
    drafts: list[Draft]
    weight: int


class Intake:
    """Between the loop and the recorder's thread.

    :param builds: whether plain drafts are made into columns here; else all of them are the thread's. Settable.
    :param build: makes of plain drafts, whose bodies have so many bytes, what is kept of them. Under :attr:`gate`.
    :ivar gate: held while rows change hands; who counts rows holds it too.
    :ivar closed: nothing more is taken.
    :ivar refused: rows that were not.
    :ivar went: bytes of bodies that were taken out.
    """

    def __init__(
        self,
        *,
        builds: bool,
        build: Callable[[list[Draft], int], Steps[Any]],
    ) -> None:
        self.builds, self._make = builds, build
        self._pending: deque[Item] = deque()
        self._plain: deque[Draft] = deque()  # those that are not built yet
        self._plain_weight = 0
        self._making: _Making | None = None
        self.gate = threading.Lock()  # what leaves ``_plain`` is in ``_pending`` before anybody else's is
        self._wake, self._hurry = threading.Event(), threading.Event()
        self._awake = self._asked = False
        self._answered = threading.Event()  # the loop did as it was asked
        self._left = False  # what is not built yet may stay
        self._came = self._rows_came = self._rows_went = 0
        self.went = self.refused = 0
        self.closed = False

    # --- what the loop calls

    def append(self, row: Row) -> bool:
        """Take an exchange, or the draft of one that has ended; from one thread only (the loop's). False: refused."""
        waiting = self._came - self.went
        if self.closed or self._rows_came - self._rows_went >= BACKLOG_ROWS or waiting > BACKLOG_BYTES:
            self.refused += 1
            return False
        self._came += row.weight
        self._rows_came += 1
        if self.builds and isinstance(row, Draft) and row.more is None:
            self._plain.append(row)
            self._plain_weight += row.weight
            n = len(self._plain)
            if n >= SLICE_ROWS or self._plain_weight >= SLICE_BYTES or self._asked:
                self._begin()
            elif self._making is not None and not n % STEP_ROWS:
                self._step()
        else:
            self._hand_over(row)
        if not self._awake:
            self._awake = True
            self._wake.set()
        if waiting > FLUSH_BYTES and not self._hurry.is_set():
            self._hurry.set()
        return True

    def _begin(self) -> None:
        """Begin a slice of what there is; the one before is ended."""
        with self.gate:
            self._end()
            weight, drafts = self._plain_weight, self._taken_out()
            self._making = _Making(self._make(drafts, weight), drafts, weight)
        if self._asked:
            self._asked = False
            self._answered.clear()  # it is about this slice

    def _step(self) -> None:
        with self.gate:
            self._advance()

    def _end(self) -> None:
        """Make the rest of the slice that is being made. The gate is held."""
        while self._making is not None:
            self._advance()

    def _advance(self) -> None:
        if self._making is None:
            return  # another thread has made the rest
        steps, drafts, weight = self._making
        try:
            next(steps)
            return
        except StopIteration as end:
            self._pending.append(Built(end.value, weight, len(drafts)))
        except Exception:  # the thread finds which of them spoils it
            self._pending.extend(drafts)
        self._making = None
        self._answered.set()
        if weight >= HEAVY_BYTES or len(self._pending) >= HURRY_ITEMS:
            self._hurry.set()

    def _taken_out(self) -> list[Draft]:
        self._plain_weight = 0
        return [self._plain.popleft() for _ in range(len(self._plain))]

    # --- what any thread calls

    def offer(self, item: Late) -> bool:
        """Take what came late; False: refused."""
        if self.closed or len(self._pending) >= BACKLOG_ROWS:
            return False
        self._hand_over(item)
        self._wake.set()
        return True

    def barrier(self) -> threading.Event:
        """An event that is set once all that came before is written."""
        done = threading.Event()
        self._hand_over(done)
        self.hurry()
        return done

    def close(self) -> None:
        """Take nothing more."""
        self.closed = True
        self.hurry()

    def hurry(self) -> None:
        """Let the thread come now."""
        self._wake.set()
        self._hurry.set()

    def _hand_over(self, *items: Item) -> None:
        """To the thread, behind what has come before."""
        with self.gate:
            self._end()
            self._pending.extend(self._taken_out())
            self._pending.extend(items)

    # --- what the recorder's thread calls

    def wait(self, idle: float | None) -> None:
        """Until ``FLUSH_S`` after something came, or somebody is in a hurry; at most ``idle`` seconds for nothing."""
        woken = self._wake.wait(FLUSH_S if self._unbuilt else idle)
        self._left = woken and self._hurry.wait(FLUSH_S)  # who is in a hurry has handed over what is to be written
        self._wake.clear()
        self._hurry.clear()
        self._awake = False  # what comes from now on sets the event again
        if not self._left and self._unbuilt:
            self._answered.clear()
            self._asked = True
            self._left = self._answered.wait(ASKED_S) and self._making is None
            self._asked = False

    @property
    def _unbuilt(self) -> bool:
        return bool(self._plain) or self._making is not None

    def taken(self) -> Iterator[list[Item]]:
        """All that waits, so many at once as make a batch; what the loop will make columns of soon stays."""
        if not self._left or self.closed:
            self._hand_over()
        self._left = False
        while self._pending:
            yield self._take()

    def _take(self) -> list[Item]:
        """By their number, and by their weight if they weigh as those that wait do."""
        n = len(self._pending)
        each = max(1, (self._came - self.went) // max(1, n))
        taken: list[Item] = []
        with contextlib.suppress(IndexError):  # a caller stands in for the thread, and so does another
            for _ in range(min(n, FLUSH_ROWS, FLUSH_BYTES // each + 1)):
                taken.append(self._pending.popleft())  # noqa: PERF401 - what was taken before the error counts
        self.went += sum(item.weight for item in taken if not isinstance(item, threading.Event))
        self._rows_went += sum(item.rows if isinstance(item, Built) else isinstance(item, Row) for item in taken)
        return taken
