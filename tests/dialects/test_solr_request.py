"""Which requests are Solr searches, and why they are left alone."""

import json
from typing import Any
from urllib.parse import quote, urlencode

import pytest

from nbproxy.dialects import Solr
from nbproxy.messages import Headers, Request
from nbproxy.ranking import Search

SOLR = Solr()
FORM, JSON = "application/x-www-form-urlencoded", "application/json"


def asked(query: str = "", body: Any = b"", kind: str = JSON, method: str | None = None) -> Request:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    headers = Headers([(b"Content-Type", kind.encode())] if raw else [])
    target = "/solr/c/select" + ("?" + quote(query, safe="=&+%") if query else "")
    return Request(method or ("POST" if raw else "GET"), target, headers, raw)


ROUTES = [
    ("GET", "/solr/books/select?q=a", "books"),
    ("POST", "/solr/books/query", "books"),
    ("GET", "/solr/books/select/?q=a", "books"),
    ("GET", "/solr/a%2Cb/s%65lect", "a%2Cb"),
    ("GET", "/api/collections/books/select", "books"),
    ("GET", "/api/c/books/query", "books"),
    ("GET", "/api/cores/books/select", "books"),
]
OTHERS = [
    ("HEAD", "/solr/books/select"), ("PUT", "/solr/books/select"), ("GET", "/solr/books/browse"),
    ("GET", "/solr/books/export"), ("GET", "/solr/books/stream"), ("GET", "/solr/books/sql"),
    ("POST", "/solr/books/update"), ("GET", "/solr/books/get"), ("GET", "/solr/books/terms"),
    ("GET", "/solr/books/spell"), ("GET", "/solr/admin/cores?action=select"), ("GET", "/solr/select"),
    ("GET", "/solr/books/admin/select"), ("GET", "/books/select"), ("GET", "/select"), ("GET", "/"),
    ("GET", "/solr/books/_search"), ("GET", "/api/x/books/select"), ("GET", "/solr/books/select/more"),
    ("GET", "/api/cluster"), ("GET", "/solr/books/mselect"),
]  # fmt: skip


@pytest.mark.parametrize(("method", "target", "core"), ROUTES)
def test_searches(method: str, target: str, core: str) -> None:
    assert SOLR.is_search(method, target)
    assert SOLR.index_of(target) == core


@pytest.mark.parametrize(("method", "target"), OTHERS)
def test_what_is_no_search(method: str, target: str) -> None:
    assert not SOLR.is_search(method, target)


def test_other_roots_and_handlers() -> None:
    own = Solr(root="/a/search", handlers=["select", "/my/browse"])
    assert own.is_search("GET", "/a/search/books/my/browse")
    assert own.index_of("/a/search/books/select") == "books"
    assert not own.is_search("GET", "/solr/books/select")
    bare = Solr(root="")
    assert bare.is_search("GET", "/books/select")
    assert bare.index_of("/books/select") == "books"
    assert bare.is_search("GET", "/select")
    assert bare.index_of("/select") is None
    assert not bare.is_search("GET", "/a/b/select")


def test_a_search() -> None:
    found = SOLR.read_search(asked("q=red shoes&qf=title^2 body&defType=edismax&start=3&rows=5&wt=json"))
    assert found == Search("red shoes", 3, 5, ("title", "body"), "c")
    assert SOLR.read_search(asked("q=a")) == Search("a", 0, 10, (), "c")
    assert SOLR.read_search(asked("", b"q=a+b&rows=4", FORM)) == Search("a b", 0, 4, (), "c")
    assert SOLR.read_search(asked("rows=2", {"query": "a", "offset": 1})) == Search("a", 1, 2, (), "c")


DEFAULTS = Solr(defaults={"rows": 25, "defType": "edismax", "qf": "title^2 body", "fl": ["id", "title"]})


