"""A recorder's tables by the page: what another process reads of them, from any row on, a bounded piece at a time.

Laws:

- Rows have numbers from 0 in the order of recording, which never change: a reader that keeps what it has asks for the
  rest. Where they would change (rows were lost to a disk, or to whoever removed files; another recording began) the
  **epoch** does, and the reader begins anew.
- A page has at least one row if there is one, and stops at ``PAGE_BYTES``. What is read for it is mapped; only the page
  is copied. The recorder's lock is held while files are listed, never while they are read.
- Nothing here changes anything.
"""

from __future__ import annotations

import contextlib
import json
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from .frames import conform, schema
from .marks import Batches, Here, Ids, Marks, ids_of
from .recorder import Recorder
from .segments import BULK_ROWS, EVENTS, HITS, ROWS, Kind, Segment

PAGE_BYTES = 8 * 2**20
KINDS = {"rows": ROWS, "hits": HITS, "events": EVENTS}
_META = b"nbproxy"
_TRIES = 5


class Page(NamedTuple):
    """Some rows of a table.

    :ivar epoch: of the numbers.
    :ivar next: the number after the last row here.
    :ivar total: the number after the last row there is.
    :ivar table: the rows, without the bulky columns where they were not asked for.
    """

    epoch: str
    next: int
    total: int
    table: Any


class _Source(NamedTuple):
    """A run of rows.

    :ivar pieces: reads them from the n-th on, as tables.
    :ivar backwards: reads them as tables, the last first, each with the number of its first row among them.
    :ivar holding: the same without tables that cannot have a row of this exchange.
    """

    rows: int
    pieces: Callable[[int], Iterator[Any]]
    backwards: Callable[[], Iterator[tuple[int, Any]]]
    holding: Callable[[str], Iterator[tuple[int, Any]]]


class Run(NamedTuple):
    """Rows ``begin`` to ``end`` (not included), as :class:`_Source` reads them."""

    begin: int
    end: int
    pieces: Callable[[int], Iterator[Any]]
    backwards: Callable[[], Iterator[tuple[int, Any]]]
    holding: Callable[[str], Iterator[tuple[int, Any]]]


class Pages:
    """The pages of one recorder."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._id = uuid.uuid4().hex[:12]
        self._known: dict[Path, tuple[int, Ids]] = {}  # rows and ids of sealed segments, which stay what they are
        self._marks: dict[Path, Marks] = {}  # of streams

    def read(self, kind: Kind, since: int, *, bulky: bool) -> Page:
        """The rows from number ``since`` on. Everything that was appended before the call can be had."""
        self._recorder.flush()
        for _ in range(_TRIES):
            with contextlib.suppress(FileNotFoundError):  # sealed since it was listed
                return self._read(kind, since, bulky)
        return self._read(kind, since, bulky)

    def _read(self, kind: Kind, since: int, bulky: bool) -> Page:
        wanted = tuple(kind.columns) if bulky else tuple(kind.light)
        epoch, first, sources = self._sources(kind, wanted)
        begin = max(since, first)
        rows = _filled(_from(sources, begin - first), kind, wanted)
        return Page(epoch, begin + rows.num_rows, first + sum(source.rows for source in sources), rows)

    def runs(self, kind: Kind, wanted: Sequence[str]) -> list[Run]:
        """Every row there is, as runs of consecutive ones, in order; nothing is read until it is asked for."""
        for _ in range(_TRIES):
            with contextlib.suppress(FileNotFoundError):
                return self._runs(kind, wanted)
        return self._runs(kind, wanted)

    def _runs(self, kind: Kind, wanted: Sequence[str]) -> list[Run]:
        _, at, sources = self._sources(kind, wanted)
        found = []
        for source in sources:
            found.append(Run(at, at + source.rows, *source[1:]))
            at += source.rows
        return found

    def _sources(self, kind: Kind, wanted: Sequence[str]) -> tuple[str, int, list[_Source]]:
        """The epoch, the first row's number, and where the rows are."""
        table = self._recorder.tables[kind.name]
        with self._recorder.lock:
            listed = table.log.segments() if table.log else []
            waiting, dropped = table.memory.batches(), table.memory.dropped
        there = [one for one in listed if one.file.exists() or (one.stream.exists() and not one.sealed)]
        lost = f"{dropped}-{len(listed) - len(there)}"  # to a disk that refused; to somebody who removed files
        epoch, first = (f"{self._id}-{lost}", 0) if table.log else (self._id, dropped)
        sources = [self._segment(one, wanted) for one in there]
        waits = Here(waiting)
        sources.append(_source(waits))
        return epoch, first, sources

    def _segment(self, segment: Segment, wanted: Sequence[str]) -> _Source:
        if segment.sealed or not segment.stream.exists():  # or it is just being sealed
            segment = segment._replace(sealed=True)
            self._marks.pop(segment.stream, None)
            return self._sealed_source(segment, wanted)
        batches = self._marks.setdefault(segment.stream, Marks()).batches(segment.stream, segment.size)
        return _source(batches)

    def _sealed_source(self, segment: Segment, wanted: Sequence[str]) -> _Source:
        if segment.file not in self._known:
            light = _light(segment)
            self._known[segment.file] = light.num_rows, ids_of(light)
        rows, (least, most) = self._known[segment.file]

        def backwards() -> Iterator[tuple[int, Any]]:
            yield from reversed(list(numbered(_sealed(segment, wanted, 0))))

        return _Source(
            rows,
            lambda n: _sealed(segment, wanted, n),
            backwards,
            lambda exchange_id: backwards() if least <= exchange_id <= most else iter(()),
        )


