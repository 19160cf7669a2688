"""Swaps: loaded and warmed beside the traffic, live in one step or not at all; what was served before is let go."""

from __future__ import annotations

import gc
import json
import threading
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import nbproxy
from nbproxy.errors import ConfigError

from .upstreams import TIMEOUT, Client, Json

Start = Callable[..., nbproxy.Session]
BODY = json.dumps({"query": {"match": {"title": "red shoes"}}}).encode()


def backwards(query: str, texts: list[str]) -> list[int]:
    return list(range(len(texts)))


def forwards(query: str, texts: list[str]) -> list[int]:
    return list(range(len(texts), 0, -1))


def first(session: nbproxy.Session, *fields: bytes) -> str:
    with Client(session.url) as client:
        return str(client.ask(b"POST", b"/books/_search", BODY, *fields).json["hits"]["hits"][0]["_id"])


class Warming:
    """A reranker whose warming takes until it may go on."""

    name, fingerprint = "warming", "0123456789abcdef"

    def __init__(self, error: Exception | None = None) -> None:
        self.began, self.go, self.error = threading.Event(), threading.Event(), error

    def warm(self) -> None:
        self.began.set()
        self.go.wait(TIMEOUT)
        if self.error is not None:
            raise self.error

    def score(self, query: str, hits: Any) -> list[float]:
        return [float(hit.rank) for hit in hits]


def test_searches_go_on_while_a_model_loads(start: Start, json_upstream: Json) -> None:
    session, model = start(json_upstream.url, model=forwards), Warming()
    swapped = session.swap(model)
    assert model.began.wait(TIMEOUT)
    assert [first(session) for _ in range(20)] == ["0"] * 20
    assert not swapped.done()
    model.go.set()
    assert swapped.result(TIMEOUT).source is model
    assert session.model.source is model
    assert first(session) == "49"
    assert list(session.frame.model) == ["forwards"] * 20 + ["warming"]
    assert session.frame.model_fingerprint.iloc[-1] == model.fingerprint


def test_a_load_that_fails_raises_and_changes_nothing(start: Start, json_upstream: Json, tmp_path: Path) -> None:
    session = start(json_upstream.url, model=backwards)
    served = session.model
    cold = Warming(ZeroDivisionError("cannot be warmed"))
    cold.go.set()
    with pytest.raises(ZeroDivisionError):
        session.model = cold
    with pytest.raises(ConfigError):
        session.model = tmp_path / "nothing"
    with pytest.raises(ConfigError):
        session.swap(tmp_path / "nothing").result(TIMEOUT)
    with pytest.raises(ConfigError):
        session.models = {"good": forwards, "bad": tmp_path / "nothing"}
    with pytest.raises(ConfigError):
        session.shadow["bad"] = None
    assert session.model is served
    assert dict(session.models) == dict(session.shadow) == {}
    assert first(session) == "49"


def test_models_that_are_put_there_at_once_are_all_there(start: Start, json_upstream: Json) -> None:
    session, slow = start(json_upstream.url), Warming()
    with ThreadPoolExecutor(1) as pool:
        putting = pool.submit(session.models.__setitem__, "slow", slow)
        assert slow.began.wait(TIMEOUT)
        session.models["quick"] = backwards
        session.models["gone"] = forwards
        del session.models["gone"]
        slow.go.set()
        putting.result(TIMEOUT)
    assert set(session.models) == {"slow", "quick"}
    with pytest.raises(KeyError):
        del session.models["gone"]


def test_what_a_client_picks_is_ours_alone(start: Start, json_upstream: Json) -> None:
    """Among the models by name, or none at all; nothing else, and nothing of it goes upstream."""
    session = start(json_upstream.url, model=forwards)
    session.models = {"back": backwards}
    assert first(session, b"X-Nbproxy-Model: back") == "49"
    assert first(session, b"X-Nbproxy-Model: back", b"X-Nbproxy: off") == "0"
    assert first(session, b"X-Nbproxy: on", b"X-Nbproxy-Depth: 5", b"X-Nbproxy-Deadline: 0") == "0"
    asked = len(json_upstream.requests)
    for name in (b"other", b"", b"Back", b"forwards"):  # not even the serving one's own name, unless it is there
        with Client(session.url) as client:
            refused = client.ask(b"POST", b"/books/_search", BODY, b"X-Nbproxy-Model: " + name)
        assert (refused.status, refused.json["error"]["type"]) == (400, "nbproxy_unknown_model")
    assert len(json_upstream.requests) == asked
    sent = [set(headers) & {"x-nbproxy", "x-nbproxy-model"} for _, _, headers, _ in json_upstream.requests]
    assert sent == [set()] * asked
    frame = session.frame.iloc[:3]
    assert list(session.frame.status) == [200] * 3 + [400] * 4
    assert list(frame.model) == ["back", "back", "forwards"]
    assert frame.reason.iloc[1] == "bypass"
    assert list(frame.depth[frame.reranked]) == [50, 50]


@pytest.mark.model
def test_fifty_swaps_leave_no_model_behind(start: Start, json_upstream: Json, small_model: Path) -> None:
    session = start(json_upstream.url)
    served: list[weakref.ref[Any]] = []
    for _ in range(50):
        session.model = small_model
        served += [weakref.ref(session.model), weakref.ref(session.model.model)]
        first(session)
        session.shadow = {"also": small_model}
        first(session)
        session.flush(TIMEOUT)
    session.shadow = {}
    assert session.frame.reranked.all()
    assert session.frame.model_fingerprint.nunique() == 1
    session.flush(TIMEOUT)
    gc.collect()
    assert [ref() is None for ref in served] == [True] * 98 + [False] * 2
    session.model = None
    session.flush(TIMEOUT)
    gc.collect()
    assert all(ref() is None for ref in served)


def test_models_are_merged_as_dicts_are(start: Start, json_upstream: Json) -> None:
    session = start(json_upstream.url)
    session.models = {"a": backwards}
    session.models |= {"b": forwards}
    assert session.models == {**session.models.copy(), "a": session.models["a"]}
    assert [model.source for model in session.models.values()] == [backwards, forwards]
    assert list({"c": forwards} | session.models) == ["c", "a", "b"]
    with pytest.raises(ConfigError):
        session.models |= {"c": backwards, "d": 3}
    assert list(session.models) == ["a", "b"]


def test_a_model_that_is_loaded_after_the_stop_serves_nowhere(start: Start, json_upstream: Json) -> None:
    session, model = start(json_upstream.url), Warming()
    swapped = session.swap(model)
    assert model.began.wait(TIMEOUT)
    session.stop()
    model.go.set()
    with pytest.raises(nbproxy.SessionClosed):
        swapped.result(TIMEOUT)
    assert session.model is None
