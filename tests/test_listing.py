"""Pages of a recording and the orders of one search, from memory and from disk, sealed and open."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest

from nbproxy import listing
from nbproxy.controls import Asking
from nbproxy.exchange import Exchange
from nbproxy.pages import Pages
from nbproxy.ranking import Hit, Ranking
from nbproxy.recorder import Recorder

Ids = itertools.count(1)


def exchange(n: int, **more: Any) -> Exchange:
    known: dict[str, Any] = {"route": "search", "status": 200, "query": f"query {n}", "reranked": True, "model": "bm25"}
    identity = f"{n:012x}".join(("", "-7000-8000-000000000000"))
    made = f"{identity[:8]}-{identity[8:]}"
    return Exchange(exchange_id=made, started=n, method="POST", target=f"/books/{n}", **{**known, **more})


def recorded(recorder: Recorder, exchanges: list[Exchange]) -> Pages:
    for one in exchanges:
        recorder.append(one)
    recorder.flush()
    return Pages(recorder)


@pytest.fixture(params=["memory", "open", "sealed"])
def recorder(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    directory = None if request.param == "memory" else tmp_path / "recording"
    made = Recorder(directory, session_id="s", roll_bytes=2000 if request.param == "sealed" else None)
    yield made
    made.close()


def queries(found: Any) -> list[str]:
    return [line.query for line in found.lines]


def test_pages_from_the_newest_back_and_forward_again(recorder: Recorder) -> None:
    pages = recorded(recorder, [exchange(n) for n in range(10)])
    page = listing.listed(pages, Asking(count=4))
    assert queries(page) == ["query 9", "query 8", "query 7", "query 6"]
    assert (page.numbers, page.begin, page.first, page.total) == ((9, 8, 7, 6), 6, 0, 10)
    back = listing.listed(pages, Asking(count=4, before=page.begin))
    assert back.numbers == (5, 4, 3, 2)
    forward = listing.listed(pages, Asking(count=4, after=back.numbers[0] + 1))
    assert forward.numbers == page.numbers
    assert listing.listed(pages, Asking(count=4, before=2)).numbers == (1, 0)
    assert listing.listed(pages, Asking(before=0)).numbers == ()


def test_an_empty_recording_has_an_empty_page(recorder: Recorder) -> None:
    page = listing.listed(Pages(recorder), Asking())
    assert (page.lines, page.begin, page.total) == ((), 0, 0)
    assert listing.sights(Pages(recorder), "nobody") == ()


@pytest.mark.parametrize(
    ("asking", "numbers"),
    [
        (Asking(route="pass"), (3,)),
        (Asking(status="404"), (2,)),
        (Asking(status="5xx"), (3,)),
        (Asking(status="nonsense"), ()),
        (Asking(status="²xx"), ()),
        (Asking(reason="deadline"), (4,)),
        (Asking(reason="reranked"), (6, 5, 1)),
        (Asking(model="other"), (5,)),
        (Asking(text="QUERY 1"), (1,)),
        (Asking(text="/books/5"), (5,)),
        (Asking(text="(nobody"), (3,)),
        (Asking(text="query", model="bm25", count=2), (6, 4)),
    ],
)
def test_filters_and_nbproxys_own_routes_left_out(recorder: Recorder, asking: Asking, numbers: tuple[int, ...]) -> None:
    changes: list[dict[str, Any]] = [
        {"route": "own"}, {}, {"status": 404, "reranked": False},
        {"route": "pass", "status": 502, "query": None, "model": None, "reranked": False, "error": "(nobody there"},
        {"reranked": False, "reason": "deadline"}, {"model": "other"}, {"status": None},
    ]  # fmt: skip
    pages = recorded(recorder, [exchange(n, **change) for n, change in enumerate(changes)])
    assert listing.listed(pages, asking).numbers == numbers


def test_slices_join_without_a_seam(recorder: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing, "SLICE_ROWS", 3)
    pages = recorded(recorder, [exchange(n, model="odd" if n % 2 else "even") for n in range(20)])
    found = listing.listed(pages, Asking(model="odd", count=7))
    assert found.numbers == (19, 17, 15, 13, 11, 9, 7)
    assert listing.listed(pages, Asking(model="odd", count=7, before=found.begin)).numbers == (5, 3, 1)
    assert listing.listed(pages, Asking(model="even", after=4, count=3)).numbers == (8, 6, 4)


def ranking(role: Any, model: str) -> Ranking:
    hits = [Hit(doc_id=f"d{n}", index="books", rank=n, score=1.0, text=f"text {n}") for n in (1, 2)]
    return Ranking(
        role=role, model=model, model_fingerprint="f", hits=hits, scores=[0.5, float("nan")], ranks=[2, 1],
        returned=[True, False],
    )  # fmt: skip


def test_every_order_of_one_search_late_ones_too(recorder: Recorder) -> None:
    exchanges = [exchange(n, rankings=(ranking("served", "bm25"),)) for n in range(6)]
    pages = recorded(recorder, exchanges)
    wanted = exchanges[1].exchange_id
    recorder.append_ranking(wanted, None, "q", "query 1", ranking("shadow", "other"))
    recorder.flush()
    found = listing.sights(pages, wanted)
    assert [(sight.role, sight.model, sight.query) for sight in found] == [
        ("served", "bm25", "query 1"),
        ("shadow", "other", "query 1"),
    ]
    places = found[0].places
    assert [(one.doc_id, one.original_rank, one.rank, one.score, one.text, one.returned) for one in places] == [
        ("d1", 1, 2, 0.5, "text 1", True),
        ("d2", 2, 1, None, "text 2", False),
    ]
    assert listing.sights(pages, wanted, 0) == ()
    assert listing.sights(pages, "no such id") == ()
