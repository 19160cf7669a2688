"""Evaluations: the tables worked out by hand, trec_eval's numbers, tests, and odd inputs."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from nbproxy.errors import ConfigError
from nbproxy.evaluate import Evaluation, evaluate, evaluate_recorded, holm, paired
from tests.fixtures.recording_small import (
    A1,
    GREEN,
    NOTHING,
    SHOES,
    Recorder,
    qrels,
    queries,
    recording,
)

NAN = math.nan
SUMMARY = pd.DataFrame(
    [
        ("original", 0.3262212461, 0.5, 5 / 6, 5),
        ("minilm (a1)", 0.4103832360, 0.5, 0.75, 1),
        ("bm", 0.4622263361, 0.625, 8 / 9, 4),
        ("minilm (b2)", 0.3866908795, 2 / 3, 1.0, 3),
    ],
    columns=["system", "nDCG@10", "RR@10", "Judged@10", "n_queries"],
).set_index("system")
TESTS = pd.DataFrame(
    [
        ("minilm (a1)", "nDCG@10", -0.2369600032, NAN, NAN, NAN, NAN, 0, 0, 1),
        ("bm", "nDCG@10", 0.2177991138 / 4, 0.3910022, 0.7820044, -0.1188337, 0.2277333, 1, 3, 0),
        ("minilm (b2)", "nDCG@10", 0.1986382245 / 3, 0.4226497, 0.7820044, -0.2186777, 0.3511032, 1, 2, 0),
        ("minilm (a1)", "RR@10", -0.5, NAN, NAN, NAN, NAN, 0, 0, 1),
        ("bm", "RR@10", 0.0, NAN, NAN, NAN, NAN, 0, 4, 0),
        ("minilm (b2)", "RR@10", 0.0, NAN, NAN, NAN, NAN, 0, 3, 0),
    ],
    columns=["system", "measure", "delta", "p", "p_holm", "ci_low", "ci_high", "wins", "ties", "losses"],
)
ONE = pd.DataFrame({"query_id": ["q1", "q1", "q2"], "doc_id": ["a", "b", "c"], "rank": [1, 2, 1]})
JUDGED = pd.DataFrame({"query_id": ["q1", "q2"], "doc_id": ["b", "c"], "relevance": [2, 0]})


@pytest.fixture
def by_hand() -> Evaluation:
    with pytest.warns(UserWarning, match="different queries"):
        return evaluate_recorded(*recording(), qrels(), queries=queries())


def test_the_tables_are_the_ones_worked_out_by_hand(by_hand: Evaluation) -> None:
    pd.testing.assert_frame_equal(by_hand.summary, SUMMARY, check_index_type=False, rtol=0, atol=1e-9)
    pd.testing.assert_frame_equal(by_hand.tests, TESTS, check_dtype=False, rtol=0, atol=1e-7)


@pytest.mark.parametrize(
    ("query_id", "index", "system", "values"),
    [
        ("q1", "shop", "original", (0.6473432392, 1, 1)),
        ("q1", "shop", "bm", (0.8651423530, 1, 1)),
        ("q1", "shop", "minilm (b2)", (0.8459814637, 1, 1)),
        ("q1", "shop", "minilm (a1)", (0.4103832360, 0.5, 0.75)),
        ("q1", "blog", "bm", (0.3140911749, 1, 1)),
        ("blue hat", "shop", "original", (0.6696718165, 0.5, 2 / 3)),
        ("t3", "shop", "bm", (0, 0, NAN)),
        ("q4", "shop", "original", (0, 0, 2 / 3)),
    ],
)
def test_per_query(
    by_hand: Evaluation, query_id: str, index: str, system: str, values: tuple[float, float, float]
) -> None:
    rows = by_hand.per_query
    assert list(rows) == ["query_id", "query", "index", "system", "measure", "value"]
    rows = rows[(rows["query_id"] == query_id) & (rows["index"] == index) & (rows["system"] == system)]
    assert rows["measure"].tolist() == ["nDCG@10", "RR@10", "Judged@10"]
    assert rows["value"].tolist() == pytest.approx(values, abs=1e-9, nan_ok=True)


def test_what_was_left_out_and_how_it_joined(by_hand: Evaluation) -> None:
    reasons = ["no-model", "repeat", "later-page", "deadline", "model-error", "sorted", "bypass"]
    assert by_hand.left_out.to_dict() == dict.fromkeys([*reasons, "never-searched", "not-judged"], 1)
    assert by_hand.joined.to_dict() == {
        "n": {"query_id": 2, "text": 1, "queries": 1, "never-searched": 1, "not-judged": 1},
        "query_ids": {"query_id": ("q1", "q4"), "text": ("blue hat",), "queries": ("t3",),
                      "never-searched": ("q9",), "not-judged": ("q6",)},
    }  # fmt: skip


def test_qrels_with_an_index_hold_there_only() -> None:
    own = pd.DataFrame({
        "query_id": "q1", "index": ["shop-2025", "blog", "blog"],
        "doc_id": ["d1", "d1", "d9"], "relevance": [0, 1, 3],
    })  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        rows = evaluate_recorded(*recording(), own, measures=["RR@10", "R@10"]).per_query
    found = rows[rows["system"] == "original"].set_index(["index", "measure"])["value"]
    assert found["shop", "RR@10"] == 0
    assert (found["blog", "RR@10"], found["blog", "R@10"]) == (1, 1)


def test_a_judgment_without_index_holds_for_every_index() -> None:
    """Both copies of a document gain, and the best order has both too: no measure exceeds 1."""
    r = Recorder()
    r.search(1, SHOES, "shop", A1)
    r.order(1, "d1 d2", "d2 d1", A1)
    for hit, index in zip(r.hits, ["shop-1", "shop-2"], strict=True):
        hit.update(index=index, doc_id="d1")
    judged = pd.DataFrame({"query_id": ["q1"], "doc_id": ["d1"], "relevance": [1]})
    found = evaluate_recorded(*r.both(), judged, measures=["nDCG@10", "P@2", "R@1"]).summary
    assert found.loc["original", ["nDCG@10", "P@2", "R@1"]].tolist() == [1, 1, 0.5]


def test_an_alias_without_hits_scores_zero() -> None:
    r = Recorder()
    r.search(1, NOTHING, "alias", A1, "no-hits")
    judged = pd.DataFrame({"query_id": [NOTHING], "index": ["real"], "doc_id": ["d"], "relevance": [1]})
    assert evaluate_recorded(*r.both(), judged).summary["nDCG@10"].to_dict() == {"original": 0, "minilm": 0}


def test_a_baseline_with_no_model() -> None:
    r = Recorder()
    r.search(1, SHOES, "shop", None, "no-model")
    r.order(1, "d1 d2", "d1 d2", None, scores="none")
    r.search(2, GREEN, "shop", None, "no-model")
    found = evaluate_recorded(*r.both(), qrels().query("query_id in ('q1', 'q4')"))
    assert found.summary["n_queries"].to_dict() == {"original": 2}
    assert found.tests.empty
    assert found.left_out.empty


# trec_eval ------------------------------------------------------------------------------------------

NAMES = {
    "nDCG@10": "ndcg_cut_10", "nDCG": "ndcg", "RR": "recip_rank", "AP": "map", "AP@5": "map_cut_5",
    "P@5": "P_5", "R@5": "recall_5", "Success@5": "success_5", "Rprec": "Rprec", "Bpref": "bpref",
}  # fmt: skip


def random_case(seed: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Runs of two systems with ties, unjudged documents, negative and no relevance, queries without hits."""
    rng = np.random.default_rng(seed)
    runs, judged = [], []
    for query in range(12):
        docs = rng.permutation(40)
        judged += [(f"q{query}", f"d{d}", int(rng.choice([-1, 0, 0, 1, 2, 3]))) for d in docs[:15]]
        for system in ("x", "y"):
            found = rng.permutation(docs)[: int(rng.integers(1, 30))]
            runs += [(system, f"q{query}", f"d{d}", float(rng.integers(0, 4))) for d in found]
    judged += [("none", "d1", 0), ("never", "d1", 1)]
    runs.append(("x", "none", "d1", 1.0))
    return (
        pd.DataFrame(runs, columns=["system", "query_id", "doc_id", "score"]),
        pd.DataFrame(judged, columns=["query_id", "doc_id", "relevance"]),
    )


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.filterwarnings("ignore:the systems were measured")
def test_equal_to_pytrec_eval(seed: int) -> None:
    pytrec_eval = pytest.importorskip("pytrec_eval")
    runs, judged = random_case(seed)
    rows = evaluate(runs, judged, measures=list(NAMES)).per_query
    ours = rows.set_index(["system", "query_id", "measure"])["value"]
    pool = {q: dict(zip(g["doc_id"], g["relevance"].tolist(), strict=True)) for q, g in judged.groupby("query_id")}
    evaluator = pytrec_eval.RelevanceEvaluator(pool, set(NAMES.values()))
    seen = 0
    for system, run in runs.groupby("system"):
        ordered = run.sort_values("score", ascending=False, kind="stable")
        theirs = evaluator.evaluate({
            q: {doc: -float(rank) for rank, doc in enumerate(g["doc_id"])} for q, g in ordered.groupby("query_id")
        })  # fmt: skip
        for query, values in theirs.items():
            for name, trec in NAMES.items():
                assert ours[system, query, name] == pytest.approx(values[trec], abs=1e-12), (system, query, name)
                seen += 1
    assert seen == 25 * len(NAMES)


