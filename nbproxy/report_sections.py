"""What a report says: each section a function from a recording's frames to blocks; ``SECTIONS`` is their order.

Law: a section that has nothing to say is None; one that cannot be made (nothing was searched, say) says why instead.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd

from . import plots
from .compare import Comparison, compare_recorded
from .errors import ConfigError
from .evaluate import Evaluation, evaluate_recorded
from .report_page import Block, Moved, Picture, Section
from .tables import Table, clean, counted

if TYPE_CHECKING:
    from .recording import Recorded

BINS, MOVERS, PLACES, SEARCHES, ERRORS, CHANGED = 60, 15, 8, 3, 20, 10
SPANS = {"total": "total_ms", "upstream": "upstream_ms", "reranking": "rerank_ms"}
QUANTILES = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99, "max": 1.0}
OUTCOMES = ("reranked", "searches left alone", "passed on", "failed")
Frame = pd.DataFrame


@dataclass(frozen=True)
class Material:
    """What sections are made of. ``frame`` has no rows of our own routes, and no bodies."""

    recorded: Recorded
    frame: Frame
    lines: Frame
    qrels: Frame | None = None
    queries: Frame | None = None

    @cached_property
    def exchanges(self) -> Frame:
        """HTTP exchanges, without the searches inside of multi-searches."""
        return self.frame[self.frame["part"].isna()]

    @cached_property
    def searches(self) -> Frame:
        """Each search once: a multi-search counts as what is in it."""
        searches = self.frame[self.frame["route"] == "search"]
        inner = searches["part"].notna()
        return searches[inner | ~searches["exchange_id"].isin(searches.loc[inner, "exchange_id"])]

    @cached_property
    def comparison(self) -> Comparison:
        """Every system against upstream's order.

        :raises ConfigError: there is nothing to compare.
        """
        return compare_recorded(self.frame, self.lines, b=None)

    @cached_property
    def evaluation(self) -> Evaluation | None:
        """None without judgments."""
        if self.qrels is None:
            return None
        return evaluate_recorded(self.frame, self.lines, self.qrels, queries=self.queries)


# -- the head


def tiles(material: Material) -> dict[str, str]:
    """The numbers that are looked for first."""
    rows, searches = material.exchanges, material.searches
    failed = int(_failed(rows).sum())
    found = {"exchanges": f"{len(rows):,}", "searches": f"{len(searches):,}"}
    if len(searches):
        found["of them reranked"] = f"{searches['reranked'].fillna(False).mean():.0%}"
    found["failed"] = f"{failed:,}"
    medians = {name: rows[column].dropna() for name, column in SPANS.items()}
    return found | {f"{name}, median": f"{values.median():.1f} ms" for name, values in medians.items() if len(values)}


def _failed(rows: Frame) -> pd.Series[bool]:
    return (rows["status"].isna() | (rows["status"] >= 500)).fillna(True) | rows["error"].notna()


def outcome(rows: Frame) -> pd.Series[str]:
    """Which of ``OUTCOMES`` each exchange had."""
    reranked = rows["reranked"].fillna(False).astype(bool)
    choices = [_failed(rows).astype(bool) & ~reranked, reranked, rows["route"] == "search"]
    names = np.select(choices, [OUTCOMES[3], OUTCOMES[0], OUTCOMES[1]], OUTCOMES[2])
    return pd.Series(names, index=rows.index)


# -- traffic


def traffic(material: Material) -> Section:
    rows = material.exchanges
    if rows.empty:
        return Section("traffic", "Traffic", "Nothing has come through yet.")
    blocks: list[Block] = [_rates(rows)] if len(rows) > 1 else []
    blocks += [_counts(rows, "route", "What came"), _counts(rows, "status", "Answered with")]
    reasons = material.searches[material.searches["reason"].notna()]
    if len(reasons):
        blocks.append(_counts(reasons, "reason", "Not reranked, and why"))
    return Section("traffic", "Traffic", "Everything that came through, but for nbproxy's own questions.", blocks)


def _rates(rows: Frame) -> Picture:
    times = rows["started"]
    edges = pd.date_range(times.min(), times.max() + pd.Timedelta(milliseconds=1), BINS + 1)
    seconds = (edges[1] - edges[0]).total_seconds()
    kinds = outcome(rows)
    counts = {name: _per_bin(times[kinds == name], edges) / seconds for name in OUTCOMES if (kinds == name).any()}
    busiest = np.sum(list(counts.values()), axis=0).max()
    words = f"Over {_lasted(edges[-1] - edges[0])}, {BINS} steps of {_lasted(edges[1] - edges[0])} (UTC); "
    words += f"at most {busiest:,.1f} exchanges a second in a step."
    drawn = plots.areas(list(edges.tz_localize(None).to_pydatetime()), counts, "exchanges a second")
    return Picture("Rate", plots.picture("rate", drawn), words)


def _per_bin(times: pd.Series[Any], edges: pd.DatetimeIndex) -> np.typing.NDArray[Any]:
    return np.histogram(times.astype("int64"), edges.as_unit("us").astype("int64"))[0]


def _lasted(span: pd.Timedelta) -> str:
    seconds = span.total_seconds()
    for size, unit in ((86_400, "days"), (3_600, "h"), (60, "min"), (1, "s")):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{1000 * seconds:.3g} ms"


def _counts(rows: Frame, column: str, title: str) -> Table:
    counts = rows[column].astype("object").where(rows[column].notna(), "none").value_counts()
    return Table(
        title,
        pd.DataFrame(
            {
                column: [str(value) for value in counts.index],
                "count": counts.to_numpy(),
                "share": [f"{n / len(rows):.1%}" for n in counts],
            }
        ),
    )


# -- latency


def latency(material: Material) -> Section | None:
    rows = material.exchanges[material.exchanges["total_ms"].notna()]
    if rows.empty:
        return None
    spans = {name: rows[column].dropna().astype("float64") for name, column in SPANS.items()}
    spans = {name: values for name, values in spans.items() if len(values)}
    drawn = plots.shares(spans, "milliseconds")
    words = "How large a share of the exchanges took at most so long: further left is faster."
    blocks: list[Block] = [
        _quantiles("span", spans),
        Picture("Distribution", plots.picture("latency", drawn), words),
    ]
    models = {
        str(name): own["rerank_ms"].dropna() for name, own in rows.groupby("model") if own["rerank_ms"].notna().any()
    }
    if models:
        blocks.append(_quantiles("model", models, "Reranking by model, in milliseconds"))
    lead = (
        "Total is from the client's first byte to the last byte of its answer; upstream and reranking are parts of it."
    )
    return Section("latency", "Latency", lead, blocks)


def _quantiles(kind: str, spans: Mapping[str, pd.Series[float]], title: str = "Percentiles, in milliseconds") -> Table:
    rows = [
        {kind: name, "n": len(values), **{label: f"{values.quantile(q):,.1f}" for label, q in QUANTILES.items()}}
        for name, values in spans.items()
    ]
    return Table(title, pd.DataFrame(rows))


# -- comparisons


def comparison(material: Material) -> Section:
    found = material.comparison
    series = {f"rbo, {b}": own["rbo"].dropna() for b, own in found.per_query.groupby("b", sort=False)}
    drawn = Picture(
        "Agreement with upstream's order",
        plots.picture("agreement", plots.falling(series, "rank-biased overlap", "queries, most changed first")),
        "One place for each query, the most changed first; 1 is the same order.",
    )
    blocks: list[Block] = [Table("Means over queries", found.summary, counted("left out", found.left_out)), drawn]
    movers = found.movers(MOVERS)
    if len(movers):
        blocks.append(Table("Furthest moves", _readable(movers)))
    blocks += _side_by_side(material, list(_most_changed(found)))
    lead = "What reranking did to the order. Whether that was good, only judgments or clicks can say."
    return Section("comparison", "What changed", lead, blocks)


def _readable(movers: Frame) -> Frame:
    kept = movers.drop(columns=["query_id", "a"]).rename(columns={"b": "model", "rank_a": "from", "rank_b": "to"})
    kept["move"] = [f"▲{move}" if move > 0 else f"▼{-move}" if move < 0 else "=" for move in kept["move"]]
    return _telling(kept.dropna(axis="columns", how="all"))


def _telling(rows: Frame) -> Frame:
    """Without an index that is the same in every row."""
    same = "index" in rows.columns and rows["index"].nunique(dropna=False) <= 1
    return rows.drop(columns="index") if same else rows


class Chosen(NamedTuple):
    """A search that is shown: which, by which system, and why."""

    query_id: str
    query: str
    system: str
    why: str


def _most_changed(found: Comparison) -> Iterator[Chosen]:
    """The most changed query, one in the middle, and the least changed."""
    ordered = found.per_query.sort_values("rbo", kind="stable").drop_duplicates("query_id")
    places = dict.fromkeys([0, len(ordered) // 2, len(ordered) - 1] if len(ordered) else [])
    for place, why in zip(places, ("most changed", "in the middle", "least changed"), strict=False):
        row = ordered.iloc[place]
        yield Chosen(str(row["query_id"]), str(row["query"]), str(row["b"]), why)


def _side_by_side(material: Material, queries: Sequence[Chosen]) -> list[Moved]:
    """The newest reranked first page of each, hit by hit."""
    rows = material.frame[material.frame["reranked"].fillna(False) & (material.frame["offset"].fillna(0) == 0)]
    newest = [(one, _newest(rows[rows["query_id"] == one.query_id], one.system)) for one in queries]
    pages = [(one, row) for one, row in newest if row is not None]
    if not pages:
        return []
    hits = material.recorded.hits  # as many as there are, texts included: at once down to those that are shown
    hits = hits[hits["exchange_id"].isin([row["exchange_id"] for _, row in pages]) & (hits["role"] == "served")]
    return [_moved(row, hits, one) for one, row in pages]


def _newest(rows: Frame, system: str) -> pd.Series[Any] | None:
    """None for a shadow's order: nobody was served it."""
    names = rows["model"].astype("str")
    rows = rows[(names == system) | (names + " (" + rows["model_fingerprint"].astype("str") + ")" == system)]
    return None if rows.empty else rows.iloc[-1]


