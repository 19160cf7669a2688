"""A recorder's tables by the page: every row once and in order, however they are stored meanwhile."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from nbproxy import listing, pages, recorder, segments
from nbproxy.frames import FRAME_COLUMNS, conform
from nbproxy.pages import Pages, decoded, encoded
from nbproxy.recorder import Recorder
from nbproxy.segments import HITS, ROWS

from .recordings import exchange, ranking
from .upstreams import TIMEOUT


@pytest.fixture(params=["disk", "memory"])
def recording(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Recorder]:
    directory = tmp_path if request.param == "disk" else None
    made = Recorder(directory, session_id="s", roll_bytes=20_000)
    yield made
    made.close()


def record(recording: Recorder, numbers: range, size: int = 100, flush: int = 1) -> None:
    for number in numbers:
        recording.append(exchange(number, response_body=b"%d " % number * size, rankings=(ranking(0.5, None),)))
        if number % flush == 0:
            recording.flush()


def read(pages: Pages, kind: Any = ROWS, since: int = 0, *, bulky: bool = True) -> tuple[Any, list[int]]:
    """All rows from ``since`` on, and how many each page had."""
    tables, counts = [], []
    while True:
        page = decoded(encoded(pages.read(kind, since, bulky=bulky)))
        assert page.next == since + page.table.num_rows
        tables.append(conform(page.table, kind.columns))
        counts.append(page.table.num_rows)
        since = page.next
        if since >= page.total:
            return pa.concat_tables(tables), counts


def ids(table: Any) -> list[int]:
    return [int(one) for one in table.column("exchange_id").to_pylist()]


@pytest.mark.parametrize("limit", [1, 3_000, 8 * 2**20])
@pytest.mark.parametrize("flush", [1, 7, 1000])
def test_every_row_comes_once_and_in_order(
    recording: Recorder, monkeypatch: pytest.MonkeyPatch, limit: int, flush: int
) -> None:
    monkeypatch.setattr(pages, "PAGE_BYTES", limit)
    record(recording, range(150), flush=flush)
    all_pages = Pages(recording)
    table, counts = read(all_pages)
    assert ids(table) == list(range(150))
    assert table.column("response_body").to_pylist() == [b"%d " % n * 100 for n in range(150)]
    assert all(counts)
    assert (limit == 1) == (set(counts) == {1})
    light, _ = read(all_pages, bulky=False)
    assert light.column("response_body").null_count == 150
    assert light.drop_columns(list(ROWS.bulky)).equals(table.drop_columns(list(ROWS.bulky)))
    hits, _ = read(all_pages, HITS, 13)
    assert hits.num_rows == 300 - 13
    assert hits.column("doc_id").to_pylist()[:3] == ["d1", "d0", "d1"]


def test_what_came_since_is_all_that_is_read(recording: Recorder) -> None:
    all_pages = Pages(recording)
    seen = 0
    epochs = set()
    for number in range(200):
        record(recording, range(number, number + 1), size=300)
        page = all_pages.read(ROWS, seen, bulky=True)
        assert ids(page.table) == [number]
        seen = page.next
        epochs.add(page.epoch)
    assert len(epochs) == 1
    assert all_pages.read(ROWS, seen, bulky=True).table.num_rows == 0
    assert all_pages.read(ROWS, 1 << 62, bulky=True).total == 200


def test_numbers_stay_where_memory_drops_the_oldest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorder, "MEMORY_BYTES", 50_000)
    recording = Recorder(None, session_id="s")
    all_pages = Pages(recording)
    record(recording, range(500), size=1)
    page = all_pages.read(ROWS, 0, bulky=True)
    first = 500 - page.table.num_rows
    assert first > 0
    assert (page.next, page.total) == (500, 500)
    assert ids(page.table) == list(range(first, 500))
    assert ids(all_pages.read(ROWS, 490, bulky=True).table) == list(range(490, 500))
    recording.close()


def test_bodies_that_went_are_null_and_their_rows_stay(tmp_path: Path) -> None:
    recording = Recorder(tmp_path, session_id="s", roll_bytes=40_000)
    record(recording, range(200), size=300)
    for bulk in tmp_path.glob("bodies-*"):
        bulk.unlink()
    table, _ = read(Pages(recording))
    assert ids(table) == list(range(200))
    assert 0 < table.column("response_body").null_count <= 200
    recording.close()


def test_files_that_somebody_removed_begin_another_epoch(tmp_path: Path) -> None:
    recording = Recorder(tmp_path / "r", session_id="s", roll_bytes=40_000)
    all_pages = Pages(recording)
    record(recording, range(100), size=300)
    before = all_pages.read(ROWS, 0, bulky=False)
    (tmp_path / "r" / "rows-s-000001.arrow").unlink()
    after = all_pages.read(ROWS, 0, bulky=False)
    assert (before.total, after.epoch != before.epoch) == (100, True)
    assert ids(after.table) == ids(before.table)[-after.total :]
    assert all_pages.read(ROWS, 1 << 62, bulky=False).epoch == after.epoch
    recording.close()


def test_rows_lost_to_a_disk_begin_another_epoch(tmp_path: Path) -> None:
    recording = Recorder(tmp_path, session_id="s")
    all_pages = Pages(recording)
    record(recording, range(3))
    before = all_pages.read(ROWS, 0, bulky=True).epoch
    recording.tables["rows"].memory.dropped += 1
    assert all_pages.read(ROWS, 0, bulky=True).epoch != before
    recording.close()


def test_two_recordings_have_two_epochs() -> None:
    one, other = (Recorder(None, session_id="s") for _ in range(2))
    assert Pages(one).read(ROWS, 0, bulky=True).epoch != Pages(other).read(ROWS, 0, bulky=True).epoch
    one.close()
    other.close()


def test_what_is_no_page_says_so() -> None:
    table = pa.table({"a": [1]})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    for wrong in (b"", b"{}", b'{"error": {}}', sink.getvalue().to_pybytes()):
        with pytest.raises(ValueError, match="not a page of a recording"):
            decoded(wrong)


def test_a_page_of_no_rows_has_its_columns() -> None:
    recording = Recorder(None, session_id="s")
    page = decoded(encoded(Pages(recording).read(ROWS, 0, bulky=True)))
    assert page.table.column_names == list(FRAME_COLUMNS)
    assert (page.next, page.total) == (0, 0)
    recording.close()


def test_who_reads_does_not_wait_while_a_stream_is_sealed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seals, release, real = threading.Event(), threading.Event(), segments.seal

    def seal(segment: segments.Segment) -> segments.Segment:
        seals.set()
        assert release.wait(TIMEOUT)
        return real(segment)

    monkeypatch.setattr(segments, "seal", seal)
    recording = Recorder(tmp_path, session_id="s", roll_bytes=20_000)
    all_pages = Pages(recording)
    try:
        number = 0
        while not seals.wait(0.01):
            recording.append(exchange(number, response_body=b"x" * 10_000))
            number += 1
        first = f"{exchange(0).exchange_id}"
        found = listing.row(all_pages, first)
        assert found is not None
        assert len(found["response_body"]) == 10_000
    finally:
        release.set()
        recording.close()
    assert listing.row(all_pages, first) == found
    assert ids(read(all_pages)[0]) == list(range(number))
