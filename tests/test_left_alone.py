"""Every reason for which a search is left alone (contract §4), through real sockets: upstream sees the client's bytes,
the client upstream's, and the frame says why. Where several apply, the first one of the contract's list counts."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

import nbproxy
from nbproxy import Limits

from .upstreams import Client, Json, searched

Start = Callable[..., nbproxy.Session]
Bytes = bytes
RED = {"query": {"match": {"title": "red"}}}
DEPTH, MOST = 20, 4096


def turned(query: str, texts: list[str]) -> list[int]:
    return list(range(len(texts)))


class Left:
    """A request that is left alone: what makes it so, to be put together with others."""

    def __init__(self, reason: str, *, path: str = "", fields: tuple[Bytes, ...] = (), **body: Any) -> None:
        self.reason, self.path, self.fields, self.body = reason, path, fields, body


# In the contract's order. What comes later holds for what comes before as well, as far as both can be had at once.
ORDER = [
    Left("bypass", fields=(b"X-Nbproxy: off",)),
    Left("encoding", fields=(b"Content-Encoding: snappy",)),
    Left("format", path="format=yaml"),
    Left("filter-path", path="filter_path=took"),
    Left("too-large", padding="x" * MOST),
    Left("malformed", size=-1),
    Left("percolate", query={"bool": {"must": RED["query"], "filter": {"percolate": {"field": "q", "document": {}}}}}),
    Left("scroll", path="scroll=1m"),
    Left("search-after", search_after=[1]),
    Left("sorted", sort=["year"]),
    Left("collapse", collapse={"field": "author"}),
    Left("profile", profile=True),
    Left("explain", explain=True),
    Left("size-zero", size=0),
    Left("beyond-depth", **{"from": DEPTH}),
    Left("suggest-only", query=None, suggest={"s": {"text": "red"}}),
    Left("aggregations-only", query=None, aggs={"a": {"terms": {"field": "a"}}}),
    Left("match-all", query={"match_all": {}}),
    Left("no-query", query={"term": {"a": "b"}}),
]


def request(*lefts: Left) -> tuple[Bytes, Bytes, tuple[Bytes, ...]]:
    """One request that is all of these."""
    body: dict[str, Any] = dict(RED)
    for left in reversed(lefts):  # where both want the same member, the first one's counts
        body.update(left.body)
    path = "&".join(left.path for left in lefts if left.path)
    raw = json.dumps({k: v for k, v in body.items() if v is not None}, indent=1, ensure_ascii=False).encode()
    return f"/books/_search{'?' if path else ''}{path}".encode(), raw, tuple(f for one in lefts for f in one.fields)


@pytest.fixture
def session(start: Start, json_upstream: Json) -> nbproxy.Session:
    json_upstream.answer = lambda *_: searched(_[0], _[1], _[2], b"{}")
    return start(json_upstream.url, model=turned, depth=DEPTH, limits=Limits(search_bytes=MOST))


def check(session: nbproxy.Session, upstream: Json, reason: str, path: Bytes, raw: Bytes, *fields: Bytes) -> None:
    upstream.requests.clear()
    with Client(session.url) as client, Client(upstream.url) as direct:
        answer = client.ask(b"POST", path, raw, b"Content-Type: application/json", *fields)
        plain = direct.ask(b"POST", path, raw, b"Content-Type: application/json")
    assert answer.body == plain.body
    assert (upstream.requests[0][1], upstream.requests[0][3]) == (path.decode(), raw)
    assert "x-nbproxy" not in upstream.requests[0][2]
    row = session.frame.iloc[-1]
    assert (row.route, row.reason, row.reranked) == ("search", reason, False)
    assert raw.startswith(row.request_body)  # all of it, but for those that are too large


@pytest.mark.parametrize("left", ORDER, ids=lambda left: left.reason)
def test_each_reason(session: nbproxy.Session, json_upstream: Json, left: Left) -> None:
    path, raw, fields = request(left)
    check(session, json_upstream, left.reason, path, raw, *fields)


def conflict(one: Left, other: Left) -> bool:
    """Whether one request cannot be both: they need the same member, or a query beside none."""
    alone = {"suggest-only", "aggregations-only"}
    return bool(set(one.body) & set(other.body)) or (one.reason in alone and other.reason in alone)


@pytest.mark.parametrize("one", ORDER, ids=lambda left: left.reason)
def test_the_first_reason_counts(session: nbproxy.Session, json_upstream: Json, one: Left) -> None:
    later = [other for other in ORDER[ORDER.index(one) + 1 :] if not conflict(one, other)]
    for other in later:
        path, raw, fields = request(one, other)
        check(session, json_upstream, one.reason, path, raw, *fields)


def test_asynchronous_searches(session: nbproxy.Session, json_upstream: Json) -> None:
    check(session, json_upstream, "async", b"/books/_async_search?keep_alive=1m", json.dumps(RED).encode())
    check(session, json_upstream, "async", b"/_async_search", json.dumps({**RED, "sort": ["year"]}).encode())
    check(session, json_upstream, "scroll", b"/_search/scroll", b'{"scroll_id":"x"}')


def test_without_a_model(start: Start, json_upstream: Json) -> None:
    json_upstream.answer = lambda *_: searched(_[0], _[1], _[2], b"{}")
    session = start(json_upstream.url)
    for left in ORDER:
        path, raw, fields = request(left)
        check(session, json_upstream, "no-model", path, raw, *fields)


def test_the_opt_out_parameter(session: nbproxy.Session, json_upstream: Json) -> None:
    """Ours is not sent on, as upstream would refuse it; the rest of the target stays byte for byte."""
    raw = json.dumps(RED).encode()
    for target, sent in [
        (b"/books/_search?X-Nbproxy=off", "/books/_search"),
        (b"/books/_search?a=%2F&x-nbproxy=OFF&&b", "/books/_search?a=%2F&&b"),
        (b"/books/_msearch?X-NBPROXY=off&pretty", "/books/_msearch?pretty"),
    ]:
        with Client(session.url) as client:
            assert client.ask(b"POST", target, raw).status == 200
        assert (json_upstream.requests[-1][1], json_upstream.requests[-1][3]) == (sent, raw)
        row = session.frame.iloc[-1]
        assert (row.reason, row.target) == ("bypass", target.decode())


def test_another_value_is_not_sent_on_either(session: nbproxy.Session, json_upstream: Json) -> None:
    with Client(session.url) as client:
        client.ask(b"POST", b"/books/_search?X-Nbproxy=on&size=3", json.dumps(RED).encode())
        client.ask(b"GET", b"/_cat/indices?v&X-Nbproxy=off")
    assert [request[1] for request in json_upstream.requests] == ["/books/_search?size=20", "/_cat/indices?v"]
    assert session.frame.reranked.iloc[0]
