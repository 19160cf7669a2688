"""Where the batches of a stream begin: found once, read one by one."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from nbproxy import marks
from nbproxy.batches import frame_batch
from nbproxy.frames import from_batches
from nbproxy.marks import Here, Marks
from nbproxy.recording import load
from nbproxy.segments import ROWS, Log, stream_batches
from nbproxy.streams import Bench, prelude

from .recordings import exchange


def grown(log: Log, numbers: range) -> None:
    log.append(frame_batch([exchange(n, response_body=b"x" * n) for n in numbers]))


@pytest.fixture
def log(tmp_path: Path) -> Log:
    return Log(tmp_path, ROWS, "s")


def ids(tables: object) -> list[int]:
    return [int(one) for table in tables for one in table["exchange_id"].to_pylist()]  # type: ignore[attr-defined]


def test_batches_are_found_as_the_stream_grows(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    known, read = Marks(), list[int]()
    real = marks._read
    monkeypatch.setattr(
        marks, "_read", lambda buffer, place, *rest, **how: read.append(place) or real(buffer, place, *rest, **how)
    )
    assert known.batches(log.segments()[0].stream).rows == 0
    for count in range(1, 5):
        grown(log, range(count * 10, count * 10 + count))
        read.clear()
        found = known.batches(log.segments()[0].stream, log.open_bytes)
        assert len(read) == 1
        assert pa.Table.from_batches(stream_batches(log.segments()[0])) == pa.concat_tables(list(found.onwards(0)))
    assert ids(found.onwards(4)) == [31, 32, 40, 41, 42, 43]
    assert [start for start, _ in found.backwards()] == [6, 3, 1, 0]
    read.clear()
    assert ids([next(found.backwards())[1]]) == [40, 41, 42, 43]
    assert len(read) == 1
    assert list(found.onwards(found.rows)) == []


def test_less_than_is_known_and_what_was_cut(log: Log, tmp_path: Path) -> None:
    known, sizes = Marks(), []
    for count in range(1, 4):
        grown(log, range(count))
        sizes.append(log.open_bytes)
    path = log.segments()[0].stream
    assert known.batches(path).rows == 6
    assert ids(known.batches(path, sizes[1]).onwards(0)) == [0, 0, 1]
    cut = tmp_path / "cut"
    cut.write_bytes(path.read_bytes()[: sizes[2] - 5])
    assert Marks().batches(cut).rows == 3
    cut.write_bytes(b"no stream at all")
    assert Marks().batches(cut).rows == 0
    cut.write_bytes(b"")
    assert Marks().batches(cut).rows == 0
    with pytest.raises(FileNotFoundError):
        known.batches(tmp_path / "gone")


def test_a_stream_that_pyarrow_wrote(tmp_path: Path) -> None:
    batches = [frame_batch([exchange(n)]) for n in range(3)]
    with pa.ipc.new_stream(tmp_path / "stream", batches[0].schema) as writer:
        for batch in batches:
            writer.write_batch(batch)
    found = Marks().batches(tmp_path / "stream")
    assert pa.concat_tables(list(found.onwards(0))) == from_batches(batches, ROWS.columns)


def test_batches_in_memory() -> None:
    found = Here([frame_batch([exchange(n), exchange(n + 1)]) for n in (0, 2)])
    assert found.rows == 4
    assert ids(found.onwards(1)) == [1, 2, 3]
    assert [start for start, _ in found.backwards()] == [2, 0]


def test_streams_without_envelopes_are_read_too(tmp_path: Path) -> None:
    """As they were written before: their batches have the frame's columns."""
    batch, bench = frame_batch([exchange(n, response_body=b"x" * n) for n in range(3)]), Bench()
    path = tmp_path / "rows-s-000001.arrows"
    path.write_bytes(b"".join([*prelude(batch.schema).pieces, *bench.serialize(batch).pieces]))
    assert next(Marks().batches(path).onwards(0)).equals(pa.Table.from_batches([batch]))
    assert load(tmp_path).frame["exchange_id"].tolist() == batch.column("exchange_id").to_pylist()
