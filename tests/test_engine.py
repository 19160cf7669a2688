"""The embedded demo engine, the real one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import psutil
import pytest

from nbproxy import MissingExtra, engine
from nbproxy.engine import Engine, demo_engine
from nbproxy.errors import UpstreamFault

pytestmark = [
    pytest.mark.engine,
    pytest.mark.skipif(find_spec("osmem_server") is None, reason="osmem-server is not installed"),
]


@pytest.fixture
def own() -> Iterator[Engine]:
    """One that a test may end."""
    started = engine._started()
    yield started
    started.close()


def ask(url: str) -> Any:
    with urllib.request.urlopen(url, timeout=10) as response:
        return json.load(response)


def test_it_has_the_collection(engine: Engine) -> None:
    assert ask(f"{engine.url}/household/_count")["count"] == len(engine.collection.documents)
    document = engine.collection.documents.iloc[0]
    found = ask(f"{engine.url}/household/_doc/{document['doc_id']}")["_source"]
    assert found == {"title": document["title"], "text": document["text"]}


def test_there_is_one_for_a_process(engine: Engine) -> None:
    assert demo_engine() is engine
    assert engine.alive


def test_it_is_on_loopback_and_in_a_session_of_its_own(engine: Engine) -> None:
    assert engine.url.startswith("http://127.0.0.1:")
    assert os.getsid(engine.process.pid) == engine.process.pid != os.getsid(0)


def test_closing_it_ends_it_and_closing_it_again_does_nothing(own: Engine) -> None:
    own.close()
    assert not own.alive
    assert not psutil.pid_exists(own.process.pid)
    own.close()


def test_it_does_not_outlive_a_process_that_was_killed() -> None:
    code = (
        "import os, signal; from nbproxy.engine import demo_engine; e = demo_engine();"
        "print(e.process.pid, flush=True); os.kill(os.getpid(), signal.SIGKILL)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    with_pid = int(done.stdout)
    if psutil.pid_exists(with_pid):
        psutil.wait_procs([psutil.Process(with_pid)], timeout=10)
    assert not psutil.pid_exists(with_pid)


def test_an_exit_ends_it_and_a_fork_neither_shares_nor_ends_it() -> None:
    """The child leaves as Python does, with its own atexit run; then the parent's engine must still answer."""
    code = """
import os, sys, urllib.request
from nbproxy.engine import demo_engine
mine = demo_engine()
child = os.fork()
if child == 0:
    assert not mine.alive
    mine.close()
    sys.exit(0 if demo_engine().url != mine.url else 1)
assert os.waitpid(child, 0)[1] == 0
assert demo_engine() is mine and urllib.request.urlopen(mine.url).status == 200
print(mine.process.pid)
"""
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert not psutil.pid_exists(int(done.stdout))


@pytest.mark.parametrize(
    ("script", "message"),
    [("import sys; print('no luck', file=sys.stderr); sys.exit(3)", "exit code 3: no luck"), ("input()", "too long")],
)
def test_one_that_does_not_start_is_told(monkeypatch: pytest.MonkeyPatch, script: str, message: str) -> None:
    monkeypatch.setattr(engine, "START_S", 10.0 if "exit" in script else 0.2)
    with pytest.raises(UpstreamFault, match=message):
        engine._launch([sys.executable, "-c", script])


def test_no_binary_and_no_package_tell_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "osmem_server", None)
    with pytest.raises(MissingExtra, match=r'pip install "nbproxy\[demo\]"'):
        engine._binary()


def test_an_engine_that_cannot_be_asked_is_told(own: Engine) -> None:
    own.close()
    with pytest.raises(UpstreamFault, match="cannot be asked"):
        engine._fill(own.url, own.collection)
