"""Runs and qrels, checked and in one shape, whether they were recorded or given as plain DataFrames.

Ids are compared as strings (``1``, ``1.0`` and ``"1"`` are one id). A document is its (index, doc_id).
Nothing given is ever changed. Whatever is empty or occurs twice is a :class:`ConfigError` that names it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from .errors import ConfigError

Queries = pd.DataFrame | Mapping[Any, str] | Iterable[Any]
NAMED = 3  # how many offenders an error names


@dataclass(frozen=True, slots=True)
class Runs:
    """Every system's order for every query that it has, empty orders included.

    A *unit* is what is measured: a query, and for recorded runs a query in one index expression.

    :ivar units: one row per unit (its index): ``query_id, query, index``; ``index`` is the searched
        expression, missing for plain runs.
    :ivar searched: ``system, unit``: which units a system has.
    :ivar ranked: ``system, unit, doc, rank``: sorted, ranks from 1 without gaps.
    :ivar docs: one row per document (its index): ``index, doc_id``; ``index`` is the hit's own.
    :ivar left_out: reason → count of searches.
    :ivar joined: how judged queries found their searches; None: by ``query_id`` alone.
    :ivar reach: index expression → the indices that its hits came from.
    :ivar recorded: whether units have an index expression.
    """

    units: pd.DataFrame
    searched: pd.DataFrame
    ranked: pd.DataFrame
    docs: pd.DataFrame
    left_out: pd.Series[int]
    joined: pd.DataFrame | None = None
    reach: Mapping[str | None, frozenset[str]] | None = None
    recorded: bool = False

    @property
    def systems(self) -> list[str]:
        return list(dict.fromkeys(self.searched["system"]))

    @property
    def unit_columns(self) -> list[str]:
        """The columns of ``units`` that results show."""
        return ["query_id", "query", "index"] if self.recorded else ["query_id", "query"]


def ids(column: pd.Series[Any], what: str) -> pd.Series[str]:
    """The column as strings; :class:`ConfigError` where one is missing."""
    if column.isna().any():
        raise ConfigError(f"{what} is missing in row {int(np.flatnonzero(column.isna())[0])}")
    if isinstance(column.dtype, pd.StringDtype):
        return column.astype("str")
    return pd.Series([_id(value) for value in column], index=column.index, dtype="str")


def _id(value: object) -> str:
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def need(frame: pd.DataFrame, columns: Iterable[str], what: str) -> None:
    """:class:`ConfigError` unless ``frame`` is a DataFrame with rows and these columns."""
    if not isinstance(frame, pd.DataFrame):
        raise ConfigError(f"{what}: a DataFrame is wanted, not {type(frame).__name__}")
    missing = [name for name in columns if name not in frame.columns]
    if missing:
        raise ConfigError(f"{what} has no column {', '.join(missing)} (it has {', '.join(map(str, frame.columns))})")
    if frame.empty:
        raise ConfigError(f"{what} is empty")


def once(frame: pd.DataFrame, columns: list[str], what: str) -> None:
    """:class:`ConfigError` naming the rows whose ``columns`` occur twice."""
    twice = frame.loc[frame.duplicated(columns), columns].drop_duplicates()
    if len(twice):
        named = "; ".join(
            ", ".join(f"{c} {v}" for c, v in zip(columns, row, strict=True))
            for row in twice.head(NAMED).itertuples(index=False)
        )
        more = f" and {len(twice) - NAMED} more" if len(twice) > NAMED else ""
        raise ConfigError(f"twice in {what}: {named}{more}")


def read_qrels(qrels: pd.DataFrame) -> pd.DataFrame:
    """``query_id, index, doc_id, relevance`` of judgments; ``index`` missing where it holds for every index.

    :raises ConfigError: empty, a column is missing, a judgment occurs twice, or relevance is no whole number.
    """
    need(qrels, ("query_id", "doc_id", "relevance"), "qrels")
    own = qrels["index"] if "index" in qrels.columns else None
    read = pd.DataFrame(
        {
            "query_id": ids(qrels["query_id"], "qrels' query_id"),
            "index": pd.Series(None, index=qrels.index, dtype="str") if own is None else own.astype("str"),
            "doc_id": ids(qrels["doc_id"], "qrels' doc_id"),
            "relevance": _whole(qrels["relevance"]),
        }
    ).reset_index(drop=True)
    once(read, ["query_id", "doc_id"] if own is None else ["query_id", "index", "doc_id"], "qrels")
    if own is not None:
        _no_general_beside_own(read)
    return read


def _no_general_beside_own(qrels: pd.DataFrame) -> None:
    general = qrels.loc[qrels["index"].isna(), ["query_id", "doc_id"]]
    own = qrels.loc[qrels["index"].notna(), ["query_id", "doc_id"]].drop_duplicates()
    once(pd.concat([own, general]), ["query_id", "doc_id"], "qrels (once for an index, once for every index)")


def _whole(relevance: pd.Series[Any]) -> pd.Series[int]:
    numbers = pd.to_numeric(relevance, errors="coerce").astype("float64")
    wrong = ~(np.isfinite(numbers) & (numbers == np.floor(numbers)))
    if wrong.any():
        raise ConfigError(f"relevance is a whole number, not {relevance[wrong].iloc[0]!r}")
    return numbers.astype("int64")


def query_texts(queries: Queries | None) -> dict[str, str | None]:
    """query_id → text (None: only the id was given) of a ``queries`` argument, in its order."""
    if queries is None:
        return {}
    if isinstance(queries, pd.DataFrame):
        need(queries, ("query_id", "query"), "queries")
        pairs = zip(queries["query_id"], queries["query"], strict=True)
    elif isinstance(queries, Mapping):
        pairs = zip(queries.keys(), queries.values(), strict=True)
    elif isinstance(queries, str):
        raise ConfigError("queries: ids or a frame query_id, query are wanted, not one string")
    else:
        pairs = ((query_id, None) for query_id in queries)  # type: ignore[assignment]
    texts = pd.DataFrame(list(pairs), columns=["query_id", "query"])
    texts["query_id"] = ids(texts["query_id"], "queries' query_id")
    texts = texts.drop_duplicates()
    once(texts, ["query_id"], "queries")
    return {q: None if pd.isna(text) else str(text) for q, text in zip(texts["query_id"], texts["query"], strict=True)}


def read_runs(runs: pd.DataFrame | Mapping[str, pd.DataFrame], queries: Queries | None = None) -> Runs:
    """Plain runs in the common shape.

    :param runs: ``query_id, doc_id`` and ``rank`` or ``score`` (rank wins; equal ones keep row order; missing
        ones come last), optionally ``system`` (else the one system ``run``) and ``index``; or name → frame.
    :param queries: what was searched, so that a search without rows is an empty order.
    :raises ConfigError: empty, a column is missing, or a (system, query, document) occurs twice.
    """
    lines = _lines(runs)
    once(
        lines,
        ["system", "query_id", "index", "doc_id"] if lines["index"].notna().any() else ["system", "query_id", "doc_id"],
        "runs",
    )
    texts = query_texts(queries)
    names = pd.Index(dict.fromkeys([*texts, *lines["query_id"]]))
    lines["unit"] = names.get_indexer(pd.Index(lines["query_id"]))
    units = pd.DataFrame(
        {
            "query_id": names.astype("str"),
            "index": None,
            "query": pd.array([texts.get(q) for q in names], dtype="str"),
        }
    )
    searched = lines[["system", "unit"]].drop_duplicates()
    if texts:
        asked = pd.DataFrame({"unit": range(len(texts))}).merge(searched[["system"]].drop_duplicates(), how="cross")
        searched = pd.concat([searched, asked]).drop_duplicates()
    ranked, docs = documents(lines)
    return Runs(units, searched, ranked, docs, pd.Series(dtype="int64", name="count"))


def _lines(runs: pd.DataFrame | Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    if not isinstance(runs, Mapping):
        return _one(runs, "runs", None)
    if not runs:
        raise ConfigError("runs are empty")
    return pd.concat([_one(frame, f"run {name!r}", str(name)) for name, frame in runs.items()], ignore_index=True)


def _one(run: pd.DataFrame, what: str, system: str | None) -> pd.DataFrame:
    need(run, ("query_id", "doc_id"), what)
    by = next((name for name in ("rank", "score") if name in run.columns), None)
    if by is None:
        raise ConfigError(f"{what} has neither rank nor score")
    order = pd.to_numeric(run[by]).astype("float64")
    own_system = ids(run["system"], f"{what}' system") if "system" in run.columns else "run"
    return pd.DataFrame({
        "system": own_system if system is None else system,
        "query_id": ids(run["query_id"], f"{what}' query_id"),
        "index": run["index"].astype("str") if "index" in run.columns else None,
        "doc_id": ids(run["doc_id"], f"{what}' doc_id"),
        "rank": order if by == "rank" else -order,
    }, index=run.index).reset_index(drop=True)  # fmt: skip


def documents(lines: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """``ranked`` and ``docs`` of :class:`Runs` from ``system, unit, index, doc_id, rank``."""
    identity = lines[["index", "doc_id"]]
    doc = identity.groupby(["index", "doc_id"], sort=False, dropna=False).ngroup()
    docs = identity.assign(doc=doc).drop_duplicates("doc").set_index("doc")
    ranked = lines[["system", "unit", "rank"]].assign(doc=doc)
    system = pd.factorize(ranked["system"])[0]
    ranked = ranked.iloc[np.lexsort((ranked["rank"], ranked["unit"], system))].reset_index(drop=True)
    ranked["rank"] = ranked.groupby(["system", "unit"], sort=False).cumcount() + 1
    return ranked, docs
