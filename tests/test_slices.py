"""Rows that were written down side by side: the columns that come of them are those of the exchanges that they were,
whenever, wherever and however often somebody asks."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Sequence
from typing import Any

import msgspec
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from nbproxy.batches import frame_batch
from nbproxy.drafts import Body, Draft
from nbproxy.finishing import without_credentials
from nbproxy.heads import RequestHead
from nbproxy.landing import Landing
from nbproxy.ledger import Ledger
from nbproxy.memory import MemoryLog
from nbproxy.segments import ROWS
from nbproxy.settings import Settings
from nbproxy.slices import ENVELOPE, Slice, blocks_of, opened
from nbproxy.streams import Bench, prelude

from .recordings import draft, exchange

ROWS_MOST = 100


class Model:
    name, fingerprint = "m", "f" * 64


def cut(drafts: Sequence[Draft], ledger: Ledger | None = None) -> Slice:
    ledger = Ledger(ROWS_MOST) if ledger is None else ledger
    for one in drafts:
        ledger.add(one)
    return ledger.taken()[0]


def written(*slices: Slice | Any) -> list[Any]:
    """The batches that a reader of Arrow finds in a stream of them."""
    bench, stream = Bench(), b"".join(prelude(ENVELOPE).pieces)
    for one in slices:
        message = bench.enclose(*one.blocks()) if isinstance(one, Slice) else bench.enclose(*blocks_of(one))
        stream += b"".join(message.pieces)
        bench.give(message)
    table = pa.ipc.open_stream(stream).read_all()
    table.validate(full=True)
    return [opened(batch) for batch in table.to_batches()]


text = st.text(st.characters(codec="latin-1"), max_size=20)
body = st.none() | st.tuples(
    st.sampled_from(["whole", "pieces", "lent", "settled"]), st.binary(max_size=30), st.sampled_from([1, 1, 1, 500])
)
seconds = st.floats(0, 1e6)


@st.composite
def plain(draw: st.DrawFn) -> dict[str, Any]:
    """What is noted of an exchange."""
    return draw(
        st.fixed_dictionaries(
            {
                "client": st.none() | st.sampled_from(["127.0.0.1:1", "[::1]:2"]),
                "target": st.sampled_from([b"/", b"/a?key=x&q=\xe9", b"/\xff"]),
                "block": st.sampled_from([b"Host: a\r\n", b"Host: a\r\nCookie: b=c\r\nX:\xe9\r\n"]),
                "route": st.sampled_from(["pass", "search"]),
                "status": st.none() | st.integers(100, 599),
                "dialect": st.none() | text,
                "index": st.none() | text,
                "reason": st.none() | st.sampled_from(["off", "sorted"]),
                "error": st.none() | st.text(st.characters(codec=None), max_size=9),
                "response_block": st.sampled_from([b"", b"A: b\r\nSet-Cookie: x\r\n"]),
                "sent_at": st.none() | seconds,
                "answered_at": st.none() | seconds,
                "limit": st.sampled_from([5, 65_536]),
                "request": body,
                "answer": body,
                "model": st.sampled_from([None, Model]),
                "known": st.booleans(),
            }
        )
    )


def noted(number: int, said: dict[str, Any], place: Landing) -> Draft:
    head = RequestHead(b"GET", said["target"], 1, said["block"])
    one = Draft(lambda _: None, said["client"], head, Settings(model=said["model"]), said["route"], float(number))
    for name in ("status", "dialect", "index", "reason", "response_block", "sent_at", "answered_at"):
        setattr(one, name, said[name])
    one.sent_body, one.got_body = (
        came(said[name], said["limit"], place, head)
        for name, head in (("request", b""), ("answer", b"secret" * number))
    )
    if said["known"]:
        assert one.exchange_id
    one.finish(said["error"])
    return one


def came(said: tuple[str, bytes, int] | None, limit: int, place: Landing, head: bytes) -> Body | None:
    if said is None:
        return None
    how, data, times = said
    data *= times
    if how == "lent":
        place.room[: len(head + data)] = head + data
        return Body(limit, len(data), place.lend(len(head), len(data)), None, place.spot)
    one = Body(limit)
    for piece in [data] if how == "whole" else [data[:3], memoryview(data)[3:]]:
        if piece:
            one.add(piece)
    if how == "settled":
        one.settle(place)
    return one


@given(st.lists(st.lists(plain(), min_size=1, max_size=6), min_size=1, max_size=4))
def test_they_are_the_exchanges_that_they_were(said: list[list[dict[str, Any]]]) -> None:
    """In memory and in a stream, whatever the bodies are and wherever they lie; also in a ledger that has been used."""
    place, ledger = Landing(), Ledger(ROWS_MOST)
    for some in said:
        drafts = [noted(number, one, place) for number, one in enumerate(some)]
        one = cut(drafts, ledger)
        batch = one.batch()
        batch.validate(full=True)
        assert one.num_rows == len(drafts)
        ids = batch.column("exchange_id").to_pylist()
        wanted = []
        for each, identity in zip(drafts, ids, strict=True):
            assert each.identity is None or each.exchange_id == identity
            wanted.append(msgspec.structs.replace(without_credentials(each.exchange()), exchange_id=identity))
        known = frame_batch(wanted)
        started = (batch.column("started").to_numpy(False), known.column("started").to_numpy(False))
        assert abs(started[0] - started[1]).max() < 10**7  # µs: how long this took
        assert batch.drop_columns(["started"]).to_pylist() == known.drop_columns(["started"]).to_pylist()
        assert written(one)[0].equals(batch)
        assert b"secret" not in b"".join(Bench().enclose(*one.blocks()).pieces)


def test_ids_stay_whoever_asks() -> None:
    one = cut([draft(n) for n in range(5)])
    ids = one.batch().column("exchange_id").to_pylist()
    assert len(set(ids)) == 5
    assert ids == sorted(ids)
    assert one.batch().equals(one.batch())
    assert one.bare().batch().column("exchange_id").to_pylist() == ids
    assert written(one)[0].column("exchange_id").to_pylist() == ids
    assert not set(ids) & set(cut([draft(n) for n in range(5)]).batch().column("exchange_id").to_pylist())


def test_times_are_those_of_the_exchanges() -> None:
    started = cut([draft(0), draft(1)]).batch().column("started").to_pylist()
    assert (started[1] - started[0]).total_seconds() == 1


def test_nothing_is_kept_that_is_not_redacted() -> None:
    one = cut([draft(n) for n in range(3)])
    bench = Bench()
    assert b"secret" not in b"".join(bench.enclose(*one.blocks()).pieces)
    assert "secret" not in str(one.batch().to_pylist())


def test_batches_and_slices_stand_in_one_stream() -> None:
    batch, one = frame_batch([exchange(1, rankings=()), exchange(2, response_body=b"x" * 9000)]), cut([draft(3)])
    first, second, third = written(batch, one, batch)
    assert first.equals(batch)
    assert third.equals(batch)
    assert second.equals(one.batch())
    assert opened(batch) is batch  # not from a stream


def test_bodies_that_are_not_wanted_are_not_looked_for() -> None:
    one = cut([draft(1, b"x" * 9000)])
    message = Bench().enclose(*one.blocks())
    batch = pa.ipc.open_stream(b"".join([*prelude(ENVELOPE).pieces, *message.pieces])).read_next_batch()
    bare = opened(batch, bodies=False)
    assert bare.column("response_body").null_count == 1
    others = [name for name in bare.schema.names if not name.endswith("_body")]
    assert bare.select(others).equals(one.batch().select(others))


def test_bodies_that_lie_side_by_side_are_written_from_there() -> None:
    place, drafts = Landing(), []
    for number in range(300):  # over two pieces of memory
        one = draft(number, b"")
        place.room[:33_301] = bytes(300) + b"%03d" % number * 11_000 + b"."
        one.got_body = Body(1e9, 33_001, place.lend(300, 33_001), None, place.spot)
        drafts.append(one)
    one = cut(drafts, Ledger(300))
    _, answers = one.blocks()
    assert len(answers) == 2
    message = Bench().enclose(*one.blocks())
    copied = sum(len(piece) for piece in message.pieces if piece.obj is message.gathered)
    assert copied <= 4 * 4096
    bodies = written(one)[0].column("response_body")
    assert [bytes(body.as_buffer()[:3]) for body in bodies] == [b"%03d" % n for n in range(300)]


def test_what_is_kept_is_kept_while_the_ledger_goes_on() -> None:
    ledger = Ledger(ROWS_MOST)
    slices = [
        cut([draft(n, b"%d," % n * 900) for n in range(start, start + 50)], ledger) for start in range(0, 400, 50)
    ]
    bodies = [value for one in slices for value in one.batch().column("response_body").to_pylist()]
    assert bodies == [b"%d," % n * 900 for n in range(400)]


def test_a_model_is_named_and_let_go_of() -> None:
    model = Model()
    there, drafts = weakref.ref(model), [draft(0), draft(1, model=model)]
    one = cut(drafts)
    del model, drafts
    gc.collect()
    assert there() is None
    batch = one.batch()
    assert batch.column("model").to_pylist() == [None, "m"]
    assert batch.column("model_fingerprint").to_pylist() == [None, "f" * 64]


def test_what_stands_among_them_keeps_its_place() -> None:
    ledger = Ledger(ROWS_MOST)
    for item in (draft(0), "a", "b", draft(1), "c"):
        ledger.add(item) if isinstance(item, Draft) else ledger.insert(item)
    assert len(ledger) == 5
    plain, others = ledger.taken()
    assert [tuple(other) for other in others] == [(1, "a"), (1, "b"), (2, "c")]
    assert (plain.num_rows, len(ledger)) == (2, 0)


def test_what_is_counted() -> None:
    tally = cut([draft(n) for n in range(3)]).tally
    assert tally.kinds == {("pass", 200, None): 3}
    assert tally.spans.shape == (3, 3)
    assert (tally.spans[:, 2] > 0).all()


def test_bodies_go_and_their_sizes_stay() -> None:
    one = cut([draft(0, b"x" * 100_000), draft(1)])
    before = one.nbytes
    one.strip()
    row, other = one.batch().to_pylist()
    assert (row["request_body"], row["response_body"], row["bytes_in"], row["bytes_out"]) == (None, None, 5, 100_000)
    assert (row["response_truncated"], other["response_truncated"]) == (True, False)
    assert one.nbytes < before - 65_536


def test_in_memory_they_become_columns_when_they_are_read() -> None:
    log = MemoryLog(ROWS.bulky, 2**20)
    for n in range(0, 9, 3):
        log.append(cut([draft(n), draft(n + 1), draft(n + 2)]))
    first = [row for batch in log.batches() for row in batch.to_pylist()]
    assert [row["target"][1:].split("?")[0] for row in first] == [str(n) for n in range(9)]
    assert [row for batch in log.batches() for row in batch.to_pylist()] == first
    assert log.bytes == sum(batch.nbytes for batch in log.batches())


def test_memory_is_bounded() -> None:
    log = MemoryLog(ROWS.bulky, 40_000)
    for n in range(10):
        log.append(cut([draft(n, b"x" * 9_000)]))
    assert log.bytes <= 40_000
    bodies = [row["response_body"] for batch in log.batches() for row in batch.to_pylist()]
    assert len(bodies) == 10
    assert bodies[0] is None
    assert bodies[-1] == b"x" * 9_000
    for n in range(10, 200):
        log.append(cut([draft(n)]))
    assert log.bytes <= 40_000
    assert log.dropped + sum(batch.num_rows for batch in log.batches()) == 200
