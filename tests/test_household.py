"""The household collection: that its files hang together, and that what the compared systems show is judged."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pytest

import nbproxy
from nbproxy import datasets
from nbproxy.datasets import Collection

SYSTEMS = ("original", "bm25", "all-MiniLM-L6-v2")


@pytest.fixture(scope="module")
def household() -> Collection:
    return datasets.load("household")


def test_it_is_large_enough(household: Collection) -> None:
    assert len(household.documents) >= 300
    assert len(household.queries) >= 60


def test_ids_are_unique_and_texts_are_there(household: Collection) -> None:
    assert household.documents["doc_id"].is_unique
    assert household.queries["query_id"].is_unique
    assert household.queries["query"].str.casefold().is_unique
    for column in ("title", "text"):
        assert household.documents[column].str.strip().ne("").all()


def test_every_judgment_names_what_exists(household: Collection) -> None:
    assert household.qrels["query_id"].isin(household.queries["query_id"]).all()
    assert household.qrels["doc_id"].isin(household.documents["doc_id"]).all()
    assert not household.qrels.duplicated(["query_id", "doc_id"]).any()


def test_grades_are_0_to_3_and_every_query_has_a_relevant_document(household: Collection) -> None:
    assert set(household.qrels["relevance"]) == {0, 1, 2, 3}
    assert household.qrels.groupby("query_id")["relevance"].max().reindex(household.queries["query_id"]).gt(0).all()


@pytest.fixture(scope="module")
def searched(engine: Any, household: Collection) -> Iterator[nbproxy.Session]:
    """All queries for all three systems, by the real proxy."""
    opensearchpy = pytest.importorskip("opensearchpy")
    with nbproxy.start(engine.url, name="household", record=False, deadline=None) as session:
        client = opensearchpy.OpenSearch(hosts=[session.url], timeout=60, max_retries=0)
        for model in (*SYSTEMS[:2], nbproxy.as_reranker(minilm(household), name=SYSTEMS[2])):
            session.model = model
            for query_id, query in household.queries.itertuples(index=False):
                body = {"query": {"multi_match": {"query": query, "fields": ["title", "text"]}}}
                client.search(index="household", body=body, headers={"X-Opaque-Id": query_id})
        client.close()
        yield session


def minilm(household: Collection) -> Callable[[str, Sequence[str]], list[float]]:
    """all-MiniLM-L6-v2, each document embedded once: the same scores in a tenth of the time."""
    encoder: Any = nbproxy.as_reranker(nbproxy.rerankers.packaged_minilm())
    documents = (household.documents["title"] + "\n" + household.documents["text"]).tolist()
    vectors = dict(zip(documents, encoder.embed(documents), strict=True))
    queries = household.queries["query"].tolist()
    asked = dict(zip(queries, encoder.embed(queries), strict=True))

    def score(query: str, texts: Sequence[str]) -> list[float]:
        return [float(np.dot(asked[query], vectors[text])) for text in texts]

    return score


@pytest.mark.engine
@pytest.mark.model
def test_the_first_ten_of_each_system_are_judged(searched: nbproxy.Session, household: Collection) -> None:
    evaluation = searched.evaluate(household.qrels)
    assert list(evaluation.summary.index) == list(SYSTEMS)
    assert set(evaluation.summary["n_queries"]) == {len(household.queries)}
    shown = pd.concat([first_ten(searched.hits, system) for system in SYSTEMS])
    pairs = shown.merge(household.qrels, on=["query_id", "doc_id"], how="left")
    assert sorted(pairs.loc[pairs["relevance"].isna(), ["query_id", "doc_id"]].itertuples(index=False, name=None)) == []
    assert (evaluation.summary["Judged@10"] == 1).all()


def first_ten(hits: pd.DataFrame, system: str) -> pd.DataFrame:
    own = hits[(hits["model"] == system) & (hits["role"] == "served")]
    return own.loc[own["rank"] <= 10, ["query_id", "doc_id"]]


@pytest.mark.engine
@pytest.mark.model
def test_the_model_is_better_by_more_than_chance(searched: nbproxy.Session, household: Collection) -> None:
    """What the demo shows must stay true: the gain over BM25, which is the honest one."""
    tests = searched.evaluate(household.qrels, ["nDCG@10"], baseline="bm25").tests.set_index("system")
    assert tests.loc[SYSTEMS[2], "delta"] > 0.1
    assert tests.loc[SYSTEMS[2], "p_holm"] < 0.001
