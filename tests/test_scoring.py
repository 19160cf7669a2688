"""Deadlines and load through real sockets: everybody is answered and recorded, whatever the model does."""

from __future__ import annotations

import asyncio
import gc
import json
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from itertools import islice
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import nbproxy
from nbproxy import lanes
from nbproxy.errors import RerankFault
from nbproxy.ranking import Hit
from nbproxy.rerankers import as_reranker
from nbproxy.rerankers.base import hits_of
from nbproxy.scoring import Scorer

from .upstreams import TIMEOUT, Client, Json

Start = Callable[..., nbproxy.Session]
BODY = json.dumps({"query": {"match": {"title": "red shoes"}}}).encode()
CLIENTS = 32
HITS = hits_of(["a", "bb"])


def ask(session: nbproxy.Session, n: int = 0, *fields: bytes) -> list[str]:
    with Client(session.url) as client:
        answer = client.ask(b"POST", b"/books/_search", BODY, b"X-Opaque-Id: q%d" % n, *fields)
    assert answer.status == 200
    return [hit["_id"] for hit in answer.json["hits"]["hits"]]


def waiting(session: nbproxy.Session) -> int:
    """Searches that wait for the model."""
    (scorer,) = session.scorers
    return len(scorer._lane._queue.urgent)  # type: ignore[union-attr]


class Gate:
    """A model that scores backwards once it may, and says when it was asked."""

    def __init__(self) -> None:
        self.asked, self.go = threading.Event(), threading.Event()
        self.calls, self.inside, self.most = 0, 0, 0

    def __call__(self, query: str, texts: list[str]) -> list[int]:
        self.calls, self.inside = self.calls + 1, self.inside + 1
        self.most = max(self.most, self.inside)
        self.asked.set()
        self.go.wait(TIMEOUT)
        self.inside -= 1
        return list(range(len(texts)))


FORWARDS = [str(n) for n in range(10)]
BACKWARDS = [str(n) for n in range(49, 39, -1)]


@pytest.mark.usefixtures("both_loops")
def test_32_searches_before_a_model_that_is_stuck(start: Start, json_upstream: Json) -> None:
    """One is begun and misses the deadline, the others find no worker; when the model comes to itself, the one score
    that it owes is recorded as a late one."""
    model = Gate()
    session = start(json_upstream.url, model=model, deadline=2)  # all are queued before it ends
    with ThreadPoolExecutor(CLIENTS) as pool:
        answers = [pool.submit(ask, session, 0)]
        assert model.asked.wait(TIMEOUT)
        answers += [pool.submit(ask, session, n) for n in range(1, CLIENTS)]
    assert [answer.result() for answer in answers] == [FORWARDS] * CLIENTS
    frame = session.frame
    assert Counter(frame.reason) == {"deadline": 1, "overloaded": CLIENTS - 1}
    assert not frame.reranked.any()
    served = session.hits
    assert len(served) == 50 * CLIENTS
    assert served.score.isna().all()
    assert (served["rank"] == served.original_rank).all()
    with pytest.raises(TimeoutError):
        session.flush(0.05)
    model.go.set()
    session.flush(TIMEOUT)
    hits = session.hits
    late = hits[hits.role == "shadow"]
    assert list(late.exchange_id.unique()) == list(frame.exchange_id[frame.reason == "deadline"])
    assert list(late.score) == list(range(50))
    assert list(late["rank"]) == list(range(50, 0, -1))
    assert list(late.returned) == [True] * 10 + [False] * 40  # what the client got
    assert set(late.model) == set(frame.model)
    assert set(late.model_fingerprint) == set(frame.model_fingerprint)
    assert model.calls == 1
    assert ask(session) == BACKWARDS


