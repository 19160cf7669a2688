import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbproxy.dialects import Elasticsearch, query_text
from nbproxy.messages import Request
from nbproxy.ranking import Search

from . import documented


def m(text: str, field: str = "body") -> dict[str, Any]:
    return {"match": {field: text}}


CLAUSES: list[tuple[dict[str, Any], str, tuple[str, ...]]] = [
    (m("red"), "red", ("body",)),
    ({"match": {"body": {"query": "red", "boost": 2}}}, "red", ("body",)),
    ({"match": {"year": 1999}}, "1999", ("year",)),
    ({"match_phrase_prefix": {"body": "red sho"}}, "red sho", ("body",)),
    ({"match_bool_prefix": {"body": "red sho"}}, "red sho", ("body",)),
    ({"multi_match": {"query": "red", "fields": ["title^2", "meta.*", "title"]}}, "red", ("title", "meta.*")),
    ({"multi_match": {"query": "red"}}, "red", ()),
    ({"multi_match": {"query": "red", "fields": "title^1.5"}}, "red", ("title",)),
    ({"combined_fields": {"query": "red", "fields": ["a", "b"]}}, "red", ("a", "b")),
    ({"query_string": {"query": "title:red OR blue", "default_field": "body"}}, "red blue", ("body", "title")),
    ({"query_string": {"query": "title:red"}}, "red", ("title",)),
    ({"query_string": {"query": "red", "fields": ["*"]}}, "red", ()),
    ({"simple_query_string": {"query": "red -blue", "fields": ["body"]}}, "red", ("body",)),
    ({"intervals": {"body": {"match": {"query": "red"}}}}, "red", ("body",)),
    (
        {"intervals": {"body": {"all_of": {"intervals": [{"match": {"query": "a"}}, {"any_of": {"intervals": [
            {"fuzzy": {"term": "b"}}, {"prefix": {"prefix": "c"}}]}}]}}}},
        "a b",
        ("body",),
    ),
    ({"more_like_this": {"fields": ["a"], "like": ["red", {"_id": "1"}, "blue"]}}, "red blue", ("a",)),
    ({"bool": {"must": [m("a")], "should": m("b"), "filter": m("c"), "must_not": m("d")}}, "a b", ("body",)),
    ({"bool": {"should": m("b"), "must": [m("a"), m("b", "title")]}}, "b a", ("body", "title")),
    ({"dis_max": {"queries": [m("a"), m("b")]}}, "a b", ("body",)),
    ({"hybrid": {"queries": [m("a"), {"neural": {"emb": {"query_text": "b"}}}]}}, "a b", ("body",)),
    ({"constant_score": {"filter": m("a")}}, "a", ("body",)),
    ({"function_score": {"query": m("a"), "functions": [{"filter": m("b")}]}}, "a", ("body",)),
    ({"script_score": {"query": m("a"), "script": {}}}, "a", ("body",)),
    ({"boosting": {"positive": m("a"), "negative": m("b")}}, "a", ("body",)),
    ({"nested": {"path": "c", "query": m("a", "c.t")}}, "a", ("c.t",)),
    ({"has_child": {"type": "x", "query": m("a")}}, "a", ("body",)),
    ({"has_parent": {"parent_type": "x", "query": m("a")}}, "a", ("body",)),
    ({"pinned": {"ids": ["1"], "organic": m("a")}}, "a", ("body",)),
    ({"rule_query": {"organic": m("a")}}, "a", ("body",)),
    ({"semantic": {"field": "body", "query": "a"}}, "a", ("body",)),
    ({"sparse_vector": {"field": "v", "query": "a"}}, "a", ()),
    ({"text_expansion": {"v": {"model_text": "a"}}}, "a", ()),
    ({"neural_sparse": {"v": {"query_text": "a"}}}, "a", ()),
    ({"knn": {"field": "v", "query_vector_builder": {"text_embedding": {"model_text": "a"}}}}, "a", ()),
    ({"wrapper": {"query": base64.b64encode(json.dumps(m("a")).encode()).decode()}}, "a", ("body",)),
    ({"term": {"tags": "red"}}, "", ()),
    ({"match": {"body": "  "}}, "", ("body",)),
    ({"match": {"body": "\ud800x"}}, "\ufffdx", ("body",)),
]  # fmt: skip


