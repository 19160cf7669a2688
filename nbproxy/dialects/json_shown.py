"""What a client sees of each hit: asking for more where the model needs it, and taking that out again.

APIs have a list of fields to show or to hide; where it hides what the model reads, the search asks for more, and each
hit is given back byte for byte as the list would have shown it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from ..errors import ConfigError
from ..settings import FieldsSetting
from . import hit_text, json_paths, source_filter
from .json_paths import MISSING
from .json_places import Asked, Edits, Place, Places, PlacesSetting, csv, names_in, places
from .source_filter import SourceFilter

_FIELD = re.compile(r"[^()$]+")  # joins (``$other(name)``) and functions are not fields of the hit
NOTHING = ("\0",)  # a list of fields of which there are none


@dataclass(frozen=True, kw_only=True)
class Show:
    """How a request chooses what it sees of a hit.

    The value may be a list, a text with commas, true or false, or ``{"include": […]}`` / ``{"exclude": […]}``; ``*``
    is everything, ``-name`` hides.

    :ivar include: where the request lists what it sees.
    :ivar exclude: … what it does not see.
    :ivar default: whether all is shown where the request does not say.
    :ivar everything: the value that shows all; None: the list is taken out of the request.
    :ivar always: fields that are shown whatever the list says.
    :ivar also: other objects of a hit in which upstream shows the same fields (``_formatted``), and where a request
        lists more fields for them.
    :ivar marks: where a request lists the fields that are marked (highlighted) in a hit, for an API that marks, unless
        told, those of the searched fields that are shown: it is told them.
    :ivar no_marks: the value that marks none.
    :ivar separator: what stands between a field and its sub-field.
    :raises ConfigError: a place cannot be read or set.
    """

    include: PlacesSetting = None
    exclude: PlacesSetting = None
    default: bool = True
    everything: Any = None
    always: Sequence[str] = ()
    also: Mapping[str, PlacesSetting] = field(default_factory=dict)
    marks: PlacesSetting = None
    no_marks: str = "none"
    separator: str = "."

    def __post_init__(self) -> None:
        if not self.include and not self.exclude:
            raise ConfigError("Show() needs include= or exclude=: where a request lists the fields that it sees")
        self.compiled()

    def compiled(self) -> tuple[Places, Places, Places, dict[str, Places]]:
        """(include, exclude, marks, also), compiled."""
        return (
            places(self.include, "include", settable=True),
            places(self.exclude, "exclude", settable=True),
            places(self.marks, "marks", settable=True),
            {member: places(where, "also") for member, where in self.also.items()},
        )


@dataclass(frozen=True, slots=True)
class Selection:
    """What one request selects."""

    shown: SourceFilter
    include: tuple[Place, Any] | None
    exclude: tuple[Place, Any] | None


class Shown:
    """A :class:`Show` at work.

    :param source: the names down to the document in a hit.
    :param beside: members of the document's object that are not the document's, as patterns.
    :param ids: where in the document its id may be: it is recorded, so that it is always asked for.
    """

    def __init__(self, show: Show, source: Sequence[str], beside: Sequence[str], ids: Sequence[str] = ()) -> None:
        self.show, self.source = show, tuple(source)
        self.kept = (*show.always, *(beside if not source else ()))
        self._ids = tuple(name for name in ids if name not in show.always)
        self._include, self._exclude, self._marks, self._also = show.compiled()

    def selection(self, asked: Asked) -> Selection | None:
        """What the request selects; None: in a way that is not understood."""
        include, exclude = _only(asked, self._include), _only(asked, self._exclude)
        shown = _read(include[1], self.show) if include else SourceFilter(self.show.default)
        hidden = _names(exclude[1], self.show.separator) if exclude else ()
        if shown is None or hidden is None:
            return None
        return Selection(replace(shown, excludes=(*shown.excludes, *hidden)), include, exclude)

    def widen(self, edits: Edits, fields: FieldsSetting, searched: Sequence[str]) -> Unshow | None:
        """Ask for what the model reads; how to take it out again, None: it is shown already, or cannot be asked for.

        :raises ConfigError: ``fields`` is a format that cannot be read.
        """
        asked = edits.asked
        found = self.selection(asked)
        names = None if found is None else self._wanted(fields, found.shown)
        if found is None or found.shown.whole or (names is not None and all(map(found.shown.shows, names))):
            return None
        marks = self._marked(asked, found.shown, searched)
        if marks is None or not self._ask(edits, found, names):
            return None
        for place, value in marks:
            edits.set(place, value)
        more = {member: names_in(self._all(asked, where)) for member, where in self._also.items()}
        return Unshow(self.source, found.shown, self.kept, more)

    def _wanted(self, fields: FieldsSetting, shown: SourceFilter) -> tuple[str, ...] | None:
        """The fields that must be shown; None: all, as only that is known to be enough."""
        names = hit_text.names_of(fields)
        if names is None or not self._ids or any(map(shown.shows, self._ids)):
            return names
        return (*names, self._ids[0]) if len(self._ids) == 1 else None

    def _marked(self, asked: Asked, shown: SourceFilter, searched: Sequence[str]) -> list[tuple[Place, str]] | None:
        """Where the fields that upstream would mark are to be listed, and the list; None: that cannot be said."""
        if not self._marks or asked.first(self._marks) is not None:
            return []
        place = asked.target(self._marks)
        if place is None or any("*" in name for name in searched):
            return None
        names = [_dashed(name, self.show) for name in searched if shown.shows(name)]
        return [(place, ",".join(names) or self.show.no_marks)]

    def _all(self, asked: Asked, where: Places) -> list[Any]:
        """Entries like ``overview:20`` (crop lengths) are their fields."""
        return [[re.sub(r":\d+$", "", name) for name in names_in(asked.values(one))] for one in where]

    def _ask(self, edits: Edits, found: Selection, names: Sequence[str] | None) -> bool:
        """Change the lists; whether that can be done."""
        include, exclude = found.include, found.exclude
        if not all(edits.asked.target((one[0],)) for one in (include, exclude) if one):
            return False
        if names is not None and include and not exclude and _is_list(include[1]) and not found.shown.excludes:
            edits.set(include[0], _longer(include[1], [_dashed(name, self.show) for name in names]))
            return True
        place = include[0] if include else edits.asked.target(self._include)
        if names and place is not None and not found.shown.show:
            edits.set(place, [_dashed(name, self.show) for name in names])
            return True
        if exclude:
            edits.set(exclude[0], MISSING)
        if place is None or (include is None and self.show.default):
            return bool(exclude)
        edits.set(place, MISSING if self.show.everything is None else _like(include, self.show.everything))
        return True


def _only(asked: Asked, where: Places) -> tuple[Place, Any] | None:
    found = asked.first(where)
    return None if found is None else (found[0], found[1][0])


def _read(value: Any, show: Show) -> SourceFilter | None:
    if isinstance(value, bool):
        return SourceFilter(value)
    if isinstance(value, str) and value in ("true", "false"):
        return SourceFilter(value == "true")
    if isinstance(value, dict):
        includes, excludes = (_names(value.get(key, []), show.separator) for key in ("include", "exclude"))
        return None if includes is None or excludes is None else SourceFilter(True, includes, excludes)
    names = _names(value, show.separator)
    if names is None:
        return None
    hidden = tuple(name[1:] for name in names if name.startswith("-"))
    shown = tuple(name for name in names if not name.startswith("-"))
    if not names:  # an empty list shows nothing; an empty text is as good as none
        return SourceFilter(show.default) if isinstance(value, str) else SourceFilter(includes=NOTHING)
    return SourceFilter(True, shown, hidden)


def _names(value: Any, separator: str) -> tuple[str, ...] | None:
    found = csv(value) if isinstance(value, str) else value
    if not isinstance(found, list) or not all(isinstance(one, str) and _FIELD.fullmatch(one) for one in found):
        return None
    return tuple(one.replace(separator, ".") for one in found)


def _is_list(value: Any) -> bool:
    return isinstance(value, str | list)


def _dashed(name: str, show: Show) -> str:
    return name.replace(".", show.separator)


def _longer(value: Any, names: Sequence[str]) -> Any:
    """The client's list with ``names``, in its own form."""
    have = csv(value) if isinstance(value, str) else value
    both = [*have, *(name for name in names if name not in have)]
    return both if isinstance(value, list) else ",".join(both)


