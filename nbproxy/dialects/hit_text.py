"""What a model reads of a hit (contract §3).

A hit's text is the string leaves of its ``_source`` under some fields, one to a line, blank ones left out; None where
nothing is left. Which fields: those that the setting names, else those that the query searched, else all of them.
A hit without ``_source`` is read from what else it shows: ``fields``, ``highlight``, ``inner_hits``.

Nothing here recurses, so a source may be nested as deep as it likes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from string import Formatter
from typing import Any

from ..errors import ConfigError, RerankFault
from ..ranking import Hit
from ..settings import FieldsSetting

Leaf = Callable[[Any], str | None]

_TAG = re.compile(r"</?[A-Za-z][^<>]*>")


def string(value: Any) -> str | None:
    """A leaf as it counts when the query chooses the fields: strings only."""
    return value if isinstance(value, str) else None


def scalar(value: Any) -> str | None:
    """A leaf as it counts in a field that the user named: a year is wanted where a year was asked for."""
    if isinstance(value, str):
        return value
    return json.dumps(value) if isinstance(value, int | float) else None


def leaves(value: Any, leaf: Leaf = string) -> list[str]:
    """The leaves under ``value``, in order, blank ones left out."""
    out: list[str] = []
    stack = [value]
    while stack:
        value = stack.pop()
        if isinstance(value, dict):
            stack.extend(reversed(value.values()))
        elif isinstance(value, list):
            stack.extend(reversed(value))
        elif (text := leaf(value)) is not None and not text.isspace() and text:
            out.append(text)
    return out


def strings(values: Iterable[Any], out: list[str], room: int = 20) -> list[str]:
    """:func:`leaves` of several values, strings only, added to ``out``: the common case, three times as fast.

    It recurses, up to ``room`` levels; what lies deeper is read without recursion.
    """
    for value in values:
        kind = type(value)
        if kind is str:
            if value and not value.isspace():
                out.append(value)
        elif kind is dict or kind is list:
            if room:
                strings(value.values() if kind is dict else value, out, room - 1)
            else:
                out += leaves(value)
    return out


class Paths:
    """Some fields, by dotted path or pattern (``meta.*``, ``*_txt``)."""

    def __init__(self, names: Sequence[str]) -> None:
        plain = [name for name in names if "*" not in name]
        self.exact = frozenset(plain)
        self.above = frozenset(name[:i] for name in plain for i, char in enumerate(name) if char == ".")
        wild = [re.escape(name).replace(r"\*", ".*") for name in names if "*" in name]
        self.wild = re.compile("|".join(wild), re.S) if wild else None
        self.flat = not wild and not self.above

    def holds(self, path: str) -> bool:
        return path in self.exact or (self.wild is not None and self.wild.fullmatch(path) is not None)

    def leads(self, path: str) -> bool:
        return path in self.exact or path in self.above or self.wild is not None

    def leaves(self, source: Any, leaf: Leaf = string) -> list[str]:
        """The leaves of ``source`` under these fields, in the source's order."""
        out: list[str] = []
        stack: list[tuple[str, Any]] = [("", source)]
        while stack:
            path, value = stack.pop()
            if path and self.holds(path):
                out += leaves(value, leaf)
            elif isinstance(value, dict):
                stack += self._children(path, value)
            elif isinstance(value, list):
                stack += [(path, item) for item in reversed(value)]
        return out

    def texts(self, sources: Sequence[Any]) -> list[str | None]:
        """The text of each source, of strings only, quickly where all of these fields are at the top."""
        if not self.flat:
            return [_join(self.leaves(source)) for source in sources]
        if len(self.exact) == 1 and set(map(type, sources)) == {dict}:
            (name,) = self.exact
            values = [source.get(name) for source in sources]
            return [value if type(value) is str and value and not value.isspace() else _of(value) for value in values]
        return [_join(self._strings(source)) for source in sources]

    def _strings(self, source: Any) -> list[str]:
        """:meth:`leaves`, strings only, for fields that are all at the top."""
        if type(source) is not dict:
            return self.leaves(source)
        exact = self.exact
        return strings((value for key, value in source.items() if key in exact), [])

    def _children(self, path: str, value: dict[str, Any]) -> Iterator[tuple[str, Any]]:
        prefix = path + "." if path else ""
        return ((prefix + key, value[key]) for key in reversed(value) if self.leads(prefix + key))


@lru_cache(maxsize=1024)
def paths(names: tuple[str, ...]) -> Paths:
    return Paths(names)


def parents(name: str) -> Iterator[str]:
    """``a.b.c``, ``a.b``, ``a``."""
    while name:
        yield name
        name = name.rpartition(".")[0]


def resolve(name: str, sources: Sequence[Any], leaf: Leaf = string) -> str:
    """``name``, or where no source has text there, the parent that it is a sub-field of (``title.english``)."""
    if "." not in name or "*" in name:
        return name
    for candidate in parents(name):
        if any(paths((candidate,)).leaves(source, leaf) for source in sources):
            return candidate
    return name


