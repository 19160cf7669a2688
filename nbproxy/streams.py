"""Arrow IPC streams as the disk likes them: messages of whole blocks, written past the page cache where that can be.

A recording is written once and read later, if at all. Through the page cache each of its pages must first be found,
which costs more than all the rest of recording where memory is virtual (7 µs a page under Firecracker, a third of a
page an exchange); a direct write costs the thread that waits for the disk, and nobody else.

Laws:

- A message begins and ends at a multiple of ``BLOCK`` in the file and in memory. The room for that is in its own
  metadata, whose length it says itself, so that any reader of the format can read it.
- A file takes all of a message or nothing: a part would hide everything after it from a reader.

https://arrow.apache.org/docs/format/Columnar.html#encapsulated-message-format
"""

from __future__ import annotations

import contextlib
import errno
import mmap
import os
import struct
import time
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from .batches import ANSWERS_BUFFER, Hollow
from .landing import BLOCK

_DIRECT = getattr(os, "O_DIRECT", 0)
_BINARY = getattr(os, "O_BINARY", 0)
_SLOW_S, _SLOW_BYTES_S = 0.02, 300e6  # a disk that takes longer is better behind the page cache

_SHORT, _SIZE, _LONG, _LONGS = map(struct.Struct, ("<H", "<i", "<q", "<qq"))
_HEAD = 8  # a continuation mark and the metadata's size
_ALIGNED = 8  # where a buffer may begin
_MOST_PIECES = 512  # of one write; the system's limit is 1,024 as a rule


def open_new(path: Path, flags: int) -> Any:
    """A binary file that only its owner may read."""
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | _BINARY | flags, 0o600), "wb")


