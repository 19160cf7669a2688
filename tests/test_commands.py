"""``report``, ``convert`` and ``doctor`` on the command line."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pandas as pd
import pytest

import nbproxy
from nbproxy import commands

from .terminals import ROOT, Tmux
from .test_cli import invoke
from .test_live import Terminal
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


LONG = {
    "convert": ("convert", "FOLDER", "-o", "TARGET.csv"),
    "report": ("report", "FOLDER", "-o", "TARGET.html"),
}


@pytest.mark.parametrize("command", LONG)
def test_a_bar_is_shown_on_a_terminal_and_gone_at_the_end(folder: Path, tmp_path: Path, command: str) -> None:
    names = {"FOLDER": str(folder), "TARGET.csv": str(tmp_path / "x.csv"), "TARGET.html": str(tmp_path / "x.html")}
    arguments = [names.get(word, word) for word in LONG[command]]
    with Terminal(f"from nbproxy import cli\ncli.app({arguments!r})") as terminal:
        shown = terminal.until(str(tmp_path / "x"))
        assert "reading" in shown
        assert {"convert": "writing", "report": "errors"}[command] in shown
        assert "━" in shown
        assert shown.rindex("\x1b[2K") > shown.rindex("━")  # it was wiped away
        terminal.until("\n")
        assert terminal.close() == 0


@pytest.mark.parametrize("command", LONG)
def test_elsewhere_is_no_bar_and_json_is_alone(folder: Path, tmp_path: Path, command: str) -> None:
    names = {"FOLDER": str(folder), "TARGET.csv": str(tmp_path / "x.csv"), "TARGET.html": str(tmp_path / "x.html")}
    done = subprocess.run(
        [sys.executable, "-m", "nbproxy", *(names.get(word, word) for word in LONG[command]), "--json"],
        capture_output=True, text=True, cwd=ROOT,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("\n") == 1
    assert set(json.loads(done.stdout)) == {"convert": {"file", "rows"}, "report": {"report", "bytes"}}[command]


SHELLS = {
    # how the shell itself asks its completion, at the end of each line that is read
    "bash": """
        eval "$(_NBPROXY_COMPLETE=source_bash nbproxy)"
        while read -r line; do
            read -ra COMP_WORDS <<<"$line"; [[ $line == *" " ]] && COMP_WORDS+=(""); COMP_CWORD=$((${#COMP_WORDS[@]}-1))
            COMPREPLY=(); "$(complete -p nbproxy | sed 's/.*-F //; s/ .*//')" nbproxy; echo "${COMPREPLY[@]}"
        done""",
    "fish": """
        _NBPROXY_COMPLETE=source_fish nbproxy | source
        while read -l line; complete -C "$line" | cut -f 1 | string join ' '; end""",
}
COMPLETED = {
    "nbproxy re": {"report"},
    "nbproxy serve --mo": {"--model"},
    "nbproxy demo --model b": {"bm25"},
    "nbproxy serve --dialect el": {"elasticsearch"},
    "nbproxy convert . --rows h": {"hits"},
}


@pytest.mark.parametrize("shell", SHELLS)
def test_shells_complete(shell: str) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"there is no {shell}")
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [shell, "-c", textwrap.dedent(SHELLS[shell])], input="".join(f"{line}\n" for line in COMPLETED),
        capture_output=True, text=True, env=environment, timeout=120,
    )  # fmt: skip
    assert done.stderr == ""
    assert [set(line.split()) for line in done.stdout.splitlines()] == [*COMPLETED.values()]


def test_zsh_completes(tmp_path: Path) -> None:
    """As a person has it: installed, in a terminal. The first Tab of a shell is spent on loading it."""
    if shutil.which("zsh") is None:
        pytest.skip("there is no zsh")
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = f"env HOME={tmp_path} ZDOTDIR={tmp_path} PATH={path}"
    with Tmux(f"{environment} zsh -c 'nbproxy --install-completion; exec zsh -d'", 100, 20, folder=tmp_path) as tmux:
        tmux.press("echo rea''dy", "Enter")
        tmux.until(lambda shown: "ready" in shown)
        tmux.press("nbproxy rep", "Tab", "Tab")
        tmux.until(lambda shown: any("nbproxy report" in line for line in shown))
