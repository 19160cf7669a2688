"""The table of exchanges and its filters."""

from __future__ import annotations

from nbproxy.controls import Asking
from nbproxy.panel import traffic

from ..test_views import HOSTILE, line


def test_a_page_of_rows_and_which_is_chosen() -> None:
    lines = [line(exchange_id=f"e{n}") for n in range(20)]
    shown = traffic.table(lines, ("e1", None), "nothing", "rows 1 to 12 of 20")
    assert shown.count("<tr") == traffic.ROWS + 1
    assert shown.count('aria-current="true"') == 1
    assert "rows 1 to 12 of 20" in shown
    assert "<i>nothing</i>" in traffic.table([], None, "nothing")


def test_what_failed_has_a_sign_and_a_part_its_number() -> None:
    assert "✖" in traffic.table([line(status=502, error="nobody")], None, "")
    assert "#3" in traffic.table([line(part=3)], None, "")
    assert traffic.key(line(part=3)) == ("e1", 3)


def test_recorded_text_is_harmless() -> None:
    shown = traffic.table([line(query=HOSTILE, model=HOSTILE, route=HOSTILE, status=None)], None, HOSTILE, HOSTILE)
    assert "<script" not in shown
    assert "\x1b" not in shown


def test_filters_are_a_question() -> None:
    assert traffic.filters({"route": "any", "status": "4xx", "text": " a "}) == Asking(
        count=traffic.ROWS, status="4xx", text="a"
    )
    counts = {"status": {"200": 3, "404": 1, "none": 2}, "reason": {"deadline": 1}}
    assert traffic.choices(counts, ("none", "bm25")) == {
        "route": ("any", "search", "pass"),
        "status": ("any", "2xx", "4xx", "200", "404"),
        "reason": ("any", "reranked", "deadline"),
        "model": ("any", "bm25"),
    }


def test_which_rows_these_are() -> None:
    assert traffic.where((1011, 1000), 1000, 3000) == "rows 1 to 12 of 2,000"
    assert traffic.where((), 0, 0) == "of 0 rows"
