"""Several searches in one request, through the proxy: each reranked or left alone on its own, each its own row."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from typing import Any

import pandas as pd
import pytest

import nbproxy
from nbproxy.ranking import query_hash

from .upstreams import Client, Json, searched

Start = Callable[..., nbproxy.Session]
X = b"Content-Type: application/x-ndjson"


def red(title: str = "red shoes", **more: Any) -> dict[str, Any]:
    return {"query": {"match": {"title": title}}, **more}


def lines(*values: Any) -> bytes:
    return b"".join(json.dumps(value).encode() + b"\n" for value in values)


def several(method: str, path: str, headers: dict[str, str], body: bytes) -> tuple[int, Any]:
    """``_msearch`` of what ``searched`` knows; an index called ``missing`` is."""
    if "_msearch" not in path:
        return searched(method, path, headers, body)
    rows = [json.loads(line or b"{}") for line in body.split(b"\n")[:-1]]
    if any(row.get("size", 0) > 70 for row in rows):
        return 400, {"error": "too many", "status": 400}
    answers = []
    for head, search in zip(rows[::2], rows[1::2], strict=True):
        found = searched("POST", "/_search", {}, json.dumps(search).encode())[1]
        error = {"error": {"type": "index_not_found_exception"}, "status": 404}
        answers.append(error if head.get("index") == "missing" else {**found, "status": 200})
    return 200, {"took": 3, "responses": answers}


def backwards(query: str, texts: list[str]) -> list[int]:
    return list(range(len(texts)))


@pytest.fixture
def proxy(start: Start, json_upstream: Json) -> Callable[..., nbproxy.Session]:
    json_upstream.answer = several
    return lambda **options: start(json_upstream.url, **{"model": backwards, "depth": 20, **options})


def ask(session: nbproxy.Session, body: bytes, path: bytes = b"/_msearch", *fields: bytes) -> Any:
    with Client(session.url) as client:
        return client.ask(b"POST", path, body, X, *fields)


def ids(answer: Any) -> list[list[str]]:
    return [[hit["_id"] for hit in one.get("hits", {}).get("hits", [])] for one in answer.json["responses"]]


MIXED = lines(
    *({"index": "a"}, red(size=2), {}, red("blue", size=2, sort=["year"])),
    *({"index": "missing"}, red(), {}, red("x", size=1)),
)


def test_each_is_reranked_or_left_alone_on_its_own(proxy: Callable[..., nbproxy.Session], json_upstream: Json) -> None:
    session = proxy()
    answer = ask(session, MIXED, b"/books/_msearch", b"X-Opaque-Id: app")
    assert ids(answer) == [["19", "18"], ["0", "1"], [], ["19"]]
    assert answer.json["responses"][2] == {"error": {"type": "index_not_found_exception"}, "status": 404}
    asked, sent = MIXED.split(b"\n"), json_upstream.requests[-1][3].split(b"\n")
    assert [n for n, pair in enumerate(zip(asked, sent, strict=True)) if pair[0] != pair[1]] == [1, 5, 7]
    assert json.loads(sent[1]) == red(size=20)

    frame = session.frame
    assert frame.part.tolist() == [pd.NA, 0, 1, 2, 3]
    assert frame.exchange_id.nunique() == 1
    assert frame.reranked.tolist() == [True, True, False, False, True]
    assert frame.reason.fillna("").tolist() == ["", "", "sorted", "upstream-error", ""]
    assert frame["index"].tolist() == ["books", "a", "books", "missing", "books"]
    assert frame["query"].fillna("").tolist() == ["", "red shoes", "", "red shoes", "x"]
    assert frame.status.tolist() == [200, 200, 200, 404, 200]
    assert frame.query_id[1] == query_hash("red shoes")  # X-Opaque-Id would be all of theirs
    assert frame.request_body[1] == b"\n".join(asked[:2]) + b"\n"
    assert json.loads(frame.upstream_request_body[1].split(b"\n")[1]) == red(size=20)
    assert frame.upstream_request_body.isna().tolist() == [False, False, True, False, False]
    whole = answer.json["responses"]
    assert [session.json(frame.exchange_id[0], part) for part in range(4)] == whole
    assert len(session.json(frame.exchange_id[0], 0, "upstream_response")["hits"]["hits"]) == 20
    assert frame.bytes_out[1:].sum() < frame.bytes_out[0]
    assert (frame.rerank_ms.isna().tolist()) == [False, False, True, True, False]

    hits = session.hits
    assert hits.part.value_counts().to_dict() == {0: 20, 3: 20}
    assert hits[hits.returned].doc_id.tolist() == ["18", "19", "19"]
    assert session.status["counts"]["route"]["search"] == 1


def test_they_are_compared_and_evaluated_like_others(proxy: Callable[..., nbproxy.Session]) -> None:
    session = proxy()
    ask(session, lines({}, red(), {}, red("blue"), {}, red("green", sort="year")))
    comparison = session.compare()
    assert sorted(comparison.per_query["query"]) == ["blue", "red shoes"]
    assert comparison.left_out["sorted"] == 1


@pytest.mark.parametrize(
    ("body", "fields", "options", "reasons", "queries"),
    [
        (lines({}, red(sort="y"), {}, {"size": 0}), (), {}, ["sorted", "sorted", "size-zero"], ["", "", ""]),
        (lines({}, red(), {}, red(sort="y")), (b"X-Nbproxy: off",), {}, ["bypass"] * 3, ["", "red shoes", ""]),
        (lines({}, red()), (), {"model": None}, ["no-model"] * 2, ["", "red shoes"]),
        (lines({}, red())[:-1], (), {}, ["malformed"], [""]),
        (b'{}\n{"query"\n', (), {}, ["malformed"], [""]),
    ],
)
def test_left_alone_as_a_whole(
    proxy: Callable[..., nbproxy.Session],
    json_upstream: Json,
    body: bytes,
    fields: tuple[bytes, ...],
    options: Any,
    reasons: list[str],
    queries: list[str],
) -> None:
    session = proxy(**options)
    one = searched("POST", "/_search", {}, b"")[1]
    json_upstream.answer = lambda *_: (200, {"responses": [one] * (len(reasons) - 1)})
    answer = ask(session, body, b"/_msearch", *fields)
    assert json_upstream.requests[-1][3] == body
    assert all(found == [str(n) for n in range(10)] for found in ids(answer))
    frame = session.frame
    assert frame.reason.tolist() == reasons
    assert frame["query"].fillna("").tolist() == queries
    assert not frame.reranked.any()
    assert set(session.hits.part) == {part for part, query in enumerate(queries[1:]) if query}


def test_an_upstream_that_refuses_the_wider_ones_is_asked_again(
    proxy: Callable[..., nbproxy.Session], json_upstream: Json
) -> None:
    session = proxy(depth=100)
    answer = ask(session, lines({}, red(size=3), {}, red(size=3, sort="y")))
    assert ids(answer) == [["0", "1", "2"]] * 2
    assert len(json_upstream.requests) == 2
    assert session.frame.reason.tolist() == ["widen-refused", "widen-refused", "sorted"]


@pytest.mark.parametrize("answers", [{"responses": []}, {"responses": [{"hits": {}}]}, {"hits": {"hits": []}}])
def test_answers_that_cannot_be_read(
    proxy: Callable[..., nbproxy.Session], json_upstream: Json, answers: dict[str, Any]
) -> None:
    session = proxy()
    json_upstream.answer = lambda *_: (200, answers)
    body = lines({}, red())
    assert ask(session, body).json == answers
    assert json_upstream.requests[-1][3] == body
    assert session.frame.reason.tolist() == ["unreadable", "unreadable"]


def test_codings_on_both_sides(proxy: Callable[..., nbproxy.Session], json_upstream: Json) -> None:
    session = proxy()
    body = gzip.compress(MIXED)
    answer = ask(session, body, b"/_msearch", b"Content-Encoding: gzip", b"Accept-Encoding: gzip")
    assert ids(answer)[0] == ["19", "18"]
    frame = session.frame
    assert frame.request_body[0] == body
    assert frame.request_body[1] == b"\n".join(MIXED.split(b"\n")[:2]) + b"\n"
    assert session.json(frame.exchange_id[0], 1)["hits"]["hits"][0]["_id"] == "0"


def test_a_model_that_fails_costs_no_answer(proxy: Callable[..., nbproxy.Session]) -> None:
    def sometimes(query: str, texts: list[str]) -> list[float]:
        return [1.0 / (query != "blue")] * len(texts)

    session = proxy(model=sometimes)
    assert ids(ask(session, lines({}, red(size=1), {}, red("blue", size=1)))) == [["0"], ["0"]]
    frame = session.frame
    assert frame.reason.fillna("").tolist() == ["", "", "model-error"]
    assert "ZeroDivisionError" in frame.error[2]
    assert "ZeroDivisionError" in frame.error[0]


def test_shadows_score_each(proxy: Callable[..., nbproxy.Session]) -> None:
    session = proxy()
    session.shadow = {"same": lambda query, texts: [0.0] * len(texts)}
    ask(session, lines({}, red(), {}, red("blue")), b"/_msearch", b"X-Opaque-Id: app")
    session.flush(10)
    shadows = session.hits[session.hits.role == "shadow"]
    assert shadows.groupby("part")["query"].first().tolist() == ["red shoes", "blue"]
    assert shadows.query_id.tolist() == [query_hash(text) for text in shadows["query"]]


def test_redact_sees_each_row(proxy: Callable[..., nbproxy.Session]) -> None:
    import msgspec

    session = proxy(redact=lambda one: msgspec.structs.replace(one, request_body=b"gone"))
    ask(session, lines({}, red(), {}, red("blue")))
    assert session.frame.request_body.tolist() == [b"gone"] * 3


def test_templates_are_reranked(proxy: Callable[..., nbproxy.Session], json_upstream: Json) -> None:
    def answer(method: str, path: str, headers: dict[str, str], body: bytes) -> tuple[int, Any]:
        asked = json.loads(body)
        params = asked.get("params", {})
        window = asked.get("source") or {key: params[key] for key in ("from", "size") if key in params}
        return searched(method, "/_search", headers, json.dumps(window).encode())

    json_upstream.answer = answer
    session = proxy()

    def found(body: Any) -> list[str]:
        with Client(session.url) as client:
            kind = b"Content-Type: application/json"
            asked = client.ask(b"POST", b"/books/_search/template", json.dumps(body).encode(), kind)
            return [hit["_id"] for hit in asked.json["hits"]["hits"]]

    source = {"query": {"match": {"title": "{{q}}"}}, "size": 3}
    assert found({"source": source, "params": {"q": "red"}}) == ["19", "18", "17"]
    assert found({"id": "stored", "params": {"q": "red", "from": 2, "size": 2}}) == ["17", "16"]
    assert found({"id": "stored", "params": {"q": "red"}}) == [str(n) for n in range(9, -1, -1)]  # its own page
    frame = session.frame
    assert frame["query"].tolist() == ["red"] * 3
    assert frame.reranked.all()
    assert frame["size"].tolist() == [3, 2, 10]


def test_the_whole_has_a_reason_where_none_was_reranked(
    proxy: Callable[..., nbproxy.Session], json_upstream: Json
) -> None:
    session = proxy()
    ask(session, lines({"index": "missing"}, red(), {}, red(sort=["year"])))
    assert session.frame.reason.tolist() == ["upstream-error", "upstream-error", "sorted"]
    assert not session.frame.reranked.any()
