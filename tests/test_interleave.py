"""From ``nbproxy.interleave`` to ``session.interleaving()``: searches and clicks of real clients, and what is left of
them in other processes and after a crash."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import opensearchpy
import pytest

import nbproxy
from nbproxy import ConfigError

from .processes import line_of, settled
from .test_searches import backwards, ids, last, search
from .upstreams import Client, Json, searched

Start = Callable[..., nbproxy.Session]
PAIR = nbproxy.interleave("original", backwards)


def asked(n: int, **body: Any) -> dict[str, Any]:
    return {"query": {"match": {"title": f"query {n}"}}, **body}


def click(session: nbproxy.Session, body: Any, *fields: bytes) -> Any:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    with Client(session.url) as client:
        return client.ask(b"POST", b"/_nbproxy/click", raw, *fields)


def row(session: Any) -> list[Any]:
    return list(session.interleaving().summary.iloc[0])


def test_a_model_wins_where_its_documents_are_clicked(start: Start, json_upstream: Json) -> None:
    session = start(json_upstream.url, model=PAIR)
    for n in range(8):
        search(session, asked(n), b"/books/_search", b"X-Opaque-Id: q%d" % n)
        assert click(session, {"query_id": f"q{n}", "doc_id": "49", "index": "books"}).status == 202
    assert row(session) == ["original", "backwards", 0, 8, 0, 8, pytest.approx(2 / 2**8)]
    assert list(session.interleaving().per_query.query_id) == [f"q{n}" for n in range(8)]


def test_before_any_search_there_is_a_row_of_nothing(start: Start, json_upstream: Json) -> None:
    session = start(json_upstream.url, model=PAIR)
    assert row(session) == ["original", "backwards", 0, 0, 0, 0, 1.0]
    assert session.interleaving().per_query.empty
    assert session.interleaving().picks.empty
    session.model = None
    with pytest.raises(ConfigError, match="no search was interleaved"):
        session.interleaving()


def test_a_click_by_the_hash_of_the_query(start: Start, json_upstream: Json) -> None:
    session = start(json_upstream.url, model=PAIR)
    search(session, asked(1))
    click(session, {"query_id": last(session).query_id, "doc_id": "0"})
    assert row(session)[2:6] == [1, 0, 0, 1]


def test_what_an_application_calls_itself_is_no_query(start: Start, json_upstream: Json) -> None:
    session = start(json_upstream.url, model=PAIR)
    for n in range(2):
        search(session, asked(n), b"/books/_search", b"X-Opaque-Id: shop")
    click(session, {"query_id": "shop", "doc_id": "0"})
    with pytest.warns(UserWarning, match="names an application"):
        assert session.interleaving().unmatched.to_dict() == {"no interleaved search": 1}


@pytest.mark.parametrize("kind", [b"text/plain;charset=UTF-8", b"application/json", b""])
def test_a_page_of_another_origin_sends_a_beacon(start: Start, json_upstream: Json, kind: bytes) -> None:
    """``navigator.sendBeacon``, or ``fetch`` as a simple request: no question beforehand, whatever the type."""
    session = start(json_upstream.url, model=PAIR)
    search(session, asked(1), b"/books/_search", b"X-Opaque-Id: q")
    fields = [b"Origin: https://shop.example", *([b"Content-Type: " + kind] if kind else [])]
    answer = click(session, {"query_id": "q", "doc_id": "49"}, *fields)
    assert (answer.status, answer.json) == (202, {"accepted": True})
    assert answer.all(b"access-control-allow-origin") == [b"*"]
    assert row(session)[3] == 1
    assert click(session, b"nonsense", *fields).all(b"access-control-allow-origin") == [b"*"]
    with Client(session.url) as client:  # nothing else is open
        assert client.ask(b"GET", b"/_nbproxy/status", None, *fields).all(b"access-control-allow-origin") == []
        assert client.ask(b"OPTIONS", b"/_nbproxy/session", None, *fields).status == 405


def test_what_tells_of_no_click_is_refused_in_our_shape(start: Start, json_upstream: Json) -> None:
    session = start(json_upstream.url, model=PAIR)
    answer = click(session, {"doc_id": "7"})
    assert answer.status == 400
    assert answer.json["error"]["type"] == "nbproxy_bad_request"
    assert "query_id" in answer.json["error"]["reason"]
    assert session.frame.route.tolist() == ["own"]
    assert json_upstream.requests == []


def test_clicks_are_taken_where_nothing_is_interleaved(start: Start, json_upstream: Json) -> None:
    session = start(json_upstream.url, model=backwards)
    search(session, asked(1), b"/books/_search", b"X-Opaque-Id: q")
    assert click(session, {"query_id": "q", "doc_id": "49"}).status == 202
    session.model = PAIR
    found = session.interleaving()
    assert list(found.summary.n) == [0]
    assert found.unmatched.to_dict() == {"no interleaved search": 1}


# -- UBI


def event(query_id: str, doc_id: str, **fields: Any) -> dict[str, Any]:
    attributes = {"object": {"object_id": doc_id, "object_id_field": "_id"}}
    return {"action_name": "click", "query_id": query_id, "event_attributes": attributes, **fields}


def test_ubi_events_pass_through_and_tell_of_clicks(start: Start, json_upstream: Json) -> None:
    """By OpenSearch's own client, one by one and in bulk."""
    session = start(json_upstream.url, model=PAIR)
    for n in range(3):
        search(session, asked(n, ext={"ubi": {"query_id": f"u{n}"}}))
    with opensearchpy.OpenSearch(session.url, http_compress=True) as client:
        client.index(index="ubi_events", body=event("u0", "49"))
        bulk: list[Any] = []
        for query_id, doc_id in (("u1", "49"), ("u1", "48"), ("u2", "0"), ("u9", "0")):
            bulk += [{"index": {"_index": "ubi_events"}}, event(query_id, doc_id)]
        client.bulk(body=bulk)
    assert row(session)[2:6] == [1, 2, 0, 3]
    assert session.interleaving().unmatched.to_dict() == {"no interleaved search": 1}
    passed = session.frame[session.frame.route == "pass"]
    assert list(passed.target) == ["/ubi_events/_doc", "/_bulk"]
    assert passed.reason.isna().all()


