"""``_search/template``: a search that a template makes of parameters.

A template that comes with the request is rendered here, and what it makes is read like any search. Of a stored one
only the parameters are known: the query's text and the window are read from them by name, and the answer shows
whether the template took the window and whether it sorts.

https://www.elastic.co/docs/api/doc/elasticsearch/operation/operation-search-template
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import msgspec

from ..messages import Request
from ..ranking import Search
from ..settings import FieldsSetting
from . import json_spans, mustache, search_request, splice, widening
from .base import Unreadable, Widened
from .reading import AS_USUAL, Reading
from .search_request import Malformed

QUERY = (
    *("query_string", "query", "q", "query_text", "user_query", "search", "search_text", "text"),
    *("keywords", "keyword", "term", "question", "input"),
)
OFFSET = ("from", "offset", "start", "skip")
SIZE = ("size", "limit", "rows", "page_size", "per_page", "hits_per_page", "count")
PAGE = ("page", "page_number", "pageno", "p")
"""Names of parameters, likeliest first. A page's number does not tell the offset: such a search is left alone."""

_IN_URL = ("pretty", "filter_path", "format", "scroll")  # upstream reads no others of a search
_IN_BODY = ("explain", "profile")
_ASIDE = ("_source", "stored_fields")


class _Total(msgspec.Struct, gc=False):
    value: int
    relation: str = "eq"


class _Hit(msgspec.Struct, gc=False):
    sort: list[Any] | None = None  # there where the search sorts, by its score too: that cannot be told


class _Hits(msgspec.Struct, gc=False):
    hits: list[_Hit]
    total: _Total | int | None = None


class _Answer(msgspec.Struct, gc=False):
    hits: _Hits


_DECODE = msgspec.json.Decoder(_Answer, strict=False).decode


@dataclass(frozen=True, slots=True)
class Blind:
    """What to look for in the answer of a template that was not seen.

    :ivar asked: how many hits; None: the template has its window for itself.
    """

    asked: int | None

    def check(self, body: bytes) -> str | None:
        """Why the hits stay in upstream's order; None: no reason.

        :raises Unreadable: the template did not take the window that it was given.
        """
        try:
            hits = _DECODE(body).hits
        except json_spans.REFUSED as error:
            raise Unreadable(str(error)) from None
        total = _Total(hits.total) if isinstance(hits.total, int) else hits.total
        whole = total is not None and total.relation == "eq" and len(hits.hits) == total.value
        if self.asked is not None and len(hits.hits) != self.asked and not whole:
            raise Unreadable("the stored template does not read its window from the parameters")
        return "sorted" if any(hit.sort for hit in hits.hits) else None


@dataclass(frozen=True, slots=True)
class Template:
    """A request for a template, read.

    :ivar spec: its body.
    :ivar rendered: the search that it makes; None: that is not known.
    """

    request: Request
    spec: Mapping[str, Any]
    rendered: bytes | None

    @property
    def params(self) -> Mapping[str, Any]:
        params = self.spec.get("params")
        return params if isinstance(params, dict) else {}

    @property
    def search(self) -> Request:
        """The search as if it had come without a template."""
        request = self.request
        shown = [(name, request.params[name]) for name in _IN_URL if name in request.params]
        shown += [(name, "true") for name in _IN_BODY if self.spec.get(name) in (True, "true")]
        path = request.path.rstrip("/").removesuffix("/template")
        target = path + "?" + "&".join(f"{name}={quote(value, safe=',*.')}" for name, value in shown)
        body = self._by_name() if self.rendered is None else self.rendered
        return Request(request.method, target, request.headers, body)

    def _by_name(self) -> bytes:
        window = {"from": self.number(OFFSET), "size": self.number(SIZE)}
        known = {name: value for name, value in window.items() if value is not None}
        return json.dumps({"query": {"match": {"*": self._text()}}, **known}).encode()

    def _text(self) -> str:
        if self.name(PAGE) or (self.name(OFFSET) and not self.name(SIZE)):
            return ""
        texts = {name: value for name, value in self.params.items() if isinstance(value, str) and value.strip()}
        named = next((texts[name] for name in QUERY if name in texts), None)
        others = [text for name, text in texts.items() if name not in OFFSET + SIZE]
        return named or (others[0] if len(others) == 1 else "")

    def name(self, names: tuple[str, ...]) -> str | None:
        """The first of ``names`` that is a parameter with a whole number."""
        return next((name for name in names if self.number((name,)) is not None), None)

    def number(self, names: tuple[str, ...]) -> int | None:
        for name in names:
            try:
                return search_request.number(self.params[name])
            except (KeyError, Malformed):
                continue
        return None


