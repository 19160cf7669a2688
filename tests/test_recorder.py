"""The recorder on real files: read your writes, redaction, sealing, limits, and disks that refuse."""

from __future__ import annotations

import gc
import os
import signal
import stat
import subprocess
import sys
import threading
from dataclasses import replace

import msgspec
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nbproxy import intake, listing, segments, streams
from nbproxy import recorder as module
from nbproxy.clicks import Click
from nbproxy.drafts import Draft
from nbproxy.errors import ConfigError
from nbproxy.heads import RequestHead
from nbproxy.pages import Pages
from nbproxy.ranking import Teams, query_hash
from nbproxy.recorder import BodiesRemoved, Recorder, RecordingStopped, default_directory
from nbproxy.recording import load
from nbproxy.settings import Settings

from .recordings import T0, Told, exchange, ranking


@pytest.fixture
def told():
    return Told()


@pytest.fixture
def make(tmp_path, told):
    """Recorders that are closed in the end, their threads joined."""
    made = []

    def make(directory=tmp_path / "r", **fields):
        made.append(Recorder(directory, **({"session_id": "s", "on_error": told} | fields)))
        return made[-1]

    yield make
    for one in made:
        one.close()
        assert not one._thread.is_alive()


@pytest.fixture(params=["disk", "memory"])
def place(request, tmp_path):
    return tmp_path / "r" if request.param == "disk" else None


def row(recorder, exchange_id, part=None):
    """One row, as ``session.row`` finds it."""
    recorder.flush()
    return listing.row(Pages(recorder), exchange_id, part)


def names(directory):
    return sorted(path.name for path in directory.iterdir())


def test_an_empty_recording_has_the_right_dtypes(make, place):
    recorder = make(place)
    frame, hits = recorder.frame(), recorder.hits()
    assert (len(frame), len(hits)) == (0, 0)
    assert str(frame["started"].dtype) == "datetime64[us, UTC]"
    assert str(hits["score"].dtype) == "Float64"


def test_reads_its_writes(make, place):
    recorder = make(place)
    for number in range(700):
        recorder.append(exchange(number, response_body=b"%d" % number, bytes_out=3, rankings=(ranking(0.5, None),)))
        if number in (0, 255, 256, 600):
            assert len(recorder.frame()) == number + 1
    frame, hits = recorder.frame(), recorder.hits()
    assert frame["exchange_id"].tolist() == [f"{number:08d}" for number in range(700)]
    assert frame["response_body"].tolist() == [b"%d" % number for number in range(700)]
    assert hits["exchange_id"].tolist() == [f"{number // 2:08d}" for number in range(1400)]
    assert hits["score"].isna().tolist() == [False, True] * 700
    assert isinstance(frame.index, pd.RangeIndex)
    assert (recorder.exchanges, recorder.dropped) == (700, 0)
    assert recorder.bytes > 0
    recorder.close()
    pd.testing.assert_frame_equal(recorder.frame(), frame)
    pd.testing.assert_frame_equal(recorder.hits(), hits)