def _moved(last: pd.Series[Any], hits: Frame, one: Chosen) -> Moved:
    own = hits[hits["exchange_id"] == last["exchange_id"]]
    own = own[own["part"].isna() if pd.isna(last["part"]) else (own["part"] == last["part"]).fillna(False)]
    before = own.sort_values("original_rank").head(PLACES).to_dict("records")
    after = own.sort_values("rank").head(PLACES).to_dict("records")
    ranks = [
        (place, _hit(old), int(new["original_rank"]) - int(new["rank"]), _hit(new))
        for place, (old, new) in enumerate(zip(before, after, strict=True), 1)
    ]
    return Moved(f"“{one.query}”: {one.why}", "upstream", str(last["model"]), ranks)


def _hit(row: Mapping[Any, Any]) -> str:
    name = "(no id)" if pd.isna(row["doc_id"]) else str(row["doc_id"])[:40]
    return name if pd.isna(row["text"]) else f"{name} · {str(row['text'])[:400].replace(chr(10), ' · ')}"


# -- evaluation


def evaluation(material: Material) -> Section | None:
    found = material.evaluation
    if found is None:
        return None
    notes = counted("left out", found.left_out)
    blocks: list[Block] = [Table("Means over judged queries", found.summary, notes)]
    if len(found.tests):
        blocks += [Table(f"Against {found.baseline} (paired t-test, Holm's correction)", found.tests), _tested(found)]
        blocks += _gains(found)
    blocks.append(Table("How judgments joined searches", found.joined[["n"]]))
    return Section("evaluation", "Evaluation", "Each system against the judgments.", blocks)


