"""What another process may ask of a running session: the routes' side of :mod:`nbproxy.connected`.

Law: all here needs the session's token, and whoever has it may run code: a model given as ``module:attribute`` is
imported. So the token is as good as a shell of the user who runs the proxy.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from .clicks import Click
from .controls import Asking, Listed, Sight, Snapshot
from .errors import ConfigError
from .frames import schema
from .mergers import Merger
from .models import in_background
from .named import named
from .pages import KINDS, Page, encoded
from .ranking import Model
from .redact import redact_target
from .rerankers.base import hits_of
from .routes import Change, Kept, Loading, Trying

if TYPE_CHECKING:
    from .session import Session


class SessionDesk:
    """:class:`nbproxy.routes.Desk` onto a session."""

    def __init__(self, session: Session) -> None:
        self._session = session

    @property
    def token(self) -> str:
        return self._session.token

    @property
    def allowed_hosts(self) -> frozenset[str]:
        return self._session.allowed_hosts

    # -- on the loop's thread

    def flushed(self, seconds: float) -> Awaitable[bool]:
        """Whether everything is recorded, shadows too, within so many seconds."""

        def work() -> bool:
            try:
                self._session.flush(seconds)
            except TimeoutError:
                return False
            return True

        return asyncio.wrap_future(in_background(work, f"nbproxy-flush-{self._session.name}"))

    def scored(self, trying: Trying) -> Awaitable[list[float]]:
        """On the model's own thread; searches go first."""
        scorer = next((one for one in self._session.scorers if _is(one, trying.model)), None)
        if scorer is None:
            if isinstance(self._known(trying.model), Merger):
                raise ConfigError(f"{trying.model.name!r} merges two orders and has no scores of its own")
            raise _gone(trying.model)
        return scorer.scores(trying.query, hits_of(trying.texts), None, urgent=False)

    def clicked(self, click: Click) -> None:
        """Record it; whose it was is found where it is asked for."""
        self._session.clicked(click)

    def end(self) -> None:
        """Stop the session, once this is answered."""
        in_background(self._session.stop, f"nbproxy-stop-{self._session.name}")

    # -- on a worker's

    def status_now(self) -> dict[str, Any]:
        return self._session.status_now()

    def facts(self) -> dict[str, Any]:
        """What a connected session shows as its own."""
        session = self._session
        settings = {
            "model": _described(session.model),
            "models": {name: _described(model) for name, model in session.models.items()},
            "shadow": {name: _described(model) for name, model in session.shadow.items()},
            "depth": session.depth,
            "fields": _shown(session.fields),
            "min_score": session.min_score,
            "deadline": session.deadline,
        }
        return {"session": session.session_id, "status": session.status_now(), "settings": settings}

    def snapshot_now(self, lines: int) -> Snapshot:
        return self._session.snapshot_now(lines)

    def sight_now(self, exchange_id: str) -> Sight | None:
        return self._session.sight_now(exchange_id)

    def sights_now(self, exchange_id: str, part: int | None) -> tuple[Sight, ...]:
        return self._session.sights_now(exchange_id, part)

    def lines_now(self, asking: Asking) -> Listed:
        return self._session.lines_now(asking)

    def errors(self) -> list[Any]:
        return self._session.errors

    def page(self, kind: str, since: int, *, bulky: bool) -> bytes:
        return encoded(self._session.pages.read(KINDS[kind], since, bulky=bulky))

    def row(self, exchange_id: str, part: int | None) -> bytes:
        """A page of the one row, or of none."""
        found = self._session.row(exchange_id, part)
        table = pa.Table.from_pylist([dict(found)] if found else [], schema(KINDS["rows"].columns))
        return encoded(Page("", 0, table.num_rows, table))

    def set_model(self, name: str | None) -> None:
        self._session.set_model(name)

    def change(self, change: Change) -> None:
        setattr(self._session, change.name, change.value)

    def load(self, loading: Loading) -> None:
        """Load, and let it serve.

        :raises ConfigError: nothing was changed.
        """
        session, role = self._session, loading.role
        if role == "model":
            session.model = self._source(loading.source)
        elif loading.name is None:
            setattr(session, role, {name: self._source(source) for name, source in (loading.sources or {}).items()})
        elif loading.source is None:
            del getattr(session, role)[loading.name]
        else:
            getattr(session, role)[loading.name] = self._source(loading.source)

    def _source(self, source: str | Kept | None) -> Any:
        if not isinstance(source, Kept):
            return None if source is None else named(source)
        known = self._known(source)
        if known is None:
            raise _gone(source)
        return known

    def _known(self, kept: Kept) -> Any:
        """The model of that name and fingerprint, None: it is not there, or no longer."""
        session = self._session
        models = [session.model, *session.models.values(), *session.shadow.values()]
        models += [scorer.reranker for scorer in session.scorers]  # those that are merged too
        return next((one for one in models if one is not None and _is(one, kept)), None)


def _is(model: Model, kept: Kept) -> bool:
    return (model.name, model.fingerprint) == (kept.name, kept.fingerprint)


def _gone(kept: Kept) -> ConfigError:
    return ConfigError(f"the proxy has the model {kept.name!r} ({kept.fingerprint}) no longer: assign it anew")


def _described(model: Any) -> Mapping[str, Any] | None:
    if model is None:
        return None
    return {"name": model.name, "fingerprint": model.fingerprint, "source": _shown(getattr(model, "source", None))}


def _shown(value: Any) -> Any:
    """A setting as JSON can tell it: an object by what it is called. No credentials of a URL."""
    if isinstance(value, (str, Path)):
        return redact_target(str(value))
    if isinstance(value, (list, tuple)) and all(isinstance(one, str) for one in value):
        return list(value)
    if value is None:
        return None
    return {"object": f"{getattr(value, '__module__', '')}:{getattr(value, '__qualname__', type(value).__name__)}"}
