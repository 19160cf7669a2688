"""Finding, reordering and cutting the array of hits in an answer's bytes, and changing members of a request's body.

Law: every byte that is not asked to change is copied. Nothing is encoded anew, so number formats, escapes, key
order, repeated keys and white space come out as upstream wrote them.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import quote, unquote_plus

import msgspec

from . import json_spans
from .base import Unreadable
from .json_spans import Member


class _Inner(msgspec.Struct):
    hits: list[msgspec.Raw]


class _Outer(msgspec.Struct):
    hits: _Inner


# One value that holds no more than one level. Only for text that msgspec has read already: it is not strict.
_FLAT_VALUE = rb'(?:\{(?:[^"{}\[\]\\]++|"[^"\\]*+")*+\}|"[^"\\]*+"|[^"{}\[\]\\,\s]++)'
_FLAT = re.compile(_FLAT_VALUE + rb"(?=\s*+[,}])")
# From an object's brace to the value of its first member "hits", where those before it are flat: nearly always.
_TO_HITS = rb'\s*+\{\s*+(?:"(?!hits")[^"\\]*+"\s*+:\s*+' + _FLAT_VALUE + rb'\s*+,\s*+)*+"hits"\s*+:'
_TO_ARRAY = re.compile(_TO_HITS + _TO_HITS + rb"\s*+\[\s*+")
_DECODE: Callable[[bytes], _Outer] = msgspec.json.Decoder(_Outer).decode
_TAIL: Callable[[bytes], dict[str, msgspec.Raw]] = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_MARK = secrets.token_hex(8)  # stands for what came before the tail; no answer can have such a key
_MARKED = f'{{"{_MARK}":{{"{_MARK}":0'.encode()


def hit_spans(body: bytes) -> list[tuple[int, int]]:
    """(start, end) of each item of ``hits.hits``.

    :raises Unreadable: not JSON, invalid UTF-8, no such array, or one of several.
    """
    if not body.isascii():
        _check_utf8(body)
    try:
        found = _DECODE(body).hits.hits
    except json_spans.REFUSED:
        return _scan(body)
    return _locate(body, found)


def _check_utf8(body: bytes) -> None:
    try:
        body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Unreadable(f"not UTF-8 at byte {error.start}") from None


def _locate(body: bytes, values: list[msgspec.Raw]) -> list[tuple[int, int]]:
    """``values`` are the last ``hits.hits``; they must also be the first, so that there is one only."""
    flat = _TO_ARRAY.match(body)
    at = flat.end() if flat else json_spans.opening(body, b"[", _enter(body, _enter(body, 0)))
    spans = json_spans.place(body, at, values)
    end = json_spans.closing(body, spans[-1][1] if spans else at)
    if body[end : end + 1] != b"]":
        raise Unreadable("more hits than were counted: a repeated key?")
    _check_tail(body[end + 1 :])
    return spans


def _enter(body: bytes, at: int) -> int:
    """The start of the value of the first member ``hits`` of the object at ``at``."""
    place: int | None = json_spans.opening(body, b"{", at)
    while place is not None and (found := json_spans.name(body, place)):
        if found[0] == "hits":
            return found[1]
        flat = _FLAT.match(body, found[1])
        place = json_spans.after_comma(body, flat.end() if flat else json_spans.skip(body, found[1]))
    raise Unreadable("no hits")


def _check_tail(tail: bytes) -> None:
    """No second ``hits`` after the array, in either object."""
    try:
        top = _TAIL(_MARKED + tail)
        inner = _TAIL(bytes(top[_MARK]))
    except json_spans.REFUSED as error:
        raise Unreadable(f"not JSON after the hits: {error}") from None
    if "hits" in top or "hits" in inner:
        raise Unreadable("repeated key: hits")


def _scan(body: bytes) -> list[tuple[int, int]]:
    """The slow way, for what msgspec refuses (lone surrogates, 3,000 levels) and for saying what is wrong."""
    start, end = _only(json_spans.scan_members(body), 0)
    start, end = _only(json_spans.members(body[start:end]), start)
    return [(start + s, start + e) for s, e in json_spans.items(body[start:end])]


def _only(found: list[Member], offset: int) -> tuple[int, int]:
    spans = [(offset + member.start, offset + member.end) for member in found if member.key == "hits"]
    if len(spans) != 1:
        raise Unreadable(f"{len(spans)} members called hits")
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
) -> bytes:
    """``body`` with its array holding the items ``order`` and nothing else, each passed through ``change``.

    The first separator stands between all of them. An array that becomes empty is ``[]``, or ``[ ]`` where the answer
    is pretty, as Elasticsearch prints one.
    """
    if not spans or (change is None and list(order) == list(range(len(spans)))):
        return body
    frame = _frame(body, spans)
    if not order:
        return frame.before + (b" " if frame.lead else b"") + frame.after
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
    text: bytes, every: Sequence[Member], kept: Sequence[tuple[Member, bytes]], compact: bool = False
) -> bytes:
    """The object ``text``, whose members are ``every``, with only those ``kept``, each with the value given.

    :param compact: without white space, as Elasticsearch writes what it has filtered; otherwise it stays as it was.
    """
    if compact or not every:
        return b"{" + b",".join(_key(text, member) + b":" + value for member, value in kept) + b"}"
    open_, close = every[0].at, json_spans.closing(text, every[-1].end)
    lead = text[text.index(b"{") + 1 : open_]
    if not kept:
        return b"{ }" if lead else b"{}"
    separator = text[every[0].end : every[1].at] if len(every) > 1 else b","
    parts = [text[member.at : member.start] + value for member, value in kept]
    return b"".join((text[:open_], separator.join(parts), text[every[-1].end : close], text[close:]))


def _key(text: bytes, member: Member) -> bytes:
    return text[member.at : member.start].rstrip(b" \t\r\n:")


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