def test_every_column_arrives(make, place):
    recorder = make(place)
    recorder.append(
        exchange(
            1,
            client="1.2.3.4:5",
            part=None,
            route="search",
            dialect="opensearch",
            index="docs",
            query_id="q",
            ubi_query_id="u",
            query="shoes",
            offset=10,
            size=5,
            depth=50,
            status=200,
            method="POST",
            request_head=b"Host: a\r\nX:b\r\nCookie: c\r\n",
            request_body=b"{}",
            response_head=b"A: \xe9\r\n",
            response_body=b"\x00\xff",
            upstream_request_body=b"[]",
            upstream_response_body=b"",
            bytes_in=2,
            bytes_out=2,
            target="/docs/_search?key=x",
            upstream_ms=1.5,
            rerank_ms=0.25,
            total_ms=3.0,
            model="m",
            model_fingerprint="f",
            reranked=True,
            response_truncated=True,
            reason="deadline",
            error="too slow",
            rankings=(ranking(0.5, float("nan"), None),),
        )
    )
    row = recorder.frame().iloc[0].to_dict()
    assert row.pop("started") == pd.Timestamp("2023-11-14 22:13:20.000001", tz="UTC")
    assert row.pop("part") is pd.NA or row.get("part") is None
    assert row == {
        "exchange_id": "00000001", "client": "1.2.3.4:5", "method": "POST", "target": "/docs/_search?key=[redacted]",
        "route": "search", "dialect": "opensearch", "index": "docs", "query_id": "q", "ubi_query_id": "u",
        "query": "shoes", "offset": 10, "size": 5, "depth": 50, "status": 200,
        "request_headers": "Host: a\nX: b\nCookie: [redacted]", "request_body": b"{}", "response_headers": "A: é",
        "response_body": b"\x00\xff", "upstream_request_body": b"[]", "upstream_response_body": b"",
        "request_truncated": False, "response_truncated": True, "bytes_in": 2, "bytes_out": 2, "upstream_ms": 1.5,
        "rerank_ms": 0.25, "total_ms": 3.0, "model": "m", "model_fingerprint": "f", "reranked": True,
        "reason": "deadline", "error": "too slow",
    }  # fmt: skip
    hits = recorder.hits()
    assert hits["original_rank"].tolist() == hits["rank"].tolist() == [1, 2, 3]
    assert hits["score"].isna().tolist() == [False, False, True]
    assert hits["score"][1] != hits["score"][1]
    assert hits[["doc_id", "original_score", "role", "text", "returned"]].values.tolist()[2] == [
        "d2", 8.0, "served", "text 2", True,
    ]  # fmt: skip


@pytest.mark.parametrize("few", [1, 100])
def test_bodies_arrive_however_they_are_kept(make, place, monkeypatch, few):
    """As columns, or in slices of which columns are made for whoever reads them."""
    monkeypatch.setattr(module, "FEW_ROWS", few)
    monkeypatch.setattr(intake, "CUT_ROWS", 7)
    recorder, bodies = make(place), [b"", b"x", os.urandom(40_000), None, os.urandom(70_000), b"y" * 4096]
    for number, body in enumerate(bodies * 5):
        draft = Draft(
            recorder.append, None, RequestHead(b"POST", b"/%d" % number, 1, b"Host: a\r\n"), Settings(), "pass", 1.0
        )
        draft.received(b"asked %d" % number)
        for piece in [] if body is None else [body] if number % 2 else [body[:2], memoryview(body)[2:]]:
            draft.returned(piece)
        draft.finish()
    frame = recorder.frame()
    assert frame["request_body"].tolist() == [b"asked %d" % number for number in range(30)]
    assert [body if isinstance(body, bytes) else b"" for body in frame["response_body"]] == [
        (body or b"")[:65_536] for body in bodies * 5
    ]
    assert frame["bytes_out"].tolist() == [len(body or b"") for body in bodies * 5]
    assert frame["exchange_id"].is_unique
    assert row(recorder, frame["exchange_id"].iloc[2])["response_body"] == bodies[2]


def test_late_rankings_join_their_exchange(make, place):
    recorder = make(place)
    recorder.append(exchange(1, query_id="q", query="shoes", rankings=(ranking(1.0),)))
    recorder.append_ranking("00000001", None, "q", "shoes", ranking(0.1, role="shadow", model="other"))
    hits = recorder.hits()
    assert hits["role"].tolist() == ["served", "shadow"]
    assert hits["query_id"].tolist() == ["q", "q"]
    assert (len(recorder.frame()), recorder.exchanges) == (1, 1)


def test_searches_of_a_multi_search_are_rows_but_not_exchanges(make):
    recorder = make()
    for part in (None, 0, 1):
        recorder.append(exchange(1, part=part))
    assert recorder.frame()["part"].isna().tolist() == [True, False, False]
    assert recorder.exchanges == 1


