"""Where Solr's parameters may stand, and which of them counts."""

from typing import Any
from urllib.parse import quote

import pytest

from nbproxy.dialects.search_request import Malformed
from nbproxy.dialects.solr_params import Params
from nbproxy.messages import Headers, Request

FORM = "application/x-www-form-urlencoded"
JSON = "application/json"


def params(
    query: str = "", body: str | bytes = b"", kind: str = JSON, method: str = "POST", agent: str = "x"
) -> Params:
    fields = [(b"Content-Type", kind.encode()), (b"User-Agent", agent.encode())] if kind else []
    raw = body.encode() if isinstance(body, str) else body
    return Params(Request(method, "/solr/c/select" + ("?" if query else "") + query, Headers(fields), raw))


PLACES = [
    (params("q=a"), "none"),
    (params(body="q=a", kind=FORM), "form"),
    (params(body="q=a", kind=FORM + "; charset=utf-8"), "form"),
    (params(body="{}", kind="APPLICATION/JSON;charset=utf-8"), "json"),
    (params(body="{}", kind="text/json"), "json"),
    (params(body="<a/>", kind="text/xml"), "other"),
    (params(body="x", kind=""), "other"),
    (params(body="x", kind="", method="GET"), "none"),
    (params(body="{}", method="GET"), "json"),
    (params(body=" {query:x}", kind=FORM, agent="curl/8.0"), "json"),
    (params(body="// c\n{query:x}", kind=FORM, agent="curl/8.0"), "json"),
    (params(body="q=x", kind=FORM, agent="curl/8.0"), "form"),
    (params(body="{query:x}", kind=FORM), "form"),
]


@pytest.mark.parametrize(("asked", "place"), PLACES)
def test_what_a_body_is(asked: Params, place: str) -> None:
    assert asked.place == place


VALUES: list[tuple[Params, dict[str, list[Any]]]] = [
    (params("q=a+b%20c&q=d&e&=x"), {"q": ["a b c", "d"], "e": [""], "": ["x"]}),
    (params("fl=a", "fl=b&q=%C3%A9", FORM), {"fl": ["a", "b"], "q": ["é"]}),
    (params("", "q=%E9", FORM + ";charset=ISO-8859-1"), {"q": ["é"]}),
    (params("q=url", '{"params":{"q":"json","fq":["a","b"],"rows":5,"x":true,"y":null}}'),
     {"q": ["url"], "fq": ["a", "b"], "rows": ["5"], "x": ["true"]}),
    (params("json=" + quote("{params:{q:b,r:c}}"), '{"params":{"q":"a"}}'), {"q": ["a"], "r": ["c"]}),
]  # fmt: skip


@pytest.mark.parametrize(("asked", "expected"), VALUES)
def test_parameters(asked: Params, expected: dict[str, list[Any]]) -> None:
    asked.params.pop("json", None)
    assert asked.params == expected


MERGED: list[tuple[Params, dict[str, Any]]] = [
    (params(body="{query:a, limit:5}"), {"query": "a", "limit": 5}),
    (params("json={query:b}&json.limit=7&json.limit=8", "{query:a, limit:5}"), {"query": "b", "limit": 8}),
    (params("json.filter='c'", "{filter:a, fields:[x]}"), {"filter": ["a", "c"], "fields": ["x"]}),
    (
        params("json={facet:{y:2}}&json.facet.z=3&json.nl=map&json.wrf=f", "{facet:{x:1}}"),
        {"facet": {"x": 1, "y": 2, "z": 3}},
    ),
    (params("F=text&T=a+b", "{query:'${F}:${T}${U:c}'}"), {"query": "text:a bc"}),
    (params("json=&json=/*+*/&json={query:a}"), {"query": "a"}),
    (params("O={&C=}&json=${O}query:x${C}"), {"query": "x"}),
    (params("q=a", "limit=5", FORM), {}),
]


@pytest.mark.parametrize(("asked", "expected"), MERGED)
def test_json_requests_are_merged(asked: Params, expected: dict[str, Any]) -> None:
    assert asked.json == expected


@pytest.mark.parametrize(
    "asked", [params(body="5"), params(body="{"), params("json.a.b=1&json.a=2&json.a.c=3"), params("json.limit=[")]
)
def test_json_that_solr_refuses(asked: Params) -> None:
    with pytest.raises(Malformed):
        _ = asked.json


def test_macros() -> None:
    assert params("q=${a}-${b:x}-${c}-\\${a}&a=1").get("q") == "1-x--\\${a}"
    assert params("q=${a}&a=${b}&b=2").get("q") == "2"
    assert params("q=${a}&a=1&expandMacros=false").get("q") == "${a}"
    assert params("q=${q}").get("q") == "${q}"  # in a circle


def test_queries_are_further_parameters() -> None:
    asked = params("x=1", '{"queries":{"x":[{"field":{"f":"a","query":"b"}},"c"],"y":"d"}}')
    assert asked.all("x") == ["1", {"field": {"f": "a", "query": "b"}}, "c"]
    assert asked.all("y") == ["d"]
    assert asked.get("y") is None


@pytest.mark.parametrize(("query", "kind", "known"), [
    ("", FORM + ";charset=nonsense", False), ("ie=ISO-8859-1", FORM, False), ("ie=utf-8", FORM, True), ("", FORM, True),
])  # fmt: skip
def test_charsets(query: str, kind: str, known: bool) -> None:
    assert params(query, "q=a", kind).known_charset is known


def test_flags() -> None:
    asked = params("a=true&b=on&c=yes&d=false&e=&f=1")
    assert [asked.flag(name) for name in "abcdefg"] == [True, True, True, False, False, False, False]
