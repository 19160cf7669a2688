"""``nbproxy.interleave(a, b)``: what a user assigns to have two models' orders merged and compared by clicks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .errors import ConfigError
from .merging import METHODS


@dataclass(frozen=True)
class Interleave:
    """Two models to be merged. Made by :func:`interleave`.

    :ivar a, b: what ``session.model`` takes.
    """

    a: Any
    b: Any
    method: str = "team-draft"
    seed: int | str = 0

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise ConfigError(f"method={self.method!r} is not one of {', '.join(map(repr, METHODS))}")
        if isinstance(self.seed, bool) or not isinstance(self.seed, (int, str)):
            raise ConfigError(f"seed must be a whole number or a text, not {self.seed!r}")
        if any(isinstance(team, Interleave) for team in (self.a, self.b)):
            raise ConfigError("interleave merges two models; an interleaving is not one")


def interleave(a: Any, b: Any, method: str = "team-draft", seed: int | str = 0) -> Interleave:
    """Merge the orders of two models on ordinary traffic, and learn from clicks which one users like better.

        session.model = nbproxy.interleave("original", "bm25")
        …                                # searches, and clicks by POST /_nbproxy/click or by UBI events
        session.interleaving()           # who won how often, and whether that may be chance

    It is no Reranker, but a merger of two orders, and is assigned like one: to ``session.model`` or in
    ``session.models``. Both models score each search, each on its own worker, within the one deadline; where one of
    them fails or is late, the answer has upstream's order and the reason says why. ``min_score`` does not apply: there
    is no common scale.

    **What is recorded.** In ``session.hits`` the merged order is ``served`` under the merger's name, with scores NaN;
    each model's own order, with its scores, is a ``shadow`` (but for ``"original"``, whose order is
    ``original_rank``), so ``session.evaluate(qrels)`` measures the two at the same time. Whose each document was, and
    with what probability, is in ``session.interleaving().picks``.

    **Coins.** Who begins a round is decided by coins that are a function of the query's text (normalised as for
    ``query_id``) and the merger's fingerprint, which covers both models, the method and ``seed``. So the same search
    has the same merged order on each of its pages, for each user, and after a restart. The price: a query that is
    repeated repeats its coins, so that whoever they favour is favoured again. Over many queries that evens out; the
    test of ``session.interleaving()`` counts on nothing else, as it lets all exchanges of one query stand or fall
    together. To have the coins of frequent queries thrown again, change the seed now and then, say once a day:
    ``interleave(a, b, seed=str(date.today()))``; results of all seeds are taken together.

    :param a: anything that ``session.model`` takes; ``"original"`` or None is upstream's order.
    :param b: likewise. The same as ``a`` on purpose is an A/A test.
    :param method: ``"team-draft"`` (Radlinski, Kurup, Joachims, CIKM 2008).
    :param seed: of the coins, a number or a text.
    :raises ConfigError: an unknown method, or an interleaving as a model. The models are loaded when it is assigned.
    """
    return Interleave("original" if a is None else a, "original" if b is None else b, method, seed)
