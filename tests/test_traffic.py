"""Many searches at once while models are swapped: nothing is lost, nothing crosses, each carries the model it names."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import opensearchpy
import pytest

import nbproxy

from .upstreams import TIMEOUT, Client, Json, searched

Start = Callable[..., nbproxy.Session]
SEARCHES, SWAPS, THREADS = 200, 20, 16


def shifting(k: int) -> Callable[[str, list[str]], list[float]]:
    """A model whose order tells which it was: document ``k`` comes first."""

    def model(query: str, texts: list[str]) -> list[float]:
        return [float((n - k) % len(texts) == 0) for n in range(len(texts))]

    model.__name__ = f"model-{k}"
    return model


def test_two_hundred_searches_during_twenty_swaps(start: Start, json_upstream: Json) -> None:
    json_upstream.answer = lambda method, path, headers, body: searched(method, path, headers, body)
    session = start(json_upstream.url, model=shifting(0), deadline=None)
    swapped = threading.Event()

    def ask(n: int) -> Any:
        with Client(session.url) as client:
            body = json.dumps({"query": {"match": {"title": f"query number {n}"}}}).encode()
            return client.ask(b"POST", b"/books/_search", body, b"X-Opaque-Id: q%d" % n).json

    def swap() -> None:
        for k in range(1, SWAPS + 1):
            session.model = shifting(k)
        swapped.set()

    swapper = threading.Thread(target=swap)
    with ThreadPoolExecutor(THREADS) as pool:
        swapper.start()
        answers = list(pool.map(ask, range(SEARCHES)))
    swapper.join()
    assert swapped.is_set()
    frame = session.frame.set_index("query_id")
    assert len(frame) == SEARCHES
    assert frame.reranked.all()
    assert session.errors == []
    for n, answer in enumerate(answers):
        hits = answer["hits"]["hits"]
        assert len(hits) == 10
        assert all(f'query number {n}"' in hit["_source"]["asked"] for hit in hits)  # its own answer
        assert frame.loc[f"q{n}", "query"] == f"query number {n}"
        assert hits[0]["_id"] == frame.loc[f"q{n}", "model"].removeprefix("model-")  # the model that the frame names


def test_a_hundred_swaps_under_64_connections(start: Start, json_upstream: Json) -> None:
    """On connections that stay: every search is answered by one model, which its exchange names, by its fingerprint
    too; in between are models that load for as long as they like, and some that cannot be loaded."""
    session = start(json_upstream.url, model=shifting(0), deadline=None)
    models = [shifting(k) for k in range(10)]
    fingerprints = {model.__name__: nbproxy.as_reranker(model).fingerprint for model in models}  # type: ignore[union-attr]
    assert len(set(fingerprints.values())) == 10
    swapped, loading, go = threading.Event(), threading.Event(), threading.Event()
    answered = threading.Semaphore(0)

    class Slow:
        name, fingerprint = "slow", "0" * 16

        def warm(self) -> None:
            loading.set()
            assert go.wait(TIMEOUT)

        def score(self, query: str, hits: Any) -> list[float]:
            return [0.0] * len(hits)

    def first(client: Client, query_id: str) -> str:
        body = json.dumps({"query": {"match": {"title": query_id}}}).encode()
        answer = client.ask(b"POST", b"/books/_search", body, b"X-Opaque-Id: " + query_id.encode())
        return str(answer.json["hits"]["hits"][0]["_id"])

    def ask(n: int) -> dict[str, str]:
        found: dict[str, str] = {}
        with Client(session.url) as client:
            while not swapped.is_set() or len(found) < 2:
                query_id = f"q{n}-{len(found)}"
                found[query_id] = first(client, query_id)
                answered.release()
        return found

    with ThreadPoolExecutor(64) as pool:
        answers = [pool.submit(ask, n) for n in range(64)]
        slow = session.swap(Slow())
        assert loading.wait(TIMEOUT)
        for k in range(100):
            session.model = models[k % 10]
            for _ in range(8):  # searches go on
                assert answered.acquire(timeout=TIMEOUT)
            assert session.model.source is models[k % 10]
            if k % 10 == 5:
                with pytest.raises(nbproxy.ConfigError):
                    session.model = "./no-such-folder"
        assert not slow.done()
        go.set()
        slow.result(TIMEOUT)
        while answered.acquire(blocking=False):
            pass
        for _ in range(64 + 1):  # so many are not all from before
            assert answered.acquire(timeout=TIMEOUT)
        swapped.set()
        found = {query_id: doc for each in answers for query_id, doc in each.result(6 * TIMEOUT).items()}
    frame = session.frame.set_index("query_id")
    assert set(frame.index) == set(found)
    assert len(frame) == len(found)
    assert frame.reranked.all()
    assert session.errors == []
    assert "slow" in set(frame.model)
    for query_id, model in frame.model.items():
        assert found[str(query_id)] == {"slow": "0"}.get(model, model.removeprefix("model-"))
    known = fingerprints | {"slow": "0" * 16}
    assert list(frame.model_fingerprint) == [known[model] for model in frame.model]
    hits = session.hits
    assert len(hits) == 50 * len(found)
    assert list(hits.groupby("exchange_id", sort=False).model_fingerprint.first()) == list(frame.model_fingerprint)


@pytest.mark.engine
def test_the_same_before_a_real_engine(start: Start, engine: Any) -> None:
    session = start(engine.url, model="bm25", deadline=None)
    texts = list(engine.collection.queries["query"])

    def ask(n: int) -> list[str]:
        body = {"query": {"multi_match": {"query": texts[n % len(texts)], "fields": ["title", "text"]}}}
        with opensearchpy.OpenSearch(session.url, pool_maxsize=1) as client:
            answer = client.search(index="household", body=body, headers={"X-Opaque-Id": f"q{n}"})
        return [hit["_id"] for hit in answer["hits"]["hits"]]

    stop = threading.Event()

    def swap() -> None:
        for k in range(SWAPS):
            session.model = ["original", "bm25"][k % 2]
        stop.set()

    swapper = threading.Thread(target=swap)
    with ThreadPoolExecutor(THREADS) as pool:
        swapper.start()
        answers = list(pool.map(ask, range(SEARCHES)))
    swapper.join()
    hits = session.hits
    returned = hits[hits.returned].sort_values("rank").groupby("query_id").doc_id.agg(list)
    assert len(session.frame) == SEARCHES
    for n, answer in enumerate(answers):
        assert answer == returned.get(f"q{n}", [])
    served = session.frame.set_index("query_id").model
    moved = hits[hits["rank"] != hits.original_rank].query_id.unique()
    assert all(served[query_id] == "bm25" for query_id in moved)


def test_large_answers_stay_what_they_were(start: Start, json_upstream: Json) -> None:
    """They are sent and recorded from where they landed, while others land beside them."""
    json_upstream.answer = lambda method, path, headers, body: (200, {"said": path * (500 + 37 * (int(path[1:]) % 90))})
    session = start(json_upstream.url)

    def ask(n: int) -> bytes:
        with Client(session.url) as client:
            client.send(b"GET /%d HTTP/1.1\r\nHost: a\r\n\r\n" % (1000 + n))
            if n % 10 == 0:
                held.wait(TIMEOUT)  # it reads only when all others have been answered
            return client.read().body

    held, slow = threading.Event(), range(0, SEARCHES, 10)
    with ThreadPoolExecutor(THREADS + len(slow)) as pool:
        waiting = {n: pool.submit(ask, n) for n in slow}
        answers = {n: pool.submit(ask, n) for n in range(SEARCHES) if n not in waiting}
        for answer in answers.values():
            answer.result(TIMEOUT)
        held.set()
        bodies = {f"/{1000 + n}": answer.result(TIMEOUT) for n, answer in (answers | waiting).items()}
    frame = session.frame.set_index("target")
    assert len(frame) == SEARCHES
    for target, body in bodies.items():
        assert json.loads(body)["said"].startswith(target * 500)
        assert frame.response_body[target] == body
