"""When streams are sealed: not under load nor for whoever waits, but in the end; and what goes over the limit."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from nbproxy import sealing
from nbproxy.batches import frame_batch
from nbproxy.sealing import BUSY_ROWS, CALM_S, PATIENCE, Sealer
from nbproxy.segments import ROWS, Log, Table

from .recordings import exchange

ROLL = 10_000


class Bench:
    """A sealer of one table, a clock, and what has come."""

    def __init__(self, directory: Path, monkeypatch: pytest.MonkeyPatch, limit: int | None = None) -> None:
        self.now, self.rows, self.removed = 100.0, 0, list[Path]()
        monkeypatch.setattr(sealing, "time", SimpleNamespace(monotonic=lambda: self.now))
        self.directory, self.lock = directory, threading.Lock()
        log = Log(directory, ROWS, "s", roll_bytes=ROLL)
        self.table, self.log = Table(ROWS, log, 1), log
        self.sealer = Sealer(
            directory,
            "s",
            [self.table],
            roll_bytes=ROLL,
            limit=limit,
            lock=self.lock,
            came=lambda: (self.rows, 0),
            attempt=self.attempt,
            removed=self.removed.append,
        )

    def attempt(self, table: Table, act: Callable[[], object], *, sealing: bool = False) -> None:
        assert not self.lock.locked()
        act()

    def round(self, rows: int = 1, *, asked: bool = False) -> None:
        """Write a row that fills a stream; ``rows``: so many are said to have come."""
        self.sealer.begin_round()
        self.rows += rows
        self.table.write(frame_batch([exchange(self.rows, response_body=b"x" * ROLL)]))
        self.sealer.look(self.table)
        self.sealer.end_round(asked=asked)

    def quiet(self, *, asked: bool = False) -> None:
        self.sealer.begin_round()
        self.sealer.end_round(asked=asked)

    @property
    def sealed(self) -> int:
        return len(list(self.directory.glob("rows-*.arrow")))


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    one = Bench(tmp_path, monkeypatch)
    yield one
    one.table.close()


def test_a_full_stream_is_sealed_at_once_where_little_comes(bench: Bench) -> None:
    for number in range(1, 4):
        bench.round()
        assert (bench.sealed, bench.log.rolled) == (number, 0)
    assert not bench.sealer.waiting


def test_under_load_streams_wait_until_it_has_been_calm(bench: Bench) -> None:
    for _ in range(3):
        bench.round(BUSY_ROWS + 1)
    assert (bench.sealed, bench.log.rolled) == (0, 3)
    assert bench.sealer.waiting
    for _ in range(3):  # the rounds that saw the load have passed, but not the time
        bench.quiet()
    bench.now += CALM_S - 0.1
    bench.quiet()
    assert bench.sealed == 0
    bench.now += 0.2
    for number in (1, 2, 3, 3):  # one each time
        bench.quiet()
        assert bench.sealed == number
    assert not bench.sealer.waiting


def test_what_waits_is_a_share_of_the_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(tmp_path, monkeypatch, limit=8 * ROLL)
    for _ in range(6):
        bench.round(BUSY_ROWS + 1)
    assert bench.log.rolled == 4
    assert bench.sealed == 2
    bench.sealer.finish(bench.table)
    assert (bench.log.rolled, bench.sealed) == (0, 6)
    bench.table.close()


def test_nothing_is_sealed_for_who_waits_but_now_and_then(bench: Bench) -> None:
    bench.round(BUSY_ROWS + 1, asked=True)
    bench.now += 2 * CALM_S
    for _ in range(PATIENCE - 2):
        bench.quiet(asked=True)
    assert bench.sealed == 0
    bench.quiet(asked=True)
    assert bench.sealed == 1


def test_over_the_limit_the_oldest_bodies_go_and_the_size_is_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = Bench(tmp_path, monkeypatch, limit=30_000)
    for _ in range(5):
        bench.round()
    assert [path.name for path in bench.removed] == [
        f"bodies-s-{number:06d}.arrow" for number in range(1, len(bench.removed) + 1)
    ]
    assert bench.removed
    assert bench.sealed == 5
    assert bench.sealer.bytes == sum(path.stat().st_size for path in tmp_path.iterdir())
    bench.table.close()
