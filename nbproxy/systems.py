"""From a recording's two frames to runs: which system ordered which query last.

Laws (contract §6):

- A system is ``original``, or a model by name and fingerprint, whether it served, shadowed or replayed.
- A system has, for a query in an index expression, the last exchange with offset 0 that it reranked; a search
  with no hits counts as reranked, with an empty order.
- ``original`` comes from the newest of those exchanges. Only where nothing was reranked at all it comes from
  each query's last search with offset 0 as answered.
- A search that gave no order is counted in ``left_out``, once. One whose model missed the deadline gave none, though
  its late scores are recorded (``role="shadow"``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import pandas as pd
import pyarrow.compute as pc

from .errors import ConfigError
from .ranking import normalized
from .runs import Runs, documents, need, once

Scope = Literal["window", "page"]
ORIGINAL, SERVED = "original", "served"

SEARCH = ["exchange_id", "part", "started", "query_id", "query", "index", "offset", "size", "status",
          "model", "model_fingerprint", "reranked", "reason"]  # fmt: skip
LINE = ["exchange_id", "part", "index", "doc_id", "original_rank", "role", "model", "model_fingerprint",
        "score", "rank", "returned"]  # fmt: skip
ROLES = {"served": 0, "shadow": 1, "replay": 2}  # of one model's two orders of one search the first stands
ORDERLESS = ("no-model", "no-hits")  # reasons that say nothing went wrong
CHOICE = ["search", "line", "system"]


def recorded_runs(
    frame: pd.DataFrame,
    hits: pd.DataFrame,
    *,
    scope: Scope = "window",
    judged: Sequence[str] = (),
    texts: Mapping[str, str | None] | None = None,
    served: bool = False,
) -> Runs:
    """The runs of a recording.

    :param frame: ``session.frame``; :param hits: ``session.hits``.
    :param scope: ``page`` cuts every order to as many hits as the client got.
    :param judged: query ids of qrels, to be joined with searches (contract §3); results carry them.
    :param texts: query_id → text of those.
    :param served: add the system ``served``: each query's newest reranked exchange, whichever model had it.
    :raises ConfigError: no search in ``frame``, an unknown scope, or a document twice in one order.
    """
    if scope not in ("window", "page"):
        raise ConfigError(f"scope is 'window' or 'page', not {scope!r}")
    searches = read_searches(frame)
    lines = read_lines(hits, searches)
    asked, joined = join(searches, judged, texts or {})
    asked["unit"] = asked.groupby(["query_id", "index"], sort=False, dropna=False).ngroup()
    reranked = candidates(searches, lines)
    chosen = choose(asked, reranked, served=served)
    if reranked.empty:
        chosen = newest(asked, answered(searches, lines), ORIGINAL)
    ranked, docs = documents(_ordered(chosen, lines, scope))
    _no_document_twice(ranked, docs, asked)
    used = set() if served and reranked.empty else set(chosen["search"])
    return Runs(
        units=asked.drop_duplicates("unit", keep="last").set_index("unit")[["query_id", "query", "index"]].sort_index(),
        searched=chosen[["system", "unit"]].reset_index(drop=True),
        ranked=ranked,
        docs=docs,
        left_out=left_out(searches, used),
        joined=joined if len(judged) else None,
        reach=_reach(searches, lines),
        recorded=True,
    )


def read_searches(frame: pd.DataFrame) -> pd.DataFrame:
    """One row per search, oldest first, numbered by ``search``; an ``_msearch`` stands for its parts."""
    need(frame, ("route", *SEARCH), "the recording's frame")
    rows = frame.loc[(frame["route"] == "search").fillna(False).astype(bool), SEARCH].copy()
    rows["part"] = _part(rows)
    split = rows.loc[rows["part"] >= 0, "exchange_id"]
    rows = rows[(rows["part"] >= 0) | ~rows["exchange_id"].isin(split)]
    if rows.empty:
        raise ConfigError("the recording holds no search")
    rows["reranked"] = rows["reranked"].fillna(False).astype(bool)
    rows["first"] = (rows["offset"] == 0).fillna(False).astype(bool) & rows["query_id"].notna()
    rows = rows.sort_values(["started", "exchange_id", "part"], ignore_index=True)
    return rows.rename_axis("search").reset_index()


def _part(rows: pd.DataFrame) -> pd.Series[int]:
    return rows["part"].astype("Int64").fillna(-1).astype("int64")


def read_lines(hits: pd.DataFrame, searches: pd.DataFrame) -> pd.DataFrame:
    """The hits of ``searches`` with their ``search``, and ``line``: 0 served, from 1 each shadow and replay.

    ``reranked`` says whether a model gave the row a score or another place, in time where it served. A hit without
    an id is its original rank: it is a candidate, and no judgment finds it.
    """
    rows = hits[LINE].copy()
    rows["part"] = _part(rows)
    rows = rows.merge(searches[["exchange_id", "part", "search"]], on=["exchange_id", "part"])
    role = rows["role"].map(ROLES).astype("int64")
    who = [role.rename("role"), rows["model"], rows["model_fingerprint"]]
    other = pd.concat(who, axis=1)[role > 0].groupby(["role", "model", "model_fingerprint"], dropna=False).ngroup()
    rows["line"] = (other + 1).reindex(rows.index, fill_value=0)
    moved = rows["score"].notna() | (rows["rank"] != rows["original_rank"]).fillna(False)
    rows["reranked"] = moved & ~_late(rows, searches)
    nameless = "(no id) at rank " + rows["original_rank"].astype("str")
    rows["doc_id"] = rows["doc_id"].astype("str").fillna(nameless)
    return rows


def _late(rows: pd.DataFrame, searches: pd.DataFrame) -> pd.Series[bool]:
    """Which are the serving model's scores that missed the deadline: recorded as a shadow's, under its own name."""
    asked = searches.set_index("search")[["reason", "model", "model_fingerprint"]].loc[rows["search"]]
    served = asked.set_axis(rows.index)
    same = (served["model"] == rows["model"]) & (served["model_fingerprint"] == rows["model_fingerprint"])
    late = same & (served["reason"] == "deadline") & (rows["role"] == "shadow")
    return late.fillna(False).astype(bool)


def without_late(hits: pd.DataFrame, events: Any) -> pd.DataFrame:
    """``hits`` without the late scores of models that were to be merged: like those of a model that serves alone.

    :param events: an Arrow table of ``frames.EVENT_COLUMNS``.
    """
    told = events.filter(pc.equal(events.column("event"), "late")).to_pandas()
    if told.empty:
        return hits
    told = told.rename(columns={"a": "model", "a_fingerprint": "model_fingerprint"})
    late = _model_keys(hits).isin(_model_keys(told)) & (hits["role"] == "shadow").to_numpy(dtype=bool)
    return hits[~late]


def _model_keys(rows: pd.DataFrame) -> pd.MultiIndex:
    keys = [rows["exchange_id"], _part(rows), rows["model"], rows["model_fingerprint"]]
    return pd.MultiIndex.from_frame(pd.concat(keys, axis=1).astype("str"))


def join(
    searches: pd.DataFrame, judged: Sequence[str], texts: Mapping[str, str | None]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The first-page searches under the query ids of qrels, and how each of those found its searches.

    A judged query joins the searches that have its id, else those whose text its id is, else those that
    have its text. A search that several of them join stands once for each; one that none joins keeps its id.

    :returns: ``searches`` of offset 0 (``query_id`` replaced), and ``n, query_ids`` by way of joining.
    """
    rows = searches.loc[searches["first"], ["search", "query_id", "query", "index"]]
    every = searches[["query_id", "query"]].dropna(subset=["query_id"])
    keys = {"query_id": every["query_id"], "query": _normalized(every["query"]).dropna()}
    known = {name: set(values) for name, values in keys.items()}
    ways: dict[str, dict[str, str]] = {"query_id": {}, "text": {}, "queries": {}, "never-searched": {}}
    for query_id in dict.fromkeys(judged):
        way, key = _way(query_id, texts.get(query_id), known)
        ways[way][query_id] = key
    by_text = {**ways["text"], **ways["queries"]}
    found = pd.concat([
        _under(rows, rows["query_id"], ways["query_id"]),
        _under(rows, _normalized(rows["query"]), by_text),
    ])  # fmt: skip
    rest = rows[~rows["search"].isin(found["search"])]
    how = {"n": [len(way) for way in ways.values()], "query_ids": [tuple(way) for way in ways.values()]}
    joined = pd.DataFrame(how, index=pd.Index(list(ways), name="joined by"))
    return pd.concat([found, rest]).sort_values("search", kind="stable", ignore_index=True), joined


