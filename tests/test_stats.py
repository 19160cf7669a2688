"""Counts and percentiles."""

from __future__ import annotations

from nbproxy.drafts import Draft
from nbproxy.heads import RequestHead
from nbproxy.settings import Settings
from nbproxy.stats import Stats, tally

from .recordings import exchange


def ended(route: str, seconds: float, reason: str | None) -> Draft:
    draft = Draft(lambda _: None, None, RequestHead(b"GET", b"/", 1, b"Host: a\r\n"), Settings(), route, 100.0)
    draft.status, draft.reason, draft.ended_at = 200, reason, 100.0 + seconds
    return draft


def test_counts_and_latencies() -> None:
    stats = Stats()
    rows = [ended("search" if n < 40 else "pass", n / 1000, "sorted" if n < 10 else None) for n in range(100)]
    stats.count(tally(rows[:50]))
    stats.count(tally(rows[50:]))
    assert stats.counts() == {"route": {"search": 40, "pass": 60}, "status": {"200": 100}, "reason": {"sorted": 10}}
    assert stats.latency_ms()["total"] == {"p50": 50.0, "p95": 94.0, "p99": 98.0}
    assert stats.latency_ms()["upstream"] == {"p50": None, "p95": None, "p99": None}
    assert Stats().latency_ms()["total"] == {"p50": None, "p95": None, "p99": None}


def test_routes_of_ours_are_counted_and_not_timed() -> None:
    stats = Stats()
    stats.count(tally([exchange(1, route="own", total_ms=60_000.0), exchange(2, total_ms=2.0, rerank_ms=1.0)]))
    assert stats.counts()["route"] == {"own": 1, "pass": 1}
    assert stats.latency_ms()["total"] == {"p50": 2.0, "p95": 2.0, "p99": 2.0}
    assert stats.latency_ms()["rerank"]["p99"] == 1.0


def test_the_newest_are_timed() -> None:
    stats = Stats()
    for milliseconds in (9.0, 1.0):
        stats.count(tally([exchange(n, total_ms=milliseconds) for n in range(2048)]))
    assert stats.latency_ms()["total"] == {"p50": 1.0, "p95": 1.0, "p99": 1.0}
