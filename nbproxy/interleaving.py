"""Which of two interleaved models users clicked more. Frames in, frames out; no network.

Laws:

- A click belongs to the latest interleaved exchange of its query that has the document among its hits and began at most
  30 minutes before the click (contract §7), and there to the team that put the document into the merged order. All
  else is unmatched, and counted by why.
- A document that was clicked again in one exchange counts once. An exchange is won by the team with more clicked
  documents; a tie has as many of both (or clicks beyond the depth only, which are nobody's). Exchanges without a click
  decide nothing and are counted apart.
- All exchanges of one query share their coins, so they stand or fall together: the test gives each query's won minus
  lost exchanges either sign with probability ½, as if the two models had changed places (Fisher's randomization test,
  two-sided, exact). Where each query was searched once this is the sign test: ``scipy.stats.binomtest`` over the
  exchanges that were decided.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from .errors import ConfigError
from .ranking import normalized
from .tables import Shown, Table, counted

WINDOW = pd.Timedelta(minutes=30)
PER_QUERY = ["query_id", "query", "index", "exchanges", "clicks_a", "clicks_b", "wins_a", "wins_b", "ties"]
PICKS = ["exchange_id", "part", "query_id", "index", "doc_id", "rank", "team", "propensity", "returned", "clicked"]
EXACT = 100_000  # won minus lost exchanges of all queries: beyond, the normal distribution is as good
UNKNOWN, ELSEWHERE = "no interleaved search", "not among the hits"

Search = tuple[str, int]  # exchange id and part, -1 for none


@dataclass(frozen=True, repr=False)
class Interleaving(Shown):
    """What ``session.interleaving()`` found: which of two models users clicked more, and whether that may be chance.

    :ivar summary: one row: ``a, b, wins_a, wins_b, ties, n, p``. Wins and ties are exchanges, ``n`` those with a click
        (wins and ties together); ``p`` is of a two-sided exact test that takes the exchanges of one query together, as
        they share their coins; where no query was searched twice, that is the binomial sign test over the exchanges
        that were decided. 1 where nothing is decided.
    :ivar per_query: one row for each query in an index expression: ``query_id, query, index, exchanges, clicks_a,
        clicks_b, wins_a, wins_b, ties``; ``exchanges`` counts those without a click too, clicks are documents.
    :ivar picks: one row for each document of each merged order: ``exchange_id, part, query_id, index, doc_id, rank,
        team, propensity, returned, clicked``. ``propensity`` is the probability with which the coins, given the two
        orders and the places above, put this document here for this team: ½ where a coin decided, else 1.
    :ivar clicks: how many clicks were told of and were credited to either of the two.
    :ivar unmatched: why → how many clicks belong to no interleaved exchange.
    """

    summary: pd.DataFrame
    per_query: pd.DataFrame
    clicks: int
    unmatched: pd.Series[int]
    _picks: _Picks = field(repr=False)
    _notes: Sequence[str] = ()

    @property
    def picks(self) -> pd.DataFrame:
        return self._picks.frame()

    def _tables(self) -> Sequence[Table]:
        notes = [*self._notes, *counted("clicks unmatched", self.unmatched)]
        return [Table("interleaving", self.summary, notes)]


def interleaved(
    frame: pd.DataFrame,
    hits: pd.DataFrame,
    events: Any,
    *,
    model: str | None = None,
    serving: tuple[str, str] | None = None,
) -> Interleaving:
    """Credit clicks to the models of an interleaving.

    :param frame: ``session.frame``; :param hits: ``session.hits``.
    :param events: an Arrow table of ``frames.EVENT_COLUMNS``.
    :param model: the name under which the two were served; None: the pair that was interleaved last.
    :param serving: names of the two that are interleaved now, for a result without any exchange.
    :raises ConfigError: nothing was interleaved, or nothing under that name.
    """
    rows = events.to_pandas()
    merges = read_merges(rows[rows["event"] == "merge"], frame)
    pair = _pair(merges, model, serving)
    chosen = merges[merges["pair"] == pair] if len(merges) else merges
    ranked = read_ranked(merges, hits)
    credits = credit(rows[rows["event"] == "click"], merges, ranked)
    clicked = _clicked(credits, merges)
    decided = _decided(chosen, clicked)
    return Interleaving(
        summary=_summary(pair, decided),
        per_query=_per_query(decided),
        clicks=sum(len(clicked.get(search, ())) for search in _searches(chosen)),
        unmatched=_counts(one for one in credits if isinstance(one, str)),
        _picks=_Picks(chosen, ranked, clicked),
        _notes=_notes(decided, merges),
    )


# -- what was interleaved


class Pair(NamedTuple):
    """Two models, by name and fingerprint."""

    a: str
    a_fingerprint: str | None
    b: str
    b_fingerprint: str | None

    @property
    def names(self) -> tuple[str, str]:
        """As tables show them: told apart by fingerprint where two models have one name."""
        if self.a != self.b or self.a_fingerprint == self.b_fingerprint:
            return self.a, self.b
        return f"{self.a} ({self.a_fingerprint})", f"{self.b} ({self.b_fingerprint})"


def read_merges(rows: pd.DataFrame, frame: pd.DataFrame) -> pd.DataFrame:
    """One row per interleaved search, oldest first, with what the frame says of it, its ``pair`` and its ``coins``."""
    said = [
        "exchange_id",
        "part",
        "started",
        "query_id",
        "ubi_query_id",
        "query",
        "index",
        "model",
        "model_fingerprint",
    ]
    searches = frame.loc[frame["exchange_id"].isin(rows["exchange_id"]), said].copy()
    told = rows[["exchange_id", "part", "a", "a_fingerprint", "b", "b_fingerprint", "teams", "propensities"]].copy()
    for one in (searches, told):
        one["part"] = one["part"].astype("Int64").fillna(-1).astype("int64")
        one["exchange_id"] = one["exchange_id"].astype("str")
    found = told.merge(searches, on=["exchange_id", "part"]).sort_values(["started", "exchange_id", "part"])
    names = found[["a", "a_fingerprint", "b", "b_fingerprint"]].itertuples(index=False, name=None)
    found["pair"] = pd.Series([Pair(*map(_text, one)) for one in names], index=found.index, dtype=object)
    queries = {query: normalized(query) for query in found["query"].dropna().unique()}
    found["coins"] = found["query"].map(queries).fillna("") + "\0" + found["model_fingerprint"].fillna("")
    return found.reset_index(drop=True)


def _text(value: Any) -> Any:
    return value if isinstance(value, str) else None


def _pair(merges: pd.DataFrame, model: str | None, serving: tuple[str, str] | None) -> Pair:
    found = merges if model is None else merges[merges["model"] == model]
    if len(found):
        pair: Pair = found["pair"].iloc[-1]
        return pair
    if model is None and serving is not None:
        return Pair(serving[0], None, serving[1], None)
    names = sorted(set(merges["model"].dropna()))
    known = f"; there are {', '.join(map(repr, names))}" if names else ""
    what = "no search was interleaved" if model is None else f"no search was interleaved as {model!r}"
    raise ConfigError(f"{what}{known}; session.model = nbproxy.interleave(a, b) begins")


def read_ranked(merges: pd.DataFrame, hits: pd.DataFrame) -> pd.DataFrame:
    """The merged orders: ``exchange_id, part, index, doc_id, rank, returned``."""
    wanted = hits["exchange_id"].isin(merges["exchange_id"]) & (hits["role"] == "served")
    rows = hits.loc[wanted.fillna(False).astype(bool)]
    rows = rows[["exchange_id", "part", "query_id", "index", "doc_id", "rank", "returned"]].copy()
    rows["part"] = rows["part"].astype("Int64").fillna(-1).astype("int64")
    rows["exchange_id"] = rows["exchange_id"].astype("str")
    return rows.sort_values(["exchange_id", "part", "rank"], ignore_index=True)


def _searches(merges: pd.DataFrame) -> Iterator[Search]:
    return zip(merges["exchange_id"], merges["part"], strict=True)


# -- clicks


@dataclass(frozen=True, slots=True)
class _Past:
    """An interleaved search, and where its documents stand."""

    search: Search
    started: pd.Timestamp
    documents: Mapping[str, Sequence[tuple[str | None, int]]]

    def rank(self, index: str | None, names: Sequence[str]) -> int | None:
        """Where a document stands; without an index the best place of that id."""
        places = (place for name in names for place in self.documents.get(name, ()))
        return min((rank for at, rank in places if index is None or at == index), default=None)


def credit(clicks: pd.DataFrame, merges: pd.DataFrame, ranked: pd.DataFrame) -> list[tuple[Search, int] | str]:
    """Each click's search and the clicked rank in it, or why it has none."""
    past = _history(merges, ranked)
    columns = ["time", "query_id", "ubi_query_id", "index", "doc_id", "internal_id"]
    return [_credited(past, *row) for row in clicks[columns].itertuples(index=False, name=None)]


