"""Windows: which hits a request asks for (offset and size, or pages), how it is asked for more, and what an answer
says of that.

An API may know several ways (``offset``/``limit``, ``page``/``hitsPerPage``). A request uses the first one of which
it has a place that no other way shares, else the last.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from ..errors import ConfigError
from . import json_paths, json_spans, search_request
from .base import Unreadable
from .json_paths import Path
from .json_places import Asked, Edits, Malformed, Place, Places, PlacesSetting, places

ALL = 2**31 - 1
"""The size of a search whose API knows none: all that comes."""

ECHOED = ("size", "offset", "page", "pages")


@dataclass(frozen=True, kw_only=True)
class Window:
    """One way to ask for some of the hits.

    :ivar size: where a request says how many hits it wants.
    :ivar offset: … how many come before them. Instead of it:
    :ivar page: … which page of that size it wants.
    :ivar first_page: the number of the first page, 0 or 1.
    :ivar default_size: how many upstream gives where the request does not say.
    :raises ConfigError: a place cannot be read or set, or both an offset and a page are given.
    """

    size: PlacesSetting = None
    offset: PlacesSetting = None
    page: PlacesSetting = None
    first_page: int = 1
    default_size: int = 10

    def __post_init__(self) -> None:
        if self.offset and self.page:
            raise ConfigError("a window has offset= or page=, not both; describe two ways by two Windows in windows=")
        if (self.offset or self.page) and not self.size:
            raise ConfigError("a window with offset= or page= needs size=: where a request says how many hits it wants")
        if self.first_page not in (0, 1):
            raise ConfigError(f"first_page= is 0 or 1, not {self.first_page!r}")
        if type(self.default_size) is not int or self.default_size < 1:
            raise ConfigError(f"default_size= is a whole number of at least 1, not {self.default_size!r}")
        self.read_places()

    def read_places(self) -> tuple[Places, Places, Places]:
        """(size, offset, page), compiled."""
        return (
            places(self.size, "size", settable=True),
            places(self.offset, "offset", settable=True),
            places(self.page, "page", settable=True),
        )


@dataclass(frozen=True, slots=True)
class Asking:
    """What one request asks for, in the way that it asks.

    :ivar way: the places of the size, and of the offset or the page.
    :ivar page: its number, where the request says one or may.
    """

    way: _Way
    offset: int
    size: int
    page: int | None


@dataclass(frozen=True, slots=True)
class _Way:
    size: Places
    offset: Places
    page: Places
    own: Places
    first_page: int
    default_size: int

    def read(self, asked: Asked) -> Asking:
        if not self.size:
            return Asking(self, 0, ALL, None)
        size = _number(asked, self.size, self.default_size)
        if not self.page:
            return Asking(self, _number(asked, self.offset, 0), size, None)
        page = _number(asked, self.page, self.first_page)
        if page < self.first_page:
            raise Malformed(f"page {page}")
        return Asking(self, (page - self.first_page) * size, size, page)


def _number(asked: Asked, where: Places, default: int) -> int:
    value = asked.value(where)
    return default if value is None else search_request.number(value)


class Windows:
    """All ways of one API to ask for some of the hits.

    :param limit: the most hits that upstream gives at once; None: as many as asked for.
    """

    def __init__(self, windows: Sequence[Window], limit: int | None = None) -> None:
        read = [one.read_places() for one in windows]
        self.limit = limit
        self._ways = [
            _Way(*found, _own(found, [other for other in read if other is not found]), one.first_page, one.default_size)
            for one, found in zip(windows, read, strict=True)
        ]

    def read(self, asked: Asked) -> Asking:
        """What the request asks for.

        :raises Malformed: no whole numbers.
        """
        way = next((one for one in self._ways if asked.first(one.own)), self._ways[-1])
        return way.read(asked)

    def reachable(self, asked: Asked, asking: Asking) -> bool:
        """Whether all hits from the first to the window's last can be asked for at once."""
        if self.limit is not None and asking.way.size and asking.offset + asking.size > self.limit:
            return False
        if asking.offset and asked.target(asking.way.size) is None:
            return False
        return all(_reaches(asked, where) for where in (asking.way.size, asking.way.offset, asking.way.page))

    def widen(self, edits: Edits, asking: Asking, depth: int) -> Given:
        """Ask for the first ``max(depth, offset + size)``, or as many of them as upstream gives."""
        asked, way = edits.asked, asking.way
        size = max(min(depth, self.limit or depth), asking.offset + asking.size)
        place = asked.target(way.size)
        if place is None:
            return Given(asking, asking.size)
        if size != asking.size:
            edits.set(place, size)
        if asking.offset:
            _to_first(edits, asking)
        return Given(asking, size)


