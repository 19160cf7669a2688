"""What waits to be recorded: everything once, in the order in which it came, whoever takes it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbproxy import intake
from nbproxy.exchange import Exchange
from nbproxy.intake import Cut, Intake, Item, Late

from .recordings import draft, exchange


def names(items: Iterator[Item]) -> list[str]:
    """What was taken."""
    out: list[str] = []
    for item in items:
        if isinstance(item, Cut):
            rows = item.plain.batch().column("target").to_pylist() if item.plain.num_rows else []
            for place, other in reversed(item.others):
                rows.insert(place, other.target if isinstance(other, Exchange) else other.head.target)
            out += [row.partition("?")[0] for row in rows]
    return out


def size(one: Cut) -> int:
    return one.plain.num_rows + len(one.others)


def waits(plain: bool = True, prepared: list[Any] | None = None) -> Intake:
    return Intake(plain=plain, prepare=[].append if prepared is None else prepared.append)


MOVES = st.lists(st.sampled_from(["plain", "plain", "plain", "other", "barrier", "wait"]), max_size=120)


@given(MOVES, st.booleans())
def test_everything_comes_once_and_in_order(moves: list[str], plain: bool) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(intake, "CUT_ROWS", 7)
        patch.setattr(intake, "FRESH_ROWS", 3)
        patch.setattr(intake, "FLUSH_S", 0.0)
        one, came, went = waits(plain), [], []
        for number, move in enumerate(moves):
            if move == "barrier":
                one.barrier()
                went += names(one.taken())
                assert went == came
            elif move == "wait":
                one.wait(0.0)
                went += names(one.taken())
                assert came[: len(went)] == went
            else:
                assert one.append(draft(number) if move == "plain" else exchange(number, target=f"/{number}"))
                came.append(f"/{number}")
        one.close()
        assert went + names(one.taken()) == came
    assert one.refused == 0


def test_a_slice_is_cut_when_it_is_full_and_prepared_by_whoever_cuts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intake, "CUT_ROWS", 4)
    monkeypatch.setattr(intake, "FRESH_ROWS", 2)
    prepared: list[Cut] = []
    one = waits(prepared=prepared)
    counts = []
    for number in range(9):
        one.append(draft(number))
        counts.append(len(prepared))
    assert counts == [0, 0, 0, 1, 1, 1, 1, 2, 2]
    assert list(one.taken()) == prepared
    one.barrier()
    assert [item.plain.num_rows for item in prepared] == [4, 4, 1]


def test_few_that_are_not_plain_fill_a_slice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intake, "CUT_OTHERS", 2)
    monkeypatch.setattr(intake, "FRESH_ROWS", 1)
    one = waits()
    for number in range(5):
        one.append(exchange(number, target=f"/{number}") if number % 2 else draft(number))
    assert [size(item) for item in one.taken() if isinstance(item, Cut)] == [4]
    for _ in range(2):
        assert one.offer(Late(exchange(9)))
    assert [size(item) for item in one.taken() if isinstance(item, Cut)] == [3]


def test_large_bodies_fill_a_slice_too_and_are_in_a_hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intake, "CUT_BYTES", 10_000)
    monkeypatch.setattr(intake, "HEAVY_BYTES", 10_000)
    monkeypatch.setattr(intake, "FRESH_ROWS", 1)
    one = waits()
    for number in range(3):
        one.append(draft(number, b"x" * 4_000))
    one.wait(None)  # at once
    assert [item.weight for item in one.taken() if isinstance(item, Cut)] == [3 * 4_005]


def test_what_cannot_be_prepared_comes_all_the_same() -> None:
    def fail(_: Cut) -> None:
        raise ValueError

    one = Intake(plain=True, prepare=fail)
    one.append(draft(1))
    one.barrier()
    assert names(one.taken()) == ["/1"]


def test_the_thread_is_woken_again_for_what_is_left() -> None:
    """Nobody sends another request, and nobody asks for the rows: they are handed over all the same."""
    one = waits()
    for number in range(6):
        one.append(draft(number))
    one.hurry()
    one.wait(None)
    assert names(one.taken()) == []  # who was in a hurry had cut nothing
    one.wait(None)
    assert names(one.taken()) == [f"/{number}" for number in range(6)]