def read(request: Request) -> Template:
    """A request for a template.

    :raises Malformed: upstream will refuse it, or what the template makes.
    """
    spec = search_request.parse(request.body)
    source, params = spec.get("source"), spec.get("params")
    text = json.dumps(source, ensure_ascii=False) if isinstance(source, dict) else source
    if not isinstance(text, str) or "id" in spec:
        return Template(request, spec, None)
    made = mustache.render(text, params if isinstance(params, dict) else {})
    return Template(request, spec, None if made is None else made.encode("utf-8", "surrogatepass"))


def read_search(request: Request, reading: Reading = AS_USUAL) -> Search | str:
    """The search that the template makes, or why it is left alone.

    :raises RerankFault: the user's own function failed; it gets the client's request, not what the template makes.
    """
    try:
        template = read(request)
    except Malformed:
        return "malformed"
    own = Reading(lambda _: reading.text(request), reading.explain)
    found = search_request.read_search(template.search, own)
    if isinstance(found, Search) and found.offset and _place(template) == "nowhere":
        return "no-query"
    return found


def read_window(request: Request) -> tuple[int, int] | None:
    """(offset, size), None where they cannot be read."""
    try:
        return search_request.read_window(read(request).search)
    except Malformed:
        return None


def widen(request: Request, search: Search, depth: int, fields: FieldsSetting = None) -> Widened:
    """The first ``max(depth, offset + size)`` hits from 0: by the template's own text where it came along and is
    JSON before it is rendered, else by the parameters; a template that does not say how is asked as it is."""
    template = read(request)
    place = _place(template)
    if place == "source":
        return _in_source(template, search, depth, fields)
    blind = template.rendered is None
    if place == "nowhere":
        return Widened(request, Blind(None) if blind else None)
    size = max(depth, search.offset + search.size)
    return Widened(_in_params(template, size), Blind(size) if blind else None)


def _place(template: Template) -> str:
    """Where the window is to be set."""
    if template.rendered is None:
        return "params" if template.name(SIZE) else "nowhere"
    source = template.spec["source"]
    if isinstance(source, dict):
        return "source"
    try:
        search_request.parse(source.encode("utf-8", "surrogatepass"))
    except Malformed:
        return "params" if _obeys(template) else "nowhere"
    return "source"


def _obeys(template: Template) -> bool:
    """Whether the parameters, and they alone, make the window of a template that is rendered here."""
    made = read(_in_params(template, 12_345)).rendered if template.name(SIZE) else None
    try:
        before, after = search_request.parse(template.rendered or b""), search_request.parse(made or b"")
        window = search_request.number(after.pop("from", 0)), search_request.number(after.pop("size", 0))
    except Malformed:
        return False
    return window == (0, 12_345) and {k: v for k, v in before.items() if k not in ("from", "size")} == after


def _in_source(template: Template, search: Search, depth: int, fields: FieldsSetting) -> Widened:
    request, source = template.request, template.spec["source"]
    member = next(one for one in json_spans.members(request.body) if one.key == "source")
    literal = request.body[member.start : member.end]
    text = source.encode("utf-8", "surrogatepass") if isinstance(source, str) else literal
    inner = template.search.replace(body=text)
    hidden = any("{{" in json.dumps(search_request.parse(text).get(name)) for name in _ASIDE)
    widened = widening.widen(inner, search, depth, fields, shown=not hidden)
    new = widened.request.body
    if isinstance(source, str):
        new = json.dumps(new.decode("utf-8", "surrogatepass"), ensure_ascii=False).encode("utf-8", "surrogatepass")
    body = splice.set_members(request.body, {"source": new})
    asked = {name: value for name, value in widened.request.params.items() if inner.params.get(name) != value}
    target = splice.set_params(request.target, dict(asked)) if asked else None
    return Widened(request.replace(target=target, body=body), widened.undo)


def _in_params(template: Template, size: int) -> Request:
    """The request with the parameters that make the window set."""
    body = template.request.body
    member = next(one for one in json_spans.members(body) if one.key == "params")
    values = {template.name(SIZE) or SIZE[0]: b"%d" % size}
    if offset := template.name(OFFSET):
        values[offset] = b"0"
    params = splice.set_members(body[member.start : member.end], values)
    return template.request.replace(body=splice.set_members(body, {"params": params}))
