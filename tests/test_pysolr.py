"""pysolr, Solr's Python client, directly and through the proxy: what it understands is equal but for the order of
hits. The server is shaped like Solr and honest about rows, start, fl, sort and wt."""

from __future__ import annotations

import json
import socket
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any

import pysolr
import pytest

import nbproxy
from nbproxy.dialects import Solr

from .solr_shaped import SolrShaped
from .upstreams import Json

Start = Callable[..., nbproxy.Session]
DEPTH = 20
QUERY = "dripping tap water"
CORE = "/solr/household"


@pytest.fixture
def solr() -> Iterator[Json]:
    with Json() as server:
        server.answer = SolrShaped().answer
        yield server


def backwards(query: str, texts: list[str]) -> list[int]:
    return list(range(len(texts)))


def client(url: str) -> pysolr.Solr:
    return pysolr.Solr(url + CORE, timeout=10)


def without_docs(found: pysolr.Results) -> dict[str, Any]:
    raw = json.loads(json.dumps(found.raw_response))
    raw["response"]["docs"] = len(raw["response"]["docs"])
    raw.pop("highlighting", None)
    return raw  # type: ignore[no-any-return]


PAGES: list[dict[str, Any]] = [
    {},
    {"rows": 4},
    {"start": 3, "rows": 5},
    {"start": 15, "rows": 10},
    {"fl": "title"},
    {"fl": "title,t:text,score"},
    {"fl": ["id", "ti*"]},
    {"fl": "words_i", "defType": "edismax", "qf": "title^2 text"},
    {"echoParams": "all", "rows": 3},
    {"echoParams": "none", "start": 1},
    {"omitHeader": "true", "start": 1},
    {"indent": "false", "fl": "score"},
    {"facet": "true", "facet.field": "topic_s", "fq": ["a:b", "c:d"], "sort": "score desc, id asc"},
]


@pytest.mark.parametrize("page", PAGES)
def test_a_search_differs_in_the_order_of_hits_only(start: Start, solr: Json, page: dict[str, Any]) -> None:
    session = start(solr.url, model=backwards, depth=DEPTH)
    direct, proxied = client(solr.url), client(session.url)
    plain, through = direct.search(QUERY, **page), proxied.search(QUERY, **page)
    assert without_docs(through) == without_docs(plain)
    begin, size = page.get("start", 0), page.get("rows", 10)
    window = direct.search(QUERY, **{**page, "start": 0, "rows": max(DEPTH, begin + size)}).docs
    order = window[:DEPTH][::-1] + window[DEPTH:]
    assert through.docs == order[begin : begin + size]
    assert session.frame.reranked.all()
    assert session.frame.dialect.eq("solr").all()
    assert session.hits.doc_id.str.startswith("d").all()


def test_highlights_are_the_pages(start: Start, solr: Json) -> None:
    session = start(solr.url, model=backwards, depth=DEPTH)
    found = client(session.url).search(QUERY, fl="title", hl="true", rows=3)
    whole = client(solr.url).search(QUERY, hl="true", rows=DEPTH)
    ids = [doc["id"] for doc in whole.docs[::-1][:3]]
    assert [list(doc) for doc in found.docs] == [["title"]] * 3
    assert found.highlighting == {one: whole.highlighting[one] for one in ids}


LEFT_ALONE: list[tuple[str, dict[str, Any]]] = [
    ("sorted", {"sort": "words_i asc"}),
    ("size-zero", {"rows": 0, "facet": "true", "facet.field": "topic_s"}),
    ("collapse", {"group": "true", "group.field": "topic_s"}),
    ("profile", {"debugQuery": "true"}),
    ("search-after", {"cursorMark": "*", "sort": "score desc,id asc"}),
    ("beyond-depth", {"start": 20}),
    ("collapse", {"fq": "{!collapse field=topic_s}"}),
]


@pytest.mark.parametrize(("reason", "page"), LEFT_ALONE)
def test_what_is_left_alone_is_equal(start: Start, solr: Json, reason: str, page: dict[str, Any]) -> None:
    session = start(solr.url, model=backwards, depth=DEPTH)
    plain, through = client(solr.url).search(QUERY, **page), client(session.url).search(QUERY, **page)
    assert through.raw_response == plain.raw_response
    assert list(session.frame.reason) == [reason]
    assert solr.requests[0][1] == solr.requests[1][1]


