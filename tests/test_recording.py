"""Recordings read back: several sessions, crashes at every step of sealing, bodies with content codings."""

from __future__ import annotations

import gzip
import json
import shutil
import zlib

import pandas as pd
import pytest

from nbproxy import segments
from nbproxy.errors import ConfigError
from nbproxy.ranking import query_hash
from nbproxy.recorder import Recorder
from nbproxy.recording import Recorded, load

from .recordings import exchange, ranking

DOCUMENT = {"hits": {"total": 1, "hits": [{"_id": "é"}]}}
PLAIN = json.dumps(DOCUMENT).encode()


def record(directory, *exchanges, session="s", seal=True, **fields):
    recorder = Recorder(directory, session_id=session, **fields)
    for one in exchanges:
        recorder.append(one)
    recorder.close(seal=seal)
    return load(directory)


def ids(recording):
    return recording.frame["exchange_id"].tolist()


def test_it_reads_what_was_recorded(tmp_path):
    recorder = Recorder(tmp_path, session_id="s")
    recorder.append(exchange(1, response_body=b"x", rankings=(ranking(0.5, None),)))
    frame, hits = recorder.frame(), recorder.hits()
    recorder.close()
    recording = load(str(tmp_path))
    pd.testing.assert_frame_equal(recording.frame, frame)
    pd.testing.assert_frame_equal(recording.hits, hits)
    assert recording.frame is not recording.frame
    assert recording.sessions == ["s"]


def test_it_reads_while_a_session_writes(tmp_path):
    recorder = Recorder(tmp_path, session_id="s")
    recording = load(tmp_path)
    assert len(recording.frame) == 0
    recorder.append(exchange(1))
    recorder.flush()
    assert ids(recording) == ["00000001"]
    recorder.close()
    assert ids(recording) == ["00000001"]


def test_a_stream_that_is_sealed_between_listing_and_reading_loses_nothing(tmp_path):
    recorder = Recorder(tmp_path, session_id="s")
    recorder.append(exchange(1, response_body=b"x"))
    recorder.flush()
    listed = segments.segments(tmp_path, segments.ROWS)["s"]
    recorder.close()  # another process does so at any time
    assert not listed[0].stream.exists()
    table = segments.read_all(listed, segments.ROWS)
    assert table.column("response_body").to_pylist() == [b"x"]
    assert segments.read_row(listed[0], "00000001", None)["response_body"] == b"x"


def test_no_recording_says_what_was_looked_for(tmp_path):
    with pytest.raises(ConfigError, match=r"no recording in .*looked for rows-<session>-<number>\.arrow"):
        load(tmp_path)
    with pytest.raises(ConfigError, match="no directory"):
        load(tmp_path / "missing")
    (tmp_path / "rows-s-000001.tmp").write_bytes(b"")
    with pytest.raises(ConfigError, match="no recording"):
        load(tmp_path)


def test_an_empty_recording_has_the_right_dtypes(tmp_path):
    recording = record(tmp_path)
    assert (len(recording.frame), len(recording.hits)) == (0, 0)
    assert str(recording.frame["response_body"].dtype) == "large_binary[pyarrow]"
    assert "0 exchanges" in repr(recording)


def test_sessions_come_one_after_the_other(tmp_path):
    record(tmp_path, exchange(5), exchange(4), session="a")
    recording = record(tmp_path, exchange(1), exchange(2), session="b", seal=False)
    assert ids(recording) == ["00000001", "00000002", "00000005", "00000004"]


def test_sessions_that_overlap_are_merged(tmp_path):
    record(
        tmp_path, *(exchange(number, response_body=b"a", rankings=(ranking(1.0),)) for number in (1, 4)), session="a"
    )
    part = [exchange(number, part=part, response_body=b"b") for number in (2, 3) for part in (None, 0, 1)]
    recording = record(tmp_path, *part, session="b")
    frame = recording.frame
    assert frame["exchange_id"].str[-1].tolist() == list("12223334")
    assert frame["part"].tolist()[1:4] == [pd.NA, 0, 1]
    assert frame["response_body"].tolist() == [b"a", *[b"b"] * 6, b"a"]
    assert recording.hits["exchange_id"].tolist() == ["00000001", "00000004"]
    assert recording.sessions == ["a", "b"]


def test_two_live_sessions_share_a_directory(tmp_path):
    one, two = Recorder(tmp_path, session_id="one"), Recorder(tmp_path, session_id="two")
    one.append(exchange(1))
    two.append(exchange(2))
    assert (len(one.frame()), len(two.frame())) == (1, 1)
    assert ids_after(tmp_path, one, two) == ["00000001", "00000002"]


def ids_after(directory, *recorders):
    for recorder in recorders:
        recorder.close()
    return ids(load(directory))


