"""Quality: measured where it can be, said where it cannot."""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd

import nbproxy
from nbproxy.panel import quality
from nbproxy.panel.quality import Judgments

from ..test_searches import backwards, search
from ..upstreams import Json


def judged(*ids: str) -> Judgments:
    return Judgments(pd.DataFrame({"query_id": list(ids), "doc_id": "49", "relevance": 1}))


def test_it_says_what_is_missing(start: Callable[..., nbproxy.Session], json_upstream: Json) -> None:
    session = start(json_upstream.url, model=backwards)
    assert "No judgments yet" in quality.quality(session, None)
    assert "Nothing to measure yet" in quality.quality(session, judged("q"))
    empty = Judgments(pd.DataFrame({"query_id": ["<b>"]}))
    search(session)
    assert "Nothing to measure yet" in quality.quality(session, empty)


def test_each_models_quality_over_time(start: Callable[..., nbproxy.Session], json_upstream: Json) -> None:
    session = start(json_upstream.url, model=backwards)
    for model in (backwards, "original"):
        session.model = model
        for word in ("one", "two", "unjudged"):
            search(session, {"query": {"match": {"title": word}}})
    session.flush()
    lines, ends = quality.progress(session._rows(), session._lines(), judged("one", "two"))
    found = {name: [value for value in values if value is not None] for name, values in lines.items()}
    assert set(found) == {"backwards", "original"}
    assert set(found["backwards"]) == {1.0}  # document 49 of 50 is the first of the order turned round
    assert set(found["original"]) == {0.0}
    assert all(len(values) == quality.BUCKETS for values in lines.values())
    assert ends[1].endswith("UTC")
    shown = quality.quality(session, judged("one", "two"))
    assert "by model, over time" in shown
    assert "n_queries" in shown