def _join(parts: list[str]) -> str | None:
    return "\n".join(parts) if parts else None


def _of(value: Any) -> str | None:
    """The text of one value, strings only."""
    return _join(strings((value,), []))


def searched_texts(sources: Sequence[Any], searched: tuple[str, ...]) -> list[str | None]:
    """The texts under the fields that the query searched; where no hit has any there, all string leaves."""
    if searched:
        found = paths(tuple(resolve(name, sources) for name in searched))
        texts = found.texts(sources)
        if any(text is not None for text in texts):
            return texts
    return [_join(strings(source.values() if type(source) is dict else (source,), [])) for source in sources]


def named_texts(sources: Sequence[Any], names: Sequence[str]) -> list[str | None]:
    """The texts under ``names``, in the order of the names."""
    chosen = [paths((resolve(name, sources, scalar),)) for name in names]
    return [_join([text for path in chosen for text in path.leaves(source, scalar)]) for source in sources]


@dataclass(frozen=True, slots=True)
class Template:
    """A format over fields: literals, each with the field that follows it, or None."""

    parts: tuple[tuple[str, str | None], ...]

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(name for _, name in self.parts if name is not None)


@lru_cache(maxsize=64)
def template(pattern: str) -> Template:
    """``"{title}. {body}"``, read.

    :raises ConfigError: braces that do not pair, or more in them than a field's name.
    """
    try:
        found = list(Formatter().parse(pattern))
    except ValueError as error:
        raise ConfigError(f"fields={pattern!r} is not a format like '{{title}}. {{body}}': {error}") from None
    if any(name == "" or spec or conversion for _, name, spec, conversion in found):
        raise ConfigError(f"fields={pattern!r}: braces hold the name of a field and nothing else, as in '{{title}}'")
    return Template(tuple((literal, name) for literal, name, _, _ in found))


def formatted_texts(sources: Sequence[Any], pattern: str) -> list[str | None]:
    """The format filled from each source; a missing field is empty, a hit without any of them has no text."""
    form = template(pattern)
    chosen = {name: paths((resolve(name, sources, scalar),)) for name in form.names}
    return [_fill(form, {name: chosen[name].leaves(source, scalar) for name in chosen}) for source in sources]


def _fill(form: Template, values: dict[str, list[str]]) -> str | None:
    if not any(values.values()):
        return None
    return "".join(literal + ("\n".join(values[name]) if name else "") for literal, name in form.parts)


def names_of(fields: FieldsSetting) -> tuple[str, ...] | None:
    """The fields that a setting names; None: it names none (None, or a callable, which may read anything).

    :raises ConfigError: a format that cannot be read.
    """
    if fields is None or callable(fields):
        return None
    if isinstance(fields, str):
        return template(fields).names if "{" in fields else (fields,)
    return tuple(fields)


def texts(sources: Sequence[Any], fields: FieldsSetting, searched: tuple[str, ...]) -> list[str | None]:
    """The text of each source by any setting that is no callable."""
    if isinstance(fields, str) and "{" in fields:
        return formatted_texts(sources, fields)
    names = names_of(fields)
    return searched_texts(sources, searched) if names is None else named_texts(sources, names)


def called(read: Callable[[Hit], str | None], hit: Hit) -> str | None:
    """The text that the user's own function reads of a hit.

    :raises RerankFault: it failed, or gave no text.
    """
    try:
        text = read(hit)
    except Exception as error:
        raise RerankFault(f"fields={read!r} failed on {hit!r}: {error!r}") from error
    if text is not None and not isinstance(text, str):
        raise RerankFault(f"fields={read!r} gave {type(text).__name__} for {hit!r}, not a text or None")
    return text if text and not text.isspace() else None


def stand_in(fields: Any, highlight: Any, inner_hits: Any) -> Any:
    """What is read of a hit without ``_source``: the first of these that holds text."""
    for part in (fields, _highlight(highlight), _inner(inner_hits)):
        if leaves(part):
            return part
    return None


def _highlight(shown: Any) -> Any:
    """Highlighted fragments without their tags."""
    if not isinstance(shown, dict):
        return None
    return {name: [_TAG.sub("", text) for text in leaves(fragments)] for name, fragments in shown.items()}


def _inner(groups: Any) -> list[Any]:
    """The sources of inner hits; a nested one under its field's path."""
    out: list[Any] = []
    for group in groups.values() if isinstance(groups, dict) else ():
        outer = group.get("hits") if isinstance(group, dict) else None
        found = outer.get("hits") if isinstance(outer, dict) else None
        out += [_at_path(hit) for hit in found or () if isinstance(hit, dict)]
    return out


def _at_path(hit: dict[str, Any]) -> Any:
    nested = hit.get("_nested")
    path = nested.get("field") if isinstance(nested, dict) else None
    return {path: hit.get("_source")} if isinstance(path, str) else hit.get("_source")
