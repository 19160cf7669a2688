"""The newest recorded exchanges, as views ask for them."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from .exchange import Exchange
from .finishing import without_bodies
from .frames import FRAME_COLUMNS
from .unbuilt import Unbuilt

# What a view lists; the other columns of a batch are let go of, bodies above all.
_LISTED = [name for name in FRAME_COLUMNS if not name.endswith(("_body", "_headers"))]


class Newest:
    """Remembers at least ``most`` rows, or as many as came; routes of ours do not count.

    Of rows that are columns it keeps the columns, and makes exchanges of them only when it is asked.
    """

    def __init__(self, most: int) -> None:
        self._most, self._size = most, 0
        self._chunks: deque[Sequence[Exchange] | Any] = deque()

    def add(self, rows: Sequence[Exchange]) -> None:
        """Exchanges that were recorded, in order."""
        self._keep([without_bodies(row) for row in [row for row in rows if row.route != "own"][-self._most :]])

    def add_batch(self, batch: Any) -> None:
        """Rows that were recorded as a record batch of the frame's columns, or will be one."""
        self._keep(batch if isinstance(batch, Unbuilt) else batch.select(_LISTED))

    def _keep(self, chunk: Any) -> None:
        if len(chunk):
            self._chunks.append(chunk)
            self._size += len(chunk)
        while self._chunks and self._size - len(self._chunks[0]) >= self._most:
            self._size -= len(self._chunks.popleft())

    def exchanges(self, n: int) -> list[Exchange]:
        """At most ``n`` of the newest, newest first, redacted, without bodies."""
        found: list[Exchange] = []
        for chunk in reversed(list(self._chunks)):  # copied in one step of the interpreter, whoever appends
            if len(found) < n:
                found += (chunk if isinstance(chunk, list) else _exchanges(chunk))[: -(n - len(found)) - 1 : -1]
        return found


def _exchanges(chunk: Any) -> list[Exchange]:
    batch = chunk.batch().select(_LISTED) if isinstance(chunk, Unbuilt) else chunk
    started = batch.schema.get_field_index("started")
    micros = batch.set_column(started, "started", pc.cast(batch.column(started), pa.int64()))
    return [Exchange(**row) for row in micros.to_pylist()]
