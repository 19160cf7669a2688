"""What waits to be recorded: everything once, in the order in which it came, whoever makes the columns."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbproxy import intake
from nbproxy.batches import Steps
from nbproxy.drafts import Draft
from nbproxy.exchange import Exchange
from nbproxy.intake import Built, Intake

from .recordings import draft, exchange

STEPS = 3


def named(drafts: list[Draft], weight: int) -> Steps[Any]:
    """A slice whose making takes several steps; one with a draft that cannot be built fails in the midst of them."""
    for number in range(STEPS):
        if number and any(one.head.target.startswith("/13?") for one in drafts):
            raise ValueError("13")
        yield
    return [one.head.target.partition("?")[0] for one in drafts]


def names(items: Iterator[list[Any]]) -> list[str]:
    """What was taken."""
    out: list[str] = []
    for item in (item for taken in items for item in taken):
        if isinstance(item, Built):
            assert item.rows == len(item.kept)
            out += item.kept
        elif not isinstance(item, threading.Event):
            out.append((item.target if isinstance(item, Exchange) else item.head.target).partition("?")[0])
    return out


def plain(number: int) -> Draft:
    return draft(number)


@given(st.lists(st.sampled_from(["plain", "plain", "plain", "other", "barrier", "take"]), max_size=120))
def test_everything_comes_once_and_in_order(moves: list[str]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(intake, "SLICE_ROWS", 7)
        patch.setattr(intake, "STEP_ROWS", 2)
        waits, came, went = Intake(builds=True, build=named), [], []
        for number, move in enumerate(moves):
            if move == "barrier":
                waits.barrier()
            elif move == "take":
                went += names(waits.taken())
                assert went == came
            else:
                assert waits.append(plain(number) if move == "plain" else exchange(number, target=f"/{number}"))
                came.append(f"/{number}")
        waits.close()
        assert went + names(waits.taken()) == came
    assert waits.refused == 0


def test_a_slice_is_made_between_the_rows_that_follow_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intake, "SLICE_ROWS", 4)
    monkeypatch.setattr(intake, "STEP_ROWS", 1)
    made: list[int] = []

    def build(drafts: list[Draft], weight: int) -> Steps[Any]:
        for number in range(STEPS):
            made.append(number)
            yield

    waits = Intake(builds=True, build=build)
    steps = []
    for number in range(7):
        waits.append(plain(number))
        steps.append(len(made))
    assert steps == [0, 0, 0, 0, 1, 2, 3]
    waits.append(plain(7))  # the next slice is full: what is left of the first is made
    assert len(waits._pending) == 1


def test_the_thread_is_woken_again_for_what_is_half_made(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody sends another request, and nobody asks for the rows: they are handed over all the same."""
    monkeypatch.setattr(intake, "SLICE_ROWS", 4)
    waits = Intake(builds=True, build=named)
    for number in range(6):
        waits.append(plain(number))
    waits.hurry()
    waits.wait(None)
    assert names(waits.taken()) == []
    waits.wait(None)
    assert names(waits.taken()) == [f"/{number}" for number in range(6)]
