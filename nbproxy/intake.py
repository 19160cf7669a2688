"""What waits to be recorded: written down on the event loop, taken by the recorder's thread.

Laws:

- :meth:`Intake.append` is all that the loop pays: an append to a deque, and now and then what has come is written down.
  It never raises or waits for the disk. If the thread falls so far behind that ``BACKLOG_ROWS`` rows or
  ``BACKLOG_BYTES`` of bodies wait, new rows are refused.
- Plain exchanges are written down in a ledger, ``FRESH_ROWS`` at once: so few are still in a near cache, and for so
  many it pays to bring the code there. Others are kept among them as they are. It is cut when there are ``CUT_ROWS``
  rows, ``CUT_OTHERS`` others or ``CUT_BYTES`` of bodies, when ``FLUSH_S`` have passed, or when somebody asks.
- Everything is taken in the order in which it came; a barrier (an event) stands behind what came before it.
"""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from .drafts import Draft
from .exchange import Exchange
from .ledger import Ledger
from .slices import Placed, Slice

FLUSH_S = 0.1
FLUSH_BYTES = 16 * 2**20
FRESH_ROWS = 16
CUT_ROWS, CUT_BYTES = 1024, 8 * 2**20
CUT_OTHERS = 16  # that are not plain: the columns of their hits are made by calls that keep the interpreter
HEAVY_BYTES = 2**20  # of what was cut, whose bodies are best written while they are near
BACKLOG_ROWS = 65_536
BACKLOG_BYTES = 256 * 2**20

Row = Exchange | Draft


class Late(NamedTuple):
    """A ranking that came after its exchange, or a click."""

    carrier: Exchange


class Cut(NamedTuple):
    """What came together, in order.

    :ivar plain: exchanges that were written down.
    :ivar others: what is kept as it is, and stands among them.
    :ivar weight: bytes of all bodies.
    """

    plain: Slice
    others: Sequence[Placed[Row | Late]]
    weight: int

    @property
    def lates(self) -> int:
        """How many are no exchanges."""
        return sum(isinstance(other, Late) for _, other in self.others)


Item = Cut | threading.Event  # an event is a barrier: set once all before it is written


class Intake:
    """Between the loop and the recorder's thread.

    :param plain: whether plain exchanges are written down; else all of them are kept as they are. Settable.
    :param prepare: called with each cut before the thread gets it; by the loop, as a rule, where nobody else wants
        the interpreter: two threads that want it cost each other more than the work. Under :attr:`gate`.
    :ivar gate: held while rows change hands; who counts rows holds it too.
    :ivar closed: nothing more is taken.
    :ivar refused: rows that were not.
    :ivar went: bytes of bodies that were taken out.
    """

    def __init__(self, *, plain: bool, prepare: Callable[[Cut], None]) -> None:
        self.plain, self._prepare = plain, prepare
        self._ledger = Ledger(CUT_ROWS)
        self._weight = 0  # of what is in it
        self._fresh: deque[Row] = deque()
        self._pending: deque[Item] = deque()
        self.gate = threading.Lock()
        self._wake, self._hurry = threading.Event(), threading.Event()
        self._awake = False
        self._lively = False  # whether something came in the thread's last round
        self._came = self._rows_came = self._rows_went = 0  # changed under the gate
        self._lates = 0  # that wait
        self._behind = False  # whether what comes is refused
        self.went = self.refused = 0
        self.closed = False

    # --- what the loop calls

    def append(self, row: Row) -> bool:
        """Take an exchange, or the draft of one that has ended; from one thread only (the loop's). False: refused."""
        if self._behind:
            self.refused += 1
            return False
        self._fresh.append(row)
        if len(self._fresh) >= FRESH_ROWS:
            with self.gate:
                self._write_down()
        if not self._awake:
            self._awake = True
            self._wake.set()
        return True

    def _write_down(self) -> None:
        """What has come since the last time. The gate is held."""
        ledger, fresh, plain = self._ledger, self._fresh, self.plain
        rows = len(fresh)
        for _ in range(rows):
            row = fresh.popleft()
            if plain and type(row) is Draft and row.more is None:
                weight = ledger.add(row)
            else:
                ledger.insert(row)
                weight = row.weight
            self._came += weight
            self._weight += weight
            if ledger.rows >= CUT_ROWS or self._weight >= CUT_BYTES or ledger.others >= CUT_OTHERS:
                self._cut()
        self._rows_came += rows
        self._look_behind()

    def _look_behind(self) -> None:
        """Whether the thread is too far behind. The gate is held."""
        waiting = self._came - self.went
        self._behind = self.closed or self._rows_came - self._rows_went >= BACKLOG_ROWS or waiting > BACKLOG_BYTES
        if waiting > FLUSH_BYTES:
            self._hurry.set()

    def _cut(self) -> None:
        """Hand over what is in the ledger. The gate is held."""
        if len(self._ledger):
            weight, self._weight = self._weight, 0
            one = Cut(*self._ledger.taken(), weight)
            with contextlib.suppress(Exception):  # the thread meets it again, and tells
                self._prepare(one)
            self._pending.append(one)
            if weight >= HEAVY_BYTES:
                self._hurry.set()

    def _cut_all(self) -> None:
        """The same with all that has come in the one before. The gate is held."""
        self._write_down()
        self._cut()

    # --- what any thread calls

    def offer(self, late: Late) -> bool:
        """Take what came late; False: refused."""
        with self.gate:
            if self.closed or self._lates >= BACKLOG_ROWS:
                return False
            self._lates += 1
            self._write_down()
            self._ledger.insert(late)
            if self._ledger.others >= CUT_OTHERS:
                self._cut()
        self._wake.set()
        return True

    def barrier(self) -> threading.Event:
        """An event that is set once all that came before is written."""
        done = threading.Event()
        with self.gate:
            self._cut_all()
            self._pending.append(done)
        self.hurry()
        return done

    def close(self) -> None:
        """Take nothing more."""
        with self.gate:
            self.closed = True
            self._cut_all()  # and nothing more
        self.hurry()

    def hurry(self) -> None:
        """Let the thread come now."""
        self._hurry.set()
        self._wake.set()

    # --- what the recorder's thread calls

    def wait(self, idle: float | None) -> None:
        """Until ``FLUSH_S`` after something came, or somebody is in a hurry; at most ``idle`` seconds for nothing.

        Where something came in the last round, it is not waited for first: whoever wakes this thread pays for it."""
        if self._lively and self._gather():
            return
        self._wake.clear()
        self._awake = False  # what comes from now on sets the event
        if not (self.closed or self._fresh or len(self._ledger) or self._hurry.is_set()):
            self._wake.wait(idle)
        self._awake = True
        self._gather()

    def _gather(self) -> bool:
        """Give what comes together ``FLUSH_S``. Whether there is any."""
        if not self._hurry.wait(FLUSH_S):  # else who is in a hurry has cut what is to be written
            with self.gate:
                self._cut_all()
        self._hurry.clear()
        self._lively = bool(self._pending)
        return self._lively

    def taken(self) -> Iterator[Item]:
        """All that was cut."""
        with contextlib.suppress(IndexError):  # a caller stands in for the thread, and so does another
            while True:
                item = self._pending.popleft()
                if isinstance(item, Cut):
                    lates = item.lates
                    with self.gate:
                        self.went += item.weight
                        self._rows_went += item.plain.num_rows + len(item.others) - lates
                        self._lates -= lates
                        self._look_behind()
                yield item
