"""Merging two orders of the same documents into one, so that clicks tell which order users like better. Pure.

Laws:

* a merged order holds every document once; the documents of a team stand in its own order;
* it is a function of the two orders and the coins, and the coins of their key: no clock, no state, the same in every
  process. So the pages of one search are cut from one merged order, and neither repeat nor lose a document;
* swapping the two orders and turning every coin gives the same documents with the teams swapped: over the coins, both
  teams stand equally high.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

Coins = Iterator[bool]


class Merged(NamedTuple):
    """A merged order, best first; all three run in parallel.

    :ivar order: documents.
    :ivar teams: one letter each, ``a`` or ``b``: whose it is.
    :ivar propensities: the probability, over the coins and given the places above, that this document was put here for
        this team. Their product is that of the whole order with its teams.
    """

    order: tuple[int, ...]
    teams: str
    propensities: tuple[float, ...]


def team_draft(a: Sequence[int], b: Sequence[int], coins: Coins) -> Merged:
    """Two captains take turns, and a coin says who begins each round: each takes its best document that is still there
    (Radlinski, Kurup, Joachims: How Does Clickthrough Data Reflect Retrieval Quality?, CIKM 2008, algorithm 2).

    :param a: documents, best first; ``b``: the same documents in another order.

    >>> team_draft([1, 2, 3], [3, 1, 2], iter([True, False]))
    Merged(order=(1, 3, 2), teams='abb', propensities=(0.5, 1.0, 0.5))
    """
    wishes, taken, ahead = (iter(a), iter(b)), set[int](), 0
    order, teams, propensities = [], [], []
    for _ in a:
        second = ahead > 0 or (ahead == 0 and not next(coins))
        pick = next(wishes[second])
        while pick in taken:
            pick = next(wishes[second])
        taken.add(pick)
        order.append(pick)
        teams.append("ab"[second])
        propensities.append(1.0 if ahead else 0.5)
        ahead += -1 if second else 1
    return Merged(tuple(order), "".join(teams), tuple(propensities))


METHODS: Mapping[str, Callable[[Sequence[int], Sequence[int], Coins], Merged]] = MappingProxyType(
    {"team-draft": team_draft}
)


def coins(*key: str) -> Coins:
    """Fair coins without end, the same ones for the same key: the bits of SHA-256 in counter mode."""
    parts = [part.encode("utf-8", "surrogatepass") for part in key]
    seed = hashlib.sha256(b"".join(len(part).to_bytes(8, "big") + part for part in parts)).digest()
    for number in itertools.count():
        block = hashlib.sha256(seed + number.to_bytes(8, "big")).digest()
        yield from (bool(byte >> bit & 1) for byte in block for bit in range(8))
