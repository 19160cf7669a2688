"""The demo, with a real engine, a real model and few queries."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from rich.console import Console

import nbproxy
from nbproxy import demo, demo_report

LIMIT = 4
WIDTHS = (80, 160)


def console(width: int) -> Console:
    return Console(file=io.StringIO(), width=width, color_system=None)


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> tuple[demo.Result, str, Path]:
    """One run: what it returned, what it printed at 80 columns, and where it recorded."""
    pytest.importorskip("opensearchpy")
    place, folder = console(WIDTHS[0]), tmp_path_factory.mktemp("recording")
    result = demo.run(place, record=folder, limit=LIMIT)
    return result, printed(place), folder


def printed(place: Console) -> str:
    assert isinstance(place.file, io.StringIO)
    return place.file.getvalue()


@pytest.mark.engine
@pytest.mark.model
class TestShown:
    def test_three_systems_are_measured_on_the_same_queries(self, shown: tuple[demo.Result, str, Path]) -> None:
        result, _, _ = shown
        assert result.systems == ("original", "bm25", "all-MiniLM-L6-v2")
        assert list(result.evaluation.summary.index) == list(result.systems)
        assert result.evaluation.summary["n_queries"].tolist() == [LIMIT] * 3
        assert result.comparison[["a", "b", "n_queries"]].to_numpy().tolist() == [
            ["original", name, LIMIT] for name in result.systems[1:]
        ]
        assert set(zip(result.tests["baseline"], result.tests["system"], strict=True)) >= {
            ("original", "bm25"),
            ("original", "all-MiniLM-L6-v2"),
            ("bm25", "all-MiniLM-L6-v2"),
        }
        assert dict(result.evaluation.left_out) == {"repeat": LIMIT}

    @pytest.mark.parametrize("width", WIDTHS)
    def test_it_fits_the_terminal_and_says_what_was_found(
        self, shown: tuple[demo.Result, str, Path], width: int
    ) -> None:
        result, _, _ = shown
        place = console(width)
        demo_report.report(place, result)
        text = printed(place)
        assert max(map(len, text.splitlines())) <= width
        for system in result.systems:
            assert f"{result.evaluation.summary.loc[system, 'nDCG@10']:.3f}" in text
        for said in ("engine's order", "bm25 → all-MiniLM-L6-v2", "▲", "gained most", "nbproxy.load("):
            assert said in text

    def test_while_it_works_it_says_what_runs(self, shown: tuple[demo.Result, str, Path]) -> None:
        _, text, _ = shown
        assert "325 documents, 4 queries" in text
        assert max(map(len, text.splitlines())) <= WIDTHS[0]

    def test_the_recording_lies_where_it_says(self, shown: tuple[demo.Result, str, Path]) -> None:
        result, _, folder = shown
        assert result.recording == folder
        frame = nbproxy.load(folder).frame
        assert len(frame) == 3 * LIMIT
        assert frame["reranked"].all()
        assert set(frame["query_id"]) == set(result.collection.queries["query_id"])

    def test_as_json_it_has_the_tables(self, shown: tuple[demo.Result, str, Path]) -> None:
        result, _, _ = shown
        found = json.loads(json.dumps(result.as_dict(), allow_nan=False))
        assert [row["system"] for row in found["evaluation"]] == list(result.systems)
        assert len(found["comparison"]) == 2
        assert found["recording"] == str(result.recording)


def test_a_missing_extra_is_told_before_anything_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "_NEEDED", {"no_such_module": "no-such-library"})
    monkeypatch.setattr(demo, "demo_engine", lambda: pytest.fail("started"))
    with pytest.raises(nbproxy.MissingExtra, match=r'no-such-library is not installed .*pip install "nbproxy\[demo\]"'):
        demo.run(console(80))


@pytest.mark.parametrize("model", ["original", "bm25"])
def test_the_third_system_is_another_one(model: str) -> None:
    with pytest.raises(nbproxy.ConfigError, match="give another one"):
        demo._reranker(model)


def test_one_query_is_too_few_to_test_anything() -> None:
    with pytest.raises(nbproxy.ConfigError, match="at least 2"):
        demo.run(console(80), limit=1)


@pytest.mark.parametrize(("move", "shown"), [(3, "▲3"), (-2, "▼2"), (0, "=")])
def test_moves_are_marked(move: int, shown: str) -> None:
    assert demo_report._marked(move).plain == shown
