"""What nbproxy knows of each engine's search API."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import NoReturn

from ..errors import ConfigError
from .base import Answer, Dialect, Part, Unreadable, Widened
from .elasticsearch import Elasticsearch
from .json_alone import When
from .json_dialect import JSONDialect
from .json_several import MultiSearch
from .json_shown import Show
from .json_windows import Window
from .presets import BY_NAME_ONLY, PRESETS, algolia, azure, meilisearch, qdrant, typesense, vespa

__all__ = [
    "DIALECTS",
    "PRESETS",
    "Answer",
    "Dialect",
    "Elasticsearch",
    "JSONDialect",
    "MultiSearch",
    "Part",
    "Show",
    "Unreadable",
    "When",
    "Widened",
    "Window",
    "algolia",
    "azure",
    "find",
    "meilisearch",
    "qdrant",
    "typesense",
    "vespa",
]

_ELASTICSEARCH = Elasticsearch()

DIALECTS: Mapping[str, Dialect] = MappingProxyType({"elasticsearch": _ELASTICSEARCH, "opensearch": _ELASTICSEARCH})
"""By name; OpenSearch's search API is Elasticsearch's. :data:`PRESETS` has more."""

DialectSetting = str | Dialect | Sequence[str | Dialect] | None


def find(dialect: DialectSetting) -> tuple[Dialect, ...]:
    """The dialects that a setting means: None: all whose paths cannot be mistaken for another API's (not ``vespa``,
    whose path is ``/search/``), a name: that one, one's own object, or several of these, asked in order.

    :raises ConfigError: an unknown name, or an object that is no dialect.
    """
    if dialect is None:
        presets = (make() for name, make in PRESETS.items() if name not in BY_NAME_ONLY)
        return tuple(dict.fromkeys([*DIALECTS.values(), *presets]))
    every = dialect if isinstance(dialect, list | tuple) else (dialect,)
    return tuple(dict.fromkeys(map(_find, every))) or _refuse(dialect)


def _find(dialect: object) -> Dialect:
    if isinstance(dialect, str):
        make = PRESETS.get(dialect)
        return DIALECTS[dialect] if dialect in DIALECTS else make() if make is not None else _refuse(dialect)
    if callable(getattr(dialect, "read_search", None)) and not isinstance(dialect, type):
        return dialect  # type: ignore[return-value]  # one's own need not derive from Dialect
    return _refuse(dialect)


def _refuse(dialect: object) -> NoReturn:
    known = ", ".join(map(repr, [*DIALECTS, *PRESETS]))
    raise ConfigError(f"dialect={dialect!r} is not one of {known}, nor a Dialect of your own, nor a list of these")
