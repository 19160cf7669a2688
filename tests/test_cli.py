"""The command line: verbs, exit codes, and ``serve`` as a real process."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import re
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import nbproxy
from nbproxy import cli

from .upstreams import Json

COMMAND = [sys.executable, "-m", "nbproxy"]


def invoke(*arguments: str) -> Any:
    return CliRunner().invoke(cli.app, list(arguments), env={"COLUMNS": "100", "TERM": "dumb"})


def test_the_version() -> None:
    result = invoke("--version")
    assert (result.exit_code, result.output) == (0, f"nbproxy {nbproxy.__version__}\n")


@pytest.mark.parametrize("command", ["demo", "serve", "live", "report", "convert", "doctor"])
def test_help_teaches_with_examples(command: str) -> None:
    result = invoke(command, "--help")
    assert result.exit_code == 0
    assert "Examples" in result.output
    assert f"nbproxy {command}" in result.output
    assert not re.search("[\U0001f000-\U0001faff]", result.output)  # nothing between colons is taken for an emoji
    lines = [line.strip() for line in result.output.split("Examples")[0].splitlines()]
    for line, after in itertools.pairwise(lines):  # no line ends where one of the source does
        assert not line or not after or len(f"{line} {after.split()[0]}") > 96, line


def test_help_tells_the_exit_codes_and_how_to_complete() -> None:
    told = " ".join(invoke("--help").output.split())
    assert "Exit codes: 0 done, 1 failed, 2 wrong usage." in told
    assert "--install-completion" in told


WRONG = [
    ("no-such-verb",),
    ("serve",),
    ("serve", "http://localhost:1", "--port", "70000"),
    ("serve", "http://localhost:1", "--depth", "many"),
    ("serve", "http://localhost:1", "--record", "x", "--no-record"),
    ("demo", "--limit", "1"),
    ("report", "."),
    ("convert", ".", "-o", "x.csv", "--rows", "columns"),
    ("doctor", "--port", "0"),
]


@pytest.mark.parametrize("arguments", WRONG, ids=" ".join)
def test_wrong_usage_is_2(arguments: tuple[str, ...]) -> None:
    assert invoke(*arguments).exit_code == 2


FAILED = [
    (("serve", "ftp://x"), "must look like http://"),
    (("serve", "http://localhost:1", "--model", "bm52"), "did you mean 'bm25'"),
    (("serve", "http://localhost:1", "--model", "json:nothing"), "--model json:nothing cannot be imported"),
    (("serve", "http://localhost:1", "--model", "no_such:thing"), "No module named 'no_such'"),
    (("serve", "http://localhost:1", "--allow-host", "http://a"), "is not a host's name"),
    (("live", "http://127.0.0.1:1"), "127.0.0.1:1"),
    (("demo", "--model", "bm25"), "give another one"),
    (("report", "/no/such/place", "-o", "x.html"), "there is no directory"),
    (("report", ".", "-o", "x.html", "--qrels", "/no/such/qrels"), "/no/such/qrels"),
    (("convert", "/no/such/place", "-o", "x.csv"), "there is no directory"),
    (("doctor", "ftp://x"), "must look like http://"),
]


@pytest.mark.parametrize(("arguments", "message"), FAILED, ids=[" ".join(a) for a, _ in FAILED])
def test_a_failure_is_1_and_one_line(arguments: tuple[str, ...], message: str) -> None:
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    result = invoke(*arguments)
    assert result.exit_code == 1
    assert result.stderr.startswith("nbproxy: ")
    assert message in result.stderr
    assert result.stdout == ""
    assert {number: signal.getsignal(number) for number in before} == before


def test_a_model_may_be_an_attribute_of_a_module_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own_models.py").write_text("class Box:\n    @staticmethod\n    def f(query, texts): return []\n")
    monkeypatch.chdir(tmp_path)
    path = list(sys.path)
    assert cli._model("own_models:Box.f").__name__ == "f"
    assert sys.path == path
    assert cli._model("none") is None
    assert cli._model("bm25") == "bm25"


@contextlib.contextmanager
def serving(*arguments: str, runtime: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """``nbproxy serve`` as a process of its own, and the line that it printed."""
    environment = {**os.environ, "XDG_RUNTIME_DIR": str(runtime), "XDG_DATA_HOME": str(runtime / "data")}
    command = [*COMMAND, "serve", *arguments]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        try:
            assert process.stdout is not None
            yield process, process.stdout.readline()
        finally:
            process.kill()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
def test_serve_serves_until_it_is_told_to_end(json_upstream: Json, tmp_path: Path, number: signal.Signals) -> None:
    record = tmp_path / "recording"
    arguments = (json_upstream.url, "--json", "--model", "bm25", "--depth", "20", "--record", str(record))
    with serving(*arguments, runtime=tmp_path) as (process, line):
        facts = json.loads(line)
        assert (facts["upstream"], facts["model"], facts["recording"]) == (json_upstream.url, "bm25", str(record))
        assert Path(facts["token_file"]).parent == record
        with urllib.request.urlopen(f"{facts['url']}/_nbproxy/status", timeout=10) as response:
            assert json.load(response)["model"]["name"] == "bm25"
        process.send_signal(number)
        out, err = process.communicate(timeout=20)
        assert (process.returncode, out, err) == (0, "", "")
    assert nbproxy.load(record).frame["route"].tolist() == ["own"]


def test_serve_says_where_it_is_and_how_to_connect(json_upstream: Json, tmp_path: Path) -> None:
    with serving(json_upstream.url, "--no-record", runtime=tmp_path) as (process, line):
        assert line.startswith("nbproxy: http://127.0.0.1:")
        assert json_upstream.url in line
        assert process.stdout is not None
        url = line.split()[1]
        how = process.stdout.readline()
        assert how.startswith(f'nbproxy: in a notebook: nbproxy.connect("{url}") · token in ')
        assert nbproxy.connect(url, Path(how.split(" token in ")[1].strip()).read_text()).model is None
        process.terminate()
        assert process.communicate(timeout=20) == ("", "")
        assert process.returncode == 0


@pytest.mark.engine
@pytest.mark.model
def test_demo_as_json_prints_json_and_nothing_else(tmp_path: Path) -> None:
    pytest.importorskip("opensearchpy")
    result = invoke("demo", "--json", "--limit", "2", "--record", str(tmp_path))
    assert result.exit_code == 0, result.stderr
    found = json.loads(result.stdout)
    assert found["systems"] == ["original", "bm25", "all-MiniLM-L6-v2"]
    assert result.stderr == ""


def test_python_m_nbproxy_is_the_same() -> None:
    done = subprocess.run([*COMMAND, "--version"], capture_output=True, text=True)
    assert done.stdout == f"nbproxy {nbproxy.__version__}\n"
