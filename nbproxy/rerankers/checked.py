"""What a model returned, made certain: as many finite floats as there are texts."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Set
from numbers import Real
from typing import Any

from ..errors import RerankFault

_ORDERLESS = (Mapping, Set)
_WHOLE = (str, bytes, bytearray)


def checked_scores(scores: object, n: int) -> list[float]:
    """The scores as ``n`` finite floats, in order.

    Accepted: lists, tuples, generators, numpy arrays, torch tensors (on any device), pandas Series (by
    position, not by index); of integers, floats, fractions, numpy and torch scalars, and of booleans, which
    are 0 and 1. A column of shape ``(n, 1)``, which is what one-label models give, is read as ``(n,)``.

    :param scores: what the model returned.
    :param n: how many texts it was given.
    :raises RerankFault: anything else; the message says which score of which kind, ``why`` is ``model-error``.

    >>> checked_scores([[1], [True], [0.5]], 3)
    [1.0, 1.0, 0.5]
    """
    values = [_only(value) for value in _listed(scores, n)]
    if len(values) != n:
        raise RerankFault(
            f"the model returned {len(values)} score{'s' * (len(values) != 1)} for {n} text{'s' * (n != 1)}"
        )
    return [_finite(value, place) for place, value in enumerate(values)]


def _listed(scores: object, n: int) -> list[Any]:
    """The items of whatever the model returned."""
    if isinstance(scores, (*_WHOLE, *_ORDERLESS)) or scores is None:
        raise RerankFault(f"the model returned {_described(scores)} instead of {n} scores")
    # numpy, torch and pandas all have it; a DataFrame has not, but its columns' names are no scores either
    whole = scores.to_numpy() if hasattr(scores, "to_numpy") else scores
    items = whole.tolist() if hasattr(whole, "tolist") else whole
    if not isinstance(items, Iterable):
        raise RerankFault(f"the model returned {_described(scores)} instead of {n} scores")
    return list(items)


def _only(value: Any) -> Any:
    """A row of one value as that value, a zero-dimensional array or tensor as its number."""
    if isinstance(value, Real):
        return value
    plain = value.tolist() if hasattr(value, "tolist") else value
    if isinstance(plain, (list, tuple)):
        if len(plain) == 1:
            return plain[0]
        raise RerankFault(
            f"the model returned a row of {len(plain)} values for a text instead of one score; "
            "of a classifier's labels, return the one that means relevant"
        )
    return plain


def _finite(value: Any, place: int) -> float:
    if not isinstance(value, Real):
        raise RerankFault(f"score {place} (counted from 0) is {_described(value)}, not a real number")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise RerankFault(f"score {place} (counted from 0) is {number}; scores have to be finite")
    return number


def _described(value: object) -> str:
    """None as it is, short things with their type, everything else by its type."""
    kind = type(value).__name__
    if value is None:
        return "None"
    shown = repr(value) if isinstance(value, (*_WHOLE, complex)) else ""
    return f"{kind} {shown}" if shown and len(shown) <= 40 else f"an object of type {kind}"
