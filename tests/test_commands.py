"""``report``, ``convert`` and ``doctor`` on the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

import nbproxy
from nbproxy import commands

from .test_cli import invoke
from .test_report import recorded, searched
from .upstreams import Json


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    recorded(tmp_path / "recording", *[searched(n, f"query {n}") for n in range(4)])
    return tmp_path / "recording"


QRELS = {
    "trec": "q0 0 m2 1\nq1 0 m0 2\n",
    "tsv": "query-id\tcorpus-id\tscore\nq0\tm2\t1\nq1\tm0\t2\n",
    "jsonl": '{"query_id": "q0", "doc_id": "m2", "relevance": 1}\n{"qid": "q1", "docno": "m0", "grade": 2}\n',
}


@pytest.mark.parametrize("form", QRELS)
def test_a_report_with_judgments_in_any_form(folder: Path, tmp_path: Path, form: str) -> None:
    pytest.importorskip("matplotlib")
    (tmp_path / "qrels").write_text(QRELS[form])
    page = tmp_path / "report.html"
    done = invoke("report", str(folder), "-o", str(page), "--qrels", str(tmp_path / "qrels"), "--json")
    assert (done.exit_code, done.stderr) == (0, "")
    assert json.loads(done.stdout) == {"report": str(page), "bytes": page.stat().st_size}
    assert '<h2 id="evaluation"' in page.read_text()


def test_judged_queries_join_by_their_text(folder: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    (tmp_path / "qrels").write_text("one 0 m2 1\n")
    (tmp_path / "queries").write_text('{"_id": "one", "text": "Query 3"}\n')
    page = tmp_path / "report.html"
    options = ("--qrels", str(tmp_path / "qrels"), "--queries", str(tmp_path / "queries"), "--title", "A <b> page")
    done = invoke("report", str(folder), "-o", str(page), *options)
    assert done.exit_code == 0, done.stderr
    assert done.stdout == f"nbproxy: {page} ({page.stat().st_size:,} bytes)\n"
    assert "<title>A &lt;b&gt; page</title>" in page.read_text()
    assert "never-searched" not in page.read_text().split('id="evaluation"')[1].split("How judgments")[0]


def test_judgments_that_cannot_be_read_name_the_line(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "qrels").write_text("q0 0 m2 1\nq1 0 m0 good\n")
    done = invoke("report", str(folder), "-o", str(tmp_path / "x.html"), "--qrels", str(tmp_path / "qrels"))
    assert done.exit_code == 1
    assert "qrels:2: a grade must be a number" in done.stderr


def test_a_recording_is_converted(folder: Path, tmp_path: Path) -> None:
    done = invoke("convert", str(folder), "-o", str(tmp_path / "x.parquet"), "--json")
    assert json.loads(done.stdout) == {"file": str(tmp_path / "x.parquet"), "rows": 4}
    done = invoke("convert", str(folder), "-o", str(tmp_path / "x.csv"), "--rows", "hits")
    assert done.stdout.endswith("x.csv (12 rows)\n")
    assert len(pd.read_csv(tmp_path / "x.csv")) == 12


def test_the_doctor_says_what_is_well(json_upstream: Json) -> None:
    done = invoke("doctor", json_upstream.url)
    assert done.exit_code == 0, done.output
    assert f"upstream  ✓ ok   {json_upstream.url} answers" in done.stdout
    assert done.stdout.splitlines()[-1].endswith(" 0 wrong")


def test_what_is_wrong_is_1_and_says_what_to_do() -> None:
    done = invoke("doctor", "http://127.0.0.1:1")
    assert done.exit_code == 1
    assert "✗ fail http://127.0.0.1:1 cannot be reached" in done.stdout
    assert "→ start it" in done.stdout


def test_as_json_it_is_json_and_nothing_else() -> None:
    done = invoke("doctor", "http://127.0.0.1:1", "--json")
    found = json.loads(done.stdout)
    assert (done.exit_code, found["ok"], found["version"]) == (1, False, nbproxy.__version__)
    assert found["findings"][0].keys() == {"check", "state", "what", "todo"}


@pytest.mark.parametrize(
    ("text", "auth"),
    [(None, None), ("me:my:word", ("me", "my:word")), ("key==", "key=="), ("Bearer a:b", "Bearer a:b")],
)
def test_credentials(text: str | None, auth: object) -> None:
    assert commands.auth_of(text) == auth


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shells_complete(shell: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import shellingham

    monkeypatch.setattr(shellingham, "detect_shell", lambda: (shell, f"/bin/{shell}"))
    done = invoke("--show-completion")
    assert done.exit_code == 0
    assert "nbproxy" in done.stdout.lower() or "complete" in done.stdout.lower()
