"""Fixtures: sessions that are stopped whatever happens, a scripted upstream on a real socket, the demo engine."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import nbproxy
from nbproxy import background

from .processes import end, python
from .upstreams import Client, Json, Scripted

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(autouse=True)
def _own_data_dir(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is written to the user's own directories."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path_factory.getbasetemp() / "data"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "cache"))
    runtime = tmp_path_factory.getbasetemp() / "run"
    runtime.mkdir(mode=0o700, exist_ok=True)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime))


@pytest.fixture(params=["uvloop", "asyncio"])
def both_loops(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is tested holds on both loops: ``pytestmark = pytest.mark.usefixtures("both_loops")``."""
    if request.param == "asyncio":
        monkeypatch.setattr(background, "new_loop", asyncio.new_event_loop)
    else:
        pytest.importorskip("uvloop")


@pytest.fixture
def start(request: pytest.FixtureRequest) -> Iterator[Callable[..., nbproxy.Session]]:
    """``nbproxy.start`` under a name of the test's own; what it started is stopped."""
    started: list[nbproxy.Session] = []

    def go(upstream: str | None = None, **options: Any) -> nbproxy.Session:
        options.setdefault("name", request.node.name)
        options.setdefault("record", False)
        options.setdefault("drain", 0.5)
        session = nbproxy.start(upstream, **options)
        started.append(session)
        return session

    yield go
    for session in started:
        session.stop()


@pytest.fixture
def opened() -> Iterator[Callable[[nbproxy.Session], Client]]:
    """Opens clients of a session; they are closed behind the test."""
    with contextlib.ExitStack() as stack:
        yield lambda session: stack.enter_context(Client(session.url))


@pytest.fixture
def upstream() -> Iterator[Scripted]:
    """An upstream that does, byte for byte, what the test says."""
    with Scripted() as server:
        yield server


@pytest.fixture
def process() -> Iterator[Callable[[str], subprocess.Popen[str]]]:
    """Runs Python in processes of their own, which are killed behind the test."""
    running: list[subprocess.Popen[str]] = []

    def go(code: str) -> subprocess.Popen[str]:
        running.append(python(code))
        return running[-1]

    yield go
    for child in running:
        end(child)


@pytest.fixture
def json_upstream() -> Iterator[Json]:
    """An upstream shaped like Elasticsearch, whose answers are a function of the request."""
    with Json() as server:
        yield server


@pytest.fixture(scope="session")
def engine() -> Iterator[Any]:
    """The embedded demo engine with the household collection."""
    from nbproxy.engine import demo_engine

    yield demo_engine()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        demo_engine().close()


@pytest.fixture(scope="session")
def shared() -> Path:
    """Public data beside the checkout, where there is any."""
    if not SHARED.is_dir():
        pytest.skip(f"no shared data at {SHARED}")
    return SHARED


@pytest.fixture(scope="session")
def small_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a small cross-encoder with random weights."""
    from tests.rerankers.conftest import save_tiny

    return Path(save_tiny(tmp_path_factory.mktemp("models") / "small-cross-encoder", "bert", 1))
