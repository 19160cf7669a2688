"""Solr's answers, read and written. ``tests/solr_shaped.py``, written apart from the dialect, says what a client would
have got: a widened answer in upstream's own order must come out as that, byte for byte."""

from __future__ import annotations

import contextlib
import json
from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nbproxy.dialects import DIALECTS, Dialect, Solr, Unreadable, find
from nbproxy.errors import RerankFault
from nbproxy.messages import Headers, Request
from nbproxy.ranking import Hit, Search

from ..solr_shaped import SolrShaped

SOLR = Solr()
S = Search("red", index="books")


def test_names() -> None:
    assert find("solr") == (DIALECTS["solr"],)
    assert DIALECTS["solr"] in find(None)
    dialect: Dialect = SOLR
    assert dialect.name == "solr"
    assert dialect.parts(Request("GET", "/solr/c/select?q=a")) is None


def answer(*docs: bytes, separator: bytes = b",\n      ") -> bytes:
    """As Solr lays one out."""
    return (
        b'{\n  "responseHeader":{\n    "status":0,\n    "QTime":7,\n    "params":{\n      "q":"red"}},\n'
        b'  "response":{"numFound":9,"start":0,"maxScore":2.3025851,"numFoundExact":true,"docs":[\n      '
        + separator.join(docs)
        + b']\n  },\n  "facet_counts":{"facet_fields":{"docs":["a",1]},"response":{"docs":[]}}}\n'
    )


ONE = b'{\n        "id":"1",\n        "title":["x",\n          "y"],\n        "price":1.10,\n        "score":2.0}'
TWO = b'{\n        "id":2,\n        "cat":"a \\u00e9",\n        "_version_":1549728120626479104}'


def test_documents() -> None:
    found = SOLR.read_hits(answer(ONE, TWO, b"{}"), S, offset=5)
    assert found.hits[0] == Hit(
        "books", "1", 6, 2.0, "x\ny", {"id": "1", "title": ["x", "y"], "price": 1.1, "score": 2.0}
    )
    assert found.hits[1] == Hit("books", "2", 7, None, "a é", {"id": 2, "cat": "a é", "_version_": 1549728120626479104})
    assert found.hits[2] == Hit("books", None, 8, None, None, {})
    assert [found.body[start:end] for start, end in found.spans] == [ONE, TWO, b"{}"]
    assert SOLR.write_hits(found, [1, 0]) == answer(TWO, ONE)
    assert SOLR.write_hits(found, [0, 1, 2]) is found.body


def test_another_unique_key_and_several_collections() -> None:
    found = Solr(id="sku").read_hits(answer(b'{"sku":"a","id":"b"}'), Search("q", index="a,b"))
    assert found.hits[0] == Hit(None, "a", 1, None, "b", {"sku": "a", "id": "b"})


TEXTS = [
    ((), None, "red\nblue\ngreen"),
    (("title",), None, "red"),
    (("nothing",), None, "red\nblue\ngreen"),
    (("id",), None, "7"),
    (("*_t",), None, "blue"),
    ((), "title", "red"),
    ((), ["price", "id"], "1.5\n7"),
    ((), "{title}: {body_t}", "red: blue"),
]


@pytest.mark.parametrize(("searched", "fields", "text"), TEXTS)
def test_texts(searched: tuple[str, ...], fields: Any, text: str) -> None:
    doc = b'{"id":"7","title":"red","body_t":["blue"," "],"_root_":"r","x":[{"y":"green"}],"price":1.5,"[shard]":"s1"}'
    found = SOLR.read_hits(answer(doc), Search("q", fields=searched), fields)
    assert found.hits[0].text == text


def test_a_callable_reads_documents() -> None:
    found = SOLR.read_hits(answer(ONE, TWO), S, lambda hit: hit.source.get("cat"))
    assert [hit.text for hit in found.hits] == [None, "a é"]
    with pytest.raises(RerankFault, match="failed on"):
        SOLR.read_hits(answer(ONE), S, lambda hit: str(1 / 0))


