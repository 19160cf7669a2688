"""``_msearch``: several searches in one request of newline-delimited JSON, a header and a body each.

Lines end with ``\\n``; the last one too, or Elasticsearch refuses the request. A header may be blank. Elasticsearch 7
also lets the whole begin with a blank line, which is told from a blank header by the number of lines.

https://www.elastic.co/docs/api/doc/elasticsearch/operation/operation-msearch
https://www.elastic.co/docs/api/doc/elasticsearch/operation/operation-msearch-template
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import accumulate, pairwise
from typing import Any
from urllib.parse import quote

import msgspec

from ..messages import Request
from . import json_spans, search_request
from .base import Part, Unreadable
from .search_request import Malformed

# What a search of its own would have in its URL; the others are about the request as a whole.
_SHARED = ("pretty", "typed_keys", "rest_total_hits_as_int", "search_type")


class _Item(msgspec.Struct, gc=False):
    status: Any = None


_ITEM = msgspec.json.Decoder(_Item).decode


def parts(request: Request, *, templates: bool) -> tuple[Part, ...] | str:
    """The searches of an ``_msearch``, or why all of it is left alone.

    :param templates: it is an ``_msearch/template``.
    """
    asked = search_request.Asked(request)
    for word, applies in (("format", search_request.other_format), ("filter-path", _hidden)):
        if applies(asked):
            return word
    try:
        return tuple(_parts(asked, "_search/template" if templates else "_search"))
    except Malformed:
        return "malformed"


def _hidden(asked: search_request.Asked) -> bool:
    return search_request.hidden(asked, above=("responses",), whole=True)


def _parts(asked: search_request.Asked, route: str) -> Iterator[Part]:
    body, path_index = asked.request.body, search_request.index_of(asked.request.target)
    shared = "&".join(f"{name}={quote(asked.params[name])}" for name in _SHARED if name in asked.params)
    shared = "?" + shared if shared else ""
    lines = _lines(body)
    if not lines:
        raise Malformed("no search")
    for (start, end), (begin, stop) in zip(lines[::2], lines[1::2], strict=True):
        header = search_request.parse(body[start:end]) if body[start:end].strip() else {}
        search_request.parse(body[begin:stop])
        named = _index(header)
        index = path_index if named is None else named
        target = "".join((f"/{quote(named, safe='*,-+<>:') if named else index}" if index else "", "/", route, shared))
        search = Request("POST", target, asked.request.headers, body[begin:stop])
        yield Part(search, (begin, stop), (start, stop + 1), index)


def _lines(body: bytes) -> list[tuple[int, int]]:
    """The spans of the lines, an even number of them."""
    ends = list(accumulate((len(line) + 1 for line in body.split(b"\n")[:-1]), initial=0))
    lines = [(start, end - 1) for start, end in pairwise(ends)]
    if len(lines) % 2 and lines[0] == (0, 0):
        lines = lines[1:]
    if body[-1:] != b"\n" or len(lines) % 2:
        raise Malformed("a line without its end, or a header without a body")
    return lines


def _index(header: dict[str, Any]) -> str | None:
    """The index expression of a header: ``index`` (or ``indices``), a text or a list of them."""
    named = header.get("index", header.get("indices"))
    if isinstance(named, list) and all(isinstance(name, str) for name in named):
        named = ",".join(named)
    return named if isinstance(named, str) and named else None


def part_spans(body: bytes) -> Sequence[tuple[int, int]]:
    """(start, end) of each item of ``responses``.

    :raises Unreadable: not JSON, no such array, or one of several.
    """
    found = [member for member in json_spans.members(body) if member.key == "responses"]
    if len(found) != 1:
        raise Unreadable(f"{len(found)} members called responses")
    start, end = found[0].start, found[0].end
    return [(start + s, start + e) for s, e in json_spans.items(body[start:end])]


def part_status(answer: bytes) -> int | None:
    """The ``status`` of an item of ``responses``."""
    try:
        status = _ITEM(answer).status
    except json_spans.REFUSED:
        return None
    return status if type(status) is int else None
