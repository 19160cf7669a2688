"""Finding, reordering and cutting the array of hits in an answer's bytes, and changing members of a request's body.

Law: every byte that is not asked to change is copied. Nothing is encoded anew, so number formats, escapes, key
order, repeated keys and white space come out as upstream wrote them.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any
from urllib.parse import quote, unquote_plus

import msgspec

from . import json_spans
from .base import Unreadable
from .json_spans import Member

Path = tuple[str, str]  # of an array: the member of the answer's object, and the member of that one

HITS: Path = ("hits", "hits")

# One value that holds no more than one level. Only for text that msgspec has read already: it is not strict.
_FLAT_VALUE = rb'(?:\{(?:[^"{}\[\]\\]++|"[^"\\]*+")*+\}|"[^"\\]*+"|[^"{}\[\]\\,\s]++)'
_FLAT = re.compile(_FLAT_VALUE + rb"(?=\s*+[,}])")
_TAIL: Callable[[bytes], dict[str, msgspec.Raw]] = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_MARK = secrets.token_hex(8)  # stands for what came before the tail; no answer can have such a key
_MARKED = f'{{"{_MARK}":{{"{_MARK}":0'.encode()


@lru_cache(maxsize=64)
def _decoder(path: Path) -> Callable[[bytes], Any]:
    """Decodes an answer as far as its array at ``path``: ``.at.items``."""
    items = msgspec.defstruct("Items", [("items", list[msgspec.Raw], msgspec.field(name=path[1]))])
    at = msgspec.defstruct("At", [("at", items, msgspec.field(name=path[0]))])
    return msgspec.json.Decoder(at).decode


@lru_cache(maxsize=64)
def _way(path: Path) -> re.Pattern[bytes]:
    """From the start to the first item at ``path``, where all members before it are flat: nearly always."""
    steps = [
        rb'\s*+\{\s*+(?:"(?!%b")[^"\\]*+"\s*+:\s*+%b\s*+,\s*+)*+"%b"\s*+:' % (name, _FLAT_VALUE, name)
        for name in (re.escape(one.encode()) for one in path)
    ]
    return re.compile(b"".join(steps) + rb"\s*+\[\s*+")


def hit_spans(body: bytes, path: Path = HITS) -> list[tuple[int, int]]:
    """(start, end) of each item of the array at ``path``, in Elasticsearch's answers ``hits.hits``.

    :raises Unreadable: not JSON, invalid UTF-8, no such array, or one of several.
    """
    if not body.isascii():
        _check_utf8(body)
    try:
        found = _decoder(path)(body).at.items
    except json_spans.REFUSED:
        return _scan(body, path)
    return _locate(body, found, path)


def _check_utf8(body: bytes) -> None:
    try:
        body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Unreadable(f"not UTF-8 at byte {error.start}") from None


def _locate(body: bytes, values: list[msgspec.Raw], path: Path) -> list[tuple[int, int]]:
    """``values`` are the last array at ``path``; they must also be the first, so that there is one only."""
    flat = _way(path).match(body)
    at = flat.end() if flat else json_spans.opening(body, b"[", _enter(body, _enter(body, 0, path[0]), path[1]))
    spans = json_spans.place(body, at, values)
    end = json_spans.closing(body, spans[-1][1] if spans else at)
    if body[end : end + 1] != b"]":
        raise Unreadable("more hits than were counted: a repeated key?")
    _check_tail(body[end + 1 :], path)
    return spans


def _enter(body: bytes, at: int, name: str) -> int:
    """The start of the value of the first member ``name`` of the object at ``at``."""
    place: int | None = json_spans.opening(body, b"{", at)
    while place is not None and (found := json_spans.name(body, place)):
        if found[0] == name:
            return found[1]
        flat = _FLAT.match(body, found[1])
        place = json_spans.after_comma(body, flat.end() if flat else json_spans.skip(body, found[1]))
    raise Unreadable(f"no {name}")


def _check_tail(tail: bytes, path: Path) -> None:
    """No second array at ``path`` after the first one."""
    try:
        top = _TAIL(_MARKED + tail)
        inner = _TAIL(bytes(top[_MARK]))
    except json_spans.REFUSED as error:
        raise Unreadable(f"not JSON after the hits: {error}") from None
    if path[0] in top or path[1] in inner:
        raise Unreadable(f"repeated key: {'.'.join(path)}")


def _scan(body: bytes, path: Path = HITS) -> list[tuple[int, int]]:
    """The slow way, for what msgspec refuses (lone surrogates, 3,000 levels) and for saying what is wrong."""
    start, end = _only(json_spans.scan_members(body), 0, path[0])
    start, end = _only(json_spans.members(body[start:end]), start, path[1])
    return [(start + s, start + e) for s, e in json_spans.items(body[start:end])]


def _only(found: list[Member], offset: int, name: str) -> tuple[int, int]:
    spans = [(offset + member.start, offset + member.end) for member in found if member.key == name]
    if len(spans) != 1:
        raise Unreadable(f"{len(spans)} members called {name}")
    return spans[0]


@dataclass(frozen=True, slots=True)
class _Frame:
    """What stands around the items of an array."""

    before: bytes
    lead: bytes
    separator: bytes
    trail: bytes
    after: bytes


def _frame(body: bytes, spans: Sequence[tuple[int, int]]) -> _Frame:
    first, last = spans[0][0], spans[-1][1]
    open_ = body.rindex(b"[", 0, first) + 1
    close = json_spans.closing(body, last)
    separator = body[spans[0][1] : spans[1][0]] if len(spans) > 1 else b"," + body[open_:first]
    return _Frame(body[:open_], body[open_:first], separator, body[last:close], body[close:])


def join(
    body: bytes,
    spans: Sequence[tuple[int, int]],
    order: Sequence[int],
    change: Callable[[bytes], bytes] | None = None,
    blank: bytes = b" ",
) -> bytes:
    """``body`` with its array holding the items ``order`` and nothing else, each passed through ``change``.

    The first separator stands between all of them. An array that becomes empty is ``[]``, or ``[ ]`` where the answer
    is pretty, as Elasticsearch prints one; ``blank``: what others have there.
    """
    if not spans or (change is None and list(order) == list(range(len(spans)))):
        return body
    frame = _frame(body, spans)
    if not order:
        return frame.before + (blank if frame.lead else b"") + frame.after
    picked = [body[spans[i][0] : spans[i][1]] for i in order]
    middle = frame.separator.join(map(change, picked) if change else picked)
    return b"".join((frame.before, frame.lead, middle, frame.trail, frame.after))


def without_member(text: bytes, key: str) -> bytes:
    """The object ``text`` without its members ``key`` and their commas."""
    if (pieces := json_spans.pieces(text)) is not None:
        pieces.pop(key, None)
        return json_spans.together(pieces)
    every = json_spans.members(text)
    return keep_members(text, every, [(one, text[one.start : one.end]) for one in every if one.key != key])


def keep_members(
    text: bytes,
    every: Sequence[Member],
    kept: Sequence[tuple[Member, bytes]],
    compact: bool = False,
    blank: bytes = b" ",
) -> bytes:
    """The object ``text``, whose members are ``every``, with only those ``kept``, each with the value given.

    :param compact: without white space, as Elasticsearch writes what it has filtered; otherwise it stays as it was.
    """
    if compact or not every:
        return b"{" + b",".join(_key(text, member) + b":" + value for member, value in kept) + b"}"
    open_, close = every[0].at, json_spans.closing(text, every[-1].end)
    lead = text[text.index(b"{") + 1 : open_]
    if not kept:
        return b"{" + (blank if lead else b"") + b"}"
    separator = text[every[0].end : every[1].at] if len(every) > 1 else b","
    parts = [text[member.at : member.start] + value for member, value in kept]
    return b"".join((text[:open_], separator.join(parts), text[every[-1].end : close], text[close:]))


def _key(text: bytes, member: Member) -> bytes:
    return text[member.at : member.start].rstrip(b" \t\r\n:")


def set_spans(text: bytes, spans: Sequence[tuple[int, int]], values: Sequence[bytes]) -> bytes:
    """``text`` with ``values`` at ``spans``, which come in their order."""
    pieces, at = [], 0
    for (start, end), value in zip(spans, values, strict=True):
        pieces += [text[at:start], value]
        at = end
    return b"".join([*pieces, text[at:]])


def set_members(text: bytes, values: Mapping[str, bytes], found: Sequence[Member] | None = None) -> bytes:
    """The object ``text`` with members set: in their place where they are there, else at its start.

    :param found: its members, where they are known.
    """
    found = json_spans.members(text) if found is None else found
    there = {member.key for member in found}
    for member in reversed(found):
        if member.key in values:
            text = text[: member.start] + values[member.key] + text[member.end :]
    new = [b'"' + key.encode() + b'":' + value for key, value in values.items() if key not in there]
    open_ = text.index(b"{") + 1
    return text[:open_] + b",".join(new) + (b"," if new and found else b"") + text[open_:]


def set_params(target: str, values: Mapping[str, str | None]) -> str:
    """The request target with query parameters set: in their place, else at the end; None takes one out."""
    path, _, query = target.partition("?")
    out, placed = [], set()
    for pair in query.split("&") if query else []:
        name = unquote_plus(pair.partition("=")[0])
        if pair and name in values:
            placed.add(name)
            pair = _pair(name, values[name])
            if not pair:
                continue
        out.append(pair)
    new = [_pair(name, value) for name, value in values.items() if value is not None and name not in placed]
    query = "&".join(out + new if out != [""] else new)
    return path + ("?" + query if query else "")


def _pair(name: str, value: str | None) -> str:
    return "" if value is None else f"{quote(name, safe='')}={quote(value, safe=',*.')}"
