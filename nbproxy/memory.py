"""Rows in memory: a recording without a directory, and what waits while a disk refuses."""

from __future__ import annotations

from collections import deque
from typing import Any

import pyarrow as pa

from .slices import Slice

MERGE = 256  # so many small batches become one: each costs 6 KB beyond its rows
SMALL_BYTES = 65_536


class MemoryLog:
    """Arrow batches, and slices that become ones when they are read, oldest first; at most ``limit`` bytes of them.
    Not thread-safe.

    Over the limit the oldest bulky columns become null; when none is left, the oldest batches go.

    :ivar bytes: held now.
    :ivar dropped: rows that went.
    """

    def __init__(self, bulky: tuple[str, ...], limit: int) -> None:
        self._bulky, self._limit = bulky, limit
        self._batches: deque[Any] = deque()
        self._small = 0  # how many of the newest were not merged
        self._bare = 0  # how many of the oldest have no bulk
        self.bytes = 0
        self.dropped = 0

    def __len__(self) -> int:
        return len(self._batches)

    def batches(self) -> list[Any]:
        """As record batches, which they stay."""
        for place, item in enumerate(self._batches):
            if isinstance(item, Slice):
                self._batches[place] = batch = item.batch()
                self.bytes += batch.nbytes - item.nbytes
        return list(self._batches)

    def append(self, batch: Any) -> None:
        """Add a batch, and make room for it."""
        self._batches.append(batch)
        size = batch.nbytes
        self._small = self._small + 1 if size <= SMALL_BYTES and not isinstance(batch, Slice) else 0
        self.bytes += size
        if self._small >= MERGE:
            self._merge()
        while self.bytes > self._limit and self._bare < len(self._batches):
            self._strip()
        while self.bytes > self._limit and len(self._batches) > 1:
            self.dropped += self.popleft().num_rows

    def popleft(self) -> Any:
        """Take the oldest batch out."""
        batch = self._batches.popleft()
        self._small = min(self._small, len(self._batches))
        self._bare = max(0, self._bare - 1)
        self.bytes -= batch.nbytes
        return batch

    def _strip(self) -> None:
        batch = self._batches[self._bare]
        self.bytes -= batch.nbytes
        self._batches[self._bare] = bare = self._stripped(batch)
        self._bare += 1
        self.bytes += bare.nbytes

    def _stripped(self, batch: Any) -> Any:
        if isinstance(batch, Slice):
            batch.strip()
            return batch
        for name in self._bulky:
            place = batch.schema.get_field_index(name)
            field = batch.schema.field(place)
            batch = batch.set_column(place, field, pa.nulls(batch.num_rows, field.type))
        return batch

    def _merge(self) -> None:
        newest = [self._batches.pop() for _ in range(self._small)]
        merged = pa.Table.from_batches(newest[::-1]).combine_chunks().to_batches()[0]
        self._batches.append(merged)
        self.bytes += merged.nbytes - sum(batch.nbytes for batch in newest)
        self._bare = min(self._bare, len(self._batches) - 1)
        self._small = 0
