"""Asking Solr for more, and taking out of its answer again what only the wider request put there.

The window is set where the client has it. A JSON request's is set by ``json.limit`` and ``json.offset`` in the URL,
which count before what the body says, so that a body is never edited. Fields are asked for by one more ``fl``.

In the answer, ``response.start`` and what ``responseHeader.params`` echoes are the client's own again, and
``highlighting``, whose keys are ids, holds the client's page and nothing else.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from urllib.parse import quote

from ..ranking import Search
from ..settings import FieldsSetting
from . import hit_text, json_spans, solr_fields, splice
from .base import Unreadable, Widened
from .json_spans import Member
from .solr_fields import FieldList
from .solr_request import MAX_INT, Asked

Edit = Callable[[bytes], bytes]


@dataclass(frozen=True, slots=True)
class Undo:
    """What was asked for beyond the client's own request.

    :ivar shown: what the client sees of a document; None: it sees all that is there.
    :ivar start: the client's offset; None: it was not changed.
    :ivar echo: what is echoed of these parameters; nothing: they are not the client's.
    :ivar field: the ``fl`` that was added to others, which are echoed with what the configuration adds.
    """

    shown: FieldList | None = None
    start: int | None = None
    echo: tuple[tuple[str, tuple[str, ...]], ...] = ()
    field: str | None = None

    def strip(self, document: bytes) -> bytes:
        return document if self.shown is None else solr_fields.strip(document, self.shown)

    # -- the parts of an answer

    def header(self, text: bytes) -> bytes:
        """``responseHeader``."""
        return _edited(text, {"params": self._echoed}) if self.echo or self.field is not None else text

    def response(self, text: bytes) -> bytes:
        """``response``."""
        return text if self.start is None else _edited(text, {"start": lambda _: b"%d" % (self.start or 0)})

    def _echoed(self, text: bytes) -> bytes:
        if text[:1] != b"{":
            return text
        wanted = dict(self.echo)
        every = json_spans.members(text)
        kept: list[tuple[Member, bytes]] = []
        for one in every:
            value = self._value(one.key, text[one.start : one.end], wanted.get(one.key))
            kept += [] if value is None else [(one, value)]
        return splice.keep_members(text, every, kept, blank=b"")

    def _value(self, name: str, text: bytes, wanted: tuple[str, ...] | None) -> bytes | None:
        if wanted is not None:
            return _of_several(text, wanted) if wanted else None
        if name == "fl" and self.field is not None:
            values = [_string(text[start:end]) for start, end in _items(text)]
            if self.field in values:
                values.remove(self.field)
            return _of_several(text, values) if values else None
        return text


def widen(asked: Asked, search: Search, depth: int, fields: FieldsSetting, doc_id: str) -> Widened:
    """The first ``max(depth, offset + size)`` hits from 0, with what the model reads of them.

    :raises ConfigError: ``fields`` is a format that cannot be read.
    """
    edits = Edits(asked)
    size = min(max(depth, search.offset + search.size), MAX_INT)
    if search.offset:
        edits.window("start", "offset", 0, search.offset)
    if size != search.size:
        edits.window("rows", "limit", size, search.size)
    named = hit_text.names_of(fields)
    missing = solr_fields.missing(asked.fields, doc_id, named, search.fields, callable(fields))
    if missing:
        edits.show(",".join(missing))
    return edits.done(Undo(asked.fields if missing else None, search.offset or None))


class Edits:
    """What is to be set in a request, and what of it will be echoed."""

    def __init__(self, asked: Asked) -> None:
        self._asked = asked
        self._target = asked.request.target
        self._form = asked.request.body.decode("latin-1") if asked.place == "form" else None
        self._all = (asked.get("echoParams") or "").lower() == "all"
        self._echo: dict[str, tuple[str, ...]] = {}
        self._field: str | None = None

    def window(self, name: str, member: str, value: int, was: int) -> None:
        """Set ``name`` (``rows``), or the JSON request's ``member`` (``limit``), or both where both are said."""
        asked = self._asked
        in_json = member in asked.json
        if in_json:
            self._set(f"json.{member}", str(value))
        if name in asked.said or not in_json:
            self._set(name, str(value))
        if self._all:  # what counts is echoed, wherever it was said
            said = () if in_json else asked.said.get(name, ())
            self._echo[name] = tuple(asked.expand(one) for one in said) or (str(was),)

    def _set(self, name: str, value: str) -> None:
        said, in_url = self._asked.sent.get(name, []), self._asked.sent_in_url.get(name, [])
        self._echo[name] = tuple(said)
        if self._form is None or in_url:
            self._target = splice.set_params(self._target, {name: value})
        if self._form is not None and (len(said) > len(in_url) or not said):
            self._form = splice.set_params("?" + self._form, {name: value})[1:]

    def show(self, fields: str) -> None:
        """Add a field list to the client's. One that only the JSON's ``params`` or the handler's defaults hold is said
        again, as any ``fl`` elsewhere takes its place."""
        asked = self._asked
        again = () if "fl" in asked.sent else asked.params.get("fl", ())
        if self._all:
            self._field = fields
        else:
            self._echo["fl"] = tuple(asked.sent.get("fl", ()))
        for value in (*again, fields):
            pair = "fl=" + quote(value, safe=",*.")
            if self._form is not None:
                self._form = f"{self._form}&{pair}" if self._form else pair
            else:
                self._target += ("&" if "?" in self._target else "?") + pair

    def done(self, undo: Undo) -> Widened:
        request = self._asked.request
        body = None if self._form is None else self._form.encode("latin-1")
        if self._target == request.target and body in (None, request.body):
            return Widened(request, None)
        undo = replace(undo, echo=tuple(self._echo.items()), field=self._field)
        return Widened(request.replace(target=self._target, body=body), undo)


