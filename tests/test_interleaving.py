"""Who was clicked more: which exchange a click belongs to, wins and ties, and whether that may be chance."""

from __future__ import annotations

import itertools
import json
import random
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest

import nbproxy
from nbproxy import ConfigError, Interleaving
from nbproxy.clicks import Click
from nbproxy.exchange import Exchange
from nbproxy.interleaving import EXACT, interleaved, p_value
from nbproxy.ranking import Hit, Ranking, Teams
from nbproxy.recorder import Recorder

from .recordings import T0, exchange
from .test_household import household  # noqa: F401 - a fixture
from .upstreams import Client

Start = Callable[..., nbproxy.Session]
SECOND, MINUTE = 1_000_000, 60_000_000
PAIR = Teams("team-draft", ("one", "f1"), ("two", "f2"), "abba", (0.5, 1.0, 0.5, 1.0))


class Traffic:
    """Interleaved searches and clicks, recorded in memory. Documents are ``d0 … d5`` in the merged order."""

    def __init__(self) -> None:
        self.recorder = Recorder(None, session_id="s")
        self._numbers = itertools.count()

    def search(self, query: str, at: int = 0, teams: Teams | None = PAIR, index: str = "docs", **fields: Any) -> str:
        hits = tuple(Hit(index, f"d{n}", n + 1) for n in range(6))
        ranking = Ranking("served", "m", "fm", hits, (None,) * 6, (1, 2, 3, 4, 5, 6), (True,) * 3 + (False,) * 3, teams)
        known = {"query": query, "query_id": query, "index": "all", "model": "m", "model_fingerprint": "fm"}
        done = exchange(
            next(self._numbers), **{**known, **fields}, route="search", started=T0 + at, rankings=(ranking,)
        )
        self.recorder.append(done)
        return done.exchange_id

    def click(self, query_id: str | None, *documents: str, at: int = SECOND, **fields: Any) -> None:
        for doc_id in documents:
            told = {"exchange_id": "zz", "time": T0 + at, "source": "route", "doc_id": doc_id, "query_id": query_id}
            self.recorder.append_click(Click(**(told | fields)))

    def found(self, model: str | None = None) -> Interleaving:
        return interleaved(self.recorder.frame(), self.recorder.hits(), self.recorder.events(), model=model)


@pytest.fixture
def traffic() -> Iterator[Traffic]:
    made = Traffic()
    yield made
    made.recorder.close()


def row(found: Interleaving) -> list[Any]:
    return list(found.summary.iloc[0])


def test_a_hand_computed_example(traffic: Traffic) -> None:
    """Teams are a b b a, then nobody. Five decided of six with a click: 4 to 1, so p = 2 · (5 + 1) / 2⁵ = 0.375."""
    for query in ("q1", "q2", "q3", "q4", "q5", "q6", "q7", "q8"):
        traffic.search(query)
    traffic.click("q1", "d0")
    traffic.click("q2", "d3", "d0", "d1")
    traffic.click("q3", "d0")
    traffic.click("q4", "d3")
    traffic.click("q5", "d1", "d2")
    traffic.click("q6", "d0", "d1")
    traffic.click("q7", "d5")  # beyond the depth: nobody's
    traffic.click("q9", "d0")
    found = traffic.found()
    assert list(found.summary) == ["a", "b", "wins_a", "wins_b", "ties", "n", "p"]
    assert row(found) == ["one", "two", 4, 1, 2, 7, pytest.approx(0.375)]
    assert binomtest(4, 5).pvalue == pytest.approx(0.375)
    expected = pd.DataFrame(
        [
            ["q1", 1, 1, 0, 1, 0, 0],
            ["q2", 1, 2, 1, 1, 0, 0],
            ["q3", 1, 1, 0, 1, 0, 0],
            ["q4", 1, 1, 0, 1, 0, 0],
            ["q5", 1, 0, 2, 0, 1, 0],
            ["q6", 1, 1, 1, 0, 0, 1],
            ["q7", 1, 0, 0, 0, 0, 1],
            ["q8", 1, 0, 0, 0, 0, 0],
        ],
        columns=["query_id", "exchanges", "clicks_a", "clicks_b", "wins_a", "wins_b", "ties"],
    )
    shown = found.per_query
    assert list(shown) == [
        "query_id", "query", "index", "exchanges", "clicks_a", "clicks_b", "wins_a", "wins_b", "ties",
    ]  # fmt: skip
    pd.testing.assert_frame_equal(shown[list(expected)], expected, check_dtype=False)
    assert found.clicks == 11
    assert found.unmatched.to_dict() == {"no interleaved search": 1}


