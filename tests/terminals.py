"""A program in a real terminal: tmux draws it, keys are pressed, and what is seen is read."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Self

import pytest

from .upstreams import TIMEOUT

ROOT = Path(__file__).resolve().parents[1]
PAUSE_S = 0.02  # between looks


class Tmux:
    """A tmux server of its own with one window, whose program's exit status is told as ``left with 0``."""

    def __init__(self, command: str, width: int, height: int, *, folder: Path) -> None:
        if shutil.which("tmux") is None:
            pytest.skip("tmux is not installed: apt-get install tmux")
        self.width, self.height = width, height
        self._socket = folder / "tmux"
        own = {"PYTHONPATH": str(ROOT), "LC_ALL": "C.UTF-8", "TERM": "xterm-256color"}
        self._environment = {
            name: value for name, value in os.environ.items() if name not in ("TMUX", "COLUMNS", "LINES")
        }
        self._environment |= own
        self._tmux("new-session", "-d", "-x", str(width), "-y", str(height), "sh", new=True)
        self._tmux("set-option", "-g", "status", "off")
        self._tmux("resize-window", "-x", str(width), "-y", str(height))
        self._tmux("respawn-pane", "-k", f"{command}; echo left with $?; exec cat")

    def _tmux(self, *arguments: str, new: bool = False) -> str:
        command = ["tmux", "-u", "-S", str(self._socket), *(["-f", os.devnull] if new else []), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, env=self._environment, cwd=ROOT, timeout=TIMEOUT)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def lines(self) -> list[str]:
        """What is seen, without the blanks at the ends of lines."""
        shown = self._tmux("capture-pane", "-p").split("\n")
        return [line.rstrip() for line in shown[: self.height]]

    def coloured(self) -> str:
        """What is seen, with control sequences for its colours."""
        return self._tmux("capture-pane", "-p", "-e", "-N").removesuffix("\n")

    def until(self, seen: Callable[[list[str]], bool]) -> list[str]:
        """What is seen, once it is what is waited for."""
        latest = time.monotonic() + 3 * TIMEOUT
        while not seen(lines := self.lines()):
            assert time.monotonic() < latest, "\n".join(lines)
            time.sleep(PAUSE_S)
        return lines

    def press(self, *keys: str) -> None:
        """Keys by tmux's names, or text."""
        self._tmux("send-keys", *keys)

    def resize(self, width: int, height: int) -> None:
        self.width, self.height = width, height
        self._tmux("resize-window", "-x", str(width), "-y", str(height))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._tmux("kill-server")
