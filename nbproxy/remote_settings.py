"""What of a proxy in another process can be set from here: :mod:`nbproxy.live_settings` from afar."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from typing import Any

from .errors import ConfigError, SessionClosed
from .models import Shelf, in_background
from .ranking import Hit
from .remote import Remote
from .settings import FieldsSetting

_SETTING_S = 60.0


class RemoteModel:
    """A model in another process: a :class:`~nbproxy.ranking.Reranker` that scores there.

    :ivar name: what frames and tables call it.
    :ivar fingerprint: 16 hex digits; two models that score differently have different ones.
    :ivar source: what it was given by, as a text; ``module:name`` for an object.
    """

    def __init__(self, remote: Remote, facts: Mapping[str, Any]) -> None:
        self._remote = remote
        self.name = str(facts["name"])
        self.fingerprint = str(facts["fingerprint"])
        self.source = _read(facts.get("source"))

    @property
    def kept(self) -> dict[str, str]:
        """How the proxy is told which one is meant."""
        return {"name": self.name, "fingerprint": self.fingerprint}

    def score(self, query: str, hits: Sequence[Hit]) -> Sequence[float]:
        """One number for each hit, from its text; in the proxy, on the model's own thread."""
        return self(query, [hit.text or "" for hit in hits])

    def __call__(self, query: str, texts: Sequence[str]) -> list[float]:
        """Scores of ``texts``, outside any search.

        :raises RerankFault: the model failed.
        :raises ConfigError: the proxy has it no longer.
        """
        scores = self._remote.post("score", {"model": self.kept, "query": query, "texts": list(texts)})
        return [float(score) for score in scores]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RemoteModel) and self.kept == other.kept

    def __hash__(self) -> int:
        return hash((self.name, self.fingerprint))

    def __repr__(self) -> str:
        return f"<RemoteModel {self.name!r} {self.fingerprint} at {self._remote.url}>"


class RemoteShelf(Shelf):
    """``models`` and ``shadow`` of a proxy elsewhere: each change is one of its own, so that two notebooks that add a
    model at the same time both have it."""

    def __init__(self, session: RemoteSettings, role: str) -> None:
        super().__init__(lambda: session._shelved(role), self._put_there, self._take_there)
        self._session, self._role = session, role

    def _put_there(self, name: str, source: Any) -> None:
        if source is None:
            raise ConfigError(f"session.{self._role}[{name!r}] must be a model, not None")
        self._session._load(role=self._role, name=name, source=self._session._sendable(source))

    def _take_there(self, name: str) -> None:
        if name not in self:
            raise KeyError(name)
        self._session._load(role=self._role, name=name)


