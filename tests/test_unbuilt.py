"""Drafts in the place of columns: the same rows, whenever and however often they are asked for."""

from __future__ import annotations

import gc
import weakref
from typing import Any

from nbproxy import memory
from nbproxy.batches import plain_batch
from nbproxy.memory import MemoryLog
from nbproxy.newest import Newest
from nbproxy.segments import ROWS
from nbproxy.unbuilt import Unbuilt

from .recordings import draft


class Model:
    name, fingerprint = "m", "f" * 64


def rows(log: MemoryLog) -> list[dict[str, Any]]:
    return [row for batch in log.batches() for row in batch.to_pylist()]


def test_a_batch_is_what_it_would_have_been() -> None:
    drafts = [draft(n, b"%d" % n) for n in range(5)]
    wanted = plain_batch(drafts).drop_columns(["exchange_id", "started"])
    unbuilt = Unbuilt(drafts)
    assert len(unbuilt) == unbuilt.num_rows == 5
    assert unbuilt.batch().drop_columns(["exchange_id", "started"]).equals(wanted)
    assert "secret" not in str(unbuilt.batch().to_pylist())


def test_ids_and_times_stay_whoever_asks() -> None:
    """Also where a view holds the drafts of one chunk, and the table has joined them with others."""
    chunks = [Unbuilt([draft(n)]) for n in range(3)]
    newest = Newest(2)
    for chunk in chunks:
        newest.add_batch(chunk)
    seen = [one.exchange_id for one in newest.exchanges(2)]
    joined = Unbuilt.joined(chunks).batch()
    assert joined.column("exchange_id").to_pylist()[:0:-1] == seen
    assert joined.equals(Unbuilt.joined(chunks).batch())
    started = joined.column("started").to_pylist()
    assert (started[1] - started[0]).total_seconds() == 1


def test_a_model_is_named_and_let_go_of() -> None:
    model = Model()
    there, drafts = weakref.ref(model), [draft(0), draft(1, model=model)]
    unbuilt = Unbuilt(drafts)
    del model
    gc.collect()
    assert there() is None
    batch = unbuilt.batch()
    assert batch.column("model").to_pylist() == [None, "m"]
    assert batch.column("model_fingerprint").to_pylist() == [None, "f" * 64]


def test_bodies_go_and_their_sizes_stay() -> None:
    unbuilt = Unbuilt([draft(0, b"x" * 100_000), draft(1)])
    before = unbuilt.nbytes
    unbuilt.strip()
    row, other = unbuilt.batch().to_pylist()
    assert (row["request_body"], row["response_body"], row["bytes_in"], row["bytes_out"]) == (None, None, 5, 100_000)
    assert (row["response_truncated"], other["response_truncated"]) == (True, False)
    assert unbuilt.nbytes < before - 65_536


def test_small_ones_are_joined_and_become_columns_when_they_are_read(monkeypatch: Any) -> None:
    monkeypatch.setattr(memory, "MERGE", 4)
    log = MemoryLog(ROWS.bulky, 2**20)
    for n in range(9):
        log.append(Unbuilt([draft(n)]))
    assert len(log) == 3  # two of four, and one
    log.append(plain_batch([draft(9)]))
    log.append(Unbuilt([draft(10), draft(11)]))
    log.append(Unbuilt([draft(12)]))
    assert len(log) == 3
    first = rows(log)
    assert [row["target"][1:].split("?")[0] for row in first] == [str(n) for n in range(13)]
    assert rows(log) == first
    assert log.bytes == sum(batch.nbytes for batch in log.batches())


def test_memory_is_bounded() -> None:
    log = MemoryLog(ROWS.bulky, 40_000)
    for n in range(10):
        log.append(Unbuilt([draft(n, b"x" * 9_000)]))
    assert log.bytes <= 40_000
    bodies = [row["response_body"] for row in rows(log)]
    assert len(bodies) == 10
    assert bodies[0] is None
    assert bodies[-1] == b"x" * 9_000
    for n in range(10, 200):
        log.append(Unbuilt([draft(n)]))
    assert log.bytes <= 40_000
    assert log.dropped + len(rows(log)) == 200
