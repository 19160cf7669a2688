"""Official clients, directly and through the proxy: what they understand is equal but for the order of hits."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import opensearchpy
import pytest

import nbproxy

from .upstreams import Json, searched

Start = Callable[..., nbproxy.Session]
ROOT = Path(__file__).resolve().parents[1]
ELASTICSEARCH8 = ROOT / ".venv/clients/elasticsearch8"
QUERY = {"query": {"multi_match": {"query": "dripping tap", "fields": ["title", "text"]}}}
DEPTH = 20


def backwards(query: str, texts: list[str]) -> list[int]:
    return list(range(len(texts)))


def without_hits(answer: dict[str, Any]) -> dict[str, Any]:
    out = json.loads(json.dumps(answer))
    out.pop("took", None)
    out["hits"]["hits"] = len(out["hits"]["hits"])
    out["hits"].pop("max_score")  # the engine gives the page's, not the search's
    return out


@pytest.mark.engine
@pytest.mark.parametrize("page", [{}, {"size": 4}, {"from": 3, "size": 5}, {"_source": ["title"]}, {"_source": False}])
def test_opensearch_py(start: Start, engine: Any, page: dict[str, Any]) -> None:
    session = start(engine.url, model=backwards, depth=DEPTH)
    body = {**QUERY, **page}
    with opensearchpy.OpenSearch(engine.url) as direct, opensearchpy.OpenSearch(session.url) as proxied:
        plain, through = direct.search(index="household", body=body), proxied.search(index="household", body=body)
        window = direct.search(index="household", body={**body, "from": 0, "size": DEPTH})["hits"]["hits"]
        assert without_hits(through) == without_hits(plain)
        begin, size = page.get("from", 0), page.get("size", 10)
        assert through["hits"]["hits"] == window[::-1][begin : begin + size]


@pytest.mark.engine
def test_opensearch_py_async(start: Start, engine: Any) -> None:
    session = start(engine.url, model=backwards, depth=DEPTH)

    async def ask(url: str) -> list[Any]:
        async with opensearchpy.AsyncOpenSearch(url) as client:
            bodies = [{**QUERY, "size": n} for n in range(1, 12)]
            return await asyncio.gather(*(client.search(index="household", body=body) for body in bodies))

    for n, (plain, through) in enumerate(
        zip(asyncio.run(ask(engine.url)), asyncio.run(ask(session.url)), strict=True), 1
    ):
        assert without_hits(through) == without_hits(plain)
        assert len(through["hits"]["hits"]) == min(n, through["hits"]["total"]["value"])
    assert session.frame.reranked.sum() == 11


@pytest.mark.engine
def test_everything_else_passes(start: Start, engine: Any) -> None:
    session = start(engine.url, model=backwards)
    with opensearchpy.OpenSearch(session.url) as client:
        client.indices.create(index="notes")
        rows = [json.dumps(row) for n in range(30) for row in ({"index": {"_id": str(n)}}, {"title": f"note {n}"})]
        assert not client.bulk(index="notes", body="\n".join(rows) + "\n", refresh=True)["errors"]
        assert client.count(index="notes")["count"] == 30
        assert client.get(index="notes", id="7")["_source"] == {"title": "note 7"}
        assert client.exists(index="notes", id="7")
        assert not client.exists(index="notes", id="70")
        with pytest.raises(opensearchpy.NotFoundError):
            client.get(index="notes", id="70")
        scrolled = client.search(index="notes", body={"query": {"match": {"title": "note"}}}, scroll="1m")
        assert client.scroll(scroll_id=scrolled["_scroll_id"])["hits"]["hits"]
        client.indices.delete(index="notes")
    frame = session.frame
    assert list(frame[frame.route == "search"].reason) == ["scroll", "scroll"]


def calls(module: str, url: str, media: str) -> list[Any]:
    """What Elasticsearch's client of that version understands."""
    path = str(ELASTICSEARCH8) if module == "elasticsearch8" else ""
    if path and not ELASTICSEARCH8.is_dir():
        pytest.fail(f"elasticsearch 8 is not at {ELASTICSEARCH8}; run: make setup")
    environment = {**os.environ, "PYTHONPATH": path}
    program = [sys.executable, str(ROOT / "tests/elasticsearch_calls.py"), module, url, media]
    run = subprocess.run(program, capture_output=True, text=True, env=environment, timeout=60)
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)  # type: ignore[no-any-return]


@pytest.mark.engine
@pytest.mark.parametrize("module", ["elasticsearch", "elasticsearch8"])
def test_elasticsearch_before_the_engine(start: Start, engine: Any, module: str) -> None:
    """The engine refuses Elasticsearch's own media type (406) and lacks its product header: the client sees both."""
    session = start(engine.url, model=backwards, depth=DEPTH)
    with opensearchpy.OpenSearch(engine.url) as direct:
        product = direct.transport.perform_request("GET", "/")
    assert product["version"]["number"]
    run = subprocess.run(
        [sys.executable, str(ROOT / "tests/elasticsearch_calls.py"), module, session.url, "json"],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ELASTICSEARCH8) if module == "elasticsearch8" else ""},
        timeout=60,
    )
    frame = session.frame
    # As far as it goes: the search was recognised, widened, reranked and answered; the client then refuses a server
    # that does not call itself Elasticsearch, as it does without the proxy.
    assert frame[frame.route == "search"].reranked.iloc[0]
    assert "UnsupportedProductError" in run.stderr or run.returncode == 0


@pytest.mark.parametrize("module", ["elasticsearch", "elasticsearch8"])
def test_elasticsearch_with_its_own_media_type(start: Start, json_upstream: Json, module: str) -> None:
    def answer(method: str, path: str, headers: dict[str, str], body: bytes) -> tuple[int, Any]:
        if "_search" in path or path == "/":
            return searched(method, path, headers, body)
        return 200, {"_index": "household", "_id": "d001", "found": True, "count": 60, "_source": {"title": "a"}}

    json_upstream.answer = answer
    session = start(json_upstream.url, model=backwards, depth=DEPTH)
    plain, through = calls(module, json_upstream.url, "vendor"), calls(module, session.url, "vendor")
    assert [hit["_id"] for hit in through[0]["hits"]["hits"]] == ["19", "18", "17", "16", "15"]
    assert [hit["_id"] for hit in through[1]["hits"]["hits"]] == ["17", "16", "15"]
    assert [without_hits(a) if "hits" in a else a for a in through if isinstance(a, dict)] == [
        without_hits(a) if "hits" in a else a for a in plain if isinstance(a, dict)
    ]
    assert through[3:] == plain[3:]
    accepted = {request[2].get("accept") for request in json_upstream.requests}
    assert all("compatible-with" in (kind or "") for kind in accepted)