def _history(merges: pd.DataFrame, ranked: pd.DataFrame) -> Mapping[tuple[str, str], list[_Past]]:
    """(kind of id, id) → its searches, oldest first."""
    documents: dict[Search, dict[str, list[tuple[str | None, int]]]] = defaultdict(dict)
    columns = ranked[["exchange_id", "part", "index", "doc_id", "rank"]]
    for exchange_id, part, index, doc_id, rank in columns.itertuples(index=False, name=None):
        if isinstance(doc_id, str):
            documents[exchange_id, part].setdefault(doc_id, []).append((_text(index), int(rank)))
    past: dict[tuple[str, str], list[_Past]] = defaultdict(list)
    kinds = ("query_id", "ubi_query_id")
    keys = merges[list(kinds)].itertuples(index=False, name=None)
    for search, started, ids in zip(_searches(merges), merges["started"], keys, strict=True):
        one = _Past(search, started, documents.get(search, {}))
        for kind, key in zip(kinds, ids, strict=True):
            if isinstance(key, str):
                past[kind, key].append(one)
    return past


def _credited(
    past: Mapping[tuple[str, str], list[_Past]],
    time: pd.Timestamp,
    query_id: Any,
    ubi_query_id: Any,
    index: Any,
    *names: Any,
) -> tuple[Search, int] | str:
    documents, found = [name for name in names if isinstance(name, str)], False
    for kind, key in (("ubi_query_id", ubi_query_id), ("query_id", query_id)):
        searches = past.get((kind, key), [])
        begun = bisect_right(searches, time, key=attrgetter("started"))
        for one in map(searches.__getitem__, range(begun - 1, -1, -1)):
            if time - one.started > WINDOW:
                break
            found = True
            if (rank := one.rank(_text(index), documents)) is not None:
                return one.search, rank
    return ELSEWHERE if found else UNKNOWN