def test_a_click_belongs_to_the_latest_search_of_its_query_within_30_minutes(traffic: Traffic) -> None:
    early = traffic.search("q", at=0)
    late = traffic.search("q", at=10 * MINUTE)
    traffic.search("other", at=10 * MINUTE)
    traffic.click("q", "d0", at=5 * MINUTE)
    traffic.click("q", "d1", at=10 * MINUTE)  # in the very moment
    traffic.click("q", "d2", at=40 * MINUTE)  # 30 minutes after
    traffic.click("q", "d3", at=40 * MINUTE + 1)
    traffic.click("q", "d3", at=-1)
    found = traffic.found()
    picks = found.picks
    clicked = picks[picks.clicked]
    assert list(zip(clicked.exchange_id, clicked.doc_id, strict=True)) == [(early, "d0"), (late, "d1"), (late, "d2")]
    assert found.unmatched.to_dict() == {"no interleaved search": 2}


def test_a_document_counts_once_and_must_be_among_the_hits(traffic: Traffic) -> None:
    traffic.search("q")
    traffic.click("q", "d0", "d0", "d0", "d1", "d2", "d9", "d9")
    found = traffic.found()
    assert found.per_query[["clicks_a", "clicks_b", "wins_b"]].iloc[0].tolist() == [1, 2, 1]
    assert found.unmatched.to_dict() == {"not among the hits": 2}


def test_an_older_search_that_has_the_document_is_meant(traffic: Traffic) -> None:
    """One text searched in two places: the newer search cannot be the one that was clicked in."""
    shop = traffic.search("q", index="shop")
    traffic.search("q", at=SECOND, index="blog")
    traffic.click("q", "d0", at=2 * SECOND, index="shop")
    traffic.click("q", "d0", at=2 * SECOND, index="attic")
    found = traffic.found()
    assert list(found.picks[found.picks.clicked].exchange_id) == [shop]
    assert found.unmatched.to_dict() == {"not among the hits": 1}


def test_ubi_names_a_search_of_its_own(traffic: Traffic) -> None:
    first = traffic.search("q", ubi_query_id="u1")
    traffic.search("q", at=SECOND, ubi_query_id="u2")
    traffic.click(None, "isbn", at=2 * SECOND, ubi_query_id="u1", source="ubi", internal_id="d0")
    traffic.click("q", "d1", at=2 * SECOND, ubi_query_id="unknown")  # the other id helps
    traffic.click(None, "d0", at=2 * SECOND, ubi_query_id="u3")
    found = traffic.found()
    assert next(iter(found.picks[found.picks.clicked].exchange_id)) == first
    assert row(found)[2:6] == [1, 1, 0, 2]
    assert found.unmatched.to_dict() == {"no interleaved search": 1}


def test_searches_that_were_not_interleaved_get_no_credit(traffic: Traffic) -> None:
    traffic.search("q")
    traffic.search("q", at=SECOND, teams=None, model="one")
    traffic.click("q", "d0", at=2 * SECOND)
    assert row(traffic.found())[2:6] == [1, 0, 0, 1]


def test_exchanges_of_one_query_stand_or_fall_together(traffic: Traffic) -> None:
    """A query that is asked again and again repeats its coins: thirty wins of one query are one piece of evidence."""
    for n in range(30):
        traffic.search((" Red  shoes", "red SHOES")[n % 2], at=n * SECOND, query_id=f"Q{n}")
        traffic.click(f"Q{n}", "d0", at=n * SECOND)
    found = traffic.found()
    assert row(found)[2:] == [30, 0, 0, 30, 1.0]
    assert "1 queries that are decided" in repr(found)
    for n in range(5):
        traffic.search(f"another {n}")
        traffic.click(f"another {n}", "d0")
    assert row(traffic.found())[2:] == [35, 0, 0, 35, pytest.approx(2 / 2**6)]