def _way(query_id: str, text: str | None, known: Mapping[str, set[str]]) -> tuple[str, str]:
    if query_id in known["query_id"]:
        return "query_id", query_id
    if (key := normalized(query_id)) in known["query"]:
        return "text", key
    if text is not None and (key := normalized(text)) in known["query"]:
        return "queries", key
    return "never-searched", ""


def _under(rows: pd.DataFrame, keys: pd.Series[str], wanted: Mapping[str, str]) -> pd.DataFrame:
    table = pd.DataFrame({"judged": list(wanted), "key": list(wanted.values())}, dtype="str")
    found = rows.assign(key=keys.astype("str")).merge(table, on="key")
    return found.assign(query_id=found["judged"])[list(rows.columns)]


def _normalized(texts: pd.Series[str]) -> pd.Series[str]:
    forms = {text: normalized(text) for text in texts.dropna().unique()}
    return texts.map(forms).astype("str")


def candidates(searches: pd.DataFrame, lines: pd.DataFrame) -> pd.DataFrame:
    """``search, line, system`` of every reranking of a first page."""
    served = searches[searches["reranked"] | (searches["reason"] == "no-hits").fillna(False)].assign(line=0)
    others = lines[lines["reranked"] & (lines["line"] > 0)].drop_duplicates(["search", "line"])
    empty = _empty_for_others(searches, lines, others)
    found = pd.concat([part[["search", "line", "model", "model_fingerprint"]] for part in (served, others, empty)])
    found = found[found["search"].isin(searches.loc[searches["first"], "search"])]
    return found.assign(system=_names(found))[CHOICE]


