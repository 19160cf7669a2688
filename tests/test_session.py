"""The session: live models, reading one's own writes, errors, the views' controls, stopping in traffic."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

import nbproxy
from nbproxy import ConfigError, SessionClosed

from .test_searches import BODY, backwards, ids, raising, search
from .upstreams import TIMEOUT, Client, Json, Scripted

Start = Callable[..., nbproxy.Session]


def forwards(query: str, texts: list[str]) -> list[float]:
    return [-float(n) for n in range(len(texts))]


def test_a_swap_is_live_at_once_and_named_in_the_frame(start: Start, json_upstream: Json) -> None:
    session = start(json_upstream.url)
    for model, first in (
        (backwards, "49"),
        (forwards, "0"),
        ("original", "0"),
        ("bm25", "0"),
        (None, "0"),
        (backwards, "49"),
    ):
        session.model = model
        assert ids(search(session))[0] == first
    assert list(session.frame.model.fillna("")) == ["backwards", "forwards", "original", "bm25", "", "backwards"]
    assert session.model.source is backwards
    assert session.model("q", ["a", "b"]) == [0.0, 1.0]


def test_a_model_that_fails_to_load_leaves_the_old_one(start: Start, json_upstream: Json) -> None:
    session = start(json_upstream.url, model=backwards)
    serving = session.model
    with pytest.raises(ConfigError, match="nothing-here"):
        session.model = "/nothing-here"
    assert session.model is serving
    future = session.swap(42)
    with pytest.raises(ConfigError):
        future.result(TIMEOUT)
    assert session.swap(forwards).result(TIMEOUT).name == "forwards"
    assert ids(search(session))[0] == "0"


def test_serving_gives_back_what_served(start: Start, json_upstream: Json) -> None:
    session = start(json_upstream.url, model=backwards)
    before, given = session.model, session.options.model
    with pytest.raises(ZeroDivisionError), session.serving("original") as model:  # noqa: PT012
        assert (session.model.name, model.name) == ("original", "original")
        assert ids(search(session))[0] == "0"
        session.model = "bm25"
        raise ZeroDivisionError
    assert session.model is before
    assert session.options.model is given
    assert ids(search(session))[0] == "49"
    with pytest.raises(ConfigError), session.serving("/nothing-here"):
        pytest.fail("the block ran")
    assert session.model is before
    with session.serving(None):
        session.stop()
    assert session.model is None


def test_serving_keeps_the_worker(start: Start, json_upstream: Json) -> None:
    """A model that is in a call when another one serves for a while is not called a second time at once."""
    began, release, inside, worst = threading.Event(), threading.Event(), [0], [0]

    def slow(query: str, texts: list[str]) -> list[int]:
        inside[0] += 1
        worst[0] = max(worst[0], inside[0])
        began.set()
        release.wait(TIMEOUT)
        inside[0] -= 1
        return backwards(query, texts)

    session = start(json_upstream.url, model=slow, deadline=None)
    threads = [threading.Thread(target=search, args=(session,)) for _ in range(2)]
    threads[0].start()
    assert began.wait(TIMEOUT)
    with session.serving("original"):
        search(session)
    threads[1].start()
    release.set()
    for thread in threads:
        thread.join(TIMEOUT)
    assert worst == [1]


def test_its_face(start: Start, json_upstream: Json) -> None:
    def failing(query: str, texts: list[str]) -> list[int]:
        raise ValueError("\x1b[31m<script>" + "x" * 10_000)

    session = start(json_upstream.url, model=failing)
    search(session)
    html, text = session._repr_html_(), repr(session)
    for fact in (session.url, session.upstream, "failing", "1, of these 1 searches (not reranked: model-error 1)"):
        assert fact in html
    assert "1 errors" in text
    assert "\x1b" not in text + html
    assert "<script" not in html
    assert len(text) < 1000
    session.stop()
    assert "· stopped" in session._repr_html_()


def test_frames_are_shown_quickly_and_shortly(start: Start, upstream: Scripted) -> None:
    """However large the bodies are: pandas cuts a cell, and escapes it."""
    body = b'{"<script>":"' + b"x" * 2_000_000 + b'"}'
    upstream.answers(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
    session = start(upstream.url)
    search(session)
    for frame in (session.frame, session.frame[["response_body"]]):
        assert frame["response_body"][0] == body
        assert len(frame._repr_html_()) < 10_000
        assert len(repr(frame)) < 10_000
        assert "<script" not in frame._repr_html_()
    assert len(repr(session.frame["response_body"])) < 1000


def test_an_exchange_keeps_the_model_that_it_began_with(start: Start, json_upstream: Json) -> None:
    began, release = threading.Event(), threading.Event()

    def slow(query: str, texts: list[str]) -> list[int]:
        began.set()
        release.wait(TIMEOUT)
        return backwards(query, texts)

    session = start(json_upstream.url, model=slow, deadline=None)
    answers: list[list[str]] = []
    thread = threading.Thread(target=lambda: answers.append(ids(search(session))))
    thread.start()
    assert began.wait(TIMEOUT)
    session.model = forwards
    assert ids(search(session))[0] == "0"
    release.set()
    thread.join(TIMEOUT)
    assert answers[0][0] == "49"
    assert sorted(session.frame.model) == ["forwards", "slow"]


def test_a_model_is_never_called_concurrently_with_itself(start: Start, json_upstream: Json) -> None:
    inside, worst = [0], [0]
    lock = threading.Lock()

    def counted(query: str, texts: list[str]) -> list[int]:
        with lock:
            inside[0] += 1
            worst[0] = max(worst[0], inside[0])
        assert not threading.current_thread().name.startswith(f"nbproxy-{session.name}")
        out = backwards(query, texts)
        with lock:
            inside[0] -= 1
        return out

    session = start(json_upstream.url, model=counted, deadline=None)
    threads = [threading.Thread(target=search, args=(session,)) for _ in range(12)]
    for thread in threads:
        thread.start()
    session.models["again"] = counted
    session.model = counted
    for thread in threads:
        thread.join(TIMEOUT)
    assert worst == [1]
    assert (session.frame.reranked).sum() == 12


def test_every_finished_exchange_is_in_the_frame(start: Start, json_upstream: Json) -> None:
    session = start(json_upstream.url, model=backwards)
    for n in range(1, 20):
        search(session)
        assert len(session.frame) == n
        assert session.hits.exchange_id.nunique() == n


def test_frames_have_the_contracts_columns(start: Start, json_upstream: Json) -> None:
    session = start(json_upstream.url, model=backwards)
    search(session)
    assert list(session.frame) == [
        "exchange_id",
        "part",
        "started",
        "client",
        "method",
        "target",
        "route",
        "dialect",
        "index",
        "query_id",
        "ubi_query_id",
        "query",
        "offset",
        "size",
        "depth",
        "status",
        "request_headers",
        "request_body",
        "response_headers",
        "response_body",
        "upstream_request_body",
        "upstream_response_body",
        "request_truncated",
        "response_truncated",
        "bytes_in",
        "bytes_out",
        "upstream_ms",
        "rerank_ms",
        "total_ms",
        "model",
        "model_fingerprint",
        "reranked",
        "reason",
        "error",
    ]
    assert list(session.hits) == [
        "exchange_id",
        "part",
        "query_id",
        "query",
        "index",
        "doc_id",
        "original_rank",
        "original_score",
        "role",
        "model",
        "model_fingerprint",
        "score",
        "rank",
        "returned",
        "text",
    ]
    row = session.frame.iloc[0]
    assert 0 < row.upstream_ms <= row.total_ms
    assert 0 <= row.rerank_ms <= row.total_ms
    assert abs((pd.Timestamp.now("UTC") - row.started).total_seconds()) < 60
    assert row.client.startswith("127.0.0.1:")
    assert row.bytes_out == len(row.response_body)


def test_a_recording_outlives_its_session(start: Start, json_upstream: Json, tmp_path: Path) -> None:
    session = start(json_upstream.url, model=backwards, record=tmp_path / "rec")
    search(session)
    frame, hits = session.frame, session.hits
    recording = nbproxy.load(tmp_path / "rec")
    pd.testing.assert_frame_equal(recording.frame, frame)
    token = next((tmp_path / "rec").glob("token-*"))
    assert token.stat().st_mode & 0o777 == 0o600
    assert token.read_text() == session.token
    assert nbproxy.load(session.recording).frame.equals(frame)
    session.stop()
    recording = nbproxy.load(tmp_path / "rec")
    pd.testing.assert_frame_equal(recording.frame, frame)
    pd.testing.assert_frame_equal(recording.hits, hits)
    pd.testing.assert_frame_equal(session.frame, frame)


def test_compare_and_evaluate_on_live_traffic(start: Start, json_upstream: Json) -> None:
    session = start(json_upstream.url, model=backwards)
    search(session, BODY, b"/books/_search", b"X-Opaque-Id: q1")
    comparison = session.compare()
    assert comparison.summary.loc[0, "top1_changed"] == 1
    assert comparison.summary.loc[0, "tau_b"] == -1
    qrels = pd.DataFrame({"query_id": ["q1"], "doc_id": ["49"], "relevance": [1]})
    evaluation = session.evaluate(qrels)
    assert evaluation.summary.loc["backwards", "nDCG@10"] == 1
    assert evaluation.summary.loc["original", "nDCG@10"] == 0


def test_the_status_route_needs_no_token_and_tells_no_secret(start: Start, json_upstream: Json) -> None:
    session = start(json_upstream.url, model=backwards, auth=("user", "s3cret"))
    search(session)
    with Client(session.url) as client:
        status = client.ask(b"GET", b"/_nbproxy/status").json
    assert set(status) >= {
        "version", "uptime_s", "state", "upstream", "port", "model", "shadows", "counts", "latency_ms", "recording",
        "errors",
    }  # fmt: skip
    assert status["state"] == "running"
    assert status["port"] == session.port
    assert status["model"] == {"name": "backwards", "fingerprint": session.model.fingerprint}
    assert status["counts"]["route"] == {"search": 1}
    assert set(status["latency_ms"]) == {"upstream", "rerank", "total"}
    assert set(status["latency_ms"]["total"]) == {"p50", "p95", "p99"}
    assert set(status["recording"]) == {"path", "exchanges", "bytes", "dropped"}
    assert "s3cret" not in str(status)
    assert "red shoes" not in str(status)
    assert session.status["counts"]["route"] == {"search": 1, "own": 1}
    assert len(json_upstream.requests) == 1


def test_sight_and_snapshot_are_what_the_views_see(start: Start, json_upstream: Json) -> None:
    session = start(json_upstream.url, model=backwards)
    session.models["forth"] = forwards
    search(session)
    with Client(session.url) as client:
        client.ask(b"GET", b"/_cat/indices")
    snapshot = session.snapshot(lines=1)
    assert [line.target for line in snapshot.lines] == ["/_cat/indices"]
    assert snapshot.last is not None
    assert snapshot.last.query == "red shoes"
    assert [(place.original_rank, place.rank) for place in snapshot.last.places[:2]] == [(1, 50), (2, 49)]
    assert set(snapshot.models) >= {"none", "original", "bm25", "forth", "backwards"}
    assert session.sight(snapshot.last.exchange_id) == snapshot.last
    assert session.sight("unknown") is None
    session.set_model("forth")
    assert session.model.name == "forth"
    session.set_model("none")
    assert session.model is None
    with pytest.raises(ConfigError, match="forth"):
        session.set_model("unknown")


def test_logging_goes_by_our_logger_only(start: Start, json_upstream: Json, caplog: pytest.LogCaptureFixture) -> None:
    handlers = list(logging.getLogger().handlers)
    with caplog.at_level(logging.INFO, "nbproxy"):
        session = start(json_upstream.url, model=raising)
        search(session)
        session.stop()
    assert logging.getLogger().handlers == handlers
    assert {record.name for record in caplog.records} == {"nbproxy"}
    assert any("ZeroDivisionError" in record.getMessage() for record in caplog.records)
    assert not logging.getLogger("nbproxy").handlers or all(
        isinstance(handler, logging.NullHandler) for handler in logging.getLogger("nbproxy").handlers
    )


def test_stopping_lets_exchanges_in_flight_end(start: Start, upstream: Scripted) -> None:
    asked, release = threading.Event(), threading.Event()

    def handler(talk: object) -> None:
        talk.request()  # type: ignore[attr-defined]
        asked.set()
        release.wait(TIMEOUT)
        talk.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")  # type: ignore[attr-defined]

    upstream.handler = handler
    session = start(upstream.url, drain=TIMEOUT)
    with Client(session.url) as client:
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert asked.wait(TIMEOUT)
        stopping = threading.Thread(target=session.stop)
        stopping.start()
        release.set()
        assert client.read().body == b"ok"
        stopping.join(TIMEOUT)
    assert not session.running
    assert len(session.frame) == 1


def test_stop_ends_what_does_not_end(start: Start, upstream: Scripted) -> None:
    asked = threading.Event()
    upstream.handler = lambda talk: (talk.request(), asked.set(), talk.closed(), None)[3]
    session = start(upstream.url, drain=0.1)
    with Client(session.url) as client:
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert asked.wait(TIMEOUT)
        session.stop()
        assert client.rest() == b""
    assert session.frame.error.iloc[0] == "the client closed the connection"


def test_nothing_is_left_behind(json_upstream: Json) -> None:
    before = set(threading.enumerate())
    session = nbproxy.start(json_upstream.url, name="left", model=backwards, record=False)
    search(session)
    with Client(session.url) as client:
        client.ask(b"GET", b"/_nbproxy/snapshot", None, b"Authorization: Bearer " + session.token.encode())
    session.stop()
    for thread in set(threading.enumerate()) - before:
        thread.join(TIMEOUT)
    assert set(threading.enumerate()) <= before


def test_calls_after_stop_say_so(start: Start, json_upstream: Json) -> None:
    session = start(json_upstream.url)
    session.stop()
    for act in (lambda: session.swap(None), lambda: setattr(session, "depth", 3), lambda: session.flush(1)):
        with pytest.raises(SessionClosed):
            act()
