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
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa

from .batches import Hollow

BLOCK = 4096
_DIRECT = getattr(os, "O_DIRECT", 0)
_BINARY = getattr(os, "O_BINARY", 0)
_SLOW_S, _SLOW_BYTES_S = 0.02, 300e6  # a disk that takes longer is better behind the page cache

_SIZE = struct.Struct("<i")
_HEAD = 8  # a continuation mark and the metadata's size


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

    def append(self, data: memoryview) -> None:
        """:raises OSError: nothing of it is kept."""
        begun, rest = time.monotonic(), data
        try:
            while rest:
                rest = rest[self._written(rest) :]
        except BaseException:
            with contextlib.suppress(OSError):
                os.ftruncate(self._fd, self.size)
            raise
        self.size += len(data)
        if self.direct and time.monotonic() - begun > _SLOW_S + len(data) / _SLOW_BYTES_S:
            self._behind_cache()

    def _written(self, data: memoryview) -> int:
        if self.direct and len(data) % BLOCK:
            self._behind_cache()  # the disk took a part
        try:
            return os.write(self._fd, data)
        except OSError as error:
            if not self.direct or error.errno != errno.EINVAL:
                raise
            self._behind_cache()  # a file system that takes the flag and refuses the write
            return os.write(self._fd, data)

    def _behind_cache(self) -> None:
        import fcntl

        fcntl.fcntl(self._fd, fcntl.F_SETFL, fcntl.fcntl(self._fd, fcntl.F_GETFL) & ~_DIRECT)
        self.direct = False

    def close(self) -> None:
        """Idempotent."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


class Message(NamedTuple):
    """One message of a stream, in memory that is given back to its :class:`Bench`."""

    memory: mmap.mmap
    data: memoryview


class Bench:
    """Memory in which messages are made one after the other: fresh pages cost more than the work. Any thread."""

    def __init__(self, most: int = 8) -> None:
        self._free: deque[mmap.mmap] = deque(maxlen=most)
        self._preludes: dict[int, int] = {}

    @contextlib.contextmanager
    def serialized(self, batch: Any) -> Iterator[memoryview]:
        """The batch as it stands in a stream, for as long as the context lasts."""
        message = self.serialize(batch)
        try:
            yield message.data
        finally:
            self.give(message)

    def serialize(self, batch: Any) -> Message:
        """The batch as it stands in a stream; to be given back."""
        prelude, size = self._prelude(batch.schema), pa.ipc.get_record_batch_size(batch)
        begin = _whole(prelude)  # what is before it in a stream of its own ends here
        pad = _whole(size) - size
        memory = self._memory(begin + pad + size)
        # Written with the body where it will be, then the head of the message is moved to where it begins.
        sink = pa.FixedSizeBufferWriter(pa.py_buffer(memoryview(memory)[begin + pad - prelude :]))
        pa.ipc.new_stream(sink, batch.schema).write_batch(batch)
        _stretch(memoryview(memory)[begin:], pad)
        return Message(memory, memoryview(memory)[begin : begin + pad + size])

    def filled(self, hollow: Hollow) -> Message:
        """The same for a batch without its bodies, which are put in: that is the only time that they are copied."""
        message = self.serialize(hollow.batch)
        room, end = memoryview(message.memory), _place(message, hollow)
        for body in hollow.bodies:
            begin, end = end, end + len(body)
            room[begin:end] = body
        return message

    def give(self, message: Message) -> None:
        """Take the memory back."""
        self._free.append(message.memory)

    def _memory(self, size: int) -> mmap.mmap:
        with contextlib.suppress(IndexError):
            memory = self._free.pop()
            if len(memory) >= size:
                return memory
        return mmap.mmap(-1, _whole(size + size // 4))

    def _prelude(self, of: Any) -> int:
        """How long the schema is that begins a stream."""
        if len(of) not in self._preludes:
            self._preludes[len(of)] = len(memoryview(of.serialize()))
        return self._preludes[len(of)]


def prelude(of: Any) -> Message:
    """The schema that begins a stream."""
    raw = memoryview(of.serialize())
    pad = _whole(len(raw)) - len(raw)
    memory = mmap.mmap(-1, len(raw) + pad)
    memory[pad:] = bytes(raw)
    _stretch(memoryview(memory), pad)
    return Message(memory, memoryview(memory))


def _place(message: Message, hollow: Hollow) -> int:
    """Where in the message's memory the bodies begin, as Arrow reads it."""
    written = hollow._replace(batch=pa.ipc.read_record_batch(pa.py_buffer(message.data), hollow.batch.schema))
    return int(written.room.buffers()[2].address - pa.py_buffer(message.memory).address)


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
