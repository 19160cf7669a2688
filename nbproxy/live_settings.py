"""What of a session can be set while it runs: one frozen ``Settings`` behind one reference."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from dataclasses import replace
from functools import partial
from types import MappingProxyType
from typing import Any

from .context import Context
from .errors import ConfigError, SessionClosed
from .mergers import Merger
from .models import Shelf, in_background, load, merges, scorers_of
from .options import Options
from .scoring import Scorer
from .settings import FieldsSetting, Settings


class LiveSettings:
    """A session's settings. Setting one replaces the reference; an exchange in flight keeps the one that it took."""

    _settings: Settings
    _options: Options
    _context: Context
    _lock: threading.RLock

    @property
    def name(self) -> str:
        return self._options.name

    @property
    def options(self) -> Options:
        """What it was started with, with every live change."""
        return self._options

    def _alive(self) -> None:
        raise NotImplementedError

    @property
    def model(self) -> Any:
        """The serving model, or None. Assigning blocks until the new one is live, or raises and changes nothing."""
        return _unwrapped(self._settings.model)

    @model.setter
    def model(self, source: Any) -> None:
        self.apply({"model": source})

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

            with session.serving("bm25"):
                …

        :raises ConfigError: ``source`` cannot be used as a model; then the block does not run.
        """
        before, given = self._settings.model, self._options.model
        self.model = source
        try:
            yield self.model
        finally:
            with contextlib.suppress(SessionClosed):  # the block may have stopped it
                self._alive()
                self._change(model=before)  # the same worker: a model is never called concurrently with itself
                self._options = replace(self._options, model=given)

    @property
    def scorers(self) -> tuple[Scorer, ...]:
        """The models in use, each with its worker."""
        settings = self._settings
        known = [settings.model, *settings.models.values(), *settings.shadow.values()]
        return tuple(dict.fromkeys(scorer for model in known for scorer in scorers_of(model)))

    def _shelf(self, attribute: str) -> Shelf:
        def read() -> dict[str, Any]:
            return {name: _unwrapped(model) for name, model in getattr(self._settings, attribute).items()}

        return Shelf(read, partial(self._put, attribute), partial(self._take, attribute))

    def _fill(self, attribute: str, models: Mapping[str, Any]) -> None:
        self._alive()
        if not all(isinstance(name, str) and name for name in models):
            raise ConfigError(f"session.{attribute} maps names to models")
        loaded = {name: self._named(attribute, name, source) for name, source in models.items()}
        self._change(**{attribute: MappingProxyType(loaded)})

    def _named(self, attribute: str, name: str, source: Any) -> Scorer | Merger:
        scorer = load(source, name, self.scorers)
        if scorer is None:
            raise ConfigError(f"session.{attribute}[{name!r}] must be a model, not None")
        if attribute == "shadow" and isinstance(scorer, Merger):
            raise ConfigError("an interleaving learns from clicks, and nobody sees a shadow's order; shadow its models")
        return scorer

    def _put(self, attribute: str, name: str, source: Any) -> None:
        """Load a model, and then put it beside what is there by then."""
        self._alive()
        if not (isinstance(name, str) and name):
            raise ConfigError(f"session.{attribute} maps names to models")
        scorer = self._named(attribute, name, source)
        with self._lock:
            self._change(**{attribute: MappingProxyType({**getattr(self._settings, attribute), name: scorer})})

    def _take(self, attribute: str, name: str) -> None:
        self._alive()
        with self._lock:
            kept = dict(getattr(self._settings, attribute))
            del kept[name]
            self._change(**{attribute: MappingProxyType(kept)})

    @property
    def models(self) -> Shelf:
        """Loaded models by name: a client picks one by ``X-Nbproxy-Model``, a view by its dropdown."""
        return self._shelf("models")

    @models.setter
    def models(self, models: Mapping[str, Any]) -> None:
        self._fill("models", models)

    @property
    def shadow(self) -> Shelf:
        """Models by name that score each search after its answer has gone (``role="shadow"`` in ``hits``)."""
        return self._shelf("shadow")

    @shadow.setter
    def shadow(self, models: Mapping[str, Any]) -> None:
        self._fill("shadow", models)

    @property
    def depth(self) -> int:
        return self._settings.depth

    @depth.setter
    def depth(self, depth: int) -> None:
        self.apply({"depth": depth})

    @property
    def fields(self) -> FieldsSetting:
        return self._settings.fields

    @fields.setter
    def fields(self, fields: FieldsSetting) -> None:
        self.apply({"fields": fields})

    @property
    def min_score(self) -> float | None:
        return self._settings.min_score

    @min_score.setter
    def min_score(self, min_score: float | None) -> None:
        self.apply({"min_score": min_score})

    @property
    def deadline(self) -> float | None:
        return self._settings.deadline

    @deadline.setter
    def deadline(self, deadline: float | None) -> None:
        self.apply({"deadline": deadline})

    def apply(self, changes: Mapping[str, Any]) -> None:
        """Several of ``model, depth, fields, min_score, deadline`` at once; where one cannot be used, none changes.

        :raises ConfigError: one cannot be used.
        """
        self._alive()
        loaded = {"model": load(changes["model"], living=self.scorers)} if "model" in changes else {}
        self._change(**{**changes, **loaded})
        self._options = replace(self._options, **changes)

    def _change(self, **changes: Any) -> None:
        """One reference is replaced; an exchange in flight keeps the one that it took."""
        with self._lock:
            self._alive()  # it may have been stopped while a model was loading
            self._settings = self._context.settings = replace(self._settings, **changes)
            self._context.told_of_clicks |= merges(self._settings)


def _unwrapped(model: Any) -> Any:
    """The reranker itself: its worker is no business of the user's."""
    return model.reranker if isinstance(model, Scorer) else model
