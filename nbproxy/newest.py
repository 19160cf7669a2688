"""The newest recorded exchanges, as views ask for them."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from .exchange import Exchange
from .finishing import without_bodies
from .frames import FRAME_COLUMNS
from .slices import Slice

# What a view lists; the other columns of a batch are let go of, bodies above all.
_LISTED = [name for name in FRAME_COLUMNS if not name.endswith(("_body", "_headers"))]


class _Chunk(NamedTuple):
    """Rows that were recorded together, in the order of recording: plain ones, and others that stand among them, each
    before the plain one of its number."""

    plain: Slice
    others: Sequence[tuple[int, Exchange]]

    @property
    def rows(self) -> int:
        return self.plain.num_rows + len(self.others)

    def exchanges(self) -> list[Exchange]:
        rows = _exchanges(self.plain) if self.plain.num_rows else []
        for place, other in reversed(self.others):
            rows.insert(place, other)
        return rows


class Newest:
    """Remembers at least ``most`` rows, or as many as came; routes of ours do not count.

    Of plain rows it keeps what was written down, and makes exchanges of it only when it is asked.
    """

    def __init__(self, most: int) -> None:
        self._most, self._size = most, 0
        self._chunks: deque[_Chunk] = deque()

    def add(self, plain: Slice, others: Sequence[tuple[int, Exchange]]) -> None:
        """What was recorded together: plain rows, and others with their places among them."""
        listed = [(place, without_bodies(row)) for place, row in others if row.route != "own"][-self._most :]
        chunk = _Chunk(plain.bare(), listed)
        if chunk.rows:
            self._chunks.append(chunk)
            self._size += chunk.rows
        while self._chunks and self._size - self._chunks[0].rows >= self._most:
            self._size -= self._chunks.popleft().rows

    def exchanges(self, n: int) -> list[Exchange]:
        """At most ``n`` of the newest, newest first, redacted, without bodies."""
        found: list[Exchange] = []
        for chunk in reversed(list(self._chunks)):  # copied in one step of the interpreter, whoever appends
            if len(found) < n:
                found += chunk.exchanges()[: -(n - len(found)) - 1 : -1]
        return found


def _exchanges(plain: Slice) -> list[Exchange]:
    batch = plain.batch().select(_LISTED)
    started = batch.schema.get_field_index("started")
    micros = batch.set_column(started, "started", pc.cast(batch.column(started), pa.int64()))
    return [Exchange(**row) for row in micros.to_pylist()]
