"""Which words of a Solr query a model reads, and which fields were searched."""

import contextlib
import json
from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbproxy.dialects import solr_query
from nbproxy.dialects.query_text import QueryText
from nbproxy.dialects.search_request import Malformed
from nbproxy.dialects.solr_params import Params
from nbproxy.messages import Headers, Request


def read(body: Any = None, **params: Any) -> QueryText:
    query = urlencode({name.replace("__", "."): value for name, value in params.items()}, doseq=True)
    headers = Headers([(b"Content-Type", b"application/json")])
    raw = b"" if body is None else json.dumps(body).encode()
    return solr_query.read(Params(Request("POST", "/solr/c/select?" + query, headers, raw)))


QUERIES: list[tuple[dict[str, Any], str, tuple[str, ...]]] = [
    # the standard parser
    ({"q": "red shoes"}, "red shoes", ()),
    ({"q": "red shoes", "df": "body"}, "red shoes", ("body",)),
    ({"q": "red", "df": "_text_"}, "red", ()),
    ({"q": "title:red AND (body:\"blue suede\"~2^3 OR +green) -old NOT grey", "df": "t"},
     "red blue suede green", ("t", "title", "body")),
    ({"q": "title:(red blue) price:[1 TO 5] cat:{a TO b}"}, "red blue", ("title",)),
    ({"q": "red^=2.0 title:blue^=1"}, "red blue", ()),
    ({"q": "red filter(inStock:true) /* a note */ blue", "df": "b"}, "red blue", ("b",)),
    ({"q": "shoe* *foo te?t roam~1"}, "shoe roam", ()),
    ({"q": 'say "a {!term f=x}b /* c */" d', "df": "b"}, "say a {!term f=x}b /* c */ d", ("b",)),
    ({"q": "my_filter(x) a.filter(y)", "df": "b"}, "my_filter x a.filter y", ("b",)),
    # local params
    ({"q": "{!dismax qf=myfield}solr rocks"}, "solr rocks", ("myfield",)),
    ({"q": "{!type=dismax qf='a^2 b' v='solr \\'rocks\\''}"}, "solr 'rocks'", ("a", "b")),
    ({"q": "{!edismax qf=$f v=$qq}", "qq": "solr rocks", "f": "t^3 u"}, "solr rocks", ("t", "u")),
    ({"q": "{!edismax v=$userQuery}", "userQuery": "red", "qf": "title"}, "red", ("title",)),
    ({"q": "{!q.op=AND df=title}solr rocks"}, "solr rocks", ("title",)),
    ({"q": "{!tag=x cache=false}red", "df": "t"}, "red", ("t",)),
    ({"q": "{!v=$nothing}"}, "", ()),
    ({"q": "{!type=$nothing v=red}", "df": "t"}, "red", ("t",)),
    ({"q": "{!term f=cat}red"}, "", ()),
    ({"q": "{!frange l=1 u=2}price"}, "", ()),
    ({"q": "{!knn f=v topK=3}[1.0, 2.0]"}, "", ()),
    ({"q": "{!knn_text_to_vector f=v model=m topK=3}red shoes"}, "red shoes", ()),
    ({"q": "{!field f=title}Red Shoes"}, "Red Shoes", ("title",)),
    ({"q": "{!boost b=log(pop)}name:foo"}, "foo", ("name",)),
    ({"q": "{!boost b=log(popularity) v='{!lucene df=name}iPod'}"}, "iPod", ("name",)),
    ({"q": "{!bool must=foo must=bar should=$r filter=x must_not=y}", "r": ["a", "b"], "df": "t"},
     "foo bar a b", ("t",)),
    ({"q": "{!parent which=type:p}comment:red"}, "red", ("comment",)),
    ({"q": "{!child of=type:p v=$c}", "c": "name:red"}, "red", ("name",)),
    ({"q": "{!join from=a to=b}title:red"}, "red", ("title",)),
    ({"q": "{!complexphrase inOrder=true}name:\"Jo* Smith\""}, "Jo* Smith", ("name",)),
    ({"q": "{!query defType=dismax v=$q1}", "q1": "a(b", "qf": "t"}, "a(b", ("t",)),
    ({"q": "{!mlt_content qf=body}some long text"}, "some long text", ("body",)),
    ({"q": "{!simple qf='a b'}red -blue | green"}, "red green", ("a", "b")),
    ({"q": "{!my_own_parser}red"}, "", ()),
    ({"q": '+_query_:"{!dismax qf=a}foo \\"bar baz" +title:b -_query_:"c" _val_:"log(x)"'},
     "foo bar baz b", ("a", "title")),
    ({"q": "+{!edismax v=$qq qf=a} {!term f=x}y z", "qq": "foo", "df": "d"}, "foo z", ("a", "d")),
    ({"q": "red", "rq": "{!rerank reRankQuery=$rqq reRankDocs=100}", "rqq": "title:blue", "df": "t"},
     "red blue", ("t", "title")),
    ({"q": "red", "rq": "{!ltr model=m efi.user_query=blue}", "df": "t"}, "red", ("t",)),
    # edismax and dismax
    ({"q": "red +shoes -old (a OR b)", "defType": "edismax", "qf": "title^2.0 body"},
     "red shoes a b", ("title", "body")),
    ({"q": "Star Wars: Episode IV", "defType": "edismax", "qf": "title"}, "Star Wars: Episode IV", ("title",)),
    ({"q": "who:smith red", "defType": "edismax", "qf": "t what", "f__who__qf": "author editor^2", "f__what__qf": "n"},
     "smith red", ("t", "n", "author", "editor")),
    ({"q": "red", "defType": "edismax", "df": "body"}, "red", ("body",)),
    ({"q": "red", "defType": "edismax", "qf": "title _text_"}, "red", ()),
    ({"q": "{!term f=x}red", "defType": "edismax", "qf": "t"}, "red", ("t",)),
    ({"q": "", "defType": "edismax", "q__alt": "title:red"}, "red", ("title",)),
    ({"defType": "dismax", "q__alt": "{!edismax qf=t}red"}, "red", ("t",)),
    ({"q": 'title:red +blue -old "x y" (a) wi-fi c++ AND d', "defType": "dismax", "qf": "t"},
     "title:red blue x y (a) wi-fi c++ d", ("t",)),
    ({"q": 'red "blue', "defType": "dismax", "qf": "t"}, "red blue", ("t",)),
    ({"q": "red", "defType": "func"}, "", ()),
    ({"q": "{!lucene df=t}red", "defType": "func"}, "red", ("t",)),
    ({"q": "\ud800x".encode("utf-8", "surrogatepass")}, "\ufffd\ufffd\ufffdx", ()),
]  # fmt: skip