def test_a_stream_cut_anywhere_gives_its_whole_batches(tmp_path):
    recorder = Recorder(tmp_path / "r", session_id="s")
    ends = []
    for number in range(3):
        recorder.append(exchange(number))
        recorder.flush()
        ends.append(recorder._rows.log.open_bytes)
    recorder.close(seal=False)
    whole = (tmp_path / "r" / "rows-s-000001.arrows").read_bytes()
    assert len(whole) == ends[-1]
    for size in {0, 1, 100, *(end + by for end in ends for by in (-1, 0, 1, 7, 300))}:
        (tmp_path / "r" / "rows-s-000001.arrows").write_bytes(whole[:size])
        assert len(load(tmp_path / "r").frame) == sum(end <= size for end in ends), size


STEPS = [  # which files of the sealed and of the open state are there after each step of sealing
    {"open": ["rows"], "sealed": []},
    {"open": ["rows"], "sealed": ["bodies"]},
    {"open": ["rows"], "sealed": ["bodies", "rows"]},
    {"open": [], "sealed": ["bodies", "rows"]},
]


@pytest.mark.parametrize("step", STEPS)
def test_a_crash_while_sealing_neither_doubles_nor_loses_a_row(tmp_path, step):
    opened, done, crashed = tmp_path / "open", tmp_path / "done", tmp_path / "crashed"
    rows = [exchange(number, response_body=b"%d" % number) for number in range(300)]
    frame = record(opened, *rows, seal=False).frame
    shutil.copytree(opened, done)
    for listed in (segments.segments(done, segments.ROWS), segments.segments(done, segments.HITS)):
        segments.seal(listed["s"][0])
    crashed.mkdir()
    shutil.copy(opened / "hits-s-000001.arrows", crashed)
    for name in step["open"]:
        shutil.copy(opened / f"{name}-s-000001.arrows", crashed)
    for name in step["sealed"]:
        shutil.copy(done / f"{name}-s-000001.arrow", crashed)
    (crashed / "rows-s-000001.tmp").write_bytes(b"half a file")
    pd.testing.assert_frame_equal(load(crashed).frame, frame)
    resumed = record(crashed, exchange(999))
    assert len(resumed.frame) == 301
    assert resumed.json("00000299") == 299


def test_bodies_that_went_are_null(tmp_path):
    recording = record(tmp_path, exchange(1, response_body=b"{}", bytes_out=2))
    (tmp_path / "bodies-s-000001.arrow").unlink()
    assert recording.frame["response_body"].isna().tolist() == [True]
    with pytest.raises(ValueError, match="was not recorded: its 2 bytes went"):
        recording.json("00000001")


class OnlyFrames(Recorded):
    """What a session is to :class:`Recorded` at least."""

    def __init__(self, recording):
        self._recording = recording

    @property
    def frame(self):
        return self._recording.frame

    @property
    def hits(self):
        return self._recording.hits


@pytest.fixture(params=["recording", "frames", "open"])
def reading(request, tmp_path):
    def reading(*exchanges):
        recording = record(tmp_path / "r", *exchanges, seal=request.param != "open")
        return OnlyFrames(recording) if request.param == "frames" else recording

    return reading


CODINGS = {
    "identity": PLAIN, "gzip": gzip.compress(PLAIN), "x-gzip": gzip.compress(PLAIN), "deflate": zlib.compress(PLAIN),
    "gzip, deflate": zlib.compress(gzip.compress(PLAIN)),
}  # fmt: skip


@pytest.mark.parametrize("coding", CODINGS)
def test_content_codings_are_undone(reading, coding):
    head = f"content-encoding: {coding}\r\n".encode()
    recording = reading(exchange(1, response_body=CODINGS[coding], response_head=head, request_body=PLAIN))
    assert recording.json("00000001") == DOCUMENT
    assert recording.json("00000001", which="request") == DOCUMENT


def test_upstreams_bodies_are_the_clients_where_they_are_the_same(reading):
    zipped = b"Content-Encoding: gzip\r\n"
    recording = reading(
        exchange(1, request_body=b"[1]", response_body=gzip.compress(b"[2]"), response_head=zipped),
        exchange(2, request_body=b"[1]", upstream_request_body=b"[3]", response_body=gzip.compress(b"[2]"),
                 upstream_response_body=b"[4]", response_head=zipped),
        exchange(3, response_body=b"[2]", upstream_response_body=gzip.compress(b"[4]")),
    )  # fmt: skip
    read = [[recording.json(f"{n:08d}", which=f"upstream_{w}") for w in ("request", "response")] for n in (1, 2)]
    assert read == [[[1], [2]], [[3], [4]]]
    assert recording.json("00000003", which="upstream_response") == [4]


