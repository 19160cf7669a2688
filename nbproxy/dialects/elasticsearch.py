"""Elasticsearch 7–9 and OpenSearch 1–3: ``/_search`` and ``/{index}/_search``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from ..errors import ConfigError
from ..messages import Request
from ..ranking import Hit, Search
from ..settings import FieldsSetting
from . import hit_text, json_hits, json_spans, multi_search, search_request, search_template, splice, widening
from .base import Answer, Dialect, Part, Unreadable, Widened
from .reading import Reading


class _Shown(msgspec.Struct, gc=False):
    """What a hit's text is read from."""

    source: Any = msgspec.field(default=None, name="_source")
    fields: Any = None
    highlight: Any = None
    inner_hits: Any = None


class _Hit(_Shown, gc=False):
    index: str | None = msgspec.field(default=None, name="_index")
    id: str | None = msgspec.field(default=None, name="_id")
    score: float | None = msgspec.field(default=None, name="_score")


class _AnyHit(_Shown, gc=False):
    """A hit whose index, id or score may be of a type that they should not have."""

    index: Any = msgspec.field(default=None, name="_index")
    id: Any = msgspec.field(default=None, name="_id")
    score: Any = msgspec.field(default=None, name="_score")


class _Extended(msgspec.Struct, gc=False):
    ext: Any = None


class _Hits(msgspec.Struct, gc=False):
    hits: list[_Hit]


class _Answer(msgspec.Struct, gc=False):
    hits: _Hits


_DECODE_EXT: Callable[[bytes], _Extended] = msgspec.json.Decoder(_Extended).decode
_DECODE: Callable[[bytes], _AnyHit] = msgspec.json.Decoder(_AnyHit).decode
_DECODE_ALL: Callable[[bytes], _Answer] = msgspec.json.Decoder(_Answer).decode


class Elasticsearch(Dialect):
    """The search API of Elasticsearch and OpenSearch.

    ``nbproxy.start(…, dialect=nbproxy.Elasticsearch(query=…))`` reads the query's text in a way of one's own.

    :param query: ``query(request) -> str | None``: the text of a search that may be reranked (of each one in an
        ``_msearch``); None: as usual. It may be called more than once for a request, never on the event loop. Where it
        raises, the search is left alone (reason ``no-query``) and the error stands in ``session.errors``.
    :param explain: whether searches that ask for ``explain`` are reranked too.
    """

    def __init__(self, query: Callable[[Request], str | None] | None = None, *, explain: bool = False) -> None:
        if query is not None and not callable(query):
            raise ConfigError(f"query must be callable: it takes a Request and returns a text or None, not {query!r}")
        self._reading = Reading(query, explain)

    @property
    def name(self) -> str:
        return "elasticsearch"

    @property
    def quick(self) -> bool:
        return self._reading.query is None

    def is_search(self, method: str, target: str) -> bool:
        """``_search`` (and ``_async_search`` and scrolls, which are left alone) by GET or POST."""
        return search_request.route(method, target) is not None

    def index_of(self, target: str) -> str | None:
        """The path's index expression as written, percent-encoding included; None for none."""
        return search_request.index_of(target)

    def parts(self, request: Request) -> tuple[Part, ...] | str | None:
        """The searches of an ``_msearch``."""
        kind = search_request.route(request.method, request.target)
        if kind not in ("multi", "multi-template"):
            return None
        return multi_search.parts(request, templates=kind == "multi-template")

    def part_spans(self, body: bytes) -> Sequence[tuple[int, int]]:
        """Where each item of ``responses`` lies.

        :raises Unreadable: they cannot be found safely.
        """
        return multi_search.part_spans(body)

    def part_status(self, answer: bytes) -> int | None:
        """The ``status`` of an item of ``responses``."""
        return multi_search.part_status(answer)

    def read_search(self, request: Request) -> Search | str:
        """The search, or the first reason of the contract that applies and needs no depth to be known.

        :raises RerankFault: the user's own ``query`` failed.
        """
        read = search_template.read_search if _is_template(request) else search_request.read_search
        return read(request, self._reading)

    def read_window(self, request: Request) -> tuple[int, int] | None:
        """(offset, size) of a request that :meth:`read_search` has a reason for, None where they cannot be read."""
        read = search_template.read_window if _is_template(request) else search_request.read_window
        return read(request)

    def widen(self, request: Request, search: Search, depth: int, fields: FieldsSetting = None) -> Widened:
        """The first ``max(depth, offset + size)`` hits from 0, with the fields that the model reads.

        :raises ConfigError: ``fields`` is a format that cannot be read.
        """
        widen = search_template.widen if _is_template(request) else widening.widen
        return widen(request, search, depth, fields)

    def read_hits(
        self, body: bytes, search: Search, fields: FieldsSetting = None, *, offset: int = 0, undo: Any = None
    ) -> Answer:
        """The hits of an answer and their texts.

        :raises Unreadable: they cannot be found safely.
        :raises RerankFault: a callable ``fields`` failed.
        """
        reason, undo = (undo.check(body), None) if isinstance(undo, search_template.Blind) else (None, undo)
        spans = splice.hit_spans(body)
        found = _read_all(body, spans)
        if callable(fields):
            hits = _hits(found, [None] * len(found), offset)
            hits = [msgspec.structs.replace(hit, text=hit_text.called(fields, hit)) for hit in hits]
        else:
            texts = hit_text.texts(_readable(found), fields, search.fields)
            hits = _hits(found, texts, offset)
        return Answer(body, tuple(hits), tuple(spans), undo, reason, _ubi_query_id(body, spans))

    def write_hits(self, answer: Answer, order: Sequence[int]) -> bytes:
        """Upstream's bytes with the hits ``order`` and nothing else, and without what was added for the model.

        :raises Unreadable: something was added, and a hit is nested too deep to take it out.
        """
        try:
            return splice.join(answer.body, answer.spans, order, answer.undo and answer.undo.strip)
        except RecursionError:
            raise Unreadable("nested too deep") from None