def test_another_seed_throws_new_coins_and_counts_with_the_first(traffic: Traffic) -> None:
    for n in range(8):
        traffic.search("q", at=n * SECOND, model_fingerprint=f"seed {n}")
        traffic.click("q", "d0", at=n * SECOND)
    assert row(traffic.found())[2:] == [8, 0, 0, 8, pytest.approx(2 / 2**8)]


def test_the_pair_that_was_interleaved_last_or_the_one_that_is_named(traffic: Traffic) -> None:
    other = Teams("team-draft", ("one", "f1"), ("one", "f9"), "ba", (0.5, 1.0))
    traffic.search("q", model="first")
    traffic.search("r", model="second", teams=other)
    traffic.click("q", "d0")
    traffic.click("r", "d0")
    assert row(traffic.found())[:4] == ["one (f1)", "one (f9)", 0, 1]
    assert "named by model=: first" in repr(traffic.found())
    assert row(traffic.found("first"))[:4] == ["one", "two", 1, 0]
    with pytest.raises(ConfigError, match="as 'third'; there are 'first', 'second'"):
        traffic.found("third")


def test_nothing_interleaved_is_an_error_that_says_how(traffic: Traffic) -> None:
    traffic.search("q", teams=None)
    with pytest.raises(ConfigError, match=r"session\.model = nbproxy\.interleave\(a, b\)"):
        traffic.found()


def test_picks_say_whose_each_document_is_and_how_likely_that_was(traffic: Traffic) -> None:
    traffic.search("q")
    traffic.click("q", "d2")
    picks = traffic.found().picks
    assert list(picks) == [
        "exchange_id", "part", "query_id", "index", "doc_id", "rank", "team", "propensity", "returned", "clicked",
    ]  # fmt: skip
    assert list(picks.team) == ["a", "b", "b", "a"]
    assert list(picks.propensity) == [0.5, 1.0, 0.5, 1.0]
    assert list(picks.doc_id) == ["d0", "d1", "d2", "d3"]
    assert list(picks.clicked) == [False, False, True, False]
    assert list(picks.returned) == [True, True, True, False]
    assert picks.part.isna().all()


def test_parts_of_a_multi_search_are_searches(traffic: Traffic) -> None:
    hits = (Hit("docs", "d0", 1), Hit("docs", "d1", 2))
    parts = tuple(
        exchange(
            500, part=n, route="search", query=f"q{n}", query_id=f"q{n}", model="m", model_fingerprint="f",
            rankings=(Ranking("served", "m", "f", hits, (None,) * 2, (1, 2), (True,) * 2, PAIR),),
        )
        for n in range(2)
    )  # fmt: skip
    whole: Exchange = exchange(500, route="search", parts=parts)
    traffic.recorder.append(whole)
    traffic.click("q1", "d1", at=MINUTE)
    found = traffic.found()
    assert list(found.picks[found.picks.clicked].part) == [1]
    assert row(found)[2:6] == [0, 1, 0, 1]


def test_it_is_shown_as_html_and_text_and_escaped(traffic: Traffic) -> None:
    evil = Teams("team-draft", ("<b>\x1b[31m", "f1"), ("two", "f2"), "ab", (0.5, 1.0))
    traffic.search("q", teams=evil)
    traffic.click("q", "d0")
    found = traffic.found()
    assert "&lt;b&gt;" in found._repr_html_()
    assert "\x1b" not in repr(found)
    assert "1 exchanges, 0 without a click" in repr(found)
    assert "wins_a" in repr(found)
    assert found.__rich__() is not None


# -- the test


@settings(deadline=None)
@given(st.integers(0, 200), st.integers(0, 200))
def test_where_no_query_repeats_p_is_the_sign_tests(a: int, b: int) -> None:
    wanted = binomtest(a, a + b).pvalue if a + b else 1.0
    assert p_value([1] * a + [-1] * b + [0] * 7) == pytest.approx(wanted)


