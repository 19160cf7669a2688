"""An interleaving under way, through real sockets: what is answered and recorded, and where a model fails."""

from __future__ import annotations

import itertools
import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import nbproxy
from nbproxy import ConfigError
from nbproxy.mergers import Merger

from .test_searches import BODY, backwards, ids, last, search
from .upstreams import TIMEOUT, Client, Json, searched

Start = Callable[..., nbproxy.Session]


def forwards(query: str, texts: list[str]) -> list[float]:
    return [-float(n) for n in range(len(texts))]


def raising(query: str, texts: list[str]) -> list[float]:
    raise ValueError("no scores today")


def asked(n: int, **body: Any) -> dict[str, Any]:
    return {"query": {"match": {"title": f"query {n}"}}, **body}


def test_two_orders_are_merged(start: Start, json_upstream: Json) -> None:
    session = start(json_upstream.url, model=nbproxy.interleave(forwards, backwards), depth=20)
    answer = ids(search(session, asked(1)))
    merged = session.interleaving().picks.sort_values("rank")
    assert answer == list(merged.doc_id)[:10]
    assert sorted(merged.doc_id, key=int) == [str(n) for n in range(20)]
    for team, order in (("a", range(20)), ("b", range(19, -1, -1))):
        theirs = list(merged[merged.team == team].doc_id)
        assert theirs == [str(n) for n in order if str(n) in theirs]
    assert {answer[0], answer[1]} == {"0", "19"}
    row = last(session)
    assert (row.model, row.reranked, row.model_fingerprint) == (
        "interleave(forwards, backwards)", True, session.model.fingerprint,
    )  # fmt: skip
    assert pd.isna(row.reason)
    assert row.rerank_ms > 0


def test_the_frames_hold_the_merged_order_and_both_models_own(start: Start, json_upstream: Json) -> None:
    session = start(json_upstream.url, model=nbproxy.interleave("original", backwards), depth=5)
    search(session, asked(1, size=7))
    hits = session.hits
    served = hits[hits.role == "served"]
    assert set(served.model) == {"interleave(original, backwards)"}
    assert sorted(served["rank"]) == list(range(1, 8))
    assert list(served.score.isna()) == [False] * 5 + [True] * 2  # NaN is a value, as for "original"; null is none
    assert np.isnan(served.score[:5].to_numpy(dtype=float)).all()
    assert list(served["rank"][5:]) == [6, 7]
    own = hits[hits.role == "shadow"]
    assert set(own.model) == {"backwards"}
    assert list(own["rank"]) == [5, 4, 3, 2, 1, 6, 7]
    assert list(own.score[:5]) == [0, 1, 2, 3, 4]
    assert list(own.returned) == list(served.returned)
    assert sorted(session.compare(b="backwards").summary.b) == ["backwards"]


def test_pages_neither_repeat_nor_lose_a_document(start: Start, json_upstream: Json) -> None:
    session = start(json_upstream.url, model=nbproxy.interleave("original", backwards), depth=23)
    pages = [ids(search(session, asked(1, size=6, **{"from": at}))) for at in range(0, 60, 6)]
    assert sorted(itertools.chain(*pages), key=int) == [str(n) for n in range(60)]
    assert pages[0] == ids(search(session, asked(1, size=6)))


def test_coins_come_from_the_text_the_models_and_the_seed(start: Start, json_upstream: Json) -> None:
    session = start(json_upstream.url)

    def first(model: Any, query: str) -> str:
        session.model = model
        return ids(search(session, {"query": {"match": {"title": query}}}))[0]

    def firsts(**options: Any) -> list[str]:
        return [first(nbproxy.interleave("original", backwards, **options), f"query {n}") for n in range(12)]

    assert firsts() == firsts() == firsts(method="team-draft", seed=0)
    assert set(firsts()) == {"0", "49"}
    assert firsts(seed=1) != firsts()
    assert firsts(seed="2026-01-01") != firsts(seed="2026-01-02")
    ours = nbproxy.interleave("original", backwards)
    assert all(first(ours, f"  QUERY\t{n} ") == first(ours, f"query {n}") for n in range(4))
    session.model = ours
    known = session.model.fingerprint
    session.model = nbproxy.interleave("original", backwards, seed=1)
    assert session.model.fingerprint != known
    session.model = nbproxy.interleave("original", backwards)
    assert session.model.fingerprint == known