def _names(found: pd.DataFrame) -> pd.Series[str]:
    """``name``, or ``name (fingerprint)`` where one name had several."""
    name = found["model"].astype("str").fillna("unnamed")
    several = found.groupby(name)["model_fingerprint"].transform("nunique") > 1
    told_apart = several & found["model_fingerprint"].notna() & (name != ORIGINAL)
    return name.where(~told_apart, name + " (" + found["model_fingerprint"].astype("str") + ")")


def zero_hit(searches: pd.DataFrame, lines: pd.DataFrame) -> pd.Series[bool]:
    """Searches answered without any hit: ``no-hits``, and with no model a good answer without rows."""
    good = searches["status"].between(200, 299) & (searches["size"] != 0).fillna(True)
    unasked = (searches["reason"] == "no-model") & good & ~searches["search"].isin(lines["search"])
    return ((searches["reason"] == "no-hits") | unasked).fillna(False).astype(bool)


def _empty_for_others(searches: pd.DataFrame, lines: pd.DataFrame, others: pd.DataFrame) -> pd.DataFrame:
    """Zero-hit searches for shadows and replays, which leave no row that says who was there.

    Every replay has seen them; a shadow has where it reranked the nearest search with hits before or after.
    """
    empty = searches.loc[zero_hit(searches, lines), ["search"]]
    full = np.unique(lines["search"])
    if empty.empty or not len(full):
        return others.head(0)
    after = np.searchsorted(full, empty["search"])
    near = pd.concat([
        empty.assign(near=full[np.clip(after - 1, 0, None)]),
        empty.assign(near=full[np.clip(after, None, len(full) - 1)]),
    ])  # fmt: skip
    who = others[["line", "role", "model", "model_fingerprint"]]
    replays = empty.merge(who[who["role"] == "replay"].drop_duplicates("line"), how="cross")
    shadows = near.merge(others.assign(near=others["search"]).drop(columns="search"), on="near")
    return pd.concat([replays, shadows])[["search", *who.columns]].drop_duplicates(["search", "line"])


