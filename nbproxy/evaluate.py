"""Rankings against judgments: each system's measures, and what differs from the baseline by more than chance.

Laws (contract §6): a system's mean is over its own queries; a test of two is over the queries that both have;
a search with no hits scores 0; a query without judgments is left out and counted; document identity is
(index, doc_id), and a judgment without ``index`` holds for every index.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from . import measures as measuring
from .measures import JUDGED, Lists
from .runs import Queries, Runs, query_texts, read_qrels, read_runs
from .systems import ORIGINAL, Scope, recorded_runs
from .tables import Shown, Table, counted
from .warn import warn

DEFAULT = ("nDCG@10", "RR@10")
TEST = ["system", "measure", "delta", "p", "p_holm", "ci_low", "ci_high", "wins", "ties", "losses"]
SAME = 1e-12  # differences below are none: floats of one sum taken in two orders
LEVEL = 0.95


@dataclass(frozen=True, repr=False)
class Evaluation(Shown):
    """What :func:`evaluate` found.

    :ivar summary: index ``system``; a column per measure, ``Judged@10``, ``n_queries``.
    :ivar per_query: long: ``query_id, query, system, measure, value`` (recorded runs: ``index`` too, the
        expression that was searched); ``Judged@10`` is among the measures.
    :ivar tests: paired t-test against the baseline; ``delta`` is system minus baseline, the interval is of
        95 %, Holm's correction is over the systems for each measure.
    :ivar left_out: reason → count of searches; ``never-searched`` and ``not-judged`` count queries.
    :ivar joined: way of joining → how many query ids (``n``) and which (``query_ids``).
    :ivar baseline: what the others are tested against, None if there are no tests.
    """

    summary: pd.DataFrame
    per_query: pd.DataFrame
    tests: pd.DataFrame
    left_out: pd.Series[int]
    joined: pd.DataFrame
    baseline: str | None

    def _tables(self) -> Sequence[Table]:
        tables = [Table("evaluation", self.summary, counted("left out", self.left_out))]
        if len(self.tests):
            tables.append(Table(f"against {self.baseline}", self.tests))
        return tables


def evaluate(
    runs: pd.DataFrame | Mapping[str, pd.DataFrame],
    qrels: pd.DataFrame,
    measures: Sequence[str] = DEFAULT,
    baseline: str | None = None,
    queries: Queries | None = None,
) -> Evaluation:
    """Measure plain runs.

    :param runs: ``query_id, doc_id, rank`` or ``score`` (rank wins; equal scores keep row order), optionally
        ``system`` (else the one system ``run``); or a dict name → frame.
    :param qrels: ``query_id, doc_id, relevance``, optionally ``index`` where the runs have it too.
    :param measures: names as ir-measures has them.
    :param baseline: the system that the others are tested against; None: no tests.
    :param queries: what was searched (ids, or ``query_id, query``), so that a search without rows scores 0.
    :raises ConfigError: empty or repeated input, a missing column, an unknown measure.
    """
    return _evaluated(read_runs(runs, queries), read_qrels(qrels), measures, baseline)


def evaluate_recorded(
    frame: pd.DataFrame,
    hits: pd.DataFrame,
    qrels: pd.DataFrame,
    measures: Sequence[str] = DEFAULT,
    baseline: str | None = ORIGINAL,
    queries: Queries | None = None,
    scope: Scope = "window",
) -> Evaluation:
    """Measure a recording.

    :param frame: ``session.frame``.
    :param hits: ``session.hits``.
    :param queries: ``query_id, query``: the texts of the judged queries, to find their searches by.
    :param scope: ``page`` measures only as many hits as the client got.
    :raises ConfigError: as :func:`evaluate`, and where nothing was searched.
    """
    judged = read_qrels(qrels)
    runs = recorded_runs(frame, hits, scope=scope, judged=list(judged["query_id"]), texts=query_texts(queries))
    return _evaluated(runs, judged, measures, baseline)


def _evaluated(runs: Runs, qrels: pd.DataFrame, measures: Sequence[str], baseline: str | None) -> Evaluation:
    names = list(dict.fromkeys([measures] if isinstance(measures, str) else map(str, measures)))
    pool = judgments(runs, qrels)
    searched = runs.searched[runs.searched["unit"].isin(pool["unit"])].reset_index(drop=True)
    wide = searched.assign(**measuring.values([*dict.fromkeys([*names, JUDGED])], _lists(runs, searched, pool)))
    systems = runs.systems
    first = [baseline] if baseline in systems else []
    _warn_of_uneven(searched)
    return Evaluation(
        summary=_summary(wide, list(dict.fromkeys([*first, *systems]))),
        per_query=_long(runs, wide),
        tests=_tests(wide, names, systems, baseline),
        left_out=_left_out(runs, qrels, pool),
        joined=_joined(runs, qrels, pool),
        baseline=baseline if first else None,
    )


def judgments(runs: Runs, qrels: pd.DataFrame) -> pd.DataFrame:
    """``unit, doc, relevance``: what is judged for each unit.

    A judgment without ``index`` holds for each document of that id which a system ranked in the unit; one
    that nobody ranked still counts, once, in the best order that there could be. A judgment of an index that
    the unit's expression never reached belongs to another unit.
    """
    units = runs.units.reset_index(names="unit")[["unit", "query_id", "index"]]
    asked = units.merge(qrels, on="query_id", suffixes=("_asked", ""))
    asked = asked[_reached(asked, runs)].reset_index(drop=True).rename_axis("judgment").reset_index()
    if runs.docs["index"].isna().all():
        asked["index"] = None  # runs that name no index: the document's id is all there is
    ranked = runs.ranked[["unit", "doc"]].drop_duplicates().join(runs.docs, on="doc")
    general = asked["index"].isna()
    by_id = asked[general].merge(ranked.drop(columns="index"), on=["unit", "doc_id"])
    by_index = asked[~general].astype({"index": "str"}).merge(ranked, on=["unit", "index", "doc_id"])
    found = pd.concat([by_id, by_index])
    unseen = asked[~asked["judgment"].isin(found["judgment"])]
    fresh = unseen.assign(doc=np.arange(len(unseen)) + len(runs.docs))
    return pd.concat([found, fresh])[["unit", "doc", "relevance"]].astype("int64")


def _reached(asked: pd.DataFrame, runs: Runs) -> pd.Series[bool]:
    """Which judgments lie in an index that their unit's expression reaches: named by it, or seen in its hits.

    An expression that never had a hit may be an alias of anything, so where it names none, all count.
    """
    pairs = asked[["index_asked", "index"]].drop_duplicates()
    reach = runs.reach or {}
    kept = {
        (expression, index): _reaches(expression, index, reach)
        for expression, index in pairs.astype(object).where(pairs.notna(), None).itertuples(index=False)
    }
    keys = asked[["index_asked", "index"]].astype(object)
    keys = keys.where(keys.notna(), None)
    named = pd.Series([kept[e, i] for e, i in keys.itertuples(index=False)], index=asked.index, dtype=bool)
    blind = pd.Series([e not in reach for e in keys["index_asked"]], index=asked.index, dtype=bool)
    return named | (blind & ~named.groupby(asked["unit"]).transform("any"))


def _reaches(expression: str | None, index: str | None, reach: Mapping[str | None, frozenset[str]]) -> bool:
    if expression is None or index is None or expression == "_all" or index in reach.get(expression, ()):
        return True
    return any(fnmatch.fnmatchcase(index, part) for part in expression.split(","))


def _lists(runs: Runs, searched: pd.DataFrame, pool: pd.DataFrame) -> Lists:
    """The ranked lists of ``searched``, in its order."""
    numbered = searched.assign(list=np.arange(len(searched)))
    rows = runs.ranked.merge(numbered, on=["system", "unit"]).merge(pool, on=["unit", "doc"], how="left")
    rows = rows.sort_values(["list", "rank"])
    return Lists(
        query=searched["unit"].to_numpy("int64"),
        row_list=rows["list"].to_numpy("int64"),
        row_rank=rows["rank"].to_numpy("int64"),
        row_doc=rows["doc"].to_numpy("int64"),
        row_relevance=rows["relevance"].fillna(0).to_numpy("int64"),
        row_judged=rows["relevance"].notna().to_numpy(),
        pool_query=pool["unit"].to_numpy("int64"),
        pool_doc=pool["doc"].to_numpy("int64"),
        pool_relevance=pool["relevance"].to_numpy("int64"),
    )


def _summary(wide: pd.DataFrame, systems: list[str]) -> pd.DataFrame:
    groups = wide.drop(columns="unit").groupby("system")
    means = groups.mean().reindex(systems)
    means["n_queries"] = groups.size().reindex(systems, fill_value=0).astype("int64")
    return means.rename_axis("system")


def _long(runs: Runs, wide: pd.DataFrame) -> pd.DataFrame:
    """By unit, then system, then measure, as they were first met."""
    rows = wide.sort_values("unit", kind="stable").join(runs.units, on="unit")
    columns = [*runs.unit_columns, "system"]
    names = [name for name in wide.columns if name not in ("unit", "system")]
    values = rows[names].to_numpy("float64").ravel()
    long = rows[columns].loc[rows.index.repeat(len(names))].reset_index(drop=True)
    return long.assign(measure=pd.array(names * len(rows), dtype="str"), value=values)


def _warn_of_uneven(searched: pd.DataFrame) -> None:
    units = searched.groupby("system", sort=False)["unit"].agg(frozenset)
    if units.nunique() > 1:
        sizes = ", ".join(f"{system} {len(own)}" for system, own in units.items())
        warn(
            f"the systems were measured on different queries ({sizes}): their means are not over one set; "
            "tests are over the queries that both have",
        )


def _left_out(runs: Runs, qrels: pd.DataFrame, pool: pd.DataFrame) -> pd.Series[int]:
    queries = {
        "never-searched": len(_never_searched(runs, qrels)),
        "not-judged": len(_not_judged(runs, pool)),
    }
    counts = pd.Series({why: n for why, n in queries.items() if n}, dtype="int64")
    both = pd.concat([runs.left_out, counts]).astype("int64")
    return both.rename_axis("reason").rename("count")


def _never_searched(runs: Runs, qrels: pd.DataFrame) -> list[str]:
    if runs.joined is not None:
        return list(dict(runs.joined["query_ids"].items())["never-searched"])
    return [q for q in dict.fromkeys(qrels["query_id"]) if q not in set(runs.units["query_id"])]


def _not_judged(runs: Runs, pool: pd.DataFrame) -> list[str]:
    """The query id of each unit that a system has and nobody judged."""
    had = runs.units[runs.units.index.isin(runs.searched["unit"])]
    return list(had.loc[~had.index.isin(pool["unit"]), "query_id"])


def _joined(runs: Runs, qrels: pd.DataFrame, pool: pd.DataFrame) -> pd.DataFrame:
    """``n, query_ids`` by way of joining; the last two rows are what did not join."""
    never, not_judged = _never_searched(runs, qrels), _not_judged(runs, pool)
    if runs.joined is None:
        by_id = qrels.loc[~qrels["query_id"].isin(never), "query_id"].drop_duplicates()
        ways = {"query_id": list(by_id), "never-searched": never}
    else:
        ways = {str(way): list(found) for way, found in runs.joined["query_ids"].items()}
    ways["not-judged"] = not_judged
    how = {"n": [len(way) for way in ways.values()], "query_ids": [tuple(way) for way in ways.values()]}
    return pd.DataFrame(how, index=pd.Index(list(ways), name="joined by"))


def _tests(wide: pd.DataFrame, names: list[str], systems: list[str], baseline: str | None) -> pd.DataFrame:
    if baseline not in systems:
        return pd.DataFrame(columns=TEST)
    others = [system for system in systems if system != baseline]
    rows = []
    for name in names:
        by_unit = wide.pivot(index="unit", columns="system", values=name).reindex(columns=systems)
        tested = [paired((by_unit[other] - by_unit[baseline]).dropna().to_numpy("float64")) for other in others]
        corrected = holm([test["p"] for test in tested])
        rows += [
            {"system": other, "measure": name, **test, "p_holm": p}
            for other, test, p in zip(others, tested, corrected, strict=True)
        ]
    return pd.DataFrame(rows, columns=TEST)


def paired(differences: np.typing.NDArray[np.float64]) -> dict[str, float]:
    """The two-sided paired t-test of differences, with the 95 % interval of their mean.

    ``p`` and the interval are NaN under two differences, and where all are the same: no variance to judge by.
    """
    n = len(differences)
    delta = float(differences.mean()) if n else np.nan
    found = {
        "delta": delta,
        "p": np.nan,
        "ci_low": np.nan,
        "ci_high": np.nan,
        "wins": int((differences > SAME).sum()),
        "ties": int((np.abs(differences) <= SAME).sum()),
        "losses": int((differences < -SAME).sum()),
    }
    if n > 1 and np.ptp(differences) > SAME:
        from scipy import stats

        test = stats.ttest_rel(differences, np.zeros(n))
        interval = test.confidence_interval(LEVEL)
        found |= {"p": float(test.pvalue), "ci_low": float(interval.low), "ci_high": float(interval.high)}
    return found


def holm(p: Sequence[float]) -> list[float]:
    """Holm's step-down correction (Scandinavian Journal of Statistics 6, 1979); NaN stays NaN, uncounted.

    The i-th smallest of m p-values (from 0) times m - i, none smaller than the one before, at most 1.
    """
    values = np.asarray(p, dtype="float64")
    order = [i for i in np.argsort(values) if not np.isnan(values[i])]
    scaled = [(len(order) - i) * values[which] for i, which in enumerate(order)]
    corrected = np.full(len(values), np.nan)
    corrected[order] = np.minimum(np.maximum.accumulate(scaled), 1) if order else []
    return [float(value) for value in corrected]
