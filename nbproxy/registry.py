"""``start``: one session for each name, so that running a notebook's cell again means the same session."""

from __future__ import annotations

import atexit
import contextlib
import functools
import inspect
import logging
import os
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, TypeVar, cast

from .errors import ConfigError
from .exchange import Exchange
from .options import LIVE, Options, changed
from .origin import Auth
from .session import Session
from .settings import FieldsSetting, Limits, Timeouts
from .trust import Cert

log = logging.getLogger("nbproxy")
F = TypeVar("F", bound=Callable[..., Any])


class Registry:
    """The sessions of this process by name, and the port that each name had last."""

    def __init__(self) -> None:
        self._renew()
        atexit.register(self._at_exit)
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._after_fork)

    def _renew(self) -> None:
        self._lock = threading.RLock()
        self._sessions: dict[str, Session] = {}
        self._ports: dict[str, int] = {}
        self._pid = os.getpid()

    def start(self, arguments: Mapping[str, Any]) -> Session:
        """A session with these arguments: a new one, or the running one of that name with what differs applied."""
        with self._lock:
            name = arguments.get("name", "default")
            session = self._sessions.get(name)
            if session is not None and session.running:
                return self._again(session, arguments)
            return self._first(Options(**arguments))

    def running(self) -> dict[str, Session]:
        """This process's running sessions by name, the oldest first."""
        with self._lock:
            return {name: session for name, session in self._sessions.items() if session.running}

    def _first(self, options: Options) -> Session:
        if options.upstream is None:
            from .engine import demo_engine

            options = replace(options, upstream=demo_engine().url)
        if options.port is None:
            options = replace(options, port=self._free(options))
        session = Session(options)
        self._sessions[options.name] = session
        self._ports[options.name] = session.port
        _say(session, "started")
        return session

    def _free(self, options: Options) -> int | None:
        """The port that this name had, if it is still to be had."""
        from .ports import bound

        port = self._ports.get(options.name)
        if port is not None:
            with contextlib.suppress(ConfigError):
                bound(options.host, port).close()
                return port
        return None

    def _again(self, session: Session, arguments: Mapping[str, Any]) -> Session:
        changes = changed(session.options, arguments)
        lasting = {name: value for name, value in changes.items() if name not in LIVE}
        replace(session.options, **lasting)  # what cannot be used raises before anything changes
        if live := {name: changes[name] for name in LIVE if name in changes}:
            session.apply(live)
        if lasting:
            session.reopen(replace(session.options, **lasting))
            self._ports[session.name] = session.port
        what = f"changed {', '.join(changes)}" if changes else "already running"
        _say(session, f"{what}; restarted on the same port" if lasting and "port" not in lasting else what)
        return session

    def _at_exit(self) -> None:
        """In the process that started them, within a second, whatever a model is doing."""
        if os.getpid() == self._pid:
            for session in list(self._sessions.values()):
                with contextlib.suppress(Exception):
                    session.end(0.0)

    def _after_fork(self) -> None:
        for session in list(self._sessions.values()):
            session.forked()
        self._renew()


def _say(session: Session, what: str) -> None:
    model = session.model
    serving = f"model {model.name if model else 'none'}"
    kept = f"recording {session.recorded_in or 'in memory only'}"
    log.info("%s: %s, %s → %s", session.name, what, session.url, session.upstream)
    line = f"nbproxy: {session.url} → {session.upstream} · {what} · {serving} · {kept}"
    print(line)  # noqa: T201 - contract §1 asks for it


REGISTRY = Registry()


def _as_given(declared: F) -> F:
    """Calls ``REGISTRY.start`` with just the arguments that were given: one left out keeps its live value, which a
    default could not tell from one given."""
    signature = inspect.signature(declared)

    @functools.wraps(declared)
    def call(*args: Any, **kwargs: Any) -> Session:
        return REGISTRY.start(signature.bind(*args, **kwargs).arguments)

    return cast(F, call)


@_as_given
def start(  # type: ignore[empty-body]
    upstream: str | None = None,
    *,
    name: str = "default",
    host: str = "127.0.0.1",
    port: int | None = None,
    model: Any = None,
    dialect: Any = None,
    depth: int = 50,
    fields: FieldsSetting = None,
    min_score: float | None = None,
    record: Any = None,
    deadline: float | None = 5.0,
    timeout: float | Timeouts | None = 30.0,
    drain: float = 5.0,
    limits: Limits = Limits(),  # noqa: B008 - frozen
    redact: Callable[[Exchange], Exchange] | None = None,
    verify: bool = True,
    ca: str | Path | None = None,
    cert: Cert | None = None,
    fingerprint: str | None = None,
    auth: Auth = None,
    headers: Mapping[str, str] | None = None,
    host_header: Literal["upstream", "preserve"] = "upstream",
) -> Session:
    """Put a proxy in front of a search engine, on a background thread of this process.

    Returns once the port is bound; raises what start-up raised. A second call with the same ``name`` means the same
    session: what is given anew is applied (live, or by a restart on the same port), an argument left out keeps its
    live value.

    :param upstream: ``http://…``, ``https://…`` or ``http+unix://%2Fpath%2Fto.sock``, a path in it is put before every
        target; None on a first start: the embedded demo engine.
    :param name: sessions of different names run side by side.
    :param host: the address to listen on; anything but loopback is warned of.
    :param port: None: a free one, the same again for this name.
    :param model: anything that :func:`nbproxy.as_reranker` takes; None: answer as upstream does.
    :param dialect: the search API: None tries all that are known (but ``"vespa"``, whose path ``/search/`` others have
        too), a name, a :class:`JSONDialect` or a dialect of your own, or a list of these, asked in order.
    :param depth: how many hits are fetched and reranked.
    :param fields: what the model reads: None (what the query searched), a field, a format such as
        ``"{title}. {body}"``, a list of fields, or a callable ``hit -> str``.
    :param min_score: scored hits below it are removed from the page.
    :param record: a directory; None: a new one under the user's data directory; False: memory only; a Recording.
    :param deadline: seconds from upstream's last byte to the decided order, queueing included; then the original
        order is answered.
    :param timeout: seconds between bytes from upstream, or :class:`nbproxy.Timeouts`.
    :param drain: seconds that exchanges in flight have when the session stops.
    :param limits: see :class:`nbproxy.Limits`.
    :param redact: ``Exchange -> Exchange``, before anything is stored.
    :param verify: whether upstream's certificate is checked; False never switches ``fingerprint`` off.
    :param ca: a file of authorities (PEM) that are trusted instead of the system's.
    :param cert: a client certificate: a file that has the key too, (certificate, key), or (certificate, key, password).
    :param fingerprint: SHA-256 in hex, colons allowed, of upstream's certificate, or of an authority that upstream
        sends along (Elasticsearch prints that one when it sets up its security): then the certificate must be that
        authority's, and for upstream's name unless ``verify`` is False.
    :param auth: (user, password), an API key, a whole ``Authorization`` value (``"Bearer …"``), or a callable that
        takes the final upstream :class:`~nbproxy.messages.Request` (method, target with upstream's path, fields with
        ``Host``, body) and returns header fields (a signature). What it raises is answered with 502.
    :param headers: fields set on every request that goes upstream.
    :param host_header: ``"upstream"`` rewrites Host to upstream's authority, ``"preserve"`` keeps the client's.
    :raises ConfigError: an argument cannot be used; the message says what to do.
    """