def test_a_handlers_defaults() -> None:
    assert DEFAULTS.read_search(asked("q=a:")) == Search("a:", 0, 25, ("title", "body"), "c")
    assert DEFAULTS.read_search(asked("q=a&qf=x&rows=3")) == Search("a", 0, 3, ("x",), "c")
    assert DEFAULTS.read_search(asked("", {"query": "a", "limit": 5})) == Search("a", 0, 5, ("title", "body"), "c")
    assert DEFAULTS.read_window(asked("", {"params": {"rows": 4}})) == (0, 4)
    assert DEFAULTS.read_search(asked("q=a&rows=4", {"limit": 5})) == "malformed"
    assert Solr(defaults={"sort": "price asc"}).read_search(asked("q=a")) == "sorted"


def test_user_behavior_insights() -> None:
    found = SOLR.read_search(asked("q=title:a&ubi=true&user_query=What is a&query_id=x-1"))
    assert isinstance(found, Search)
    assert (found.query, found.ubi_query_id) == ("What is a", "x-1")
    found = SOLR.read_search(asked("q=title:a&user_query=b&query_id=x-1"))
    assert isinstance(found, Search)
    assert (found.query, found.ubi_query_id) == ("a", None)
    assert isinstance(SOLR.read_search(asked("q=*:*&ubi=on&user_query=b")), Search)


REASONS: list[tuple[Request, str]] = [
    (asked("q=a&wt=xml"), "format"),
    (asked("q=a&wt=javabin"), "format"),
    (asked("q=a&json.wrf=f"), "format"),
    (asked("q=a", {"params": {"wt": "csv"}}), "format"),
    (asked("q=a", b"<a/>", "text/xml"), "format"),
    (asked("", b"--x", "multipart/form-data; boundary=x"), "format"),
    (asked("", b"q=a", FORM + ";charset=no"), "format"),
    (asked("q=a&ie=latin1"), "format"),
    (asked("q=a&mlt=true"), "format"),
    (asked("q=a&tv=true"), "format"),
    (asked("q=a&clustering=true"), "format"),
    (asked("q=a&rows=x"), "malformed"),
    (asked("q=a&rows="), "malformed"),
    (asked("q=a&start=-1"), "malformed"),
    (asked("q=a&rows=2147483648"), "malformed"),
    (asked("q=a&rows=1.0"), "malformed"),
    (asked("q=a&rows=3", {"limit": 4}), "malformed"),
    (asked("", {"query": "a", "limit": None}), "malformed"),
    (asked("", b"{query:a"), "malformed"),
    (asked("q=a&json.limit=["), "malformed"),
    (asked("q=a&rows%20=3"), "malformed"),
    (asked("q={!edismax rows=3}a"), "malformed"),
    (asked("q=a&cursorMark=*&sort=score desc,id asc"), "search-after"),
    (asked("q=a&sort=price asc"), "sorted"),
    (asked("q=a&sort=score asc"), "sorted"),
    (asked("q=a&sort=div(popularity,price) desc"), "sorted"),
    (asked("q=a&sort=price desc,score desc"), "sorted"),
    (asked("", {"query": "a", "sort": "price asc"}), "sorted"),
    (asked("q={!edismax sort='price asc'}a"), "sorted"),
    (asked("q=a&group=true&group.field=b"), "collapse"),
    (asked("q=a&expand=true"), "collapse"),
    (asked("q=a&fq={!collapse field=b}"), "collapse"),
    (asked("q=a&fq=x:y&fq={!cache=false type=collapse field=b}"), "collapse"),
    (asked("", {"query": "a", "filter": ["x", {"collapse": {"field": "b"}}]}), "collapse"),
    (asked("", {"query": "a", "filter": {"#t": "{!collapse field=b}"}}), "collapse"),
    (asked("q=a&debugQuery=on"), "profile"),
    (asked("q=a&debug=timing"), "profile"),
    (asked("q=a&debug=x&debug=all"), "profile"),
    (asked("q=a&debug=results"), "explain"),
    (asked("q=a&fl=id,[explain style=nl]"), "explain"),
    (asked("q=a&rows=0&facet=true"), "size-zero"),
    (asked("facet=true&facet.field=a"), "aggregations-only"),
    (asked("", {"facet": {"x": "avg(price)"}}), "aggregations-only"),
    (asked("spellcheck=true&spellcheck.q=a"), "suggest-only"),
    (asked("q=*:*"), "match-all"),
    (asked("defType=edismax&q.alt=*:*"), "match-all"),
    (asked(""), "no-query"),
    (asked("q="), "no-query"),
    (asked("q={!term f=id}5"), "no-query"),
    (asked("q=price:[1 TO 2]"), "no-query"),
    (asked("fq=a"), "no-query"),
]

