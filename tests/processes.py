"""Python in a process of its own, and waiting for a state of a session's."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbproxy

from .upstreams import TIMEOUT


def python(code: str) -> subprocess.Popen[str]:
    """Runs ``code`` in a process, and process group, of its own."""
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(code)],
        stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True, start_new_session=True,
        cwd=Path(__file__).parents[1],
    )  # fmt: skip


def end(child: subprocess.Popen[str]) -> None:
    """Kill it, stopped or not."""
    child.send_signal(signal.SIGCONT)
    child.kill()
    child.communicate()


def line_of(child: subprocess.Popen[str]) -> str:
    """What it says next."""
    assert child.stdout is not None
    return child.stdout.readline().strip()


def said(child: subprocess.Popen[str], what: str) -> None:
    """Wait until it says this."""
    while (line := line_of(child)) != what:
        assert line, f"it ended without saying {what!r}"


def settled(session: nbproxy.Session, found: Callable[[], Any]) -> Any:
    """What ``found`` finds, once it does: each look is a turn of the proxy's loop."""
    latest = time.monotonic() + TIMEOUT / 2
    while not (what := found()):
        assert time.monotonic() < latest, "it never settled"
    return what
