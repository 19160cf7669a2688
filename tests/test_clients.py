"""Official clients, directly and through the proxy: what they understand is equal but for the order of hits.

Each client makes every call of ``client_calls`` before the engine, before a proxy whose model keeps the order
(everything must be equal), and before one whose model turns the first ten hits around.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

import nbproxy

from . import opensearch_calls
from .client_calls import ELASTICSEARCH, OPENSEARCH, PAGES, SEARCHES, Call, comparable, search, without_page
from .elasticsearch_shaped import ElasticsearchShaped
from .upstreams import Json

Start = Callable[..., nbproxy.Session]
Understood = list[list[Any]]
ROOT = Path(__file__).resolve().parents[1]
ELASTICSEARCH8 = ROOT / ".venv/clients/elasticsearch8"
JAVASCRIPT = ROOT / "tests/javascript"
ELASTIC_JS, OPENSEARCH_JS = "@elastic/elasticsearch", "@opensearch-project/opensearch"
DEPTH = 10

pytestmark = pytest.mark.engine


def backwards(query: str, texts: list[str]) -> list[int]:
    return list(range(len(texts)))


@pytest.fixture
def proxies(start: Start) -> Callable[[str], tuple[nbproxy.Session, nbproxy.Session]]:
    """Two in front of an address: one that keeps the order, one that turns the first ten hits around."""

    def go(url: str) -> tuple[nbproxy.Session, nbproxy.Session]:
        kept = start(url, name=f"{url} kept", model="original")
        return kept, start(url, name=f"{url} turned", model=backwards, depth=DEPTH)

    return go


@pytest.fixture
def shaped(json_upstream: Json, engine: Any) -> str:
    """The engine in Elasticsearch's shape."""
    json_upstream.answer = ElasticsearchShaped(engine.url)
    return json_upstream.url


def python(module: str, urls: Sequence[str], calls: list[Call]) -> Understood:
    """What Elasticsearch's client of that version understands: blocking, then not."""
    path = str(ELASTICSEARCH8) if module == "elasticsearch8" else ""
    if path and not ELASTICSEARCH8.is_dir():
        pytest.fail(f"elasticsearch 8 is not at {ELASTICSEARCH8}; run: make setup")
    program = [sys.executable, str(ROOT / "tests/elasticsearch_calls.py"), module, *urls]
    return _run(program, calls, {**os.environ, "PYTHONPATH": path})


def node(library: str, coding: str, urls: Sequence[str], calls: list[Call]) -> Understood:
    """What a JavaScript client understands; ``coding``: plain or gzip."""
    program = shutil.which("node")
    if program is None:
        pytest.fail("node is not installed: the JavaScript clients' tests need node 20 or newer, and npm")
    if not (JAVASCRIPT / "node_modules" / library).is_dir():
        pytest.fail(f"{library} is not in {JAVASCRIPT}/node_modules; run: make setup")
    return _run([program, str(JAVASCRIPT / "calls.mjs"), library, coding, *urls], calls, dict(os.environ))


def _run(program: list[str], calls: list[Call], environment: dict[str, str]) -> Understood:
    run = subprocess.run(program, input=json.dumps(calls), capture_output=True, text=True, env=environment, timeout=120)
    assert run.returncode == 0, run.stderr
    found: Understood = json.loads(run.stdout)
    return found


def check(calls: list[Call], direct: list[Any], kept: list[Any], turned: list[Any]) -> None:
    """Equal: in every way where the order was kept, but for the order where it was turned, but for the page where
    that was cut after the turn."""
    for call, plain, same, other in zip(calls, direct, kept, turned, strict=True):
        said = f"{call}\n"
        assert hits(same) == hits(plain), said
        if call in PAGES:
            same, other, plain = without_page(same), without_page(other), without_page(plain)
        assert comparable(same) == comparable(plain), said
        assert comparable(other, ordered=False) == comparable(plain, ordered=False), said


