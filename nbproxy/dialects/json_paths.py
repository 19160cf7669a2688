"""JSONPath (RFC 9535) on values and on bytes: compiled once, and each match with the place that it has.

What lies at a place in bytes is found by walking its names with ``json_spans``: exact, and no key on the way twice.

https://www.rfc-editor.org/rfc/rfc9535
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from ..errors import ConfigError
from . import json_spans, splice
from .base import Unreadable

if TYPE_CHECKING:
    from jsonpath import JSONPath

Parts = tuple[str | int, ...]


class Path:
    """One compiled JSONPath.

    :ivar parts: the names and numbers of a path that means one place at most (``$.a.b[0]``); None: it may mean more.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        self._query = _compiled(text)
        self.parts = _singular(self._query)

    def __repr__(self) -> str:
        return f"Path({self.text!r})"

    @property
    def names(self) -> tuple[str, ...] | None:
        """The names of a path that only goes down by name, so that it can be added where it is not there."""
        parts = self.parts
        named = None if parts is None else tuple(part for part in parts if isinstance(part, str))
        return named if named is not None and parts is not None and len(named) == len(parts) else None

    def values(self, value: Any) -> list[Any]:
        """What lies at the path, in order; nothing where the value is nested too deep to look."""
        if self.parts is not None:
            found = dig(value, self.parts)
            return [] if found is MISSING else [found]
        return [match.obj for match in self._matches(value)]

    def firsts(self, values: Sequence[Any]) -> list[Any]:
        """The first that lies at the path in each of ``values``, None where nothing does."""
        if self.parts is None:
            return [next(iter(self.values(value)), None) for value in values]
        if len(self.parts) == 1 and isinstance(self.parts[0], str):
            name = self.parts[0]
            return [value.get(name) if isinstance(value, dict) else None for value in values]
        found = [dig(value, self.parts) for value in values]
        return [None if one is MISSING else one for one in found]

    def places(self, value: Any) -> list[Parts]:
        """Where it lies: the names and numbers down to each match."""
        if self.parts is not None:
            return [] if dig(value, self.parts) is MISSING else [self.parts]
        return [tuple(match.parts) for match in self._matches(value)]

    def _matches(self, value: Any) -> Iterator[Any]:
        try:
            yield from list(self._query.finditer(value))
        except Exception:  # a filter's regular expression, a depth: what others sent must not raise here
            return


MISSING: Any = object()


def dig(value: Any, parts: Sequence[str | int]) -> Any:
    """The value under ``parts``; :data:`MISSING`: there is none."""
    for part in parts:
        if isinstance(part, str):
            value = value.get(part, MISSING) if isinstance(value, dict) else MISSING
        else:
            value = value[part] if isinstance(value, list) and -len(value) <= part < len(value) else MISSING
    return value


@lru_cache(maxsize=256)
def path(text: str) -> Path:
    """The compiled path.

    :raises ConfigError: it is no JSONPath.
    """
    return Path(text)


def _compiled(text: str) -> JSONPath:
    # Imported when the first dialect is described: `import nbproxy` does not wait for it.
    from jsonpath import JSONPath, JSONPathEnvironment, JSONPathError

    try:
        found = JSONPathEnvironment(strict=True).compile(text)
    except JSONPathError as error:
        why = str(error).splitlines()[0]
        raise ConfigError(f"{text!r} is not a JSONPath like '$.hits' or \"$['a b'].c\" (RFC 9535): {why}") from None
    assert isinstance(found, JSONPath)  # strict: there are no compounds
    return found


def _singular(query: JSONPath) -> Parts | None:
    from jsonpath.selectors import IndexSelector, NameSelector

    if not query.singular_query():
        return None
    out: list[str | int] = []
    for segment in query.segments:
        step = segment.selectors[0]
        assert isinstance(step, NameSelector | IndexSelector)
        out.append(step.name if isinstance(step, NameSelector) else step.index)
    return tuple(out)


def locate(text: bytes, parts: Sequence[str | int]) -> tuple[int, int] | None:
    """(start, end) of the value under ``parts``; None: there is none.

    :raises Unreadable: not JSON, or a key on the way occurs twice.
    """
    start, end = 0, len(text)
    for part in parts:
        inner = _child(text[start:end], part)
        if inner is None:
            return None
        start, end = start + inner[0], start + inner[1]
    found = json_spans.BLANK.match(text, start)
    return (found.end() if found else start), start + len(text[start:end].rstrip(b" \t\r\n"))


def _child(text: bytes, part: str | int) -> tuple[int, int] | None:
    kind = text.lstrip(b" \t\r\n")[:1]
    if isinstance(part, int):
        spans = json_spans.items(text) if kind == b"[" else []
        return spans[part] if -len(spans) <= part < len(spans) else None
    found = [one for one in json_spans.members(text) if one.key == part] if kind == b"{" else []
    if len(found) > 1:
        raise Unreadable(f"repeated key: {part}")
    return (found[0].start, found[0].end) if found else None


def replace_at(text: bytes, names: Sequence[str], value: bytes | None) -> bytes:
    """The object ``text`` with ``value`` under ``names``: in its place, else added (with the objects above it); None
    takes the member out."""
    if len(names) > 1:
        inner = _child(text, names[0])
        below = text[inner[0] : inner[1]] if inner is not None and text[inner[0] : inner[0] + 1] == b"{" else b"{}"
        if value is None and inner is None:
            return text
        value = replace_at(below, names[1:], value)
    if value is None:
        return splice.without_member(text, names[0])
    return splice.set_members(text, {names[0]: value})
