"""Why a request is left alone, by where it says so; the words are the contract's (§4)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..errors import ConfigError
from .json_places import Asked, Places, PlacesSetting, places

# Contract §4, of which the first that applies counts. Between size-zero and match-all the pipeline asks for the depth.
REASONS = (
    *("format", "filter-path", "malformed", "async", "percolate", "scroll", "search-after", "sorted", "collapse"),
    *("profile", "explain", "size-zero", "beyond-depth", "suggest-only", "aggregations-only", "match-all", "no-query"),
)


@dataclass(frozen=True)
class When:
    """That a request says something particular at a place.

    :ivar at: the place or places; the first that the request has counts.
    :ivar like: a regular expression that the whole value must match (lists: joined by commas; ``true``, ``false``);
        None: anything but null, false, an empty text, list or object.
    :raises ConfigError: a place or the expression cannot be read.
    """

    at: PlacesSetting
    like: str | None = None
    _places: Places = field(init=False, repr=False, default=())
    _pattern: re.Pattern[str] | None = field(init=False, repr=False, default=None)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_places", places(self.at, "alone"))
        if not self._places:
            raise ConfigError("When() needs at=: the place of a request that is looked at")
        if self.like is not None:
            object.__setattr__(self, "_pattern", _regex(self.like))

    def applies(self, asked: Asked) -> bool:
        """Whether the request says so.

        :raises Malformed: its body cannot be read.
        """
        value = asked.value(self._places)
        if self._pattern is None:
            return value is not None and value is not False and value not in ("", [], {})
        return value is not None and self._pattern.fullmatch(_as_text(value)) is not None


AloneSetting = Mapping[str, "PlacesSetting | When | Sequence[str | When]"]


def reasons(setting: AloneSetting) -> dict[str, tuple[When, ...]]:
    if not isinstance(setting, Mapping):
        raise ConfigError(f"alone= is a dict like {{'sorted': '$.sort'}}, not {setting!r}")
    unknown = [word for word in setting if word not in REASONS]
    if unknown:
        raise ConfigError(f"alone={unknown[0]!r} is none of the reasons: {', '.join(REASONS)}")
    return {word: _conditions(value) for word, value in setting.items()}


def _conditions(value: Any) -> tuple[When, ...]:
    every = [value] if isinstance(value, str | When) else list(value)
    return tuple(one if isinstance(one, When) else When(one) for one in every)


def _regex(text: Any) -> re.Pattern[str]:
    try:
        return re.compile(text, re.S)
    except (re.error, TypeError) as error:
        raise ConfigError(f"like={text!r} is not a regular expression: {error}") from None


def _as_text(value: Any) -> str:
    if isinstance(value, list):
        return ",".join(map(_as_text, value))
    return value if isinstance(value, str) else str(value).lower() if isinstance(value, bool) else str(value)