def test_parts_have_bodies_of_their_own(reading):
    head = b"Content-Encoding: gzip\r\n"  # the whole's: a part is cut from what was decoded
    recording = reading(
        exchange(1, response_body=gzip.compress(PLAIN), response_head=head),
        exchange(1, part=0, request_body=b'{"index":"a"}\n{"size":1}\n', response_body=b'{"a":1}', response_head=head),
    )
    assert recording.json("00000001") == DOCUMENT
    assert recording.json("00000001", 0) == {"a": 1}
    assert recording.json("00000001", 0, "request") == [{"index": "a"}, {"size": 1}]


def test_what_json_cannot_give_says_why(reading):
    recording = reading(
        exchange(1, response_body=b"<html>"),
        exchange(2, response_body=b"{", response_truncated=True),
        exchange(3, response_body=b""),
        exchange(4, response_body=b"\x1f\x8bbroken"),
        exchange(5, response_body=PLAIN, response_head=b"Content-Encoding: sdch\r\n"),
        exchange(6),
    )
    reasons = ["is not JSON", "only the first 1 bytes", "is empty", "cannot be decoded", "sdch", "it had none"]
    for number, reason in enumerate(reasons, 1):
        with pytest.raises(ValueError, match=reason):
            recording.json(f"{number:08d}")
    with pytest.raises(ValueError, match="which must be one of request, response"):
        recording.json("00000001", which="body")


def test_an_unknown_exchange_is_a_key_error_with_help(reading):
    recording = reading(exchange(1), exchange(1, part=0), exchange(1, part=1), exchange(2))
    with pytest.raises(KeyError, match="no exchange 'x' among the 4 recorded, the newest is '00000002'"):
        recording.json("x")
    with pytest.raises(KeyError, match="has no part 7; it has parts 0 to 1"):
        recording.json("00000001", 7)
    with pytest.raises(KeyError, match="leave `part` out"):
        recording.json("00000002", 0)


def test_an_opaque_id_with_two_texts_falls_back_to_the_hash(tmp_path):
    rows = [exchange(n, query_id="app", query=query, rankings=(ranking(1.0),)) for n, query in enumerate(["a", "b"])]
    record(tmp_path, rows[0], session="a")
    recording = record(tmp_path, rows[1], session="b")
    with pytest.warns(UserWarning, match="X-Opaque-Id 'app'"):
        assert recording.frame["query_id"].tolist() == [query_hash("a"), query_hash("b")]
    assert recording.hits["query_id"].tolist() == [query_hash("a"), query_hash("b")]


def search(number, query, *scores):
    order = sorted(range(len(scores)), key=lambda i: -scores[i])
    one = ranking(*scores)
    ranks = tuple(order.index(i) + 1 for i in range(len(scores)))
    served = type(one)("served", "m", "f", one.hits, one.scores, ranks, one.returned)
    return exchange(
        number, route="search", query=query, query_id=query_hash(query), offset=0, size=10, depth=50, status=200,
        model="m", model_fingerprint="f", reranked=True, index="docs", rankings=(served,),
    )  # fmt: skip


def test_it_compares_and_evaluates(reading):
    recording = reading(search(1, "one", 0.1, 0.9), search(2, "two", 0.9, 0.1), search(3, "three", 0.1, 0.9))
    summary = recording.compare().summary
    assert summary["n_queries"].tolist() == [3]
    qrels = pd.DataFrame({"query_id": ["one", "two", "three"], "doc_id": ["d1", "d0", "d1"], "relevance": [1, 1, 1]})
    result = recording.evaluate(qrels, measures=["RR@10"])
    assert result.summary.loc["original", "RR@10"] == pytest.approx(2 / 3)
    assert result.summary.loc["m", "RR@10"] == 1.0


def test_the_reprs_say_what_is_in_it_and_escape_it(tmp_path):
    recording = record(tmp_path / "<b>", exchange(1), exchange(1, part=0), exchange(2))
    assert "2 exchanges, 2023-11-14 22:13:20 to 2023-11-14 22:13:20" in repr(recording)
    html = recording._repr_html_()
    assert "<b>" not in html
    assert "&lt;b&gt;" in html
    assert ">2</td>" in html


@pytest.mark.parametrize("kind", ["rows", "bodies"])
@pytest.mark.parametrize("left", [b"", b"ARROW1\0\0 and no more", b"garbage" * 999])
def test_a_damaged_file_is_named(tmp_path, kind, left):
    recording = record(tmp_path, exchange(1, response_body=b"x"))
    [file] = tmp_path.glob(f"{kind}-*.arrow")
    file.write_bytes(left)
    with pytest.raises(ConfigError, match=f"{file.name} is damaged"):
        _ = recording.frame
