"""What plain exchanges leave, side by side: written down by the event loop as they end, made columns of later.

An object that waits for the recorder is in no near cache any more when its turn comes, and each line of it takes as
long to come as a dozen lines of Python take to run. So none waits: an exchange's numbers go to one block of memory, its
target to another, its body to a third or stays where it landed (:mod:`landing`), and what exchanges share (who asked,
with which head, how it was answered) is written down once, as an entry that their rows point to. Memory that is written
in order, and read in order, is prefetched.

Laws:

- Nothing is written down before it is redacted, so that nothing of a slice ever needs to be.
- What only some exchanges have does not fit in here: such rows, and what comes late, are kept as they are, each with
  its place among the others.
- A ledger has one writer at a time: who writes, or takes a slice out, holds a lock.
"""

from __future__ import annotations

import io
import os
import struct
from collections.abc import Sequence
from typing import Any

import numpy as np

from .batches import recorded_lines
from .drafts import Body, Draft, clocks_apart
from .exchange import next_count
from .heads import RequestHead
from .landing import Spot, Stock
from .ranking import readable
from .redact import redact_target
from .settings import Settings
from .slices import FIELDS, Entry, Facts, Placed, Slice
from .wire import LARGE, Memo

_ROW = struct.Struct("<4d2i5q")  # slices.FIELDS
_NEVER = float("nan")
_MOST_KEPT = 4 * 2**20  # bytes of memory for small things that are kept for the next slice
_SEED = 16
_PIECES = 64  # of memory for small bodies: beyond what a recording in memory keeps


class _Run:
    """Bodies that lie side by side in a piece of memory."""

    __slots__ = ("begin", "end", "piece")

    def __init__(self, piece: memoryview, begin: int, end: int) -> None:
        self.piece, self.begin, self.end = piece, begin, end


class _Bodies:
    """The bodies of one side, in order: small ones are copied one behind the other, large ones stay where they are.

    :ivar before: bytes before the one that was added last that are not part of it; only answers have such.
    """

    def __init__(self, stock: Stock) -> None:
        self._stock = stock
        self._piece = memoryview(bytearray())  # where small ones go
        self._begin = self._end = 0  # of what is not a run yet there
        self._runs: list[_Run | bytes | memoryview] = []
        self.before = 0

    def add(self, body: Body) -> int:
        """:returns: how many bytes of it are kept."""
        data, kept, self.before = body.first, body.size, 0
        if body.others is not None or kept > body.limit:
            data = body.kept() or b""
            kept = len(data)
        if kept >= LARGE or (kept and body.spot is not None):
            self._lay(body.spot, data, kept)
            return kept
        begin = self._end
        end = begin + kept
        if end > len(self._piece):
            self._renew()
            begin, end = 0, kept
        self._piece[begin:end] = data
        self._end = end
        return kept

    def _renew(self) -> None:
        self._note_small()
        piece = self._stock.take()
        self._piece = memoryview(bytearray(LARGE)) if piece is None else piece
        self._begin = self._end = 0

    def _note_small(self) -> None:
        if self._end > self._begin:
            self._runs.append(_Run(self._piece, self._begin, self._end))
            self._begin = self._end

    def _lay(self, spot: Spot | None, data: bytes | memoryview, kept: int) -> None:
        self._note_small()
        if spot is None:
            self._runs.append(data)
            return
        (piece, begin, self.before), last = spot, self._runs[-1] if self._runs else None
        if type(last) is _Run and last.piece is piece and last.end == begin - self.before:
            last.end = begin + kept
        else:
            self._runs.append(_Run(piece, begin - self.before, begin + kept))

    def taken(self) -> list[memoryview]:
        """All of them in as few pieces as there are; begins anew."""
        self._note_small()
        runs, self._runs = self._runs, []
        return [one.piece[one.begin : one.end] if isinstance(one, _Run) else memoryview(one) for one in runs]


def _taken(memory: io.BytesIO) -> bytes:
    """What was written to it since the last time."""
    with memory.getbuffer() as view:
        data, much = view[: memory.tell()].tobytes(), len(view) > _MOST_KEPT
    memory.seek(0)
    if much:
        memory.truncate()
    return data


class Ledger:
    """What is written down between two slices.

    :param most: rows of plain exchanges.
    :ivar rows: how many there are.
    """

    def __init__(self, most: int) -> None:
        self._memory = bytearray(most * _ROW.size)
        self._targets = io.BytesIO()
        stock = Stock(_PIECES, huge=False)
        self._requests, self._answers = _Bodies(stock), _Bodies(stock)
        self._lines: Memo[str] = Memo()
        self._begin()

    def _begin(self) -> None:
        self.rows = 0
        self._entries: dict[Any, int] = {}
        self._identified: list[Placed[tuple[int, str]]] = []
        self._others: list[Placed[Any]] = []
        self._settings: Settings | None = None  # whose model is ``_model``
        self._model: tuple[str | None, str | None] = (None, None)

    def __len__(self) -> int:
        return self.rows + len(self._others)

    @property
    def others(self) -> int:
        """How many are kept as they are."""
        return len(self._others)

    def add(self, draft: Draft) -> int:
        """Write down a plain exchange that has ended.

        :returns: bytes of its bodies that are kept.
        """
        n, head, sent, answered = self.rows, draft.head, draft.sent_at, draft.answered_at
        if draft.settings is not self._settings:
            self._settings, model = draft.settings, draft.settings.model
            self._model = (None, None) if model is None else (model.name, model.fingerprint)
        target, asked_with = head.recorded or _recorded(head)
        block = draft.response_block
        answered_with = self._lines.get(block) or self._lines.keep(block, recorded_lines(block))
        entry = (
            draft.client, head.method, draft.route, draft.dialect, draft.index, draft.status, asked_with, answered_with,
            draft.reason, draft.error, self._model,
        )  # fmt: skip
        number = self._entries.get(entry)
        if number is None:
            number = self._entries[entry] = len(self._entries)
        if draft.identity is not None:
            self._identified.append(Placed(n, draft.identity))
        asked, got = draft.sent_body, draft.got_body
        bytes_in = request = bytes_out = answer = before = 0
        if asked is not None:
            bytes_in, request = asked.size, self._requests.add(asked)
        if got is not None:
            answers = self._answers
            bytes_out, answer, before = got.size, answers.add(got), answers.before
        self._targets.write(target)
        _ROW.pack_into(
            self._memory, n * _ROW.size, draft.t0, _NEVER if sent is None else sent,
            _NEVER if answered is None else answered, draft.ended_at, number, len(target),
            bytes_in, bytes_out, request, answer, before,
        )  # fmt: skip
        self.rows = n + 1
        return request + answer

    def insert(self, item: Any) -> None:
        """Keep something as it is, behind what was written down."""
        self._others.append(Placed(self.rows, item))

    def taken(self) -> tuple[Slice, Sequence[Placed[Any]]]:
        """All of it, and what is kept as it is with its places; begins anew."""
        n, others = self.rows, self._others
        entries: list[Entry] = [(*entry, *model) for *entry, model in self._entries]
        facts = Facts(clocks_apart(), next_count(n), os.urandom(_SEED), entries, self._identified)
        rows = np.frombuffer(bytes(memoryview(self._memory)[: n * _ROW.size]), FIELDS)
        plain = Slice(facts, rows, _taken(self._targets), self._requests.taken(), self._answers.taken())
        self._begin()
        return plain, others


def _recorded(head: RequestHead) -> tuple[bytes, str]:
    head.recorded = readable(redact_target(head.target)).encode(), recorded_lines(head.block)
    return head.recorded