def test_equal_to_ir_measures_where_ir_measures_is_not_trec_eval() -> None:
    ir_measures = pytest.importorskip("ir_measures")
    runs, judged = random_case(99)
    run = runs[runs["system"] == "x"].sort_values("score", ascending=False, kind="stable")
    run = run.assign(score=-run.groupby("query_id").cumcount().astype(float))
    rows = evaluate(run.drop(columns="system"), judged, measures=["RR@10", "RR@3", "P(rel=2)@5", "Judged@5"]).per_query
    ours = rows[rows["measure"] != "Judged@10"].set_index(["query_id", "measure"])["value"]
    names = ["RR@10", "RR@3", "P(rel=2)@5", "Judged@5"]
    for name in names:
        for metric in ir_measures.iter_calc([ir_measures.parse_measure(name)], judged, run):
            if metric.query_id != "never":
                assert ours[metric.query_id, name] == pytest.approx(metric.value, abs=1e-12)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 3), min_size=1, max_size=12), st.randoms(use_true_random=False))
def test_the_best_order_scores_one_and_none_exceeds_it(relevance: list[int], random: object) -> None:
    docs = list(range(len(relevance)))
    judged = pd.DataFrame({"query_id": 1, "doc_id": docs, "relevance": relevance})
    best = sorted(docs, key=lambda d: -relevance[d])
    shuffled = docs[:]
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    runs = {name: pd.DataFrame({"query_id": 1, "doc_id": order, "rank": range(1, len(order) + 1)})
            for name, order in {"best": best, "any": shuffled}.items()}  # fmt: skip
    values = evaluate(runs, judged, measures=["nDCG", "AP", "nDCG@3"]).summary
    assert values.loc["best", ["nDCG", "AP", "nDCG@3"]].tolist() == pytest.approx([float(any(relevance))] * 3)
    assert (values.loc["any", ["nDCG", "AP", "nDCG@3"]] <= values.loc["best", ["nDCG", "AP", "nDCG@3"]] + 1e-12).all()


