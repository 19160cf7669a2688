"""What nbproxy knows of each engine's search API."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from ..errors import ConfigError
from .base import Answer, Dialect, Part, Unreadable, Widened, elastic_error
from .elasticsearch import Elasticsearch
from .solr import Solr

__all__ = [
    "DIALECTS",
    "Answer",
    "Dialect",
    "Elasticsearch",
    "Part",
    "Solr",
    "Unreadable",
    "Widened",
    "elastic_error",
    "find",
]

_ELASTICSEARCH = Elasticsearch()

DIALECTS: Mapping[str, Dialect] = MappingProxyType(
    {"elasticsearch": _ELASTICSEARCH, "opensearch": _ELASTICSEARCH, "solr": Solr()}
)
"""By name; OpenSearch's search API is Elasticsearch's."""


def find(dialect: str | Dialect | None) -> tuple[Dialect, ...]:
    """The dialects that a setting means: None: every one, a name: that one, or one's own object.

    :raises ConfigError: an unknown name, or an object that is no dialect.
    """
    if dialect is None:
        return tuple(dict.fromkeys(DIALECTS.values()))
    if isinstance(dialect, str) and dialect in DIALECTS:
        return (DIALECTS[dialect],)
    if not isinstance(dialect, str) and callable(getattr(dialect, "read_search", None)):
        return (dialect,)
    raise ConfigError(f"dialect={dialect!r} is not one of {', '.join(map(repr, DIALECTS))}, nor a Dialect of your own")
