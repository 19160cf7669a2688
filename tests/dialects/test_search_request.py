import json
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbproxy.dialects import Elasticsearch, search_request
from nbproxy.messages import Headers, Request
from nbproxy.ranking import Search

ES = Elasticsearch()
RED = {"match": {"body": "red"}}


def request(body: Any = None, target: str = "/books/_search", method: str = "POST", **headers: str) -> Request:
    raw = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
    fields = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return Request(method, target, Headers(fields), raw)


ROUTES = [
    ("GET", "/_search", "search", None),
    ("POST", "/books/_search?size=3", "search", "books"),
    ("POST", "/books%2Cpapers/_search", "search", "books%2Cpapers"),
    ("POST", "/*,-odd/_search/", "search", "*,-odd"),
    ("POST", "/_all/_search", "search", "_all"),
    ("POST", "/%3Clogs-%7Bnow%2Fd%7D%3E/_search", "search", "%3Clogs-%7Bnow%2Fd%7D%3E"),
    ("POST", "/books/%5Fsearch", "search", "books"),
    ("POST", "/books/_async_search", "async", "books"),
    ("GET", "/_async_search/FmRl", "async", None),
    ("POST", "/_search/scroll", "scroll", None),
    ("HEAD", "/books/_search", None, None),
    ("PUT", "/books/_search", None, None),
    ("DELETE", "/_search/scroll", None, None),
    ("POST", "/books/_SEARCH", None, None),
    ("POST", "/books/_doc/_search", None, None),
    ("POST", "/_scripts/_search", None, None),
    ("POST", "/books/_search/template", "template", "books"),
    ("GET", "/_search/template", "template", None),
    ("POST", "/_msearch?pretty", "multi", None),
    ("GET", "/books/_msearch", "multi", "books"),
    ("POST", "/books/_msearch/template", "multi-template", "books"),
    ("POST", "/_render/template", None, None),
    ("POST", "/books/_search_shards", None, None),
    ("POST", "/books/_count", None, None),
    ("GET", "/_search_pipeline/x", None, None),
    ("GET", "/", None, None),
]


@pytest.mark.parametrize(("method", "target", "kind", "index"), ROUTES)
def test_routes(method: str, target: str, kind: str | None, index: str | None) -> None:
    assert search_request.route(method, target) == kind
    assert ES.is_search(method, target) == (kind is not None)
    if kind is not None:
        assert ES.index_of(target) == index


SEARCHES: list[tuple[Request, Search]] = [
    (request({"query": RED}), Search("red", 0, 10, ("body",), "books")),
    (request({"query": RED, "from": "3", "size": 1.2e1}), Search("red", 3, 12, ("body",), "books")),
    (request({"query": RED, "from": 3}, "/_search?from=8&size=2"), Search("red", 8, 2, ("body",), None)),
    (request(None, "/b/_search?q=title:red&df=body", "GET"), Search("red", 0, 10, ("title",), "b")),
    (request(None, "/b/_search?q=red&df=body"), Search("red", 0, 10, ("body",), "b")),
    (request({"query": {"match": {"x": "blue"}}}, "/b/_search?q=red"), Search("red", 0, 10, (), "b")),
    (request(None, "/b/_search?source=" + quote(json.dumps({"query": RED}))), Search("red", 0, 10, ("body",), "b")),
    (
        request({"query": {"match_all": {}}, "ext": {"ubi": {"user_query": "mine", "query_id": "q1"}}}),
        Search("mine", 0, 10, (), "books", "q1"),
    ),
    (
        request({"query": RED, "ext": {"rerank": {"query_context": {"query_text": "own"}}}}),
        Search("own", 0, 10, ("body",), "books"),
    ),
    (
        request(
            {
                "query": {"term": {"meta.title": {"value": "at path"}}},
                "ext": {"rerank": {"query_context": {"query_text_path": "query.term.meta.title.value"}}},
            }
        ),
        Search("at path", 0, 10, (), "books"),
    ),
    (request({"query": RED, "pit": {"id": "x"}}, "/_search"), Search("red", 0, 10, ("body",), None)),
    (request({"query": RED, "sort": ["_score", "year"]}), Search("red", 0, 10, ("body",), "books")),
    (request({"query": RED, "sort": {"_score": {"order": "desc"}}}), Search("red", 0, 10, ("body",), "books")),
    (request({"query": RED, "sort": []}), Search("red", 0, 10, ("body",), "books")),
    (request({"query": RED}, "/books/_search?format=json"), Search("red", 0, 10, ("body",), "books")),
    (request({"query": RED}, accept="text/html, */*;q=0.1"), Search("red", 0, 10, ("body",), "books")),
]


@pytest.mark.parametrize(("asked", "search"), SEARCHES)
def test_searches(asked: Request, search: Search) -> None:
    assert ES.read_search(asked) == search


