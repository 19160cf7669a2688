"""What a connected session keeps of a recording elsewhere: fetched by the page, once, and mapped from disk.

Laws:

- A row is fetched once. Each reading asks for the rest: a million exchanges are not sent again for one more.
- A copy is a recording like any other (:mod:`nbproxy.segments`), in a directory of its own under the system's
  temporary one (0700), so memory holds only what a frame shows. It keeps bodies that the proxy has removed since.
- The directory goes with its owner; one that a killed process left is removed by the next. A forked child leaves its
  parent's alone.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import threading
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .errors import NbproxyError
from .frames import conform
from .pages import Page
from .sealing import LIMIT_BYTES
from .segments import Kind, Log, read_all, shrink

_PREFIX = "nbproxy-copy-"
_SESSION = "connected"  # what a copy's files are called by
Fetch = Callable[[int], Page]  # the page from a row on


class Home:
    """The directory of one session's copies."""

    def __init__(self) -> None:
        _sweep()
        self.path = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-"))
        self.logs: list[Log] = []  # that are written to
        self._end = weakref.finalize(self, _remove, self.path, os.getpid(), self.logs)

    def close(self) -> None:
        """Remove it."""
        self._end()


def _remove(path: Path, pid: int, logs: list[Log]) -> None:
    for log in logs:
        log.close()
    if os.getpid() == pid:
        shutil.rmtree(path, ignore_errors=True)


def _sweep() -> None:
    """Remove what killed processes of this user left."""
    import psutil

    for path in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        pid = path.name.removeprefix(_PREFIX).partition("-")[0]
        with contextlib.suppress(OSError):
            mine = not path.is_symlink() and (not hasattr(os, "getuid") or path.lstat().st_uid == os.getuid())
            if mine and pid.isdigit() and not psutil.pid_exists(int(pid)):
                shutil.rmtree(path, ignore_errors=True)


class Copy:
    """A copy of one table. Thread-safe: one fetches, the others wait for it.

    :param place: the directory in its home that it shares with the copy of the other kind.
    """

    def __init__(self, home: Home, place: str, kind: Kind, fetch: Fetch) -> None:
        self._home, self._directory, self._kind, self._fetch = home, home.path / place, kind, fetch
        self._lock = threading.Lock()
        self._epoch: str | None = None
        self._next = self._rows = 0
        self._log: Log | None = None

    def read(self, *, bulky: bool) -> Any:
        """The whole table as it is now, as an Arrow table of the kind's columns.

        :raises NbproxyError: the copy cannot be kept.
        """
        with self._lock:
            self._follow()
            table = self._table(bulky)
            if table.num_rows != self._rows:  # somebody cleaned up: once more from the beginning
                self._begin(None)
                self._follow()
                table = self._table(bulky)
            return table

    def _table(self, bulky: bool) -> Any:
        return read_all(self._log.segments() if self._log else [], self._kind, bulky=bulky)

    def _follow(self) -> None:
        """Fetch what there is now; what comes meanwhile is the next reading's."""
        page = self._page()
        end = page.total
        while True:
            self._add(page)
            if self._next >= end:
                return
            page = self._page()
            end = end if page.epoch == self._epoch else page.total

    def _page(self) -> Page:
        page = self._fetch(self._next)
        if page.epoch != self._epoch:  # its rows are numbered anew
            begun = self._next > 0
            self._begin(page.epoch)
            return self._fetch(0) if begun else page
        return page

    def _begin(self, epoch: str | None) -> None:
        if self._log is not None:
            self._log.close()
            self._home.logs.remove(self._log)
            for name in (self._kind.name, self._kind.bulk):
                for path in self._directory.glob(f"{name}-{_SESSION}-*"):
                    path.unlink(missing_ok=True)
        self._log, self._epoch, self._next, self._rows = None, epoch, 0, 0

    def _add(self, page: Page) -> None:
        try:
            if self._log is None:
                self._directory.mkdir(mode=0o700, exist_ok=True)
                self._log = Log(self._directory, self._kind, _SESSION)
                self._home.logs.append(self._log)
            for batch in conform(page.table, self._kind.columns).combine_chunks().to_batches():
                self._log.append(batch)
                self._rows += batch.num_rows
            self._next = page.next
            if self._log.full:
                self._log.seal()
                shrink(self._directory, LIMIT_BYTES)
        except OSError as error:
            raise NbproxyError(f"the recording's copy cannot be kept in {self._directory}: {error}") from error
