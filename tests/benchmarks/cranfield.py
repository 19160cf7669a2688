"""Cranfield's 225 queries through the demo engine and the proxy, the packaged MiniLM on the first 50 hits: nDCG@10
before and after.

Three ways must come to the same figures, or the benchmark stops: the session that searched, its recording read again
from disk, and plain runs of what clients got (the engine's first 50 asked directly, without the proxy; the proxy's
pages), which are measured by ``nbproxy.evaluate`` and, as the oracle, by trec_eval.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import pytrec_eval

import nbproxy
from nbproxy import datasets
from nbproxy.datasets import CRANFIELD_GRADES, Collection
from nbproxy.engine import started
from nbproxy.rerankers import as_reranker, packaged_minilm

from .machine import SHARED, Missing, temporary_folder
from .report import table

FOLDER = SHARED / "data" / "cranfield"
INDEX = "cranfield"
ORIGINAL, MODEL = "original", "all-MiniLM-L6-v2"
DEPTH, PAGE = 50, 10
MEASURES = {"nDCG@10": "ndcg_cut_10", "RR@10": "recip_rank"}  # ours, and what trec_eval calls it of a page of ten
CLOSE = 1e-9  # sums of floats taken in another order


class Found(NamedTuple):
    """What was measured.

    :ivar evaluation: the session's.
    :ivar seconds: of all searches, by who was asked.
    """

    evaluation: nbproxy.Evaluation
    seconds: dict[str, float]


def main(quick: bool = False) -> None:
    found = measured(FOLDER, 20 if quick else None)
    summary, tests = found.evaluation.summary, found.evaluation.tests.set_index(["system", "measure"])
    rows = []
    for measure in MEASURES:
        test = tests.loc[(MODEL, measure)]
        before, after = (f"{summary.loc[system, measure]:.4f}" for system in (ORIGINAL, MODEL))
        better = "/".join(str(int(test[name])) for name in ("wins", "ties", "losses"))
        interval = f"{test['ci_low']:+.3f} … {test['ci_high']:+.3f}"
        rows.append((measure, before, after, f"{test['delta']:+.4f}", interval, f"{test['p']:.2g}", better))
    n = int(summary.loc[MODEL, "n_queries"])
    heads = (f"{n} queries", "engine's order", MODEL, "change", "95 %", "p", "better/same/worse")
    print(table(heads, rows))
    for who, seconds in found.seconds.items():
        print(f"\n{who}: {seconds:.1f} s, {n / seconds:.1f} queries a second")
    print("\nThe recording, a client without the proxy, and trec_eval come to the same figures.")


def measured(folder: Path, limit: int | None = None, *, small: bool = False) -> Found:
    """Search, evaluate three ways.

    :param folder: of the collection.
    :param limit: only its first queries.
    :param small: only the beginnings of the documents that these are judged on: what a test has time for.
    :raises Missing: there is no such folder.
    :raises RuntimeError: two ways disagree.
    """
    if not folder.is_dir():
        raise Missing(
            f"there is no {folder}: this benchmark reads the Cranfield 1400 collection from there (cran.all.1400, "
            "cran.qry, cranqrel), which is public and no part of this project"
        )
    collection = cut(datasets.load(folder, grades=CRANFIELD_GRADES), limit, small)
    engine = started(collection, INDEX)
    try:
        with temporary_folder() as record:
            return _searched(engine.url, collection, record)
    finally:
        engine.close()


def cut(collection: Collection, limit: int | None, small: bool) -> Collection:
    queries = collection.queries[:limit]
    qrels = collection.qrels[collection.qrels["query_id"].isin(queries["query_id"])].reset_index(drop=True)
    documents = collection.documents
    if small:
        documents = documents[documents["doc_id"].isin(qrels["doc_id"])]
        documents = documents.assign(text=documents["text"].str[:160]).reset_index(drop=True)
    return Collection(documents, queries, qrels)


def _searched(url: str, collection: Collection, record: Path) -> Found:
    model = as_reranker(packaged_minilm(), name=MODEL)
    options: dict[str, Any] = {"name": INDEX, "depth": DEPTH, "deadline": 60.0, "record": record}
    direct, alone = run(url, collection.queries, DEPTH)
    with nbproxy.start(url, model=model, **options) as session:
        _, cold = run(session.url, collection.queries, PAGE)
        served, warm = run(session.url, collection.queries, PAGE)
        live = session.evaluate(collection.qrels, list(MEASURES))
    recorded = nbproxy.load(record).evaluate(collection.qrels, list(MEASURES))
    runs = {ORIGINAL: direct, MODEL: served}
    plain = nbproxy.evaluate(runs, collection.qrels, list(MEASURES), ORIGINAL, collection.queries)
    _same(live, recorded, "the recording")
    _close(live, plain.summary, "clients' own runs")
    _close(live, judged(runs, collection), "trec_eval")
    seconds = {
        "the engine, asked directly": alone,
        "through the proxy, documents read for the first time": cold,
        "through the proxy, documents' vectors kept": warm,
    }
    return Found(live, seconds)


def run(url: str, queries: pd.DataFrame, size: int) -> tuple[pd.DataFrame, float]:
    """What a client gets for each query, ``query_id, doc_id, rank``, and how long all of them took."""
    from opensearchpy import OpenSearch

    rows: list[tuple[str, str, int]] = []
    began = time.perf_counter()
    with OpenSearch(hosts=[url], timeout=120, max_retries=0) as client:
        for query_id, query in zip(queries["query_id"], queries["query"], strict=True):
            body = {"query": {"multi_match": {"query": query, "fields": ["title", "text"]}}, "size": size}
            answer = client.search(index=INDEX, body=body, headers={"X-Opaque-Id": query_id})
            rows += [(query_id, hit["_id"], rank) for rank, hit in enumerate(answer["hits"]["hits"], 1)]
    return pd.DataFrame(rows, columns=["query_id", "doc_id", "rank"]), time.perf_counter() - began


def judged(runs: dict[str, pd.DataFrame], collection: Collection) -> pd.DataFrame:
    """trec_eval's means over all queries, one without hits counting 0."""
    qrels: dict[str, dict[str, int]] = {}
    for query_id, doc_id, relevance in collection.qrels.itertuples(index=False):
        qrels.setdefault(query_id, {})[doc_id] = int(relevance)
    oracle = pytrec_eval.RelevanceEvaluator(qrels, set(MEASURES.values()))
    means = {}
    for system, frame in runs.items():
        scores: dict[str, dict[str, float]] = {}
        for query_id, doc_id, rank in frame[frame["rank"] <= PAGE].itertuples(index=False):
            scores.setdefault(query_id, {})[doc_id] = -float(rank)
        found = pd.DataFrame(oracle.evaluate(scores)).T.reindex(collection.queries["query_id"]).fillna(0.0)
        means[system] = {ours: found[theirs].mean() for ours, theirs in MEASURES.items()}
    return pd.DataFrame(means).T


def _same(live: nbproxy.Evaluation, other: nbproxy.Evaluation, who: str) -> None:
    for name in ("summary", "per_query", "tests", "left_out"):
        ours, theirs = getattr(live, name), getattr(other, name)
        if not ours.equals(theirs):
            raise RuntimeError(f"{who}: another {name}:\n{theirs}\nnot\n{ours}")


def _close(live: nbproxy.Evaluation, other: pd.DataFrame, who: str) -> None:
    names = list(MEASURES)
    ours, theirs = live.summary.loc[[ORIGINAL, MODEL], names], other.loc[[ORIGINAL, MODEL], names]
    if not ((ours - theirs).abs() < CLOSE).all(axis=None):
        raise RuntimeError(f"{who}: other figures:\n{theirs}\nnot\n{ours}")


if __name__ == "__main__":
    main()
