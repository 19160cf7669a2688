"""The pure part: the order, the page, the ranks."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbproxy import pipeline
from nbproxy.dialects import Answer, Elasticsearch
from nbproxy.messages import Headers, Request
from nbproxy.pipeline import Alone, Plan
from nbproxy.ranking import Hit, Search, query_hash, reorder
from nbproxy.rerankers import as_reranker
from nbproxy.settings import Settings

MODEL = as_reranker(lambda query, texts: [0.0] * len(texts), name="m")


def answer(texts: list[str | None]) -> Answer:
    hits = tuple(Hit("i", str(n), n + 1, 9.0 - n, text) for n, text in enumerate(texts))
    return Answer(b"", hits, tuple((n, n) for n in range(len(hits))))


SCORES = st.lists(st.none() | st.floats(-5, 5) | st.integers(-3, 3).map(float), max_size=30)


@given(SCORES)
def test_an_order_is_a_permutation_by_score_ties_and_the_unscored_in_the_order_given(
    scores: list[float | None],
) -> None:
    order = reorder(scores)
    assert sorted(order) == list(range(len(scores)))
    for one, other in pairwise(order):
        a, b = scores[one], scores[other]
        if a is None:
            assert b is None
        elif b is not None:
            assert a >= b
        if a == b:
            assert one < other


@given(SCORES, st.integers(1, 40), st.integers(0, 30), st.integers(1, 30))
def test_pages_over_one_order_neither_repeat_nor_lose(
    scores: list[float | None], depth: int, size: int, step: int
) -> None:
    found = answer([None if score is None else "t" for score in scores])
    positions = pipeline.candidates(found, depth)
    given = [scores[i] for i in positions]
    settings = Settings(depth=depth)
    seen: list[int] = []
    for offset in range(0, len(scores) + 1, step):
        outcome = pipeline.ranked(found, Search("q", offset, step), settings, MODEL, positions, given)  # type: ignore[arg-type]
        seen += outcome.order
    assert sorted(seen) == list(range(len(scores)))
    assert seen[depth:] == list(range(depth, len(scores)))


def test_ranks_scores_and_what_was_returned() -> None:
    found = answer(["a", None, "c", "d"])
    outcome = pipeline.ranked(found, Search("q", 1, 2), Settings(depth=3), MODEL, [0, 2], [1.0, 2.0])
    assert outcome.order == (0, 1)
    assert outcome.ranking.ranks == (2, 3, 1, 4)
    assert outcome.ranking.returned == (True, True, False, False)
    assert outcome.ranking.scores[::2] == (1.0, 2.0)
    assert math.isnan(outcome.ranking.scores[1] or 0)
    assert outcome.ranking.scores[3] is None


def test_min_score_removes_scored_hits_after_the_page_is_cut() -> None:
    found = answer(["a", None, "c"])
    outcome = pipeline.ranked(found, Search("q", 0, 2), Settings(min_score=1.5), MODEL, [0, 2], [1.0, 2.0])
    assert outcome.order == (2,)
    outcome = pipeline.ranked(found, Search("q", 0, 3), Settings(min_score=1.5), MODEL, [0, 2], [1.0, 2.0])
    assert outcome.order == (2, 1)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b'{"query":{"match":{"a":"b"}}}', None),
        (b'{"query":{"match":{"a":"b"}},"from":7}', "beyond-depth"),
        (b'{"query":{"match_all":{}},"from":7}', "beyond-depth"),
        (b'{"query":{"match_all":{}}}', "match-all"),
        (b'{"query":{"match":{"a":"b"}},"from":7,"sort":"year"}', "sorted"),
    ],
)
def test_the_first_reason_that_applies(body: bytes, reason: str | None) -> None:
    found = pipeline.plan(Elasticsearch(), Request("POST", "/_search", Headers(), body), Settings(model=MODEL, depth=7))
    assert (found.reason if isinstance(found, Alone) else None) == reason
    assert isinstance(found, Alone if reason else Plan)


def test_the_hash_of_a_query_ignores_case_and_white_space() -> None:
    assert query_hash(" Caf\u00e9\u3000 au  LAIT\n") == query_hash("cafe\u0301 au lait")
    assert query_hash("a") != query_hash("b")
    assert len(query_hash("a")) == 18
    assert pipeline.query_id(None, "a") == query_hash("a")
    assert pipeline.query_id("mine", "a") == "mine"