def _clicked(credits: Iterable[tuple[Search, int] | str], merges: pd.DataFrame) -> dict[Search, dict[int, str]]:
    """Search → clicked rank → team, "" for nobody's."""
    teams = dict(zip(_searches(merges), merges["teams"], strict=True))
    out: dict[Search, dict[int, str]] = defaultdict(dict)
    for one in credits:
        if not isinstance(one, str):
            search, rank = one
            out[search][rank] = teams[search][rank - 1 : rank]
    return out


def _decided(merges: pd.DataFrame, clicked: Mapping[Search, Mapping[int, str]]) -> pd.DataFrame:
    """``merges`` with ``clicks_a, clicks_b`` and, where anything was clicked, ``net``: 1 (a won), -1 or 0; else NaN."""
    counts = [Counter(clicked.get(search, {}).values()) for search in _searches(merges)]
    a, b = (np.array([count[team] for count in counts], dtype=np.int64) for team in "ab")
    any_click = np.array([bool(count) for count in counts], dtype=bool)
    return merges.assign(clicks_a=a, clicks_b=b, net=np.where(any_click, np.sign(a - b), np.nan))


# -- results


def _tally(net: pd.Series[float]) -> dict[str, int]:
    return {"wins_a": int((net > 0).sum()), "wins_b": int((net < 0).sum()), "ties": int((net == 0).sum())}


def _summary(pair: Pair, decided: pd.DataFrame) -> pd.DataFrame:
    tally = _tally(decided["net"])
    nets = decided.groupby("coins")["net"].sum()
    row = {**dict(zip("ab", pair.names, strict=True)), **tally, "n": sum(tally.values()), "p": p_value(nets)}
    return pd.DataFrame([row])


