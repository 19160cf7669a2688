"""Where the values of a JSON text lie, without making anything of them.

Laws: a span is exact (``text[start:end]`` is the value, no white space around it), every repeated key is
reported, nothing recurses, and what is not JSON (RFC 8259, UTF-8 aside) raises ``Unreadable``.

``msgspec`` walks a text some fifty times faster than a regular expression, but keeps only the last of two equal
keys and refuses lone surrogates and deep nesting. So it is asked first, for the length of each value; a walk over
the keys then checks that the values stand where they should, and wherever the two disagree the strict scanner decides.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

import msgspec

from .base import Unreadable

MAX_DEPTH = 10_000  # Elasticsearch's own parser stops at 1,000; more than this is an attack, not an answer

_WS = rb"[ \t\r\n]*+"
_STRING = rb'"[^"\\\x00-\x1f]*+(?:\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})[^"\\\x00-\x1f]*+)*+"'
_SCALAR = rb"(?P<scalar>" + _STRING + rb"|-?(?:0|[1-9][0-9]*+)(?:\.[0-9]++)?(?:[eE][+-]?[0-9]++)?|true|false|null)"
_OPEN = rb"|(?P<array>\[)|(?P<object>\{)"
_KEY = rb"(?P<key>" + _STRING + rb")" + _WS + rb":"

_OPENING = re.compile(_WS + rb"([\[{])" + _WS)
_NAME = re.compile(rb"(" + _STRING + rb")" + _WS + rb":" + _WS)
_COMMA = re.compile(_WS + rb"," + _WS)
_CLOSING = re.compile(_WS + rb"[\]}]")
BLANK = re.compile(_WS)

# What may come next, by what came before. The named group that matched picks the next row.
_VALUE = re.compile(_WS + rb"(?:" + _SCALAR + _OPEN + rb")")
_FIRST_ITEM = re.compile(_WS + rb"(?:" + _SCALAR + _OPEN + rb"|(?P<close>\]))")
_FIRST_KEY = re.compile(_WS + rb"(?:" + _KEY + rb"|(?P<close>\}))")
_NEXT_KEY = re.compile(_WS + _KEY)
_AFTER_ITEM = re.compile(_WS + rb"(?:(?P<item>,)|(?P<close>\]))")
_AFTER_MEMBER = re.compile(_WS + rb"(?:(?P<member>,)|(?P<close>\}))")
_NEXT = {"array": _FIRST_ITEM, "object": _FIRST_KEY, "key": _VALUE, "item": _VALUE, "member": _NEXT_KEY}

_OBJECT: Callable[[bytes], dict[str, msgspec.Raw]] = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_ARRAY: Callable[[bytes], list[msgspec.Raw]] = msgspec.json.Decoder(list[msgspec.Raw]).decode
REFUSED = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


class Member(NamedTuple):
    """One member of an object: its key decoded, where the key starts, where the value lies."""

    key: str
    at: int
    start: int
    end: int


def skip(text: bytes, at: int) -> int:
    """Where the value ends that starts at ``at`` (white space before it allowed). Strict, slow, never recursive."""
    nesting: list[re.Pattern[bytes]] = []
    expected = _VALUE
    while found := expected.match(text, at):
        at = found.end()
        kind = found.lastgroup or ""
        if kind in ("array", "object"):
            nesting.append(_AFTER_ITEM if kind == "array" else _AFTER_MEMBER)
        elif kind == "close":
            nesting.pop()
        if kind in ("scalar", "close") and not nesting:
            return at
        if len(nesting) > MAX_DEPTH:
            raise Unreadable(f"nested more than {MAX_DEPTH} deep")
        expected = _NEXT.get(kind) or nesting[-1]
    raise Unreadable(f"not JSON at byte {at}")


def opening(text: bytes, kind: bytes, at: int = 0) -> int:
    """The place after the bracket ``kind`` and the white space that follows it."""
    found = _OPENING.match(text, at)
    if found is None or found[1] != kind:
        raise Unreadable(f"no {kind.decode()} at byte {at}")
    return found.end()


def name(text: bytes, at: int) -> tuple[str, int] | None:
    """The key at ``at`` and the start of its value; None: there is no key."""
    found = _NAME.match(text, at)
    return (decode_string(found[1]), found.end()) if found else None


def decode_string(literal: bytes) -> str:
    """A string literal's value; escapes of lone surrogates are kept as such."""
    if b"\\" not in literal:
        return literal[1:-1].decode("utf-8", "surrogateescape")
    return str(json.loads(literal.decode("utf-8", "surrogateescape"), strict=False))


def after_comma(text: bytes, at: int) -> int | None:
    """The place after a comma and its white space; None: there is none here."""
    found = _COMMA.match(text, at)
    return found.end() if found else None