def test_long_queries_go_by_post(start: Start, solr: Json) -> None:
    session = start(solr.url, model=backwards, depth=DEPTH)
    query = QUERY + " zzz" * 400
    plain, through = client(solr.url).search(query, fl="title"), client(session.url).search(query, fl="title")
    assert [method for method, *_ in solr.requests] == ["POST", "POST"]
    assert without_docs(through) == without_docs(plain)
    assert sorted(map(str, through.docs)) != sorted(map(str, plain.docs))
    assert [list(doc) for doc in through.docs] == [["title"]] * 10
    assert session.frame["query"][0] == query


def test_other_requests_pass(start: Start, solr: Json) -> None:
    session = start(solr.url, model=backwards)
    assert client(session.url).ping() == client(solr.url).ping()
    assert list(session.frame.route) == ["pass"]


def ask(url: str, path: str, body: Any, kind: str = "application/json") -> tuple[int, bytes]:
    request = urllib.request.Request(url + path, json.dumps(body).encode(), {"Content-Type": kind})
    with urllib.request.urlopen(request, timeout=10) as answer:
        return answer.status, answer.read()


JSON_REQUESTS: list[tuple[str, dict[str, Any]]] = [
    ("/query", {"query": QUERY}),
    ("/query", {"query": QUERY, "limit": 3, "offset": 2, "fields": ["title", "score"]}),
    ("/select?json.limit=4", {"query": {"edismax": {"qf": "title", "query": QUERY}}, "limit": 9, "fields": "title"}),
    ("/query?fl=id", {"params": {"q": QUERY, "rows": 3}}),
    ("/query", {"params": {"q": QUERY, "rows": 3, "fl": "title", "echoParams": "all"}, "fields": ["words_i"]}),
]


@pytest.mark.parametrize(("path", "body"), JSON_REQUESTS)
def test_the_json_request_api(start: Start, solr: Json, path: str, body: dict[str, Any]) -> None:
    session = start(solr.url, model=backwards, depth=DEPTH)
    plain, through = ask(solr.url, CORE + path, body)[1], ask(session.url, CORE + path, body)[1]
    docs = [json.loads(answer)["response"].pop("docs") for answer in (plain, through)]
    assert [set(doc) for doc in docs[0]] == [set(doc) for doc in docs[1]]
    assert docs[0] != docs[1]
    assert {**json.loads(plain), "response": 0} == {**json.loads(through), "response": 0}
    assert {**json.loads(plain)["response"], "docs": 0} == {**json.loads(through)["response"], "docs": 0}
    assert session.frame.reranked.all()
    assert solr.requests[1][3] == solr.requests[0][3]  # the body went on as it came


def test_solrs_own_errors_are_the_clients(start: Start, solr: Json) -> None:
    session = start(solr.url, model=backwards)
    for page in ({"rows": -1}, {"rows": "x"}, {"sort": "score desc, nonsense", "start": 2}):
        with pytest.raises(pysolr.SolrError) as plain:
            client(solr.url).search(QUERY, **page)
        with pytest.raises(pysolr.SolrError) as through:
            client(session.url).search(QUERY, **page)
        assert str(through.value) == str(plain.value)
    assert list(session.frame.reason) == ["malformed", "malformed", "upstream-error"]


def nowhere() -> str:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return f"http://127.0.0.1:{server.getsockname()[1]}"


@pytest.mark.parametrize("model", [None, backwards])
def test_errors_of_ours_are_shown_as_solrs(start: Start, model: Any) -> None:
    session = start(nowhere(), model=model)
    with pytest.raises(pysolr.SolrError, match=r"HTTP 502.*\[Reason: .*refused"):
        client(session.url).search(QUERY)


def test_an_unknown_model_is_shown_too(start: Start, solr: Json) -> None:
    session = start(solr.url, model=backwards)
    asking = client(session.url)
    asking.get_session().headers["X-Nbproxy-Model"] = "nobody"
    with pytest.raises(pysolr.SolrError, match=r"HTTP 400.*Reason: no model is called 'nobody'"):
        asking.search(QUERY)


def test_a_url_that_holds_the_core(start: Start, solr: Json) -> None:
    session = start(solr.url + "/solr", model=backwards, dialect=Solr(root=""))
    found = pysolr.Solr(session.url + "/household").search(QUERY)
    assert len(found.docs) == 10
    assert session.frame.reranked.all()
    assert list(session.frame["index"]) == ["household"]


def test_a_handlers_own_number_of_rows(start: Start, solr: Json) -> None:
    solr.answer = SolrShaped(rows="7").answer
    session = start(solr.url, model=backwards, dialect=Solr(defaults={"rows": 7}))
    for page in ({}, {"echoParams": "all"}):
        plain, through = client(solr.url).search(QUERY, **page), client(session.url).search(QUERY, **page)
        assert without_docs(through) == without_docs(plain)
        assert len(through.docs) == 7
