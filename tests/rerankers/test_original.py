"""``"original"`` judges nothing."""

from __future__ import annotations

import math

from nbproxy.ranking import Hit
from nbproxy.rerankers import Original, as_reranker


def test_scores_are_nan():
    model = as_reranker("original")
    assert isinstance(model, Original)
    assert (model.name, model.source, len(model.fingerprint)) == ("original", "original", 16)
    assert all(math.isnan(score) for score in model.score("q", [Hit(None, "a", 1), Hit(None, "b", 2)]))
    assert all(math.isnan(score) for score in model("q", ["a", "b"]))
    named = as_reranker(model, name="engine")
    assert isinstance(named, Original)  # the pipeline knows it by that
    assert named.name == "engine"
