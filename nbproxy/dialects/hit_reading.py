"""Hits that cannot be decoded at once, and texts that the user's own code reads."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from ..errors import RerankFault
from ..ranking import Hit
from . import json_spans, search_request


def lenient(text: bytes) -> dict[str, Any]:
    """What can be decoded of an object; members that cannot are left out."""
    return dict(_decodable(text))


def _decodable(text: bytes, level: int = 0) -> Iterator[tuple[str, Any]]:
    for member in json_spans.scan_members(text):
        value = text[member.start : member.end]
        try:
            yield member.key, search_request.lenient(value)
        except RecursionError:
            if level < 2 and value[:1] == b"{":  # the hit's own members, and those of its source
                yield member.key, dict(_decodable(value, level + 1))


def by(read: Callable[[Hit], str | None], hits: Sequence[Hit]) -> list[Hit]:
    """Hits with the texts that ``read`` gives for them.

    :raises RerankFault: it raised, or gave something that is no text.
    """
    return [Hit(hit.index, hit.doc_id, hit.rank, hit.score, called(read, hit), hit.source) for hit in hits]


def called(read: Callable[[Hit], str | None], hit: Hit) -> str | None:
    """The text of one hit; a blank one is none."""
    try:
        text = read(hit)
    except Exception as error:
        raise RerankFault(f"fields={read!r} failed on {hit!r}: {error!r}") from error
    if text is not None and not isinstance(text, str):
        raise RerankFault(f"fields={read!r} gave {type(text).__name__} for {hit!r}, not a text or None")
    return text if text and not text.isspace() else None
