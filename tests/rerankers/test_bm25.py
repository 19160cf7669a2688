"""``"bm25"`` is Lucene's formula over the candidates."""

from __future__ import annotations

import math

import pytest

from nbproxy.rerankers import as_reranker

TEXTS = ["Vitamin C, vitamin D", "a cold and its cure", "the cure", "", "vitamin vitamin vitamin b b b c"]


def by_hand(query, texts, k1=1.2, b=0.75):
    documents = ["".join(c if c.isalnum() else " " for c in text.lower()).split() for text in texts]
    mean = sum(map(len, documents)) / len(documents)
    scores = []
    for words in documents:
        score = 0.0
        for word in query.lower().split():
            df, tf = sum(word in document for document in documents), words.count(word)
            idf = math.log(1 + (len(documents) - df + 0.5) / (df + 0.5))
            score += idf * tf / (tf + k1 * (1 - b + b * len(words) / mean))
        scores.append(score)
    return scores


@pytest.mark.parametrize("query", ["vitamin", "Vitamin C", "cure a cold", "vitamin vitamin c", "c zebra", "the"])
def test_the_formula(query):
    assert as_reranker("bm25")(query, TEXTS) == pytest.approx(by_hand(query, TEXTS), abs=1e-12)


@pytest.mark.parametrize("query", ["zebra", "", "…", "日本"])
@pytest.mark.parametrize("texts", [TEXTS, ["one"], ["", ""], ["!"], []])
def test_words_that_occur_nowhere(query, texts):
    assert as_reranker("bm25")(query, texts) == [0.0] * len(texts)


def test_one_candidate():
    assert as_reranker("bm25")("cure", ["the cure"])[0] > 0


def test_prints_nothing(capfd):
    as_reranker("bm25")("cure", TEXTS)
    assert capfd.readouterr() == ("", "")


def test_identity():
    model, again, named = as_reranker("bm25"), as_reranker("bm25"), as_reranker("bm25", name="words")
    assert (model.name, named.name, model.source) == ("bm25", "words", "bm25")
    assert model.fingerprint == again.fingerprint == named.fingerprint
    assert len(model.fingerprint) == 16