def _like(include: tuple[Place, Any] | None, everything: Any) -> Any:
    """A list as a text where the client's was one."""
    if include is not None and isinstance(include[1], str) and isinstance(everything, list):
        return ",".join(map(str, everything))
    return everything


Change = tuple[Sequence[str], Callable[[bytes], bytes]]


@dataclass(frozen=True, slots=True)
class Unshow:
    """How to take out of each hit what was asked for the model only.

    :ivar source: the names down to the document.
    :ivar shown: what the client selected.
    :ivar kept: members of the document's object that stay in any case.
    :ivar also: other members that show the selected fields, and what more is shown in each.
    """

    source: tuple[str, ...]
    shown: SourceFilter
    kept: tuple[str, ...]
    also: Mapping[str, tuple[str, ...]]

    def strip(self) -> Callable[[bytes], bytes]:
        """From a hit to the hit as the client would have got it."""
        changes: list[Change] = [
            ((member,), source_filter.sieve(self._selected(more))) for member, more in self.also.items()
        ]
        if self.shown.show:
            changes.append((self.source, source_filter.sieve(self._selected(self.kept))))
        gone = None if self.shown.show else self.source
        return partial(_stripped, changes=changes, gone=gone)

    def _selected(self, more: Sequence[str]) -> SourceFilter:
        if not self.shown.show:
            return SourceFilter(includes=tuple(more) or NOTHING)
        return replace(self.shown, includes=(*self.shown.includes, *more) if self.shown.includes else ())


def _stripped(hit: bytes, changes: Sequence[Change], gone: Sequence[str] | None) -> bytes:
    for names, change in changes:
        hit = _changed(hit, names, change)
    return json_paths.replace_at(hit, gone, None) if gone else hit


def _changed(hit: bytes, names: Sequence[str], change: Callable[[bytes], bytes]) -> bytes:
    """The hit with the object under ``names`` changed; as it is where there is none."""
    span = json_paths.locate(hit, names)
    if span is None or hit[span[0] : span[0] + 1] != b"{":
        return hit
    start, end = span
    return hit[:start] + change(hit[start:end]) + hit[end:]
