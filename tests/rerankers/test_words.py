"""The overlap of words."""

from __future__ import annotations

import pytest

from nbproxy.rerankers import as_reranker


@pytest.mark.parametrize(
    ("query", "text", "score"),
    [
        ("quick cat", "a Quick, quick dog", 0.5),
        ("quick cat", "cat! QUICK?", 1.0),
        ("quick quick cat", "quick", 0.5),
        ("Straße", "STRASSE", 1.0),
        ("cafe\u0301", "café", 1.0),
        ("vitamin c", "c", 0.5),
        ("", "anything", 0.0),
        ("?!", "anything", 0.0),
        ("cats", "cat", 0.0),
        ("京都", "京都", 1.0),
    ],
)
def test_scores(query, text, score):
    assert as_reranker("words")(query, [text, ""]) == [score, 0.0]


def test_its_name_and_fingerprint():
    words = as_reranker("words")
    assert (words.name, words.source) == ("words", "words")
    assert as_reranker("words", name="w").name == "w"
    assert words.fingerprint == as_reranker("words").fingerprint != as_reranker("bm25").fingerprint
