"""A session as a PyTerrier transformer, with the real library and the real demo engine."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from typing import Any

import pandas as pd
import pytest

import nbproxy
from nbproxy import retriever
from nbproxy.errors import ConfigError, MissingExtra, UpstreamFault

from .upstreams import Json

Start = Callable[..., nbproxy.Session]
# pyterrier 1.1 sorts frames in place, which pandas 3.1 deprecates
pytestmark = pytest.mark.filterwarnings("ignore:The inplace keyword", "ignore:.*inplace.*")


@pytest.fixture(scope="module")
def pt() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import pyterrier

        return pyterrier


def backwards(query: str, texts: list[str]) -> list[int]:
    return list(range(len(texts)))


def test_queries_in_documents_out(pt: Any, start: Start, json_upstream: Json) -> None:
    session = start(json_upstream.url, model=backwards, depth=10)
    found = nbproxy.pyterrier(session, "books", size=5)
    assert isinstance(found, pt.Transformer)
    assert repr(found) == f"nbproxy({session.url}/books/_search)"
    topics = pd.DataFrame([["7", "red shoes", "x"], ["8", "blue shoes", "y"]], columns=["qid", "query", "extra"])
    frame = found(topics)
    assert list(frame.columns) == ["qid", "query", "extra", "docno", "score", "rank", "text"]
    assert frame[frame.qid == "7"].docno.tolist() == ["9", "8", "7", "6", "5"]
    assert frame[frame.qid == "8"]["rank"].tolist() == [0, 1, 2, 3, 4]
    assert frame[frame.qid == "8"].score.tolist() == [5.0, 4.0, 3.0, 2.0, 1.0]
    assert frame.extra.tolist() == ["x"] * 5 + ["y"] * 5
    assert "document 9" in frame.text[0]
    rows = session.frame
    assert rows["query"].tolist() == ["red shoes", "blue shoes"]
    assert rows.query_id.tolist() == ["7", "8"]
    assert rows.reranked.all()


def test_in_a_pipeline(pt: Any, start: Start, json_upstream: Json) -> None:
    session = start(json_upstream.url, model="original")
    by_id = pt.apply.doc_score(lambda row: int(row["docno"]))
    best = (nbproxy.pyterrier(session, size=20) >> by_id) % 3
    assert best.search("shoes").docno.tolist() == ["19", "18", "17"]
    assert nbproxy.as_reranker(best).name  # and what is in front of an engine can be a model, too
    again = nbproxy.pyterrier(session)(best.search("shoes"))
    assert len(again) == 60
    assert len(nbproxy.pyterrier(session)(pd.DataFrame(columns=["qid", "query"]))) == 0


@pytest.mark.engine
def test_an_experiment(pt: Any, start: Start, engine: Any) -> None:
    from nbproxy import datasets

    household = datasets.load("household")
    session = start(engine.url, model="bm25")
    queries = household.queries.head(12)
    topics = pd.DataFrame({"qid": queries.query_id, "query": queries["query"]})
    qrels = household.qrels.rename(columns={"query_id": "qid", "doc_id": "docno", "relevance": "label"})
    qrels = qrels[qrels.qid.isin(topics.qid)]
    found = nbproxy.pyterrier(session, "household", fields=["title", "text"], size=50)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        table = pt.Experiment([found], topics, qrels, eval_metrics=["ndcg_cut_10"])
    ours = session.evaluate(household.qrels).summary
    assert table["ndcg_cut_10"][0] == pytest.approx(ours.loc["bm25", "nDCG@10"], abs=1e-9)


def test_a_body_of_ones_own_and_a_url(pt: Any, start: Start, json_upstream: Json) -> None:
    session = start(json_upstream.url, model=backwards, depth=4)
    found = nbproxy.pyterrier(
        session.url, "/books/_search", body=lambda query: {"query": {"match": {"title": query}}, "size": 2}
    )
    assert found.search("shoes").docno.tolist() == ["3", "2"]
    assert found.search("shoes", qid="ü").qid.tolist() == ["ü", "ü"]
    assert session.frame.query_id[1].startswith("q-")


def test_errors(pt: Any, start: Start, json_upstream: Json, monkeypatch: pytest.MonkeyPatch) -> None:
    session = start(json_upstream.url)
    json_upstream.answer = lambda *_: (404, {"error": "no such index"})
    with pytest.raises(UpstreamFault, match=r'/no/_search answered 404: \{"error": "no such index"\}'):
        nbproxy.pyterrier(session, "no").search("shoes")
    with pytest.raises(ConfigError, match="takes a session, or a URL"):
        nbproxy.pyterrier("somewhere")
    with pytest.raises(ConfigError, match="/books/other is the path of no search"):
        nbproxy.pyterrier(session, "/books/other")
    retriever._transformer.cache_clear()
    monkeypatch.setitem(sys.modules, "pyterrier", None)
    with pytest.raises(MissingExtra, match=r'run: pip install "nbproxy\[pyterrier\]"'):
        nbproxy.pyterrier(session)