def _source(batches: Batches) -> _Source:
    return _Source(batches.rows, batches.onwards, batches.backwards, batches.holding)


def _from(sources: Sequence[_Source], start: int) -> Iterator[Any]:
    for source in sources:
        if start < source.rows:
            yield from source.pieces(start)
        start = max(0, start - source.rows)


def numbered(pieces: Iterable[Any], at: int = 0) -> Iterator[tuple[int, Any]]:
    """Tables with the number of their first row, the first one's being ``at``."""
    for piece in pieces:
        yield at, piece
        at += piece.num_rows


def _light(segment: Segment) -> Any:
    return pa.ipc.open_file(pa.memory_map(str(segment.file))).read_all()


def _sealed(segment: Segment, wanted: Sequence[str], start: int) -> Iterator[Any]:
    """Its rows; of the bulk only the compressed batches that are asked for are unpacked, one a time."""
    light = _light(segment)
    try:
        if not set(wanted) & set(segment.kind.bulky):
            raise FileNotFoundError
        bulk = pa.ipc.open_file(pa.memory_map(str(segment.bulk)))
    except FileNotFoundError:  # or removed: a recording has a limit
        yield light.slice(start)
        return
    for begin in range(start - start % BULK_ROWS, light.num_rows, BULK_ROWS):
        piece, large = light.slice(begin, BULK_ROWS), bulk.get_batch(begin // BULK_ROWS)
        for name in large.schema.names:
            piece = piece.append_column(name, large.column(name))
        yield piece.slice(max(0, start - begin))


def _filled(pieces: Iterator[Any], kind: Kind, wanted: Sequence[str]) -> Any:
    """As many rows as a page takes, as one chunk."""
    columns = {name: kind.columns[name] for name in wanted}
    taken, room = [schema(columns).empty_table()], PAGE_BYTES
    for piece in pieces:
        whole = conform(piece, columns)
        fitting = whole if whole.nbytes <= room else whole.slice(0, _fitting(whole, room))
        if not fitting.num_rows and len(taken) == 1:
            fitting = whole.slice(0, 1)
        taken.append(fitting)
        room -= fitting.nbytes
        if room <= 0 or fitting.num_rows < whole.num_rows:
            break
    return pa.concat_tables(taken).combine_chunks()


def _fitting(table: Any, room: int) -> int:
    """How many of the first rows have at most ``room`` bytes."""
    sizes = np.full(table.num_rows, 8 * table.num_columns, dtype=np.int64)
    for column in table.columns:
        if pa.types.is_large_binary(column.type) or pa.types.is_large_string(column.type):
            sizes += np.asarray(pc.fill_null(pc.binary_length(column), 0), dtype=np.int64)
    return int(np.searchsorted(np.cumsum(sizes), room, side="right"))


# -- on the wire: an Arrow IPC stream whose schema carries the numbers


def encoded(page: Page) -> bytes:
    """A page as an Arrow IPC stream (``application/vnd.apache.arrow.stream``)."""
    numbers = json.dumps({"epoch": page.epoch, "next": page.next, "total": page.total})
    sink = pa.BufferOutputStream()
    table = page.table.replace_schema_metadata({_META: numbers})
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    data: bytes = sink.getvalue().to_pybytes()
    return data


def decoded(data: bytes) -> Page:
    """What :func:`encoded` made.

    :raises ValueError: it is nothing of that kind.
    """
    try:
        table = pa.ipc.open_stream(data).read_all()
        numbers = json.loads(table.schema.metadata[_META])
        return Page(numbers["epoch"], numbers["next"], numbers["total"], table)
    except (pa.ArrowException, KeyError, TypeError) as error:
        raise ValueError(f"not a page of a recording: {error}") from error