def test_complete_runs_off_the_loop_and_may_fail(make, told):
    recorder = make()

    def fill(one):
        assert threading.current_thread() is not threading.main_thread()
        return msgspec.structs.replace(one, query="found", rankings=(ranking(1.0),))

    recorder.append(exchange(1, complete=fill))
    recorder.append(exchange(2, query="kept", complete=lambda one: 1 / 0))
    recorder.append(exchange(3, query="kept", complete=lambda one: sys.exit(1)))
    recorder.append(exchange(4, query="kept", complete=lambda one: None))
    assert recorder.frame()["query"].tolist() == ["found", "kept", "kept", "kept"]
    assert [(where, which, type(error)) for where, which, error in told] == [
        ("complete", "00000002", ZeroDivisionError),
        ("complete", "00000003", SystemExit),
        ("complete", "00000004", TypeError),
    ]
    assert recorder._thread.is_alive()
    assert all(one.complete is None for one in recorder.newest())


@pytest.mark.parametrize("wanted", [True, False])
def test_the_garbage_collector_waits_while_hits_become_rows(make, wanted):
    recorder, seen = make(), []
    (gc.enable if wanted else gc.disable)()
    try:
        recorder.append(exchange(1, complete=lambda one: seen.append(gc.isenabled()) or one))
        recorder.append(exchange(2, complete=lambda one: 1 / 0))
        recorder.flush()
        assert (seen, gc.isenabled()) == ([False], wanted)
    finally:
        gc.enable()


def test_the_users_redact_sees_no_credentials_and_changes_what_is_stored(make, tmp_path):
    seen = []

    def redact(one):
        seen.append((one.target, one.request_head))
        return msgspec.structs.replace(one, response_body=b"***")

    recorder = make(redact=redact)
    recorder.append(exchange(1, target="/?token=abc", request_head=b"Cookie: abc\r\n", response_body=b"abc"))
    assert recorder.frame()["response_body"].tolist() == [b"***"]
    assert seen == [("/?token=[redacted]", b"Cookie: [redacted]\r\n")]
    recorder.close()
    assert not any(b"abc" in path.read_bytes() for path in (tmp_path / "r").iterdir())


def test_a_redact_that_fails_withholds_what_it_might_have_removed(make, told):
    recorder = make(redact=lambda one: 1 / 0)
    full = exchange(1, target="/_search?q=private", query="private", query_id="q", request_head=b"X: private\r\n",
                    request_body=b"private", status=200, rankings=(ranking(0.5),))  # fmt: skip
    recorder.append(full)
    recorder.append_ranking("00000001", None, "q", "private", ranking(0.1, role="shadow"))
    frame, hits = recorder.frame(), recorder.hits()
    assert "private" not in str(frame.iloc[0].to_dict()) + str(hits.to_dict())
    assert frame.loc[0, ["target", "status"]].tolist() == ["/_search", 200]
    assert hits[["doc_id", "score", "role"]].values.tolist() == [["d0", 0.5, "served"], ["d0", 0.1, "shadow"]]
    assert hits["text"].isna().all()
    assert [(where, which) for where, which, _ in told] == [("redact", "00000001")] * 2


def test_an_opaque_id_with_two_texts_falls_back_to_the_hash(make, place):
    recorder = make(place)
    recorder.append(exchange(1, query_id="app", query="Red", rankings=(ranking(1.0),)))
    assert recorder.frame()["query_id"].tolist() == ["app"]
    recorder.append(exchange(2, query_id="app", query="blue", rankings=(ranking(1.0),)))
    hashes = [query_hash("red"), query_hash("blue")]
    with pytest.warns(UserWarning, match="'app' came with different queries"):
        assert recorder.hits()["query_id"].tolist() == hashes
    assert recorder.frame()["query_id"].tolist() == hashes  # told once


def test_the_newest_are_kept_for_views_without_bodies(make):
    recorder = make(None)
    for number in range(300):
        recorder.append(exchange(number, response_body=b"x", rankings=(ranking(1.0, source={"a": 1}),)))
    assert recorder.flush()
    newest = recorder.newest()
    assert [one.exchange_id for one in newest[:2]] == ["00000299", "00000298"]
    assert len(newest) == module.RING
    assert newest[0].response_body is None
    assert newest[0].rankings[0].hits[0].source is None
    assert newest[0].rankings[0].hits[0].text == "text 0"
    assert len(recorder.newest(3)) == 3
    assert recorder.newest(0) == []


