"""``_msearch``: its lines told apart, its answers found, nothing else touched."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbproxy.dialects import Elasticsearch, Unreadable
from nbproxy.dialects.base import Part
from nbproxy.messages import Headers, Request
from nbproxy.ranking import Search

ES = Elasticsearch()
BODY = b'{"query":{"match":{"a":"red"}}}'


def request(body: bytes, target: str = "/_msearch", *fields: tuple[bytes, bytes]) -> Request:
    return Request("POST", target, Headers([(b"Content-Type", b"application/x-ndjson"), *fields]), body)


def parts(body: bytes, target: str = "/_msearch") -> tuple[Part, ...]:
    found = ES.parts(request(body, target))
    assert isinstance(found, tuple), found
    return found


def lines(*values: Any) -> bytes:
    return b"".join((v if isinstance(v, bytes) else json.dumps(v).encode()) + b"\n" for v in values)


def test_other_searches_are_one() -> None:
    assert ES.parts(Request("POST", "/books/_search", Headers(), BODY)) is None


@pytest.mark.parametrize(
    ("header", "target", "index", "alone"),
    [
        ({}, "/_msearch", None, "/_search"),
        ({}, "/books/_msearch", "books", "/books/_search"),
        (b"", "/books/_msearch", "books", "/books/_search"),
        ({"index": "papers"}, "/books/_msearch", "papers", "/papers/_search"),
        ({"index": ["a", "b-*"]}, "/_msearch?pretty", "a,b-*", "/a,b-*/_search?pretty="),
        ({"indices": "<logs-{now/d}>"}, "/_msearch", "<logs-{now/d}>", "/<logs-%7Bnow%2Fd%7D>/_search"),
        ({"index": []}, "/_msearch", None, "/_search"),
        ({}, "/books/_msearch/template", "books", "/books/_search/template"),
        ({}, "/x/_msearch?filter_path=responses.hits&max_concurrent_searches=2", "x", "/x/_search"),
    ],
)
def test_where_a_search_looks(header: Any, target: str, index: str | None, alone: str) -> None:
    (part,) = parts(lines(header, BODY), target)
    assert (part.index, part.request.target, part.request.body) == (index, alone, BODY)


@pytest.mark.parametrize(
    "body",
    [
        lines({}, BODY, {"index": "b"}, {"size": 3}),
        lines(b"", BODY, b"", BODY),
        b"{}\r\n" + BODY + b"\r\n{}\r\n" + BODY + b"\r\n",
        b"\n" + lines({}, BODY, {}, BODY),  # Elasticsearch 7 passes over a first blank line
    ],
)
def test_spans(body: bytes) -> None:
    found = parts(body)
    assert len(found) == 2
    for part in found:
        assert body[slice(*part.span)] == part.request.body
    assert body.strip(b"\n") in b"".join(body[slice(*part.own)] for part in found)


@pytest.mark.parametrize(
    ("body", "target", "reason"),
    [
        (b"", "/_msearch", "malformed"),
        (b"\n", "/_msearch", "malformed"),
        (lines({}), "/_msearch", "malformed"),
        (lines({}, BODY)[:-1], "/_msearch", "malformed"),
        (lines({}, BODY, {}, b'{"query":'), "/_msearch", "malformed"),
        (lines(b"[]", BODY), "/_msearch", "malformed"),
        (lines({}, BODY), "/_msearch?format=yaml", "format"),
        (lines({}, BODY), "/_msearch?filter_path=took", "filter-path"),
        (lines({}, BODY), "/_msearch?filter_path=responses.hits.hits._id", "filter-path"),
        (lines({}, BODY), "/_msearch?filter_path=hits", "filter-path"),
    ],
)
def test_left_alone_as_a_whole(body: bytes, target: str, reason: str) -> None:
    assert ES.parts(request(body, target)) == reason


def test_a_window_that_cannot_be_costs_its_own_search_only() -> None:
    one, other = parts(lines({}, {"query": {"match": {"a": "b"}}, "size": -1}, {}, BODY))
    assert ES.read_search(one.request) == "malformed"
    assert isinstance(ES.read_search(other.request), Search)


ANSWER = b'{"took":1,"responses":[{"hits":{"hits":[]},"status":200} , {"error":{"type":"x"},"status":404},{"a":[1]}]}'


def test_answers_are_found_with_their_status() -> None:
    spans = ES.part_spans(ANSWER)
    assert [ES.part_status(ANSWER[slice(*span)]) for span in spans] == [200, 404, None]
    assert ANSWER[slice(*spans[1])] == b'{"error":{"type":"x"},"status":404}'
    assert ES.part_status(b'{"status": "no"}') is None
    assert ES.part_status(b'{"a": "\\ud800", "status": 1e400}') is None


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{}", b'{"responses":[],"responses":[]}', b'{"responses":{}}', b'{"responses":[1', b"\xff"]
)
def test_answers_that_cannot_be_told_apart(body: bytes) -> None:
    with pytest.raises(Unreadable):
        ES.part_spans(body)


@given(st.binary())
def test_never_raises(body: bytes) -> None:
    found = ES.parts(request(body))
    assert isinstance(found, str | tuple)


searches = st.fixed_dictionaries({}, optional={"query": st.just({"match": {"t": "x"}}), "size": st.integers(0, 100)})
headers = st.sampled_from([{}, {"index": "a"}, {"index": ["a", "b"]}, b""])


@given(st.lists(st.tuples(headers, searches), min_size=1), st.integers(1, 60))
def test_only_what_is_widened_changes(asked: list[tuple[Any, Any]], depth: int) -> None:
    body = lines(*(line for pair in asked for line in pair))
    found = parts(body)
    assert b"".join(body[slice(*part.own)] for part in found) == body
    for part, (_, search) in zip(found, asked, strict=True):
        read = ES.read_search(part.request)
        if isinstance(read, Search):
            widened = ES.widen(part.request, read, depth)
            assert widened.request.target == part.request.target
            assert json.loads(widened.request.body) | {"size": 0} == {**search, "size": 0}
            assert json.loads(widened.request.body).get("size", 10) == max(depth, read.size)
