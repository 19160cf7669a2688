"""Plain callables and listwise ones as models."""

from __future__ import annotations

import functools

import numpy as np
import pytest

from nbproxy.errors import ConfigError, RerankFault
from nbproxy.ranking import Hit
from nbproxy.rerankers import as_reranker, listwise

HITS = [Hit("i", "a", 1, text="one"), Hit("i", "b", 2, text="three")]


def by_length(query, texts):
    return [len(text) for text in texts]


def by_rank(query, hits, scale=1):
    return [-hit.rank * scale for hit in hits]


class Scorer:
    def __call__(self, query, texts):
        return by_length(query, texts)

    def score_hits(self, query, hits):
        return by_rank(query, hits)


class Named(Scorer):
    name = "my model"


@pytest.mark.parametrize(
    ("function", "name", "scores"),
    [
        (by_length, "by_length", [3, 5]),
        (by_rank, "by_rank", [-1, -2]),
        (functools.partial(by_rank, scale=2), "by_rank", [-2, -4]),
        (functools.partial(functools.partial(by_rank), scale=2), "by_rank", [-2, -4]),
        (lambda query, texts: [0] * len(texts), "<lambda>", [0, 0]),
        (lambda q, hits: [hit.rank for hit in hits], "<lambda>", [1, 2]),
        (lambda q, t, /: [1] * len(t), "<lambda>", [1, 1]),
        (lambda *given: [len(given)] * 2, "<lambda>", [2, 2]),
        (Scorer(), "Scorer", [3, 5]),
        (Named(), "my model", [3, 5]),
        (Scorer().score_hits, "score_hits", [-1, -2]),
        (np.vectorize(lambda query, text: len(text)), "<lambda>", [3, 5]),
    ],
)
def test_callables(function, name, scores):
    reranker = as_reranker(function)
    assert reranker.name == name
    assert list(reranker.score("q", HITS)) == scores
    assert reranker.source is function
    assert repr(reranker) == f"<FunctionReranker {name!r} {reranker.fingerprint}>"
    assert as_reranker(function, name="other").name == "other"


def test_called_on_texts():
    assert as_reranker(by_length)("q", ["one", "three"]) == [3.0, 5.0]
    assert as_reranker(by_rank)("q", ["one", "three"]) == [-1.0, -2.0]
    with pytest.raises(RerankFault, match=r"returned 0 scores for 1 text$"):
        as_reranker(lambda query, texts: [])("q", ["one"])


async def later(query, texts):
    return [0.0 for _ in texts]


class Later:
    async def __call__(self, query, texts):
        return [0.0 for _ in texts]


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda query: [], r"<lambda>\(query\): too many positional arguments; a model is called as f\(query, texts\)"),
        (lambda query, texts, more: [], r"missing a required argument: 'more'"),
        (lambda query, *, hits: [], r"too many positional arguments|missing a required"),
        (later, "later is a coroutine function"),
        (Later(), "Later is a coroutine function"),
    ],
)
def test_refused(function, message):
    with pytest.raises(ConfigError, match=message):
        as_reranker(function)


@pytest.mark.parametrize("order", [[1, 2, 0], (1, 2, 0), np.array([1, 2, 0]), iter([1, 2, 0]), [np.int8(1), 2, 0]])
def test_listwise(order):
    reranker = listwise(lambda query, texts: order)
    assert reranker("q", ["a", "b", "c"]) == [1.0, 3.0, 2.0]
    assert as_reranker(reranker) is reranker


def test_listwise_has_a_name_and_a_fingerprint_of_its_own():
    assert listwise(by_length).name == "by_length"
    assert listwise(by_length, name="mine").name == "mine"
    assert listwise(by_length).fingerprint != as_reranker(by_length).fingerprint
    assert listwise(by_rank).wants_hits


@pytest.mark.parametrize(
    "order", [[0, 1], [0, 1, 1], [1, 2, 3], [0, 1, 2, 3], [-1, 0, 1], [0.5, 1, 2], [True, False, 2], None, "012", [[0]]]
)
def test_listwise_wants_a_permutation(order):
    with pytest.raises(RerankFault, match=r"listwise model (has to return each|returned .* instead of)") as caught:
        listwise(lambda query, texts: order)("q", ["a", "b", "c"])
    assert caught.value.why == "model-error"


@pytest.mark.parametrize("what", [3, int, [1, 0]])
def test_listwise_takes_functions(what):
    with pytest.raises(ConfigError, match=r"listwise takes a function \(query, texts\) -> indices"):
        listwise(what)
