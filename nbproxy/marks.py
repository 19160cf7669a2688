"""Where the batches of a stream begin and which ids are in them, found once: so that one batch of a long stream is read
without the others.

Laws: a stream only grows, so what was found stays true; what was cut is not read, as by any reader of the format. What
is kept of a batch is two numbers and two ids: a batch itself costs thousands of bytes beyond its rows. Any thread.

https://arrow.apache.org/docs/format/Columnar.html#encapsulated-message-format
"""

from __future__ import annotations

import contextlib
import struct
import threading
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from .slices import opened

_HEAD = struct.Struct("<Ii")  # the continuation mark, and the metadata's size
Ids = tuple[str, str]
_CUT = (OSError, EOFError, struct.error, pa.ArrowInvalid)


class Batches:
    """Record batches one after the other, each read when it is asked for.

    :ivar rows: of all of them.
    """

    def __init__(self, starts: Sequence[int], rows: int) -> None:
        self._starts, self.rows = starts, rows

    def _batch(self, place: int) -> Any:
        raise NotImplementedError

    def onwards(self, start: int) -> Iterator[Any]:
        """The rows from number ``start`` on, as tables."""
        for place in range(max(0, bisect_right(self._starts, start) - 1), len(self._starts)):
            batch = self._batch(place)
            if batch.num_rows > max(0, start - self._starts[place]):
                yield pa.Table.from_batches([batch.slice(max(0, start - self._starts[place]))])

    def backwards(self) -> Iterator[tuple[int, Any]]:
        """Each batch as a table, with the number of its first row, the last batch first."""
        for place in reversed(range(len(self._starts))):
            yield self._starts[place], pa.Table.from_batches([self._batch(place)])

    def holding(self, exchange_id: str) -> Iterator[tuple[int, Any]]:
        """The same without batches that cannot have a row of this exchange."""
        for start, table in self.backwards():
            least, most = ids_of(table)
            if least <= exchange_id <= most:
                yield start, table


class Here(Batches):
    """Batches that are in memory."""

    def __init__(self, batches: Sequence[Any]) -> None:
        starts, rows = [], 0
        for batch in batches:
            starts.append(rows)
            rows += batch.num_rows
        super().__init__(starts, rows)
        self._batches = batches

    def _batch(self, place: int) -> Any:
        return self._batches[place]


class _There(Batches):
    def __init__(
        self, starts: Sequence[int], rows: int, places: Sequence[int], ids: Sequence[Ids], buffer: Any, schema: Any
    ) -> None:
        super().__init__(starts, rows)
        self._places, self._ids, self._buffer, self._schema = places, ids, buffer, schema

    def _batch(self, place: int) -> Any:
        return _read(self._buffer, self._places[place], self._schema)[0]

    def holding(self, exchange_id: str) -> Iterator[tuple[int, Any]]:
        for place in reversed(range(len(self._starts))):
            least, most = self._ids[place]
            if least <= exchange_id <= most:
                yield self._starts[place], pa.Table.from_batches([self._batch(place)])


class Marks:
    """Of one stream: what :meth:`batches` has found so far."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._places: list[int] = []  # in the file
        self._starts: list[int] = []  # in rows
        self._ids: list[Ids] = []
        self._rows = self._end = 0
        self._schema: Any = None

    def batches(self, path: Path, size: int | None = None) -> Batches:
        """The whole batches in the first ``size`` bytes (None: all) of the stream, which is mapped.

        :raises FileNotFoundError: it was removed.
        """
        size = path.stat().st_size if size is None else size
        if not size:
            return Here([])
        buffer = pa.memory_map(str(path)).read_buffer(size)
        with self._lock:
            with contextlib.suppress(*_CUT):
                self._go_on(buffer)
            known = bisect_right(self._places, size - 1)  # another thread may have seen more of it
            rows = self._rows if known == len(self._places) else self._starts[known]
            found = (self._starts[:known], rows, self._places[:known], self._ids[:known])
            return _There(*found, buffer, self._schema)

    def _go_on(self, buffer: Any) -> None:
        if self._schema is None:
            self._schema = pa.ipc.read_schema(pa.ipc.read_message(buffer))
            self._end = _HEAD.size + _HEAD.unpack_from(buffer)[1]
        while self._end < len(buffer):
            batch, end = _read(buffer, self._end, self._schema, bodies=False)
            self._ids.append(ids_of(batch))
            self._places.append(self._end)
            self._starts.append(self._rows)
            self._rows, self._end = self._rows + batch.num_rows, end


def ids_of(rows: Any) -> Ids:
    """The least and the greatest id of a batch or a table; both empty where it is."""
    ends = pc.min_max(rows.column("exchange_id")).as_py()
    return ends["min"] or "", ends["max"] or ""


def _read(buffer: Any, place: int, schema: Any, *, bodies: bool = True) -> tuple[Any, int]:
    """The batch that begins there, and where it ends."""
    message = pa.ipc.read_message(buffer.slice(place))
    _, metadata = _HEAD.unpack_from(buffer, place)
    end = place + _HEAD.size + metadata + message.body.size
    if end > len(buffer):
        raise EOFError
    return opened(pa.ipc.read_record_batch(message, schema), bodies=bodies), end
