"""What a client sees of ``_source``: asking for more where the model needs it, and taking that out again.

Elasticsearch's rules, as its documentation and ``XContentMapValues.filter`` have them: a pattern (``*`` only) matches
a path and all below it; excludes win; an object or array that is not itself matched is shown only if something in it
is; objects in an array that become empty go. In the URL, any of ``_source``, ``_source_includes`` and
``_source_excludes`` takes the place of the body's ``_source`` altogether.

https://www.elastic.co/docs/reference/elasticsearch/rest-apis/retrieve-selected-fields#source-filtering
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from . import json_spans, splice
from .json_spans import Member

URL_PARAMS = ("_source", "_source_includes", "_source_excludes")

_TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*+"|[ \t\r\n]++', re.S)


@dataclass(slots=True)
class Patterns:
    """Source patterns, with the paths looked up so far."""

    patterns: tuple[str, ...]
    _known: dict[str, tuple[bool, bool]] = field(default_factory=dict)

    def accepts(self, path: str) -> bool:
        """Whether ``path``, or an object that it is in, matches."""
        return self._look_up(path)[0]

    def reaches(self, path: str) -> bool:
        """Whether something below ``path`` can match."""
        return self._look_up(path)[1]

    def _look_up(self, path: str) -> tuple[bool, bool]:
        if path not in self._known:
            accepted = any(_accepts(pattern, path) for pattern in self.patterns)
            self._known[path] = (accepted, accepted or any(_begins(pattern, path + ".") for pattern in self.patterns))
        return self._known[path]


def _begins(pattern: str, text: str) -> bool:
    """Whether ``text`` can be the start of something that ``pattern`` matches."""
    places = _closure(pattern, {0})
    for char in text:
        moved = {p if pattern[p] == "*" else p + 1 for p in places if p < len(pattern) and pattern[p] in (char, "*")}
        places = _closure(pattern, moved)
    return bool(places)


def _closure(pattern: str, places: set[int]) -> set[int]:
    """A star may stand for nothing."""
    out = set(places)
    for place in places:
        while place < len(pattern) and pattern[place] == "*":
            place += 1
            out.add(place)
    return out


def _accepts(pattern: str, path: str) -> bool:
    return re.fullmatch(re.escape(pattern).replace(r"\*", ".*") + r"(?:\..*)?", path, re.S) is not None


@dataclass(frozen=True, slots=True)
class SourceFilter:
    """What is shown of ``_source``.

    :ivar show: whether there is one at all.
    :ivar includes: empty: everything.
    :ivar excludes: of what is included.
    :ivar where: which part of the request says so: ``"url"``, ``"body"`` or, where nothing does, None.
    :ivar rest: other members of the body's ``_source`` object (``exclude_vectors``), kept.
    """

    show: bool = True
    includes: tuple[str, ...] = ()
    excludes: tuple[str, ...] = ()
    where: str | None = None
    rest: tuple[tuple[str, Any], ...] = ()

    @property
    def whole(self) -> bool:
        return self.show and not self.excludes and (not self.includes or "*" in self.includes)

    def shows(self, name: str) -> bool:
        """Whether all of the field ``name`` is seen."""
        if not self.show or ("*" in name and self.excludes):
            return False
        return (not self.includes or Patterns(self.includes).accepts(name)) and not self.hides(name)

    def shows_text(self, name: str) -> bool:
        """Whether the text of the field ``name`` is seen, which its parent has where it is a sub-field of that."""
        parent = name.rpartition(".")[0]
        return self.shows(name) and not (parent and self.includes and not Patterns(self.includes).accepts(parent))

    def hides(self, name: str) -> bool:
        """Whether the excludes take out the field ``name`` or some of what may be below it."""
        return Patterns(self.excludes).reaches(name)


def from_request(params: Mapping[str, str], body: Mapping[str, Any]) -> SourceFilter:
    """The filter that a search asks for, by the URL, else by the body, else the default."""
    given = any(name in params for name in URL_PARAMS)
    found = _from_params(params) if given else _from_body(body["_source"]) if "_source" in body else SourceFilter()
    stored = stored_fields(params, body)
    if stored is not None and found.where is None and "_source" not in stored:
        return replace(found, show=False)  # stored_fields turns _source off unless it is asked for
    return found


def stored_fields(params: Mapping[str, str], body: Mapping[str, Any]) -> tuple[str, ...] | None:
    """The stored fields asked for; None: not mentioned."""
    if "stored_fields" in params:
        return _csv(params["stored_fields"])
    return _names(body["stored_fields"]) if body.get("stored_fields") is not None else None


def _csv(value: str) -> tuple[str, ...]:
    return tuple(name for name in value.split(",") if name)


def _names(value: Any) -> tuple[str, ...]:
    return tuple(name for name in (value if isinstance(value, list) else [value]) if isinstance(name, str))


def _from_params(params: Mapping[str, str]) -> SourceFilter:
    source = params.get("_source", "true")
    includes = () if source in ("true", "false") else _csv(source)
    if "_source_includes" in params:
        includes = _csv(params["_source_includes"])
    return SourceFilter(source != "false", includes, _csv(params.get("_source_excludes", "")), "url")


def _from_body(value: Any) -> SourceFilter:
    if isinstance(value, bool):
        return SourceFilter(value, where="body")
    if not isinstance(value, dict):
        return SourceFilter(includes=_names(value) if value is not None else (), where="body")
    includes = value.get("includes", value.get("include"))
    excludes = value.get("excludes", value.get("exclude"))
    known = ("includes", "include", "excludes", "exclude")
    rest = tuple((name, other) for name, other in value.items() if name not in known)
    return SourceFilter(True, _names(includes or ()), _names(excludes or ()), "body", rest)


def _parents(names: Sequence[str]) -> tuple[str, ...]:
    """A sub-field counts as its parent."""
    return tuple(name.rpartition(".")[0] or name for name in names)


def _with_names(filter_: SourceFilter, names: Sequence[str]) -> SourceFilter:
    """``filter_`` widened so that ``names`` are seen."""
    kept = tuple(one for one in filter_.excludes if not _meets(one, names))
    missing = tuple(name for name in names if not filter_.shows(name))
    includes = filter_.includes + missing if filter_.includes else missing if not filter_.show else ()
    return replace(filter_, show=True, includes=includes, excludes=kept)


def _meets(exclude: str, names: Sequence[str]) -> bool:
    wild = any("*" in name for name in names)
    return wild or any(Patterns((exclude,)).reaches(name) for name in names)


def widened(
    filter_: SourceFilter, named: tuple[str, ...] | None, searched: tuple[str, ...], everything: bool
) -> SourceFilter | None:
    """The filter that shows the model what it needs; None: the client's own does.

    :param named: the fields that the setting names.
    :param searched: the fields that the query searched.
    :param everything: a callable reads the hits, and may look anywhere.
    """
    if filter_.whole:
        return None
    if named is not None:
        return None if all(map(filter_.shows_text, named)) else _with_names(filter_, _parents(named))
    if everything or not searched:
        return replace(filter_, show=True, includes=(), excludes=())
    if all(map(filter_.shows, searched)):
        return None if all(map(filter_.shows_text, searched)) else _with_names(filter_, _parents(searched))
    # Whether any hit has the searched fields is not known yet, and where none has, all strings are read (contract §3).
    # What the client excludes for size (vectors) stays out, as long as the searched fields are not meant.
    return replace(_with_names(filter_, searched), includes=())


def to_json(filter_: SourceFilter) -> bytes:
    """The body's ``_source`` that says ``filter_``."""
    if not filter_.excludes and not filter_.includes and not filter_.rest:
        return b"true"
    value = {"includes": list(filter_.includes), "excludes": list(filter_.excludes)}
    shown = {name: names for name, names in value.items() if names} | dict(filter_.rest)
    return json.dumps(shown, ensure_ascii=False).encode("utf-8", "surrogatepass")