# Plain frames ---------------------------------------------------------------------------------------


def test_one_plain_run_is_the_system_run() -> None:
    before = ONE.copy(deep=True), JUDGED.copy(deep=True)
    found = evaluate(ONE, JUDGED, measures=["RR@10", "P@1", "RR@10"], baseline="nobody")
    assert found.summary.index.tolist() == ["run"]
    assert found.summary.index.name == "system"
    assert list(found.summary) == ["RR@10", "P@1", "Judged@10", "n_queries"]
    assert found.summary.loc["run"].tolist() == [0.25, 0.0, 0.75, 2]
    assert list(found.per_query) == ["query_id", "query", "system", "measure", "value"]
    assert found.tests.empty
    assert list(found.tests) == list(TESTS)
    pd.testing.assert_frame_equal(ONE, before[0])
    pd.testing.assert_frame_equal(JUDGED, before[1])


def test_ids_are_strings() -> None:
    run = pd.DataFrame({"query_id": [1, 1], "doc_id": [7.0, 8.0], "rank": [1, 2]})
    judged = pd.DataFrame({"query_id": ["1"], "doc_id": ["8"], "relevance": [True]})
    assert evaluate(run, judged, measures=["RR"]).summary.loc["run", "RR"] == 0.5


def test_queries_without_rows_score_zero() -> None:
    judged = pd.concat([JUDGED, pd.DataFrame({"query_id": ["q3", "q4"], "doc_id": "a", "relevance": 1})])
    found = evaluate(ONE, judged, queries=["q1", "q2", "q3", "q5"], measures=["RR"])
    assert found.summary.loc["run", ["RR", "Judged@10", "n_queries"]].tolist() == pytest.approx([1 / 6, 0.75, 3])
    assert found.left_out.to_dict() == {"never-searched": 1, "not-judged": 1}
    assert found.joined["query_ids"].to_dict() == {
        "query_id": ("q1", "q2", "q3"), "never-searched": ("q4",), "not-judged": ("q5",)
    }  # fmt: skip


