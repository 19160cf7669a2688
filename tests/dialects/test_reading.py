"""A user's own way to read searches: the query's text, and whether ``explain`` is left alone."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from typing import Any

import pandas as pd
import pytest

import nbproxy
from nbproxy.dialects.reading import Reading
from nbproxy.errors import ConfigError, RerankFault

from ..upstreams import Client, Json

Start = Callable[..., nbproxy.Session]
TERM = {"query": {"term": {"sku": "x"}}, "my": {"words": "red shoes"}}


def turned(query: str, texts: list[str]) -> list[int]:
    return list(range(len(texts)))


def words(request: nbproxy.Request) -> str | None:
    """The application's own place for the text."""
    found: Any = json.loads(request.body).get("my", {}).get("words")
    return found  # type: ignore[no-any-return]


def ask(session: nbproxy.Session, body: Any, path: bytes = b"/books/_search") -> list[str]:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    with Client(session.url) as client:
        return [hit["_id"] for hit in client.ask(b"POST", path, raw).json["hits"]["hits"]]


def last(session: nbproxy.Session) -> pd.Series:
    return session.frame.iloc[-1]


def test_ones_own_text(start: Start, json_upstream: Json) -> None:
    session = start(json_upstream.url, model=turned, depth=20, dialect=nbproxy.Elasticsearch(words))
    assert ask(session, TERM)[0] == "19"
    assert (last(session)["query"], last(session).reranked) == ("red shoes", True)
    ask(session, {"query": {"match": {"title": "as usual"}}})
    assert last(session)["query"] == "as usual"
    ask(session, {**TERM, "sort": ["year"]})
    assert last(session).reason == "sorted"
    ask(session, {**TERM, "query": {"match_all": {}}, "ext": {"ubi": {"user_query": "less"}}})
    assert last(session)["query"] == "red shoes"


def test_it_is_asked_beside_the_event_loop(start: Start, json_upstream: Json) -> None:
    threads = set()

    def query(request: nbproxy.Request) -> str:
        threads.add(threading.current_thread().name)
        return str(request.params.get("say", "said"))

    session = start(json_upstream.url, name="own", model=turned, dialect=nbproxy.Elasticsearch(query))
    with Client(session.url) as client:
        client.ask(b"GET", b"/books/_search?say=this")
    assert last(session)["query"] == "this"
    session.model = None
    with Client(session.url) as client:
        client.ask(b"GET", b"/books/_search?say=that")
    assert (last(session)["query"], last(session).reason) == ("that", "no-model")
    assert threads
    assert "nbproxy-own" not in threads


@pytest.mark.parametrize(("model", "reason"), [(turned, "no-query"), (None, "no-model")])
@pytest.mark.parametrize("error", [ZeroDivisionError("mine"), SystemExit("mine")])
def test_one_that_raises_leaves_the_search_alone(
    start: Start, json_upstream: Json, model: Any, reason: str, error: BaseException
) -> None:
    def query(request: nbproxy.Request) -> str:
        raise error

    session = start(json_upstream.url, model=model, dialect=nbproxy.Elasticsearch(query))
    assert ask(session, TERM)[0] == "0"
    assert json_upstream.requests[-1][3] == json.dumps(TERM).encode()
    assert (last(session).reason, last(session).reranked) == (reason, False)
    assert [note.where for note in session.errors] == ["query" if model else "complete"]
    assert "mine" in session.errors[0].message


def test_one_that_gives_something_else(start: Start, json_upstream: Json) -> None:
    dialect = nbproxy.Elasticsearch(lambda request: 5)  # type: ignore[arg-type, return-value]
    session = start(json_upstream.url, model=turned, dialect=dialect)
    ask(session, TERM)
    assert last(session).reason == "no-query"
    assert "gave int" in session.errors[0].message


def test_each_search_of_several_has_its_own(start: Start, json_upstream: Json) -> None:
    """Where it fails for one of them, the others are reranked all the same."""

    def query(request: nbproxy.Request) -> str:
        return str(json.loads(request.body)["my"]["words"])

    found = {"hits": {"hits": [{"_index": "b", "_id": str(n), "_source": {"t": "x"}} for n in range(3)]}}
    json_upstream.answer = lambda *_: (200, {"responses": [found, found]})
    session = start(json_upstream.url, model=turned, depth=3, dialect=nbproxy.Elasticsearch(query))
    lines = [{}, {**TERM, "size": 3}, {}, {"query": {"term": {"a": "b"}}}]
    with Client(session.url) as client:
        raw = b"".join(json.dumps(line).encode() + b"\n" for line in lines)
        answer = client.ask(b"POST", b"/_msearch", raw).json["responses"]
    assert [[hit["_id"] for hit in one["hits"]["hits"]] for one in answer] == [["2", "1", "0"], ["0", "1", "2"]]
    rows = session.frame[session.frame.part.notna()]
    assert list(rows.reason.fillna("")) == ["", "no-query"]
    assert [note.where for note in session.errors] == ["query"]


def test_explain_is_left_alone_unless_told_otherwise(start: Start, json_upstream: Json) -> None:
    body = {"query": {"match": {"title": "red"}}, "explain": True}
    assert ask(start(json_upstream.url, name="usual", model=turned, depth=20), body)[0] == "0"
    session = start(json_upstream.url, model=turned, depth=20, dialect=nbproxy.Elasticsearch(explain=True))
    assert ask(session, body)[0] == "19"
    assert json.loads(json_upstream.requests[-1][3])["explain"] is True


def test_readings() -> None:
    request = nbproxy.Request("GET", "/_search")
    assert Reading().text(request) is None
    assert Reading(lambda _: " \n").text(request) is None
    assert Reading(lambda _: " a\ud800 ").text(request) == "a\ufffd"
    with pytest.raises(RerankFault, match="failed on /_search"):
        Reading(lambda _: str(1 / 0)).text(request)
    with pytest.raises(ConfigError, match="query must be callable"):
        nbproxy.Elasticsearch("title")  # type: ignore[arg-type]
