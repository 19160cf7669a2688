"""The calls of ``test_clients`` by Elasticsearch's official client, as a program: versions 8 and 9 cannot be imported
side by side (their transports exclude each other).

    python elasticsearch_calls.py MODULE URL json|vendor     # MODULE: elasticsearch8 or elasticsearch

Prints what the client understood of each answer, as JSON. ``json``: a node class that sends ``application/json``, for
servers that refuse Elasticsearch's own media type.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import sys
from typing import Any


def plain_media_type(base: type) -> type:
    """A node class whose requests carry ``application/json``."""

    def replaced(headers: Any) -> dict[str, str]:
        kinds = {"content-type": "application/json", "accept": "application/json"}
        kept = {k: v for k, v in (headers or {}).items() if k.lower() not in kinds}
        return {**kept, **{k: v for k, v in kinds.items() if any(h.lower() == k for h in headers or {})}}

    if "Async" in base.__name__ or "Aiohttp" in base.__name__:

        class AsyncPlain(base):  # type: ignore[misc]
            async def perform_request(
                self, method: str, target: str, body: Any = None, headers: Any = None, **kw: Any
            ) -> Any:
                return await super().perform_request(method, target, body, replaced(headers), **kw)

        return AsyncPlain

    class Plain(base):  # type: ignore[misc]
        def perform_request(self, method: str, target: str, body: Any = None, headers: Any = None, **kw: Any) -> Any:
            return super().perform_request(method, target, body, replaced(headers), **kw)

    return Plain


QUERY = {"multi_match": {"query": "dripping tap", "fields": ["title", "text"]}}
CALLS: list[tuple[str, dict[str, Any]]] = [
    ("search", {"index": "household", "query": QUERY, "size": 5}),
    ("search", {"index": "household", "query": QUERY, "size": 3, "from_": 2}),
    ("search", {"index": "household", "query": QUERY, "size": 3, "source": False}),
    ("search", {"index": "household", "query": {"match_all": {}}, "size": 2}),
    ("count", {"index": "household"}),
    ("exists", {"index": "household", "id": "d001"}),
    ("get", {"index": "household", "id": "d001"}),
]


def understood(answer: Any) -> Any:
    body = getattr(answer, "body", answer)
    if isinstance(body, dict):
        body.pop("took", None)
    return body


def main(module: str, url: str, media: str) -> list[Any]:
    library = importlib.import_module(module)
    transport = importlib.import_module("elastic_transport")
    options: dict[str, Any] = {"node_class": plain_media_type(transport.Urllib3HttpNode)} if media == "json" else {}
    with library.Elasticsearch(url, **options) as client:
        got = [understood(getattr(client, name)(**arguments)) for name, arguments in CALLS]
    options = {"node_class": plain_media_type(transport.AiohttpHttpNode)} if media == "json" else {}

    async def again() -> list[Any]:
        async with library.AsyncElasticsearch(url, **options) as client:
            return [understood(await getattr(client, name)(**arguments)) for name, arguments in CALLS]

    assert asyncio.run(again()) == got
    return got


if __name__ == "__main__":
    print(json.dumps(main(*sys.argv[1:])))
