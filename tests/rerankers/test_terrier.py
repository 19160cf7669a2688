"""PyTerrier's transformers as models: the real library, without Java."""

from __future__ import annotations

import warnings

import pandas as pd
import pytest

from nbproxy.errors import RerankFault
from nbproxy.ranking import Hit
from nbproxy.rerankers import as_reranker
from nbproxy.rerankers.terrier import Terrier

# pyterrier 1.1 sorts frames in place, which pandas 3.1 deprecates
pytestmark = pytest.mark.filterwarnings("ignore:The inplace keyword")
TEXTS = ["a", "bbb", "cc", "dddd"]


@pytest.fixture(scope="module")
def pt():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import pyterrier

        return pyterrier


def hits(*ids):
    return [Hit("i", one, rank, score=9.0 - rank, text="x" * rank) for rank, one in enumerate(ids, 1)]


def by_length(row):
    return len(row["text"])


def by_upstream(row):
    return -row["score"]


def test_a_transformer(pt):
    transformer = pt.apply.doc_score(by_length)
    reranker = as_reranker(transformer)
    assert type(reranker) is Terrier
    assert (reranker.name, reranker.source) == ("pt.apply.doc_score()", transformer)
    assert reranker("q", TEXTS) == [1.0, 3.0, 2.0, 4.0]
    assert reranker("q", []) == []
    assert as_reranker(transformer, name="mine").name == "mine"


def test_what_goes_in(pt):
    seen = []

    def keep(frame):
        seen.append(frame)
        return frame.assign(score=1.0)

    as_reranker(pt.apply.generic(keep)).score("the query", hits("a", "b"))
    assert seen[0].to_dict("list") == {
        "qid": ["1", "1"], "query": ["the query"] * 2, "docno": ["a", "b"], "text": ["x", "xx"],
        "score": [8.0, 7.0], "rank": [0, 1],
    }  # fmt: skip
    for strange in (hits("a", "a"), hits("a", None)):
        as_reranker(pt.apply.generic(keep)).score("q", strange)
        assert seen[-1]["docno"].tolist() == ["0", "1"]


def test_pipelines_and_cut_offs(pt):
    best = pt.apply.doc_score(by_length) % 2
    reranker = as_reranker(best)
    assert reranker.name == "(pt.apply.doc_score() >> RankCutoff(2))"
    assert reranker("q", TEXTS) == [2.0, 3.0, 2.0, 4.0][:0] or reranker("q", TEXTS)[1::2] == [3.0, 4.0]
    scores = reranker("q", TEXTS)
    assert scores[0] == scores[2] < 3.0
    turned = as_reranker(pt.apply.doc_score(by_upstream))
    assert turned.score("q", hits("a", "b", "c")) == [-8.0, -7.0, -6.0]


def test_fingerprints(pt):
    made = [
        pt.apply.doc_score(by_length), pt.apply.doc_score(by_upstream), pt.apply.doc_score(by_length) % 2,
        pt.apply.doc_score(by_upstream) % 2, pt.apply.doc_score(by_upstream) % 3,
    ]  # fmt: skip
    assert len({as_reranker(one).fingerprint for one in made}) == len(made)
    again = pt.apply.doc_score(by_upstream) % 3
    assert as_reranker(again).fingerprint == as_reranker(made[-1]).fingerprint


def test_a_transformer_with_a_name(pt):
    class Mine(pt.Transformer):
        name = "my model"

        def transform(self, inp):
            return inp.assign(rank=range(len(inp))).drop(columns="score")

    reranker = as_reranker(Mine())
    assert reranker.name == "my model"
    assert reranker("q", TEXTS) == [0.0, -1.0, -2.0, -3.0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda frame: frame[["qid", "query"]], "the columns qid, query instead of docno and score"),
        (lambda frame: frame.assign(docno="other"), "a document twice, or one that it was not given"),
        (lambda frame: pd.concat([frame, frame]), "a document twice, or one"),
        (lambda frame: frame.assign(score=float("nan")), "scores have to be finite"),
    ],
)
def test_wrong_results(pt, change, message):
    with pytest.raises(RerankFault, match=message):
        as_reranker(pt.apply.generic(change))("q", TEXTS)
