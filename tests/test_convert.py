"""Recordings as files for other programs."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

import nbproxy
from nbproxy import ConfigError
from nbproxy.convert import convert
from nbproxy.recorder import Recorder

from .recordings import exchange, ranking


@pytest.fixture
def recording(tmp_path: Path) -> nbproxy.Recording:
    recorder = Recorder(tmp_path / "recording", session_id="a")
    body = '{"q": "\x1b[31m, “naïve”\n"}'.encode()
    recorder.append(exchange(1, route="search", query='a "b", c', response_body=body, rankings=(ranking(1.0, 2.0),)))
    recorder.append(exchange(2, response_body=b"\xff\x00\xfe", request_body=b""))
    recorder.close()
    return nbproxy.load(tmp_path / "recording")


READ = {
    "x.parquet": pd.read_parquet,
    "x.arrow": lambda path: pd.read_feather(path),
    "x.FEATHER": lambda path: pd.read_feather(path),
}


@pytest.mark.parametrize("name", READ)
def test_what_is_read_is_what_was_recorded(recording: nbproxy.Recording, tmp_path: Path, name: str) -> None:
    assert convert(recording, tmp_path / name) == 2
    read = READ[name](tmp_path / name)
    assert list(read.columns) == list(recording.frame.columns)
    assert read["response_body"].tolist() == recording.frame["response_body"].tolist()
    assert convert(recording, tmp_path / name, "hits") == 2
    assert READ[name](tmp_path / name)["doc_id"].tolist() == ["d0", "d1"]


def test_csv_has_bodies_as_text(recording: nbproxy.Recording, tmp_path: Path) -> None:
    assert convert(recording, tmp_path / "x.csv") == 2
    read = pd.read_csv(tmp_path / "x.csv")
    assert read["query"].tolist()[0] == 'a "b", c'
    assert read["response_body"].tolist()[1] == "\\xff\x00\\xfe"
    assert "“naïve”" in read["response_body"].tolist()[0]


def test_an_ending_that_says_nothing_is_told(recording: nbproxy.Recording, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"one of \.parquet, \.csv, \.arrow, \.feather"):
        convert(recording, tmp_path / "x.xls")
    with pytest.raises(ConfigError, match="cannot be written"):
        convert(recording, tmp_path / "none" / "x.csv")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["recording"]


@pytest.mark.parametrize("name", ["x.parquet", "x.csv", "x.arrow"])
def test_it_is_written_by_the_slice_and_tells_how_far_it_is(
    recording: nbproxy.Recording, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = tmp_path / f"whole-{name}"
    convert(recording, whole)
    monkeypatch.setattr("nbproxy.convert.ROWS", 1)
    told: list[tuple[int, int]] = []
    assert convert(recording, tmp_path / name, done=lambda at, of: told.append((at, of))) == 2
    assert told == [(0, 2), (1, 2), (2, 2)]
    read = {**READ, "x.csv": pd.read_csv}[name]
    pd.testing.assert_frame_equal(read(tmp_path / name), read(whole))


@pytest.mark.parametrize("name", ["x.parquet", "x.csv", "x.arrow"])
def test_nothing_recorded_is_a_file_of_columns(tmp_path: Path, name: str) -> None:
    Recorder(tmp_path / "recording", session_id="a").close()
    empty = nbproxy.load(tmp_path / "recording")
    assert convert(empty, tmp_path / name) == 0
    assert list({**READ, "x.csv": pd.read_csv}[name](tmp_path / name).columns) == list(empty.frame.columns)