# -- the answer ------------------------------------------------------------------------------------------------------


def restored(body: bytes, undo: Undo, page: Sequence[str | None], cut: bool) -> bytes:
    """An answer, whose documents are the client's page already, with the rest of it as the client would have had it.

    :param page: the ids of the documents.
    :param cut: whether there are documents that were taken out.
    :raises Unreadable: it cannot be told which highlights are the page's.
    """
    edits: dict[str, Edit] = {"responseHeader": undo.header, "response": undo.response}
    if cut:
        edits["highlighting"] = lambda text: _of_page(text, page)
    return _edited(body, edits)


def _edited(text: bytes, edits: Mapping[str, Edit]) -> bytes:
    """An object with the values of some members changed."""
    if text.lstrip(b" \t\r\n")[:1] != b"{":
        return text
    for one in reversed(json_spans.members(text)):
        value = text[one.start : one.end]
        if one.key in edits and (new := edits[one.key](value)) != value:
            text = text[: one.start] + new + text[one.end :]
    return text


def _of_page(text: bytes, page: Sequence[str | None]) -> bytes:
    if text[:1] != b"{":
        return text
    every = json_spans.members(text)
    if every and None in page:
        raise Unreadable("highlights of documents without ids")
    kept = [(one, text[one.start : one.end]) for one in every if one.key in page]
    return text if len(kept) == len(every) else splice.keep_members(text, every, kept, blank=b"")


def _items(text: bytes) -> list[tuple[int, int]]:
    return json_spans.items(text) if text[:1] == b"[" else [(0, len(text))]


def _of_several(text: bytes, wanted: Sequence[str]) -> bytes:
    """An echoed value that holds ``wanted``: one string, or an array laid out as it was; the strings' own bytes where
    they are there."""
    spans = _items(text)
    there = {_string(text[start:end]): text[start:end] for start, end in spans}
    values = [there.get(one) or json.dumps(one, ensure_ascii=False).encode("utf-8", "replace") for one in wanted]
    if len(values) == 1:
        return values[0]
    separator = text[spans[0][1] : spans[1][0]] if len(spans) > 1 else b","
    lead, trail = (text[1 : spans[0][0]], text[spans[-1][1] : -1]) if text[:1] == b"[" and spans else (b"", b"")
    return b"[" + lead + separator.join(values) + trail + b"]"


def _string(text: bytes) -> str:
    return json_spans.decode_string(text) if text[:1] == b'"' else text.decode("utf-8", "replace")
