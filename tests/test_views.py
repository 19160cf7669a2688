"""What views show of a snapshot: harmless text, moves, ages, rates."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbproxy import views
from nbproxy.controls import Line, Place, Sight, Snapshot

HOSTILE = "<script>alert(1)</script>\x1b[2J\x1b]0;owned\x07\x9b31m\r\nnext\u202egnp.exe\u2066 & \"'\ud800"


def snapshot(uptime: float = 0.0, search: int = 0, own: int = 0, **more: Any) -> Snapshot:
    status = {"uptime_s": uptime, "state": "running", "counts": {"route": {"search": search, "own": own}}}
    return Snapshot(status={**status, **more.pop("status", {})}, **more)


def place(original: int, rank: int, **more: Any) -> Place:
    known = {"doc_id": str(original), "index": "books", "score": 0.5, "text": f"text {original}", "returned": True}
    return Place(original_rank=original, rank=rank, **{**known, **more})


def line(**more: Any) -> Line:
    known = dict(
        exchange_id="e1", started=1_000_000, method="POST", target="/books/_search", route="search", status=200,
        query="red shoes", model="backwards", reranked=True, reason=None, total_ms=12.3, upstream_ms=8.0, rerank_ms=2.0,
        error=None,
    )  # fmt: skip
    return Line(**{**known, **more})


def test_recorded_text_is_harmless() -> None:
    text = views.plain(HOSTILE)
    assert text == "<script>alert(1)</script> next gnp.exe & \"'?"
    assert views.escaped(HOSTILE) == "&lt;script&gt;alert(1)&lt;/script&gt; next gnp.exe &amp; &quot;&#x27;?"


@given(st.text(st.characters(), max_size=300), st.integers(1, 50))
def test_any_text_becomes_one_short_printable_line(text: str, width: int) -> None:
    shown = views.plain(text, width)
    assert len(shown) <= width
    assert shown == " ".join(shown.split())
    assert not any(ord(c) < 32 or 127 <= ord(c) < 160 or "\u202a" <= c <= "\u202e" for c in shown)
    shown.encode()
    assert not set("<>\"'") & set(views.escaped(text, width))


def test_a_text_of_megabytes_is_shown_at_once() -> None:
    assert views.plain("\x1b]" * 5_000_000, 10) == ""
    assert views.plain("x" * 5_000_000, 10) == "xxxxxxxxx…"


@pytest.mark.parametrize(
    ("original", "rank", "sign", "words"), [(4, 1, "▲3", "up 3"), (1, 3, "▼2", "down 2"), (2, 2, "=", "unmoved")]
)
def test_moves(original: int, rank: int, sign: str, words: str) -> None:
    assert (views.move(place(original, rank)), views.move_words(place(original, rank))) == (sign, words)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-3, "0 s"), (0.9, "0 s"), (59, "59 s"), (60, "1 min"), (3599, "59 min"), (7200, "2 h"), (200_000, "2 d")],
)
def test_ages(seconds: float, text: str) -> None:
    assert views.age(1_000_000, 1 + seconds) == text


def test_clock_is_utc() -> None:
    assert views.clock(1_700_000_000_000_000) == "22:13:20"


@pytest.mark.parametrize(
    ("n", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (999_999, "1.0 MB"), (3_140_000, "3.1 MB"), (5e15, "5000.0 TB")],
)
def test_sizes(n: float, text: str) -> None:
    assert views.size(n) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"),
        (float("nan"), "–"),
        (0.0, "0.000"),
        (0.98765, "0.988"),
        (-7.1, "-7.100"),
        (2e-7, "2.00e-07"),
        (1e6, "1.00e+06"),
    ],
)
def test_scores(value: float | None, text: str) -> None:
    assert views.score(value) == text


def test_rates_leave_the_views_own_questions_out() -> None:
    assert views.rate(snapshot(1, search=10, own=5), snapshot(3, search=30, own=500)) == 10
    assert views.rate(snapshot(3, search=10), snapshot(3, search=10)) is None
    assert views.rate(snapshot(30, search=10), snapshot(1, search=2)) is None


def test_the_meter_is_steady_over_its_window_and_begins_anew_after_a_restart() -> None:
    meter = views.Meter(window=2)
    assert meter.add(snapshot(0)) is None
    assert [meter.add(snapshot(t, search=10 * t)) for t in (1, 2, 3)] == [10, 10, 10]
    assert [meter.add(snapshot(t, search=30)) for t in (4, 5, 6, 7)] == [5, 0, 0, 0]
    assert meter.add(snapshot(0.5, search=1)) is None
    assert meter.add(snapshot(1.5, search=3)) == 2


def test_facts_of_a_running_proxy() -> None:
    status = {
        "upstream": "http://es:9200", "model": {"name": "mini", "fingerprint": "x"}, "errors": 1,
        "latency_ms": {"total": {"p50": 12.34, "p95": 1234.5}, "upstream": {"p50": None, "p95": None}},
        "recording": {"path": "/r", "exchanges": 1234, "bytes": 3_100_000, "dropped": 2},
    }  # fmt: skip
    facts = views.facts(snapshot(5, search=1, status=status), "http://127.0.0.1:1", "default", 3.14)
    assert facts == views.Facts(
        state="● running", name="default", address="http://127.0.0.1:1", upstream="http://es:9200", model="mini",
        traffic="1 request, 3.1/s", latency="total 12.3/1,234.5 · upstream –/–",
        recorded="1,234 recorded, 3.1 MB, 2 dropped", errors="1 error",
    )  # fmt: skip


def test_facts_of_a_snapshot_that_says_nothing() -> None:
    facts = views.facts(Snapshot(status={}), "u", "n", None)
    assert (facts.state, facts.model, facts.traffic, facts.latency) == ("? ?", "none", "0 requests, –/s", "–")


@pytest.mark.parametrize(
    ("changes", "outcome", "asked"),
    [
        ({}, "reranked by backwards", "red shoes"),
        ({"reranked": False, "reason": "deadline", "error": "no scores"}, "deadline", "red shoes"),
        ({"reranked": False, "error": "nobody there", "query": None}, "nobody there", "POST /books/_search"),
        ({"reranked": False, "route": "pass", "query": None}, "passed on", "POST /books/_search"),
        ({"query": HOSTILE, "model": HOSTILE}, "reranked by " + views.plain(HOSTILE), views.plain(HOSTILE)),
    ],
)
def test_what_became_of_an_exchange(changes: dict[str, Any], outcome: str, asked: str) -> None:
    assert (views.outcome(line(**changes))[:50], views.asked(line(**changes))) == (outcome[:50], asked)


def test_traffic_leaves_own_routes_out() -> None:
    shown = snapshot(lines=(line(exchange_id="a", route="own"), line(exchange_id="b")))
    assert [one.exchange_id for one in views.traffic(shown)] == ["b"]


def test_one_search_side_by_side() -> None:
    one, two, three = place(1, 3), place(2, 1), place(3, 2, text=None, doc_id=None)
    pairs = views.pairs(Sight(exchange_id="e", query="q", model="m", places=(one, two, three)), 2)
    assert pairs == [views.Pair(1, one, two), views.Pair(2, two, three)]
    assert (views.label(one), views.label(three), views.label(None)) == ("1 · text 1", "(no id)", "")


def test_a_page_that_begins_later_and_a_rank_that_nobody_has() -> None:
    sight = Sight(exchange_id="e", query=None, model=None, places=(place(11, 14),))
    assert [(p.rank, p.before is None, p.after is None) for p in views.pairs(sight, 10)] == [
        (11, False, True),
        (14, True, False),
    ]
    assert views.entitled(sight) == "“–”, reranked by none"
