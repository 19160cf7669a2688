"""A small language for search APIs that speak JSON: a dialect described by where things stand, in a notebook cell.

Requests are described by places (:mod:`json_places`), answers by JSONPaths. What the language cannot say, a class
that derives from :class:`JSONDialect`, or from ``nbproxy.dialects.Dialect``, can.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import ConfigError
from ..messages import Request
from ..ranking import Search
from ..settings import FieldsSetting
from . import json_hits, json_places, query_text, splice
from .base import Answer, Dialect, Part, Unreadable, Widened
from .json_alone import REASONS, AloneSetting, reasons
from .json_checks import all_of, checked, most, paths, plain_path, texts
from .json_hits import Reading
from .json_places import Asked, Edits, Malformed, PlacesSetting, places
from .json_routes import Routes
from .json_several import MultiSearch, Several
from .json_shown import Show, Shown, Unshow
from .json_windows import Asking, Echo, Given, Window, Windows


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
        self._name: str = checked(name, str, "name", "a text")
        self._routes = Routes(route)
        self._query = places(query, "query")
        if not self._query:
            raise ConfigError("query= is missing: where a request has its text, for example '$.q' or '?q'")
        self._windows = Windows([*all_of(windows, Window, "windows"), last], most(max_size))
        at = plain_path(source, "source")
        if not hits:
            raise ConfigError("hits= is missing: the JSONPath of the array of hits in an answer, for example '$.hits'")
        self._reading = Reading(
            paths(hits, "hits"), paths(empty, "empty"), paths(id, "id"), paths(score, "score"),
            paths(index, "index"), paths(text, "text"), at, texts(beside, "beside"),
        )  # fmt: skip
        self._searched = places(searched, "searched")
        self._separator = checked(separator, str, "separator", "a text")
        if reduce is not None and not callable(reduce):
            raise ConfigError(f"reduce= is a function from a query's text to its words, not {reduce!r}")
        self._reduce, self._match_all = reduce, frozenset(texts(match_all, "match_all"))
        self._alone = reasons(alone or {})
        self._shown = None if show is None else _shown(checked(show, Show, "show", "a Show()"), self._reading)
        self._echo = Echo(echo)
        self._several = [Several(one) for one in all_of(several, MultiSearch, "several")]
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

    def _multi(self, method: str, target: str) -> Several | None:
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
        return text if self._reduce is None or text in self._match_all else _reduced(self._reduce, text)

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
        target = asked.request.target
        return multi.index_of(asked.body, target) if multi is not None else self.index_of(target)

    def widen(self, request: Request, search: Search, depth: int, fields: FieldsSetting = None) -> Widened:
        """The first ``max(depth, offset + size)`` hits from the first, with what the model reads.

        :raises ConfigError: ``fields`` is a format that cannot be read.
        """
        asked = self._asked(request)
        edits = Edits.of(asked)
        given = self._windows.widen(edits, self._windows.read(asked), depth)
        unshow = None if self._shown is None else self._shown.widen(edits, fields, search.fields)
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
        return Answer(body, json_hits.read(body, found, self._reading, search, fields, offset), tuple(found), undo)

    def write_hits(self, answer: Answer, order: Sequence[int]) -> bytes:
        """Upstream's bytes with the hits ``order`` and nothing else, and without what was added for the model.

        :raises Unreadable: something was added, and cannot be taken out safely.
        """
        undo: _Undo = answer.undo or _Undo()
        try:
            body = splice.join(answer.body, answer.spans, order, undo.unshow.strip() if undo.unshow else None)
            return body if undo.given is None else self._echo.restore(body, undo.given)
        except RecursionError:
            raise Unreadable("nested too deep") from None


@dataclass(frozen=True, slots=True)
class _Undo:
    given: Given | None = None
    unshow: Unshow | None = None


def _shown(show: Show, reading: Reading) -> Shown:
    source = reading.source.names or ()
    inside = [path.names[len(source) :] for path in reading.id if path.names and path.names[: len(source)] == source]
    return Shown(show, source, reading.beside, [".".join(names) for names in inside if names])


def _reduced(reduce: Callable[[str], str], text: str) -> str:
    """A user's own function that fails on some text costs the reduction, not the search."""
    try:
        words = reduce(text)
    except Exception:
        return text
    return query_text.clean(words) if isinstance(words, str) else text


def _strings(value: Any) -> list[str]:
    return [one for one in (value if isinstance(value, list) else [value]) if isinstance(one, str)]
