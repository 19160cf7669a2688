"""How two orders of documents differ: pure functions over sequences of hashable document identities.

An order is best first and holds a document at most once (:class:`ConfigError` names one that occurs twice).
Every function is symmetric in its two orders, except that :func:`moves` changes its sign.
What is undefined is NaN, never a guess: nothing can be said about two empty orders.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Hashable, Sequence

from .errors import ConfigError

Order = Sequence[Hashable]


def overlap_at(a: Order, b: Order, k: int) -> float:
    """Documents common to both first ``k``, over ``min(k, the longer order)``: in [0, 1].

    >>> overlap_at("abc", "bxa", 2)
    0.5
    """
    if k < 1:
        raise ConfigError(f"k counts documents from 1, not {k}")
    _places(a), _places(b)
    wanted = min(k, max(len(a), len(b)))
    return len(set(a[:k]) & set(b[:k])) / wanted if wanted else math.nan


def rbo(a: Order, b: Order, p: float = 0.9) -> float:
    """Rank-biased overlap, extrapolated: in [0, 1], 1 for equal orders, NaN if both are empty.

    Webber, Moffat & Zobel, "A similarity measure for indefinite rankings", ACM TOIS 28(4), 2010, eq. 32,
    which holds for orders of uneven length too. With the shorter order's length s, the longer's l, and the
    number X_d of documents common to both first d::

        (1-p)/p · ( Σ_{d=1..l} X_d/d · p^d  +  Σ_{d=s+1..l} X_s·(d-s)/(s·d) · p^d )
                + ( (X_l - X_s)/l + X_s/s ) · p^l

    :param p: how far down a reader looks, in (0, 1): the weight of the first 10 ranks is 0.86 at 0.9.
    """
    if not 0 < p < 1:
        raise ConfigError(f"p lies between 0 and 1, not {p}")
    common = _common(a, b)
    short, long = sorted((len(a), len(b)))
    if not short:
        return 0.0 if long else math.nan
    x_s, x_l = common[short - 1], common[-1]
    total = sum(x / d * p**d for d, x in enumerate(common, 1))
    total += sum(x_s * (d - short) / (short * d) * p**d for d in range(short + 1, long + 1))
    value = (1 - p) / p * total + ((x_l - x_s) / long + x_s / short) * p**long
    return min(1.0, value)  # the sum of a geometric series in floats may end an ulp above


def tau_b(a: Order, b: Order) -> float:
    """Kendall's tau over the documents that both orders have: in [-1, 1], NaN under two of them.

    Two orders have no ties, so tau-b is 1 - 4·(discordant pairs)/(n(n-1)) (Kendall, Biometrika 30, 1938);
    the tests hold it to ``scipy.stats.kendalltau``, whose call takes as long as fifty of these.
    """
    place_b, _ = _places(b), _places(a)
    ranks = [place_b[doc] for doc in a if doc in place_b]
    n = len(ranks)
    return 1 - 4 * _inversions(ranks) / (n * (n - 1)) if n > 1 else math.nan


def moves(a: Order, b: Order) -> dict[Hashable, int]:
    """For each document of both orders its rank in ``a`` minus its rank in ``b``: positive, it climbed.

    >>> moves("abc", "cab")
    {'a': -1, 'b': -1, 'c': 2}
    """
    place_a, place_b = _places(a), _places(b)
    return {doc: place - place_b[doc] for doc, place in place_a.items() if doc in place_b}


def _places(order: Order) -> dict[Hashable, int]:
    places = {doc: place for place, doc in enumerate(order)}
    if len(places) < len(order):
        twice = next(doc for place, doc in enumerate(order) if places[doc] != place)
        raise ConfigError(f"document {twice!r} occurs twice in one order")
    return places


def _common(a: Order, b: Order) -> list[int]:
    """X_1 … X_l: how many documents the first d of both share."""
    place_a, place_b = _places(a), _places(b)
    common = [0] * max(len(a), len(b))
    for doc, place in place_a.items():
        if doc in place_b:
            common[max(place, place_b[doc])] += 1
    for d in range(1, len(common)):
        common[d] += common[d - 1]
    return common


def _inversions(ranks: Sequence[int]) -> int:
    """Pairs that stand the wrong way round."""
    seen: list[int] = []
    count = 0
    for rank in ranks:
        place = bisect_left(seen, rank)
        count += len(seen) - place
        seen.insert(place, rank)
    return count