@settings(deadline=None)
@given(st.lists(st.integers(-6, 6), max_size=10))
def test_p_counts_the_signs_that_come_out_as_far(nets: list[int]) -> None:
    sums = [
        abs(sum(s * n for s, n in zip(signs, nets, strict=True)))
        for signs in itertools.product([1, -1], repeat=len(nets))
    ]
    wanted = sum(one >= abs(sum(nets)) for one in sums) / len(sums)
    assert p_value(nets) == pytest.approx(wanted)


def test_far_beyond_counting_the_normal_distribution_does() -> None:
    nets = [3] * (EXACT // 6) + [-3] * (EXACT // 6 - 300)
    exact = binomtest(EXACT // 6, EXACT // 3 - 300).pvalue
    assert p_value(nets) == pytest.approx(exact, rel=0.02)
    assert p_value([*nets, 3, 3, 3, *[1, -1] * 500]) == pytest.approx(exact, rel=0.05)


# -- users, simulated


class User:
    """Reads from the top; clicks a document the more likely the better it is, and then mostly stops."""

    LIKES = (0.03, 0.15, 0.45, 0.85)  # by grade

    def __init__(self, qrels: pd.DataFrame, seed: int) -> None:
        keys = zip(qrels["query_id"], qrels["doc_id"], strict=True)
        self._grades = dict(zip(keys, qrels["relevance"], strict=True))
        self._dice = random.Random(seed)

    def clicks(self, query_id: str, documents: list[str]) -> Iterator[str]:
        for doc_id in documents:
            if self._dice.random() < self.LIKES[self._grades.get((query_id, doc_id), 0)]:
                yield doc_id
                if self._dice.random() < 0.6:
                    return


def as_json(value: Any) -> bytes:
    return json.dumps(value).encode()


def visits(session: nbproxy.Session, collection: Any, seed: int) -> None:
    """Every query of the collection, searched and clicked as a page in a browser would."""
    user = User(collection.qrels, seed)
    with Client(session.url) as client:
        for query_id, query in collection.queries.itertuples(index=False):
            fields = b"X-Opaque-Id: " + query_id.encode()
            body = as_json({"query": {"multi_match": {"query": query, "fields": ["title", "text"]}}})
            answer = client.ask(b"POST", b"/household/_search", body, fields, b"Content-Type: application/json").json
            for doc_id in user.clicks(query_id, [hit["_id"] for hit in answer["hits"]["hits"]]):
                told = as_json({"query_id": query_id, "doc_id": doc_id})
                assert client.ask(b"POST", b"/_nbproxy/click", told, b"Content-Type: text/plain").status == 202


def careless(query: str, texts: list[str]) -> list[float]:
    """A model that knows nothing: any order, always the same one."""
    return [float(zlib.crc32(text.encode())) for text in texts]


@pytest.mark.engine
def test_users_find_the_better_model(start: Start, engine: Any, household: Any) -> None:  # noqa: F811
    """Told by clicks alone, and by judgments of the same interleaved traffic too."""
    session = start(engine.url, model=nbproxy.interleave(careless, "bm25"), deadline=None)
    visits(session, household, seed=1)
    found = session.interleaving()
    summary = found.summary.iloc[0]
    assert (summary.a, summary.b) == ("careless", "bm25")
    assert summary.wins_b > summary.wins_a
    assert summary.p < 0.05
    assert summary.p == pytest.approx(binomtest(summary.wins_a, summary.wins_a + summary.wins_b).pvalue)
    assert found.unmatched.empty
    means = session.evaluate(household.qrels).summary["nDCG@10"]
    assert means["bm25"] > means["careless"]


@pytest.mark.engine
def test_users_find_no_difference_where_there_is_none(start: Start, engine: Any, household: Any) -> None:  # noqa: F811
    """A/A: the same model on both sides. Repeated queries repeat their coins, and must not look like evidence."""
    session = start(engine.url, model=nbproxy.interleave("bm25", "bm25"), deadline=None)
    for seed in range(3):
        visits(session, household, seed)
    summary = session.interleaving().summary.iloc[0]
    assert summary.n > 100
    assert summary.p > 0.05
