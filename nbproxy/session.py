"""Put together: what ``nbproxy.start()`` returns."""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import socket
import threading
import time
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import TYPE_CHECKING, Any, Self

from . import overview
from .background import SWITCH_INTERVAL, LoopThread
from .cards import card_html, session_facts
from .clicks import Click
from .context import Context, ErrorNote
from .controls import Asking, Listed, Sight, Snapshot, State
from .desk import SessionDesk
from .dialects import find
from .errors import ConfigError, SessionClosed
from .listing import listed, row, sights
from .live_settings import LiveSettings
from .mergers import Merger
from .models import load, merges
from .options import Options
from .origin import Origin, origin
from .pages import Pages
from .places import runtime_directory
from .ports import allowed_hosts, bound, host_names, own_hosts
from .recorder import Recorder, default_directory
from .recording import Recorded, Recording
from .remote import announce
from .server import Server, spawner
from .settings import Settings
from .shadows import Shadows
from .stats import Stats
from .tables import clean
from .upstream import Pool
from .warn import warn

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger("nbproxy")
_STOP_MARGIN_S = 0.8


class Session(LiveSettings, Recorded):
    """A proxy in front of one upstream, on a background thread, with its recording.

    Made by :func:`nbproxy.start`. Settable live: ``model``, ``models``, ``shadow``, ``depth``, ``fields``,
    ``min_score``, ``deadline``. Calls block and are thread-safe; from async code use ``asyncio.to_thread``.
    """

    def __init__(self, options: Options) -> None:
        self._options = options
        self._pid = os.getpid()
        self._lock = threading.RLock()
        self._state: State = "starting"
        self._session_id = uuid.uuid4().hex[:12]
        self._token = secrets.token_urlsafe(24)
        self._started = time.monotonic()
        self._stopped = threading.Event()
        self._panel: Any = None
        self._allowed: frozenset[str] = frozenset()
        self._stats = Stats()
        self._listener: socket.socket | None = None
        self._place, self._dialects = _place(options), find(options.dialect)
        self._settings = self._load_settings(options)  # before the port is bound: imports stall every thread
        self._recorder = self._make_recorder(options)
        self._thread = LoopThread(f"nbproxy-{options.name}")
        self._thread.start()
        SWITCH_INTERVAL.acquire()
        self._quick = True  # whether the interpreter switches threads as often as we need it
        try:
            self._open(options)
        except BaseException:
            self._shut(0)
            raise

    # -- putting together

    def _make_recorder(self, options: Options) -> Recorder:
        directory = self._directory(options)
        recorder = Recorder(
            directory,
            session_id=self._session_id,
            redact=options.redact,
            on_error=self._recording_error,
            count=self._stats.count,
        )
        self.pages = Pages(recorder)
        self._write_token(directory)
        self._note = self._token_file
        return recorder

    def _directory(self, options: Options) -> Path | None:
        """Where ``options`` say to record; None: in memory only."""
        record = options.record
        if record is False:
            return None
        if record is None or record is True:
            return default_directory(options.name, self._session_id)
        return Path(getattr(record, "path", record))

    def _write_token(self, directory: Path | None) -> None:
        """The token's file, readable by its owner only, as contract §7 says."""
        self._token_file = (directory or runtime_directory()) / f"token-{self._session_id}"
        with contextlib.suppress(OSError):
            self._token_file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | getattr(os, "O_NOFOLLOW", 0)
            handle = os.open(self._token_file, flags, 0o600)
            with os.fdopen(handle, "w") as file:
                file.write(self._token)

    def _load_settings(self, options: Options) -> Settings:
        return Settings(
            model=load(options.model),
            depth=options.depth,
            fields=options.fields,
            min_score=options.min_score,
            deadline=options.deadline,
        )

    def _open(self, options: Options) -> None:
        """Bind, if that is not done, and serve with ``options``."""
        self._listener = self._listener or bound(options.host, options.port)
        self.port: int = self._listener.getsockname()[1]
        self._options = replace(options, port=self.port)
        self._hosts = own_hosts(options.host, self.port)

        async def serve() -> tuple[Context, Server]:
            context = Context(
                settings=self._settings,
                limits=options.limits,
                dialects=self._dialects,
                sink=self._recorder,
                pool=Pool(self._place, options.timeouts),
                spawn=spawner(),
                host_header=options.host_header,
                told_of_clicks=merges(self._settings),
            )
            context.shadowing = Shadows(context)
            server = Server(context, SessionDesk(self), self._hosts)
            assert self._listener is not None
            await server.listen(self._listener)
            return context, server

        previous = getattr(self, "_context", None)
        self._context, self._server = self._thread.run(serve())
        if previous is not None:  # a restart: counts and errors go on
            self._context.errors = previous.errors
            self._context.error_count = previous.error_count
            self._context.told_of_clicks |= previous.told_of_clicks
        self._state = "running"
        with contextlib.suppress(OSError):  # for `nbproxy live`, which looks for sessions of this user
            self._note = announce(self._session_id, url=self.url, name=self.name, token_file=self._token_file)
        self._warn_if_open(options.host)

    def _warn_if_open(self, host: str) -> None:
        if host not in ("localhost", "::1") and not host.startswith("127."):
            warn(
                f"nbproxy listens on {host}: everybody who reaches this machine reaches {self._place.url} through it",
            )

    def reopen(self, options: Options) -> None:
        """Serve with other options that cannot change live: same recording, same port unless another is given.

        :raises ConfigError: one of them cannot be used; what ran before runs on.
        """
        with self._lock:
            self._alive()
            place, dialects = _place(options), find(options.dialect)
            self._thread.run(self._server.stop(self._options.drain))
            self._close_listener()
            try:
                self._listener = bound(options.host, options.port)
                self._record_on(options)
            except BaseException:
                self._close_listener()
                self._open(self._options)
                raise
            self._place, self._dialects = place, dialects
            self._open(options)

    def _record_on(self, options: Options) -> None:
        """Go on with what ``options`` say of the recording."""
        if self._directory(options) == self._recorder.path:
            self._recorder.redact_by(options.redact)
            return
        recorder, files = self._recorder, (self._token_file, self._note)
        self._recorder = self._make_recorder(options)
        recorder.close()
        for file in {*files} - {self._token_file}:
            with contextlib.suppress(OSError):
                file.unlink()

    # -- what it is

    @property
    def url(self) -> str:
        """What clients take as their address; no trailing slash."""
        host = self._options.host
        host = {"0.0.0.0": "127.0.0.1", "": "127.0.0.1", "::": "::1"}.get(host, host)
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"

    @property
    def upstream(self) -> str:
        """The search engine's address, without credentials."""
        return self._place.url

    @property
    def token(self) -> str:
        """The bearer token of the routes under ``/_nbproxy/``."""
        return self._token

    @property
    def token_file(self) -> Path:
        """Where the token stands, readable by its owner only."""
        return self._token_file

    @property
    def session_id(self) -> str:
        """What its files are called by."""
        return self._session_id

    @property
    def allowed_hosts(self) -> frozenset[str]:
        """Host names, beside loopback's, under which the routes that need the token may be asked; settable.

        ``host=`` itself is allowed, and where that stands for all addresses (``0.0.0.0``), this machine's own.
        """
        return self._allowed | allowed_hosts(self._options.host)

    @allowed_hosts.setter
    def allowed_hosts(self, hosts: Iterable[str]) -> None:
        self._allowed = host_names(hosts)

    @property
    def recording(self) -> Recording | None:
        """The recording as it lies on disk (its ``.path`` is the directory); None: it is in memory only."""
        self._barrier()
        self._recorder.flush()
        return None if self._recorder.path is None else Recording(self._recorder.path)

    @property
    def recorded_in(self) -> Path | None:
        """The recording's directory, None for memory only."""
        return self._recorder.path

    @property
    def running(self) -> bool:
        """Whether it serves, in this process."""
        return self._state == "running" and os.getpid() == self._pid and self._thread.alive

    def _alive(self) -> None:
        if os.getpid() != self._pid:
            raise SessionClosed("this session belongs to the process that this one was forked from; start one here")
        if self._state in ("stopped", "stopping"):
            raise SessionClosed(f"session {self.name!r} was stopped; nbproxy.start() begins another")

    # -- the recording

    def _barrier(self) -> None:
        """Every exchange whose last byte was written before this call is with the recorder."""
        if os.getpid() != self._pid:
            self._alive()
        if self._thread.alive:
            with contextlib.suppress(SessionClosed):
                self._thread.call(lambda: None)

    @property
    def frame(self) -> pd.DataFrame:
        """One row per exchange (contract §5)."""
        self._barrier()
        return self._recorder.frame()

    @property
    def hits(self) -> pd.DataFrame:
        """One row per exchange, model role and hit (contract §5)."""
        self._barrier()
        return self._recorder.hits()

    def _rows(self) -> pd.DataFrame:
        self._barrier()
        return self._recorder.frame(bodies=False)

    def _events(self) -> Any:
        self._barrier()
        return self._recorder.events()

    def _serving(self) -> tuple[str, str] | None:
        model = self._settings.model
        return (model.scorers[0].name, model.scorers[1].name) if isinstance(model, Merger) else None

    def clicked(self, click: Click) -> None:
        """Record a click that was told of (``POST /_nbproxy/click``)."""
        self._recorder.append_click(click)

    def _lines(self) -> pd.DataFrame:
        self._barrier()
        return self._recorder.hits(texts=False)

    def row(self, exchange_id: str, part: int | None = None) -> Mapping[str, Any] | None:
        """One row of ``frame``, bodies included, without reading the others'; None: there is no such exchange."""
        return self._row(exchange_id, part)

    def _row(self, exchange_id: str, part: int | None) -> Mapping[str, Any] | None:
        found = row(self.pages, exchange_id, part)  # what is written stays as it is: nobody has to wait
        if found is None:
            self._barrier()
            self._recorder.flush()
            found = row(self.pages, exchange_id, part)
        return found

    @property
    def errors(self) -> list[ErrorNote]:
        """Errors of models and of upstream, newest last, at most 1,000."""
        self._barrier()
        return list(self._context.errors)

    def flush(self, timeout: float | None = None) -> None:
        """Wait until everything is recorded, shadows and late scores too.

        :raises TimeoutError: it took longer than ``timeout`` seconds.
        """
        self._alive()
        shadows = self._context.shadowing
        if isinstance(shadows, Shadows):
            self._thread.run(shadows.drained(), timeout)
        self._barrier()
        self._recorder.flush()

    def _recording_error(self, where: str, exchange_id: str | None, error: BaseException) -> None:
        if hasattr(self, "_context"):
            self._context.note(where, exchange_id, error)
        else:
            log.warning("%s: %s", where, error)

    # -- looking at it

    @property
    def status(self) -> dict[str, Any]:
        """What ``GET /_nbproxy/status`` answers (contract §7)."""
        self._barrier()
        return self.status_now()

    def status_now(self) -> dict[str, Any]:
        """The same without the barrier; not on the loop's thread."""
        self._recorder.flush()
        place = {"name": self.name, "state": self._state, "upstream": self.upstream, "port": self.port}
        uptime_s = time.monotonic() - self._started
        return overview.status(place, uptime_s, self._context, self._settings, self._recorder, self._stats)

    def snapshot(self, lines: int = 50) -> Snapshot:
        """The proxy now (see :class:`nbproxy.controls.Controls`)."""
        self._barrier()
        return self.snapshot_now(lines)

    def snapshot_now(self, lines: int = 50) -> Snapshot:
        """The same without the barrier."""
        return overview.snapshot(lines, self.status_now(), self._context, self._settings, self._recorder)

    def sight(self, exchange_id: str) -> Sight | None:
        """One of the newest searches side by side, None where it is not at hand; ``sights`` has all."""
        self._barrier()
        return self.sight_now(exchange_id)

    def sight_now(self, exchange_id: str) -> Sight | None:
        """The same without the barrier."""
        return overview.sight(exchange_id, self._recorder)

    def sights(self, exchange_id: str, part: int | None = None) -> tuple[Sight, ...]:
        """Every recorded order of one search, served first, shadows and replays behind it; () where it has none, or
        is unknown.

        :param exchange_id: of ``frame``; :param part: which search of a multi-search.
        :returns: a :class:`nbproxy.controls.Sight` for each; its ``places`` are in upstream's order, each with
            ``original_rank``, ``rank`` (both from 1), ``score`` (None where there is none), ``text``, ``returned``.
        """
        found = sights(self.pages, exchange_id, part)  # of shadows those that are written; :meth:`flush` waits for more
        if not found:
            self._barrier()
            found = self.sights_now(exchange_id, part)
        return found

    def sights_now(self, exchange_id: str, part: int | None = None) -> tuple[Sight, ...]:
        """The same without the barrier."""
        found = sights(self.pages, exchange_id, part)
        if not found:
            self._recorder.flush()
            found = sights(self.pages, exchange_id, part)
        return found

    def lines(self, asking: Asking | None = None) -> Listed:
        """A page of recorded exchanges, newest first, found without reading the others' bodies. Those of our own routes
        are left out.

        :param asking: a :class:`nbproxy.controls.Asking`: which, and how many; None: the newest 50.
        :returns: a :class:`nbproxy.controls.Listed`: ``lines``, their ``numbers``, and from where to go on.
        """
        asking = asking or Asking()
        if asking.before is None or asking.after is not None:
            self._barrier()
        return self.lines_now(asking)

    def lines_now(self, asking: Asking) -> Listed:
        """The same without the barrier."""
        if asking.before is None or asking.after is not None:  # a row that has a number is written
            self._recorder.flush()
        return listed(self.pages, asking)

    def set_model(self, name: str | None) -> None:
        """Serve a model of ``session.models`` by its name, a built-in one, or none (also by ``"none"``).

        :raises ConfigError: no model has that name.
        """
        serving = self._settings.model
        if name is None or name == "none":
            self.model = None
        elif name in self._settings.models:
            self.model = self.models[name]
        elif serving is None or name != serving.name:
            if name not in overview.BUILT_IN:
                raise ConfigError(f"no model is called {name!r}; known: {', '.join(overview.choices(self._settings))}")
            self.model = name

    def panel(self, qrels: pd.DataFrame | None = None, queries: pd.DataFrame | None = None) -> Any:
        """The ipywidgets panel: one per session, reused, closed with it.

        :param qrels: judgments, as :meth:`evaluate` takes them: the panel then shows each model's nDCG@10 over time.
        :param queries: ``query_id, query``, as there.
        """
        from .panel import Panel

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
        """Block until the session is stopped; for scripts."""
        while not self._stopped.wait(timeout if timeout is not None else 0.5):
            if timeout is not None or not self._thread.alive:
                return self._stopped.is_set()
        return True

    def stop(self) -> None:
        """End it: exchanges in flight have ``drain`` seconds. A second call does nothing.

        :raises SessionClosed: the proxy's own thread had died.
        """
        self.end(self._options.drain)
        if self._thread.died is not None:
            raise SessionClosed(f"the proxy's thread died: {self._thread.died!r}") from self._thread.died

    def end(self, drain: float) -> None:
        """As ``stop``, with another ``drain``, and silent about a thread that died."""
        if os.getpid() != self._pid:
            return
        with self._lock:
            if self._state in ("stopping", "stopped"):
                return
            self._state = "stopping"
            try:
                self._shut(drain)
            except BaseException:  # an interrupt: no more patience, but nothing is left behind
                self._shut(0)
                raise

    def _shut(self, drain: float) -> None:
        if hasattr(self, "_server"):
            with contextlib.suppress(SessionClosed, TimeoutError):
                self._thread.run(self._server.stop(drain), drain + _STOP_MARGIN_S)
        self._thread.stop(_STOP_MARGIN_S)
        self._close_listener()
        self._recorder.close(seal=drain > 0, timeout=_STOP_MARGIN_S + drain)  # at an exit, nothing is sealed
        if self._quick:
            self._quick = False
            SWITCH_INTERVAL.release()
        if self._panel is not None:
            self._panel.close()
        for file in (self._token_file, self._note):
            with contextlib.suppress(OSError):
                file.unlink()
        for scorer in self.scorers:  # what still refers to one is no reason for its thread to stay
            scorer.close()
        self._settings = replace(self._settings, model=None, models=MappingProxyType({}), shadow=MappingProxyType({}))
        if hasattr(self, "_context"):
            self._context.settings = self._settings
        self._state = "stopped"
        self._stopped.set()

    def _close_listener(self) -> None:
        if self._listener is not None:
            self._listener.close()
            self._listener = None

    def forked(self) -> None:
        """In a fork's child: close its copies of our sockets, so that the port is the parent's alone."""
        sockets = [self._listener, *(self._server.sockets if hasattr(self, "_server") else ())]
        for sock in sockets:
            if sock is not None:
                with contextlib.suppress(OSError, ValueError):
                    os.close(sock.fileno())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def __repr__(self) -> str:
        if os.getpid() != self._pid:
            return f"<nbproxy.Session {self.name!r} of another process>"
        model = self._settings.model
        text = f"<nbproxy.Session {self.name!r} {self._state} {self.url} → {self.upstream} · model {model or 'none'}"
        count = self._context.error_count if hasattr(self, "_context") else 0
        if count:
            newest = self._context.errors[-1]
            text += f" · {count} errors, the newest: {newest.where}: {newest.message[:200]}"
        return clean(text) + ">"

    def _repr_html_(self) -> str:
        if os.getpid() != self._pid:
            return card_html(repr(self), {})
        return card_html(f"nbproxy session {self.name} · {self._state}", session_facts(self.status, self.url))


def _place(options: Options) -> Origin:
    return origin(
        options.upstream,
        verify=options.verify,
        ca=options.ca,
        cert=options.cert,
        fingerprint=options.fingerprint,
        auth=options.auth,
        headers=options.headers,
    )
