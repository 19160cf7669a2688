"""One exchange: bodies as they are read, a command that a shell takes."""

from __future__ import annotations

import gzip
import json
import shlex
import subprocess
from typing import Any

import pytest

from nbproxy.panel import detail

HOSTILE = "'; touch /tmp/owned; echo '\"`$(id)\\\n</pre><script>"


def row(**more: Any) -> dict[str, Any]:
    known: dict[str, Any] = {
        "exchange_id": "e1", "method": "POST", "target": "/b/_search?q=a b", "status": 200, "route": "search",
        "dialect": "elasticsearch", "model": "m", "reason": None, "error": None,
        "request_headers": "Host: x\nX-A: it's",
        "request_body": b'{"q":1}', "response_headers": "Content-Type: application/json", "response_body": b'{"a":[1]}',
        "upstream_request_body": None, "upstream_response_body": None, "request_truncated": False,
        "response_truncated": True, "total_ms": 10.0, "upstream_ms": 6.0, "rerank_ms": 3.0,
    }  # fmt: skip
    return known | more


def test_what_it_shows() -> None:
    shown = detail.exchange(row(), "http://127.0.0.1:1")
    for text in (
        "upstream 6.0 ms",
        "reranking 3.0 ms",
        "proxy and client 1.0 ms",
        "&quot;a&quot;: [\n    1",
        "its beginning",
    ):
        assert text in shown
    assert "what upstream" not in shown
    assert "what upstream was asked" in detail.exchange(row(upstream_request_body=b"{}"), "u")
    assert "select a row" in detail.exchange(None, "u")
    assert "cannot reach" in detail.exchange(row(error="cannot reach", status=None, total_ms=None), "u")


@pytest.mark.parametrize(
    ("body", "head", "shown"),
    [
        (b'{"b": "\xc3\xa4"}', None, '{\n  "b": "ä"\n}'),
        (gzip.compress(b"[1]"), "content-encoding: gzip", "[\n  1\n]"),
        (gzip.compress(b"[1]"), None, "[\n  1\n]"),
        (b'{"index":{}}\n{"q": 1}\n', None, '{"index": {}}\n{"q": 1}'),
        (b"no json <b>", None, "no json <b>"),
        (b"\xff\x00", "Content-Encoding: gzip", "(2 bytes that cannot be decoded)"),
        (gzip.compress(bytes(8 * 2**20)), None, None),
        (b"[" * 100_000, None, "[" * 100_000),
    ],
)
def test_bodies_are_made_readable(body: bytes, head: str | None, shown: str | None) -> None:
    assert detail.pretty(body, head) == (shown or f"({len(body):,} bytes that cannot be decoded)")


def test_nothing_of_it_becomes_html_or_moves_a_cursor() -> None:
    evil = "</pre><script>x</script>\x1b[2J\u202e\x00"
    shown = detail.exchange(row(target=evil, error=evil, request_headers=f"A: {evil}", response_body=evil.encode(),
                                request_body=evil.encode(), model=evil, method=evil), evil)  # fmt: skip
    assert "<script" not in shown
    assert not {"\x1b", "\u202e", "\x00"} & set(shown)


def test_a_long_body_is_cut() -> None:
    assert "… 980,000 characters more" in detail.harmless("x" * 1_000_000)


@pytest.mark.parametrize("body", [b'{"q": "it\'s"}', HOSTILE.encode(), b"@file", b""])
def test_the_command_is_what_was_sent(body: bytes) -> None:
    command = detail.as_curl(
        row(request_body=body, request_headers=f"Host: x\nX-A: {HOSTILE.splitlines()[0]}"), "http://u"
    )
    said = subprocess.run(
        ["sh", "-c", command.replace("curl", "printf '%s\\0'", 1)], capture_output=True, text=True, check=True
    ).stdout.split("\0")[:-1]
    assert said == shlex.split(command)[1:]
    assert said[:4] == ["-sS", "-X", "POST", "-H"]
    assert said[-1] == "http://u/b/_search?q=a b"
    assert ("--data-raw" in said) == bool(body)
    if body:
        assert said[said.index("--data-raw") + 1].encode() == body


def test_a_body_that_is_no_text_comes_from_a_file() -> None:
    assert "--data-binary @body.bin" in detail.as_curl(row(request_body=b"\x1f\x8b\x00"), "http://u")
    assert json.loads(detail.pretty(b"{}")) == {}
