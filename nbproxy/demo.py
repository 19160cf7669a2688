"""The main job as a user would do it: put the proxy in front of an engine, search, swap models, see what got better.

Three systems are measured on the packaged collection: the engine's own order, BM25 over the engine's first 50, and a
sentence model over the same 50. How it looks is in ``demo_report``.
"""

from __future__ import annotations

import contextlib
import io
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from .compare import Comparison
from .datasets import Collection
from .engine import INDEX, INSTALL, Engine, demo_engine
from .errors import ConfigError, MissingExtra
from .evaluate import Evaluation
from .registry import start
from .rerankers import as_reranker, packaged_minilm
from .session import Session

DEPTH = 50
DEADLINE_S = 30.0  # not the default 5: a search that fails open on a slow machine would not be measured
ORIGINAL, BM25, MINILM = "original", "bm25", "all-MiniLM-L6-v2"
MEASURES = ("nDCG@10", "RR@10")
_NEEDED = {"osmem_server": "osmem-server", "opensearchpy": "opensearch-py", "torch": "torch"}


@dataclass(frozen=True)
class Result:
    """What the demo found.

    :ivar systems: the three systems' names; the last one is the model's.
    :ivar comparisons: against the engine's order, by system.
    :ivar evaluation: with the engine's order as baseline; ``over_bm25``: with BM25 as baseline.
    :ivar recording: its directory, None if it was kept in memory only.
    """

    collection: Collection = field(repr=False)
    systems: tuple[str, ...]
    comparisons: Mapping[str, Comparison] = field(repr=False)
    evaluation: Evaluation = field(repr=False)
    over_bm25: Evaluation = field(repr=False)
    hits: pd.DataFrame = field(repr=False)
    recording: Path | None
    seconds: float

    @property
    def comparison(self) -> pd.DataFrame:
        """One row for each system against the engine's order."""
        return pd.concat([found.summary for found in self.comparisons.values()], ignore_index=True)

    @property
    def tests(self) -> pd.DataFrame:
        """The paired t-tests: ``baseline``, then the columns of ``Evaluation.tests``."""
        found = [self.evaluation, self.over_bm25]
        return pd.concat([one.tests.assign(baseline=one.baseline) for one in found], ignore_index=True)

    def as_dict(self) -> dict[str, Any]:
        """The tables as plain values: what ``nbproxy demo --json`` prints. NaN is null."""
        tables = {
            "evaluation": self.evaluation.summary.reset_index(),
            "tests": self.tests,
            "comparison": self.comparison,
        }
        return {
            "systems": list(self.systems),
            **{name: _records(frame) for name, frame in tables.items()},
            "left_out": {str(why): int(n) for why, n in self.evaluation.left_out.items()},
            "recording": str(self.recording) if self.recording else None,
            "seconds": round(self.seconds, 1),
        }


def run(
    console: Console,
    *,
    model: Any = None,
    port: int | None = None,
    record: Any = None,
    limit: int | None = None,
) -> Result:
    """Run the demo and print what it shows.

    :param model: anything that :func:`nbproxy.as_reranker` takes; None: the packaged all-MiniLM-L6-v2.
    :param port: of the proxy; None: a free one.
    :param record: as :func:`nbproxy.start` takes it.
    :param limit: only the collection's first queries.
    :raises MissingExtra: a library of the extra ``demo`` is missing.
    """
    from .demo_report import opening, report

    if limit is not None and limit < 2:
        raise ConfigError(f"limit must be at least 2 queries (a test of differences needs two), not {limit}")
    _require()
    begun = time.monotonic()
    with console.status("starting the engine, loading the model"):
        engine, reranker = demo_engine(), _reranker(model)
        session = _session(engine, port, record)
    with session:
        collection = _first(engine.collection, limit)
        opening(console, session, collection, DEPTH)
        systems = _search_all(console, session, collection, reranker)
        result = _result(session, collection, systems, begun)
    report(console, result)
    return result


def _require() -> None:
    """All that is needed, before anything is started."""
    for module, library in _NEEDED.items():
        if find_spec(module) is None:
            raise MissingExtra(library, INSTALL, "for the demo")


def _reranker(model: Any) -> Any:
    reranker = as_reranker(packaged_minilm(), name=MINILM) if model is None else as_reranker(model)
    if reranker is None or reranker.name in (ORIGINAL, BM25):
        raise ConfigError("the demo compares a model of yours with 'original' and 'bm25'; give another one")
    return reranker


def _session(engine: Engine, port: int | None, record: Any) -> Session:
    """A session on the engine. What ``start`` prints would stand in the midst of a table, or of JSON."""
    with contextlib.redirect_stdout(io.StringIO()):
        return start(
            engine.url, name="demo", port=port, record=record, depth=DEPTH, deadline=DEADLINE_S, model=ORIGINAL
        )


def _first(collection: Collection, limit: int | None) -> Collection:
    if limit is None:
        return collection
    queries = collection.queries.head(limit)
    qrels = collection.qrels[collection.qrels["query_id"].isin(queries["query_id"])]
    return Collection(collection.documents, queries, qrels.reset_index(drop=True))


def _search_all(console: Console, session: Session, collection: Collection, reranker: Any) -> tuple[str, ...]:
    """Every query for every system, the model swapped while the proxy runs; the systems' names."""
    from opensearchpy import OpenSearch

    systems = {ORIGINAL: ORIGINAL, BM25: BM25, reranker.name: reranker}
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    client = OpenSearch(hosts=[session.url], timeout=2 * DEADLINE_S, max_retries=0)
    try:
        with Progress(*columns, console=console, transient=True) as progress:
            total = len(collection.queries)
            tasks = [progress.add_task(f"searching, {name}", total=total) for name in systems]
            for task, source in zip(tasks, systems.values(), strict=True):
                session.model = source
                for query_id, query in zip(collection.queries["query_id"], collection.queries["query"], strict=True):
                    _search(client, query_id, query)
                    progress.advance(task)
    finally:
        client.close()
    return tuple(systems)


def _search(client: Any, query_id: str, query: str) -> None:
    body = {"query": {"multi_match": {"query": query, "fields": ["title", "text"]}}}
    client.search(index=INDEX, body=body, headers={"X-Opaque-Id": query_id})


def _result(session: Session, collection: Collection, systems: tuple[str, ...], begun: float) -> Result:
    return Result(
        collection=collection,
        systems=systems,
        comparisons={name: session.compare(b=name) for name in systems[1:]},
        evaluation=session.evaluate(collection.qrels, MEASURES),
        over_bm25=session.evaluate(collection.qrels, MEASURES, baseline=BM25),
        hits=session.hits,
        recording=session.recorded_in,
        seconds=time.monotonic() - begun,
    )


def _records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    rows = frame.astype(object).where(frame.notna(), None).to_dict("records")
    return [{str(name): getattr(v, "item", lambda v=v: v)() for name, v in row.items()} for row in rows]
