"""What a search asked and which hits it got, for the record; of one left alone it is read afterwards, off the loop."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import msgspec

from . import content, pipeline
from .dialects import Dialect
from .exchange import Exchange
from .heads import RequestHead
from .messages import Headers, Request
from .pipeline import Alone
from .ranking import Ranking, Search
from .settings import Limits, Settings


def search_columns(search: Search, head: RequestHead, depth: int) -> dict[str, Any]:
    """The columns of the frame that say what was searched."""
    opaque = head.headers.get("x-opaque-id")
    return {
        "query_id": pipeline.query_id(opaque, search.query),
        "ubi_query_id": search.ubi_query_id,
        "query": search.query,
        "offset": search.offset,
        "size": search.size,
        "depth": depth,
    }


@lru_cache(maxsize=1024)
def asks(dialect: Dialect, method: str, target: str) -> bool:
    """Whether a request without a body may be a search with a query: else there is nothing to complete."""
    return isinstance(dialect.read_search(Request(method, target)), Search)


def completed(
    exchange: Exchange, dialect: Dialect, settings: Settings, head: RequestHead, body: bytes, limits: Limits
) -> Exchange:
    """A search that was left alone, with what it asked and the hits that it got. Runs on the recorder's thread."""
    request = pipeline.plain_request(Request(head.method, head.target, head.headers, body), limits.search_bytes)
    search = None if isinstance(request, Alone) else dialect.read_search(request)
    if not isinstance(search, Search):
        # What would have been found wrong with a model is no reason without one: no-model comes first.
        return msgspec.structs.replace(exchange, complete=None)
    rankings: tuple[Ranking, ...] = ()
    if exchange.status is not None and 200 <= exchange.status < 300 and exchange.response_body:
        rankings = _hits_as_answered(exchange, dialect, settings, search, limits.answer_bytes)
    columns = search_columns(search, head, settings.depth)
    return msgspec.structs.replace(exchange, complete=None, rankings=rankings, **columns)


def _hits_as_answered(
    exchange: Exchange, dialect: Dialect, settings: Settings, search: Search, limit: int | None
) -> tuple[Ranking, ...]:
    coding = Headers.parse(exchange.response_head).get("content-encoding")
    try:
        plain = content.decode(exchange.response_body or b"", coding, limit)
    except (content.TooLarge, content.Undecodable):
        return ()
    ranking = pipeline.as_answered(dialect, plain, search, settings, settings.model)
    return (ranking,) if ranking is not None else ()
