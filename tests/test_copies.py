"""What a connected session keeps: its directory, and what is left of killed ones."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from nbproxy.copies import Copy, Home
from nbproxy.errors import NbproxyError
from nbproxy.pages import Page, Pages
from nbproxy.recorder import Recorder
from nbproxy.segments import ROWS

from .recordings import exchange


@pytest.fixture(autouse=True)
def _own_temporary_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


def test_a_home_is_private_and_goes_with_its_owner(tmp_path: Path) -> None:
    home = Home()
    path = home.path
    assert path.parent == tmp_path
    assert path.stat().st_mode & 0o777 == 0o700
    home.close()
    home.close()
    assert not path.exists()
    home = Home()
    path = home.path
    del home
    gc.collect()
    assert not path.exists()


def test_what_a_killed_process_left_goes_and_nothing_else_does(tmp_path: Path) -> None:
    left = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True)
    dead = tmp_path / f"nbproxy-copy-{int(left.stdout)}-x"
    alive = tmp_path / f"nbproxy-copy-{os.getppid()}-x"
    other = tmp_path / "nbproxy-copy-mine"
    for path in (dead, alive, other):
        path.mkdir()
    link = tmp_path / f"nbproxy-copy-{int(left.stdout)}-link"
    link.symlink_to(alive)
    Home().close()
    assert [path.exists() for path in (dead, alive, other, link)] == [False, True, True, True]


def test_a_copy_that_cannot_be_kept_says_where(tmp_path: Path) -> None:
    recorder = Recorder(None, session_id="s")
    recorder.append(exchange(1))
    pages = Pages(recorder)
    home = Home()
    (home.path / "whole").write_text("in the way")

    def fetch(since: int) -> Page:
        return pages.read(ROWS, since, bulky=True)

    with pytest.raises(NbproxyError, match=r"copy cannot be kept in .*whole"):
        Copy(home, "whole", ROWS, fetch).read(bulky=True)
    copy = Copy(home, "other", ROWS, fetch)
    assert copy.read(bulky=True).num_rows == 1
    home.close()
    recorder.close()
