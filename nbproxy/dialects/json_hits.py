"""The hits of an answer, by JSONPath: where their bytes lie, and the id, score and text of each."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import msgspec

from ..ranking import Hit, Search
from ..settings import FieldsSetting
from . import hit_text, json_paths, json_spans, search_request
from .base import Unreadable
from .json_paths import Path

Spans = list[tuple[int, int]]

_DECODE: Callable[[bytes], Any] = msgspec.json.Decoder().decode


@dataclass(frozen=True, slots=True)
class Reading:
    """What is read of an answer, all JSONPaths; several stand for alternatives, the first that is there counts.

    :ivar hits: to the array of hits.
    :ivar empty: to what is there where an answer without hits has no array.
    :ivar source: in a hit: to its document.
    :ivar beside: patterns of members of the document's object that are not the document's.
    """

    hits: tuple[Path, ...]
    empty: tuple[Path, ...]
    id: tuple[Path, ...]
    score: tuple[Path, ...]
    index: tuple[Path, ...]
    text: tuple[Path, ...]
    source: Path
    beside: tuple[str, ...]


def spans(body: bytes, reading: Reading) -> Spans:
    """(start, end) of each hit.

    :raises Unreadable: not JSON, not UTF-8, no array of objects, several, or a repeated key on the way.
    """
    if not body.isascii():
        _check_utf8(body)
    for path in reading.hits:
        found = _array(body, path)
        if found is not None:
            return _objects(body, found)
    if any(_spans_at(body, path) for path in reading.empty):
        return []
    raise Unreadable(f"no array at {' or '.join(path.text for path in reading.hits)}")


def items_at(body: bytes, path: Path) -> Spans | None:
    """(start, end) of each item of the array at ``path``; None: there is none.

    :raises Unreadable: not JSON, or a repeated key on the way.
    """
    if not body.isascii():
        _check_utf8(body)
    found = _array(body, path)
    if found is None:
        return None
    return [(found[0] + start, found[0] + end) for start, end in json_spans.items(body[found[0] : found[1]])]


def _check_utf8(body: bytes) -> None:
    try:
        body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Unreadable(f"not UTF-8 at byte {error.start}") from None


def _array(body: bytes, path: Path) -> tuple[int, int] | None:
    found = [(start, end) for start, end in _spans_at(body, path) if body[start : start + 1] == b"["]
    if len(found) > 1:
        raise Unreadable(f"{len(found)} arrays at {path.text}")
    return found[0] if found else None


def _spans_at(body: bytes, path: Path) -> Spans:
    every = [path.parts] if path.parts is not None else path.places(_decoded(body))
    return [span for parts in every if (span := json_paths.locate(body, parts)) is not None]


def _decoded(body: bytes) -> Any:
    try:
        return _DECODE(body)
    except json_spans.REFUSED:
        pass
    try:
        return search_request.lenient(body)
    except (ValueError, RecursionError) as error:
        raise Unreadable(f"not JSON: {error}") from None


def _objects(body: bytes, array: tuple[int, int]) -> Spans:
    start, end = array
    found = [(start + first, start + last) for first, last in json_spans.items(body[start:end])]
    if any(body[first : first + 1] != b"{" for first, _ in found):
        raise Unreadable("a hit that is no object")
    if found or body[start + 1 : end - 1].strip():
        json_spans.closing(body, found[-1][1] if found else start + 1)
    return found


def read(
    body: bytes, found: Spans, reading: Reading, search: Search, fields: FieldsSetting, offset: int
) -> tuple[Hit, ...]:
    """The hits whose bytes lie at ``found``, the first of them ``offset``'s.

    :raises RerankFault: a callable ``fields`` failed.
    """
    values = list(_each(body, found))
    hits = [
        _hit(body[start:end], value, reading, search, offset + i + 1)
        for i, ((start, end), value) in enumerate(zip(found, values, strict=True))
    ]
    if callable(fields):
        return tuple(replace(hit, text=hit_text.called(fields, hit)) for hit in hits)
    texts = _texts(values, hits, reading, search, fields)
    return tuple(replace(hit, text=text) for hit, text in zip(hits, texts, strict=True))


def _each(body: bytes, found: Spans) -> Iterator[Any]:
    for start, end in found:
        text = body[start:end]
        try:
            yield _DECODE(text)
        except json_spans.REFUSED:  # lone surrogates, integers of 5,000 digits, 3,000 levels
            yield lenient(text)


def lenient(text: bytes) -> Any:
    """What can be decoded of an object; members that cannot are left out."""
    return dict(_decodable(text))


def _decodable(text: bytes, level: int = 0) -> Iterator[tuple[str, Any]]:
    for member in json_spans.scan_members(text):
        value = text[member.start : member.end]
        try:
            yield member.key, search_request.lenient(value)
        except RecursionError:
            if level < 2 and value[:1] == b"{":
                yield member.key, dict(_decodable(value, level + 1))


def _hit(text: bytes, value: Any, reading: Reading, search: Search, rank: int) -> Hit:
    return Hit(
        index=_name(text, value, reading.index) or search.index,
        doc_id=_name(text, value, reading.id),
        rank=rank,
        score=_score(value, reading.score),
        source=_document(value, reading),
    )


def _name(text: bytes, value: Any, paths: Iterable[Path]) -> str | None:
    """A text, or a number as written."""
    for path in paths:
        for parts in path.places(value):
            found = json_paths.dig(value, parts)
            if isinstance(found, str):
                return found
            if isinstance(found, int | float) and not isinstance(found, bool):
                return str(found) if type(found) is int and 0 < found < 2**63 else _written(text, parts)
    return None


def _written(text: bytes, parts: Sequence[str | int]) -> str | None:
    try:
        span = json_paths.locate(text, parts)
    except Unreadable:
        return None
    return text[span[0] : span[1]].decode("ascii", "replace") if span else None


def _score(value: Any, paths: Iterable[Path]) -> float | None:
    for path in paths:
        for found in path.values(value):
            if type(found) is float or (type(found) is int and abs(found) < 2**63):
                return float(found)
    return None


def _document(value: Any, reading: Reading) -> Any:
    """The document in a hit, without what stands beside it."""
    found = next(iter(reading.source.values(value)), None)
    if not reading.beside or not isinstance(found, dict):
        return found
    pattern = _pattern(reading.beside)
    return {key: one for key, one in found.items() if not pattern.fullmatch(key)}


@lru_cache(maxsize=64)
def _pattern(names: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile("|".join(re.escape(name).replace(r"\*", ".*") for name in names), re.S)


def _texts(
    values: Sequence[Any], hits: Sequence[Hit], reading: Reading, search: Search, fields: FieldsSetting
) -> list[str | None]:
    if fields is not None:
        return hit_text.texts([hit.source for hit in hits], fields, search.fields)
    if reading.text:
        return [_joined(value, reading.text) for value in values]
    return hit_text.texts([_without_id(hit, reading) for hit in hits], None, search.fields)


def _joined(value: Any, paths: Iterable[Path]) -> str | None:
    found = [text for path in paths for one in path.values(value) for text in hit_text.leaves(one, hit_text.scalar)]
    return "\n".join(found) or None


def _without_id(hit: Hit, reading: Reading) -> Any:
    """A document's id is no text to read."""
    if not isinstance(hit.source, dict) or hit.doc_id is None:
        return hit.source
    depth = len(reading.source.parts or ())
    inside = {path.parts[-1] for path in reading.id if path.parts and len(path.parts) == depth + 1}
    return {key: one for key, one in hit.source.items() if not (key in inside and one == hit.doc_id)}
