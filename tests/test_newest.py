"""What views list: the newest rows, whether they came as exchanges or as columns."""

from __future__ import annotations

import msgspec

from nbproxy.batches import plain_batch
from nbproxy.drafts import Draft
from nbproxy.exchange import Exchange
from nbproxy.heads import RequestHead
from nbproxy.newest import Newest
from nbproxy.settings import Settings


def exchange(n: int, route: str = "pass") -> Exchange:
    return Exchange(exchange_id=str(n), started=n, method="GET", target=f"/{n}", route=route, response_body=b"x")


def draft(n: int) -> Draft:
    one = Draft(lambda _: None, "127.0.0.1:1", RequestHead(b"GET", b"/%d?key=secret" % n, 1, b"Host: a\r\n"),
                Settings(), "pass", 1.0)  # fmt: skip
    one.respond(200, b"Content-Length: 1\r\n")
    one.returned(b"x")
    one.finish()
    return one


def test_the_newest_come_first_and_the_oldest_go() -> None:
    newest = Newest(5)
    for n in range(0, 12, 3):
        newest.add([exchange(m) for m in range(n, n + 3)])
    assert [one.target for one in newest.exchanges(5)] == ["/11", "/10", "/9", "/8", "/7"]
    assert [one.target for one in newest.exchanges(1)] == ["/11"]
    assert newest.exchanges(0) == []
    assert len(newest.exchanges(99)) == 6  # whole chunks are kept
    assert all(one.response_body is None for one in newest.exchanges(5))


def test_routes_of_ours_push_nothing_out() -> None:
    newest = Newest(3)
    newest.add([exchange(1)])
    for n in range(100):
        newest.add([exchange(n, "own")])
    assert [one.target for one in newest.exchanges(3)] == ["/1"]


def test_columns_are_read_as_they_were_recorded() -> None:
    newest, drafts = Newest(3), [draft(1), draft(2)]
    batch = plain_batch(drafts)
    newest.add_batch(batch)
    newest.add([exchange(3)])
    found = newest.exchanges(3)
    assert [one.target for one in found] == ["/3", "/2?key=[redacted]", "/1?key=[redacted]"]
    assert [one.exchange_id for one in found[:0:-1]] == batch.column("exchange_id").to_pylist()
    assert (found[1].status, found[1].bytes_out, found[1].response_body) == (200, 1, None)
    assert msgspec.structs.asdict(found[1])["total_ms"] > 0
