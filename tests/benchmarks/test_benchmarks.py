"""What the benchmarks stand on; the figures themselves are for ``make bench``."""

from __future__ import annotations

import importlib
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from nbproxy.dialects import Elasticsearch
from nbproxy.messages import Headers, Request
from nbproxy.ranking import Search

from . import __main__ as command
from . import content, cranfield, machine, model_peers, model_quality, peers, splicing
from .proxy import Proxy
from .report import table


@pytest.mark.parametrize("name", content.SIZES)
def test_answers_have_exactly_their_size_and_are_searches(name: str) -> None:
    body = content.answer(name)
    assert len(body) == content.SIZES[name]
    dialect = Elasticsearch()
    search = dialect.read_search(Request("GET", "/idx/_search?q=lamp&size=1000", Headers(), b""))
    assert isinstance(search, Search)
    assert len(dialect.read_hits(body, search).hits) == content.HITS[name]


def test_every_template_of_a_peer_is_filled_in(tmp_path: Path) -> None:
    values = {"port": 20_000, "upstream": 20_001, "connections": 10, "answers": tmp_path}
    for path in (path for path in peers.HERE.iterdir() if path.suffix in (".conf", ".cfg")):
        assert "$" not in peers.rendered(path.name, tmp_path, **values).read_text()


def test_what_is_missing_is_named_with_its_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "_PATH", "")
    with pytest.raises(SystemExit, match="apt-get install nginx-light haproxy wrk"):
        machine.program("wrk")


def test_backends_that_are_missing_are_named_with_their_command(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(model_peers, "PYTHON", tmp_path / "python")
    with (
        pytest.raises(SystemExit, match=r"make \.venv-peers/\.ready"),
        model_peers.own_backend(tmp_path, "onnx", "float32"),
    ):
        pass


def test_every_benchmark_can_be_run_and_names_what_it_needs() -> None:
    for name in command.BENCHMARKS:
        module = importlib.import_module(f"tests.benchmarks.{name}")
        assert callable(module.main)
        assert set(getattr(module, "NEEDS", ())) <= set(machine.INSTALL)


def loop_module(session: Any) -> str:
    return type(session._thread.loop).__module__.partition(".")[0]


def until_over(session: Any, over: Any) -> str:
    over.wait()
    return str(session.name)


def test_a_proxy_of_its_own_process_runs_on_either_loop() -> None:
    for uvloop in (True, False):
        with Proxy("ours", upstream=machine.free_port(), uvloop=uvloop, record=False) as proxy:
            assert (proxy.ask(loop_module) == "uvloop") is (uvloop and find_spec("uvloop") is not None)
            proxy.begin(until_over)
            assert proxy.end() == "bench"
            with pytest.raises(AttributeError):
                proxy.ask(getattr, "nothing")


@pytest.mark.parametrize("case", splicing.CASES, ids=lambda case: case.name)
def test_what_is_spliced_is_what_was_asked_for(case: splicing.Case) -> None:
    body, _, theirs = splicing.measured(case, rounds=0)
    assert body.count(b'"_id"') == case.hits
    assert abs(len(body) / case.hits / case.size - 1) < 0.2
    assert set(theirs) == set(splicing.PEERS)


@pytest.mark.shared
@pytest.mark.model
@pytest.mark.engine
def test_cranfield_comes_out_the_same_whichever_way_it_is_measured(shared: Path) -> None:
    found = cranfield.measured(shared / "data" / "cranfield", limit=20, small=True)
    summary = found.evaluation.summary
    assert list(summary.index) == [cranfield.ORIGINAL, cranfield.MODEL]
    assert (summary["n_queries"] == 20).all()
    assert summary["nDCG@10"].between(0.1, 0.9).all()
    assert not found.evaluation.tests.empty


def test_without_the_collection_cranfield_says_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="cranqrel"):
        cranfield.measured(tmp_path / "cranfield")


def test_tables_are_markdown() -> None:
    assert table(["what", "n"], [["a", "1"]]) == "| what |  n |\n| ---- | -: |\n| a    |  1 |"


def test_a_loss_comes_with_how_sure_it_is() -> None:
    rng = np.random.default_rng(3)
    plain = rng.uniform(0.2, 0.8, 200)
    for real in (0.0, 0.1):
        at, low, high = model_quality.loss(plain * (1 - real) + rng.normal(0, 0.02, 200), plain)
        assert low < at < high
        assert low < real < high
        assert high - low < 0.03  # paired: the queries' own spread is ten times as large
    assert model_quality.loss(plain, plain) == (0, 0, 0)
    assert model_quality.said(plain * 0.9, plain).startswith(f"{plain.mean() * 0.9:.4f} (+10.00%; +10.0% to +10.0%)")


def test_each_query_is_measured_in_one_half_and_keeps_its_place() -> None:
    names = [f"q{n}" for n in (3, 1, 2)]
    qrels = pd.DataFrame([{"query_id": name, "doc_id": "b", "relevance": 1} for name in names])
    whole = model_quality.Judged(
        "three", [(name, ["one", "two"]) for name in names], [(name, ["a", "b"]) for name in names], qrels
    )

    def score(query: str, texts: list[str]) -> list[float]:
        return [0.0, 1.0] if query == "q1" else [1.0, 0.0]

    second = 1 / np.log2(3)
    assert model_quality.ndcg(score, whole) == pytest.approx([second, 1, second])
    assert [pair[0] for half in model_quality.HALVES for pair in whole.half(half).pairs] == ["q3", "q2", "q1"]
    assert model_quality.ndcg(score, whole.half(1)) == pytest.approx([1])
