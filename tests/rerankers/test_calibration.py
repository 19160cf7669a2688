"""int8 says what it costs before it serves, and does not serve where that is too much."""

from __future__ import annotations

import types

import numpy as np
import pandas as pd
import pytest

import nbproxy
from nbproxy.errors import ConfigError
from nbproxy.rerankers.calibration import recorded

from .conftest import sentence


@pytest.fixture
def traffic(rng):
    return [(sentence(rng, 4), [sentence(rng, rng.randint(3, 50)) for _ in range(12)]) for _ in range(6)]


def hits_of(traffic):
    return pd.DataFrame(
        [
            {"query_id": f"q{q}", "query": query, "doc_id": f"d{n}", "text": text}
            for q, (query, texts) in enumerate(traffic)
            for n, text in enumerate(texts)
        ]
    )


def int8(folder, **options):
    return nbproxy.CrossEncoder(folder, precision="int8", device="cpu", **options)


def test_it_reports_before_it_serves(tiny, traffic):
    reranker = int8(tiny("bert", 1), calibration=traffic, max_loss=None)
    report = reranker.report
    assert (report.queries, report.pairs, report.judged, report.accepted) == (3, 36, False, True)
    assert report.rank_correlation > 0.9
    assert report.ndcg_float32 == pytest.approx(1)  # by its own order
    assert report.loss == pytest.approx(1 - report.ndcg)
    assert str(reranker.choice) == "openvino int8 on cpu"
    assert reranker.choice.why.startswith("int8 on 36 recorded pairs of 3 searches: rank correlation ")
    wanted = nbproxy.CrossEncoder(tiny("bert", 1)).raw(*traffic[1])
    assert np.corrcoef(wanted, reranker.raw(*traffic[1]))[0, 1] > 0.95
    assert reranker.work.texts == 12  # measuring does not count


def test_onnx_runtime_has_it_too(tiny, traffic):
    reranker = int8(tiny("bert", 1), backend="onnx", calibration=traffic, max_loss=None)
    assert str(reranker.choice) == "onnx int8 on cpu"
    assert reranker.report.rank_correlation > 0.9
    other = int8(tiny("bert", 1), backend="onnx", calibration=traffic[:4], max_loss=None)
    assert other.fingerprint != reranker.fingerprint
    assert other.raw(*traffic[0]).tolist() != reranker.raw(*traffic[0]).tolist()


def test_where_it_loses_too_much_float32_serves(tiny, traffic):
    with pytest.warns(UserWarning, match=r"int8 on .* a loss of .*that is more than -100.00%, so float32 serves"):
        reranker = int8(tiny("bert", 1), calibration=traffic, max_loss=-1.0)
    assert reranker.choice.precision == "float32"
    assert reranker.choice.why.startswith("refused: int8 on ")
    assert not reranker.report.accepted
    wanted = nbproxy.CrossEncoder(tiny("bert", 1))(*traffic[0])
    np.testing.assert_allclose(reranker(*traffic[0]), wanted, atol=1e-5)


def test_judgments_say_what_is_lost(tiny, traffic):
    hits = hits_of(traffic)
    qrels = hits[["query_id", "doc_id"]].assign(relevance=[n % 3 for n in range(len(hits))])
    report = int8(tiny("bert", 1), calibration=hits, qrels=qrels, max_loss=None).report
    assert report.judged
    assert 0 < report.ndcg_float32 < 1
    scores = nbproxy.CrossEncoder(tiny("bert", 1))
    rows = [
        {"query_id": f"q{q}", "doc_id": f"d{n}", "score": score}
        for q in (1, 3, 5)
        for n, score in enumerate(scores(*traffic[q]))
    ]
    theirs = nbproxy.evaluate(
        pd.DataFrame(rows), qrels[qrels["query_id"].isin(["q1", "q3", "q5"])], measures=["nDCG@10"]
    )
    assert report.ndcg_float32 == pytest.approx(theirs.summary["nDCG@10"].iloc[0])


def test_bi_encoders_have_int8_too(tiny, traffic):
    model = nbproxy.BiEncoder(tiny("bert", None), precision="int8", backend="auto", calibration=traffic, max_loss=None)
    assert model.report.rank_correlation > 0.9


def test_without_recorded_traffic_there_is_no_int8(tiny):
    for calibration in (None, [], [("w1", ["w2", "w3"])]):
        with pytest.raises(ConfigError, match="precision='int8' needs calibration=: a recording, a session"):
            int8(tiny("bert", 1), calibration=calibration)


def test_recorded_searches_from_whatever_holds_them(traffic):
    hits = hits_of(traffic)
    twice = pd.concat([hits, hits, hits.assign(text=None), hits.assign(text="")])  # a shadow's rows, hits without text
    for source in (traffic, hits, twice, types.SimpleNamespace(hits=hits)):
        assert [(each.query, each.texts) for each in recorded(source)] == traffic
    many = [(f"q{n}", ["a", "b"]) for n in range(200)]
    spread = recorded(many)
    assert len(spread) <= 64
    assert spread[-1].query > "q180"


@pytest.mark.parametrize("calibration", [3, "x", [1, 2], {"a": 1}, [("q", "a text")], [("q", [3])], [(None, ["a"])]])
def test_what_is_no_traffic(tiny, calibration):
    with pytest.raises(ConfigError, match=r"calibration must be a recording, a session, their hits, or"):
        int8(tiny("bert", 1), calibration=calibration)
