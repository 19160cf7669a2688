"""A request's head as it goes upstream."""

from __future__ import annotations

from collections.abc import Callable

import pytest

import nbproxy
from nbproxy.heads import RequestHead
from nbproxy.outbound import opted_out, without_ours

from .upstreams import Client, Json

TARGETS = [
    ("/_search", "/_search", False),
    ("/_search?X-Nbproxy=off", "/_search", True),
    ("/_search?x-nbproxy=OFF&size=3", "/_search?size=3", True),
    ("/_search?a=%2F&X-NBPROXY=off&&b&c=", "/_search?a=%2F&&b&c=", True),
    ("/_search?a=1&X-Nbproxy=on", "/_search?a=1", False),
    ("/_search?a=1&X-Nbproxy", "/_search?a=1", False),
    ("/_search?X-Nbproxy-Model=off", "/_search?X-Nbproxy-Model=off", False),
    ("/_search?q=X-Nbproxy=off", "/_search?q=X-Nbproxy=off", False),
    ("/_search?q=x-nbproxy", "/_search?q=x-nbproxy", False),
    ("/X-Nbproxy=off/_search", "/X-Nbproxy=off/_search", False),
    ("/a&X-Nbproxy=off/_search?b", "/a&X-Nbproxy=off/_search?b", False),
]


@pytest.mark.parametrize(("target", "upstream", "out"), TARGETS)
def test_the_opt_out_parameter(target: str, upstream: str, out: bool) -> None:
    head = RequestHead(b"GET", target.encode(), 1, b"Host: x\r\n")
    assert (without_ours(head.target), opted_out(head)) == (upstream, out)


@pytest.mark.parametrize(("value", "out"), [(b"off", True), (b"OFF", True), (b"on", False), (b"", False)])
def test_the_opt_out_field(value: bytes, out: bool) -> None:
    assert opted_out(RequestHead(b"GET", b"/_search", 1, b"Host: x\r\nX-Nbproxy: %b\r\n" % value)) is out


def test_what_is_signed_is_what_is_sent(start: Callable[..., nbproxy.Session], json_upstream: Json) -> None:
    signed: list[str] = []

    def sign(request: nbproxy.Request) -> dict[str, str]:
        signed.append(request.target)
        return {"X-Signed": "yes"}

    session = start(json_upstream.url, auth=sign)
    with Client(session.url) as client:
        client.ask(b"GET", b"/books/_search?a=b&X-Nbproxy=off")
        client.ask(b"GET", b"/_cat/indices?X-Nbproxy=off&v")
    assert signed == [request[1] for request in json_upstream.requests] == ["/books/_search?a=b", "/_cat/indices?v"]
