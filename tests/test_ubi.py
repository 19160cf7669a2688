"""UBI events: which requests may tell of clicks, and which clicks they tell of."""

from __future__ import annotations

import gzip
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nbproxy.exchange import Exchange
from nbproxy.ubi import UbiClicks, index_of

from .recordings import T0, exchange


def event(**fields: Any) -> dict[str, Any]:
    known = {"action_name": "click", "query_id": "u1", "event_attributes": {"object": {"object_id": "d1"}}}
    return {**known, **fields}


def sent(target: str, body: bytes, **fields: Any) -> Exchange:
    """What the recorder makes of a request to index events."""
    fields = {"method": "POST", "target": target, "request_body": body, "status": 200} | fields
    index = index_of("POST", target)
    assert index is not None
    return UbiClicks(index, 65_536)(exchange(1, **fields))


def lines(*values: Any) -> bytes:
    return b"".join(json.dumps(value).encode() + b"\n" for value in values)


@pytest.mark.parametrize(
    ("method", "target", "index"),
    [
        ("POST", "/ubi_events/_doc", "ubi_events"),
        ("POST", "/ubi_events/_doc?refresh=true", "ubi_events"),
        ("PUT", "/ubi_events/_doc/7", "ubi_events"),
        ("POST", "/ubi_events-2026/_create/7", "ubi_events-2026"),
        ("POST", "/ubi%5Fevents/_doc", "ubi_events"),
        ("POST", "/_bulk", ""),
        ("PUT", "/_bulk", ""),
        ("POST", "/ubi_events/_bulk", "ubi_events"),
        ("POST", "/books/_bulk", "books"),
        ("PUT", "/ubi_events/_doc", None),
        ("GET", "/ubi_events/_doc/7", None),
        ("DELETE", "/ubi_events/_doc/7", None),
        ("POST", "/books/_doc", None),
        ("POST", "/ubi_events/_search", None),
        ("GET", "/_bulk", None),
        ("POST", "/", None),
        ("OPTIONS", "*", None),
    ],
)
def test_which_requests_may_tell_of_clicks(method: str, target: str, index: str | None) -> None:
    assert index_of(method, target) == index


def test_one_event() -> None:
    body = json.dumps(event(timestamp="2023-11-14T22:13:10Z")).encode()
    (click,) = sent("/ubi_events/_doc", body).clicks
    assert (click.source, click.ubi_query_id, click.query_id, click.doc_id) == ("ubi", "u1", None, "d1")
    assert click.time == 1_700_000_000_000_000 - 10_000_000
    assert click.exchange_id == exchange(1).exchange_id


def test_a_time_that_is_no_time_or_in_the_future_is_when_it_came() -> None:
    for timestamp in (None, "soon", "2999-01-01T00:00:00Z"):
        (click,) = sent("/ubi_events/_doc", json.dumps(event(timestamp=timestamp)).encode(), total_ms=3.0).clicks
        assert click.time == T0 + 1 + 3000


def test_many_events_by_bulk() -> None:
    body = lines(
        {"index": {"_index": "ubi_events"}}, event(),
        {"create": {"_index": "ubi_events"}}, event(query_id="u2"),
        {"index": {"_index": "books"}}, event(query_id="not an event"),
        {"delete": {"_index": "ubi_events", "_id": "1"}},
        {"update": {"_index": "ubi_events", "_id": "1"}}, {"doc": event(query_id="updated")},
        {"index": {"_index": "ubi_events"}}, event(action_name="impression"),
        {"index": {}}, event(query_id="u3"),
    )  # fmt: skip
    assert [click.ubi_query_id for click in sent("/_bulk", body).clicks] == ["u1", "u2"]
    assert [click.ubi_query_id for click in sent("/ubi_events/_bulk", body).clicks] == ["u1", "u2", "u3"]
    packed = sent("/_bulk", gzip.compress(body), request_head=b"Content-Encoding: gzip\r\n")
    assert len(packed.clicks) == 2


@pytest.mark.parametrize(
    ("fields", "names"),
    [
        ({"event_attributes": {"object": {"object_id": 7}}}, ("7", None)),
        ({"event_attributes": {"object": {"object_id": "isbn", "internal_id": "d9"}}}, ("isbn", "d9")),
        ({"event_attributes": {"object": {"internal_id": "d9"}}}, ("d9", "d9")),
        ({"event_attributes": {}, "object_id": "d2"}, ("d2", None)),
        ({"event_attributes": {"object": {}}}, None),
        ({"event_attributes": [1]}, None),
        ({"query_id": None}, None),
        ({"query_id": ""}, None),
        ({"action_name": "add_to_cart"}, None),
        ({"action_name": None}, None),
    ],
)
def test_which_document_was_clicked(fields: dict[str, Any], names: tuple[str, str | None] | None) -> None:
    clicks = sent("/ubi_events/_doc", json.dumps(event(**fields)).encode()).clicks
    assert [(click.doc_id, click.internal_id) for click in clicks] == ([names] if names else [])


@pytest.mark.parametrize("status", [None, 400, 404, 503])
def test_what_upstream_did_not_take_is_no_click(status: int | None) -> None:
    assert sent("/ubi_events/_doc", json.dumps(event()).encode(), status=status).clicks == ()


def test_of_a_large_request_what_is_recorded_stays_the_first_64_kib() -> None:
    body = lines({"index": {"_index": "ubi_events"}}, event(message="x" * 70_000), {"index": {}}, event())
    done = sent("/ubi_events/_bulk", body)
    assert len(done.clicks) == 2
    assert done.request_body == body[:65_536]
    assert done.request_truncated


@settings(deadline=None)
@given(st.binary(max_size=200), st.sampled_from(["/ubi_events/_doc", "/_bulk"]), st.sampled_from([b"", b"gzip", b"no"]))
def test_nothing_raises(body: bytes, target: str, coding: bytes) -> None:
    head = b"Content-Encoding: %b\r\n" % coding if coding else b""
    sent(target, body + b'"click"', request_head=head)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["_index", "object"]), inner, max_size=2)
    ),
)


@settings(deadline=None)
@given(JSON, JSON, JSON)
def test_no_json_raises(attributes: Any, query_id: Any, action: Any) -> None:
    told = event(event_attributes=attributes, query_id=query_id)
    sent("/ubi_events/_doc", json.dumps(told).encode())
    sent("/_bulk", lines(action, told))
    sent("/_bulk", lines({"index": action}, told))
