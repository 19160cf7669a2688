"""Searches through the proxy: widened, reranked, cut back; left alone with a reason; failing open."""

from __future__ import annotations

import gzip
import json
import math
import threading
from collections.abc import Callable
from typing import Any

import pandas as pd
import pytest

import nbproxy
from nbproxy import Limits

from .upstreams import TIMEOUT, Client, Conversation, Json, Scripted, searched

Start = Callable[..., nbproxy.Session]
BODY = {"query": {"match": {"title": "red shoes"}}}


def backwards(query: str, texts: list[str]) -> list[int]:
    return list(range(len(texts)))


def search(session: nbproxy.Session, body: Any = BODY, path: bytes = b"/books/_search", *fields: bytes) -> Any:
    with Client(session.url) as client:
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        return client.ask(b"POST", path, raw, b"Content-Type: application/json", *fields)


def ids(answer: Any) -> list[str]:
    return [hit["_id"] for hit in answer.json["hits"]["hits"]]


def last(session: nbproxy.Session) -> pd.Series:
    return session.frame.iloc[-1]


def test_a_search_is_widened_reranked_and_cut(start: Start, json_upstream: Json) -> None:
    session = start(json_upstream.url, model=backwards, depth=20)
    answer = search(session, {**BODY, "from": 2, "size": 3})
    assert ids(answer) == ["17", "16", "15"]
    assert json.loads(json_upstream.requests[-1][3]) == {**BODY, "from": 0, "size": 20}
    assert answer.json["hits"]["total"]["value"] == 60
    row = last(session)
    assert (row.route, row.dialect, row["index"], row.query) == ("search", "elasticsearch", "books", "red shoes")
    assert (row.offset, row["size"], row.depth, row.reranked, row.model) == (2, 3, 20, True, "backwards")
    assert pd.isna(row.reason)
    assert row.query_id.startswith("q-")
    assert json.loads(row.upstream_request_body)["size"] == 20
    hits = session.hits
    assert list(hits.original_rank) == list(range(1, 21))
    assert list(hits["rank"]) == list(range(20, 0, -1))
    assert sorted(hits[hits.returned].doc_id) == ["15", "16", "17"]
    assert session.json(row.exchange_id) == answer.json


def test_a_page_that_straddles_depth_goes_on_as_upstream_ranked(start: Start, json_upstream: Json) -> None:
    session = start(json_upstream.url, model=backwards, depth=5)
    assert ids(search(session, {**BODY, "from": 3, "size": 4})) == ["1", "0", "5", "6"]
    assert session.hits.score.isna().sum() == 2


def test_get_and_q_are_searches_too(start: Start, json_upstream: Json) -> None:
    json_upstream.answer = lambda method, path, headers, body: searched(method, path, headers, b'{"size": 50}')
    session = start(json_upstream.url, model=backwards)
    with Client(session.url) as client:
        assert ids(client.ask(b"GET", b"/_search?q=title:red"))[0] == "49"
    assert "size=50" in json_upstream.requests[-1][1]
    assert last(session).query == "red"


@pytest.mark.parametrize(
    ("body", "path", "fields", "reason"),
    [
        ({**BODY, "sort": ["year"]}, b"/_search", (), "sorted"),
        ({**BODY, "size": 0}, b"/_search", (), "size-zero"),
        ({**BODY, "from": 50}, b"/_search", (), "beyond-depth"),
        ({"query": {"match_all": {}}, "from": 50}, b"/_search", (), "beyond-depth"),
        ({"query": {"match_all": {}}}, b"/_search", (), "match-all"),
        ({"query": {"term": {"a": "b"}}}, b"/_search", (), "no-query"),
        ({"aggs": {}}, b"/_search", (), "aggregations-only"),
        (b"{", b"/_search", (), "malformed"),
        (BODY, b"/_search?scroll=1m", (), "scroll"),
        (BODY, b"/_search?format=yaml", (), "format"),
        (BODY, b"/_search", (b"X-Nbproxy: off",), "bypass"),
        (BODY, b"/_search", (b"Content-Encoding: snappy",), "encoding"),
    ],
)
def test_what_is_left_alone_goes_untouched_with_its_reason(
    start: Start, json_upstream: Json, body: Any, path: bytes, fields: tuple[bytes, ...], reason: str
) -> None:
    json_upstream.answer = lambda *_: searched(_[0], _[1], _[2], b"")
    session = start(json_upstream.url, model=backwards)
    answer = search(session, body, path, *fields)
    sent = json_upstream.requests[-1]
    assert sent[3] == (body if isinstance(body, bytes) else json.dumps(body).encode())
    assert sent[1] == path.decode()
    assert "x-nbproxy" not in sent[2]
    assert ids(answer)[:2] == ["0", "1"]
    row = last(session)
    assert (row.route, row.reason, row.reranked) == ("search", reason, False)


