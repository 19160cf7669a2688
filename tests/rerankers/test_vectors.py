"""Kept vectors: read once, found again, bounded."""

from __future__ import annotations

import numpy as np

from nbproxy.rerankers.vectors import VectorCache


def embed(texts: list[str]) -> np.ndarray:
    return np.array([[len(text), ord(text[0])] for text in texts], dtype=np.float64)


def test_a_text_is_read_once() -> None:
    cache, asked = VectorCache(), []

    def noted(texts: list[str]) -> np.ndarray:
        asked.append(list(texts))
        return embed(texts)

    np.testing.assert_array_equal(cache.vectors(["a", "bb", "a"], noted), embed(["a", "bb", "a"]))
    np.testing.assert_array_equal(cache.vectors(["bb", "ccc"], noted), embed(["bb", "ccc"]))
    assert asked == [["a", "bb"], ["ccc"]]
    assert (cache.hits, cache.misses) == (2, 3)


def test_those_used_last_are_kept() -> None:
    cache = VectorCache(most=2)
    cache.vectors(["a", "b"], embed)
    cache.vectors(["a"], embed)
    cache.vectors(["c"], embed)
    assert cache.misses == 3
    cache.vectors(["a", "c"], embed)
    assert cache.misses == 3
    cache.vectors(["b"], embed)
    assert cache.misses == 4


def test_more_than_are_kept_at_once() -> None:
    texts = [str(n) for n in range(10)]
    np.testing.assert_array_equal(VectorCache(most=3).vectors(texts, embed), embed(texts))