ODD = [
    (b'{"t":"\\ud800 x"}', "\ufffd x"),
    (b'{"t":"red","n":1e400}', "red"),
    (b'{"t":"red","n":' + b"9" * 5000 + b"}", "red"),
    (b'{"t":"red","d":' + b"[" * 3000 + b"]" * 3000 + b"}", "red"),
    (b'{"t":"red","t":"blue"}', "blue"),
]


@pytest.mark.parametrize(("doc", "text"), ODD)
def test_odd_documents_do_not_disturb_the_others(doc: bytes, text: str) -> None:
    found = SOLR.read_hits(answer(ONE, doc, ONE), S)
    assert [hit.text for hit in found.hits] == ["x\ny", text, "x\ny"]
    assert SOLR.write_hits(found, [2, 1]) == answer(ONE, doc)


UNREADABLE = [
    b"", b"{}", b"null", b"[]", b'<?xml version="1.0"?><response/>', b'{"grouped":{}}', b'{"response":null}',
    b'{"response":{}}', b'{"response":{"docs":{}}}', b'{"response":{"docs":null}}', answer(b"5"), answer(b"null"),
    answer(b'{"a":NaN}'), answer(b'{"a":"\xff"}'), answer(ONE)[:-3], b"f(" + answer(ONE) + b")",
    b'{"response":{"docs":[{}]},"response":{"docs":[]}}', b'{"response":{"docs":[{}],"docs":[]}}',
    b'{"response":{"docs":[{}]},"resp\\u006fnse":1}', b'{"response":1,"response":{"docs":[{}]}}',
]  # fmt: skip


@pytest.mark.parametrize("body", UNREADABLE)
def test_unreadable(body: bytes) -> None:
    with pytest.raises(Unreadable):
        SOLR.read_hits(body, S)


@given(st.binary(max_size=60))
def test_bytes_are_read_or_unreadable(junk: bytes) -> None:
    for body in (junk, b'{"response":{"docs":[' + junk + b"]}}", b'{"response":{"docs":[{}],' + junk + b"}}"):
        with contextlib.suppress(Unreadable):
            SOLR.write_hits(SOLR.read_hits(body, S), [])


def test_errors_are_in_solrs_shape() -> None:
    assert SOLR.error(502, "nbproxy_upstream_unreachable", "refused") == {
        "responseHeader": {"status": 502, "QTime": 0},
        "error": {
            "metadata": [
                "error-class", "nbproxy_upstream_unreachable", "root-error-class", "nbproxy_upstream_unreachable"
            ],
            "msg": "refused",
            "code": 502,
        },
    }  # fmt: skip


# -- any request -----------------------------------------------------------------------------------------------------

PLAIN = (SolrShaped(rows="10"), SOLR)  # as the default configuration has it
OWN = {"rows": "7", "fl": "title,words_i", "defType": "edismax", "qf": "title"}
ENGINES = [PLAIN, (SolrShaped(**OWN), Solr(defaults=OWN))]
FORM, JSON = b"application/x-www-form-urlencoded", b"application/json"
VALUES: dict[str, list[str]] = {
    "q": ["dripping tap", "tap water", "{!edismax qf=title v=$qq}", "title:tap", "*:*", "zzz", ""],
    "qq": ["boiling water"],
    "rows": ["0", "3", "10", "25", "100", "x", "-1"],
    "start": ["0", "2", "30"],
    "fl": ["id", "title", "*", "id,score", "ti*", "t:title,text", "title,title:text", "words_i,score", "x:id"],
    "df": ["title", "text", "nothing"],
    "defType": ["edismax", "dismax", "lucene"],
    "qf": ["title^2 text", "title"],
    "sort": ["score desc", "score desc,id asc", "words_i asc", "nonsense"],
    "hl": ["true", "false"],
    "facet": ["true"],
    "facet.field": ["topic_s"],
    "echoParams": ["explicit", "all", "none"],
    "omitHeader": ["true"],
    "indent": ["false", "true"],
    "wt": ["json", "xml"],
    "debugQuery": ["true"],
    "fq": ["{!collapse field=topic_s}", "a:b"],
    "json.limit": ["4", "60"],
}
MEMBERS: dict[str, list[Any]] = {
    "query": ["tap", "*:*", {"edismax": {"qf": "title", "query": "tap water"}}],
    "limit": [0, 3, 80],
    "offset": [0, 4],
    "fields": ["id", ["title", "score"], ["t:title"]],
    "sort": ["score desc", "words_i desc"],
    "params": [{"q": "tap", "rows": 5}, {"fl": "title", "echoParams": "all"}, {"fl": ["id", "words_i"], "hl": "true"}],
}