def test_it_is_assigned_like_a_model(start: Start, json_upstream: Json) -> None:
    spec = nbproxy.interleave(None, backwards)
    session = start(json_upstream.url, model=spec)
    model = session.model
    assert isinstance(model, Merger)
    assert (model.name, model.source) == ("interleave(original, backwards)", spec)
    assert model.a.name == "original"
    assert model.b("q", ["x", "y"]) == [0.0, 1.0]
    assert session.status["model"] == {"name": model.name, "fingerprint": model.fingerprint}
    assert session.swap(forwards).result(TIMEOUT).name == "forwards"
    session.model = model
    assert session.model is model
    session.models["mix"] = nbproxy.interleave("original", backwards)
    session.model = None
    answer = search(session, asked(1), b"/books/_search", b"X-Nbproxy-Model: mix")
    assert {*ids(answer)[:2]} == {"0", "49"}
    assert last(session).model == "mix"
    assert session.interleaving("mix").summary.n[0] == 0
    session.models["same"] = session.models["mix"]
    assert session.models["same"].fingerprint == session.models["mix"].fingerprint


@pytest.mark.parametrize(
    ("a", "b", "options", "message"),
    [
        ("/nothing-here", "bm25", {}, "nothing-here"),
        ("bm25", 42, {}, "cannot be a model"),
        (nbproxy.interleave("bm25", "original"), "bm25", {}, "an interleaving is not one"),
        ("bm25", "original", {"method": "balanced"}, "not one of 'team-draft'"),
        ("bm25", "original", {"seed": 1.5}, "seed must be"),
        ("bm25", "original", {"seed": None}, "seed must be"),
    ],
)
def test_what_cannot_be_interleaved(
    start: Start, json_upstream: Json, a: Any, b: Any, options: dict[str, Any], message: str
) -> None:
    session = start(json_upstream.url, model=backwards)
    with pytest.raises(ConfigError, match=message):
        session.model = nbproxy.interleave(a, b, **options)
    assert session.model.name == "backwards"


def test_a_shadow_cannot_be_clicked(start: Start, json_upstream: Json) -> None:
    session = start(json_upstream.url)
    with pytest.raises(ConfigError, match="nobody sees a shadow's order"):
        session.shadow = {"x": nbproxy.interleave("original", backwards)}


def test_a_shadow_that_is_one_of_the_two_is_not_asked_again(start: Start, json_upstream: Json) -> None:
    session = start(json_upstream.url, model=nbproxy.interleave(forwards, backwards))
    session.shadow = {"backwards": session.model.b, "third": forwards}
    search(session, asked(1))
    session.flush(TIMEOUT)
    hits = session.hits
    assert hits[hits.role == "shadow"].groupby("model").size().to_dict() == {
        "backwards": 50, "forwards": 50, "third": 50,
    }  # fmt: skip
    assert session.compare(b="third").summary.n_queries[0] == 1


def test_one_model_on_both_sides_is_asked_once(start: Start, json_upstream: Json) -> None:
    calls: list[str] = []

    def counted(query: str, texts: list[str]) -> list[int]:
        calls.append(query)
        return backwards(query, texts)

    session = start(json_upstream.url, model=nbproxy.interleave(counted, counted))
    model = nbproxy.as_reranker(counted)
    session.model = nbproxy.interleave(model, model)
    assert ids(search(session, asked(1)))[:3] == ["49", "48", "47"]
    assert calls == ["query 1"]
    assert len(session.hits) == 100  # served, and its own order once


