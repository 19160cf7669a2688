"""Comparisons: the tables worked out by hand, plain frames, and how a result shows itself."""

from __future__ import annotations

import importlib.util
import io
import math

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from nbproxy.compare import Comparison, compare, compare_recorded
from nbproxy.errors import ConfigError, MissingExtra
from tests.fixtures.recording_small import A1, SHOES, Recorder, recording

NAN = math.nan
NUMBERS = ["top1_changed", "overlap@2", "rbo", "tau_b", "mean_move", "max_move"]
BY_HAND = [
    ("red shoes", "shop", True, 0.5, 0.855, 1 / 3, 1, 2),
    ("Blue  Hat", "shop", False, 1, 1, 1, 0, 0),
    ("red shoes", "blog", True, 1, 0.9, -1, 1, 1),
    ("nothing here", "shop", False, NAN, NAN, NAN, NAN, NAN),
    ("green", "shop", False, 1, 1, 1, 0, 0),
    ("lamp", "shop", True, 1, 0.9, -1, 1, 1),
]
AB = pd.DataFrame({
    "system": ["x", "x", "x", "y", "y"],
    "query_id": [1, 1, 2, 1, 1],
    "doc_id": ["a", "b", "c", "b", "a"],
    "score": [2.0, 1.0, 1.0, 0.5, 0.4],
})  # fmt: skip


def test_the_tables_are_the_ones_worked_out_by_hand() -> None:
    found = compare_recorded(*recording(), k=2)
    assert list(found.per_query) == ["query_id", "query", "index", "a", "b", *NUMBERS]
    expected = pd.DataFrame(BY_HAND, columns=["query", "index", *NUMBERS])
    pd.testing.assert_frame_equal(
        found.per_query[["query", "index", *NUMBERS]], expected, check_dtype=False, rtol=0, atol=1e-12
    )
    assert set(found.per_query["a"]) == {"original"}
    assert set(found.per_query["b"]) == {"served"}
    summary = pd.DataFrame(
        [("original", "served", 6, 0.5, 0.9, 0.931, 1 / 15, 0.6, 0.8)], columns=["a", "b", "n_queries", *NUMBERS]
    )
    pd.testing.assert_frame_equal(found.summary, summary, check_dtype=False, rtol=0, atol=1e-12)
    assert found.left_out["deadline"] == 1


def test_a_page() -> None:
    row = compare_recorded(*recording(), k=2, scope="page").per_query.iloc[0]
    assert row[NUMBERS].tolist() == pytest.approx(
        [True, 0.5, 0.9 * 0.81 + (0.405 + 0.729) / 9, -1 / 3, 4 / 3, 2], abs=1e-12
    )


def test_only_queries_that_both_have() -> None:
    found = compare_recorded(*recording(), b=["minilm (a1)", "minilm (b2)"])
    assert found.summary[["b", "n_queries"]].to_numpy().tolist() == [["minilm (a1)", 1], ["minilm (b2)", 3]]
    assert found.per_query.loc[found.per_query["b"] == "minilm (a1)", "overlap@10"].tolist() == [3 / 4]


def test_movers_are_documents_the_furthest_first() -> None:
    movers = compare_recorded(*recording()).movers(2)
    assert movers.to_dict("records") == [
        {"query_id": "q1", "query": "red shoes", "a": "original", "b": "served", "index": "shop-2025",
         "doc_id": "d4", "rank_a": 3, "rank_b": 1, "move": 2},
        {"query_id": "q1", "query": "red shoes", "a": "original", "b": "served", "index": "shop-2025",
         "doc_id": "d1", "rank_a": 1, "rank_b": 2, "move": -1},
    ]  # fmt: skip


def test_nothing_reranked_is_an_empty_comparison_that_says_so() -> None:
    r = Recorder()
    r.search(1, SHOES, "shop", A1, "overloaded")
    r.order(1, "d1", "d1", A1, scores="none")
    r.search(2, SHOES, "shop", None, "no-model")
    r.order(2, "d1", "d1", None, scores="none")
    found = compare_recorded(*r.both())
    assert found.summary["n_queries"].tolist() == [0]
    assert found.left_out.to_dict() == {"overloaded": 1, "no-model": 1}
    assert "overloaded 1" in repr(found)


def test_plain_runs() -> None:
    before = AB.copy(deep=True)
    found = compare(AB)
    assert list(found.per_query) == ["query_id", "query", "a", "b", "top1_changed", "overlap@10", *NUMBERS[2:]]
    assert found.per_query.iloc[0].drop("query").tolist() == [
        "1",
        "x",
        "y",
        True,
        1.0,
        pytest.approx(0.9),
        -1.0,
        1.0,
        1.0,
    ]
    assert found.summary["n_queries"].tolist() == [1]
    pd.testing.assert_frame_equal(AB, before)
    frames = {name: frame.drop(columns="system") for name, frame in AB.groupby("system")}
    pd.testing.assert_frame_equal(compare(frames).per_query, found.per_query)


