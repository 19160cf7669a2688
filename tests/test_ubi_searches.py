"""User Behavior Insights: a search that carries ``ext.ubi`` is answered with its id, which is recorded.

The shapes are OpenSearch's: https://docs.opensearch.org/latest/search-plugins/ubi/
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pandas as pd
import pytest

import nbproxy

from .upstreams import Client, Json

Start = Callable[..., nbproxy.Session]
ASKED = {
    "query": {"match": {"title": {"query": "laptop"}}},
    "ext": {
        "ubi": {
            "query_id": "12300d16-b6f1-4012-93ea-fcc49cac9042",
            "user_query": "Apple laptops",
            "client_id": "devtools",
            "object_id_field": "_id",
            "application": "shop",
            "query_attributes": {"experiment": "a"},
        }
    },
}
UNNAMED = {"query": {"match": {"title": "laptop"}}, "ext": {"ubi": {"user_query": "Apple laptops"}}}
BARE = {"query": {"match": {"title": "laptop"}}, "ext": {"ubi": {}}}
GIVEN = "3ade3b4d-0c1f-4a9c-8f3a-7a2a0a2d6a42"
HITS = [{"_index": "shop", "_id": str(n), "_score": 3.0 - n, "_source": {"title": f"laptop {n}"}} for n in range(3)]


def turned(query: str, texts: list[str]) -> list[int]:
    return list(range(len(texts)))


def plugin(method: str, path: str, headers: dict[str, str], body: bytes) -> tuple[int, Any]:
    """An upstream with the plugin: it gives the request's id back, else one of its own, where UBI was asked for."""

    def answered(asked: dict[str, Any]) -> dict[str, Any]:
        ubi = asked.get("ext", {}).get("ubi")
        found = {"took": 2, "hits": {"total": {"value": 3, "relation": "eq"}, "hits": HITS[: asked.get("size", 10)]}}
        return found if ubi is None else {**found, "ext": {"ubi": {"query_id": ubi.get("query_id", GIVEN)}}}

    if "_msearch" in path:
        return 200, {"responses": [answered(json.loads(line)) for line in body.splitlines()[1::2]]}
    return 200, answered(json.loads(body))


def ask(session: nbproxy.Session, body: Any, path: bytes = b"/shop/_search") -> Any:
    with Client(session.url) as client:
        return client.ask(b"POST", path, json.dumps(body).encode(), b"Content-Type: application/json").json


CASES = [
    (ASKED, "12300d16-b6f1-4012-93ea-fcc49cac9042", "Apple laptops"),
    (UNNAMED, GIVEN, "Apple laptops"),
    (BARE, GIVEN, "laptop"),
    ({"query": {"match": {"title": 'say "ubi"'}}}, None, 'say "ubi"'),
]


@pytest.mark.parametrize("model", [turned, None, "original"])
@pytest.mark.parametrize(("body", "event", "query"), CASES)
def test_a_search_is_answered_with_its_id(
    start: Start, json_upstream: Json, body: Any, event: str | None, query: str, model: Any
) -> None:
    json_upstream.answer = plugin
    session = start(json_upstream.url, model=model)
    answer = ask(session, body)
    assert answer.get("ext", {}).get("ubi", {}).get("query_id") == event
    order = ["2", "1", "0"] if model is turned else ["0", "1", "2"]
    assert [hit["_id"] for hit in answer["hits"]["hits"]] == order
    sent = json.loads(json_upstream.requests[-1][3])
    assert sent.get("ext") == body.get("ext")
    row = session.frame.iloc[-1]
    assert row["query"] == query
    assert row.ubi_query_id == event if event else pd.isna(row.ubi_query_id)
    assert row.query_id.startswith("q-")  # an event is no query


def test_each_search_of_several_has_its_own_id(start: Start, json_upstream: Json) -> None:
    json_upstream.answer = plugin
    session = start(json_upstream.url, model=turned)
    lines = [{}, ASKED, {}, UNNAMED, {}, {"query": {"match": {"title": "x"}}, "sort": ["_doc"], "ext": {"ubi": {}}}]
    raw = b"".join(json.dumps(line).encode() + b"\n" for line in lines)
    with Client(session.url) as client:
        answer = client.ask(b"POST", b"/shop/_msearch", raw).json
    assert [one["ext"]["ubi"]["query_id"] for one in answer["responses"]] == [CASES[0][1], GIVEN, GIVEN]
    rows = session.frame[session.frame.part.notna()]
    assert list(rows.ubi_query_id.iloc[:2]) == [CASES[0][1], GIVEN]
    assert rows.reason.iloc[2] == "sorted"
