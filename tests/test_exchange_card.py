"""``session.exchange(id)``: one exchange to be looked at, whatever was in it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

import nbproxy

from .upstreams import Client, Json, Scripted

Start = Callable[..., nbproxy.Session]
EVIL = b'{"query":{"match":{"title":"<script>alert(1)</script>\\u001b[31m"}}}'
JSON = b"Content-Type: application/json"


def searched(start: Start, url: str, body: bytes = EVIL) -> nbproxy.Session:
    session = start(url, model="bm25", deadline=None)
    with Client(session.url) as client:
        assert client.ask(b"POST", b"/books/_search", body, JSON).status == 200
    return session


def test_it_says_what_happened(start: Start, json_upstream: Json) -> None:
    session = searched(start, json_upstream.url, b'{"query":{"match":{"title":"red"}}}')
    one = session.exchange()
    assert one["exchange_id"] == session.frame["exchange_id"].iloc[-1]
    assert one.request == {"query": {"match": {"title": "red"}}}
    assert one.response == session.json(one["exchange_id"])
    text = repr(one)
    assert text.startswith("POST /books/_search → 200\n")
    assert "outcome   reranked by bm25, the first 50 hits" in text
    assert '"title": "red"' in text
    assert repr(session.exchange(one["exchange_id"])) == text


def test_what_was_recorded_can_do_no_harm(start: Start, json_upstream: Json) -> None:
    one = searched(start, json_upstream.url).exchange()
    assert "<script" not in one._repr_html_()
    assert "&lt;script&gt;" in one._repr_html_()
    assert "\x1b" not in one._repr_html_() + repr(one)


def test_a_body_that_is_no_json_and_one_that_is_large(start: Start, upstream: Scripted) -> None:
    large = b"[" + b'"\x1b<b>",' * 300_000 + b"1]"
    bodies = (b"\x00\xff<b>not json", large)
    upstream.answers(*(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body for body in bodies))
    session = start(upstream.url)
    with Client(session.url) as client:
        client.ask(b"GET", b"/a")
        client.ask(b"GET", b"/b")
    first, second = (session.exchange(one) for one in session.frame["exchange_id"])
    assert "\\x00\\xff<b>not json" in repr(first)
    assert "<b>" not in first._repr_html_()
    assert f"{len(large):,} bytes in all" in repr(second)
    for shown in (repr(second), second._repr_html_()):
        assert len(shown) < 10_000
        assert "\x1b" not in shown


def test_an_unknown_exchange(start: Start, json_upstream: Json) -> None:
    with pytest.raises(KeyError, match="among the 0 recorded"):
        start(json_upstream.url).exchange()