@pytest.mark.parametrize(
    ("runs", "judged", "options", "message"),
    [
        (ONE.head(0), JUDGED, {}, "runs is empty"),
        (ONE, JUDGED.head(0), {}, "qrels is empty"),
        (ONE, JUDGED.drop(columns="relevance"), {}, "qrels has no column relevance"),
        (ONE, pd.concat([JUDGED, JUDGED]), {}, "twice in qrels: query_id q1, doc_id b; query_id q2, doc_id c"),
        (pd.concat([ONE, ONE]), JUDGED, {}, "twice in runs: system run, query_id q1, doc_id a"),
        (ONE, JUDGED.assign(relevance=0.5), {}, "whole number, not .*0.5"),
        (ONE, JUDGED.assign(relevance=None), {}, "whole number"),
        (ONE, JUDGED, {"measures": ["nonsense@3"]}, "no measure 'nonsense@3'"),
        (ONE, JUDGED, {"measures": ["nDCG@"]}, "no measure 'nDCG@'"),
        (ONE, JUDGED, {"measures": ["alpha_nDCG@10"]}, "Unsupported"),
        (ONE, pd.concat([JUDGED.assign(index="i"), JUDGED.assign(index=None)]), {}, "once for every index"),
    ],
)
def test_what_cannot_be_evaluated_is_named(
    runs: pd.DataFrame, judged: pd.DataFrame, options: dict[str, object], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        evaluate(runs, judged, **options)  # type: ignore[arg-type]


def test_no_query_in_common_is_an_empty_evaluation() -> None:
    found = evaluate(ONE, JUDGED.assign(query_id=["z1", "z2"]))
    assert found.summary.loc["run", "n_queries"] == 0
    assert math.isnan(found.summary.loc["run", "nDCG@10"])
    assert found.left_out.to_dict() == {"never-searched": 2, "not-judged": 2}


# Tests ----------------------------------------------------------------------------------------------


def test_the_paired_test_is_scipys() -> None:
    rng = np.random.default_rng(3)
    a, b = rng.random(20), rng.random(20)
    theirs = stats.ttest_rel(a, b)
    ours = paired(a - b)
    interval = theirs.confidence_interval(0.95)
    assert (ours["p"], ours["ci_low"], ours["ci_high"]) == pytest.approx((theirs.pvalue, interval.low, interval.high))
    assert ours["wins"] + ours["losses"] == 20


@pytest.mark.parametrize("differences", [[], [0.5], [0.25, 0.25, 0.25], [0.1 + 0.2, 0.3], [0.0, 0.0]])
def test_no_variance_no_p(differences: list[float]) -> None:
    found = paired(np.array(differences))
    assert all(math.isnan(found[name]) for name in ("p", "ci_low", "ci_high"))
    assert found["wins"] + found["ties"] + found["losses"] == len(differences)


@pytest.mark.parametrize(
    ("p", "corrected"),
    [
        ([0.01, 0.04, 0.03, 0.005], [0.03, 0.06, 0.06, 0.02]),
        ([0.9, 0.8], [1.0, 1.0]),
        ([0.01, NAN, 0.02], [0.02, NAN, 0.02]),
        ([NAN], [NAN]),
        ([], []),
    ],
)
def test_holm(p: list[float], corrected: list[float]) -> None:
    assert holm(p) == pytest.approx(corrected, nan_ok=True)


@pytest.fixture
def shown() -> Iterator[Evaluation]:
    runs = pd.concat([ONE.assign(system="<i>a</i>"), ONE.assign(system="b", rank=[2, 1, 1])])
    return evaluate(runs, JUDGED, baseline="b")  # type: ignore[return-value]


def test_it_shows_itself(shown: Evaluation) -> None:
    assert "&lt;i&gt;a&lt;/i&gt;" in shown._repr_html_()
    assert "<i>a" not in shown._repr_html_()
    assert repr(shown).splitlines()[2].split() == ["b", "0.500", "0.500", "0.750", "2"]
    assert "against b" in repr(shown)
    assert shown.summary.index.tolist() == ["b", "<i>a</i>"]