def test_rank_wins_over_score_and_ties_keep_row_order() -> None:
    run = pd.DataFrame({"query_id": "q", "doc_id": list("abc"), "score": 1.0})
    ranked = run.assign(rank=[3, 1, 2], score=[9.0, 8.0, 7.0])
    assert compare({"a": run, "b": ranked}, a="a").movers().set_index("doc_id")["rank_b"].to_dict() == {
        "a": 3,
        "b": 1,
        "c": 2,
    }


def test_queries_name_what_was_searched() -> None:
    found = compare(AB, queries=pd.DataFrame({"query_id": [1, 2, 3], "query": ["one", "two", "three"]})).per_query
    assert found["query"].tolist() == ["one", "two", "three"]
    assert found["overlap@10"].tolist()[:2] == [1, 0]
    assert math.isnan(found["overlap@10"][2])
    assert found["top1_changed"].tolist() == [True, True, False]
    assert len(compare(AB, queries=[1, 2, 3, "1"]).per_query) == 3


@pytest.mark.parametrize(
    ("runs", "options", "message"),
    [
        (AB, {"b": "z"}, "no system 'z'; there are x, y"),
        (AB, {"k": 0}, "from 1"),
        (AB.head(0), {}, "runs is empty"),
        ({}, {}, "runs are empty"),
        ({"x": AB, "y": AB.head(0)}, {}, "run 'y' is empty"),
        (AB.drop(columns="score"), {}, "neither rank nor score"),
        (AB.drop(columns="doc_id"), {}, "no column doc_id"),
        ("runs", {}, "a DataFrame is wanted"),
        (pd.concat([AB, AB.head(1)]), {}, "twice in runs: system x, query_id 1, doc_id a"),
        (AB.assign(doc_id=[None, "b", "c", "b", "a"]), {}, "doc_id is missing in row 0"),
        (AB, {"queries": "q1"}, "not one string"),
        (AB, {"queries": pd.DataFrame({"query_id": [1, 1], "query": ["x", "y"]})}, "twice in queries: query_id 1"),
    ],
)
def test_what_cannot_be_compared_is_named(runs: object, options: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        compare(runs, **options)  # type: ignore[arg-type]


def test_an_unknown_system_of_a_recording() -> None:
    with pytest.raises(ConfigError, match="no system 'minilm'; there are original, minilm \\(a1\\)"):
        compare_recorded(*recording(), b="minilm")


@pytest.fixture
def hostile() -> Comparison:
    """Text from clients: markup, escape sequences, a change of direction."""
    r = Recorder()
    r.search(1, SHOES, "shop", A1)
    r.frame[0]["query"] = "<script>alert(1)</script>\x1b[31m[bold]red\x1b]0;title\x07\u202e\r\n" + "x" * 200
    r.order(1, "d1 d2", "d2 d1", A1)
    r.hits[0]["doc_id"] = "<img src=x>&\x9b2J"
    return compare_recorded(*r.both())


def test_html_is_escaped(hostile: Comparison) -> None:
    shown = hostile._repr_html_()
    assert "&lt;script&gt;" in shown
    assert "&lt;img src=x&gt;&amp;" in shown
    assert "<script" not in shown
    assert "<img" not in shown


def test_text_and_terminal_have_no_control_sequences(hostile: Comparison) -> None:
    out = io.StringIO()
    Console(file=out, width=200, force_terminal=False).print(hostile)
    for shown in (repr(hostile), out.getvalue()):
        assert not set(shown) & {"\x1b", "\x07", "\x9b", "\r", "\u202e", "\x00"}
        assert "[bold]red" in shown
        assert "comparison" in shown
        assert "0.900" in shown


@pytest.mark.skipif(importlib.util.find_spec("matplotlib") is not None, reason="matplotlib is installed")
def test_without_matplotlib_plot_says_what_to_install() -> None:
    with pytest.raises(MissingExtra, match="pip install matplotlib"):
        compare(AB).plot()


def test_plot_draws_each_query() -> None:
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("agg")
    axes = compare_recorded(*recording(), k=2).plot()
    rbo = axes.lines[0].get_ydata()
    np.testing.assert_allclose(rbo, [0.855, 0.9, 0.9, 1, 1, NAN], atol=1e-12)
    assert len(axes.get_legend().get_texts()) == 2
