"""A small language for search APIs that speak JSON: a dialect described by where things stand, in a notebook cell.

Requests are described by places (:mod:`json_places`), answers by JSONPaths. What the language cannot say, a class
that derives from :class:`JSONDialect`, or from ``nbproxy.dialects.Dialect``, can.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..errors import ConfigError
from ..messages import Request
from ..ranking import Search
from ..settings import FieldsSetting
from . import json_hits, json_paths, json_places, query_text, splice
from .base import Answer, Dialect, Part, Unreadable, Widened
from .json_hits import Reading
from .json_paths import Path
from .json_places import Asked, Edits, Malformed, Places, PlacesSetting, places
from .json_shown import Show, Shown, Unshow
from .json_windows import Asking, Echo, Given, Window, Windows
from .routes import Routes

# Contract §4, of which the first that applies counts. Between size-zero and match-all the pipeline asks for the depth.
REASONS = (
    "format filter-path malformed async percolate scroll search-after sorted collapse profile explain size-zero "
    "beyond-depth suggest-only aggregations-only match-all no-query"
).split()


@dataclass(frozen=True)
class When:
    """That a request says something particular at a place.

    :ivar at: the place or places; the first that the request has counts.
    :ivar like: a regular expression that the whole value must match (lists: joined by commas; ``true``, ``false``);
        None: anything but null, false, an empty text, list or object.
    :raises ConfigError: a place or the expression cannot be read.
    """

    at: PlacesSetting
    like: str | None = None
    _places: Places = field(init=False, repr=False, default=())
    _pattern: re.Pattern[str] | None = field(init=False, repr=False, default=None)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_places", places(self.at, "alone"))
        if not self._places:
            raise ConfigError("When() needs at=: the place of a request that is looked at")
        if self.like is not None:
            object.__setattr__(self, "_pattern", _regex(self.like))

    def applies(self, asked: Asked) -> bool:
        """Whether the request says so.

        :raises Malformed: its body cannot be read.
        """
        value = asked.value(self._places)
        if self._pattern is None:
            return value is not None and value is not False and value not in ("", [], {})
        return value is not None and self._pattern.fullmatch(_as_text(value)) is not None


AloneSetting = Mapping[str, "PlacesSetting | When | Sequence[str | When]"]


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


class JSONDialect(Dialect):
    """A search API described by where things stand in its requests and answers.

    ::

        nbproxy.JSONDialect(
            route="POST /find/{index}",
            query="$.q", size="$.n", offset="$.skip",
            hits="$.results", id="$.id", score="$.score", text=("$.title", "$.body"),
        )

    Places in a request: ``$.a.b`` in its JSON body, ``?name`` in its URL, ``Name:`` a header field; several stand for
    alternatives. Paths in an answer and in a hit: JSONPath (RFC 9535).

    :param route: method and path, ``{index}`` for the index; several allowed.
    :param query: where the query's text is; all texts that a JSONPath finds, one space between.
    :param size: where the number of hits is; None: the API gives what it has.
    :param offset: where the number of hits before them is. Instead of it:
    :param page: … the number of the page (of ``size`` hits), the first one being ``first_page``.
    :param default_size: the number of hits where the request does not say.
    :param windows: other ways of this API to say the same, tried first.
    :param max_size: the most hits that upstream gives at once: no more are fetched, and a search for later ones is left
        alone (``beyond-depth``).
    :param hits: the array of hits in an answer.
    :param empty: what is there where an answer without hits has no array.
    :param id, score, index: of a hit; an id that is a number counts as written.
    :param source: the document in a hit; all of the hit by default.
    :param beside: members of the hit that are not the document's where both are one object, ``*`` for any characters.
    :param text: what a model reads of a hit where the session's ``fields=`` does not say; None: the strings of the
        document under the fields that were searched, else all of them.
    :param searched: where a request lists the fields that it searches.
    :param separator: what stands between a field and its sub-field in that list.
    :param reduce: from the query's text to its words, for APIs whose query is a syntax.
    :param match_all: queries that ask for everything, such as ``*``.
    :param alone: why a request is left alone (contract §4's words), by where it says so: a place, a :class:`When`, or
        several of either.
    :param show: how a request chooses what it sees of a hit.
    :param echo: where an answer repeats ``size``, ``offset``, ``page``, and the number of ``pages``.
    :param several: requests of several searches.
    :param name: as recorded.
    :raises ConfigError: one of them cannot be read; the message says what to write.
    """

    def __init__(
        self,
        *,
        route: str | Sequence[str],
        query: PlacesSetting,
        hits: str | Sequence[str],
        size: PlacesSetting = None,
        offset: PlacesSetting = None,
        page: PlacesSetting = None,
        first_page: int = 1,
        default_size: int = 10,
        windows: Window | Sequence[Window] = (),
        max_size: int | None = None,
        empty: str | Sequence[str] = (),
        id: str | Sequence[str] = ("$.id",),
        score: str | Sequence[str] = (),
        index: str | Sequence[str] = (),
        text: str | Sequence[str] = (),
        source: str = "$",
        beside: Sequence[str] = (),
        searched: PlacesSetting = None,
        separator: str = ".",
        reduce: Callable[[str], str] | None = None,
        match_all: Sequence[str] = ("*",),
        alone: AloneSetting | None = None,
        show: Show | None = None,
        echo: Mapping[str, PlacesSetting] | None = None,
        several: MultiSearch | Sequence[MultiSearch] = (),
        name: str = "json",
    ) -> None:
        last = Window(size=size, offset=offset, page=page, first_page=first_page, default_size=default_size)
        self._name = _checked(name, str, "name", "a text")
        self._routes = Routes(route)
        self._query = places(query, "query")
        if not self._query:
            raise ConfigError("query= is missing: where a request has its text, for example '$.q' or '?q'")
        self._windows = Windows([*_all_of(windows, Window, "windows"), last], _limit(max_size))
        at = _only_path(source, "source")
        if not hits:
            raise ConfigError("hits= is missing: the JSONPath of the array of hits in an answer, for example '$.hits'")
        self._reading = Reading(
            _paths(hits, "hits"), _paths(empty, "empty"), _paths(id, "id"), _paths(score, "score"),
            _paths(index, "index"), _paths(text, "text"), at, tuple(beside),
        )  # fmt: skip
        self._searched = places(searched, "searched")
        self._separator, self._reduce, self._match_all = separator, reduce, frozenset(match_all)
        self._alone = _reasons(alone or {})
        self._shown = None if show is None else Shown(_checked(show, Show, "show", "a Show()"), at.names or (), beside)
        self._echo = Echo(echo)
        self._several = [_Several(one) for one in _all_of(several, MultiSearch, "several")]
        self._every_route = Routes([*self._routes.written, *(one for s in self._several for one in s.routes.written)])

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._name}>"

    @property
    def name(self) -> str:
        return self._name

    # -- the request

    def is_search(self, method: str, target: str) -> bool:
        """Whether its method and path are one of the routes."""
        return self._every_route.match(method, target)

    def _multi(self, method: str, target: str) -> _Several | None:
        return next((one for one in self._several if one.routes.match(method, target)), None)

    def index_of(self, target: str) -> str | None:
        """What stands in the path for ``{index}``."""
        return self._routes.index_of(target)

    def _asked(self, request: Request) -> Asked:
        return Asked(request, part=self._multi(request.method, request.target) is not None)

    def read_search(self, request: Request) -> Search | str:
        """The search, or why it is left alone."""
        asked = self._asked(request)
        try:
            reason = self._reason(asked)
            return self._search(asked) if reason is None else reason
        except Malformed:
            return "malformed"

    def read_window(self, request: Request) -> tuple[int, int] | None:
        """(offset, size), None where they cannot be read."""
        try:
            asking = self._windows.read(self._asked(request))
        except Malformed:
            return None
        return asking.offset, asking.size

    def _reason(self, asked: Asked) -> str | None:
        """The first reason that applies.

        :raises Malformed: the body or the window cannot be read.
        """
        asking = self._windows.read(asked)
        found = {word for word, conditions in self._alone.items() if any(one.applies(asked) for one in conditions)}
        found |= {word for word, applies in self._own_reasons(asked, asking) if applies}
        return next((word for word in REASONS if word in found), None)

    def _own_reasons(self, asked: Asked, asking: Asking) -> Iterable[tuple[str, bool]]:
        text = self.query_of(asked)
        return (
            ("size-zero", asking.size == 0),
            ("beyond-depth", not self._windows.reachable(asked, asking)),
            ("match-all", text in self._match_all),
            ("no-query", not text),
        )

    def query_of(self, asked: Asked) -> str:
        """The query's text, empty where there is none; to be overridden where a JSONPath cannot find it.

        :raises Malformed: the body cannot be read.
        """
        found = asked.first(self._query)
        texts = [] if found is None else [one for value in found[1] for one in _strings(value)]
        text = query_text.clean(" ".join(dict.fromkeys(one.strip() for one in texts if one.strip())))
        return text if self._reduce is None or text in self._match_all else self._reduce(text)

    def _search(self, asked: Asked) -> Search:
        asking = self._windows.read(asked)
        found = asked.first(self._searched)
        return Search(
            query=self.query_of(asked),
            offset=asking.offset,
            size=asking.size,
            fields=json_places.names_in(found[1] if found else (), self._separator),
            index=self._index(asked),
        )

    def _index(self, asked: Asked) -> str | None:
        multi = self._multi(asked.request.method, asked.request.target) if asked.part else None
        return multi.index_of(asked.body) if multi is not None else self.index_of(asked.request.target)

    def widen(self, request: Request, search: Search, depth: int, fields: FieldsSetting = None) -> Widened:  # noqa: ARG002
        """The first ``max(depth, offset + size)`` hits from the first, with what the model reads.

        :raises ConfigError: ``fields`` is a format that cannot be read.
        """
        asked = self._asked(request)
        edits = Edits.of(asked)
        given = self._windows.widen(edits, self._windows.read(asked), depth)
        unshow = None if self._shown is None else self._shown.widen(edits, fields)
        undo = _Undo(given if given.changed and self._echo else None, unshow)
        return Widened(edits.done(), undo if undo.given or undo.unshow else None)

    # -- several

    def parts(self, request: Request) -> tuple[Part, ...] | str | None:
        """The searches of a request that holds several, why all of it is left alone, or None: it is one itself."""
        multi = self._multi(request.method, request.target)
        return None if multi is None else multi.parts(request)

    def part_spans(self, body: bytes) -> Sequence[tuple[int, int]]:
        """Where each answer lies.

        :raises Unreadable: they cannot be found safely.
        """
        for one in self._several:
            if (found := one.answers(body)) is not None:
                return found
        raise Unreadable("no array of answers")

    def part_status(self, answer: bytes) -> int | None:
        """The status that an answer among several has of its own."""
        return next((found for one in self._several if (found := one.status_of(answer)) is not None), None)

    # -- the answer

    def read_hits(
        self, body: bytes, search: Search, fields: FieldsSetting = None, *, offset: int = 0, undo: Any = None
    ) -> Answer:
        """The hits of an answer and their texts.

        :raises Unreadable: they cannot be found safely.
        :raises RerankFault: a callable ``fields`` failed.
        """
        found = json_hits.spans(body, self._reading)
        return Answer(
            body, json_hits.read(body, found, self._reading, search, fields, offset), tuple(found), undo
        )

    def write_hits(self, answer: Answer, order: Sequence[int]) -> bytes:
        """Upstream's bytes with the hits ``order`` and nothing else, and without what was added for the model.

        :raises Unreadable: something was added, and cannot be taken out safely.
        """
        undo: _Undo = answer.undo or _Undo()
        try:
            body = splice.join(answer.body, answer.spans, order, undo.unshow and undo.unshow.strip)
            return body if undo.given is None else self._echo.restore(body, undo.given)
        except RecursionError:
            raise Unreadable("nested too deep") from None


@dataclass(frozen=True, slots=True)
class _Undo:
    given: Given | None = None
    unshow: Unshow | None = None


class _Several:
    """A :class:`MultiSearch`, compiled."""

    def __init__(self, setting: MultiSearch) -> None:
        self.routes = Routes(setting.route, "several.route")
        self._searches, self._answers = _plain(setting.searches, "searches"), _plain(setting.answers, "answers")
        self._index = _paths(setting.index or (), "index")
        self._status = _paths(setting.status or (), "status")
        self._alone = _reasons(setting.alone)

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
        return Part(alone, span, span, self.index_of(_body(alone)))

    def index_of(self, body: Any) -> str | None:
        found = [value for path in self._index for value in path.values(body) if isinstance(value, str)]
        return found[0] if found else None

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


def _strings(value: Any) -> list[str]:
    return [one for one in (value if isinstance(value, list) else [value]) if isinstance(one, str)]


def _as_text(value: Any) -> str:
    if isinstance(value, list):
        return ",".join(map(_as_text, value))
    return value if isinstance(value, str) else str(value).lower() if isinstance(value, bool) else str(value)


# -- what a user may have got wrong


def _checked(value: Any, kind: type[Any], what: str, form: str) -> Any:
    if not isinstance(value, kind):
        raise ConfigError(f"{what}= is {form}, not {value!r}")
    return value


def _all_of(value: Any, kind: type[Any], what: str) -> list[Any]:
    found = [value] if isinstance(value, kind) else list(value) if isinstance(value, list | tuple) else [value]
    return [_checked(one, kind, what, f"a {kind.__name__}() or a list of them") for one in found]


def _limit(value: Any) -> int | None:
    if value is not None and (type(value) is not int or value < 1):
        raise ConfigError(f"max_size= is a whole number of at least 1 or None, not {value!r}")
    return value if value is None else int(value)


def _paths(setting: Any, what: str) -> tuple[Path, ...]:
    if not isinstance(setting, str | list | tuple):
        raise ConfigError(f"{what}= is a JSONPath like '$.{what}' or a list of them, not {setting!r}")
    every = (setting,) if isinstance(setting, str) else setting
    return tuple(_path(one, what) for one in every)


def _path(text: Any, what: str) -> Path:
    try:
        return json_paths.path(_checked(text, str, what, "a JSONPath"))
    except ConfigError as error:
        raise ConfigError(f"{what}: {error}") from None


def _plain(text: Any, what: str) -> Path:
    found = _path(text, what)
    if found.parts is None:
        raise ConfigError(f"{what}={text!r} must mean one place, like '$.{what}'")
    return found


def _only_path(text: Any, what: str) -> Path:
    found = _path(text, what)
    if found.names is None:
        raise ConfigError(f"{what}={text!r} must be plain, like '$.payload'")
    return found


def _regex(text: Any) -> re.Pattern[str]:
    try:
        return re.compile(text, re.S)
    except (re.error, TypeError) as error:
        raise ConfigError(f"like={text!r} is not a regular expression: {error}") from None


def _reasons(setting: AloneSetting) -> dict[str, tuple[When, ...]]:
    if not isinstance(setting, Mapping):
        raise ConfigError(f"alone= is a dict like {{'sorted': '$.sort'}}, not {setting!r}")
    unknown = [word for word in setting if word not in REASONS]
    if unknown:
        raise ConfigError(f"alone={unknown[0]!r} is none of the reasons: {', '.join(REASONS)}")
    return {word: _conditions(value) for word, value in setting.items()}


def _conditions(value: Any) -> tuple[When, ...]:
    every = [value] if isinstance(value, str | When) else list(value)
    return tuple(one if isinstance(one, When) else When(one) for one in every)
