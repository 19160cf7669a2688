"""What views list: the newest rows, whether they came as exchanges or were written down."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from nbproxy.exchange import Exchange
from nbproxy.ledger import Ledger
from nbproxy.newest import Newest
from nbproxy.slices import Slice

from .recordings import draft
from .recordings import exchange as exchange_of


def exchange(n: int, route: str = "pass") -> Exchange:
    return exchange_of(n, target=f"/{n}", route=route, response_body=b"x")


def plain(numbers: Sequence[int]) -> Slice:
    ledger = Ledger(100)
    for n in numbers:
        ledger.add(draft(n, b"x"))
    return ledger.taken()[0]


def others(numbers: Sequence[int], route: str = "pass") -> list[tuple[int, Exchange]]:
    return [(0, exchange(n, route)) for n in numbers]


def test_the_newest_come_first_and_the_oldest_go() -> None:
    newest = Newest(5)
    for n in range(0, 12, 3):
        newest.add(plain([]), others(range(n, n + 3)))
    assert [one.target for one in newest.exchanges(5)] == ["/11", "/10", "/9", "/8", "/7"]
    assert [one.target for one in newest.exchanges(1)] == ["/11"]
    assert newest.exchanges(0) == []
    assert len(newest.exchanges(99)) == 6  # whole chunks are kept
    assert all(one.response_body is None for one in newest.exchanges(5))


def test_routes_of_ours_push_nothing_out() -> None:
    newest = Newest(3)
    newest.add(plain([]), others([1]))
    for n in range(100):
        newest.add(plain([]), others([n], "own"))
    assert [one.target for one in newest.exchanges(3)] == ["/1"]


def test_those_that_were_written_down_are_read_as_they_were_recorded() -> None:
    newest, one = Newest(3), plain([1, 2])
    newest.add(one, ())
    newest.add(plain([]), others([3]))
    found = newest.exchanges(3)
    assert [one.target for one in found] == ["/3", "/2?api_key=[redacted]", "/1?api_key=[redacted]"]
    assert [one.exchange_id for one in found[:0:-1]] == one.batch().column("exchange_id").to_pylist()
    assert (found[1].status, found[1].bytes_out, found[1].response_body) == (200, 1, None)
    assert msgspec.structs.asdict(found[1])["total_ms"] > 0


def test_all_stand_in_the_order_of_recording() -> None:
    newest = Newest(9)
    newest.add(plain([1, 4]), [(0, exchange(0)), (1, exchange(2)), (1, exchange(3)), (2, exchange(5))])
    assert [one.target[:2] for one in newest.exchanges(9)] == [f"/{n}" for n in (5, 4, 3, 2, 1, 0)]
