"""AnswerDotAI's rerankers as models: the real library."""

from __future__ import annotations

import warnings

import pytest

from nbproxy.rerankers import as_reranker
from nbproxy.rerankers.answerdotai import AnswerDotAI
from tests.rerankers.test_flash import NAME, save_ranker

QUERY = "w1 w2 w3"
TEXTS = [f"w{number} " * (1 + number % 9) for number in range(70)] + ["w3 w4"]


@pytest.fixture(scope="module")
def library():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import rerankers

        return rerankers


@pytest.fixture
def cross_encoder(library, tiny):
    folder = tiny("bert", 1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return library.Reranker(str(folder), model_type="cross-encoder", device="cpu", verbose=0), folder


def test_a_cross_encoder(cross_encoder):
    ranker, folder = cross_encoder
    reranker = as_reranker(ranker)
    assert type(reranker) is AnswerDotAI
    assert (reranker.name, reranker.source) == (folder.name, ranker)
    wanted = {one.document.doc_id: one.score for one in ranker.rank(QUERY, TEXTS).results}
    scores = reranker(QUERY, TEXTS)
    assert scores == pytest.approx([wanted[place] for place in range(len(TEXTS))], abs=1e-5)
    assert reranker(QUERY, [TEXTS[0], TEXTS[0]]) == pytest.approx([scores[0]] * 2, abs=1e-5)
    assert reranker(QUERY, []) == []


def test_flashrank_by_way_of_it(library, tmp_path):
    ranker = library.Reranker(NAME, model_type="flashrank", cache_dir=str(save_ranker(tmp_path)), verbose=0)
    reranker = as_reranker(ranker)
    assert reranker.name == NAME
    assert reranker(QUERY, TEXTS[:5]) == pytest.approx(as_reranker(ranker.model)(QUERY, TEXTS[:5]), abs=1e-6)


class Ordering:
    """The parts of a listwise ranker that the library's own listwise rankers share."""

    def __new__(cls):
        from rerankers.models.ranker import BaseRanker
        from rerankers.results import RankedResults, Result
        from rerankers.utils import prep_docs

        class Longest(BaseRanker):
            model = "vendor/longest-first"

            def __init__(self):
                self.calls = []

            def score(self, query, doc):
                raise NotImplementedError

            def rank(self, query, docs, doc_ids=None):
                self.calls.append(len(docs))
                made = sorted(prep_docs(docs, doc_ids), key=lambda doc: -len(doc.text))[:-1]
                return RankedResults([Result(doc, rank=rank) for rank, doc in enumerate(made, 1)], query)

        return Longest()


def test_an_order_without_scores(library):
    ranker = Ordering()
    reranker = as_reranker(ranker)
    assert reranker.name == "vendor/longest-first"
    assert reranker("q", ["bb", "a", "ccc", "bb"]) == [2.0, 0.0, 3.0, 2.0]
    reranker("q", [str(number) for number in range(100)])
    assert ranker.calls == [3, 100]


def test_fingerprints(cross_encoder, library, tiny):
    ranker, _ = cross_encoder
    other = library.Reranker(str(tiny("bert", 2)), model_type="cross-encoder", device="cpu", verbose=0)
    assert as_reranker(ranker).fingerprint == as_reranker(ranker).fingerprint != as_reranker(other).fingerprint
    keys = [library.Reranker("cohere", api_key=key, verbose=0) for key in "ab"]
    one, two = map(as_reranker, keys)
    assert one.fingerprint == two.fingerprint
    assert "rerank" in one.name