def test_upstreams_own_ubi_id_joins_clicks(start: Start, json_upstream: Json) -> None:
    """The plugin names a search that did not name itself."""

    def answer(method: str, path: str, headers: dict[str, str], body: bytes) -> Any:
        status, found = searched(method, path, headers, body)
        return status, {**found, "ext": {"ubi": {"query_id": "given"}}} if "hits" in found else found

    json_upstream.answer = answer
    session = start(json_upstream.url, model=PAIR)
    search(session, asked(1, ext={"ubi": {}}))
    search(session, asked(2))
    assert session.frame.ubi_query_id.tolist() == ["given", "given"]
    session.model = None
    search(session, asked(3, ext={"ubi": {}}))
    assert last(session).ubi_query_id == "given"
    click(session, {"ubi_query_id": "given", "doc_id": "0"})
    assert row(session)[2:6] == [1, 0, 0, 1]


def test_events_are_looked_at_only_where_something_was_interleaved(start: Start, json_upstream: Json) -> None:
    session = start(json_upstream.url, model=backwards)
    search(session, asked(1, ext={"ubi": {"query_id": "u"}}))

    def tell() -> None:
        with Client(session.url) as client:
            body = json.dumps(event("u", "49")).encode()
            assert client.ask(b"POST", b"/ubi_events/_doc", body).status == 200

    tell()
    session.models["pair"] = PAIR
    tell()
    session.models = {}
    tell()  # a click may come after the interleaving has ended
    session.model = PAIR
    assert session.interleaving().unmatched.to_dict() == {"no interleaved search": 2}


def test_a_large_bulk_is_relayed_byte_for_byte_and_recorded_as_ever(start: Start, json_upstream: Json) -> None:
    session = start(json_upstream.url, model=PAIR)
    search(session, asked(1, ext={"ubi": {"query_id": "u"}}))
    filler = {"message": "x" * 1000}
    lines = [{"index": {}}, filler] * 100 + [{"index": {}}, event("u", "49")] + [{"index": {}}, filler] * 2000
    body = b"".join(json.dumps(line).encode() + b"\n" for line in lines)
    with Client(session.url) as client:
        assert client.ask(b"POST", b"/ubi_events/_bulk", body).status == 200
    assert json_upstream.requests[-1][3] == body
    told = last(session)
    assert (told.bytes_in, told.request_body, told.request_truncated) == (len(body), body[:65_536], True)
    assert row(session)[3] == 1


# -- elsewhere, and afterwards


def test_a_recording_tells_the_same(start: Start, json_upstream: Json, tmp_path: Path) -> None:
    session = start(json_upstream.url, model=PAIR, record=tmp_path / "r")
    search(session, asked(1), b"/books/_search", b"X-Opaque-Id: q")
    click(session, {"query_id": "q", "doc_id": "49"})
    running = session.interleaving()
    assert nbproxy.load(tmp_path / "r").interleaving().summary.equals(running.summary)  # while it runs
    session.stop()  # sealed
    found = nbproxy.load(tmp_path / "r").interleaving()
    assert found.summary.equals(running.summary)
    assert found.picks.equals(running.picks)
    assert session.interleaving().per_query.equals(running.per_query)
    assert [path.name for path in (tmp_path / "r").glob("events-*")] == [f"events-{session.session_id}-000001.arrow"]


def test_two_sessions_of_one_directory_count_together(start: Start, json_upstream: Json, tmp_path: Path) -> None:
    for name in ("one", "two"):
        session = start(json_upstream.url, name=name, model=PAIR, record=tmp_path / "r")
        search(session, asked(1), b"/books/_search", b"X-Opaque-Id: " + name.encode())
        click(session, {"query_id": name, "doc_id": "49"})
        session.stop()
    assert row(nbproxy.load(tmp_path / "r"))[3] == 2


