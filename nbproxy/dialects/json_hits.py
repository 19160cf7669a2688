"""The hits of an answer, by JSONPath: where their bytes lie, and the id, score and text of each."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeVar, cast

import msgspec

from ..ranking import Hit, Search
from ..settings import FieldsSetting
from . import hit_text, json_paths, json_spans, search_request
from .base import Unreadable
from .json_paths import Path

T = TypeVar("T")
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
    values = _values(body, found)
    ids, documents = _names(body, found, values, reading.id), _documents(values, reading)
    indices, scores = _names(body, found, values, reading.index), _column(values, reading.score, _score)
    texts = [None] * len(values) if callable(fields) else _texts(values, ids, documents, reading, search, fields)
    hits = tuple(
        Hit(index or search.index, doc_id, rank, score, text, source)
        for rank, (index, doc_id, score, text, source) in enumerate(
            zip(indices, ids, scores, texts, documents, strict=True), offset + 1
        )
    )
    return (
        tuple(msgspec.structs.replace(hit, text=hit_text.called(fields, hit)) for hit in hits)
        if callable(fields)
        else hits
    )


def _values(body: bytes, found: Spans) -> list[Any]:
    """All hits decoded in one go; where one of them cannot be so, one by one."""
    if not found:
        return []
    try:
        return cast("list[Any]", _DECODE(b"[%b]" % body[found[0][0] : found[-1][1]]))
    except json_spans.REFUSED:
        return [_value(body[start:end]) for start, end in found]


def _value(text: bytes) -> Any:
    try:
        return _DECODE(text)
    except json_spans.REFUSED:  # lone surrogates, integers of 5,000 digits, 3,000 levels
        return lenient(text)


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


def _column(values: Sequence[Any], paths: Sequence[Path], take: Callable[[Any], T | None]) -> list[T | None]:
    """What ``take`` makes of what lies at the first of ``paths`` where it makes something, for each value."""
    out: list[T | None] = [None] * len(values)
    for path in paths:
        if None not in out:
            break
        out = [take(one) if had is None else had for had, one in zip(out, path.firsts(values), strict=True)]
    return out


def _score(value: Any) -> float | None:
    return float(value) if type(value) is float or (type(value) is int and abs(value) < 2**63) else None


def _name(value: Any) -> str | None:
    """A text, or a number that is written in one way only."""
    if type(value) is str:
        return value
    return str(value) if type(value) is int and 0 < value < 2**63 else None


def _names(body: bytes, found: Spans, values: Sequence[Any], paths: Sequence[Path]) -> list[str | None]:
    """Texts, or numbers as written."""
    out = _column(values, paths, _name)
    for i, (start, end) in enumerate(found):
        if out[i] is None and paths:
            out[i] = _written(body[start:end], values[i], paths)
    return out


def _written(text: bytes, value: Any, paths: Sequence[Path]) -> str | None:
    for parts in (parts for path in paths for parts in path.places(value)):
        found = json_paths.dig(value, parts)
        if isinstance(found, int | float) and not isinstance(found, bool):
            with contextlib.suppress(Unreadable):
                span = json_paths.locate(text, parts)
                return text[span[0] : span[1]].decode("ascii", "replace") if span else None
    return None


def _documents(values: Sequence[Any], reading: Reading) -> list[Any]:
    """The document in each hit, without what stands beside it."""
    found = list(values) if reading.source.parts == () else reading.source.firsts(values)
    if not reading.beside:
        return found
    pattern = _pattern(reading.beside)
    gone = {key for one in found if isinstance(one, dict) for key in one if pattern.fullmatch(key)}
    return [_without(one, gone) for one in found] if gone else found


@lru_cache(maxsize=64)
def _pattern(names: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile("|".join(re.escape(name).replace(r"\*", ".*") for name in names), re.S)


def _without(document: Any, gone: Collection[str | int]) -> Any:
    return {key: one for key, one in document.items() if key not in gone} if isinstance(document, dict) else document


def _texts(
    values: Sequence[Any],
    ids: Sequence[str | None],
    documents: Sequence[Any],
    reading: Reading,
    search: Search,
    fields: FieldsSetting,
) -> list[str | None]:
    if fields is not None:
        return hit_text.texts(documents, fields, search.fields)
    if reading.text:
        return [_joined(value, reading.text) for value in values]
    return hit_text.texts(_without_ids(documents, ids, reading), None, search.fields)


def _joined(value: Any, paths: Iterable[Path]) -> str | None:
    found = [text for path in paths for one in path.values(value) for text in hit_text.leaves(one, hit_text.scalar)]
    return "\n".join(found) or None


def _without_ids(documents: Sequence[Any], ids: Sequence[str | None], reading: Reading) -> Sequence[Any]:
    """A document's id is no text to read, where it is one."""
    depth = len(reading.source.parts or ())
    for name in [path.parts[-1] for path in reading.id if path.parts and len(path.parts) == depth + 1]:
        documents = [
            _without(one, (name,)) if doc_id is not None and isinstance(one, dict) and one.get(name) == doc_id else one
            for one, doc_id in zip(documents, ids, strict=True)
        ]
    return documents