def _own(mine: tuple[Places, ...], others: Sequence[tuple[Places, ...]]) -> Places:
    shared = {(one.method, one.text) for other in others for group in other for one in group}
    return tuple(one for group in mine for one in group if (one.method, one.text) not in shared)


def _reaches(asked: Asked, where: Places) -> bool:
    """What is said can be changed: not so where an URL speaks for several searches."""
    found = asked.first(where)
    return found is None or asked.target(where) is not None


def _to_first(edits: Edits, asking: Asking) -> None:
    where, first = (asking.way.page, asking.way.first_page) if asking.way.page else (asking.way.offset, 0)
    place: Place | None = edits.asked.target(where)
    if place is not None:
        edits.set(place, first)


@dataclass(frozen=True, slots=True)
class Given:
    """What upstream was asked for in place of ``asking``.

    :ivar size: how many hits, from the first.
    """

    asking: Asking
    size: int

    @property
    def changed(self) -> bool:
        return self.size != self.asking.size or self.asking.offset > 0


class Echo:
    """Where an answer repeats the window: it is made to repeat the client's.

    :param setting: ``size``, ``offset``, ``page``: a JSONPath, or several; ``pages``: that of the number of pages and
        that of the number of hits that it follows from.
    :raises ConfigError: it is not so.
    """

    def __init__(self, setting: Mapping[str, PlacesSetting] | None) -> None:
        self._paths: dict[str, tuple[Path, ...]] = {}
        for name, value in (setting or {}).items():
            if name not in ECHOED:
                raise ConfigError(f"echo= knows {', '.join(ECHOED)}, not {name!r}")
            found = (value,) if isinstance(value, str) else tuple(value or ())
            self._paths[name] = tuple(map(_plain, found))
        if len(self._paths.get("pages", ("", ""))) != 2:
            raise ConfigError("echo['pages'] is a pair: the JSONPath of the number of pages, and of the number of hits")

    def __bool__(self) -> bool:
        return bool(self._paths)

    def restore(self, body: bytes, asked: Given) -> bytes:
        """The answer as if the client's own window had been asked for."""
        for path, value in self._changes(body, asked):
            span = json_paths.locate(body, path.names or ())
            assert span is not None
            body = body[: span[0]] + b"%d" % value + body[span[1] :]
        return body

    def _changes(self, body: bytes, asked: Given) -> list[tuple[Path, int]]:
        mine, way = asked.asking, asked.asking.way
        then = {
            "size": (asked.size, mine.size),
            "offset": (0, mine.offset),
            "page": (way.first_page, mine.page if mine.page is not None else way.first_page),
        }
        out = [
            (path, after)
            for name, (before, after) in then.items()
            for path in self._paths.get(name, ())
            if before != after and _whole(body, path) == before
        ]
        return out + self._pages(body, asked)

    def _pages(self, body: bytes, asked: Given) -> list[tuple[Path, int]]:
        if "pages" not in self._paths or not asked.asking.size:
            return []
        at, of = self._paths["pages"]
        pages, hits = _whole(body, at), _whole(body, of)
        if pages is None or hits is None:
            return []
        # Upstream may page through fewer hits than there are (Algolia's paginationLimitedTo).
        reached = min(hits, pages * asked.size)
        return [(at, -(-reached // asked.asking.size))]


def _plain(text: Any) -> Path:
    found = json_paths.path(text) if isinstance(text, str) else None
    if found is None or found.names is None:
        raise ConfigError(f"echo: {text!r} is not a plain JSONPath like '$.page'")
    return found


def _whole(body: bytes, path: Path) -> int | None:
    """The whole number at ``path``."""
    try:
        span = json_paths.locate(body, path.names or ())
    except Unreadable:
        return None
    text = b"" if span is None else body[span[0] : span[1]]
    try:
        value = msgspec.json.decode(text) if text else None
    except json_spans.REFUSED:
        return None
    return value if type(value) is int else None
