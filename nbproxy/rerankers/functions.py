"""Plain callables as models: ``f(query, texts)`` or ``f(query, hits)``, and listwise ones."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from numbers import Integral
from typing import Any

from ..errors import ConfigError, RerankFault
from ..ranking import Hit
from .base import BaseReranker, hex16, texts_of
from .fingerprints import callable_fingerprint

_SHAPE = "a model is called as f(query, texts), or as f(query, hits) if its second parameter is named hits"
_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


class FunctionReranker(BaseReranker):
    """A callable that returns one score for each text.

    Its second parameter gets the texts; if it is named ``hits`` it gets :class:`~nbproxy.ranking.Hit` objects.

    :raises ConfigError: it cannot be called with a query and texts, or is a coroutine function.
    """

    def __init__(self, function: Callable[..., Any], *, name: str | None = None) -> None:
        super().__init__(name or callable_name(function), callable_fingerprint(function), function)
        self.function = function
        self.wants_hits = self.reads_source = _wants_hits(function)

    def score(self, query: str, hits: Sequence[Hit]) -> Any:
        return self.function(query, list(hits) if self.wants_hits else texts_of(hits))


class Listwise(FunctionReranker):
    """A callable that returns an order: positions in what it was given, best first."""

    def __init__(self, function: Callable[..., Any], *, name: str | None = None) -> None:
        super().__init__(function, name=name)
        # the same function as a scorer is another model
        self.fingerprint = hex16(b"listwise", self.fingerprint.encode())

    def score(self, query: str, hits: Sequence[Hit]) -> list[float]:
        """The best hit scores ``len(hits)``, the next one less, the last 1."""
        order = _permutation(super().score(query, hits), len(hits))
        scores = [0.0] * len(hits)
        for place, position in enumerate(order):
            scores[position] = float(len(hits) - place)
        return scores


def listwise(function: Callable[..., Any], *, name: str | None = None) -> Listwise:
    """A model from a function that returns an order: ``f(query, texts) -> indices, best first``.

    The order has to name every text once. A plain callable always returns scores; this is the only way to
    give an order (contract §2).

    :raises ConfigError: ``function`` cannot be called with a query and texts.

    >>> listwise(lambda query, texts: [1, 0])("q", ["a", "b"])
    [1.0, 2.0]
    """
    if isinstance(function, type) or not callable(function):
        raise ConfigError(f"listwise takes a function (query, texts) -> indices, best first, not {function!r}")
    return Listwise(function, name=name)


def callable_name(function: Callable[..., Any]) -> str:
    """``__name__``; a partial's function's; a callable object's ``name``, else its class's name.

    >>> callable_name(functools.partial(len))
    'len'
    """
    if isinstance(function, functools.partial):
        return callable_name(function.func)
    candidates = (getattr(function, "__name__", None), getattr(function, "name", None), type(function).__name__)
    return next(name for name in candidates if isinstance(name, str) and name)


def _wants_hits(function: Callable[..., Any]) -> bool:
    """Whether the second parameter is named ``hits``."""
    if inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(getattr(function, "__call__", None)):  # noqa: B004
        raise ConfigError(f"{callable_name(function)} is a coroutine function; {_SHAPE}, in a thread of its own")
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # built-in functions may have none
        return False
    try:
        signature.bind("query", ["text"])
    except TypeError as error:
        raise ConfigError(f"{callable_name(function)}{signature}: {error}; {_SHAPE}") from None
    positional = [name for name, parameter in signature.parameters.items() if parameter.kind in _POSITIONAL]
    return positional[1:2] == ["hits"]


def _permutation(order: Any, n: int) -> list[int]:
    """The order as a list, every position from 0 to ``n - 1`` once.

    :raises RerankFault: it is something else.
    """
    items = order.tolist() if hasattr(order, "tolist") else order
    try:
        positions = [_position(item) for item in items]
    except TypeError:
        raise RerankFault(f"a listwise model returned {order!r:.80} instead of indices, best first") from None
    if sorted(positions) != list(range(n)):
        raise RerankFault(
            f"a listwise model has to return each index from 0 to {n - 1} once, best first; it returned "
            f"{len(positions)}: {positions!r:.80}"
        )
    return positions


def _position(item: Any) -> int:
    plain = item.tolist() if hasattr(item, "tolist") else item
    if not isinstance(plain, Integral) or isinstance(plain, bool):
        raise TypeError(item)
    return int(plain)
