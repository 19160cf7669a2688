"""The models of a running session: loaded off the event loop, each with its worker, swapped by one reference."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from concurrent.futures import Future
from contextvars import ContextVar
from typing import Any

from .background import settle
from .errors import ConfigError
from .interleave import Interleave
from .mergers import Merger
from .rerankers import as_reranker
from .scoring import Scorer
from .settings import Settings

stages: ContextVar[Callable[[str], None]] = ContextVar("stages", default=lambda _: None)
"""Told, by whoever loads in this context, which stage comes now: ``warming``."""


def load(source: Any, name: str | None = None, living: tuple[Scorer, ...] = ()) -> Scorer | Merger | None:
    """What ``session.model = source`` serves: loaded and with a worker (an interleaving: two of each), or None.

    :param living: scorers in use. The very same model object keeps its worker, as no model is ever called
        concurrently with itself.
        Another one that has a method ``warm`` is warmed here: no search waits for what only a first call takes.
    :raises ConfigError: ``source`` cannot be used as a model.
    """
    if isinstance(source, (Interleave, Merger)):
        return _merger(source, name, living)
    for scorer in living:
        if source is scorer or (source is scorer.reranker and name in (None, scorer.name)):
            return scorer
    reranker = as_reranker(source, name=name) if name is not None else as_reranker(source)
    if reranker is None:
        return None
    known = next((scorer for scorer in living if scorer.reranker is reranker), None)
    return known or warmed(Scorer(reranker))


def warmed(scorer: Scorer) -> Scorer:
    """The scorer, its model's ``warm()`` called, if it has one, unless searches use that very model already."""
    warm = getattr(scorer.reranker, "warm", None)
    if callable(warm) and scorer.fresh:
        stages.get()("warming")
        warm()
    return scorer


def _merger(source: Interleave | Merger, name: str | None, living: tuple[Scorer, ...]) -> Merger:
    """An interleaving's two models, loaded; of one that is loaded already, the same ones."""
    if isinstance(source, Merger):
        return source if name in (None, source.name) else Merger(source.source, *source.scorers, name)
    a = load(source.a, living=living)
    b = load(source.b, living=(*living, *scorers_of(a)))
    if not isinstance(a, Scorer) or not isinstance(b, Scorer):
        raise ConfigError("interleave merges the orders of two models; an interleaving, or None, is not one")
    return Merger(source, a, b, name)


def scorers_of(model: Any) -> tuple[Scorer, ...]:
    """The models, each with its worker, that something which serves consists of."""
    if isinstance(model, Merger):
        return model.scorers
    return (model,) if isinstance(model, Scorer) else ()


def merges(settings: Settings) -> bool:
    """Whether an interleaving serves, or may be picked."""
    return any(isinstance(model, Merger) for model in (settings.model, *settings.models.values()))


def in_background(work: Callable[[], Any], name: str) -> Future[Any]:
    """Run ``work`` on a daemon thread."""
    future: Future[Any] = Future()
    threading.Thread(target=settle, args=(future, work), name=name, daemon=True).start()
    return future


class Shelf(MutableMapping[str, Any]):
    """``session.models`` and ``session.shadow``: name → model. Assigning loads under that name, and blocks."""

    def __init__(
        self,
        read: Callable[[], Mapping[str, Any]],
        put: Callable[[str, Any], None],
        take: Callable[[str], None],
    ) -> None:
        self._read, self._put, self._take = read, put, take

    def __getitem__(self, name: str) -> Any:
        return self._read()[name]

    def __setitem__(self, name: str, source: Any) -> None:
        self._put(name, source)

    def __delitem__(self, name: str) -> None:
        self._take(name)

    def __iter__(self) -> Iterator[str]:
        return iter(dict(self._read()))

    def __len__(self) -> int:
        return len(self._read())

    def __or__(self, models: Mapping[str, Any]) -> dict[str, Any]:
        """``session.models |= {…}`` assigns all of them at once, or none."""
        return {**self._read(), **models}

    def __ror__(self, models: Mapping[str, Any]) -> dict[str, Any]:
        return {**models, **self._read()}

    def copy(self) -> dict[str, Any]:
        """What is there now, as a plain dict."""
        return dict(self._read())

    def __repr__(self) -> str:
        return repr(self.copy())
