"""What the status route tells beside counts."""

from __future__ import annotations

from collections.abc import Callable

import nbproxy

from .test_searches import backwards, search
from .upstreams import Json


def test_a_shadow_has_its_own_latency(start: Callable[..., nbproxy.Session], json_upstream: Json) -> None:
    session = start(json_upstream.url)
    session.shadow["mini"] = backwards
    (before,) = session.status["shadows"]
    assert (before["name"], before["latency_ms"]) == ("mini", {"p50": None, "p95": None, "p99": None})
    search(session)
    session.flush()
    (after,) = session.status["shadows"]
    assert 0 < after["latency_ms"]["p50"] <= after["latency_ms"]["p95"]
    assert after["fingerprint"] == before["fingerprint"]
