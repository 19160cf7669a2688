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
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa

from .landing import BLOCK

_DIRECT = getattr(os, "O_DIRECT", 0)
_BINARY = getattr(os, "O_BINARY", 0)
_SLOW_S, _SLOW_BYTES_S = 0.02, 300e6  # a disk that takes longer is better behind the page cache

_SHORT, _SIZE, _SIZES, _LONG, _LONGS = map(struct.Struct, ("<H", "<i", "<ii", "<q", "<qq"))
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

    def enclose(self, blocks: Sequence[Any], last: Sequence[memoryview] = ()) -> Message:
        """A batch of one row, of ``large_binary`` columns, as it stands in a stream; to be given back.

        :param blocks: the values of all columns but the last: bytes.
        :param last: the value of the last one in pieces. Those that fill blocks are written from where they are.
        """
        size = sum(map(len, last))
        before = _address(last[0]) % BLOCK if last else 0  # bytes between, so that the file's blocks are memory's
        odd = before % _ALIGNED  # of those, what counts as data
        template = _template(len(blocks) + 1)
        entries: list[int] = []
        places, at = [], 0
        for block in blocks:
            entries += (at, 0, at, _LONGS.size, at + _LONGS.size, len(block))
            places.append(at)
            at += _LONGS.size + -(-len(block) // _ALIGNED) * _ALIGNED
        entries += (at, 0, at, _LONGS.size, at + _LONGS.size + before - odd, odd + size)
        end = _HEAD + len(template.metadata)
        whole = _whole(end + at + _LONGS.size)
        body = whole - at - _LONGS.size
        memory = _of_size(self._free, whole)
        room = memoryview(memory)
        room[_HEAD:end] = template.metadata
        room[end:body] = bytes(body - end)
        for place, block in zip(places, blocks, strict=True):
            begin = body + place
            _LONGS.pack_into(room, begin, 0, len(block))
            begin += _LONGS.size
            room[begin : begin + len(block)] = block
        _LONGS.pack_into(room, body + at, odd, odd + size)
        gathered = _of_size(self._large, size + 2 * BLOCK) if last else None
        pieces = [] if gathered is None else _in_blocks(last, gathered, before)
        template.fill(room, body - _HEAD, whole - body + sum(map(len, pieces)), entries)
        return Message([room[:whole], *pieces], memory, gathered)

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


class _Template(NamedTuple):
    """The metadata of a batch of one row of so many ``large_binary`` columns, and where its numbers stand in a message.

    https://github.com/apache/arrow/blob/main/format/Message.fbs
    """

    metadata: bytes
    body: int
    buffers: struct.Struct
    buffers_at: int

    def fill(self, message: memoryview, size: int, body: int, buffers: Sequence[int]) -> None:
        """Of how many bytes the metadata is, and the body; where the buffers are in it, and of how many bytes."""
        _SIZES.pack_into(message, 0, -1, size)
        _LONG.pack_into(message, self.body, body)
        self.buffers.pack_into(message, self.buffers_at, *buffers)


@cache
def _template(columns: int) -> _Template:
    names = [str(number) for number in range(columns)]
    message = memoryview(pa.record_batch([pa.array([b""], pa.large_binary())] * columns, names).serialize())
    table = _table(message, _HEAD)
    batch = _table(message, _field(message, table, 2))
    buffers = _table(message, _field(message, batch, 2))  # a vector: its length, then pairs of offset and length
    end = _HEAD + int(_SIZE.unpack_from(message, 4)[0])
    return _Template(
        bytes(message[_HEAD:end]), _field(message, table, 3), struct.Struct(f"<{6 * columns}q"), buffers + _SIZE.size
    )


def _table(message: memoryview, at: int) -> int:
    """Where what is pointed to begins."""
    return at + int(_SIZE.unpack_from(message, at)[0])


def _field(message: memoryview, table: int, number: int) -> int:
    """Where a table's field is."""
    listed = table - int(_SIZE.unpack_from(message, table)[0])
    return table + int(_SHORT.unpack_from(message, listed + 4 + 2 * number)[0])