def test_files_are_private_and_carry_the_session(make, tmp_path):
    make().append(exchange(1))
    make(session_id="other")
    paths = list((tmp_path / "r").iterdir())
    assert names(tmp_path / "r") == [
        "hits-other-000001.arrows", "hits-s-000001.arrows", "rows-other-000001.arrows", "rows-s-000001.arrows",
    ]  # fmt: skip
    assert {stat.S_IMODE(path.stat().st_mode) for path in paths} == {0o600}
    assert stat.S_IMODE((tmp_path / "r").stat().st_mode) == 0o700


def test_a_full_stream_is_sealed_and_the_rows_stay_in_order(make, tmp_path):
    recorder = make(roll_bytes=50_000)
    for number in range(1000):
        recorder.append(exchange(number, response_body=b"%06d" % number * 100, rankings=(ranking(0.1),)))
        if number % 25 == 0:
            recorder.flush()
    frame = recorder.frame()
    assert [body[:6] for body in frame["response_body"]] == [b"%06d" % number for number in range(1000)]
    assert recorder.hits()["exchange_id"].tolist() == frame["exchange_id"].tolist()
    assert sum(name.startswith("bodies-s-") for name in names(tmp_path / "r")) > 2
    assert frame["exchange_id"].tolist() == [f"{number:08d}" for number in range(1000)]
    recorder.close()
    assert not [name for name in names(tmp_path / "r") if name.endswith((".arrows", ".tmp"))]
    pd.testing.assert_frame_equal(recorder.frame(), frame)


def test_one_row_is_found_without_the_others(make, place):
    recorder = make(place, roll_bytes=30_000)
    for number in range(600):
        recorder.append(exchange(number, response_body=b"%d" % number))
        recorder.append(exchange(number, part=0, response_body=b"part %d" % number))
    recorder.flush()
    for number in (0, 255, 256, 599):
        assert row(recorder, f"{number:08d}")["response_body"] == b"%d" % number
        assert row(recorder, f"{number:08d}", 0)["response_body"] == b"part %d" % number
    assert row(recorder, "unknown") is None
    assert row(recorder, "00000001", 7) is None


def test_without_bodies_and_texts(make, place):
    recorder = make(place)
    recorder.append(exchange(1, response_body=b"x", rankings=(ranking(1.0),)))
    assert recorder.frame(bodies=False)["response_body"].isna().all()
    assert recorder.hits(texts=False)["text"].isna().all()
    assert recorder.hits()["text"].tolist() == ["text 0"]


def test_over_the_limit_the_oldest_bodies_go_and_the_rows_stay(make, told, tmp_path):
    recorder = make(limit_bytes=1_000_000, roll_bytes=100_000)
    for number in range(40):
        recorder.append(exchange(number, response_body=os.urandom(50_000)))
        recorder.flush()
    frame = recorder.frame()
    have = frame["response_body"].notna().tolist()
    assert len(frame) == 40
    assert have == sorted(have)  # the oldest are the ones that went
    assert 0 < have.index(True) < 39
    assert recorder.bytes <= 1_000_000 + 200_000
    assert row(recorder, "00000000")["response_body"] is None
    assert {(where, which, type(error)) for where, which, error in told} == {("recording", None, BodiesRemoved)}
    assert len(told) == have.index(True) // 2  # one for each file: two rows fill a stream


def test_texts_go_after_the_bodies(make, told):
    recorder = make(limit_bytes=1_500_000, roll_bytes=50_000)
    text = [os.urandom(500).hex() for _ in range(50)]
    for number in range(60):
        one = ranking(*[0.5] * 50)
        hits = tuple(
            type(hit)(hit.index, hit.doc_id, hit.rank, None, text[k] + str(number)) for k, hit in enumerate(one.hits)
        )
        recorder.append(
            exchange(number, rankings=(type(one)("served", "m", "f", hits, one.scores, one.ranks, one.returned),))
        )
        recorder.flush()
    hits = recorder.hits()
    assert len(hits) == 3000
    assert hits["doc_id"].notna().all()
    assert 0 < hits["text"].notna().sum() < 3000
    assert told


