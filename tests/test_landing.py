"""Where answers land: what was lent stays what it was for as long as anybody has it, and memory is bounded."""

from __future__ import annotations

import random
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbproxy import landing
from nbproxy.landing import BLOCK, PIECE_BYTES, READ_BYTES, Landing


def come(place: Landing, data: bytes) -> None:
    """A read."""
    place.room[: len(data)] = data


def address(view: memoryview) -> int:
    return int(np.frombuffer(view, dtype=np.uint8).__array_interface__["data"][0])


MOVES = st.lists(st.tuples(st.sampled_from(["lend", "adopt", "drop"]), st.integers(1, READ_BYTES - 300)), max_size=120)


@given(MOVES, st.integers(1, 3))
def test_what_was_lent_stays_what_it_was(moves: list[tuple[str, int]], most: int) -> None:
    place, held, chance = Landing(most), [], random.Random(len(moves))
    for number, (move, size) in enumerate(moves):
        if move == "drop":
            del held[chance.randrange(len(held) + 1) :]
            continue
        body = (b"%d," % number * size)[:size]
        if move == "lend":
            come(place, b"head" * 50 + body)
            view = place.lend(200, size)
        else:
            taken = place.adopt([body[: size // 2], body[size // 2 :], b"more"], size)
            view = memoryview(body) if taken is None else taken
        held.append((view, body))
        come(place, b"\xff" * READ_BYTES)
        assert all(view == body for view, body in held)


def test_bodies_lie_side_by_side_also_across_pieces() -> None:
    """Their heads between them, as far as the blocks of a file are concerned."""
    place, views, spots = Landing(), [], []
    while len({address(view) // PIECE_BYTES for view in views}) < 3 or len(views) < 100:
        come(place, b"x" * 40_000)
        views.append(place.lend(100 if views else 0, 33_333))
        spots.append(place.spot)
    for (one, _), (other, spot) in pairwise(zip(views, spots, strict=True)):
        end, begin = address(one) + len(one), address(other) - spot[2]
        assert end == begin or (end - begin) % BLOCK == 0
        assert (one.obj is other.obj) == (end == begin)


def test_what_stands_between_bodies_is_nothing_or_harmless() -> None:
    place = Landing()
    come(place, b"x" * 20)
    first = place.lend(0, 10)
    for harmless, left in ((None, bytes(4)), (False, bytes(4)), (True, b"head")):
        come(place, b"headbody")
        body = place.lend(4, 4, harmless=harmless)
        assert bytes(body) == b"body"
        assert place.spot is not None
        piece, begin, before = place.spot
        assert (before, bytes(piece[begin - before : begin])) == (4, left)
    assert bytes(first) == b"x" * 10


def test_a_head_stands_before_the_body_where_there_is_room() -> None:
    place = Landing()
    come(place, b"first")
    place.lend(0, 5)
    come(place, b"upstream's head|body")
    body = place.lend(16, 4)
    headed = place.headed(b"ours|", 4)
    assert headed is not None
    assert bytes(headed) == b"ours|body"
    assert headed.obj is body.obj
    assert place.headed(b"too long for where it is", 4) is None
    assert bytes(body) == b"body"


def test_no_head_stands_before_a_body_that_was_copied() -> None:
    place = Landing(most=0)
    come(place, b"head|body")
    assert bytes(place.lend(5, 4)) == b"body"
    assert place.headed(b"a", 4) is None


def test_memory_is_used_again_once_nobody_has_it() -> None:
    place, kept = Landing(), []
    for _ in range(5 * PIECE_BYTES // 50_000):
        kept = [*kept[-3:], place.lend(0, 50_000)]
    assert place.pieces == 2


def test_slow_holders_cannot_take_all_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(landing, "PIECE_BYTES", 2 * READ_BYTES)
    place, held = Landing(most=2), []
    for n in range(40):
        come(place, b"%02d" % n * 20_000)
        held.append(place.lend(0, 40_000))
    assert place.pieces == 2
    assert place.adopt([b"x" * 10], 10) is None
    assert [bytes(view[:2]) for view in held] == [b"%02d" % n for n in range(40)]
    held.clear()
    come(place, b"again")
    again: Any = place.lend(0, 5)
    assert bytes(again) == b"again"
    assert not isinstance(again.obj, bytes)  # in a piece


def test_what_is_larger_than_a_read_is_not_adopted() -> None:
    assert Landing().adopt([b"x" * (READ_BYTES + 1)], READ_BYTES + 1) is None


def test_what_many_held_is_given_back_but_for_a_few_pieces() -> None:
    place = Landing()
    held = [place.lend(0, 200_000) for _ in range(10 * PIECE_BYTES // 200_000)]
    assert place.pieces > 9
    last = held.pop()
    held.clear()
    assert place.pieces == landing.SPARE + 1
    place.close()
    assert place.pieces == 0
    assert len(last) == 200_000
    assert bytes(place.lend(0, 2)) == b"\0\0"