def to_params(filter_: SourceFilter) -> dict[str, str | None]:
    """The URL's parameters that say ``filter_``; None: taken out."""
    return {
        "_source": "true" if not filter_.includes else None,
        "_source_includes": ",".join(filter_.includes) or None,
        "_source_excludes": ",".join(filter_.excludes) or None,
    }


@dataclass(frozen=True)
class Undo:
    """How to take out of each hit what was added for the model.

    :ivar shown: what the client asked to see of ``_source``.
    :ivar pretty: the answer's white space is kept; otherwise a filtered source has none, as upstream would write it.
    """

    shown: SourceFilter
    pretty: bool = False

    def strip(self, hit: bytes) -> bytes:
        """The hit as the client would have got it."""
        if not self.shown.show:
            return splice.without_member(hit, "_source")
        for member in reversed(json_spans.members(hit)):
            if member.key == "_source" and hit[member.start : member.start + 1] == b"{":
                shown = self._sift.object(hit[member.start : member.end], "", False)
                hit = hit[: member.start] + shown + hit[member.end :]
        return hit

    @cached_property
    def _sift(self) -> _Sift:
        """One for all hits of an answer: it remembers which paths it has looked up."""
        return _Sift(Patterns(self.shown.includes or ("*",)), Patterns(self.shown.excludes), not self.pretty)