def test_a_model_that_fails_costs_the_merging_and_nothing_else(start: Start, json_upstream: Json) -> None:
    for pair in ((raising, backwards), (backwards, raising), (raising, raising)):
        session = start(json_upstream.url, model=nbproxy.interleave(*pair))
        assert ids(search(session, asked(1))) == [str(n) for n in range(10)]
        row = last(session)
        assert (row.reason, row.reranked) == ("model-error", False)
        assert row.error == "raising: ValueError: no scores today"
        assert "raising" in session.errors[-1].message
        with pytest.raises(ConfigError, match="no search was interleaved"):
            session.interleaving(session.model.name)


def test_a_model_that_is_late_is_not_waited_for(start: Start, json_upstream: Json) -> None:
    release = threading.Event()

    def stuck(query: str, texts: list[str]) -> list[int]:
        release.wait(TIMEOUT)
        return backwards(query, texts)

    session = start(json_upstream.url, model=nbproxy.interleave(backwards, stuck), deadline=0.05)
    try:
        assert ids(search(session, asked(1))) == [str(n) for n in range(10)]
        assert last(session).reason == "deadline"
        assert last(session).error.startswith("stuck: ")
        assert ids(search(session, asked(2))) == [str(n) for n in range(10)]
        assert last(session).reason == "overloaded"
    finally:
        release.set()


class Gate:
    """A model that scores backwards once it may."""

    def __init__(self, name: str = "gate") -> None:
        self.__name__, self.asked, self.go, self.calls = name, threading.Event(), threading.Event(), 0

    def __call__(self, query: str, texts: list[str]) -> list[int]:
        self.calls += 1
        self.asked.set()
        self.go.wait(TIMEOUT)
        return backwards(query, texts)


def judged(session: nbproxy.Session) -> nbproxy.Evaluation:
    query_id = session.frame.query_id.iloc[0]
    return session.evaluate(pd.DataFrame({"query_id": [query_id], "doc_id": ["49"], "relevance": [1]}))


@pytest.mark.parametrize("late", ["a", "b", "both"])
def test_late_scores_are_recorded_as_late(start: Start, json_upstream: Json, late: str) -> None:
    """Those of the other model too, which came in time for nothing; and no comparison counts either."""
    gates = {name: Gate(f"gate_{name}") for name in "ab"}
    for name, gate in gates.items():
        if late not in (name, "both"):
            gate.go.set()
    session = start(json_upstream.url, model=nbproxy.interleave(gates["a"], gates["b"]), deadline=0.05)
    session.shadow = {"true": forwards, "gate_a": session.model.a}
    assert ids(search(session, asked(1, size=4))) == ["0", "1", "2", "3"]
    assert (last(session).reason, last(session).reranked) == ("deadline", False)
    for gate in gates.values():
        gate.go.set()
    session.flush(TIMEOUT)
    hits = session.hits
    assert hits.groupby(["role", "model"]).size().to_dict() == {
        ("served", "interleave(gate_a, gate_b)"): 50,
        ("shadow", "gate_a"): 50,
        ("shadow", "gate_b"): 50,
        ("shadow", "true"): 50,
    }
    for name, model in zip("ab", (session.model.a, session.model.b), strict=True):
        own = hits[hits.model == f"gate_{name}"]
        assert set(own.model_fingerprint) == {model.fingerprint}
        assert list(own.score) == list(range(50))
        assert list(own["rank"]) == list(range(50, 0, -1))
        assert list(own.returned) == [True] * 4 + [False] * 46  # what the client got
    assert [gate.calls for gate in gates.values()] == [1, 1]
    assert list(judged(session).summary.index) == ["original", "true"]
    assert judged(session).left_out["deadline"] == 1
    assert session.errors[0].message.startswith("gate_b: no scores" if late == "b" else "gate_a: no scores")
    assert len(session.errors) == 1
    search(session, asked(1, size=4))  # in time: they count
    assert set(judged(session).summary.index) == {"original", "true", "gate_a", "gate_b", session.model.name}


