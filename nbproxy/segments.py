"""A recording on disk: append-only Arrow files in one directory, which several processes may share.

Laws:

- A row is first in an open, uncompressed IPC *stream*: ``rows-<session>-000001.arrows`` (bodies inside) and
  ``hits-<session>-000001.arrows`` (texts inside). Each batch is one ``write``; a stream that was cut reads back up
  to its last whole batch.
- A full stream is **sealed** into two IPC *files*: ``rows-….arrow`` (uncompressed, mapped on reading) and
  ``bodies-….arrow`` (the four bodies, zstd); ``hits-….arrow`` and ``texts-….arrow``. Row i of one is row i of the
  other. Each is written whole under a name that no reader looks at and then renamed, the bulk first; the stream
  goes last. So the light file is the commit: where it exists the stream of the same number is not read, where it
  does not the bulk file is not. A crash between any two steps neither doubles nor loses a row.
- The bulk file may be gone (a recording has a limit): its columns are then null. Nothing else is ever removed.
- Events (``events-….arrows``) have nothing bulky, and a file only where there are any.
- Files are 0600: they hold people's traffic.
"""

from __future__ import annotations

import contextlib
import os
import re
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa

from .errors import ConfigError
from .frames import EVENT_COLUMNS, FRAME_COLUMNS, HITS_COLUMNS, Column, conform, from_batches, place_of, schema
from .memory import MemoryLog
from .slices import ENVELOPE, Slice, blocks_of, opened
from .streams import Bench, Message, StreamFile, open_new, prelude

ROLL_BYTES = 64 * 2**20
ROLL_BATCHES = 4096  # a quiet session writes a batch per exchange, 6 KB each at least
BULK_ROWS = 256  # in one compressed batch, so that one body can be read without the rest

_NAME = re.compile(r"(rows|bodies|hits|texts|events)-([A-Za-z0-9_.-]+)-(\d{6,})\.(arrows|arrow)")
_ALONE: AbstractContextManager[Any] = contextlib.nullcontext()
_BROKEN = (OSError, pa.ArrowInvalid)  # what a cut stream raises


class Kind(NamedTuple):
    """One of the tables of a recording.

    :ivar name: of its files.
    :ivar bulk: of the files of its large columns.
    :ivar bulky: those columns.
    :ivar enveloped: whether the batches of its stream stand in envelopes (:mod:`slices`).
    """

    name: str
    bulk: str
    columns: Mapping[str, Column]
    bulky: tuple[str, ...]
    enveloped: bool = False

    @property
    def light(self) -> list[str]:
        return [name for name in self.columns if name not in self.bulky]

    @property
    def schema(self) -> Any:
        """Of its streams."""
        return ENVELOPE if self.enveloped else schema(self.columns)


ROWS = Kind(
    "rows",
    "bodies",
    FRAME_COLUMNS,
    ("request_body", "response_body", "upstream_request_body", "upstream_response_body"),
    enveloped=True,
)
HITS = Kind("hits", "texts", HITS_COLUMNS, ("text",))
EVENTS = Kind("events", "", EVENT_COLUMNS, ())  # of interleavings, which most recordings have none of


class Segment(NamedTuple):
    """The files of one number. ``size``: how much of the stream counts; None: all of it."""

    kind: Kind
    directory: Path
    session: str
    number: int
    sealed: bool
    size: int | None = None

    def path(self, name: str, suffix: str) -> Path:
        return self.directory / f"{name}-{self.session}-{self.number:06d}.{suffix}"

    @property
    def stream(self) -> Path:
        return self.path(self.kind.name, "arrows")

    @property
    def file(self) -> Path:
        return self.path(self.kind.name, "arrow")

    @property
    def bulk(self) -> Path:
        return self.path(self.kind.bulk, "arrow")


def files(directory: Path) -> Iterator[tuple[Path, str, str, int, bool]]:
    """The recording's files in a directory: (path, name, session, number, whether it is a stream)."""
    for path in directory.iterdir():
        if match := _NAME.fullmatch(path.name):
            yield path, match[1], match[2], int(match[3]), match[4] == "arrows"


