"""Merged orders: every document once, each team in its own order, both equally high over the coins."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nbproxy.merging import coins, team_draft

Orders = tuple[list[int], list[int]]


@st.composite
def orders(draw: st.DrawFn, most: int = 30) -> Orders:
    n = draw(st.integers(0, most))
    return draw(st.permutations(range(n))), draw(st.permutations(range(n)))


@settings(deadline=None)
@given(orders(), st.text())
def test_every_document_stands_once_and_a_teams_in_its_own_order(both: Orders, key: str) -> None:
    a, b = both
    merged = team_draft(a, b, coins(key))
    assert sorted(merged.order) == sorted(a)
    assert len(merged.teams) == len(merged.propensities) == len(merged.order)
    for team, own in (("a", a), ("b", b)):
        theirs = [one for one, letter in zip(merged.order, merged.teams, strict=True) if letter == team]
        assert theirs == sorted(theirs, key=own.index)


@settings(deadline=None)
@given(orders(), st.text())
def test_no_team_is_ever_more_than_one_ahead(both: Orders, key: str) -> None:
    teams = team_draft(*both, coins(key)).teams
    for n in range(len(teams) + 1):
        assert abs(teams[:n].count("a") - teams[:n].count("b")) <= 1


@settings(deadline=None)
@given(orders(), st.text())
def test_each_team_takes_its_best_document_that_is_left(both: Orders, key: str) -> None:
    merged, own, taken = team_draft(*both, coins(key)), dict(zip("ab", both, strict=True)), set[int]()
    for document, team in zip(merged.order, merged.teams, strict=True):
        assert document == next(one for one in own[team] if one not in taken)
        taken.add(document)


@settings(deadline=None)
@given(orders(), st.lists(st.booleans(), min_size=30, max_size=30))
def test_turned_coins_and_swapped_orders_give_the_same_documents_to_the_other_team(
    both: Orders, flips: list[bool]
) -> None:
    a, b = both
    one = team_draft(a, b, iter(flips))
    other = team_draft(b, a, iter([not flip for flip in flips]))
    assert one.order == other.order
    assert one.teams == other.teams.translate(str.maketrans("ab", "ba"))
    assert one.propensities == other.propensities


@settings(deadline=None)
@given(orders(most=9))
def test_over_all_coins_both_teams_stand_equally_high_and_propensities_are_true(both: Orders) -> None:
    """By counting: each order with its teams comes as often as the product of its propensities says."""
    a, _ = both
    rounds = (len(a) + 1) // 2
    every = [team_draft(*both, iter(flips)) for flips in itertools.product([True, False], repeat=rounds)]
    for rank in range(len(a)):
        assert sum(merged.teams[rank] == "a" for merged in every) * 2 == len(every)
    for merged in every:
        chance = 1.0
        for propensity in merged.propensities:
            chance *= propensity
        assert every.count(merged) == chance * len(every)


@pytest.mark.parametrize("key", [("q", "f"), ("", ""), ("\ud800", "x")])
def test_coins_are_a_function_of_their_key(key: tuple[str, str]) -> None:
    first = list(itertools.islice(coins(*key), 1000))
    assert first == list(itertools.islice(coins(*key), 1000))
    assert first != list(itertools.islice(coins(*key, "more"), 1000))
    assert 400 < sum(first) < 600


def test_coins_are_the_same_in_every_process_and_version() -> None:
    assert "".join("ht"[coin] for coin in itertools.islice(coins("hello", "0"), 16)) == "hthhtththhththht"


def test_parts_of_a_key_do_not_run_together() -> None:
    assert list(itertools.islice(coins("ab", "c"), 64)) != list(itertools.islice(coins("a", "bc"), 64))


def test_over_many_queries_each_team_begins_about_half_of_the_time() -> None:
    begins = [team_draft([0, 1], [1, 0], coins(f"query {n}", "f")).teams[0] for n in range(2000)]
    assert 900 < begins.count("a") < 1100


@pytest.mark.parametrize(("n", "teams"), [(0, {""}), (1, {"a", "b"})])
def test_few_documents(n: int, teams: set[str]) -> None:
    seen = {team_draft(list(range(n)), list(range(n)), iter([coin])).teams for coin in (True, False)}
    assert seen == teams