def _tested(found: Evaluation) -> Picture:
    tests = found.tests.dropna(subset=["ci_low", "ci_high"])
    rows = [
        (f"{row['system']}, {row['measure']}", row["delta"], row["ci_low"], row["ci_high"])
        for row in tests.to_dict("records")
    ]
    drawn = plots.intervals(rows, f"difference from {clean(str(found.baseline))}")
    words = "The mean difference, and the interval that holds it with 95 %: right of the line is better."
    height = 0.9 + 0.4 * max(len(rows), 1)
    return Picture("Better by more than chance?", plots.picture("tests", drawn, height=height), words)


def _gains(found: Evaluation) -> list[Block]:
    """Per query: what each system gained over the baseline by the first measure, and which queries most."""
    measure = str(found.tests["measure"].iloc[0])
    rows = found.per_query[found.per_query["measure"] == measure]
    keys = ["query_id", "query", *(["index"] if "index" in rows.columns else [])]
    wide = rows.assign(**{key: rows[key].fillna("") for key in keys})
    wide = wide.pivot_table(index=keys, columns="system", values="value", sort=False)
    systems = [name for name in wide.columns if name != found.baseline]
    gains = {str(name): (wide[name] - wide[found.baseline]).dropna() for name in systems}
    gains = {name: values for name, values in gains.items() if len(values)}
    drawn = plots.differences(gains, f"{measure} gained")
    title = f"{measure}: each query against {found.baseline}"
    words = "Above the line a query was answered better than before, below it worse."
    return [Picture(title, plots.picture("gains", drawn), words), *_extremes(gains, measure)]