@pytest.mark.parametrize(("params", "text", "fields"), QUERIES)
def test_queries(params: dict[str, Any], text: str, fields: tuple[str, ...]) -> None:
    found = read(**params)
    assert (found.text, found.searched) == (text, fields)


OBJECTS: list[tuple[Any, str, tuple[str, ...]]] = [
    ("title:solr", "solr", ("title",)),
    ("{!dismax qf=title}solr", "solr", ("title",)),
    ({"lucene": {"df": "title", "query": "solr"}}, "solr", ("title",)),
    ({"edismax": {"qf": "title^2 body", "query": "solr"}}, "solr", ("title", "body")),
    ({"edismax": {"qf": "t", "query": "A", "bq": {"edismax": {"query": "NJ", "qf": "w"}}}}, "A", ("t",)),
    ({"boost": {"query": {"lucene": {"df": "name", "query": "iPod"}}, "b": "log(popularity)"}}, "iPod", ("name",)),
    ({"bool": {"must": ["name:a", {"field": {"f": "x", "query": "b c"}}], "must_not": "d", "filter": ["e"]}},
     "a b c", ("name", "x")),
    ({"bool": {"should": {"param": "more"}}}, "red blue", ("cat",)),
    ({"param": "more"}, "red blue", ("cat",)),
    ({"edismax": {"param": "more"}}, "red", ("cat",)),
    ({"#tag": "title:a"}, "a", ("title",)),
    ({"#tag,other": {"lucene": {"query": "a", "df": "t"}}}, "a", ("t",)),
    ({"knn": {"f": "v", "query": "[1]"}}, "", ()),
    ({"lucene": "a"}, "a", ()),
    ({"lucene": {"query": 5}}, "", ()),
    ({"a": 1, "b": 2}, "", ()),
    ({}, "", ()),
    ([1], "", ()),
    (None, "", ()),
    (5, "5", ()),
]  # fmt: skip


@pytest.mark.parametrize(("query", "text", "fields"), OBJECTS)
def test_the_json_query_dsl(query: Any, text: str, fields: tuple[str, ...]) -> None:
    queries = {"more": ["cat:red", {"lucene": {"df": "cat", "query": "blue"}}]}
    found = read({"query": query, "queries": queries})
    assert (found.text, found.searched) == (text, fields)


def test_a_json_query_is_parsed_by_the_default_parser() -> None:
    found = read({"query": "a:b", "params": {"defType": "dismax", "qf": "t"}})
    assert (found.text, found.searched) == ("a:b", ("t",))


@pytest.mark.parametrize(("q", "expected"), [
    ("*:*", True), ("*", True), ("+*:*", True), ("(*:*)^2", True), ("{!lucene}*:*", True), ("*:* red", False),
    ("{!boost b=x}*:*", True), ("{!bool must=*:* filter=a}", False), ("", False), ("{!term f=a}b", False),
])  # fmt: skip
def test_match_all(q: str, expected: bool) -> None:
    assert read(q=q).match_all is expected


def test_references_in_a_circle_end() -> None:
    assert read(q="{!bool must=$a must=$b}", a="{!bool must=$b must=$a}", b="{!bool must=$a must=$b}").text == ""


PIECES = st.sampled_from(
    ["red", '"', "'", "{!", "}", "edismax", "v=$a", "qf=t", "=", "$", " ", "(", ")", "-", "_query_:", "_val_:", ":",
     "^=2", "filter(", "/*", "*/", "*", "[a TO b]", "\\", "NOT ", "{!bool must=$a}", "${a}", "${", "é"]
)  # fmt: skip
QUERY = st.lists(PIECES, max_size=12).map("".join)


@given(QUERY, QUERY, st.sampled_from(["lucene", "edismax", "dismax", "func", "nonsense"]))
def test_any_query_is_read(q: str, a: str, parser: str) -> None:
    found = read(q=q, a=a, defType=parser, rq=q)
    assert len(found.texts) == len(set(found.texts))


NAMES = st.sampled_from([*solr_query.PARSERS, "term", "query", "must", "param", "qf", "#t", "v"])
DSL = st.recursive(
    st.none() | st.booleans() | st.integers() | QUERY,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=15,
)


@given(DSL, st.none() | st.dictionaries(st.sampled_from(["a", "more"]), DSL))
def test_any_object_is_read(query: Any, queries: Any) -> None:
    with contextlib.suppress(Malformed):  # a macro may break the JSON that it stands in
        found = read({"query": query, "queries": queries})
        assert len(found.texts) == len(set(found.texts))
