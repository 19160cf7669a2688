"""The measures of agreement against worked numbers, scipy, and what must hold for any two orders."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from nbproxy.errors import ConfigError
from nbproxy.orderings import moves, overlap_at, rbo, tau_b

orders = st.lists(st.integers(0, 30), unique=True, max_size=25)
cuts = st.integers(1, 30)
ps = st.floats(0.05, 0.98)


@pytest.mark.parametrize(
    ("a", "b", "p", "expected"),
    [
        ("abcd", "abcd", 0.9, 1.0),
        ("abcd", "efgh", 0.9, 0.0),
        ("ab", "ba", 0.9, 0.9),  # (1/9)(0 + 1·0.81) + 1·0.81
        ("abcd", "cabd", 0.9, 0.855),  # X = 0 1 3 4: (1/9)(0.405 + 0.729 + 0.6561) + 0.6561
        ("a", "ab", 0.5, 1.0),  # (0.5 + 0.5·0.25) + 1·1/(1·2)·0.25 = 0.75, and (0/2 + 1/1)·0.25
        # s = 2, l = 4, X = 0 1 2 2: (1/9)(0.405 + 2/3·0.729 + 0.5·0.6561 + 1·1/6·0.729 + 1·2/8·0.6561)
        # + ((2 - 1)/4 + 1/2)·0.6561 = (1/9)(1.21905 + 0.1215 + 0.164025) + 0.492075
        ("xa", "azxw", 0.9, (1.21905 + 0.1215 + 0.164025) / 9 + 0.492075),
        ("", "ab", 0.9, 0.0),
    ],
)
def test_rbo_is_equation_32(a: str, b: str, p: float, expected: float) -> None:
    assert rbo(a, b, p) == pytest.approx(expected, abs=1e-12)


def test_rbo_bounds_hold_every_way_the_orders_could_go_on() -> None:
    """Webber's point of extrapolation: agreement so far is assumed to go on. Longer orders that do so agree."""
    a, b = [1, 2, 3, 4], [2, 1, 4, 3]
    tail = list(range(100, 400))
    assert rbo(a, b) == pytest.approx(rbo(a + tail, b + tail), abs=1e-9)


@pytest.mark.parametrize("measure", [lambda: overlap_at("", "", 5), lambda: rbo("", ""), lambda: tau_b("a", "a")])
def test_the_undefined_is_nan(measure: object) -> None:
    assert math.isnan(measure())  # type: ignore[operator]


@pytest.mark.parametrize(
    ("a", "b", "k", "expected"),
    [("abc", "abd", 3, 2 / 3), ("abc", "a", 3, 1 / 3), ("a", "a", 10, 1.0), ("ab", "", 10, 0.0), ("ab", "ba", 1, 0.0)],
)
def test_overlap_is_over_the_longer_order(a: str, b: str, k: int, expected: float) -> None:
    assert overlap_at(a, b, k) == pytest.approx(expected)


@pytest.mark.parametrize("measure", [rbo, tau_b, moves, lambda a, b: overlap_at(a, b, 3)])
@pytest.mark.parametrize("pair", [("abcb", "abc"), ("abc", "abcb")])
def test_a_document_twice_is_named(measure: object, pair: tuple[str, str]) -> None:
    with pytest.raises(ConfigError, match="'b' occurs twice"):
        measure(*pair)  # type: ignore[operator]


@pytest.mark.parametrize("p", [0, 1, -1])
def test_p_and_k_are_checked(p: float) -> None:
    with pytest.raises(ConfigError, match="between 0 and 1"):
        rbo("a", "a", p)
    with pytest.raises(ConfigError, match="from 1"):
        overlap_at("a", "a", 0)


@given(orders, orders)
def test_tau_is_scipys(a: list[int], b: list[int]) -> None:
    common = [doc for doc in a if doc in b]
    if len(common) < 2:
        assert math.isnan(tau_b(a, b))
    else:
        theirs = stats.kendalltau([a.index(doc) for doc in common], [b.index(doc) for doc in common]).statistic
        assert tau_b(a, b) == pytest.approx(theirs, abs=1e-12)


@given(orders, orders, cuts, ps)
def test_bounds_and_symmetry(a: list[int], b: list[int], k: int, p: float) -> None:
    for value, other in [(rbo(a, b, p), rbo(b, a, p)), (overlap_at(a, b, k), overlap_at(b, a, k))]:
        assert math.isnan(value) == math.isnan(other) == (not a and not b)
        if a or b:
            assert 0 <= value <= 1
            assert value == pytest.approx(other, abs=1e-12)
    tau = tau_b(a, b)
    assert math.isnan(tau) or -1 <= tau <= 1
    assert moves(a, b) == {doc: -move for doc, move in moves(b, a).items()}


@given(orders.filter(bool), cuts, ps)
def test_identity(a: list[int], k: int, p: float) -> None:
    assert rbo(a, a, p) == pytest.approx(1, abs=1e-12)
    assert overlap_at(a, a, k) == 1
    assert set(moves(a, a).values()) == {0}
    if len(a) > 1:
        assert (tau_b(a, a), tau_b(a, a[::-1])) == (1, -1)


@settings(max_examples=50)
@given(orders, orders, ps)
def test_rbo_of_even_orders_is_the_plain_extrapolation(a: list[int], b: list[int], p: float) -> None:
    """Equation 23 of the paper, for orders of one length, written another way."""
    n = min(len(a), len(b))
    if n:
        a, b = a[:n], b[:n]
        agreement = [len(set(a[:d]) & set(b[:d])) / d for d in range(1, n + 1)]
        plain = agreement[-1] * p**n + (1 - p) * sum(x * p**d for d, x in enumerate(agreement))
        assert rbo(a, b, p) == pytest.approx(plain, abs=1e-12)