def test_without_a_model_nothing_changes_but_the_hits_are_recorded(start: Start, json_upstream: Json) -> None:
    session = start(json_upstream.url)
    assert ids(search(session, {**BODY, "from": 10, "size": 2})) == ["10", "11"]
    assert last(session).reason == "no-model"
    assert last(session).query == "red shoes"
    hits = session.hits
    assert list(hits["rank"]) == list(hits.original_rank) == [11, 12]
    assert hits.returned.all()
    assert hits.score.isna().all()
    assert hits.text.str.startswith("document").all()


def test_original_records_candidates_and_keeps_the_order(start: Start, json_upstream: Json) -> None:
    session = start(json_upstream.url, model="original", depth=30)
    assert ids(search(session)) == [str(n) for n in range(10)]
    row = last(session)
    assert row.reranked
    assert pd.isna(row.reason)
    assert len(session.hits) == 30
    assert session.hits.returned.sum() == 10


def raising(query: str, texts: list[str]) -> list[float]:
    raise ZeroDivisionError("no good")


BAD = {
    "raises": (raising, "ZeroDivisionError"),
    "nan": (lambda query, texts: [math.nan] * len(texts), "nan"),
    "too few": (lambda query, texts: [1.0], "50"),
    "none": (lambda query, texts: None, "None"),
}


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_model_fails_open(start: Start, json_upstream: Json, kind: str) -> None:
    model, said = BAD[kind]
    session = start(json_upstream.url, model=model)
    assert ids(search(session)) == [str(n) for n in range(10)]
    row = last(session)
    assert (row.status, row.reranked, row.reason) == (200, False, "model-error")
    assert said in row.error
    assert session.errors[-1].where == "model"
    assert session.errors[-1].exchange_id == row.exchange_id
    assert session.hits.score.isna().all()
    assert said in repr(session) or "error" in repr(session)


def test_a_deadline_and_then_an_overload_fail_open(start: Start, json_upstream: Json) -> None:
    release = threading.Event()

    def stuck(query: str, texts: list[str]) -> list[int]:
        release.wait(TIMEOUT)
        return backwards(query, texts)

    session = start(json_upstream.url, model=stuck, deadline=0.2)
    try:
        assert ids(search(session))[0] == "0"
        assert last(session).reason == "deadline"
        assert ids(search(session))[0] == "0"
        assert last(session).reason == "overloaded"  # the first call keeps its worker
        session.model = backwards  # a swap brings a fresh one
        session.deadline = None
        assert ids(search(session))[0] == "49"
    finally:
        release.set()


@pytest.mark.parametrize(
    ("status", "reason"), [(404, "upstream-error"), (503, "upstream-error"), (400, "upstream-error")]
)
def test_an_error_of_upstreams_is_passed_on(start: Start, json_upstream: Json, status: int, reason: str) -> None:
    json_upstream.answer = lambda *_: (status, {"error": "mine"})
    session = start(json_upstream.url, model=backwards)
    answer = search(session)
    assert (answer.status, answer.json) == (status, {"error": "mine"})
    assert last(session).reason == reason


def test_a_refused_widening_is_asked_again_as_the_client_asked(start: Start, json_upstream: Json) -> None:
    def narrow(method: str, path: str, headers: dict[str, str], body: bytes) -> tuple[int, Any]:
        return (
            (400, {"error": "window"})
            if json.loads(body).get("size", 10) > 10
            else searched(method, path, headers, body)
        )

    json_upstream.answer = narrow
    session = start(json_upstream.url, model=backwards)
    assert ids(search(session)) == [str(n) for n in range(10)]
    assert last(session).reason == "widen-refused"
    assert len(json_upstream.requests) == 2
    assert len(session.hits) == 10


@pytest.mark.parametrize(
    "raw",
    [
        b"not json",
        b'{"hits":{"hits":[],"hits":[]}}',
        b'{"hits":{"hits":[{"_id":NaN}]}}',
        b'{"hits":{"hits":[{"_id":"\xff"}]}}',
    ],
)
def test_an_unreadable_answer_is_relayed_as_it_is(start: Start, json_upstream: Json, raw: bytes) -> None:
    json_upstream.answer = lambda *_: (200, raw)
    session = start(json_upstream.url, model=backwards)
    assert search(session).body == raw
    assert last(session).reason == "unreadable"
    assert json.loads(json_upstream.requests[-1][3]) == BODY