def test_a_session_that_restarts_goes_on(start: Start, json_upstream: Json, tmp_path: Path) -> None:
    session = start(json_upstream.url, name="same", model=PAIR, record=tmp_path / "r")
    search(session, asked(1), b"/books/_search", b"X-Opaque-Id: q")
    assert start(json_upstream.url, name="same", record=tmp_path / "r", depth=20, drain=1.0) is session
    session.reopen(session.options)
    click(session, {"query_id": "q", "doc_id": "49"})
    assert row(session)[3] == 1


def test_clicks_survive_a_kill(process: Any, json_upstream: Json, tmp_path: Path) -> None:
    child = process(f"""
        import sys, nbproxy
        from tests.test_interleave import PAIR
        session = nbproxy.start({json_upstream.url!r}, name="killed", model=PAIR, record={str(tmp_path / "r")!r})
        print("at", session.url, flush=True)
        sys.stdin.read()
    """)
    while not (line := line_of(child)).startswith("at "):
        assert line
    with Client(line.removeprefix("at ")) as client:
        body = json.dumps(asked(1)).encode()
        assert client.ask(b"POST", b"/books/_search", body, b"X-Opaque-Id: q").status == 200
        assert client.ask(b"POST", b"/_nbproxy/click", b'{"query_id": "q", "doc_id": "49"}').status == 202
    written = settled(child, lambda: clicked(tmp_path / "r"))  # nobody flushes: it is written by itself
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    assert written == 1
    assert row(nbproxy.load(tmp_path / "r"))[2:6] == [0, 1, 0, 1]


def clicked(path: Path) -> int:
    try:
        return int(nbproxy.load(path).interleaving().summary.n[0])
    except ConfigError:
        return 0


@pytest.mark.parametrize("record", [False, True])
def test_from_another_process(start: Start, json_upstream: Json, tmp_path: Path, record: bool) -> None:
    session = start(json_upstream.url, record=tmp_path / "r" if record else False)
    with nbproxy.connect(session.url) as far:
        with pytest.raises(ConfigError, match="no search was interleaved"):
            far.interleaving()
        far.model = "tests.test_interleave:PAIR"  # what has no name is code
        assert far.model.name == "interleave(original, backwards)"
        for n in range(2):
            search(session, asked(n), b"/books/_search", b"X-Opaque-Id: q%d" % n)
            click(session, {"query_id": f"q{n}", "doc_id": "49"})
            assert row(far) == row(session)
            assert row(far)[3] == n + 1
        assert far.interleaving().picks.equals(session.interleaving().picks)
        with pytest.raises(ConfigError, match="object of this process"):
            far.model = nbproxy.interleave("original", "bm25")


def test_from_another_process_by_what_is_there_already(start: Start, json_upstream: Json) -> None:
    session = start(json_upstream.url)
    session.models["mix"] = PAIR
    with nbproxy.connect(session.url) as far:
        far.model = far.models["mix"]
        assert session.model is session.models["mix"]
        far.models["again"] = far.model
        assert session.models["again"].fingerprint == session.model.fingerprint
        with pytest.raises(ConfigError, match="no scores of its own"):
            far.model("query", ["a", "b"])
        far.set_model("again")
        assert session.model.name == "again"


def test_no_click_is_lost_among_many_clients(start: Start, json_upstream: Json) -> None:
    session = start(json_upstream.url, model=PAIR, deadline=None)

    def visit(n: int) -> int:
        with Client(session.url) as client:
            for turn in range(10):
                query_id = b"q%d-%d" % (n, turn)
                body = json.dumps(asked(n * 100 + turn)).encode()
                client.ask(b"POST", b"/books/_search", body, b"X-Opaque-Id: " + query_id)
                told = json.dumps({"query_id": query_id.decode(), "doc_id": "49"}).encode()
                assert client.ask(b"POST", b"/_nbproxy/click", told).status == 202
        return 10

    with ThreadPoolExecutor(12) as pool:
        sent = sum(pool.map(visit, range(12)))
    assert row(session)[2:6] == [0, sent, 0, sent]
    assert session.interleaving().unmatched.empty


def test_the_users_redaction_sees_clicks_too(start: Start, json_upstream: Json) -> None:
    seen: list[Any] = []

    def redact(exchange: nbproxy.Exchange) -> nbproxy.Exchange:
        seen.extend(exchange.clicks)
        return exchange

    session = start(json_upstream.url, model=PAIR, redact=redact)
    assert len(ids(search(session, asked(1), b"/books/_search", b"X-Opaque-Id: q"))) == 10
    click(session, {"query_id": "q", "doc_id": "49"})
    assert row(session)[3] == 1
    assert [one.doc_id for one in seen] == ["49"]
