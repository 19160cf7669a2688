"""Messages of whole blocks: what any reader of Arrow reads, and what a file takes whole or not at all."""

from __future__ import annotations

import errno
import mmap
import os
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbproxy import streams
from nbproxy.landing import BLOCK, Landing
from nbproxy.streams import Bench, StreamFile, prelude

SCHEMA = pa.schema([("n", pa.int64()), ("text", pa.large_string()), ("body", pa.large_binary())])


def batch(texts: list[str]) -> Any:
    columns = [list(range(len(texts))), texts, [text.encode("utf-8", "replace") * 50 for text in texts]]
    return pa.record_batch([pa.array(c, f.type) for c, f in zip(columns, SCHEMA, strict=True)], schema=SCHEMA)


@given(st.lists(st.lists(st.text(st.characters(exclude_categories=["Cs"])), max_size=20), max_size=4))
def test_any_reader_reads_them(rows: list[list[str]]) -> None:
    bench, stream = Bench(), b"".join(prelude(SCHEMA).pieces)
    for texts in rows:
        message = bench.serialize(batch(texts))
        assert not any(len(piece) % BLOCK for piece in message.pieces)
        stream += b"".join(message.pieces)
        bench.give(message)
    assert pa.ipc.open_stream(stream).read_all().equals(pa.Table.from_batches([batch(r) for r in rows], SCHEMA))


def test_memory_is_used_again() -> None:
    bench = Bench()
    first = bench.serialize(batch(["a"]))
    second = bench.serialize(batch(["b"]))
    assert first.memory is not second.memory
    bench.give(first)
    assert bench.serialize(batch(["c"])).memory is first.memory


def blocks(n: int, value: bytes = b"x") -> memoryview:
    memory = mmap.mmap(-1, n * BLOCK)  # it begins at a page, as a direct write needs
    memory[:] = value * (n * BLOCK)
    return memoryview(memory)


def test_a_file_is_new_and_its_owners_only(tmp_path: Path) -> None:
    file = StreamFile(tmp_path / "a")
    file.append([blocks(2)])
    file.append([blocks(1, b"y")])
    assert (tmp_path / "a").read_bytes() == b"x" * 2 * BLOCK + b"y" * BLOCK
    assert file.size == 3 * BLOCK
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o600
    with pytest.raises(FileExistsError):
        StreamFile(tmp_path / "a")
    assert not file.removed
    (tmp_path / "a").unlink()
    assert file.removed
    file.close()
    file.close()


@pytest.mark.skipif(not hasattr(os, "O_DIRECT"), reason="a system without direct writes")
@pytest.mark.parametrize("refused", ["open", "write"])
def test_file_systems_without_direct_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refused: str) -> None:
    owner: Any = streams.os if refused == "open" else streams
    really, asked = getattr(owner, {"open": "open", "write": "_write"}[refused]), []

    def refuse(*args: Any) -> Any:
        asked.append(args)
        if len(asked) == 1:
            raise OSError(errno.EINVAL, "Invalid argument")
        return really(*args)

    if refused == "open":
        monkeypatch.setattr(streams.os, "open", refuse)
    file = StreamFile(tmp_path / "a")
    if refused == "write":
        monkeypatch.setattr(streams, "_write", refuse)
    file.append([blocks(1)])
    assert not file.direct
    assert len(asked) == 2
    assert (tmp_path / "a").stat().st_size == BLOCK
    file.close()


def test_a_slow_disk_is_written_to_behind_the_page_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = StreamFile(tmp_path / "a")
    monkeypatch.setattr(streams, "_SLOW_S", -1e9)
    file.append([blocks(1)])
    assert not file.direct
    file.append([blocks(1)])
    assert (tmp_path / "a").stat().st_size == 2 * BLOCK
    file.close()


def test_a_part_is_taken_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = StreamFile(tmp_path / "a")
    file.append([blocks(1)])
    really = streams._write

    def half(fd: int, pieces: list[memoryview]) -> int:
        if len(pieces[0]) == BLOCK:
            raise OSError(errno.ENOSPC, "No space left on device")
        return really(fd, [pieces[0][:BLOCK]])

    monkeypatch.setattr(streams, "_write", half)
    with pytest.raises(OSError, match="No space"):
        file.append([blocks(2)])
    assert (tmp_path / "a").stat().st_size == file.size == BLOCK
    file.close()


@given(
    st.lists(st.binary(max_size=5000), max_size=5),
    st.lists(st.tuples(st.sampled_from(["lent", "bytes", "gap"]), st.integers(1, 20_000)), max_size=30),
)
def test_a_row_of_blocks_is_what_it_was(blocks: list[bytes], bodies: list[tuple[str, int]]) -> None:
    """Wherever the pieces of the last one lie: side by side, apart, or anywhere."""
    place, pieces = Landing(), []
    for number, (how, size) in enumerate(bodies):
        body = (b"%d," % number * size)[:size]
        place.room[: size + 200] = b"h" * 200 + body
        if how != "gap":
            pieces.append(memoryview(body) if how == "bytes" else place.lend(200, size))
        else:
            place.lend(200, size)
    schema = pa.schema([(str(n), pa.large_binary()) for n in range(len(blocks) + 1)])
    bench = Bench()
    stream = b"".join(prelude(schema).pieces)
    for _ in range(2):  # also in memory that was used
        message = bench.enclose(blocks, pieces)
        assert not any(len(piece) % BLOCK for piece in message.pieces)
        stream += b"".join(message.pieces)
        bench.give(message)
    read = pa.ipc.open_stream(stream).read_all()
    read.validate(full=True)
    assert [tuple(row.values()) for row in read.to_pylist()] == [(*blocks, b"".join(pieces))] * 2