class RemoteSettings:
    """A session's settings, each read from the proxy and set there, for all who use it."""

    @property
    def url(self) -> str:
        raise NotImplementedError

    @property
    def name(self) -> str:
        raise NotImplementedError

    def _asked(self) -> Remote:
        """The proxy, to be asked."""
        raise NotImplementedError

    def _alive(self) -> Remote:
        """The proxy, to be changed."""
        raise NotImplementedError

    def _facts(self) -> dict[str, Any]:
        return self._asked().get("session", dict[str, Any])

    def _settings(self) -> dict[str, Any]:
        settings: dict[str, Any] = self._facts()["settings"]
        return settings

    @property
    def model(self) -> Any:
        """The serving model, or None. Assigning blocks until the new one is live, or raises and changes nothing."""
        return self._model_of(self._settings()["model"])

    @model.setter
    def model(self, source: Any) -> None:
        self._load(role="model", source=self._sendable(source))

    def swap(self, source: Any) -> Future[Any]:
        """As assigning ``model``, in the background; the Future gives the new model or the error."""
        self._alive()

        def work() -> Any:
            self.model = source
            return self.model

        return in_background(work, f"nbproxy-swap-{self.name}")

    @contextlib.contextmanager
    def serving(self, source: Any) -> Iterator[Any]:
        """Serve another model for as long as a block runs, then what served before, also where the block raised.

        :raises ConfigError: ``source`` cannot be used as a model there; then the block does not run.
        """
        before = self.model
        self.model = source
        try:
            yield self.model
        finally:
            with contextlib.suppress(SessionClosed):  # the block may have left it
                self._restore(before)

    def _restore(self, model: RemoteModel | None) -> None:
        try:
            self.model = model
        except ConfigError:  # nothing there held on to it: it is loaded again
            self.model = model.source if model else None

    @property
    def models(self) -> Shelf:
        """Loaded models by name: a client picks one by ``X-Nbproxy-Model``, a view by its dropdown."""
        return RemoteShelf(self, "models")

    @models.setter
    def models(self, models: Mapping[str, Any]) -> None:
        self._fill("models", models)

    @property
    def shadow(self) -> Shelf:
        """Models by name that score each search after its answer has gone (``role="shadow"`` in ``hits``)."""
        return RemoteShelf(self, "shadow")

    @shadow.setter
    def shadow(self, models: Mapping[str, Any]) -> None:
        self._fill("shadow", models)

    @property
    def depth(self) -> int:
        """How many hits are fetched and reranked."""
        depth: int = self._settings()["depth"]
        return depth

    @depth.setter
    def depth(self, depth: int) -> None:
        self._change("depth", depth)

    @property
    def fields(self) -> FieldsSetting:
        """What the model reads. A callable of the proxy's shows as its ``module:name``."""
        fields: FieldsSetting = _read(self._settings()["fields"])
        return fields

    @fields.setter
    def fields(self, fields: FieldsSetting) -> None:
        if callable(fields):
            raise ConfigError(
                f"fields: a callable of this process cannot be sent to {self.url}; give a field, a format such as "
                "'{title}. {body}' or a list of fields, or run the proxy in this process: nbproxy.start"
            )
        self._change("fields", fields if fields is None or isinstance(fields, str) else list(fields))

    @property
    def min_score(self) -> float | None:
        """Scored hits below it are removed from the page."""
        score: float | None = self._settings()["min_score"]
        return score

    @min_score.setter
    def min_score(self, min_score: float | None) -> None:
        self._change("min_score", min_score)

    @property
    def deadline(self) -> float | None:
        """Seconds from upstream's last byte to the decided order."""
        deadline: float | None = self._settings()["deadline"]
        return deadline

    @deadline.setter
    def deadline(self, deadline: float | None) -> None:
        self._change("deadline", deadline)

    def _change(self, name: str, value: Any) -> None:
        self._alive().post("settings", {"name": name, "value": value}, timeout=_SETTING_S)

    def _load(self, **loading: Any) -> None:
        self._alive().post("load", loading)

    def _fill(self, role: str, models: Mapping[str, Any]) -> None:
        if not all(isinstance(name, str) and name for name in models):
            raise ConfigError(f"session.{role} maps names to models")
        if None in models.values():
            raise ConfigError(f"session.{role} maps names to models, not None")
        self._load(role=role, sources={name: self._sendable(source) for name, source in models.items()})

    def _shelved(self, role: str) -> dict[str, Any]:
        return {name: self._model_of(facts) for name, facts in self._settings()[role].items()}

    def _model_of(self, facts: Mapping[str, Any] | None) -> RemoteModel | None:
        return None if facts is None else RemoteModel(self._asked(), facts)

    def _sendable(self, source: Any) -> Any:
        """How a model is told to the proxy.

        :raises ConfigError: it is an object of this process.
        """
        if source is None or isinstance(source, str):
            return source
        if isinstance(source, os.PathLike):
            return os.fspath(source)
        if isinstance(source, RemoteModel):
            return source.kept
        raise ConfigError(
            f"{_called(source)} is an object of this process, and {self.url} is a proxy in another: give "
            f'"{_hint(source)}" (a module that can be imported there), a folder there, a hub id or a built-in name; '
            "or run the proxy in this process: nbproxy.start"
        )


def _read(value: Any) -> Any:
    """A setting as the proxy told it: an object by what it is called."""
    return value["object"] if isinstance(value, dict) else value


def _called(source: Any) -> str:
    return str(getattr(source, "__qualname__", None) or f"this {type(source).__name__}")


def _hint(source: Any) -> str:
    """``module:attribute`` of what can be imported, else the form."""
    module, name = getattr(source, "__module__", None), getattr(source, "__qualname__", None)
    return f"{module}:{name}" if module not in (None, "__main__") and name and "<" not in name else "module:attribute"
