"""Counts and percentiles."""

from __future__ import annotations

from nbproxy.drafts import Draft
from nbproxy.heads import RequestHead
from nbproxy.settings import Settings
from nbproxy.stats import Stats


def ended(route: str, seconds: float, reason: str | None) -> Draft:
    draft = Draft(lambda _: None, None, RequestHead(b"GET", b"/", 1, b"Host: a\r\n"), Settings(), route, 100.0)
    draft.status, draft.reason, draft.ended_at = 200, reason, 100.0 + seconds
    return draft


def test_counts_and_latencies() -> None:
    stats = Stats()
    stats.count([ended("search" if n < 40 else "pass", n / 1000, "sorted" if n < 10 else None) for n in range(100)])
    assert stats.counts() == {"route": {"search": 40, "pass": 60}, "status": {"200": 100}, "reason": {"sorted": 10}}
    assert stats.latency_ms()["total"] == {"p50": 50.0, "p95": 94.0, "p99": 98.0}
    assert stats.latency_ms()["upstream"] == {"p50": None, "p95": None, "p99": None}
    assert Stats().latency_ms()["total"] == {"p50": None, "p95": None, "p99": None}
