"""Where upstream's bytes land: memory in which an answer stays from the socket to the client and to the recording.

A body of 33 KB that is copied once more on its way, or lands in memory that nobody has touched lately, costs as much as
all the rest of relaying it. So bodies that came whole are lent out where they came, one behind the other, and written
to disk from there. Between them is where their heads were.

Laws:

- What stands between bodies may be stored with them: it is zeros, or a head that is said to be harmless.
- What was lent is never overwritten while anybody refers to it. Memory comes back when the last reference has gone,
  whoever held it: a slow client, the recorder, a user's frame.
- So that slow clients cannot hold any amount of it there are ``most`` pieces; beyond that bodies are copied.
- One thread's (the loop's): a room is asked for, read into, and dealt with before the next is asked for.
"""

from __future__ import annotations

import contextlib
import mmap
import weakref
from collections import deque
from collections.abc import Sequence

import numpy as np

READ_BYTES = 1 << 18
PIECE_BYTES = 8 * 2**20  # as much as a slice of a recording
MOST = 48
SPARE = 6  # pieces that are kept for the next
BLOCK = 4096  # of a file
Spot = tuple[memoryview, int, int]  # a piece, where in it, and the bytes before it that are its head's
_ZEROS = bytes(READ_BYTES)
_PRIVATE = {"flags": mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS} if hasattr(mmap, "MAP_PRIVATE") else {}


class Stock:
    """Pieces of memory, which come back by themselves, from any thread, when nobody refers to them any more.

    :param most: so many.
    :param huge: in huge pages, where the kernel has them: the first touch of one takes as long as that of its 512
        small ones, so only for what is used again and again.
    """

    def __init__(self, most: int, *, huge: bool) -> None:
        self._most, self._huge = most, huge
        self._free: deque[mmap.mmap] = deque()
        self._made, self._gone = 0, deque[None]()

    @property
    def pieces(self) -> int:
        """How many there are."""
        return self._made - len(self._gone)

    def take(self) -> memoryview | None:
        """The one that was used last, or a new one; None: there are as many as there may be."""
        if not self._free and self.pieces >= self._most:
            return None
        memory = self._free.pop() if self._free else self._new()
        owner = np.frombuffer(memory, dtype=np.uint8)  # what all views of the piece refer to
        weakref.finalize(owner, self._give, memory).atexit = False
        return memoryview(owner)  # type: ignore[arg-type]

    def _new(self) -> mmap.mmap:
        self._made += 1
        memory = mmap.mmap(-1, PIECE_BYTES, **_PRIVATE)
        if self._huge and hasattr(mmap, "MADV_HUGEPAGE"):
            with contextlib.suppress(OSError):
                memory.madvise(mmap.MADV_HUGEPAGE)
        return memory

    def _give(self, memory: mmap.mmap) -> None:
        if len(self._free) < SPARE:
            self._free.append(memory)
        else:
            self._gone.append(None)


class Landing:
    """Memory to read into.

    :param most: so many pieces of ``PIECE_BYTES``.
    :ivar room: where the next read goes, ``READ_BYTES`` long.
    :ivar spot: where the last body was laid; None: there was no room.
    """

    spot: Spot | None = None

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self.close()

    def close(self) -> None:
        """Let go of all memory, but for what is lent."""
        self._stock = Stock(self._most, huge=True)
        self._at, self._lends = 0, False
        self._piece = self.room = memoryview(bytearray(READ_BYTES))  # enough until something is lent

    @property
    def pieces(self) -> int:
        """How many there are."""
        return self._stock.pieces

    def copied(self, size: int) -> bytes:
        """The first bytes of what was read."""
        return self.room[:size].tobytes()

    def lend(self, start: int, size: int, *, harmless: bool | None = None) -> memoryview:
        """``size`` bytes of what was read, from ``start``: where they are, if there is room for what comes next.

        :param harmless: what stands before them may be stored; else it is removed.
        """
        if not self._lends:
            came = self.room[start : start + size]
            body = self._place(size)
            if body is None:
                return memoryview(came.tobytes())
            body[:] = came
            return body
        at, piece = self._at, self._piece
        begin = at + start
        if not harmless:
            piece[at:begin] = _ZEROS[:start]
        self.spot = piece, begin, start
        body = piece[begin : begin + size]
        self._advance(begin + size)
        return body

    def headed(self, head: bytes, size: int) -> memoryview | None:
        """The body of ``size`` bytes that was lent last, behind ``head``, which may be stored; None: no room."""
        if self.spot is None or len(head) > self.spot[2]:
            return None
        piece, begin, _ = self.spot
        at = begin - len(head)
        piece[at:begin] = head
        return piece[at : begin + size]

    def adopt(self, pieces: Sequence[bytes | memoryview], size: int) -> memoryview | None:
        """The first ``size`` bytes of what came by pieces, as if it had been lent; None where there is no room."""
        body, end = self._place(size), 0
        if body is None:
            return None
        for piece in pieces:
            begin, end = end, min(end + len(piece), size)
            body[begin:end] = piece[: end - begin]
        return body

    def _place(self, size: int) -> memoryview | None:
        """Behind what was lent before; None where there is no room."""
        if size > READ_BYTES or (not self._lends and not self._renewed()):
            self.spot = None
            return None
        self.spot = self._piece, self._at, 0
        body = self._piece[self._at : self._at + size]
        self._advance(self._at + size)
        return body

    def _advance(self, end: int) -> None:
        """The next read goes there."""
        self._at = end
        if end + READ_BYTES >= PIECE_BYTES:  # no body ends where the next piece may begin
            self._lends = False
            self._renewed()
        self.room = self._piece[self._at : self._at + READ_BYTES]

    def _renewed(self) -> bool:
        """Begin a piece; False: there is none, and what comes goes where no body stays."""
        self._at %= BLOCK  # bodies side by side stay so, as far as a file's blocks are concerned
        piece = self._stock.take()
        if piece is None:
            if len(self._piece) != READ_BYTES:
                self._piece = memoryview(bytearray(READ_BYTES))
            self._at = 0
            return False
        self._piece, self._lends = piece, True
        return True