def test_memory_is_bounded(make, told):
    recorder = make(None, limit_bytes=200_000)
    for number in range(300):
        recorder.append(exchange(number, response_body=os.urandom(2_000)))
        recorder.flush()
    frame = recorder.frame()
    assert recorder.bytes <= 100_000
    assert len(frame) + recorder.dropped == 300
    assert frame["exchange_id"].iloc[-1] == "00000299"
    assert recorder.dropped or frame["response_body"].isna().any()


def test_small_batches_in_memory_are_merged(make):
    recorder = make(None)
    for number in range(600):
        recorder.append(exchange(number))
        recorder.flush()
    assert len(recorder._rows.memory) < 300
    assert recorder.frame()["exchange_id"].tolist() == [f"{number:08d}" for number in range(600)]


class Refusing:
    """A disk that takes half of what it is given, and is full then."""

    def __init__(self, monkeypatch):
        self.full, write = False, streams.StreamFile._written

        def refuse(file, data):
            if self.full and len(data) <= streams.BLOCK:
                raise OSError(28, "No space left on device")
            return write(file, data[: len(data) // 2 // streams.BLOCK * streams.BLOCK] if self.full else data)

        monkeypatch.setattr(streams.StreamFile, "_written", refuse)


def test_a_full_disk_costs_nothing_while_memory_lasts(make, told, monkeypatch):
    disk, recorder = Refusing(monkeypatch), make()
    recorder.append(exchange(1, rankings=(ranking(1.0),)))
    recorder.flush()
    disk.full = True
    for number in (2, 3):
        recorder.append(exchange(number, rankings=(ranking(1.0),)))
        assert len(recorder.frame()) == number
    assert row(recorder, "00000003")["target"] == "/"
    assert [(where, error.errno) for where, _, error in told] == [("recording", 28)] * 2  # once a table
    disk.full = False
    recorder.append(exchange(4, rankings=(ranking(1.0),)))
    assert recorder.frame()["exchange_id"].tolist() == [f"{number:08d}" for number in (1, 2, 3, 4)]
    assert recorder.hits()["exchange_id"].tolist() == [f"{number:08d}" for number in (1, 2, 3, 4)]
    assert recorder.dropped == 0
    recorder.close()
    assert len(load(recorder.path).frame) == 4


def click(number):
    return Click(exchange_id=f"{number:08d}", time=T0 + number, source="route", query_id="q", doc_id=f"d{number}")


def test_events_have_a_file_where_there_are_any(make, place):
    recorder = make(place, roll_bytes=20_000)
    recorder.append(exchange(1, rankings=(ranking(1.0),)))
    assert recorder.events().num_rows == 0
    assert place is None or not [name for name in names(place) if name.startswith("events")]
    teams = Teams("team-draft", ("x", "1"), ("y", "2"), "a", (0.5,))
    recorder.append(exchange(2, rankings=(replace(ranking(1.0), teams=teams),), clicks=(click(2),)))
    for number in range(3, 300):
        recorder.append_click(click(number))
        if number % 50 == 0:
            recorder.flush()
    told = recorder.events().to_pylist()
    assert [one["event"] for one in told] == ["merge", *["click"] * 298]
    assert (told[0]["a"], told[0]["teams"], told[0]["propensities"]) == ("x", "a", "0.5")
    assert [one["doc_id"] for one in told[1:]] == [f"d{number}" for number in range(2, 300)]
    assert len(recorder.frame()) == recorder.exchanges == 2
    recorder.close()
    assert recorder.events().to_pylist() == told
    if place is not None:
        assert not [name for name in names(place) if name.endswith((".arrows", ".tmp"))]
        again = make(place)  # the same session's
        again.append_click(click(300))
        assert again.events().num_rows == len(told) + 1


def test_events_wait_in_memory_for_a_full_disk(make, told, monkeypatch):
    disk, recorder = Refusing(monkeypatch), make()
    disk.full = True
    recorder.append_click(click(1))
    assert recorder.events().num_rows == 1
    disk.full = False
    recorder.append_click(click(2))
    assert [one["doc_id"] for one in recorder.events().to_pylist()] == ["d1", "d2"]
    recorder.close()
    assert [one["doc_id"] for one in load(recorder.path)._events().to_pylist()] == ["d1", "d2"]
    assert [where for where, *_ in told] == ["recording"]


def test_what_does_not_fit_into_memory_is_dropped_and_counted(make, told, monkeypatch):
    monkeypatch.setattr(module, "SPILL_BYTES", 20_000)
    disk, recorder = Refusing(monkeypatch), make()
    disk.full = True
    for number in range(200):
        recorder.append(exchange(number))
        recorder.flush()
    assert recorder.dropped > 0
    assert len(recorder.frame()) == 200 - recorder.dropped


def test_a_partial_write_is_taken_back(make, told, monkeypatch):
    disk, recorder = Refusing(monkeypatch), make()
    recorder.append(exchange(1))
    recorder.flush()
    disk.full = True
    recorder.append(exchange(2, response_body=b"x" * 20_000))
    recorder.flush()
    assert len(told) == 1
    assert load(recorder.path).frame["exchange_id"].tolist() == ["00000001"]
    disk.full = False
    recorder.append(exchange(3))
    assert len(recorder.frame()) == 3
    assert load(recorder.path).frame["exchange_id"].tolist() == ["00000001", "00000002", "00000003"]


def test_a_stream_that_cannot_be_sealed_goes_on(make, told, monkeypatch):
    def refuse(segment):
        raise OSError(28, "No space left on device")

    recorder = make(roll_bytes=10_000)
    with monkeypatch.context() as patch:
        patch.setattr(segments, "seal", refuse)
        recorder.append(exchange(1, response_body=b"x" * 20_000))
        recorder.flush()
        recorder.append(exchange(2, response_body=b"x" * 20_000))  # written, so that it is due to be sealed again
        assert len(recorder.frame()) == 2
    assert [type(error) for *_, error in told] == [OSError]  # though it was written in between
    recorder.append(exchange(3, response_body=b"x" * 20_000))
    recorder.flush()
    assert "bodies-s-000001.arrow" in names(recorder.path)
    assert len(load(recorder.path).frame) == 3


def test_a_removed_directory_is_survived(make, told):
    recorder = make()
    recorder.append(exchange(1))
    recorder.flush()
    for path in recorder.path.iterdir():
        path.unlink()
    recorder.path.rmdir()
    recorder.append(exchange(2))
    assert recorder.frame()["exchange_id"].tolist() == ["00000002"]
    assert told
    recorder.path.mkdir()
    recorder.append(exchange(3))
    assert recorder.frame()["exchange_id"].tolist() == ["00000002", "00000003"]
    assert load(recorder.path).frame["exchange_id"].tolist() == ["00000002", "00000003"]


def test_a_directory_that_cannot_be_is_an_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="cannot record to"):
        Recorder(tmp_path / "file" / "below", session_id="s")
    with pytest.raises(ConfigError, match="cannot record to"):
        Recorder(tmp_path / "file", session_id="s")
    with pytest.raises(ConfigError, match="session id"):
        Recorder(tmp_path, session_id="../s")


def test_a_backlog_is_bounded(make, monkeypatch):
    monkeypatch.setattr(intake, "BACKLOG_ROWS", 10)
    monkeypatch.setattr(intake, "FRESH_ROWS", 1)
    recorder = make(None)
    gate = threading.Event()
    recorder.append(exchange(0, complete=lambda one: gate.wait() and one))
    recorder._intake.hurry()
    for number in range(1, 40):
        recorder.append(exchange(number))
    gate.set()
    assert recorder.flush()
    assert recorder.dropped >= 28
    assert len(recorder.frame()) == 40 - recorder.dropped


def test_a_backlog_of_columns_is_bounded_by_its_rows(make, monkeypatch):
    monkeypatch.setattr(intake, "BACKLOG_ROWS", 20)
    monkeypatch.setattr(intake, "FRESH_ROWS", 1)
    monkeypatch.setattr(intake, "CUT_ROWS", 4)
    recorder = make(None)
    gate, begun = threading.Event(), threading.Event()
    recorder.append(exchange(0, complete=lambda one: begun.set() or (gate.wait() and one)))
    recorder._intake.hurry()
    assert begun.wait(10)
    for _ in range(50):
        draft = Draft(recorder.append, None, RequestHead(b"GET", b"/", 1, b"Host: a\r\n"), Settings(), "pass", 1.0)
        draft.finish()
    assert recorder.dropped == 30
    gate.set()
    assert recorder.flush()
    assert len(recorder.frame()) == 21


def test_a_backlog_of_bodies_is_bounded_and_drains(make, monkeypatch):
    monkeypatch.setattr(intake, "BACKLOG_BYTES", 1_000)
    recorder = make(None)
    gate = threading.Event()
    recorder.append(exchange(0, response_body=b"x" * 2_000, complete=lambda one: gate.wait() and one))
    recorder.append(exchange(1))
    before = recorder.dropped
    gate.set()
    recorder.flush()
    recorder.append(exchange(2))
    assert len(recorder.frame()) == 3 - before == 3 - recorder.dropped


def test_a_row_that_cannot_be_stored_is_dropped_alone(make, told):
    recorder = make()
    for one in (exchange(1), exchange(2, request_head="no bytes"), exchange(3)):
        recorder.append(one)
    assert recorder.frame()["exchange_id"].tolist() == ["00000001", "00000003"]
    assert recorder.dropped == 1


def test_closing_is_idempotent_and_what_comes_after_is_dropped(make):
    recorder = make()
    recorder.append(exchange(1))
    recorder.close()
    recorder.close()
    assert recorder.flush(0.0)
    recorder.append(exchange(2))
    assert (len(recorder.frame()), recorder.dropped) == (1, 1)


def test_closing_without_sealing_leaves_a_readable_stream(make, tmp_path):
    recorder = make()
    recorder.append(exchange(1, response_body=b"x"))
    recorder.close(seal=False)
    assert names(tmp_path / "r") == ["hits-s-000001.arrows", "rows-s-000001.arrows"]
    assert load(tmp_path / "r").frame["response_body"].tolist() == [b"x"]


def test_a_session_that_recorded_before_goes_on(make):
    first = make()
    first.append(exchange(1))
    first.close()
    second = make()
    second.append(exchange(2))
    assert len(second.frame()) == 2
    second.close()
    assert "rows-s-000002.arrow" in names(second.path)


def test_a_dead_thread_is_told_and_its_work_done(make, told, monkeypatch):
    monkeypatch.setattr(Recorder, "_run", lambda self: None)
    recorder = make()
    recorder._thread.join()
    recorder.append(exchange(1))
    assert len(recorder.frame()) == 1
    assert {type(error) for *_, error in told} == {RecordingStopped}


def test_a_failing_round_does_not_end_the_thread(make, told, monkeypatch):
    recorder = make()
    with monkeypatch.context() as patch:
        patch.setattr(recorder, "_completed", lambda exchanges: sys.exit(1))
        recorder.append(exchange(1))
        assert recorder.flush()
    recorder.append(exchange(2))
    assert recorder.frame()["exchange_id"].tolist() == ["00000002"]
    assert recorder._thread.is_alive()
    assert [type(error) for *_, error in told] == [SystemExit]


def test_a_flush_that_takes_too_long_says_so(make):
    recorder = make()
    gate = threading.Event()
    recorder.append(exchange(1, complete=lambda one: gate.wait() and one))
    assert recorder.flush(0.01) is False
    gate.set()
    assert recorder.flush() is True


def test_the_users_redact_may_read_the_frames(make):
    recorder = make(redact=lambda one: (recorder.frame(), one)[1])
    recorder.append(exchange(1))
    assert len(recorder.frame()) == 1


def test_an_on_error_that_fails_or_reads_does_no_harm(make):
    def on_error(where, which, error):
        recorder.hits()
        raise RuntimeError

    recorder = make(on_error=on_error)
    recorder.append(exchange(1, complete=lambda one: 1 / 0))
    assert len(recorder.frame()) == 1


def test_threads_may_read_while_it_writes(make):
    recorder = make(roll_bytes=20_000)
    lengths, failed = [], []

    def read():
        try:
            lengths.extend(len(recorder.frame()) for _ in range(10))
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=read) for _ in range(3)]
    for thread in threads:
        thread.start()
    for number in range(2000):
        recorder.append(exchange(number, response_body=b"x" * 200))
    for thread in threads:
        thread.join()
    assert not failed
    assert len(recorder.frame()) == 2000
    assert len(set(recorder.frame()["exchange_id"])) == 2000


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # 3.12 warns of forking with threads: that is the point
def test_a_forked_child_leaves_the_files_alone(make, tmp_path):
    recorder = make()
    recorder.append(exchange(1))
    recorder.flush()
    child = os.fork()
    if not child:
        flushed = recorder.flush(1)
        recorder.close()
        os._exit(int(flushed))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    recorder.append(exchange(3))
    assert recorder.frame()["exchange_id"].tolist() == ["00000001", "00000003"]


