"""Shadows score after the answer, never in its way, and are spared what they cannot keep up with."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable

import pandas as pd
import pytest

import nbproxy
from nbproxy import shadows

from .upstreams import TIMEOUT, Client, Json

Start = Callable[..., nbproxy.Session]
BODY = json.dumps({"query": {"match": {"title": "red shoes"}}}).encode()
SEARCHES = 100


def backwards(query: str, texts: list[str]) -> list[int]:
    return list(range(len(texts)))


def evenly(query: str, texts: list[str]) -> list[int]:
    return [0] * len(texts)


class Gate:
    __name__ = "gate"

    def __init__(self) -> None:
        self.go = threading.Event()

    def __call__(self, query: str, texts: list[str]) -> list[int]:
        self.go.wait(TIMEOUT * 3)
        return evenly(query, texts)


def search(client: Client) -> str:
    return str(client.ask(b"POST", b"/books/_search", BODY).json["hits"]["hits"][0]["_id"])


def shadow(session: nbproxy.Session) -> dict[str, int]:
    (found,) = session.status["shadows"]
    return {name: found[name] for name in ("waiting", "scored", "dropped")}


def test_a_shadow_that_is_stuck_is_in_nobodys_way(start: Start, json_upstream: Json) -> None:
    stuck = Gate()
    session = start(json_upstream.url, model=backwards)
    session.shadow = {"stuck": stuck}
    with Client(session.url) as client:
        assert [search(client) for _ in range(SEARCHES)] == ["49"] * SEARCHES
    frame = session.frame
    assert len(frame) == SEARCHES
    assert frame.reranked.all()
    assert shadow(session) == {"waiting": shadows.WAITING, "scored": 0, "dropped": SEARCHES - shadows.WAITING}
    with pytest.raises(TimeoutError):
        session.flush(0.05)
    stuck.go.set()
    session.flush(TIMEOUT)
    assert shadow(session) == {"waiting": 0, "scored": shadows.WAITING, "dropped": SEARCHES - shadows.WAITING}
    hits = session.hits
    assert hits[hits.role == "shadow"].exchange_id.nunique() == shadows.WAITING
    assert hits[hits.role == "served"].exchange_id.nunique() == SEARCHES
    assert session.errors == []


def test_one_that_is_stuck_is_in_no_other_ones_way(start: Start, json_upstream: Json) -> None:
    stuck = Gate()
    session = start(json_upstream.url)
    session.shadow = {"stuck": stuck, "other": backwards}
    with Client(session.url) as client:
        for _ in range(SEARCHES):
            search(client)
            while session.status["shadows"][1]["waiting"]:
                pass
    assert [(each["name"], each["scored"]) for each in session.status["shadows"]] == [
        ("stuck", 0),
        ("other", SEARCHES),
    ]
    stuck.go.set()


def test_large_answers_wait_by_their_weight(start: Start, json_upstream: Json, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shadows, "WAITING_BYTES", 5_000)
    stuck = Gate()
    session = start(json_upstream.url, model=backwards)
    session.shadow = {"stuck": stuck}
    with Client(session.url) as client:
        for _ in range(5):
            search(client)
    counts = shadow(session)
    assert 0 < counts["waiting"] < 5
    assert counts["waiting"] + counts["dropped"] == 5
    stuck.go.set()


def test_a_shadow_that_goes_takes_its_counts_along_and_ends_what_it_has(start: Start, json_upstream: Json) -> None:
    session = start(json_upstream.url, model=backwards)
    session.shadow = {"a": evenly, "b": backwards}
    with Client(session.url) as client:
        search(client)
    del session.shadow["a"]
    session.flush(TIMEOUT)
    hits = session.hits
    assert set(hits[hits.role == "shadow"].model) == {"a", "b"}
    assert shadow(session) == {"waiting": 0, "scored": 1, "dropped": 0}


def test_counts_go_on_over_a_restart(start: Start, json_upstream: Json) -> None:
    session = start(json_upstream.url, model=backwards)
    session.shadow = {"a": evenly}
    with Json() as second:
        for url in (json_upstream.url, second.url):
            assert start(url) is session
            with Client(session.url) as client:
                search(client)
            session.flush(TIMEOUT)
    assert shadow(session)["scored"] == 2


def test_the_serving_model_as_a_shadow_of_its_own(start: Start, json_upstream: Json) -> None:
    session = start(json_upstream.url, model=backwards)
    session.shadow = {"backwards": backwards}
    with Client(session.url) as client:
        assert search(client) == "49"
    session.flush(TIMEOUT)
    ranks = session.hits.groupby("role")["rank"].agg(list)
    assert ranks["served"] == ranks["shadow"]


def test_a_search_without_hits_and_without_a_model_is_no_order_of_a_model(start: Start, json_upstream: Json) -> None:
    json_upstream.answer = lambda *_: (200, {"hits": {"total": {"value": 0}, "hits": []}})
    session = start(json_upstream.url)
    session.shadow = {"evenly": evenly}
    with Client(session.url) as client:
        client.ask(b"POST", b"/books/_search", BODY)
    assert session.frame.reason.item() == "no-model"
    qrels = pd.DataFrame({"query_id": ["red shoes"], "doc_id": ["0"], "relevance": [1]})
    assert list(session.evaluate(qrels).summary.index) == ["original"]


def test_the_original_order_as_a_shadow(start: Start, json_upstream: Json) -> None:
    session = start(json_upstream.url, model=backwards)
    session.shadow = {"as-it-was": "original"}
    with Client(session.url) as client:
        assert search(client) == "49"
    session.flush(TIMEOUT)
    rows = session.hits[session.hits.role == "shadow"]
    assert (len(rows), set(rows.model)) == (50, {"as-it-was"})
    assert (rows["rank"] == rows.original_rank).all()
    assert rows.score.notna().all()  # NaN, which is not null
    assert not session.errors
    assert shadow(session)["dropped"] == 0