class StreamFile:
    """A new append-only file of whole blocks.

    :raises OSError: it cannot be made, or is there already.
    """

    def __init__(self, path: Path) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | _BINARY
        try:
            self._fd, self.direct = os.open(path, flags | _DIRECT, 0o600), bool(_DIRECT)
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
            self._fd, self.direct = os.open(path, flags, 0o600), False
        self.size = 0

    @property
    def removed(self) -> bool:
        """Whether somebody removed it."""
        return os.fstat(self._fd).st_nlink == 0

    def append(self, pieces: Sequence[memoryview]) -> None:
        """Whole blocks, one after the other.

        :raises OSError: nothing of it is kept.
        """
        begun, size = time.monotonic(), sum(map(len, pieces))
        rest = list(pieces)
        try:
            while rest:
                _take_out(self._written(rest), rest)
        except BaseException:
            with contextlib.suppress(OSError):
                os.ftruncate(self._fd, self.size)
            raise
        self.size += size
        if self.direct and time.monotonic() - begun > _SLOW_S + size / _SLOW_BYTES_S:
            self._behind_cache()

    def _written(self, pieces: Sequence[memoryview]) -> int:
        if self.direct and len(pieces[0]) % BLOCK:
            self._behind_cache()  # the disk took a part
        try:
            return _write(self._fd, pieces)
        except OSError as error:
            if not self.direct or error.errno != errno.EINVAL:
                raise
            self._behind_cache()  # a file system that takes the flag and refuses the write
            return _write(self._fd, pieces)

    def _behind_cache(self) -> None:
        import fcntl

        fcntl.fcntl(self._fd, fcntl.F_SETFL, fcntl.fcntl(self._fd, fcntl.F_GETFL) & ~_DIRECT)
        self.direct = False

    def close(self) -> None:
        """Idempotent."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def _write(fd: int, pieces: Sequence[memoryview]) -> int:
    """At once where the system can: each write gives the interpreter to whoever waits for it."""
    return os.writev(fd, pieces[:_MOST_PIECES]) if hasattr(os, "writev") else os.write(fd, pieces[0])


def _take_out(size: int, pieces: list[memoryview]) -> None:
    """What has been written."""
    while pieces and size >= len(pieces[0]):
        size -= len(pieces.pop(0))
    if size:
        pieces[0] = pieces[0][size:]


class Message(NamedTuple):
    """One message of a stream: whole blocks, to be written one after the other; to be given back to its
    :class:`Bench`."""

    pieces: Sequence[memoryview]
    memory: mmap.mmap
    gathered: mmap.mmap | None = None


class Bench:
    """Memory in which messages are made one after the other: fresh pages cost more than the work. Any thread."""

    def __init__(self, most: int = 8) -> None:
        self._free: deque[mmap.mmap] = deque(maxlen=most)
        self._large: deque[mmap.mmap] = deque(maxlen=4)
        self._preludes: dict[int, int] = {}

    @contextlib.contextmanager
    def serialized(self, batch: Any) -> Iterator[Sequence[memoryview]]:
        """The batch as it stands in a stream, for as long as the context lasts."""
        message = self.serialize(batch)
        try:
            yield message.pieces
        finally:
            self.give(message)

    def serialize(self, batch: Any) -> Message:
        """The batch as it stands in a stream; to be given back."""
        prelude, size = self._prelude(batch.schema), pa.ipc.get_record_batch_size(batch)
        begin = _whole(prelude)  # what is before it in a stream of its own ends here
        pad = _whole(size) - size
        memory = _of_size(self._free, begin + pad + size)
        # Written with the body where it will be, then the head of the message is moved to where it begins.
        sink = pa.FixedSizeBufferWriter(pa.py_buffer(memoryview(memory)[begin + pad - prelude :]))
        pa.ipc.new_stream(sink, batch.schema).write_batch(batch)
        _stretch(memoryview(memory)[begin:], pad)
        return Message([memoryview(memory)[begin : begin + pad + size]], memory)

    def filled(self, hollow: Hollow, runs: Sequence[memoryview]) -> Message:
        """The same for a batch without its bodies, which stand behind the rest of it: ``runs`` of them. Those that lie
        side by side are written from where they are."""
        before = _address(runs[0]) % BLOCK  # bytes between, so that the file's blocks are memory's
        odd = before % _ALIGNED  # of those, what counts as data
        size = sum(map(len, runs))
        gathered = _of_size(self._large, size + 2 * BLOCK)
        bodies = _in_blocks(runs, gathered, before)
        message = self.serialize(hollow.batch)
        after = sum(map(len, bodies)) - before - size
        append_buffer(message.pieces[0], ANSWERS_BUFFER, hollow.offsets + odd, gap=before - odd, after=after)
        return message._replace(pieces=[*message.pieces, *bodies], gathered=gathered)

    def give(self, message: Message) -> None:
        """Take the memory back."""
        self._free.append(message.memory)
        if message.gathered is not None:
            self._large.append(message.gathered)

    def _prelude(self, of: Any) -> int:
        """How long the schema is that begins a stream."""
        if len(of) not in self._preludes:
            self._preludes[len(of)] = len(memoryview(of.serialize()))
        return self._preludes[len(of)]


def _of_size(free: deque[mmap.mmap], size: int) -> mmap.mmap:
    with contextlib.suppress(IndexError):
        memory = free.pop()
        if len(memory) >= size:
            return memory
    return mmap.mmap(-1, _whole(size + size // 4))


def runs(bodies: Sequence[bytes | memoryview]) -> list[memoryview]:
    """Those that lie side by side as one. (Bodies of two owners never do: a :class:`Landing` sees to it, and what
    allocates objects puts their heads between.)"""
    if not bodies:
        return []
    begins = np.array([_address(body) for body in bodies])
    ends = begins + np.array([len(body) for body in bodies])
    firsts = [0, *(np.nonzero(begins[1:] != ends[:-1])[0] + 1).tolist()]
    lasts = [*(first - 1 for first in firsts[1:]), len(bodies) - 1]
    return [
        _part(bodies[first], int(begins[first]), int(ends[last])) for first, last in zip(firsts, lasts, strict=True)
    ]


def _part(body: bytes | memoryview, begin: int, end: int) -> memoryview:
    """From where it begins on; the other end is perhaps another's."""
    owner = body.obj if isinstance(body, memoryview) else body
    base = _address(owner)
    return memoryview(owner)[begin - base : end - base]