def _per_query(decided: pd.DataFrame) -> pd.DataFrame:
    net = decided["net"]
    won = decided.assign(exchanges=1, wins_a=net > 0, wins_b=net < 0, ties=net == 0)
    queries = won.groupby(["query_id", "index"], sort=False, dropna=False)
    counts = queries[["exchanges", "clicks_a", "clicks_b", "wins_a", "wins_b", "ties"]].sum()
    return counts.assign(query=queries["query"].last()).reset_index()[PER_QUERY]


def p_value(nets: Iterable[float]) -> float:
    """The probability, if each number's sign were a coin, of a sum at least as far from 0 as theirs.

    :param nets: won minus lost exchanges of each query, whole numbers.

    >>> p_value([1, 1, 1, 1, -1]), p_value([5]), p_value([])
    (0.375, 1.0, 1.0)
    """
    whole = [int(net) for net in nets if net]
    sizes = Counter(map(abs, whole))
    total, far = sum(map(abs, whole)), abs(sum(whole))
    if far == 0:
        return 1.0
    if total > EXACT:
        return math.erfc(far / math.sqrt(2 * sum(size * size * n for size, n in sizes.items())))
    chances = _sums(sizes)
    return float(min(1.0, 2 * chances[(total + far) // 2 :].sum()))


def _sums(sizes: Mapping[int, int]) -> np.ndarray[Any, Any]:
    """The distribution of the sum of the numbers whose sign is +, from 0 up."""
    from scipy.signal import fftconvolve
    from scipy.stats import binom

    chances = np.ones(1)
    for size, n in sizes.items():
        own = np.zeros(size * n + 1)
        own[::size] = binom.pmf(np.arange(n + 1), n, 0.5)
        small = min(len(chances), len(own)) < 2048  # by sums of products, which keep the digits of what is rare
        chances = np.convolve(chances, own) if small else np.clip(fftconvolve(chances, own), 0.0, None)
    return chances


def _counts(reasons: Iterable[str]) -> pd.Series[int]:
    counts = Counter(reasons)
    return pd.Series(dict(counts.most_common()), dtype="int64", name="count").rename_axis("why")


def _notes(decided: pd.DataFrame, merges: pd.DataFrame) -> list[str]:
    clicked = decided["net"].notna()
    notes = [f"{len(decided):,} exchanges, {int((~clicked).sum()):,} without a click; wins, ties and n are exchanges"]
    queries = int((decided.groupby("coins")["net"].sum() != 0).sum()) if clicked.any() else 0
    if decided.loc[clicked, "coins"].duplicated().any():
        notes.append(
            f"p: exact test over {queries:,} queries that are decided; exchanges of one query share their coins"
        )
    elif clicked.any():
        notes.append("p: binomial sign test over the exchanges that are decided, two-sided")
    others = sorted(set(merges["model"].dropna()) - set(decided["model"].dropna()))
    return [*notes, *([f"not in here, named by model=: {', '.join(others)}"] if others else [])]


@dataclass(frozen=True, slots=True)
class _Picks:
    """What :attr:`Interleaving.picks` is made of, when somebody asks."""

    merges: pd.DataFrame
    ranked: pd.DataFrame
    clicked: Mapping[Search, Mapping[int, str]]

    def frame(self) -> pd.DataFrame:
        told = self.merges[["exchange_id", "part", "teams", "propensities"]].copy()
        told["team"] = [list(teams) for teams in told["teams"]]
        told["propensity"] = [[float(value) for value in values.split()] for values in told["propensities"]]
        told["rank"] = [list(range(1, len(teams) + 1)) for teams in told["teams"]]
        drawn = told.drop(columns=["teams", "propensities"]).explode(["team", "propensity", "rank"])
        drawn = drawn.astype({"rank": "int64", "propensity": "float64", "team": "str"})
        rows = self.ranked.astype({"rank": "int64"}).merge(drawn, on=["exchange_id", "part", "rank"])
        keys = rows[["exchange_id", "part", "rank"]].itertuples(index=False, name=None)
        rows["clicked"] = [rank in self.clicked.get((exchange_id, part), {}) for exchange_id, part, rank in keys]
        rows["part"] = rows["part"].where(rows["part"] >= 0).astype("Int64")
        return rows[PICKS]