def answered(searches: pd.DataFrame, lines: pd.DataFrame) -> pd.DataFrame:
    """``search, line`` of every first page whose order as answered is known."""
    known = searches["first"] & (searches["search"].isin(lines["search"]) | zero_hit(searches, lines))
    return searches.loc[known, ["search"]].assign(line=0)


def choose(asked: pd.DataFrame, reranked: pd.DataFrame, *, served: bool) -> pd.DataFrame:
    """``unit, search, line, system``: for each unit and system the last search that it reranked."""
    models = reranked[reranked["system"] != ORIGINAL]
    parts = [newest(asked, reranked, ORIGINAL), newest(asked, models, None)]
    if served:
        parts.append(newest(asked, reranked[reranked["line"] == 0], SERVED))
    return pd.concat(parts, ignore_index=True)


def newest(asked: pd.DataFrame, found: pd.DataFrame, system: str | None) -> pd.DataFrame:
    """Each unit's newest search of ``found``; as ``system``, or (None) for each of its systems.

    Systems come in the order in which they first appear.
    """
    rows = asked[["unit", "search"]].merge(found if system is None else found.assign(system=system), on="search")
    first = rows.groupby("system")["search"].min()
    rows = rows.sort_values(["search", "line"], ascending=[True, False], kind="stable")
    rows = rows.drop_duplicates(["unit", "system"], keep="last")
    rows = rows.assign(first=rows["system"].map(first)).sort_values(["first", "system", "unit"])
    return rows[["unit", *CHOICE]]


def _ordered(chosen: pd.DataFrame, lines: pd.DataFrame, scope: Scope) -> pd.DataFrame:
    """The hits of the chosen searches, ``rank`` by the system that they were chosen for."""
    original = chosen["system"] == ORIGINAL
    first = lines.groupby("search")["line"].min()
    by = chosen.assign(line=chosen["line"].where(~original, chosen["search"].map(first)))
    rows = by.dropna(subset=["line"]).astype({"line": "int64"}).merge(lines, on=["search", "line"])
    as_answered = rows["system"] == ORIGINAL
    rows["rank"] = rows["rank"].where(~as_answered, rows["original_rank"]).astype("Float64").astype("float64")
    if scope == "window":
        return rows
    place = rows.groupby(["system", "unit"])["rank"].rank(method="first")
    return rows[place <= rows["search"].map(_page(lines))]


def _page(lines: pd.DataFrame) -> pd.Series[int]:
    """Search → how many hits the client got."""
    returned = lines["returned"].fillna(False).astype("int64")
    return returned.groupby([lines["search"], lines["line"]]).sum().groupby("search").first()


def _no_document_twice(ranked: pd.DataFrame, docs: pd.DataFrame, asked: pd.DataFrame) -> None:
    if ranked.duplicated(["system", "unit", "doc"]).any():
        named = ranked.join(docs, on="doc").merge(asked.drop_duplicates("unit")[["unit", "query_id"]], on="unit")
        once(named, ["system", "query_id", "index", "doc_id"], "one order")


def left_out(searches: pd.DataFrame, used: set[int]) -> pd.Series[int]:
    """Reason → how many searches are in no system's order: each under its reason, else as a page or a repeat.

    A search whose model failed is counted even where a shadow ordered it, or where only its original order
    is measured.
    A zero-hit search that a newer one replaces stands under its reason, ``no-hits``.
    """
    reason = searches["reason"].astype("str")
    failed = reason.notna() & ~reason.isin(ORDERLESS)
    later = (searches["offset"] > 0).fillna(False).astype(bool)
    why = reason.fillna(later.map({True: "later-page", False: "repeat"}).astype("str"))
    why = why[failed | ~searches["search"].isin(used)]
    return why.value_counts().rename_axis("reason").rename("count").astype("int64")


def _reach(searches: pd.DataFrame, lines: pd.DataFrame) -> dict[str | None, frozenset[str]]:
    pairs = lines[["search", "index"]].drop_duplicates()
    pairs = pairs.merge(searches[["search", "index"]], on="search", suffixes=("", "_asked"))
    seen = pairs.dropna(subset=["index"]).groupby("index_asked", dropna=False)["index"].agg(frozenset)
    return {asked if isinstance(asked, str) else None: indices for asked, indices in seen.items()}
