"""A document's own numbers as a model: its rating, its date."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from numbers import Real
from typing import Any

from ..errors import ConfigError
from ..ranking import Hit
from .base import BaseReranker, filled, hex16


class Field(BaseReranker):
    """Scores a document by a number that it carries. Made by :func:`field`.

    :ivar reads_source: that the proxy has to ask upstream for the whole source, whatever the client wants to see.
    """

    reads_source = True

    def __init__(
        self, path: str, *, decay: float | None, missing: float | None, low: bool, name: str | None = None
    ) -> None:
        said = f"{path} {decay} {missing} {low}"
        super().__init__(name or path, hex16(b"field", said.encode("utf-8", "surrogatepass")), f"field({path!r})")
        self.path, self.decay, self.missing, self.low = path, decay, missing, low

    def values(self, hits: Sequence[Hit]) -> list[float | None]:
        """What each document scores; None: it lacks the number, and no other was said to stand for it."""
        read = [self._read(hit) for hit in hits]
        signed = [None if value is None else -value if self.low else value for value in read]
        if self.decay is None:
            return signed
        best = max((value for value in signed if value is not None), default=0.0)
        return [None if value is None else 0.5 ** ((best - value) / self.decay) for value in signed]

    def _read(self, hit: Hit) -> float | None:
        found = (number(value) for value in at(hit.source, self.path))
        return next((value for value in found if value is not None), self.missing)

    def score(self, query: str, hits: Sequence[Hit]) -> list[float]:  # noqa: ARG002 - the protocol's
        """What lacks the number scores less than all that have it; where none has it, all score 0."""
        return filled(self.values(hits))


def field(
    path: str,
    *,
    decay: float | timedelta | None = None,
    missing: float | None = None,
    low: bool = False,
    name: str | None = None,
) -> Field:
    """A model that scores documents by one of their own fields: ``nbproxy.fuse(model, nbproxy.field("rating"))``.

    Numbers count as they are, booleans as 0 and 1, strings as the number or the ISO 8601 date that they hold; a date is
    the seconds since 1970, in UTC where it names no zone. Of an array the first that can be read counts.

    :param path: dotted, into the document's source: ``"rating"``, ``"stats.clicks"``.
    :param decay: how far from the best of one search's documents the score is halved, and halved again: 2.0,
        ``timedelta(days=30)``; then scores lie between 0 and 1. None: the number itself. The order is the same.
    :param missing: what stands for a number that a document lacks, in the field's own unit (dates: seconds); None:
        such documents come last, in upstream's order, and add nothing to a :func:`~nbproxy.fuse`.
    :param low: lower numbers are better: a price.
    :param name: None: the path.
    :raises ConfigError: a wrong argument.

    >>> hits = [Hit(None, "a", 1, source={"stats": {"clicks": 3}}), Hit(None, "b", 2, source={})]
    >>> field("stats.clicks", missing=1).score("any", hits)
    [3.0, 1.0]
    """
    if not isinstance(path, str) or not path.strip():
        raise ConfigError(f"field takes the dotted path of a field, not {path!r}")
    halved = decay.total_seconds() if isinstance(decay, timedelta) else decay
    if halved is not None and not (_is_number(halved) and halved > 0):
        raise ConfigError(f"field: decay must be a number above 0, or a timedelta, not {decay!r}")
    if missing is not None and not _is_number(missing):
        raise ConfigError(f"field: missing must be a number, not {missing!r}")
    return Field(path, decay=halved, missing=None if missing is None else float(missing), low=bool(low), name=name)


def at(source: Any, path: str) -> list[Any]:
    """The values under a dotted path: into objects and through arrays; a key with dots in it counts as a path, too.

    >>> at({"a": [{"b": 1}, {"b": [2, 3]}], "a.b": 4}, "a.b")
    [4, 1, 2, 3]
    """
    if isinstance(source, list):
        return [value for one in source for value in at(one, path)]
    if not isinstance(source, Mapping):
        return []
    found = _flat(source[path]) if path in source else []
    for head, rest in _splits(path):
        found += at(source[head], rest) if head in source else []
    return found


def _splits(path: str) -> list[tuple[str, str]]:
    places = [place for place, letter in enumerate(path) if letter == "."]
    return [(path[:place], path[place + 1 :]) for place in places]


def _flat(value: Any) -> list[Any]:
    return [one for item in value for one in _flat(item)] if isinstance(value, list) else [value]


def number(value: Any) -> float | None:
    """A value as a number; None: it is none.

    >>> number("1970-01-02"), number(True), number("4.5"), number("soon")
    (86400.0, 1.0, 4.5, None)
    """
    if isinstance(value, str):
        return _of_text(value.strip())
    if isinstance(value, date):
        return _of_text(value.isoformat())
    return _finite(value) if isinstance(value, Real) else None


def _of_text(text: str) -> float | None:
    try:
        return _finite(float(text))
    except ValueError:
        pass
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _finite(value: Any) -> float | None:
    try:
        as_float = float(value)
    except OverflowError:
        return None
    return as_float if math.isfinite(as_float) else None


def _is_number(value: object) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)