def _extremes(gains: Mapping[str, pd.Series[float]], measure: str) -> list[Block]:
    tables: list[Block] = []
    for name, values in gains.items():
        ordered = values[values != 0].sort_values(ascending=False, kind="stable")
        ends = pd.concat([ordered.head(CHANGED // 2), ordered.tail(CHANGED // 2)])
        ends = ends[~ends.index.duplicated()]
        if len(ends):
            tables.append(
                Table(f"{name}: most gained, most lost", _telling(ends.rename(f"{measure} gained").reset_index()))
            )
    return tables


# -- clicks


def interleaving(material: Material) -> Section | None:
    try:
        found = material.recorded.interleaving()
    except ConfigError:
        return None
    return Section(
        "interleaving",
        "Interleaving",
        "Two models' orders merged on ordinary traffic: which of them users clicked more.",
        [
            Table(
                "Wins", found.summary, [f"clicks credited: {found.clicks:,}", *counted("unmatched", found.unmatched)]
            ),
            Table("By query", found.per_query.sort_values("exchanges", ascending=False, kind="stable").head(MOVERS)),
        ],
    )


# -- errors


def errors(material: Material) -> Section:
    rows = material.exchanges[_failed(material.exchanges)]
    if rows.empty:
        return Section("errors", "Errors", "No exchange failed, and no model did.")
    said = rows["error"].fillna(rows["status"].map(lambda status: f"status {status}").astype("str"))
    counts = said.value_counts().head(ERRORS).rename_axis("error").rename("count").reset_index()
    newest = rows.tail(ERRORS).iloc[::-1]
    shown = pd.DataFrame(
        {
            "UTC": newest["started"].dt.strftime("%Y-%m-%d %H:%M:%S"),
            "status": newest["status"],
            "reason": newest["reason"],
            "asked": newest["query"].fillna(newest["method"] + " " + newest["target"]),
            "error": newest["error"],
        }
    )
    lead = f"{len(rows):,} exchanges failed, or were answered in upstream's order because a model failed."
    return Section("errors", "Errors", lead, [Table("How often", counts), Table("The newest", shown)])


SECTIONS: tuple[tuple[str, str, Callable[[Material], Section | None]], ...] = (
    ("traffic", "Traffic", traffic),
    ("latency", "Latency", latency),
    ("comparison", "What changed", comparison),
    ("evaluation", "Evaluation", evaluation),
    ("interleaving", "Interleaving", interleaving),
    ("errors", "Errors", errors),
)


def made(material: Material, done: Callable[[str], None] = lambda _: None) -> list[Section]:
    """All sections that have something to say.

    :param done: told each section's title once it is made, for a progress bar.
    """
    sections = []
    for name, title, make in SECTIONS:
        try:
            section = make(material)
        except ConfigError as error:
            section = Section(name, title, f"Not here: {error}.")
        done(title)
        sections += [section] if section else []
    return sections