def test_a_full_queue_sheds_at_once(start: Start, json_upstream: Json, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a deadline too: nobody waits who has no place in it."""
    monkeypatch.setattr(lanes, "CAPACITY", 2)
    model = Gate()
    session = start(json_upstream.url, model=model, deadline=None)
    with ThreadPoolExecutor(CLIENTS) as pool:
        answers = [pool.submit(ask, session)]
        assert model.asked.wait(TIMEOUT)
        answers += [pool.submit(ask, session) for _ in range(CLIENTS - 1)]
        shed = [answer.result() for answer in islice(as_completed(answers), CLIENTS - 3)]
        assert shed == [FORWARDS] * (CLIENTS - 3)
        assert model.calls == 1
        model.go.set()
        assert sorted(answer.result(TIMEOUT) for answer in answers) == sorted([*shed, *[BACKWARDS] * 3])
    assert Counter(session.frame.reason.fillna("")) == {"": 3, "overloaded": CLIENTS - 3}
    assert list(session.frame.reranked).count(True) == 3


@pytest.mark.model
def test_what_a_transformers_model_says_to_many_at_once(start: Start, json_upstream: Json, small_model: Path) -> None:
    session = start(json_upstream.url, model=small_model, deadline=None, depth=10)
    with ThreadPoolExecutor(CLIENTS) as pool:
        answers = list(pool.map(lambda n: ask(session, n), range(2 * CLIENTS)))
    hits = session.hits
    model = session.model
    assert session.frame.reranked.all()
    assert hits.exchange_id.nunique() == 2 * CLIENTS
    expected = model("red shoes", list(hits.text[:10]))
    for n, answer in enumerate(answers):
        own = hits[hits.query_id == f"q{n}"]
        assert list(own.score) == pytest.approx(expected, abs=1e-6)
        assert list(own.sort_values("rank").doc_id) == answer


def test_late_scores_are_not_mixed_in(start: Start, json_upstream: Json) -> None:
    model = Gate()
    session = start(json_upstream.url, model=model, deadline=0.05)
    assert ask(session) == FORWARDS
    model.go.set()
    session.flush(TIMEOUT)
    assert "shadow" in set(session.hits.role)
    qrels = pd.DataFrame({"query_id": ["q0"], "doc_id": ["49"], "relevance": [1]})
    evaluation = session.evaluate(qrels)
    assert list(evaluation.summary.index) == ["original"]
    assert evaluation.left_out["deadline"] == 1


def test_what_the_model_raises_late_is_told(start: Start, json_upstream: Json) -> None:
    asked, go = threading.Event(), threading.Event()

    def late(query: str, texts: list[str]) -> list[float]:
        go.wait(TIMEOUT)
        raise ZeroDivisionError("too late")

    session = start(json_upstream.url, model=late, deadline=0.05)
    assert ask(session) == FORWARDS
    assert not asked.is_set()
    go.set()
    session.flush(TIMEOUT)
    assert [note.type for note in session.errors] == ["RerankFault", "ZeroDivisionError"]
    assert set(session.hits.role) == {"served"}


def test_a_client_that_leaves_takes_its_search_out_of_the_queue(start: Start, json_upstream: Json) -> None:
    model = Gate()
    session = start(json_upstream.url, model=model, deadline=None)
    first = threading.Thread(target=ask, args=(session,))
    first.start()
    assert model.asked.wait(TIMEOUT)
    with Client(session.url) as client:
        client.send(b"POST /_search HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%b" % (len(BODY), BODY))
        while not waiting(session):
            pass
        client.reset()  # a mere close may be the end of what it sends
    while len(session.frame) < 1:  # the one that left
        pass
    model.go.set()
    first.join(TIMEOUT)
    assert ask(session) == BACKWARDS
    session.flush(TIMEOUT)
    assert model.calls == 2


def test_several_searches_share_a_call(start: Start, json_upstream: Json) -> None:
    calls: list[int] = []
    asked, go = threading.Event(), threading.Event()

    class Many:
        name, fingerprint = "many", "f"

        def score(self, query: str, hits: Sequence[Hit]) -> Any:
            return self.score_many([(query, hits)])[0]

        def score_many(self, searches: Sequence[tuple[str, Sequence[Hit]]]) -> Any:
            calls.append(len(searches))
            asked.set()
            go.wait(TIMEOUT)
            return [[float(hit.rank) for hit in hits] for _, hits in searches]

    session = start(json_upstream.url, model=Many(), deadline=None)
    with ThreadPoolExecutor(5) as pool:
        answers = [pool.submit(ask, session)]
        assert asked.wait(TIMEOUT)
        answers += [pool.submit(ask, session) for _ in range(4)]
        while waiting(session) < 4:
            pass
        go.set()
        assert [answer.result(TIMEOUT) for answer in answers] == [BACKWARDS] * 5
    assert calls == [1, 4]
    assert session.frame.reranked.all()


def test_one_object_is_never_called_concurrently_with_itself(start: Start, json_upstream: Json) -> None:
    """Whatever names it has, and in whichever session; in a role of its own it still has its turn."""
    model = Gate()
    session = start(json_upstream.url, model=model)
    other = start(json_upstream.url, name="other", model=model)
    session.models["x"] = model
    session.shadow = {"y": model}
    model.go.set()
    with ThreadPoolExecutor(8) as pool:
        picks = [b"X-Nbproxy-Model: x", b"X-A: b"]
        work = [pool.submit(ask, place, n, picks[n % 2]) for n in range(20) for place in (session,)]
        work += [pool.submit(ask, other, n) for n in range(20)]
        assert all(answer.result(TIMEOUT) == BACKWARDS for answer in work)
    session.flush(TIMEOUT)
    assert model.calls == 60
    assert model.most == 1


def test_a_model_that_was_swapped_out_and_in_again_waits_for_its_own_call(start: Start, json_upstream: Json) -> None:
    model = Gate()
    session = start(json_upstream.url, model=model, deadline=0.05)
    assert ask(session) == FORWARDS
    session.model = lambda query, texts: list(range(len(texts)))
    session.deadline = None
    assert ask(session) == BACKWARDS  # a fresh worker
    session.model = model
    session.deadline = 0.05
    assert ask(session) == FORWARDS
    assert list(session.frame.reason)[::2] == ["deadline", "overloaded"]
    assert model.most == 1
    model.go.set()


def test_fields_of_the_users_own_that_are_stuck_cost_no_more_than_the_deadline(
    start: Start, json_upstream: Json
) -> None:
    go = threading.Event()

    def stuck(hit: Hit) -> str:
        go.wait(TIMEOUT)
        return "text"

    model = Gate()
    model.go.set()
    session = start(json_upstream.url, model=model, fields=stuck, deadline=0.05)
    try:
        assert [ask(session) for _ in range(2)] == [FORWARDS] * 2
        assert list(session.frame.reason) == ["deadline", "overloaded"]
        session.fields = lambda hit: "another"  # brings a fresh thread
        session.deadline = None
        assert ask(session) == FORWARDS or session.frame.reranked.iloc[-1]
        assert session.hits.text.iloc[-1] == "another"
    finally:
        go.set()


def test_no_time_left_is_a_deadline() -> None:
    scorer = Scorer(as_reranker(lambda query, texts: [0.0] * len(texts)))  # type: ignore[arg-type]

    async def asked() -> Any:
        return await scorer.scores("q", HITS, -0.1)

    with pytest.raises(RerankFault) as fault:
        asyncio.run(asked())
    assert fault.value.why == "deadline"


def test_outside_a_loop_it_waits_for_its_turn() -> None:
    model = Gate()
    model.go.set()
    scorer = Scorer(as_reranker(model))  # type: ignore[arg-type]
    assert scorer.score("q", HITS) == [0.0, 1.0]
    scorer.close()
    with pytest.raises(RerankFault, match="no longer"):
        scorer.score("q", HITS)


def test_nobody_complains_of_what_nobody_waited_for(caplog: pytest.LogCaptureFixture) -> None:
    def raising(query: str, texts: list[str]) -> list[float]:
        go.wait(TIMEOUT)
        raise ZeroDivisionError

    go = threading.Event()
    scorer = Scorer(as_reranker(raising))  # type: ignore[arg-type]

    async def left() -> None:
        with pytest.raises(RerankFault):
            await scorer.scores("q", HITS, 0.01)
        task = asyncio.create_task(scorer.scores("q", HITS, None))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        go.set()

    asyncio.run(left())
    with pytest.raises(ZeroDivisionError):
        scorer.score("q", HITS)  # behind the others
    gc.collect()
    assert [record for record in caplog.records if record.name.startswith(("asyncio", "concurrent"))] == []
