"""``connect``: the :class:`~nbproxy.session.Session` interface onto a proxy in another process."""

from __future__ import annotations

import math
import os
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlencode, urlsplit

from . import frames
from .cards import card_html, session_facts
from .context import ErrorNote
from .controls import Asking, Listed, Sight, Snapshot
from .copies import Copy, Home
from .errors import ConfigError, NbproxyError, SessionClosed
from .pages import Page, decoded
from .recording import Recorded, Recording
from .remote import Remote
from .remote_settings import RemoteSettings
from .segments import EVENTS, HITS, ROWS, Kind
from .tables import clean
from .warn import warn

if TYPE_CHECKING:
    import pandas as pd

_LONG_S = 10.0  # how long one question waits for a flush
_POLL_S = 1.0
_ANSWER_S = 20.0  # importing a model's library there may hold its interpreter up


class ConnectedSession(RemoteSettings, Recorded):
    """A proxy in another process, with the interface of :class:`~nbproxy.session.Session`.

    Made by :func:`nbproxy.connect`. Settable live: ``model``, ``models``, ``shadow``, ``depth``, ``fields``,
    ``min_score``, ``deadline``, for all who use that proxy. Models are given by name, as :func:`nbproxy.connect` says.
    Calls block and are thread-safe; each asks the proxy, so what another notebook changed is seen.

    ``stop()``, and the end of a ``with`` block, leave the proxy running: others may use it. ``stop(proxy=True)`` ends
    it.
    """

    def __init__(self, remote: Remote) -> None:
        self._remote = remote
        self._pid = os.getpid()
        self._left = threading.Event()
        self._lock = threading.RLock()
        self._panel: Any = None
        self._home: Home | None = None
        self._copies: dict[tuple[str, bool], Copy] = {}
        self._warned = False
        self._facts()  # the token is right, and the versions fit

    # -- asking

    def _asked(self) -> Remote:
        if os.getpid() != self._pid:
            raise SessionClosed("this session belongs to the process that this one was forked from; connect here")
        return self._remote

    def _alive(self) -> Remote:
        remote = self._asked()
        if self._left.is_set():
            raise SessionClosed(f"this session was stopped; nbproxy.connect({self.url!r}) begins another")
        return remote

    # -- what it is

    @property
    def url(self) -> str:
        """What clients take as their address; no trailing slash."""
        return self._remote.url

    @property
    def port(self) -> int:
        """The address's."""
        parts = urlsplit(self.url)
        return parts.port or {"http": 80, "https": 443}[parts.scheme]

    @property
    def name(self) -> str:
        """The session's, in its process."""
        return self._remote.name

    @property
    def upstream(self) -> str:
        """The search engine's address, without credentials."""
        return str(self.status["upstream"])

    @property
    def token(self) -> str:
        """The bearer token of the routes under ``/_nbproxy/``."""
        return self._remote.token

    @property
    def session_id(self) -> str:
        """What its files are called by."""
        return str(self._facts()["session"])

    @property
    def status(self) -> dict[str, Any]:
        """What ``GET /_nbproxy/status`` answers (contract §7)."""
        status: dict[str, Any] = self._facts()["status"]
        return status

    @property
    def running(self) -> bool:
        """Whether the proxy serves, as far as can be seen from here."""
        try:
            return bool(self.status["state"] == "running")
        except NbproxyError:
            return False

    @property
    def errors(self) -> list[ErrorNote]:
        """Errors of models and of upstream, newest last, at most 1,000."""
        return self._asked().get("errors", list[ErrorNote])

    # -- the recording

    def _copy(self, kind: Kind, *, bulky: bool) -> Any:
        """The table as it is now; a copy with its bulk does for one without."""
        with self._lock:
            self._asked()
            if self._home is None or not self._home.path.is_dir():  # none yet, or somebody cleaned it away
                self._home, self._copies = Home(), {}
            whole = bulky or (kind.name, True) in self._copies
            copy = self._copies.get((kind.name, whole))
            if copy is None:
                place = "whole" if whole else "light"
                copy = Copy(self._home, place, kind, lambda since: self._page(kind, since, bulky=whole))
                self._copies[kind.name, whole] = copy
        return copy.read(bulky=bulky)

    def _page(self, kind: Kind, since: int, *, bulky: bool) -> Page:
        return self._decoded(self._asked().read(f"{kind.name}?since={since}&bulky={int(bulky)}"))

    def _decoded(self, data: bytes) -> Page:
        try:
            return decoded(data)
        except ValueError as error:
            raise ConfigError(f"{self.url} is an nbproxy of another version ({error}); use the same on both") from None

    @property
    def frame(self) -> pd.DataFrame:
        """One row per exchange (contract §5); only rows that were not fetched before are sent."""
        rows = self._copy(ROWS, bulky=True)
        return self._shown(rows, rows, ROWS)

    @property
    def hits(self) -> pd.DataFrame:
        """One row per exchange, model role and hit (contract §5); only rows not fetched before are sent."""
        return self._hits(bulky=True)

    def _rows(self) -> pd.DataFrame:
        rows = self._copy(ROWS, bulky=False)
        return self._shown(rows, rows, ROWS)

    def _lines(self) -> pd.DataFrame:
        return self._hits(bulky=False)

    def _events(self) -> Any:
        return self._copy(EVENTS, bulky=True)

    def _hits(self, *, bulky: bool) -> pd.DataFrame:
        hits = self._copy(HITS, bulky=bulky)
        return self._shown(hits, self._copy(ROWS, bulky=False), HITS)

    def _shown(self, table: Any, rows: Any, kind: Kind) -> pd.DataFrame:
        ids = frames.ambiguous_ids(rows)
        if ids and not self._warned:
            self._warned = True
            warn(frames.warning_for(ids))
        return frames.to_frame(frames.without_ids(table, ids), kind.columns)

    def row(self, exchange_id: str, part: int | None = None) -> Mapping[str, Any] | None:
        """One row of ``frame``, bodies included, without reading the others'; None: there is no such exchange."""
        asked = {"exchange_id": exchange_id} | ({} if part is None else {"part": str(part)})
        found = self._decoded(self._asked().read(f"row?{urlencode(asked)}")).table.to_pylist()
        return found[0] if found else None

    def _row(self, exchange_id: str, part: int | None) -> Mapping[str, Any] | None:
        return self.row(exchange_id, part)

    @property
    def recorded_in(self) -> Path | None:
        """The recording's directory, on the proxy's machine; None for memory only."""
        path = self.status["recording"]["path"]
        return None if path is None else Path(path)

    @property
    def recording(self) -> Recording | None:
        """The recording: where it lies on this machine, that directory; elsewhere a copy, which goes with this
        session. None: it is in memory only."""
        facts = self._facts()
        path = facts["status"]["recording"]["path"]
        if path is None:
            return None
        if self._is_here(Path(path) / f"token-{facts['session']}"):
            self._page(ROWS, 1 << 62, bulky=False)  # writes what waits
            return Recording(path)
        for kind in (ROWS, HITS, EVENTS):
            self._copy(kind, bulky=True)
        assert self._home is not None
        return Recording(self._home.path / "whole")

    def _is_here(self, token_file: Path) -> bool:
        """Whether this very session's directory is on this machine: only there its token is."""
        try:
            return token_file.read_text().strip() == self._remote.token
        except (OSError, UnicodeDecodeError):
            return False

    def flush(self, timeout: float | None = None) -> None:
        """Wait until everything is recorded, shadows and late scores too.

        :raises TimeoutError: it took longer than ``timeout`` seconds.
        """
        end = None if timeout is None else time.monotonic() + timeout
        while True:  # in bounded steps: a proxy that is gone is noticed
            left = _LONG_S if end is None else min(_LONG_S, max(0.0, end - time.monotonic()))
            if self._alive().get(f"flush?ms={math.ceil(left * 1000)}", bool, timeout=_LONG_S + 30.0):
                return
            if end is not None and time.monotonic() >= end:
                raise TimeoutError(f"not everything is scored after {timeout:g} s")

    # -- looking at it

    def snapshot(self, lines: int = 50) -> Snapshot:
        """The proxy now (see :class:`nbproxy.controls.Controls`)."""
        return self._asked().snapshot(lines)

    def sight(self, exchange_id: str) -> Sight | None:
        """One recorded search side by side, None where it is unknown or no longer at hand."""
        return self._asked().sight(exchange_id)

    def sights(self, exchange_id: str, part: int | None = None) -> tuple[Sight, ...]:
        """Every recorded order of one search (see :meth:`nbproxy.Session.sights`)."""
        return self._asked().sights(exchange_id, part)

    def lines(self, asking: Asking | None = None) -> Listed:
        """A page of recorded exchanges, found where they are recorded (see :meth:`nbproxy.Session.lines`)."""
        return self._asked().lines(asking or Asking())

    def set_model(self, name: str | None) -> None:
        """Serve a model of ``session.models`` by its name, a built-in one, or none (also by ``"none"``).

        :raises ConfigError: no model has that name.
        """
        self._alive().set_model(name)

    def panel(self, qrels: pd.DataFrame | None = None, queries: pd.DataFrame | None = None) -> Any:
        """The ipywidgets panel: one per session, reused, closed with it.

        :param qrels: judgments, as :meth:`evaluate` takes them: the panel then shows each model's nDCG@10 over time.
        :param queries: ``query_id, query``, as there.
        """
        from .panel import Panel

        with self._lock:
            if self._panel is None:
                self._panel = Panel(self)
            if qrels is not None:
                self._panel.judge(qrels, queries)
            return self._panel.widget

    def live(self) -> Any:
        """The rich terminal view; in a notebook, the panel."""
        from .live import in_notebook, run

        return self.panel() if in_notebook() else run(self)

    # -- the end

    def wait(self, timeout: float | None = None) -> bool:
        """Block until the proxy ends, or this session is stopped; whether it is so."""
        end = None if timeout is None else time.monotonic() + timeout
        while self.running and not self._left.is_set():
            left = _POLL_S if end is None else min(_POLL_S, end - time.monotonic())
            if left <= 0:
                return False
            self._left.wait(left)
        return True

    def stop(self, *, proxy: bool = False) -> None:
        """Leave it: the panel closes, the copy of its recording goes, nothing can be set any more.

        The proxy goes on, with the model that it has, as others may use it. Frames can be read as long as it runs. A
        second call does nothing.

        :param proxy: end the proxy itself too, for everybody, as ``Session.stop()`` does in its own process: exchanges
            in flight have its ``drain`` seconds. Returns at once.
        """
        if os.getpid() != self._pid:
            return
        if proxy:
            self._remote.post("stop", None, timeout=60.0)
        self._left.set()
        with self._lock:
            panel, self._panel = self._panel, None
            home, self._home, self._copies = self._home, None, {}
        if panel is not None:
            panel.close()
        if home is not None:
            home.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def __repr__(self) -> str:
        head = f"<nbproxy.ConnectedSession {self._remote.name!r}"
        try:
            facts = self._facts()
        except NbproxyError as error:
            return clean(f"{head} {self.url} · cannot be asked: {error}>")
        status, model = facts["status"], self._model_of(facts["settings"]["model"])
        text = f"{head} {status['state']} {self.url} → {status['upstream']} · model {model.name if model else 'none'}"
        return clean(text + (f" · {status['errors']} errors>" if status["errors"] else ">"))

    def _repr_html_(self) -> str:
        try:
            status = self.status
        except NbproxyError:
            return card_html(repr(self), {})
        title = f"nbproxy session {self._remote.name} in another process · {status['state']}"
        return card_html(title, session_facts(status, self.url))


def connect(url: str, token: str | None = None) -> ConnectedSession:
    """The same interface as :func:`nbproxy.start` gives, onto a proxy in another process: ``nbproxy serve``, or another
    kernel's session.

    Models run there, so they are given by what that process can load: ``"original"``, ``"bm25"``, a folder (a path such
    as ``"./my-model"`` is resolved on the proxy's machine, in its working directory), a hub id, a URL, or
    ``"module:attribute"``, which is imported there. **Whoever has the token can run code in the proxy's process by
    that**: pass it on as you would a password. Nothing that needs no token loads or changes anything.

    The recording is fetched over HTTP, by the page and each row once, so it makes no difference on which machine the
    proxy runs, or whether it records to disk. Reading it changes nothing, and is not recorded itself.

    :param url: the proxy's address (``session.url``; ``nbproxy serve`` prints it), not the search engine's.
    :param token: ``session.token``; None: read from the session's token file, for a proxy of this user on this machine.
    :raises ConfigError: it is not an nbproxy, or the token is missing or wrong; the message says what to do.
    :raises SessionClosed: nothing answers there.
    """
    return ConnectedSession(Remote(url, token, timeout=_ANSWER_S))