def _in_blocks(runs: Sequence[memoryview], memory: mmap.mmap, before: int) -> list[memoryview]:
    """The same behind ``before`` bytes, in whole blocks. What fills none where it is gets copied to ``memory``."""
    room, pieces = memoryview(memory), []
    begin, end = 0, before  # of what was copied since the last piece
    room[:before] = bytes(before)
    for run in runs:
        fill, rest = -(end - begin) % BLOCK, run
        if len(run) >= fill + BLOCK and (_address(run) + fill) % BLOCK == 0:
            room[end : end + fill] = run[:fill]
            if end + fill > begin:
                pieces.append(room[begin : end + fill])
            begin = end = end + fill
            rest = run[fill + (len(run) - fill) // BLOCK * BLOCK :]
            pieces.append(run[fill : len(run) - len(rest)])
        room[end : end + len(rest)] = rest
        end += len(rest)
    if end > begin:
        fill = -(end - begin) % BLOCK
        room[end : end + fill] = bytes(fill)
        pieces.append(room[begin : end + fill])
    return pieces


def _address(memory: Any) -> int:
    return int(pa.py_buffer(memory).address)


def prelude(of: Any) -> Message:
    """The schema that begins a stream."""
    raw = memoryview(of.serialize())
    pad = _whole(len(raw)) - len(raw)
    memory = mmap.mmap(-1, len(raw) + pad)
    memory[pad:] = bytes(raw)
    _stretch(memoryview(memory), pad)
    return Message([memoryview(memory)], memory)


def _whole(size: int) -> int:
    return -(-size // BLOCK) * BLOCK


def _stretch(room: memoryview, pad: int) -> None:
    """Make the message that is ``pad`` bytes into ``room`` begin at its start, its metadata being so much longer."""
    if not pad:
        return
    (size,) = _SIZE.unpack_from(room, pad + 4)
    end = _HEAD + size
    room[:end] = bytes(room[pad : pad + end])
    room[end : end + pad] = bytes(pad)
    _SIZE.pack_into(room, 4, size + pad)


def append_buffer(message: memoryview, place: int, offsets: Any, *, gap: int, after: int) -> None:
    """Make the buffer of a record batch's column, empty so far, stand ``gap`` bytes behind all others, with ``after``
    bytes behind it; and the offsets into it, which are in the buffer before it, these.

    https://github.com/apache/arrow/blob/main/format/Message.fbs
    """
    table = _table(message, _HEAD)
    body = _field(message, table, 3)
    (size,) = _LONG.unpack_from(message, body)
    batch = _table(message, _field(message, table, 2))
    buffers = _table(message, _field(message, batch, 2))  # a vector: its length, then pairs of offset and length
    entry = buffers + _SIZE.size + place * _LONGS.size
    where, length = _LONGS.unpack_from(message, entry - _LONGS.size)
    where += _HEAD + _SIZE.unpack_from(message, 4)[0]
    message[where : where + length] = memoryview(offsets).cast("B")[:length]
    _LONGS.pack_into(message, entry, size + gap, offsets[-1])
    _LONG.pack_into(message, body, size + gap + int(offsets[-1]) + after)


def _table(message: memoryview, at: int) -> int:
    """Where what is pointed to begins."""
    return at + int(_SIZE.unpack_from(message, at)[0])


def _field(message: memoryview, table: int, number: int) -> int:
    """Where a table's field is."""
    listed = table - int(_SIZE.unpack_from(message, table)[0])
    return table + int(_SHORT.unpack_from(message, listed + 4 + 2 * number)[0])