def closing(text: bytes, at: int) -> int:
    """The place of the closing bracket that comes next."""
    found = _CLOSING.match(text, at)
    if found is None:
        raise Unreadable(f"no closing bracket at byte {at}")
    return found.end() - 1


def members(text: bytes) -> list[Member]:
    """The members of the object that ``text`` is, in order, repeated keys included."""
    try:
        values = _OBJECT(text)
    except REFUSED:
        return scan_members(text)
    return _compact(text, values) or _walk(text, values) or scan_members(text)


def pieces(text: bytes) -> dict[str, bytes] | None:
    """Key and value of each member as they stand in the object ``text``; None: it has white space around them, escapes
    in a key, a repeated key, or is no object."""
    try:
        found = _pieces(_OBJECT(text))
    except REFUSED:
        return None
    return found if together(found) == text else None


def together(found: dict[str, bytes]) -> bytes:
    """The object of these :func:`pieces`."""
    return b"{%b}" % b",".join(found.values())


def _pieces(values: dict[str, msgspec.Raw]) -> dict[str, bytes]:
    return {key: b'"%b":%b' % (key.encode(), value) for key, value in values.items()}


def _compact(text: bytes, values: dict[str, msgspec.Raw]) -> list[Member] | None:
    """The quick way where :func:`pieces` are found: put together again, they are the object."""
    found = _pieces(values)
    if together(found) != text:
        return None
    out, at = [], 1
    for key, piece in found.items():
        end = at + len(piece)
        out.append(Member(key, at, end - len(values[key]), end))
        at = end + 1
    return out


def _walk(text: bytes, values: dict[str, msgspec.Raw]) -> list[Member] | None:
    out: list[Member] = []
    at: int | None = opening(text, b"{")
    while at is not None and (found := name(text, at)):
        value = bytes(values.pop(found[0], b""))
        if not value or not text.startswith(value, found[1]):
            return None
        end = found[1] + len(value)
        out.append(Member(found[0], at, found[1], end))
        at = after_comma(text, end)
    # With every value in its place, anything but the end of the object means a repeated key.
    return out if not values and at is None and _CLOSING.match(text, out[-1].end) else None


def scan_members(text: bytes) -> list[Member]:
    """:func:`members` by the strict scanner."""
    out: list[Member] = []
    at: int | None = opening(text, b"{")
    while at is not None and (found := name(text, at)):
        end = skip(text, found[1])
        out.append(Member(found[0], at, found[1], end))
        at = after_comma(text, end)
    _check_end(text, out[-1].end if out else opening(text, b"{"), at if out else None, b"}")
    return out


def items(text: bytes) -> list[tuple[int, int]]:
    """The spans of the items of the array that ``text`` is."""
    start = opening(text, b"[")
    try:
        values: list[msgspec.Raw] | None = _ARRAY(text)
    except REFUSED:
        values = None
    return _scan_items(text, start) if values is None else place(text, start, values)


def place(text: bytes, at: int, values: Sequence[msgspec.Raw]) -> list[tuple[int, int]]:
    """Where ``values``, the items of an array whose first is at ``at``, lie."""
    lengths = list(map(len, values))
    separator = _separator(text, at + lengths[0]) if lengths else b""
    if text.startswith(separator.join(values), at):  # nearly always: one comparison for all of them
        return _in_steps(at, lengths, len(separator))
    return _one_by_one(text, at, values)


def _separator(text: bytes, at: int) -> bytes:
    found = _COMMA.match(text, at)
    return found[0] if found else b""


def _in_steps(at: int, lengths: list[int], between: int) -> list[tuple[int, int]]:
    out: list[tuple[int, int]] = []
    for length in lengths:
        out.append((at, at + length))
        at += length + between
    return out


def _one_by_one(text: bytes, at: int, values: Sequence[msgspec.Raw]) -> list[tuple[int, int]]:
    out: list[tuple[int, int]] = []
    for value in map(bytes, values):
        if not text.startswith(value, at):
            raise Unreadable(f"another value at byte {at}: a repeated key?")
        end = at + len(value)
        out.append((at, end))
        at = after_comma(text, end) or end
    return out


def _scan_items(text: bytes, at: int) -> list[tuple[int, int]]:
    out: list[tuple[int, int]] = []
    place_: int | None = at
    while place_ is not None and text[place_ : place_ + 1] not in (b"]", b""):
        out.append((place_, skip(text, place_)))
        place_ = after_comma(text, out[-1][1])
    _check_end(text, out[-1][1] if out else at, place_ if out else None, b"]")
    return out


def _check_end(text: bytes, end: int, dangling: int | None, bracket: bytes) -> None:
    """After the last member or item: its bracket, nothing else."""
    found = _CLOSING.match(text, end)
    close = found.end() if found and found[0].endswith(bracket) else None
    if dangling is not None or close is None or BLANK.fullmatch(text, close) is None:
        raise Unreadable(f"not JSON at byte {end}")
