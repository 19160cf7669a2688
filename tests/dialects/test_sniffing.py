from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import opensearchpy
import pytest

import nbproxy
from nbproxy.dialects import sniffing

from ..upstreams import Client, Json

Start = Callable[..., nbproxy.Session]

TARGETS = [
    ("GET", "/_nodes/http", True),
    ("GET", "/_nodes/_all/http", True),
    ("GET", "/_nodes/http?timeout=1000ms", True),
    ("GET", "/_nodes/_all,-old*/http", True),
    ("GET", "/_nodes/data:true/http,settings", True),
    ("GET", "/_nodes/%5Fall/http", True),
    ("GET", "/_nodes/stats", False),
    ("GET", "/_nodes", False),
    ("GET", "/_nodes/_all/_all/http", False),
    ("GET", "/_nodes_http", False),
    ("GET", "/books/_nodes/http", False),
    ("POST", "/_nodes/http", False),
    ("GET", "/books/_doc/_nodes/http", False),
]


@pytest.mark.parametrize(("method", "target", "expected"), TARGETS)
def test_which_requests_sniff(method: str, target: str, expected: bool) -> None:
    assert sniffing.is_sniff(method, target) is expected


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ({"nodes": {"a": {"http": {"publish_address": "10.0.0.5:9200"}}, "b": {"roles": []}}}, ("10.0.0.5:9200",)),
        ({"nodes": {"a": {"http": {"publish_address": "es.lan/10.0.0.5:9200"}}}}, ("10.0.0.5:9200",)),
        ({"nodes": {"a": {"http": {"publish_address": "[::1]:9200"}}}}, ("[::1]:9200",)),
        ({"nodes": {"a": {"http": 5}, "b": 5}}, ()),
        ({"nodes": []}, ()),
        ({}, ()),
    ],
)
def test_published_addresses(answer: Any, expected: tuple[str, ...]) -> None:
    assert sniffing.published(json.dumps(answer).encode()) == expected
    assert sniffing.published(b"\xff{") == ()


def test_one_warning_a_session(start: Start, json_upstream: Json, caplog: pytest.LogCaptureFixture) -> None:
    """Nothing changes in the traffic; the panel shows what stands in ``session.errors``."""
    session = start(json_upstream.url)
    with Client(session.url) as client:
        for target in (b"/_nodes/http?timeout=1s", b"/_nodes/_all/http", b"/_nodes/http?timeout=1s"):
            assert client.ask(b"GET", target).json["tagline"]
    assert json_upstream.requests[0][1] == "/_nodes/http?timeout=1s"
    (note,) = session.errors
    assert (note.where, note.type) == ("sniffing", "Note")
    assert "sniff_on_start=False" in note.message
    assert len([record for record in caplog.records if "sniffs" in record.getMessage()]) == 1
    assert any("sniffing" in error for error in session.snapshot().errors)
    session.depth = 7
    start(json_upstream.url, drain=0.1)  # restarted on the same port: the same session
    with Client(session.url) as client:
        client.ask(b"GET", b"/_nodes/http")
    assert len(session.errors) == 1


@pytest.mark.engine
def test_a_client_that_sniffs(start: Start, engine: Any) -> None:
    session = start(engine.url)
    with opensearchpy.OpenSearch(session.url, sniff_on_start=True) as client:
        client.count(index="household")
    assert [note.where for note in session.errors] == ["sniffing"]
    assert list(session.frame.target) == ["/_nodes/_all/http"]  # the count went past the proxy