FIELDS = st.sampled_from([None, "title", ["text"], "{title}: {words_i}"])


@st.composite
def requests(draw: st.DrawFn) -> Request:
    """Requests by URL, by form and by JSON, of what Solr knows and of what it refuses."""
    names = draw(st.lists(st.sampled_from(list(VALUES)), max_size=6))
    pairs = [("q", "tap"), *((name, draw(st.sampled_from(VALUES[name]))) for name in names)][draw(st.integers(0, 1)) :]
    kind = draw(st.sampled_from([b"", FORM, JSON]))
    cut = draw(st.integers(0, len(pairs))) if kind == FORM else len(pairs)
    body = urlencode(pairs[cut:]).encode()
    if kind == JSON:
        members = draw(st.lists(st.sampled_from(list(MEMBERS)), unique=True))
        body = json.dumps({name: draw(st.sampled_from(MEMBERS[name])) for name in members}).encode()
    headers = Headers([(b"Content-Type", kind)] if body else [])
    target = "/solr/household/select?" + urlencode(pairs[:cut])
    return Request("POST" if body else "GET", target, headers, body)


def asked(engine: SolrShaped, request: Request) -> bytes:
    headers = {name.decode().lower(): value.decode() for name, value in request.headers}
    body = engine.answer(request.method, request.target, headers, request.body)[1]
    assert isinstance(body, bytes)
    return body


@settings(deadline=None, max_examples=300)
@given(requests(), st.sampled_from(ENGINES), st.integers(1, 60), FIELDS, st.randoms())
def test_any_request_and_any_order(
    request: Request, engine: tuple[SolrShaped, Solr], depth: int, fields: Any, random: Any
) -> None:
    upstream, solr = engine
    search = solr.read_search(request)
    solr.read_window(request)
    if not isinstance(search, Search):
        return
    direct = asked(upstream, request)
    widened = solr.widen(request, search, depth, fields)
    plain = json.loads(direct)
    if "error" in plain:
        assert "error" in json.loads(asked(upstream, widened.request))
        return
    found = solr.read_hits(asked(upstream, widened.request), search, fields, undo=widened.undo)
    page = range(search.offset, min(search.offset + search.size, len(found.hits)))
    same = solr.write_hits(found, page)  # upstream's own order: as if nothing had happened
    assert json.loads(same) == plain
    # All parameters are echoed in the order that they were found in, and a field list had to be said elsewhere.
    assert same == direct or b'"echoParams":"all"' in direct

    order = random.sample(range(len(found.hits)), len(page))
    written = json.loads(solr.write_hits(found, order))
    shown = [json.loads(solr.write_hits(found, [i]))["response"]["docs"][0] for i in order]
    assert written["response"].pop("docs") == shown
    ids = {found.hits[i].doc_id for i in order}
    assert len(ids) == len(order)
    assert written.pop("highlighting", {}).keys() in (ids, set())
    plain["response"].pop("docs")
    plain.pop("highlighting", None)
    assert written == plain