def _is_template(request: Request) -> bool:
    return search_request.route(request.method, request.target) == "template"


def _ubi_query_id(body: bytes, hits: Sequence[tuple[int, int]]) -> str | None:
    """``ext.ubi.query_id`` of an answer: OpenSearch's UBI plugin gives it to every search that asks for it."""
    first, last = (hits[0][0], hits[-1][1]) if hits else (0, 0)
    if b'"ubi"' not in body[last:] and b'"ubi"' not in body[:first]:
        return None
    try:
        found = search_request.dig(_DECODE_EXT(body).ext, "ubi", "query_id")
    except json_spans.REFUSED:
        return None
    return found if isinstance(found, str) else None


def _read_all(body: bytes, spans: Sequence[tuple[int, int]]) -> list[_Hit]:
    """All hits in one go; where one of them cannot be decoded so, one by one."""
    try:
        return _DECODE_ALL(body).hits.hits
    except json_spans.REFUSED:
        return [_read(body[start:end]) for start, end in spans]


def _read(text: bytes) -> _Hit:
    if text[:1] != b"{":
        raise Unreadable("a hit that is no object")
    try:
        return _typed(_DECODE(text))
    except json_spans.REFUSED:  # lone surrogates, 1e400, integers of 5,000 digits, 3,000 levels
        return _typed(msgspec.convert(json_hits.lenient(text), _AnyHit))


def _typed(found: _AnyHit) -> _Hit:
    index, doc_id = (value if isinstance(value, str) else None for value in (found.index, found.id))
    shown = (found.source, found.fields, found.highlight, found.inner_hits)
    return _Hit(*shown, index, doc_id, _score(found.score))


def _score(value: Any) -> float | None:
    if type(value) is float:
        return value
    return float(value) if type(value) is int and abs(value) < 2**63 else None


def _hits(found: Sequence[_Hit], texts: Sequence[str | None], offset: int) -> list[Hit]:
    return [
        Hit(one.index, one.id, rank, one.score, text, one.source)
        for rank, (one, text) in enumerate(zip(found, texts, strict=True), offset + 1)
    ]


def _readable(found: Sequence[_Shown]) -> list[Any]:
    """What each hit's text is read from."""
    return [
        one.source if one.source is not None else hit_text.stand_in(one.fields, one.highlight, one.inner_hits)
        for one in found
    ]