@pytest.mark.parametrize(
    ("first", "reason"), [(b"HTTP/1.1 200 OK", "unreadable"), (b"HTTP/1.1 400 Bad Request", "widen-refused")]
)
def test_what_comes_late_of_an_answer_is_not_the_answer_to_the_search_asked_again(
    start: Start, upstream: Scripted, first: bytes, reason: str
) -> None:
    plain = json.dumps(searched("POST", "/_search", {}, b"{}")[1]).encode()
    ended: list[bool] = []

    def handler(talk: Conversation) -> None:
        _, body = talk.request()
        if json.loads(body) == BODY:
            talk.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(plain) + plain)
            talk.closed()
            return
        talk.send(first + b"\r\nContent-Length: 5\r\n\r\n" + b'{"hit')
        ended.append(talk.closed())  # and nothing is asked on it
        talk.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nlate")

    upstream.handler = handler
    session = start(upstream.url, model=backwards)
    answer = search(session)
    assert (answer.status, ids(answer)) == (200, [str(n) for n in range(10)])
    assert last(session).reason == reason
    session.stop()
    upstream.join()
    assert ended == [True]


def test_an_answer_that_cannot_be_read_condemns_its_connection(start: Start, upstream: Scripted) -> None:
    """Where its framing was wrong, the rest of it is still to come, and is nobody's answer."""
    raw, closed = b'{"hits":', threading.Event()

    def handler(talk: Conversation) -> None:
        _, body = talk.request()
        talk.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(raw) + raw)
        if json.loads(body) != BODY and talk.closed():
            closed.set()

    upstream.handler = handler
    session = start(upstream.url, model=backwards)
    assert search(session).body == raw
    assert closed.wait(TIMEOUT)


def test_no_hits_and_no_text(start: Start, json_upstream: Json) -> None:
    session = start(json_upstream.url, model=backwards)
    json_upstream.answer = lambda *_: (200, {"hits": {"hits": []}})
    assert search(session).json == {"hits": {"hits": []}}
    assert last(session).reason == "no-hits"
    json_upstream.answer = lambda *_: (200, {"hits": {"hits": [{"_index": "a", "_id": "1", "_source": {"n": 1}}]}})
    assert ids(search(session)) == ["1"]
    assert last(session).reason == "no-text"


def test_a_large_answer_is_relayed(start: Start, json_upstream: Json) -> None:
    session = start(json_upstream.url, model=backwards, limits=Limits(answer_bytes=2000))
    assert ids(search(session, {**BODY, "size": 5})) == ["0", "1", "2", "3", "4"]
    assert last(session).reason == "too-large"


def test_a_large_search_body_streams_through(start: Start, json_upstream: Json) -> None:
    session = start(json_upstream.url, model=backwards, limits=Limits(search_bytes=100))
    body = json.dumps({**BODY, "note": "x" * 1000}).encode()
    assert ids(search(session, body))[0] == "0"
    assert last(session).reason == "too-large"
    with Client(session.url) as client:
        head = b"POST /_search HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
        client.send(head + b"%x\r\n" % len(body) + body + b"\r\n0\r\n\r\n")
        assert client.read(b"POST").status == 200
    assert list(session.frame.reason) == ["too-large"] * 2


def test_a_gzip_bomb_is_not_unpacked(start: Start, upstream: Scripted) -> None:
    bomb = gzip.compress(b'{"hits":{"hits":[' + b" " * 30_000_000 + b"]}}")
    seen = upstream.answers(
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(bomb) + bomb
    )
    session = start(upstream.url, model=backwards, limits=Limits(answer_bytes=1_000_000))
    answer = search(session, BODY, b"/_search", b"Accept-Encoding: gzip")
    assert answer.body == bomb
    assert last(session).reason == "too-large"
    assert len(seen) == 2