NONE = [
    "q=a&sort=score desc", "q=a&sort=SCORE DESC, id asc", "q=a&sort=", "q=a&wt=json&json.nl=map", "q=a&debug=false",
    "q=a&debugQuery=false&group=false&mlt=false", "q=a&hl=true&facet=true&stats=true", "q=a&fq={!term f=b}collapse",
    "q=a&rows=%2B5&start=007", "q=a&fl=id,[shard]", "q=a&timeAllowed=5&shards.tolerant=true&collection=a,b",
    "q=a&rows=2147483647", "q=a&rows=${n}&n=4", "q=a&qt=/browse", "q=a&spellcheck=true",
]  # fmt: skip


@pytest.mark.parametrize(("request_", "reason"), REASONS)
def test_reasons(request_: Request, reason: str) -> None:
    assert SOLR.read_search(request_) == reason


@pytest.mark.parametrize("query", NONE)
def test_no_reason(query: str) -> None:
    assert isinstance(SOLR.read_search(asked(query)), Search)


NESTED = ["query", "filter", "fields", "sort", "limit", "queries", "params"]


@pytest.mark.parametrize("member", NESTED)
@pytest.mark.parametrize("depth", [80, 500, 985, 20_000])
def test_deep_requests_are_read_or_left_alone(depth: int, member: str) -> None:
    arrays, tags = "[" * depth + "]" * depth, '{"#a":' * depth + "1" + "}" * depth
    clauses = '{"bool":{"must":' * depth + '"a"' + "}}" * depth
    for inner in (arrays, tags, clauses):
        for text in ('{"M":V}', '{"query":"a","params":{"M":V}}', "{M:V}"):
            body = text.replace("M", member).replace("V", inner).encode()
            assert SOLR.read_search(asked("", body)) is not None


LONG = 60_000  # what looks ahead to the end from each place takes minutes
UNITS = [
    "[", "*", "<", "{!", "{!'", "/* ", '"\\"', "_query_:'", "${a:", "NOT  ", "filter(", "a=", "\\", "{!a='", "score ",
    ",(",
]  # fmt: skip


@pytest.mark.parametrize("unit", UNITS)
def test_no_request_takes_longer_than_its_length(unit: str) -> None:
    text = unit * (LONG // len(unit))
    for parser in ("lucene", "edismax", "dismax"):
        assert SOLR.read_search(asked("", urlencode({"q": text, "defType": parser}).encode(), FORM)) is not None
    for name in ("fq", "fl", "sort", "json", "qf", "rq"):
        assert SOLR.read_search(asked("q=a", urlencode({name: "{!" + text}).encode(), FORM)) is not None


def test_macros_do_not_multiply() -> None:
    body = urlencode({"q": "${b}" * 500, "b": "${c}" * 500, "c": "${d}" * 500, "d": "x"}).encode()
    assert isinstance(SOLR.read_search(asked("", body, FORM)), Search)


def test_windows() -> None:
    assert SOLR.read_window(asked("start=60&rows=5")) == (60, 5)
    assert SOLR.read_window(asked("", {"offset": "3", "params": {"rows": 4}})) == (3, 4)
    assert SOLR.read_window(asked("start=x")) is None
    assert SOLR.read_window(asked("", b"{")) is None
