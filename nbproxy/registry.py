"""``start``: one session for each name, so that running a notebook's cell again means the same session."""

from __future__ import annotations

import atexit
import contextlib
import os
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from .errors import ConfigError
from .options import LIVE, Options, changed, given
from .options import LeftOut as _D
from .session import Session
from .settings import FieldsSetting, Limits, Timeouts


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
        for name in LIVE:
            if name in changes:
                setattr(session, name, changes[name])
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
    kept = session.recording or "memory only"
    print(  # noqa: T201 - the one line that contract §1 asks for
        f"nbproxy: {session.url} → {session.upstream} · {what} · model {model.name if model else 'none'} · recording {kept}"
    )


REGISTRY = Registry()


def start(
    upstream: str | None = _D(None),  # type: ignore[assignment]
    *,
    name: str = "default",
    host: str = _D("127.0.0.1"),  # type: ignore[assignment]
    port: int | None = _D(None),  # type: ignore[assignment]
    model: Any = _D(None),
    dialect: Any = _D(None),
    depth: int = _D(50),  # type: ignore[assignment]
    fields: FieldsSetting = _D(None),  # type: ignore[assignment]
    min_score: float | None = _D(None),  # type: ignore[assignment]
    record: str | Path | bool | Any = _D(None),
    deadline: float | None = _D(5.0),  # type: ignore[assignment]
    timeout: float | Timeouts | None = _D(30.0),  # type: ignore[assignment]
    drain: float = _D(5.0),  # type: ignore[assignment]
    limits: Limits = _D(Limits()),  # type: ignore[assignment]
    redact: Callable[..., Any] | None = _D(None),  # type: ignore[assignment]
    verify: bool = _D(True),  # type: ignore[assignment]
    ca: str | Path | None = _D(None),  # type: ignore[assignment]
    cert: str | tuple[str, str] | None = _D(None),  # type: ignore[assignment]
    fingerprint: str | None = _D(None),  # type: ignore[assignment]
    auth: Any = _D(None),
    headers: Mapping[str, str] | None = _D(None),  # type: ignore[assignment]
    host_header: str = _D("upstream"),  # type: ignore[assignment]
) -> Session:
    """Put a proxy in front of a search engine, on a background thread of this process.

    Returns once the port is bound; raises what start-up raised. A second call with the same ``name`` means the same
    session: what is given anew is applied (live, or by a restart on the same port), an argument left out keeps its
    live value.

    :param upstream: ``http://…`` or ``https://…``, a path in it is put before every target; None on a first start:
        the embedded demo engine.
    :param name: sessions of different names run side by side.
    :param host: the address to listen on; anything but loopback is warned of.
    :param port: None: a free one, the same again for this name.
    :param model: anything that :func:`nbproxy.as_reranker` takes; None: answer as upstream does.
    :param dialect: the search API: None tries all that are known.
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
    :param verify: whether upstream's certificate is checked; ``ca``: a file of authorities; ``cert``: a client
        certificate's file, or (certificate, key); ``fingerprint``: SHA-256 of upstream's certificate.
    :param auth: (user, password), an API key, or a callable that takes the final upstream
        :class:`~nbproxy.messages.Request` and returns header fields (a signature).
    :param headers: fields set on every request that goes upstream.
    :param host_header: ``"upstream"`` rewrites Host to upstream's authority, ``"preserve"`` keeps the client's.
    :raises ConfigError: an argument cannot be used; the message says what to do.
    """
    return REGISTRY.start(given(locals()))
