"""Solr 9: ``/solr/{core}/select`` and ``/query``, by parameters, by form, and by the JSON Request API."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import msgspec

from ..messages import Request
from ..ranking import Hit, Search
from ..settings import FieldsSetting
from . import hit_text, json_hits, json_spans, solr_request, solr_widening, splice
from .base import Answer, Dialect, Unreadable, Widened
from .solr_widening import Undo

_DOCS: splice.Path = ("response", "docs")
_INTERNAL = frozenset(["_version_", "_root_", "_nest_path_", "_nest_parent_", "score"])


class _Response(msgspec.Struct, gc=False):
    docs: list[dict[str, Any]]


class _Answer(msgspec.Struct, gc=False):
    response: _Response


_DECODE: Callable[[bytes], dict[str, Any]] = msgspec.json.Decoder(dict[str, Any]).decode
_DECODE_ALL: Callable[[bytes], _Answer] = msgspec.json.Decoder(_Answer).decode


class Solr(Dialect):
    """The search API of Solr.

    :param id: the collection's ``uniqueKey``.
    :param defaults: the handlers' defaults as ``solrconfig.xml`` has them (``{"defType": "edismax", "qf": "title^2
        body", "rows": 20}``), which no request shows. Those for ``rows``, ``fl`` and ``sort`` matter to what clients
        get, those for ``defType``, ``qf`` and ``df`` to what the model reads.
    :param handlers: the search handlers.
    :param root: what comes before a core's name in a path; ``""`` where upstream's URL has it already
        (``http://host:8983/solr``), or a core too.
    """

    def __init__(
        self,
        *,
        id: str = "id",
        defaults: Mapping[str, str | int | Sequence[str]] | None = None,
        handlers: Iterable[str] = ("select", "query"),
        root: str = "/solr",
    ) -> None:
        self._id = id
        self._defaults = {name: _strings(value) for name, value in (defaults or {}).items()}
        self._hidden = _INTERNAL | {id}
        segments = tuple(segment for segment in root.split("/") if segment)
        self._routes = solr_request.Routes(segments, frozenset(name.strip("/") for name in handlers))
        self._ends = tuple(self._routes.handlers)

    @property
    def name(self) -> str:
        return "solr"

    def is_search(self, method: str, target: str) -> bool:
        """A search handler of a core or a collection, by GET or POST, also in the v2 API."""
        path = target.partition("?")[0]
        likely = "%" in path or path.rstrip("/").endswith(self._ends)
        return likely and self._routes.place(method, target) is not None

    def index_of(self, target: str) -> str | None:
        """The core or the collections as written, percent-encoding included."""
        return self._routes.core(target)

    def read_search(self, request: Request) -> Search | str:
        """The search, or the first reason of the contract that applies and needs no depth to be known."""
        return solr_request.read_search(self._asked(request), self.index_of(request.target))

    def read_window(self, request: Request) -> tuple[int, int] | None:
        """(offset, size) of a request that :meth:`read_search` has a reason for, None where they cannot be read."""
        return solr_request.read_window(self._asked(request))

    def widen(self, request: Request, search: Search, depth: int, fields: FieldsSetting = None) -> Widened:
        """The first ``max(depth, offset + size)`` hits from 0, with the fields that the model reads.

        :raises ConfigError: ``fields`` is a format that cannot be read.
        """
        return solr_widening.widen(self._asked(request), search, depth, fields, self._id)

    def _asked(self, request: Request) -> solr_request.Asked:
        return solr_request.Asked(request, self._defaults)

    def read_hits(
        self, body: bytes, search: Search, fields: FieldsSetting = None, *, offset: int = 0, undo: Any = None
    ) -> Answer:
        """The documents of an answer and their texts.

        :raises Unreadable: they cannot be found safely.
        :raises RerankFault: a callable ``fields`` failed.
        """
        spans = splice.hit_spans(body, _DOCS)
        found = _read_all(body, spans)
        index = None if search.index is None or "," in search.index else search.index
        texts = [None] * len(found) if callable(fields) else self._texts(found, fields, search.fields)
        hits = [
            Hit(index, _doc_id(one.get(self._id)), rank, _score(one.get("score")), text, one)
            for rank, (one, text) in enumerate(zip(found, texts, strict=True), offset + 1)
        ]
        if callable(fields):
            hits = [msgspec.structs.replace(hit, text=hit_text.called(fields, hit)) for hit in hits]
        return Answer(body, tuple(hits), tuple(spans), undo)

    def _texts(
        self, found: Sequence[dict[str, Any]], fields: FieldsSetting, searched: tuple[str, ...]
    ) -> Sequence[str | None]:
        """Where no particular fields are read, those that are the collection's own are."""
        if fields is not None or any(hit_text.leaves(one.get(name)) for one in found for name in searched):
            return hit_text.texts(found, fields, searched)
        own = [{key: one[key] for key in one if key not in self._hidden and key[:1] != "["} for one in found]
        return hit_text.texts(own, None, searched)

    def write_hits(self, answer: Answer, order: Sequence[int]) -> bytes:
        """Upstream's bytes with the documents ``order`` and nothing else, and without what only the wider request
        put there: fields, what is echoed of the request, highlights of other documents.

        :raises Unreadable: something of that cannot be told apart.
        """
        undo = answer.undo if isinstance(answer.undo, Undo) else Undo()
        try:
            change = None if undo.shown is None else undo.strip
            body = splice.join(answer.body, answer.spans, order, change, blank=b"")
            page = [answer.hits[i].doc_id for i in order]
            return solr_widening.restored(body, undo, page, cut=len(order) < len(answer.hits))
        except RecursionError:
            raise Unreadable("nested too deep") from None

    def error(self, status: int, type: str, reason: str) -> Any:
        """Solr's shape, whose ``msg`` its clients show."""
        metadata = ["error-class", type, "root-error-class", type]
        return {
            "responseHeader": {"status": status, "QTime": 0},
            "error": {"metadata": metadata, "msg": reason, "code": status},
        }


def _strings(value: str | int | Sequence[str]) -> list[str]:
    return [str(value)] if isinstance(value, str | int) else list(value)


def _read_all(body: bytes, spans: Sequence[tuple[int, int]]) -> list[dict[str, Any]]:
    """All documents in one go; where one of them cannot be decoded so, one by one."""
    try:
        return _DECODE_ALL(body).response.docs
    except json_spans.REFUSED:
        return [_read(body[start:end]) for start, end in spans]


def _read(text: bytes) -> dict[str, Any]:
    if text[:1] != b"{":
        raise Unreadable("a document that is no object")
    try:
        return _DECODE(text)
    except json_spans.REFUSED:  # lone surrogates, 1e400, integers of 5,000 digits, 3,000 levels
        return dict(json_hits.lenient(text))


def _doc_id(value: Any) -> str | None:
    """An id as Solr prints it."""
    return value if isinstance(value, str) else str(value) if type(value) is int else None


def _score(value: Any) -> float | None:
    if type(value) is float:
        return value
    return float(value) if type(value) is int and abs(value) < 2**63 else None
