"""Upstreams in the shapes that Meilisearch, Typesense, Qdrant, Algolia and Azure AI Search document, for their official
clients: 60 documents, ranked 0 … 59 for any query."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl, unquote

import typesense as official

DOCUMENTS = [{"id": str(n), "title": f"document {n}", "text": f"red number {n}", "n": n} for n in range(60)]

Asked = dict[str, Any]


def picked(document: dict[str, Any], names: Any) -> dict[str, Any]:
    """The document's members among ``names``; None or ``*``: all."""
    chosen = names.split(",") if isinstance(names, str) else names
    return {key: one for key, one in document.items() if not chosen or "*" in chosen or key in chosen}


def meilisearch(asked: Asked) -> dict[str, Any]:
    paged = "page" in asked or "hitsPerPage" in asked
    size = int(asked.get("hitsPerPage", 20) if paged else asked.get("limit", 20))
    page = int(asked.get("page", 1))
    offset = (page - 1) * size if paged else int(asked.get("offset", 0))
    hits = [picked(one, asked.get("attributesToRetrieve")) for one in DOCUMENTS[offset : offset + size]]
    window = (
        {"hitsPerPage": size, "page": page, "totalPages": -(-60 // size), "totalHits": 60}
        if paged
        else {"limit": size, "offset": offset, "estimatedTotalHits": 60}
    )
    return {"hits": hits, "query": asked.get("q"), "processingTimeMs": 1, **window}


def typesense(asked: Asked) -> dict[str, Any]:
    size, page = int(asked.get("per_page", 10)), int(asked.get("page", 1))
    hits = [
        {"document": picked(one, asked.get("include_fields")), "highlight": {}, "highlights": [], "text_match": 100 - n}
        for n, one in enumerate(DOCUMENTS)
    ]
    params = {"collection_name": "tips", "first_q": asked["q"], "per_page": size, "q": asked["q"]}
    at = (page - 1) * size
    return {"facet_counts": [], "found": 60, "hits": hits[at : at + size], "out_of": 60, "page": page,
            "request_params": params, "search_cutoff": False, "search_time_ms": 1}  # fmt: skip


def qdrant(asked: Asked) -> dict[str, Any]:
    at, shown = asked.get("offset") or 0, asked.get("with_payload") or False
    points = []
    for n, one in enumerate(DOCUMENTS):
        point: dict[str, Any] = {"id": n, "version": 1, "score": 1 - n / 100}
        if shown:
            point["payload"] = picked(one, None if shown is True else shown)
        points.append(point)
    return {"result": {"points": points[at : at + asked.get("limit", 10)]}, "status": "ok", "time": 0.001}


def algolia(asked: Asked) -> dict[str, Any]:
    size, page = int(asked.get("hitsPerPage", 20)), int(asked.get("page", 0))
    hits = [
        {**picked(one, asked.get("attributesToRetrieve")), "objectID": one["id"], "_highlightResult": {}}
        for one in DOCUMENTS[page * size : (page + 1) * size]
    ]
    return {"hits": hits, "nbHits": 60, "page": page, "nbPages": -(-60 // size), "hitsPerPage": size,
            "exhaustiveNbHits": True, "query": asked["query"], "params": "", "processingTimeMS": 1}  # fmt: skip


def azure(asked: Asked) -> dict[str, Any]:
    at, size = int(asked.get("skip") or 0), int(asked.get("top") or 50)
    hits = [{"@search.score": 60.0 - n, **picked(one, asked.get("select"))} for n, one in enumerate(DOCUMENTS)]
    return {"@odata.context": "https://x/$metadata#docs(*)", "value": hits[at : at + size]}


SHAPES: dict[str, Callable[[Asked], dict[str, Any]]] = {
    "/indexes/tips/search": meilisearch,
    "/collections/tips/documents/search": typesense,
    "/collections/tips/points/query": qdrant,
    "/1/indexes/tips/query": algolia,
    "/indexes('tips')/docs/search.post.search": azure,
    "/multi-search": meilisearch,
    "/multi_search": typesense,
    "/1/indexes/*/queries": algolia,
}
SEVERAL = {
    "/multi-search": ("queries", "results"),
    "/multi_search": ("searches", "results"),
    "/1/indexes/*/queries": ("requests", "results"),
}


def answer(method: str, target: str, _headers: dict[str, str], body: bytes) -> tuple[int, Any]:
    """For :class:`upstreams.Json`."""
    path, _, query = target.partition("?")
    shape = SHAPES.get(unquote(path))
    if shape is None:
        return 200, {}
    asked = json.loads(body) if body else {}
    if path in SEVERAL:
        searches, answers = SEVERAL[path]
        return 200, {answers: [answered(shape, one) for one in asked[searches]]}
    return 200, answered(shape, {**dict(parse_qsl(query)), **asked})


def answered(shape: Callable[[Asked], dict[str, Any]], asked: Asked) -> dict[str, Any]:
    """The answer to one search, its ``params`` unpacked."""
    return shape({**asked, **dict(parse_qsl(asked["params"]))} if "params" in asked else asked)


def typesense_search(url: str, **asked: Any) -> dict[str, Any]:
    """A search in ``tips`` by Typesense's own client."""
    host, _, port = url.removeprefix("http://").partition(":")
    node = {"host": host, "port": port, "protocol": "http"}
    client = official.Client({"nodes": [node], "api_key": "k", "connection_timeout_seconds": 10})
    with contextlib.closing(client.api_call):
        return dict(client.collections["tips"].documents.search({"query_by": "title", **asked}))