def test_late_scores_are_late_in_what_was_recorded(start: Start, json_upstream: Json, tmp_path: Path) -> None:
    gate = Gate()
    session = start(json_upstream.url, model=forwards, deadline=0.05, record=tmp_path)
    search(session, asked(1))
    session.model = nbproxy.interleave("original", gate)
    search(session, asked(1))
    gate.go.set()
    session.flush(TIMEOUT)
    session.stop()
    found = nbproxy.load(tmp_path)
    assert list(found.hits[found.hits.role == "shadow"].score) == list(range(50))
    assert set(found.compare(b="forwards").summary.b) == {"forwards"}
    with pytest.raises(ConfigError, match="'gate'"):
        found.compare(b="gate")


def test_one_that_waits_behind_itself_is_not_late_but_overloaded(start: Start, json_upstream: Json) -> None:
    """What was never begun owes no score; the other's, which is begun, is recorded."""
    gate, other = Gate(), Gate("other")
    session = start(json_upstream.url, model=gate, deadline=0.05)
    search(session, asked(1))
    gates = nbproxy.interleave(session.model, other)
    session.model = gates
    search(session, asked(2))
    assert last(session).reason == "deadline"
    assert last(session).error.startswith("other: ")
    gate.go.set()
    other.go.set()
    session.flush(TIMEOUT)
    hits = session.hits
    assert hits[hits.role == "shadow"].groupby(["query", "model"]).size().to_dict() == {
        ("query 1", "gate"): 50, ("query 2", "other"): 50,
    }  # fmt: skip
    assert gate.calls == 1


def test_what_a_late_one_raises_is_told(start: Start, json_upstream: Json) -> None:
    go = threading.Event()

    def broken(query: str, texts: list[str]) -> list[float]:
        go.wait(TIMEOUT)
        raise ZeroDivisionError("too late")

    session = start(json_upstream.url, model=nbproxy.interleave("original", broken), deadline=0.05)
    search(session, asked(1))
    assert last(session).reason == "deadline"
    go.set()
    session.flush(TIMEOUT)
    assert [note.type for note in session.errors] == ["RerankFault", "ZeroDivisionError"]
    assert set(session.hits.role) == {"served"}


def test_late_scores_in_a_multi_search(start: Start, json_upstream: Json) -> None:
    def answer(method: str, path: str, headers: dict[str, str], body: bytes) -> Any:
        bodies = [line for line in body.splitlines() if b'"query"' in line]
        return 200, {"responses": [searched("POST", "/_search", headers, one)[1] | {"status": 200} for one in bodies]}

    json_upstream.answer = answer
    gate = Gate()
    session = start(json_upstream.url, model=nbproxy.interleave("original", gate), deadline=0.05)
    lines = [{"index": "books"}, asked(1), {"index": "books"}, asked(2)]
    search(session, b"".join(json.dumps(line).encode() + b"\n" for line in lines), b"/_msearch")
    gate.go.set()
    session.flush(TIMEOUT)
    late = session.hits[session.hits.role == "shadow"]
    reasons = session.frame.dropna(subset=["part"]).set_index("part").reason
    assert set(reasons) <= {"deadline", "overloaded"}
    assert list(late.part.unique()) == list(reasons.index[reasons == "deadline"])
    assert list(judged_systems(session)) == ["original"]


def judged_systems(session: nbproxy.Session) -> list[str]:
    qrels = pd.DataFrame({"query_id": [session.frame.query_id.dropna().iloc[0]], "doc_id": ["49"], "relevance": [1]})
    return list(session.evaluate(qrels).summary.index)


