"""What goes upstream: requests before and after, byte for byte."""

import json
from typing import Any
from urllib.parse import quote

import pytest

from nbproxy.dialects import Elasticsearch
from nbproxy.dialects.source_filter import SourceFilter, Undo
from nbproxy.messages import Request
from nbproxy.ranking import Search
from nbproxy.settings import FieldsSetting

ES = Elasticsearch()
Q = b'"query":{"match":{"body":"red"}}'
HIDDEN = Undo(SourceFilter(show=False, where="body"))


def widen(target: str, body: bytes, fields: FieldsSetting = None, depth: int = 50) -> tuple[str, bytes, Any]:
    asked = Request("POST", target, body=body)
    search = ES.read_search(asked)
    assert isinstance(search, Search)
    out = ES.widen(asked, search, depth, fields)
    if (out.request.target, out.request.body) == (target, body):
        assert out.request is asked
    return out.request.target, out.request.body, out.undo


WINDOWS = [
    ("/_search", b"{" + Q + b"}", "/_search", b'{"size":50,' + Q + b"}"),
    ("/_search", b"{" + Q + b',"size":70}', "/_search", b"{" + Q + b',"size":70}'),
    ("/_search", b"{" + Q + b',"size":50,"from":"0"}', "/_search", b"{" + Q + b',"size":50,"from":"0"}'),
    ("/_search", b'{ "from" : 45 ,' + Q + b',"size":\n10}', "/_search", b'{ "from" : 0 ,' + Q + b',"size":\n55}'),
    ("/_search", b'{"s\\u0069ze":4,"a":1.10,' + Q + b"}", "/_search", b'{"s\\u0069ze":50,"a":1.10,' + Q + b"}"),
    (
        "/_search",
        b'{"aggs":{"size":{"terms":{"size":3,"from":1}}},"x":"\\"size\\":3",' + Q + b"}\n",
        "/_search",
        b'{"size":50,"aggs":{"size":{"terms":{"size":3,"from":1}}},"x":"\\"size\\":3",' + Q + b"}\n",
    ),
    ("/_search?&size=4&a=%2f&b&from=2", b"{" + Q + b"}", "/_search?&size=50&a=%2f&b&from=0", b"{" + Q + b"}"),
    ("/_search?from=2", b"{" + Q + b',"size":5}', "/_search?from=0", b"{" + Q + b',"size":50}'),
    ("/_search?size=2", b"{" + Q + b',"size":5}', "/_search?size=50", b"{" + Q + b',"size":5}'),
    ("/_search?q=a+b%20c", b"", "/_search?q=a+b%20c&size=50", b""),
    ("/_search?q=red", b"{}", "/_search?q=red", b'{"size":50}'),
]


@pytest.mark.parametrize(("target", "body", "new_target", "new_body"), WINDOWS)
def test_windows(target: str, body: bytes, new_target: str, new_body: bytes) -> None:
    assert widen(target, body) == (new_target, new_body, None)


def test_source_parameter() -> None:
    target = "/_search?a=%2F&source=" + quote(b"{" + Q + b"}") + "&source_content_type=application/json"
    expected = "/_search?a=%2F&source=" + quote(b'{"size":50,' + Q + b"}", safe=",*.")
    assert widen(target, b"") == (expected + "&source_content_type=application/json", b"", None)


def source(value: Any) -> bytes:
    return b"{" + Q + b',"size":50,"_source":' + json.dumps(value).encode() + b"}"


SOURCES: list[tuple[Any, FieldsSetting, Any]] = [
    (True, None, ...),
    (["*"], None, ...),
    (["body"], None, ...),
    (["bo*", "n"], None, ...),
    ({"excludes": ["embedding"]}, None, ...),
    (False, None, True),
    (["n"], None, True),
    ("n", None, True),
    ({"includes": ["n"], "excludes": ["embedding"]}, None, {"excludes": ["embedding"]}),
    ({"excludes": ["b*", "embedding"]}, None, {"excludes": ["embedding"]}),
    ({"includes": ["n"], "exclude_vectors": True}, None, {"exclude_vectors": True}),
    (False, "title", {"includes": ["title"]}),
    (["n"], ["title", "meta.x"], {"includes": ["n", "title", "meta"]}),
    (["n", "title"], "{title}", ...),
    ({"excludes": ["title", "e"]}, "title", {"excludes": ["e"]}),
    ({"excludes": ["e"]}, lambda hit: "x", True),
    (["title.english"], "title.english", {"includes": ["title.english", "title"]}),  # a sub-field is its parent's text
    (["title"], "title.english", ...),
    ({"excludes": ["meta.tags"]}, "meta.lang", ...),
    ([], None, ...),
]


@pytest.mark.parametrize(("asked", "fields", "expected"), SOURCES)
def test_sources(asked: Any, fields: FieldsSetting, expected: Any) -> None:
    _, body, undo = widen("/_search", source(asked), fields)
    assert body == source(asked if expected is ... else expected)
    assert (undo is None) == (expected is ...)


def test_a_query_that_names_no_field_needs_all_of_it() -> None:
    body = b'{"query":{"multi_match":{"query":"red"}},"size":50,"_source":{"excludes":["e"]}}'
    assert widen("/_search", body)[1].endswith(b'"_source":true}')


def test_a_searched_sub_field_needs_its_parent() -> None:
    body = b'{"query":{"match":{"title.english":"red"}},"size":50,"_source":["title.english"]}'
    assert widen("/_search", body)[1].endswith(b'"_source":{"includes": ["title.english", "title"]}}')


URLS = [
    ("/_search?q=red&size=50&_source=false", "/_search?q=red&size=50&_source=true"),
    ("/_search?q=red&size=50&_source=n,m", "/_search?q=red&size=50&_source=true"),
    ("/_search?_source_includes=n&q=body:red&size=50&_source_excludes=e,b*",
     "/_search?q=body:red&size=50&_source_excludes=e&_source=true"),
    ("/_search?q=red&size=50&stored_fields=n", "/_search?q=red&size=50&stored_fields=n&_source=true"),
    ("/_search?q=red&size=50&stored_fields=n,_source", "/_search?q=red&size=50&stored_fields=n,_source"),
    ("/_search?q=red&size=50&stored_fields=_none_", "/_search?q=red&size=50&stored_fields=_none_"),
    ("/_search?q=red&size=50&filter_path=hits.hits._id",
     "/_search?q=red&size=50&filter_path=hits.hits._id,hits.hits._source"),
]  # fmt: skip


@pytest.mark.parametrize(("target", "expected"), URLS)
def test_urls(target: str, expected: str) -> None:
    assert widen(target, b"")[0] == expected


def test_stored_fields_in_the_body() -> None:
    _, body, undo = widen("/_search", b"{" + Q + b',"size":50,"stored_fields":["n"]}')
    assert body == b'{"_source":true,' + Q + b',"size":50,"stored_fields":["n"]}'
    assert not undo.shown.show