def test_codings_follow_what_the_client_asked_for(start: Start, upstream: Scripted) -> None:
    plain = json.dumps(searched("POST", "/_search", {}, b'{"size": 50}')[1]).encode()
    packed = gzip.compress(plain)
    seen = upstream.answers(
        b'HTTP/1.1 200 OK\r\nETag: "x"\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n' % len(packed) + packed
    )
    session = start(upstream.url, model=backwards)
    zipped = search(session, BODY, b"/_search", b"Accept-Encoding: br, gzip")
    assert b"Accept-Encoding: gzip\r\n" in seen[-1][0]
    assert zipped.all(b"content-encoding") == [b"gzip"]
    assert json.loads(gzip.decompress(zipped.body))["hits"]["hits"][0]["_id"] == "49"
    assert zipped.all(b"etag") == []
    bare = search(session, BODY, b"/_search")
    assert b"Accept-Encoding: identity\r\n" in seen[-1][0]
    assert bare.all(b"content-encoding") == []
    assert ids(bare)[0] == "49"
    request = search(session, gzip.compress(json.dumps(BODY).encode()), b"/_search", b"Content-Encoding: gzip")
    assert ids(request)[0] == "49"


def test_expect_is_answered_by_us_on_a_search(start: Start, json_upstream: Json) -> None:
    session = start(json_upstream.url, model=backwards)
    body = json.dumps(BODY).encode()
    with Client(session.url) as client:
        client.send(
            b"POST /_search HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: %d\r\n\r\n" % len(body)
        )
        assert client.socket.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.send(body)
        assert ids(client.read(b"POST"))[0] == "49"
    assert "expect" not in json_upstream.requests[-1][2]


def test_min_score_shortens_the_page_and_the_recording_keeps_all(start: Start, json_upstream: Json) -> None:
    session = start(json_upstream.url, model=backwards, min_score=45)
    answer = search(session)
    assert ids(answer) == ["49", "48", "47", "46", "45"]
    assert answer.json["hits"]["total"]["value"] == 60
    assert len(session.hits) == 50


def test_a_client_picks_among_the_models(start: Start, json_upstream: Json) -> None:
    session = start(json_upstream.url)
    session.models["back"] = backwards
    assert ids(search(session, BODY, b"/_search", b"X-Nbproxy-Model: back"))[0] == "49"
    assert last(session).model == "back"
    assert "x-nbproxy-model" not in json_upstream.requests[-1][2]
    refused = search(session, BODY, b"/_search", b"X-Nbproxy-Model: other")
    assert (refused.status, refused.json["error"]["type"]) == (400, "nbproxy_unknown_model")


def test_shadows_score_after_the_answer(start: Start, json_upstream: Json) -> None:
    session = start(json_upstream.url)
    session.shadow = {"back": backwards, "bad": raising}
    assert ids(search(session)) == [str(n) for n in range(10)]
    session.flush(TIMEOUT)
    hits = session.hits
    shadow = hits[hits.role == "shadow"]
    assert set(shadow.model) == {"back"}
    assert list(shadow["rank"]) == list(range(50, 0, -1))
    assert last(session).reason == "no-model"
    assert session.errors[-1].where == "shadow bad"


def test_the_query_id_is_the_clients_unless_it_names_an_application(start: Start, json_upstream: Json) -> None:
    session = start(json_upstream.url, model=backwards)
    search(session, BODY, b"/_search", b"X-Opaque-Id: q7")
    assert last(session).query_id == "q7"
    search(session, {"query": {"match": {"title": "Blue"}}}, b"/_search", b"X-Opaque-Id: q7")
    with pytest.warns(UserWarning, match="q7"):
        frame = session.frame
    assert frame.query_id.str.startswith("q-").all()
    assert frame.query_id.nunique() == 2


def test_credentials_are_never_recorded(start: Start, json_upstream: Json) -> None:
    session = start(json_upstream.url, model=backwards)
    search(session, BODY, b"/_search?api_key=s3cret", b"Authorization: Basic s3cret", b"Cookie: s=s3cret")
    assert "s3cret" not in session.frame.to_csv()
    assert json_upstream.requests[-1][2]["authorization"] == "Basic s3cret"


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        (None, "document 0"),
        ("asked", '{"match": {"title": "red shoes"}}'),
        (["asked", "title"], '{"match": {"title": "red shoes"}}\ndocument 0'),
        ("{title}!", "document 0!"),
        (lambda hit: f"{hit.doc_id} {hit.source['title']}", "0 document 0"),
    ],
)
def test_what_the_model_reads(start: Start, json_upstream: Json, fields: Any, text: str) -> None:
    session = start(json_upstream.url, model=backwards, fields=fields)
    search(session)
    assert session.hits.text.iloc[0] == text