def segments(directory: Path, kind: Kind) -> dict[str, list[Segment]]:
    """Session id → its segments of this kind, in order."""
    found: dict[tuple[str, int], bool] = {}
    for _, name, session, number, stream in files(directory):
        if name == kind.name:
            found[session, number] = found.get((session, number), False) or not stream
    out: dict[str, list[Segment]] = {}
    for (session, number), sealed in sorted(found.items()):
        out.setdefault(session, []).append(Segment(kind, directory, session, number, sealed))
    return out


def read(segment: Segment, *, bulky: bool = True) -> Any:
    """A segment as an Arrow table of its kind's columns; the bulky ones null if they are not asked for or gone.

    :raises FileNotFoundError: it was removed since it was listed.
    :raises ConfigError: it is damaged.
    """
    if not segment.sealed:
        with contextlib.suppress(FileNotFoundError):  # sealed since it was listed, by another process: see the laws
            return _read_stream(segment, bulky)
    table = _read_file(segment.file)
    if bulky and segment.kind.bulky:
        with contextlib.suppress(FileNotFoundError):
            bulk = _read_file(segment.bulk)
            for name in bulk.column_names:
                table = table.append_column(name, bulk.column(name))
    return conform(table, segment.kind.columns)


def _read_file(path: Path) -> Any:
    """
    :raises FileNotFoundError: it is not there.
    :raises ConfigError: it is no Arrow file: such a file is written whole, so it was damaged since.
    """
    try:
        return pa.ipc.open_file(pa.memory_map(str(path))).read_all()
    except FileNotFoundError:
        raise
    except (pa.ArrowException, OSError) as error:
        raise ConfigError(f"{path} is damaged ({error}); move it away to read the rest of the recording") from error


def read_row(segment: Segment, exchange_id: str, part: int | None) -> dict[str, Any] | None:
    """One row, bodies included, as Python values; None if it is not in this segment."""
    table = read(segment, bulky=False)
    place = place_of(table, exchange_id, part)
    if place < 0:
        return None
    row: dict[str, Any] = table.slice(place, 1).to_pylist()[0]
    return row | _bulk_of(segment, place)


def read_all(listed: Iterable[Segment], kind: Kind, *, bulky: bool = True) -> Any:
    """Segments one after the other; what was removed since it was listed is left out."""
    tables = [schema(kind.columns).empty_table()]
    for segment in listed:
        with contextlib.suppress(FileNotFoundError):
            tables.append(read(segment, bulky=bulky))
    return pa.concat_tables(tables)


