"""Asking upstream for more: the window, and the source that the model reads. Nothing else of a request changes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from ..messages import Request
from ..ranking import Search
from ..settings import FieldsSetting
from . import hit_text, json_spans, search_request, source_filter, splice
from .base import Widened
from .filter_path import FilterPath
from .source_filter import SourceFilter, Undo


class Edits:
    """What is to be set in a request: each thing where the client has it, else in the body, else in the URL."""

    def __init__(self, request: Request) -> None:
        self.request = request
        self.params = request.params
        self.text, self.place = search_request.body_of(request)
        self.members = json_spans.members(self.text) if self.place else []
        self.in_url: dict[str, str | None] = {}
        self.in_body: dict[str, bytes] = {}

    def has(self, key: str) -> bool:
        return key in self.params or any(member.key == key for member in self.members)

    def value(self, key: str) -> Any:
        """A member of the body, decoded."""
        found = (self.text[member.start : member.end] for member in self.members if member.key == key)
        return json.loads(next(found))

    def body(self, *keys: str) -> dict[str, Any]:
        """Some members of the body."""
        there = {member.key for member in self.members}
        return {key: self.value(key) for key in keys if key in there}

    def set(self, key: str, url: str, body: bytes) -> None:
        if key in self.params or self.place is None:
            self.in_url[key] = url
        else:
            self.in_body[key] = body

    def done(self) -> Request:
        """The request with the edits in it; the very same one where there are none."""
        text = splice.set_members(self.text, self.in_body, self.members) if self.in_body else self.text
        if self.in_body and self.place == "source":
            self.in_url["source"] = text.decode("utf-8", "surrogatepass")
        target = splice.set_params(self.request.target, self.in_url) if self.in_url else None
        body = text if self.in_body and self.place == "body" else None
        return self.request if target is None and body is None else self.request.replace(target=target, body=body)


def widen(request: Request, search: Search, depth: int, fields: FieldsSetting = None, *, shown: bool = True) -> Widened:
    """The first ``max(depth, offset + size)`` hits from 0, with what the model reads of their source.

    :param request: one that ``read_search`` made ``search`` of.
    :param shown: whether what the client sees of the source may be changed.
    :raises ConfigError: ``fields`` is a format that cannot be read.
    """
    edits = Edits(request)
    _window(edits, search, max(depth, search.offset + search.size))
    undo = _source(edits, search, fields) if shown else None
    return Widened(edits.done(), undo)


def _window(edits: Edits, search: Search, size: int) -> None:
    if search.offset:
        edits.set("from", "0", b"0")
    if size != search.size:
        edits.set("size", str(size), b"%d" % size)


def _source(edits: Edits, search: Search, fields: FieldsSetting) -> Undo | None:
    seen = source_filter.from_request(edits.params, edits.body("_source", "stored_fields"))
    path_hides = _ask_past_filter_path(edits)
    stored = source_filter.stored_fields(edits.params, edits.body("stored_fields"))
    if not seen.show and "_none_" in (stored or ()):
        return None  # upstream refuses both together; the text comes from what else a hit shows
    wanted = source_filter.widened(seen, hit_text.names_of(fields), search.fields, callable(fields))
    if wanted is not None:
        _ask(edits, seen, wanted)
    if path_hides:
        seen = SourceFilter(show=False)
    return Undo(seen, _pretty(edits.params)) if wanted is not None or path_hides else None


def _ask(edits: Edits, seen: SourceFilter, wanted: SourceFilter) -> None:
    if seen.where == "url" or edits.place is None:
        edits.in_url.update(source_filter.to_params(wanted))
    else:
        edits.in_body["_source"] = source_filter.to_json(wanted)


def _ask_past_filter_path(edits: Edits) -> bool:
    """A ``filter_path`` that leaves the source out is given it back; whether that was so."""
    asked = edits.params.get("filter_path", "")
    if not asked or FilterPath(asked).verdict() == "whole":
        return False
    edits.in_url["filter_path"] = asked + ",hits.hits._source"
    return True


def _pretty(params: Mapping[str, str]) -> bool:
    return params.get("pretty", "false") in ("", "true")
