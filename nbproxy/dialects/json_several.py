"""Requests that hold several searches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from ..messages import Request
from . import json_hits
from .base import Part, Unreadable
from .json_alone import REASONS, AloneSetting, reasons
from .json_checks import one_place, paths
from .json_paths import Path
from .json_places import Asked, Malformed
from .json_routes import Routes


@dataclass(frozen=True, kw_only=True)
class MultiSearch:
    """A request that holds several searches, each an object as it would be a search's body, and its answer.

    What the URL of such a request says holds for all of them, so that it is read, but not changed.

    :ivar route: as a dialect's.
    :ivar searches: JSONPath to the array of searches in the request's body.
    :ivar answers: JSONPath to the array of their answers in the answer's body.
    :ivar index: JSONPath to the index's name in one search.
    :ivar status: JSONPath to the status that one answer has of its own.
    :ivar alone: as a dialect's, of the whole request.
    :raises ConfigError: one of them cannot be read.
    """

    route: str | Sequence[str]
    searches: str
    answers: str
    index: str | None = None
    status: str | None = None
    alone: AloneSetting = field(default_factory=dict)


class Several:
    """A :class:`MultiSearch`, compiled."""

    def __init__(self, setting: MultiSearch) -> None:
        self.routes = Routes(setting.route, "several.route")
        self._searches, self._answers = one_place(setting.searches, "searches"), one_place(setting.answers, "answers")
        self._index = paths(setting.index or (), "index")
        self._status = paths(setting.status or (), "status")
        self._alone = reasons(setting.alone)

    def parts(self, request: Request) -> tuple[Part, ...] | str:
        asked = Asked(request, part=True)
        try:
            found = [word for word in REASONS if any(one.applies(asked) for one in self._alone.get(word, ()))]
            spans = self._items(request.body, self._searches) if asked.body else None
        except (Malformed, Unreadable):
            return "malformed"
        if found or not spans:
            return found[0] if found else "no-query"
        return tuple(self._part(request, span) for span in spans)

    def _part(self, request: Request, span: tuple[int, int]) -> Part:
        alone = request.replace(body=request.body[span[0] : span[1]])
        return Part(alone, span, span, self.index_of(_body(alone), request.target))

    def index_of(self, body: Any, target: str) -> str | None:
        """What a search names, else what the path does."""
        found = [value for path in self._index for value in path.values(body) if isinstance(value, str)]
        return found[0] if found else self.routes.index_of(target)

    def answers(self, body: bytes) -> list[tuple[int, int]] | None:
        return self._items(body, self._answers)

    def status_of(self, answer: bytes) -> int | None:
        try:
            value = json_hits.lenient(answer) if self._status and answer[:1] == b"{" else None
        except (Unreadable, ValueError):
            return None
        return next((one for path in self._status for one in path.values(value) if type(one) is int), None)

    def _items(self, body: bytes, path: Path) -> list[tuple[int, int]] | None:
        return json_hits.items_at(body, path)


def _body(request: Request) -> Any:
    try:
        return Asked(request).body
    except Malformed:
        return {}