def test_the_other_model_is_not_waited_for_where_one_fails(start: Start, json_upstream: Json) -> None:
    release = threading.Event()

    def stuck(query: str, texts: list[str]) -> list[int]:
        release.wait(TIMEOUT)
        return backwards(query, texts)

    session = start(json_upstream.url, model=nbproxy.interleave(raising, stuck), deadline=None)
    try:
        assert ids(search(session, asked(1)))[0] == "0"  # or this would hang
        assert last(session).reason == "model-error"
    finally:
        release.set()


def test_hits_without_text_and_no_hits_at_all(start: Start, json_upstream: Json) -> None:
    def answer(method: str, path: str, headers: dict[str, str], body: bytes) -> Any:
        status, found = searched(method, path, headers, body)
        if "hits" in found:
            texts = {"some": range(3, 60), "none": range(0), "empty": range(0)}[path.split("/")[1]]
            kept = found["hits"]["hits"][: 0 if "empty" in path else None]
            for hit in kept:
                hit["_source"] = {"title": "text"} if int(hit["_id"]) in texts else {"title": " "}
            found["hits"]["hits"] = kept
        return status, found

    json_upstream.answer = answer
    session = start(json_upstream.url, model=nbproxy.interleave(backwards, backwards), depth=6)
    assert sorted(ids(search(session, asked(1, size=6), b"/some/_search"))[:3]) == ["3", "4", "5"]
    assert ids(search(session, asked(1, size=6), b"/none/_search")) == ["0", "1", "2", "3", "4", "5"]
    assert last(session).reason == "no-text"
    assert ids(search(session, asked(1), b"/empty/_search")) == []
    assert last(session).reason == "no-hits"


def test_min_score_has_no_scale_to_hold_on_to(start: Start, json_upstream: Json) -> None:
    session = start(json_upstream.url, model=nbproxy.interleave(forwards, backwards), min_score=1000.0)
    assert len(ids(search(session, asked(1)))) == 10


def test_searches_of_a_multi_search_are_interleaved_each(start: Start, json_upstream: Json) -> None:
    def answer(method: str, path: str, headers: dict[str, str], body: bytes) -> Any:
        bodies = [line for line in body.splitlines() if b'"query"' in line]
        found = [searched("POST", "/_search", headers, one)[1] | {"status": 200} for one in bodies]
        return 200, {"took": 1, "responses": found}

    json_upstream.answer = answer
    session = start(json_upstream.url, model=nbproxy.interleave("original", backwards))
    lines = [{"index": "books"}, asked(1), {"index": "books"}, asked(2)]
    body = b"".join(json.dumps(line).encode() + b"\n" for line in lines)
    responses = search(session, body, b"/_msearch").json["responses"]
    tops = [{hit["_id"] for hit in one["hits"]["hits"][:2]} for one in responses]
    assert tops == [{"0", "49"}] * 2
    query_id = session.frame.query_id.iloc[2]
    with Client(session.url) as client:
        told = json.dumps({"query_id": query_id, "doc_id": "49"}).encode()
        assert client.ask(b"POST", b"/_nbproxy/click", told).status == 202
    found = session.interleaving()
    assert found.summary.wins_b[0] == 1
    assert list(found.picks[found.picks.clicked].part) == [1]


def test_swapping_under_traffic_names_what_each_search_got(start: Start, json_upstream: Json) -> None:
    session = start(json_upstream.url, model=nbproxy.interleave("original", backwards))
    done = threading.Event()

    def swap() -> None:
        for n in range(20):
            session.model = [backwards, nbproxy.interleave(forwards, backwards, seed=n)][n % 2]
        done.set()

    swapper = threading.Thread(target=swap)
    swapper.start()
    count = 0
    while not done.is_set() or count < 10:
        assert len(ids(search(session, BODY))) == 10
        count += 1
    swapper.join(TIMEOUT)
    assert session.frame.reranked.all()
    assert session.errors == []
