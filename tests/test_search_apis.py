"""Official clients of other engines, directly and through the proxy: equal answers but for the order of hits.

The engines themselves cannot be installed from a package registry (but Typesense, see ``test_typesense``): the
upstream has their documented shape.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import meilisearch
import pytest

import nbproxy

from .search_apis import answer, typesense_search
from .upstreams import Client, Json

Start = Callable[..., nbproxy.Session]
DEPTH = 20


def backwards(query: str, texts: list[str]) -> list[int]:
    assert all("document " in text for text in texts)
    return list(range(len(texts)))


@pytest.fixture
def session(start: Start, json_upstream: Json) -> nbproxy.Session:
    json_upstream.answer = answer
    return start(json_upstream.url, model=backwards, depth=DEPTH)


def expected(plain: dict[str, Any], window: list[Any], begin: int) -> dict[str, Any]:
    size = len(plain["hits"])
    return {**plain, "hits": [*window[:DEPTH][::-1], *window[DEPTH:]][begin : begin + size]}


MEILISEARCH: list[tuple[dict[str, Any], int]] = [
    ({}, 0), ({"limit": 5}, 0), ({"limit": 5, "offset": 10}, 10), ({"limit": 30}, 0), ({"offset": 15}, 15),
    ({"hitsPerPage": 4}, 0), ({"hitsPerPage": 4, "page": 3}, 8), ({"page": 1}, 0),
    ({"attributesToRetrieve": ["n"], "limit": 3}, 0), ({"attributesToRetrieve": ["n", "title"]}, 0),
]  # fmt: skip


@pytest.mark.parametrize(("options", "begin"), MEILISEARCH)
def test_meilisearch(session: nbproxy.Session, json_upstream: Json, options: dict[str, Any], begin: int) -> None:
    def found(url: str, more: dict[str, Any]) -> dict[str, Any]:
        return meilisearch.Client(url, "key").index("tips").search("red", more)

    shown = {key: one for key, one in options.items() if key == "attributesToRetrieve"}
    window = found(json_upstream.url, {"limit": 60, **shown})["hits"]
    plain = found(json_upstream.url, options)
    assert found(session.url, options) == expected(plain, window, begin)
    row = session.frame.iloc[-1]
    assert (row.dialect, row.reranked, row["query"], row["index"]) == ("meilisearch", True, "red", "tips")
    assert list(session.hits.doc_id[:DEPTH]) == [str(n) for n in range(DEPTH)]


TYPESENSE: list[tuple[dict[str, Any], int]] = [
    ({}, 0), ({"per_page": 4}, 0), ({"per_page": 4, "page": 3}, 8), ({"per_page": 30}, 0), ({"include_fields": "n"}, 0),
]  # fmt: skip


@pytest.mark.filterwarnings("ignore:Sync[A-Za-z0-9]+ is deprecated on v30:DeprecationWarning")  # it makes them itself
@pytest.mark.parametrize(("options", "begin"), TYPESENSE)
def test_typesense(session: nbproxy.Session, json_upstream: Json, options: dict[str, Any], begin: int) -> None:
    shown = {key: one for key, one in options.items() if key == "include_fields"}
    window = typesense_search(json_upstream.url, q="red", per_page=60, **shown)["hits"]
    plain = typesense_search(json_upstream.url, q="red", **options)
    assert typesense_search(session.url, q="red", **options) == expected(plain, window, begin)
    row = session.frame.iloc[-1]
    assert (row.dialect, row.reranked, row["query"], row["index"]) == ("typesense", True, "red", "tips")


# As qdrant-client, algoliasearch and azure-search-documents send them.
BODIES = [
    ("qdrant", b"/collections/tips/points/query", {"query": {"nearest": [0.1, 0.2]}, "limit": 3, "offset": 2,
                                                   "with_vector": False, "with_payload": False}, ("result", "points")),
    ("qdrant", b"/collections/tips/points/query", {"query": {"nearest": [0.1, 0.2]}, "limit": 3,
                                                   "with_payload": ["n"]}, ("result", "points")),
    ("algolia", b"/1/indexes/tips/query", {"query": "red", "hitsPerPage": 3, "page": 1,
                                           "attributesToRetrieve": ["n"]}, ("hits",)),
    ("algolia", b"/1/indexes/tips/query", {"params": "query=red&hitsPerPage=3"}, ("hits",)),
    ("azure", b"/indexes('tips')/docs/search.post.search?api-version=2026-04-01",
     {"search": "red", "select": "n", "skip": 2, "top": 3}, ("value",)),
]  # fmt: skip


@pytest.mark.parametrize(("name", "target", "body", "path"), BODIES)
def test_a_client_that_is_too_heavy_to_be_installed_here(
    session: nbproxy.Session, json_upstream: Json, name: str, target: bytes, body: dict[str, Any], path: tuple[str, ...]
) -> None:
    def found(url: str, asked: dict[str, Any]) -> tuple[Any, list[Any]]:
        with Client(url) as client:
            answer = client.ask(b"POST", target, json.dumps(asked).encode(), b"X-Query-Text: red").json
        where = answer
        for key in path[:-1]:
            where = where[key]
        return answer, where.pop(path[-1])

    whole = {**body, "limit": DEPTH, "offset": 0, "hitsPerPage": DEPTH, "page": 0, "skip": 0, "top": DEPTH}
    if "params" in body:
        whole["params"] = f"query=red&hitsPerPage={DEPTH}"
    window = found(json_upstream.url, whole)[1]
    (plain, page), (through, got) = found(json_upstream.url, body), found(session.url, body)
    assert through == plain
    row = session.frame.iloc[-1]
    assert (row.dialect, row.reranked, row["query"], row["size"]) == (name, True, "red", 3)
    assert got == window[::-1][row.offset : row.offset + 3]
    assert len(page) == 3


def test_several_by_meilisearchs_client(session: nbproxy.Session, json_upstream: Json) -> None:
    queries = [
        {"indexUid": "tips", "q": "red", "limit": 4, "offset": 2, "attributesToRetrieve": ["n"]},
        {"indexUid": "more", "q": ""},
        {"indexUid": "more", "q": "red", "hitsPerPage": 3, "page": 2},
    ]

    def found(url: str, asked: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return list(meilisearch.Client(url, "key").multi_search(asked)["results"])

    plain, through = found(json_upstream.url, queries), found(session.url, queries)
    shown = found(json_upstream.url, [{"q": "x", "limit": 60, "attributesToRetrieve": ["n"]}, {"q": "x", "limit": 60}])
    assert through == [
        expected(plain[0], shown[0]["hits"], 2), plain[1], expected(plain[2], shown[1]["hits"], 3)
    ]  # fmt: skip
    rows = session.frame[session.frame.part.notna()]
    assert list(rows.reason.fillna("")) == ["", "match-all", ""]
    assert list(rows["index"]) == ["tips", "more", "more"]


TYPESENSE_MULTI = [{"collection": "tips", "q": "red", "per_page": 5}, {"collection": "tips", "q": "*"}]
ALGOLIA_MULTI = [
    {"indexName": "tips", "params": "query=red&hitsPerPage=5&facets=n"}, {"indexName": "tips", "query": ""}
]  # fmt: skip
FRONT_ENDS = [
    (b"/multi_search?query_by=title", {"searches": TYPESENSE_MULTI}),
    (b"/1/indexes/*/queries?x-algolia-api-key=k", {"requests": ALGOLIA_MULTI}),
]


@pytest.mark.parametrize(("target", "body"), FRONT_ENDS)
def test_several_as_front_ends_send_them(
    session: nbproxy.Session, json_upstream: Json, target: bytes, body: Any
) -> None:
    def found(url: str) -> list[Any]:
        with Client(url) as client:
            return list(client.ask(b"POST", target, json.dumps(body).encode()).json["results"])

    plain, through = found(json_upstream.url), found(session.url)
    numbers = [one.get("document", one)["n"] for one in through[0]["hits"]]
    assert numbers == [19, 18, 17, 16, 15]
    assert {**through[0], "hits": None} == {**plain[0], "hits": None}
    assert through[1] == plain[1]
    rows = session.frame
    assert list(rows.reason.fillna("")[rows.part.notna()]) == ["", "match-all"]
    assert "api-key=k" not in rows.target.iloc[0]
