"""Counts and percentiles."""

from __future__ import annotations

from nbproxy.exchange import Exchange
from nbproxy.stats import Stats


def test_counts_and_latencies() -> None:
    stats = Stats()
    for n in range(100):
        stats.count(
            Exchange(
                exchange_id=str(n), started=0, method="GET", target="/", status=200, total_ms=float(n),
                route="search" if n < 40 else "pass", reason="sorted" if n < 10 else None,
            )
        )  # fmt: skip
    assert stats.counts() == {"route": {"search": 40, "pass": 60}, "status": {"200": 100}, "reason": {"sorted": 10}}
    assert stats.latency_ms()["total"] == {"p50": 50.0, "p95": 94.0, "p99": 98.0}
    assert stats.latency_ms()["upstream"] == {"p50": None, "p95": None, "p99": None}
    assert Stats().latency_ms()["total"] == {"p50": None, "p95": None, "p99": None}