def hits(answer: Any) -> Any:
    found = answer.get("hits") if isinstance(answer, dict) else None
    return found.get("hits") if isinstance(found, dict) else None


def check_recorded(kept: nbproxy.Session, turned: nbproxy.Session, rounds: int) -> None:
    """The searches were reranked, not passed by: equal answers would show nothing otherwise."""
    for session in (kept, turned):
        frame = session.frame
        assert frame.reranked.sum() >= rounds * (len(SEARCHES) - 2)
        assert {"sorted", "search-after", "size-zero", "match-all", "collapse", "explain"} <= set(frame.reason.dropna())
        assert not [note for note in session.errors if note.where != "model"]
    assert kept.frame["query"].equals(turned.frame["query"])


@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize("client", [opensearch_calls.understood, opensearch_calls.async_understood])
def test_opensearch_py(proxies: Any, engine: Any, client: Callable[..., list[Any]], compress: bool) -> None:
    kept, turned = proxies(engine.url)
    answers = [client(url, OPENSEARCH, http_compress=compress) for url in (engine.url, kept.url, turned.url)]
    check(OPENSEARCH, *answers)
    check_recorded(kept, turned, 1)
    assert answers[2][0]["hits"]["hits"] == answers[0][0]["hits"]["hits"][::-1]


@pytest.mark.parametrize("page", [{}, {"size": 4}, {"from": 3, "size": 5}, {"_source": ["title"]}, {"_source": False}])
def test_the_page_is_cut_from_the_new_order(start: Start, engine: Any, page: dict[str, Any]) -> None:
    session = start(engine.url, model=backwards, depth=20)
    one = search(**page)
    window = search(**{**page, "from": 0, "size": 20})
    (whole,), (through,) = (opensearch_calls.understood(*ask) for ask in ((engine.url, [window]), (session.url, [one])))
    begin, size = page.get("from", 0), page.get("size", 10)
    assert hits(through) == hits(whole)[::-1][begin : begin + size]


@pytest.mark.parametrize("module", ["elasticsearch", "elasticsearch8"])
def test_elasticsearch_py(proxies: Any, shaped: str, json_upstream: Json, module: str) -> None:
    """Blocking, and not with packed bodies, each with the vendor's media type."""
    kept, turned = proxies(shaped)
    urls = (shaped, kept.url, turned.url)
    answers = python(module, urls, ELASTICSEARCH)
    check(ELASTICSEARCH, *answers[:3])
    check(ELASTICSEARCH, *answers[3:])
    check_recorded(kept, turned, 2)
    assert all("compatible-with" in request[2].get("accept", "") for request in json_upstream.requests)


@pytest.mark.parametrize("coding", ["plain", "gzip"])
def test_opensearch_js(proxies: Any, engine: Any, coding: str) -> None:
    kept, turned = proxies(engine.url)
    check(OPENSEARCH, *node(OPENSEARCH_JS, coding, (engine.url, kept.url, turned.url), OPENSEARCH))
    check_recorded(kept, turned, 1)


@pytest.mark.parametrize("coding", ["plain", "gzip"])
def test_elasticsearch_js(proxies: Any, shaped: str, coding: str) -> None:
    kept, turned = proxies(shaped)
    check(ELASTICSEARCH, *node(ELASTIC_JS, coding, (shaped, kept.url, turned.url), ELASTICSEARCH))
    check_recorded(kept, turned, 1)


def test_elasticsearch_js_before_the_engine(proxies: Any, engine: Any) -> None:
    """The engine refuses Elasticsearch's own media type, and what it answers lacks the product header: the client
    refuses it in turn, directly and through the proxy alike."""
    kept, turned = proxies(engine.url)
    direct, *through = node(ELASTIC_JS, "plain", (engine.url, kept.url, turned.url), ELASTICSEARCH)
    check(ELASTICSEARCH, direct, *through)
    assert direct[0]["status"] == 406