URL = "/books/_search?"
ALONE: list[tuple[str, Request]] = [
    ("format", request({"query": RED}, URL + "format=yaml")),
    ("format", request({"query": RED}, accept="application/vnd.elasticsearch+cbor;compatible-with=8")),
    ("format", request(b":)\n\x01", content_type="application/smile")),
    ("format", request(b"", URL + "source=a&source_content_type=application/yaml")),
    ("filter-path", request({"query": RED}, URL + "filter_path=took")),
    ("filter-path", request(b"{", URL + "filter_path=-hits.hits")),
    *[
        ("malformed", request(body))
        for body in (
            b"{", b"null", b"[]", b'{"query":{}} {}', b'{"size":05}', b'{"size":NaN}', b'{"size":1,"size":2}', b"\xff",
            b'{"query":{"match":{"a":"x","a":"y"}}}', b'{"a":"\x01"}', b"\xef\xbb\xbf{}", b"[" * 100_000,
            b'{"query":' * 100_000, b'{"size":' + b"9" * 5000 + b"}", b'{"size":1e999}',
        )
    ],
    *[("malformed", request({"query": RED, "size": size})) for size in (-1, 1.5, True, None, [], "x", "", 2**31)],
    *[("malformed", request({"query": RED}, URL + pair)) for pair in ("size=", "size=ten", "from=-1", "from=1_0")],
    ("async", request({"query": RED}, "/books/_async_search")),
    ("percolate", request({"query": {"bool": {"filter": {"percolate": {"field": "q", "document": {}}}}}})),
    ("percolate", request(b'{"query":{"percol\\u0061te":{"field":"q","document":{}}}}')),
    ("scroll", request({"query": RED, "sort": "_doc"}, URL + "scroll=1m")),
    ("scroll", request({"scroll_id": "x"}, "/_search/scroll")),
    ("search-after", request({"query": RED, "sort": "year", "search_after": [1]})),
    *[
        ("sorted", request({"query": RED, "sort": sort}))
        for sort in ("year", ["year", "_score"], [{"_score": "asc"}], {"_score": {"order": "asc"}}, [{"_geo": {}}], 5)
    ],
    ("sorted", request({"query": RED, "sort": "_score"}, URL + "sort=year:asc")),
    ("sorted", request({"query": RED}, URL + "sort=_score:asc")),
    ("sorted", request({"retriever": {"standard": {"query": RED, "sort": ["year"]}}})),
    ("collapse", request({"query": RED, "collapse": {"field": "a"}, "profile": True})),
    ("profile", request({"query": RED, "profile": True, "explain": True})),
    ("explain", request({"query": RED}, URL + "explain")),
    ("size-zero", request({"query": RED, "size": "0"})),
    ("suggest-only", request({"suggest": {"s": {"text": "red"}}, "aggs": {"a": {}}})),
    ("aggregations-only", request({"aggs": {"a": {"filter": RED}}})),
    ("match-all", request({"query": {"match_all": {}}})),
    ("no-query", request({"query": {"term": {"a": "red"}}})),
    ("no-query", request({"query": {"match": {"body": ""}}})),
    ("no-query", request(None, "/books/_search", "GET")),
    ("no-query", request(b" \n ")),
    ("no-query", request(None, URL + "q=", "GET")),
    ("no-query", request({"knn": {"field": "v", "query_vector": [1]}})),
]  # fmt: skip


@pytest.mark.parametrize(("reason", "asked"), ALONE)
def test_left_alone(reason: str, asked: Request) -> None:
    assert ES.read_search(asked) == reason


def test_windows_without_a_search() -> None:
    assert ES.read_window(request({"from": 60})) == (60, 10)
    assert ES.read_window(request(b"{")) is None


def test_a_bool_nested_100_deep() -> None:
    clause: dict[str, Any] = RED
    for _ in range(100):
        clause = {"bool": {"must": [clause]}}
    assert ES.read_search(request({"query": clause})) == Search("red", 0, 10, ("body",), "books")


JSONISH = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=10,
)
KEYS = st.sampled_from(
    [
        "query",
        "retriever",
        "knn",
        "sort",
        "from",
        "size",
        "_source",
        "ext",
        "pit",
        "suggest",
        "aggs",
        "search_after",
        "collapse",
        "profile",
        "rescore",
    ]
)


@given(st.dictionaries(KEYS, JSONISH), st.text(max_size=20), st.binary(max_size=30))
def test_nothing_raises(body: dict[str, Any], params: str, junk: bytes) -> None:
    for asked in (request(body, URL + quote(params, safe="=&")), request(junk), request(b"{" + junk + b"}")):
        found = ES.read_search(asked)
        if isinstance(found, Search):
            ES.widen(asked, found, 50)
        ES.read_window(asked)


VALUE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


@given(st.lists(st.tuples(st.sampled_from(["a", "b", "é", "\ud800"]), VALUE), max_size=3), st.booleans(), st.booleans())
def test_bodies_are_read_alike_whoever_wrote_them(pairs: list[tuple[str, Any]], ascii_: bool, spaced: bool) -> None:
    def literal(value: Any) -> str:
        return json.dumps(value, ensure_ascii=ascii_, separators=(", ", ": ") if spaced else (",", ":"))

    text = "{" + ",".join(f"{literal(key)}:{literal(value)}" for key, value in pairs) + "}"
    body = text.encode("utf-8", "surrogatepass")
    try:
        expected = repr(search_request._strictly(body))
    except search_request.Malformed:
        expected = "malformed"
    try:
        assert repr(search_request.parse(body)) == expected
    except search_request.Malformed:
        assert expected == "malformed"