def test_fields_that_raise_fail_open(start: Start, json_upstream: Json) -> None:
    session = start(json_upstream.url, model=backwards, fields=lambda hit: hit.source["nothing"])
    assert ids(search(session))[0] == "0"
    assert last(session).reason == "model-error"
    assert session.errors[-1].where == "fields"


def test_a_bad_format_is_refused_when_it_is_set(start: Start, json_upstream: Json) -> None:
    session = start(json_upstream.url)
    with pytest.raises(nbproxy.ConfigError):
        session.fields = "{title"
    with pytest.raises(nbproxy.ConfigError):
        session.fields = [1]


def test_upstream_down_on_a_search_is_502(start: Start) -> None:
    with Scripted() as gone:
        pass
    session = start(gone.url, model=backwards)
    answer = search(session)
    assert (answer.status, answer.json["error"]["type"]) == (502, "nbproxy_upstream_unreachable")
    assert last(session).reason == "upstream-error"


def test_a_stale_connection_costs_a_search_nothing(start: Start, upstream: Scripted) -> None:
    plain = json.dumps(searched("POST", "/_search", {}, b'{"size": 50}')[1]).encode()
    whole = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(plain) + plain

    def handler(talk: Any) -> None:
        talk.request()
        talk.send(whole)
        talk.request()
        talk.reset()

    upstream.handler = handler
    session = start(upstream.url, model=backwards)
    assert [ids(search(session))[0] for _ in range(3)] == ["49"] * 3


def test_a_model_that_reads_the_source_gets_it_whole(start: Start, json_upstream: Json) -> None:
    def newest(query: str, hits: list[nbproxy.Hit]) -> list[int]:
        return [hit.source["year"] for hit in hits]

    def answer(method: str, path: str, headers: dict[str, str], body: bytes) -> tuple[int, Any]:
        shown = json.loads(body)["_source"]
        sources = [{"title": f"red {n}", **({"year": year} if shown is True else {})} for n, year in ((0, 7), (1, 9))]
        hits = [{"_index": "books", "_id": s["title"], "_score": 1.0, "_source": s} for s in sources]
        return 200, {"hits": {"total": {"value": 2}, "hits": hits}}

    json_upstream.answer = answer
    for role in ("model", "shadow"):
        for model in (newest, nbproxy.field("year"), nbproxy.fuse("words", nbproxy.field("year"), weights=[1, 2])):
            session = start(json_upstream.url, name=f"{role} {model!r}", model=None)
            setattr(session, role, model if role == "model" else {"s": model})
            found = search(session, {**BODY, "_source": ["title"]}).json["hits"]["hits"]
            assert [hit["_source"] for hit in found] == [{"title": hit["_id"]} for hit in found]
            assert session.flush(TIMEOUT) is None
            ranked = session.hits[session.hits.role == ("served" if role == "model" else "shadow")]
            assert ranked.sort_values("rank").doc_id.tolist() == ["red 1", "red 0"]
            session.stop()


def test_what_upstream_says_before_its_answer_goes_on(start: Start, upstream: Scripted) -> None:
    """But not to a client of HTTP/1.0, and not that it may send what it has sent."""
    hints, body = (
        b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n",
        json.dumps(searched("POST", "/_search", {}, b"")[1]).encode(),
    )
    answer = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
    upstream.answers(b"HTTP/1.1 100 Continue\r\n\r\n" + hints + answer)
    session = start(upstream.url, model=backwards)
    for version, said in ((b"1", hints), (b"0", b"")):
        with Client(session.url) as client:
            client.send(b"GET /books/_search?q=shoes HTTP/1.%b\r\nHost: a\r\nConnection: close\r\n\r\n" % version)
            told = client.rest()
        assert told.startswith(said + b"HTTP/1.1 200 OK\r\n")
        assert told.count(b"HTTP/1.1") == 1 + bool(said)
    assert session.frame.reranked.all()


@pytest.mark.parametrize("said", [b"", b"Content-Length: 1234\r\n"], ids=["no length", "the length there would be"])
def test_of_an_answer_without_a_body_no_other_length_is_said(start: Start, upstream: Scripted, said: bytes) -> None:
    upstream.answers(b'HTTP/1.1 304 Not Modified\r\nETag: "x"\r\n' + said + b"\r\n")
    session = start(upstream.url, model=backwards)
    with Client(session.url) as client:
        client.send(b"GET /books/_search?q=shoes HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        assert client.rest() == b'HTTP/1.1 304 Not Modified\r\nETag: "x"\r\n' + said + b"Connection: close\r\n\r\n"
    assert last(session).reason == "upstream-error"