KILLED = """
import sys
from pathlib import Path
from nbproxy.recorder import Recorder
from tests.recordings import exchange, ranking
recorder = Recorder(Path(sys.argv[1]), session_id="dead", roll_bytes=30_000)
for number in range(500):
    recorder.append(exchange(number, response_body=b"x" * 100, rankings=(ranking(0.5),)))
    if number % 100 == 99:
        recorder.flush()
print("ready", flush=True)
while True:
    number += 1
    recorder.append(exchange(number, response_body=b"x" * 100))
    recorder.flush()
"""


def test_a_killed_process_leaves_what_it_wrote(tmp_path):
    with subprocess.Popen([sys.executable, "-c", KILLED, tmp_path], stdout=subprocess.PIPE) as child:
        assert child.stdout.readline() == b"ready\n"
        child.send_signal(signal.SIGKILL)
        child.wait()
    recording = load(tmp_path)
    frame = recording.frame
    assert len(frame) >= 500
    assert frame["exchange_id"].tolist() == [f"{number:08d}" for number in range(len(frame))]
    assert (frame["response_body"] == b"x" * 100).all()
    assert len(recording.hits) == 500


def test_the_default_directory(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    path = default_directory("my session/..", "abc")
    assert path.name == "abc"
    assert path.parent.parent.name == "recordings"
    assert "/.." not in str(path)


anything = st.text(st.characters(codec=None), max_size=20) | st.none()


@settings(max_examples=30, deadline=None)
@given(
    st.lists(
        st.tuples(
            anything,
            anything,
            st.binary(max_size=50) | st.none(),
            st.integers(-(2**70), 2**70) | st.none(),
            st.floats(),
        ),
        max_size=20,
    )
)
def test_whatever_comes_is_stored(tmp_path_factory, rows):
    recorder = Recorder(tmp_path_factory.mktemp("r"), session_id="s")
    try:
        for number, (query, target, body, size, score) in enumerate(rows):
            recorder.append(
                exchange(
                    number,
                    query=query,
                    target=target or "/",
                    response_body=body,
                    size=size,
                    request_head=body or b"",
                    rankings=(ranking(score),),
                )
            )
        frame, hits = recorder.frame(), recorder.hits()
    finally:
        recorder.close()
    assert [None if body is pd.NA or body is None else body for body in frame["response_body"]] == [r[2] for r in rows]
    for row, (query, *_), size in zip(frame["query"], rows, (r[3] for r in rows), strict=True):
        assert row == query or query is None or "�" in row or any("\ud800" <= c <= "\udfff" for c in query)
        assert size is None or abs(size) >= 2**63 or size in frame["size"].dropna().tolist()
    assert len(hits) == len(rows)
    assert recorder.dropped == 0