@pytest.mark.parametrize(("clause", "text", "fields"), CLAUSES)
def test_clauses(clause: dict[str, Any], text: str, fields: tuple[str, ...]) -> None:
    found = query_text.read({"query": clause})
    assert (found.text, found.searched) == (text, fields)


def std(text: str) -> dict[str, Any]:
    return {"standard": {"query": m(text)}}


BODIES: list[tuple[dict[str, Any], str]] = [
    ({"retriever": std("a")}, "a"),
    ({"retriever": {"rrf": {"retrievers": [std("a"), {"retriever": std("b"), "weight": 2}]}}}, "a b"),
    ({"retriever": {"rrf": {"query": "a", "fields": ["x"]}}}, "a"),
    ({"retriever": {"linear": {"retrievers": [{"retriever": std("a"), "weight": 1}]}}}, "a"),
    ({"retriever": {"text_similarity_reranker": {"retriever": std("a"), "inference_text": "b", "field": "f"}}}, "b"),
    ({"retriever": {"text_similarity_reranker": {"retriever": std("a")}}}, "a"),
    ({"retriever": {"rule": {"retriever": std("a"), "ruleset_ids": ["r"]}}}, "a"),
    ({"retriever": {"pinned": {"retriever": std("a"), "ids": ["r"]}}}, "a"),
    ({"retriever": {"rescorer": {"retriever": std("a"), "rescore": {"query": {"rescore_query": m("b")}}}}}, "a b"),
    ({"retriever": {"knn": {"field": "v", "query_vector": [1.0]}}}, ""),
    ({"sub_searches": [{"query": m("a")}, {"query": m("b")}]}, "a b"),
    ({"query": m("a"), "knn": [{"field": "v", "query_vector": [1]}]}, "a"),
    ({"rescore": {"query": {"rescore_query": m("b")}}, "query": m("a")}, "b a"),
]


@pytest.mark.parametrize(("body", "text"), BODIES)
def test_bodies(body: dict[str, Any], text: str) -> None:
    assert query_text.read(body).text == text


@pytest.mark.parametrize(
    ("clause", "expected"),
    [
        ({"match_all": {}}, True),
        ({"bool": {"must": {"match_all": {}}, "should": [{"match_all": {"boost": 2}}]}}, True),
        ({"query_string": {"query": "*:*"}}, True),
        ({"bool": {"must": {"match_all": {}}, "filter": m("red")}}, False),
        ({"bool": {"filter": m("red")}}, False),
        ({}, False),
    ],
)
def test_match_all(clause: dict[str, Any], expected: bool) -> None:
    assert query_text.read({"query": clause}).match_all is expected


def test_nesting_costs_no_recursion() -> None:
    clause = m("deep")
    for _ in range(20_000):
        clause = {"bool": {"must": [clause]}}
    assert query_text.read({"query": clause}).text == "deep"


NAMES = st.sampled_from([*query_text.CLAUSES, *query_text.RETRIEVERS, "standard", "query", "fields", "field", "must"])
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES | st.text(max_size=4), inner, max_size=3),
    max_leaves=20,
)


@given(st.dictionaries(st.sampled_from(["query", "retriever", "knn", "sub_searches", "rescore"]), ANYTHING))
def test_random_bodies_never_raise(body: dict[str, Any]) -> None:
    found = query_text.read(body)
    assert len(found.texts) == len(set(found.texts))


@pytest.mark.parametrize(("name", "body", "text", "fields"), documented.ALL)
def test_documented_shapes(name: str, body: Any, text: str | None, fields: tuple[str, ...]) -> None:
    found = Elasticsearch().read_search(Request("POST", "/house/_search", body=json.dumps(body).encode()))
    if text is None:
        assert found in ("no-query", "match-all")
    else:
        assert isinstance(found, Search)
        assert (found.query, found.fields) == (text, fields)


@pytest.mark.parametrize(("params", "text", "fields"), documented.URLS)
def test_documented_urls(params: str, text: str | None, fields: tuple[str, ...]) -> None:
    found = Elasticsearch().read_search(Request("GET", f"/house/_search?{params}"))
    if text is None:
        assert found in ("no-query", "match-all")
    else:
        assert isinstance(found, Search)
        assert (found.query, found.fields) == (text, fields)


def test_every_clause_and_retriever_is_documented() -> None:
    named = {name for name, *_ in documented.ALL}
    assert set(query_text.CLAUSES) | set(query_text.RETRIEVERS) <= named
