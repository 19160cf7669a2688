"""The terminal view's screens: of every size, whatever was recorded."""

from __future__ import annotations

import io
import re
from typing import Any

import pytest
from rich.cells import cell_len
from rich.console import Console, Group

from nbproxy.controls import Sight, Snapshot
from nbproxy.screen import HELP, Scene, matching, screen

from .test_views import HOSTILE, line, place

STATUS = {
    "state": "running", "uptime_s": 9.0, "upstream": "http://127.0.0.1:9200", "errors": 0,
    "model": {"name": "mini", "fingerprint": "x"}, "counts": {"route": {"search": 1200}},
    "latency_ms": {name: {"p50": 1.0, "p95": 2.0} for name in ("upstream", "rerank", "total")},
    "recording": {"path": None, "exchanges": 1200, "bytes": 5_000_000, "dropped": 0},
}  # fmt: skip


def scene(lines: int = 60, places: int = 50, text: str = "red shoes", errors: int = 0, **more: Any) -> Scene:
    ranks = [*range(2, places + 1), 1]
    known = [place(n + 1, rank, text=f"{text} {n}", doc_id=text) for n, rank in enumerate(ranks)]
    snapshot = Snapshot(
        status={**STATUS, "upstream": text, "model": {"name": text, "fingerprint": "x"}},
        lines=tuple(line(exchange_id=str(n), query=text, model=text) for n in range(lines)),
        last=Sight(exchange_id="0", query=text, model=text, places=tuple(known)) if places else None,
        models=("none", text),
        errors=(f"model: {text}",) * errors,
    )
    return Scene(snapshot, "http://127.0.0.1:9999", text, rate=12.34, now=4.0, **more)


def drawn(scene: Scene, width: int, height: int) -> list[str]:
    """The lines that a terminal of this size shows; nothing but text and colours may have been sent."""
    file = io.StringIO()
    console = Console(
        width=width, height=height, file=file, force_terminal=True, color_system="truecolor", legacy_windows=False
    )
    console.print(Group(*screen(scene, width, height)))
    text = re.sub(r"\x1b\[[0-9;]*m", "", file.getvalue())
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e]", text)
    return text.removesuffix("\n").split("\n")


@pytest.mark.parametrize("size", [(80, 24), (200, 60), (120, 40), (40, 12), (20, 5)], ids=str)
@pytest.mark.parametrize(
    "what", [{}, {"lines": 0}, {"places": 0}, {"lines": 0, "places": 0}, {"errors": 5}, {"places": 1}], ids=str
)
@pytest.mark.parametrize(
    "text", ["red shoes", HOSTILE, "寿司" * 60, "[red]" * 30], ids=["plain", "hostile", "wide", "markup"]
)
def test_a_screen_fills_the_terminal_and_no_more(size: tuple[int, int], what: dict[str, int], text: str) -> None:
    width, height = size
    lines = drawn(scene(text=text, **what), width, height)
    assert len(lines) == height
    assert max(map(cell_len, lines)) <= width
    assert height < 12 or lines[-1].startswith(HELP[:16])


def test_a_screen_of_80_by_24() -> None:
    lines = drawn(scene(lines=2, places=9, errors=1), 80, 24)
    assert lines[0].startswith("nbproxy red shoes ● running · http://127.0.0.1:9999 → red shoes")
    assert lines[1] == "model red shoes (others: none)"
    assert lines[2] == "1,200 requests, 12.3/s · 1,200 recorded in memory, 5.0 MB · 0 errors"
    assert lines[3] == "rates: measuring …"
    assert lines[4] == "p50/p95 in ms: total 1.0/2.0 · upstream 1.0/2.0 · rerank 1.0/2.0"
    assert lines[5] == "newest exchanges " + "─" * 63
    assert lines[7].split() == ["3", "s", "200", "12.3", "reranked", "by", "red", "shoes", "red", "shoes"]
    assert lines[9].startswith("“red shoes”, reranked by red shoes ─")
    assert re.fullmatch(r" +1 red shoes · red shoes 0 +▲8 red shoes · red shoes 8 +0\.500", lines[11])
    assert re.fullmatch(r" +2 red shoes · red shoes 1 +▼1 red shoes · red shoes 0 +0\.500", lines[12])
    assert lines[-2:] == ["⚠ model: red shoes", HELP]


def test_pausing_and_trouble_are_told() -> None:
    assert "PAUSED" in drawn(scene(paused=True), 80, 24)[0]
    assert "⚠ nothing answers" in drawn(scene(trouble="nothing answers"), 80, 24)[-2]
    lost = drawn(scene(trouble="nothing answers", lost=True), 80, 24)[0]
    assert "✖ not answering" in lost
    assert "running" not in lost


def test_markup_is_text() -> None:
    assert any("[red]" in shown for shown in drawn(scene(text="[red]x[/red]"), 80, 24))


def test_a_tall_screen_has_a_table_of_models_with_their_latency() -> None:
    shadow = {"name": "mini", "fingerprint": "x", "latency_ms": {"p50": 5.0, "p95": 9.0}}
    tall = scene(took={"bm25": (1.0, 2.0), "old": (3.0, 4.0)})
    tall.snapshot.status.update(model={"name": "bm25", "fingerprint": "x"}, shadows=[shadow])
    lines = drawn(tall, 120, 40)
    at = next(place for place, line in enumerate(lines) if line.startswith("models ─"))
    assert [one.split() for one in lines[at + 1 : at + 5]] == [
        ["role", "p50", "ms", "p95", "ms", "model"],
        ["serving", "1.0", "2.0", "bm25"],
        ["shadow", "5.0", "9.0", "mini"],
        ["before", "3.0", "4.0", "old"],
    ]
    low = drawn(tall, 80, 24)
    assert low[1].startswith("model bm25 1.0/2.0 ms · shadow mini 5.0/9.0 ms")
    assert not any(line.startswith("models") for line in low)


def test_rates_are_told_in_words_and_as_a_line() -> None:
    lines = drawn(scene(rates={"reranked": 10.0, "passed on": 2.5}, history=[1.0, 2.0, 4.0]), 80, 24)
    assert lines[3] == "reranked 10.0/s · passed on 2.5/s · ▃▅█"


def test_a_filter_shows_what_has_all_of_its_words() -> None:
    lines = [line(exchange_id="a"), line(exchange_id="b", query=None, reranked=False, status=404, route="pass")]
    assert [one.exchange_id for one in matching(lines, "SHOES backw")] == ["a"]
    assert [one.exchange_id for one in matching(lines, "404")] == ["b"]
    assert matching(lines, " ") == tuple(lines)
    assert any("filtered by “shoes”" in one for one in drawn(scene(wanted="shoes"), 80, 24))
    assert any("none fits the filter" in one for one in drawn(scene(wanted="boots"), 80, 24))


def test_the_chosen_exchange_is_marked_and_in_sight() -> None:
    chosen = line(exchange_id="55")
    lines = drawn(scene(lines=60, chosen=chosen), 80, 24)
    assert sum(one.startswith("▸") for one in lines) == 1
    assert any(one.startswith("selected at 00:00:01 UTC") for one in lines)
    assert any("upstream 8.0, reranking 2.0, the rest 2.3" in one for one in lines)


def test_a_menu_says_which_serves_and_which_is_marked() -> None:
    lines = drawn(scene(menu=(["none", "red shoes"], 0)), 80, 24)
    assert "▸ none" in lines
    assert "  red shoes  (serving)" in lines
    assert lines[-1] == "↑↓ choose · Enter serves it · Esc leaves"