def _bulk_of(segment: Segment, place: int) -> dict[str, Any]:
    """The bulky columns of one row; of a sealed segment only the batch that holds them is unpacked."""
    if not segment.sealed:
        table = read(segment).select(segment.kind.bulky).slice(place, 1)
        return dict(table.to_pylist()[0])
    try:
        reader = pa.ipc.open_file(pa.memory_map(str(segment.bulk)))
    except FileNotFoundError:
        return {}
    return dict(reader.get_batch(place // BULK_ROWS).slice(place % BULK_ROWS, 1).to_pylist()[0])


def _read_stream(segment: Segment, bulky: bool) -> Any:
    """The whole batches of a stream, as one chunk in memory of our own: the file may go at any time."""
    kind = segment.kind
    table = from_batches(stream_batches(segment, bulky=bulky), kind.columns)
    wanted = table.column_names if bulky else [name for name in table.column_names if name not in kind.bulky]
    return conform(table.select(wanted).combine_chunks(), kind.columns)


def stream_batches(segment: Segment, *, bulky: bool = True) -> list[Any]:
    """The whole batches of an open stream. They are read, not mapped: who waits for the disk at a page of a mapped file
    keeps the interpreter meanwhile.

    :param bulky: False where the bulky columns are not wanted: then they may be null.
    :raises FileNotFoundError: it was sealed or removed since it was listed.
    """
    path = segment.stream
    size = path.stat().st_size if segment.size is None else segment.size
    if not size:
        return []
    buffer = pa.OSFile(str(path)).read_buffer(size)
    batches = []
    with contextlib.suppress(StopIteration, *_BROKEN):
        reader = pa.ipc.open_stream(buffer)
        while True:
            batches.append(opened(reader.read_next_batch(), bodies=bulky))
    return batches


def seal(segment: Segment) -> Segment:
    """Turn a stream into its two files, in the order that the laws above ask for.

    :raises OSError: nothing was sealed, the stream is as it was.
    """
    kind = segment.kind
    table = conform(from_batches(stream_batches(segment), kind.columns), kind.columns)
    if table.num_rows and kind.bulky:
        _write_file(segment.bulk, table.select(kind.bulky), compression=_codec())
    _write_file(segment.file, table.select(kind.light), compression=None)
    with contextlib.suppress(OSError):  # Windows: somebody has it open; no reader looks at it any more
        segment.stream.unlink()
    return segment._replace(sealed=True, size=None)


def _codec() -> str | None:
    return "zstd" if pa.Codec.is_available("zstd") else None


def _write_file(path: Path, table: Any, compression: str | None) -> None:
    """The bulk in small compressed batches, the rest in one."""
    new = path.with_suffix(".tmp")
    rows = BULK_ROWS if compression else max(1, table.num_rows)
    try:
        with open_new(new, os.O_TRUNC) as file:  # buffered: a raw file may write less than it is given
            options = pa.ipc.IpcWriteOptions(compression=compression)
            with pa.ipc.new_file(file, table.schema, options=options) as writer:
                for start in range(0, table.num_rows, rows):
                    writer.write_table(table.slice(start, rows).combine_chunks())
            file.flush()
            os.fsync(file.fileno())  # the stream is removed after this
        new.replace(path)
    except BaseException:
        new.unlink(missing_ok=True)
        raise


def shrink(directory: Path, limit: int) -> list[Path]:
    """Remove bodies, then texts, the oldest file first and whatever session's it is, until ``limit`` bytes are left.

    :returns: what was removed. Rows and open streams stay, so that more than ``limit`` may be left.
    """
    sizes = {path: (name, stat) for path, name, *_ in files(directory) if (stat := _stat(path))}
    total = sum(stat.st_size for _, stat in sizes.values())
    removed: list[Path] = []
    for bulk in (ROWS.bulk, HITS.bulk):
        old = sorted((stat.st_mtime_ns, path) for path, (name, stat) in sizes.items() if name == bulk)
        for _, path in old:
            if total <= limit:
                return removed
            total -= sizes[path][1].st_size
            path.unlink(missing_ok=True)
            removed.append(path)
    return removed


def size_of(directory: Path, session: str) -> int:
    """Bytes of the files of one session."""
    mine = (path for path, _, owner, *_ in files(directory) if owner == session)
    return sum(stat.st_size for path in mine if (stat := _stat(path)))


def _stat(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except FileNotFoundError:  # another process of the same directory
        return None


class Log:
    """Writes one kind of row for one session. Not thread-safe; reading what :meth:`segments` lists needs no lock.

    :param roll_bytes: a stream of this size is due to be sealed (:attr:`full`).
    :raises OSError: the directory cannot be written to.
    """

    def __init__(self, directory: Path, kind: Kind, session: str, *, roll_bytes: int = ROLL_BYTES) -> None:
        self.kind, self._directory, self._session, self._roll = kind, directory, session, roll_bytes
        self._done = segments(directory, kind).get(session, [])
        self._open: Segment | None = None
        self._rolled: list[Segment] = []
        self._bench = Bench()
        self._file: StreamFile | None = None
        self._batches = 0
        self._seal_at = roll_bytes
        self._start()

    @property
    def full(self) -> bool:
        """Whether the open stream is due to be sealed."""
        return self._open is not None and ((self._open.size or 0) >= self._seal_at or self._batches >= ROLL_BATCHES)

    @property
    def open_bytes(self) -> int:
        """Size of the open stream."""
        return (self._open.size or 0) if self._open else 0

    def segments(self) -> list[Segment]:
        """Everything written so far, in order."""
        return [*self._done, *([self._open] if self._open else [])]

    @property
    def rolled(self) -> int:
        """How many full streams wait to be sealed."""
        return len(self._rolled)

    def append(self, batch: Any) -> None:
        """Hand a batch, or a slice, to the operating system.

        :raises OSError: nothing of it is kept.
        """
        if self._file is None or self._file.removed:
            self._start()
        message = self.message(batch)
        try:
            self._write(message.pieces)
        finally:
            self._bench.give(message)
        self._batches += 1

    def message(self, batch: Any) -> Message:
        """A batch, or a slice, as it is written. From any thread."""
        if isinstance(batch, Slice):
            made, batch.message = batch.message, None
            return made or self._bench.enclose(*batch.blocks())
        return self._bench.enclose(*blocks_of(batch)) if self.kind.enveloped else self._bench.serialize(batch)

    def seal(self, changing: AbstractContextManager[Any] = _ALONE) -> None:
        """Seal the open stream, if there is one; the next append begins another.

        :param changing: entered while what :meth:`segments` lists changes, not for the long work before that.
        :raises OSError: the stream goes on, and is :attr:`full` again when it has grown by as much once more.
        """
        if self._open is None:
            return
        try:
            sealed = seal(self._open)
        except OSError:
            self._seal_at, self._batches = self.open_bytes + self._roll, 0
            raise
        with changing:
            self.close()
            self._done.append(sealed)
            self._open = None

    def roll(self) -> None:
        """Begin another stream with the next append; this one is sealed by :meth:`seal_rolled`, when there is time."""
        assert self._open is not None
        self.close()
        self._done.append(self._open)
        self._rolled.append(self._open)
        self._open = None

    def seal_rolled(self, changing: AbstractContextManager[Any] = _ALONE) -> None:
        """Seal the oldest stream that waits to be (``changing``: see :meth:`seal`).

        :raises OSError: it stays a stream.
        """
        stream = self._rolled.pop(0)
        sealed = seal(stream)
        with changing:
            self._done[self._done.index(stream)] = sealed

    def close(self) -> None:
        """Let go of the file; a forked child does only this."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _start(self) -> None:
        self.close()
        number = 1 + max((one.number for one in self.segments()), default=0)
        self._done, self._open = self.segments(), None
        fresh = Segment(self.kind, self._directory, self._session, number, sealed=False, size=0)
        self._file = StreamFile(fresh.stream)
        self._open, self._batches, self._seal_at = fresh, 0, self._roll
        try:
            self._write(prelude(self.kind.schema).pieces)
        except OSError:
            self.close()
            self._open = None
            fresh.stream.unlink(missing_ok=True)
            raise

    def _write(self, pieces: Sequence[memoryview]) -> None:
        assert self._open is not None
        assert self._file is not None
        self._file.append(pieces)
        self._open = self._open._replace(size=self._file.size)


class Table:
    """One kind of row of one session: its log on disk, if there is one, and what is only in memory.

    :param limit: bytes in memory.
    :param begin: makes the log with the first row, where there is none yet.
    :ivar failing: what the disk refused the last time: True: to be sealed, False: all else.
    """

    def __init__(self, kind: Kind, log: Log | None, limit: int, begin: Callable[[], Log] | None = None) -> None:
        self.kind, self.log, self.memory = kind, log, MemoryLog(kind.bulky, limit)
        self.failing: set[bool] = set()
        self._begin = begin

    def write(self, batch: Any) -> None:
        """:raises OSError: the batch waits in memory."""
        if self.log is None and self._begin is None:
            return self.memory.append(batch)
        try:
            self.log = self.log or (self._begin and self._begin())
            assert self.log is not None
            self.retry()
            return self.log.append(batch)
        except OSError:
            self.memory.append(batch)
            raise

    def retry(self) -> None:
        """Write what waits, oldest first."""
        while self.log is not None and self.memory:
            self.log.append(self.memory.batches()[0])
            self.memory.popleft()

    def read(self, lock: threading.Lock, bulky: bool) -> Any:
        """The whole table. Only streams are read under the lock: they may be sealed at any time."""
        with lock:
            listed = self.log.segments() if self.log else []
            cut = next((place for place, one in enumerate(listed) if not one.sealed), len(listed))
            live = read_all(listed[cut:], self.kind, bulky=bulky)
            waiting = from_batches(self.memory.batches(), self.kind.columns)
        if not bulky:
            waiting = conform(waiting.select(self.kind.light), self.kind.columns)
        return pa.concat_tables([read_all(listed[:cut], self.kind, bulky=bulky), live, waiting.combine_chunks()])

    def close(self) -> None:
        if self.log is not None:
            self.log.close()