def sieve(shown: SourceFilter) -> Callable[[bytes], bytes]:
    """From an object's text to that of what ``shown`` shows of it; white space stays as it was."""
    sift = _Sift(Patterns(shown.includes or ("*",)), Patterns(shown.excludes), False)
    return lambda text: sift.object(text, "", False)


@dataclass(frozen=True, slots=True)
class _Sift:
    """The filter applied to bytes. ``all_in``: a parent matched the includes, so that only excludes count."""

    includes: Patterns
    excludes: Patterns
    compact: bool

    def object(self, text: bytes, path: str, all_in: bool) -> bytes:
        every = json_spans.members(text)
        kept = [(member, self.member(text, member, path, all_in)) for member in every]
        return splice.keep_members(
            text, every, [(one, value) for one, value in kept if value is not None], self.compact
        )

    def member(self, text: bytes, member: Member, path: str, all_in: bool) -> bytes | None:
        """The member's value as shown, None if it is not."""
        path = f"{path}.{member.key}" if path else member.key
        value = text[member.start : member.end]
        accepted = all_in or self.includes.accepts(path)
        if self.excludes.accepts(path) or not (accepted or self.includes.reaches(path)):
            return None
        if accepted and not self.excludes.reaches(path):
            return self.whole(value)
        if value[:1] in (b"{", b"["):
            value = self.container(value, path, accepted)
            return value if accepted or not _empty(value) else None
        return self.whole(value) if accepted else None

    def container(self, value: bytes, path: str, accepted: bool) -> bytes:
        return self.object(value, path, accepted) if value[:1] == b"{" else self.array(value, path, accepted)

    def array(self, text: bytes, path: str, accepted: bool) -> bytes:
        """Objects and arrays that become empty go; other items stay if the array itself is included."""
        out = []
        for start, end in json_spans.items(text):
            item = text[start:end]
            if item[:1] in (b"{", b"["):
                item = self.container(item, path, accepted)
                out += [] if _empty(item) else [item]
            elif accepted:
                out.append(self.whole(item))
        return b"[" + (b"," if self.compact else b", ").join(out) + b"]"

    def whole(self, value: bytes) -> bytes:
        return compact(value) if self.compact else value


def _empty(value: bytes) -> bool:
    return not value[1:-1].strip()


def compact(value: bytes) -> bytes:
    """A value as Elasticsearch writes it after filtering: no white space, no needless escapes; numbers as they are."""
    return _TOKEN.sub(lambda found: _compact_token(found[0]), value)


def _compact_token(token: bytes) -> bytes:
    if token[:1] != b'"' or b"\\" not in token:
        return token if token[:1] == b'"' else b""
    try:
        return json.dumps(json_spans.decode_string(token), ensure_ascii=False).encode()
    except UnicodeEncodeError:  # a lone surrogate can only be written as an escape
        return token
