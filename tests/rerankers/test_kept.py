"""Kept scores: computed once, told apart by model and query, bounded."""

from __future__ import annotations

import numpy as np

from nbproxy.rerankers.kept import ScoreCache, hit_rate


class Counting:
    """Computes a row of two numbers a text, and notes what it was asked."""

    def __init__(self) -> None:
        self.asked: list[list[str]] = []

    def __call__(self, texts: list[str]) -> np.ndarray:
        self.asked.append(texts)
        return np.array([[len(text), ord(text[0])] for text in texts], dtype=np.float32)


def test_a_text_is_computed_once_for_each_model_and_query() -> None:
    cache, compute = ScoreCache(), Counting()
    first = cache.rows("f", "q", ["a", "bb"], compute)
    np.testing.assert_array_equal(first, [[1, 97], [2, 98]])
    np.testing.assert_array_equal(cache.rows("f", "q", ["bb", "ccc"], compute), [[2, 98], [3, 99]])
    cache.rows("g", "q", ["a"], compute)
    cache.rows("f", "p", ["a"], compute)
    assert compute.asked == [["a", "bb"], ["ccc"], ["a"], ["a"]]
    assert (cache.hits, cache.misses, hit_rate(cache.hits, cache.misses)) == (1, 5, 0.1667)


def test_what_stands_in_query_and_text_is_not_mixed_up() -> None:
    cache, compute = ScoreCache(), Counting()
    cache.rows("f", "qa", ["b"], compute)
    cache.rows("f", "q", ["ab"], compute)
    cache.rows("fq", "", ["ab"], compute)
    cache.rows("f", "q", ["\ud800"], compute)  # a lone surrogate, which some engines answer with
    assert cache.misses == len(cache) == 4


def test_those_used_last_are_kept() -> None:
    cache, compute = ScoreCache(most=2), Counting()
    for texts in (["a", "b"], ["a"], ["c"], ["a", "c"], ["b"], ["x", "y", "z"]):
        cache.rows("f", "q", texts, compute)
    assert compute.asked == [["a", "b"], ["c"], ["b"], ["x", "y", "z"]]
    assert len(cache) == 2


def test_none_are_kept_where_none_are_wanted() -> None:
    cache, compute = ScoreCache(most=0), Counting()
    for _ in range(2):
        cache.rows("f", "q", ["a"], compute)
    assert len(compute.asked) == 2
    assert len(cache) == 0
