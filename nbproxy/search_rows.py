"""What a search asked and which hits it got, for the record; of one left alone it is read afterwards, off the loop."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import msgspec

from . import content, pipeline
from .answering import AnsweredEach
from .dialects import Dialect, Part, Unreadable
from .exchange import Exchange
from .heads import RequestHead
from .messages import Headers, Request
from .pipeline import Alone, Several
from .ranking import Search
from .settings import Limits, Settings
from .ubi import answered_id


def search_columns(search: Search, head: RequestHead | None, depth: int) -> dict[str, Any]:
    """The columns of the frame that say what was searched.

    :param head: may name the query; None for one of several searches, which it cannot.
    """
    opaque = head.headers.get("x-opaque-id") if head else None
    return {
        "query_id": pipeline.query_id(opaque, search.query),
        "ubi_query_id": search.ubi_query_id,
        "query": search.query,
        "offset": search.offset,
        "size": search.size,
        "depth": depth,
    }


@lru_cache(maxsize=1024)
def asks(dialect: Dialect, method: str, target: str) -> bool:
    """Whether a request without a body may be a search with a query: else there is nothing to complete."""
    return isinstance(dialect.read_search(Request(method, target)), Search)


@dataclass(frozen=True, slots=True)
class Completion:
    """Completes a search that was left alone, with what it asked and the hits that it got. Runs on the recorder's
    thread.

    :ivar body: the request's, as it came.
    :ivar reasons: of the searches in it, where it holds several; "" and what is missing: the exchange's.
    """

    dialect: Dialect
    settings: Settings
    head: RequestHead
    body: bytes
    limits: Limits
    reasons: tuple[str, ...] = ()

    def __call__(self, exchange: Exchange) -> Exchange:
        head = self.head
        raw = Request(head.method, head.target, head.headers, self.body)
        request = pipeline.plain_request(raw, self.limits.search_bytes)
        if isinstance(request, Alone):
            return exchange
        parts = pipeline.parts_of(self.dialect, request)
        if parts is None:
            columns = self._columns(request, self._answer(exchange), head)
            return msgspec.structs.replace(exchange, **columns) if columns else exchange
        rows = () if isinstance(parts, str) else self._rows(exchange, request.body, parts)
        return msgspec.structs.replace(exchange, parts=rows)

    def _rows(self, exchange: Exchange, body: bytes, parts: Sequence[Part]) -> tuple[Exchange, ...]:
        answers = answers_of(self.dialect, self._answer(exchange), len(parts))
        reasons = [*self.reasons, *[""] * len(parts)]
        return tuple(
            part_row(exchange, number, part, body, answer, self.dialect, {
                "reason": reason or exchange.reason,
                **self._columns(part.request, answer, None),
            })
            for number, (part, answer, reason) in enumerate(zip(parts, answers, reasons, strict=False))
        )  # fmt: skip

    def _columns(self, request: Request, answer: bytes | None, head: RequestHead | None) -> dict[str, Any]:
        """What one search asked and got; nothing where it would have been left alone with a model too: that is no
        reason without one, as no-model comes first."""
        search = self.dialect.read_search(request)
        if not isinstance(search, Search):
            return {}
        settings, ranking = self.settings, None
        if answer is not None:
            ranking = pipeline.as_answered(self.dialect, answer, search, settings, settings.model)
        columns = search_columns(search, head, settings.depth)
        columns["ubi_query_id"] = search.ubi_query_id or answered_id(request.body, answer)
        return {"rankings": (ranking,) if ranking else (), **columns}

    def _answer(self, exchange: Exchange) -> bytes | None:
        """The whole answer without its content coding; None: there is none to read."""
        if exchange.status is None or not 200 <= exchange.status < 300 or not exchange.response_body:
            return None
        coding = Headers.parse(exchange.response_head).get("content-encoding")
        try:
            return content.decode(exchange.response_body, coding, self.limits.answer_bytes)
        except (content.TooLarge, content.Undecodable):
            return None


@dataclass(frozen=True, slots=True)
class PartRows:
    """Adds to an exchange of several searches the row of each. Runs on the recorder's thread."""

    dialect: Dialect
    depth: int
    several: Several
    each: AnsweredEach

    def __call__(self, exchange: Exchange) -> Exchange:
        numbers = range(len(self.several.parts))
        return msgspec.structs.replace(exchange, parts=tuple(self._row(exchange, number) for number in numbers))

    def _row(self, exchange: Exchange, number: int) -> Exchange:
        body = self.several.asked.body
        part, plan, went = self.several.parts[number], self.several.plans[number], self.each.went[number]
        more: dict[str, Any] = {"rerank_ms": None, "reranked": False, "reason": None, "error": None}
        if isinstance(plan, Alone):
            more["reason"] = plan.reason
        else:
            more |= search_columns(plan.search, None, self.depth)
            more["ubi_query_id"] = plan.search.ubi_query_id or answered_id(plan.request.body, self.each.came[number])
            if not plan.unchanged:
                more["upstream_request_body"] = _widened(body, part, plan.request.body)
        if answered := self.each.done.get(number):
            more |= answered.columns | {"rerank_ms": answered.rerank_ms}
        if went != self.each.came[number]:
            more["upstream_response_body"] = self.each.came[number]
        return part_row(exchange, number, part, body, went, self.dialect, more)


def _widened(body: bytes, part: Part, search: bytes) -> bytes:
    """A part's own lines with another search in them."""
    return body[part.own[0] : part.span[0]] + search + body[part.span[1] : part.own[1]]


def answers_of(dialect: Dialect, body: bytes | None, n: int) -> Sequence[bytes | None]:
    """The answers to the ``n`` searches of a request, None for each where they cannot be told apart."""
    try:
        spans = dialect.part_spans(body) if body is not None else ()
    except Unreadable:
        spans = ()
    return [body[start:end] for start, end in spans] if body and len(spans) == n else [None] * n


def part_row(
    exchange: Exchange,
    number: int,
    part: Part,
    body: bytes,
    answer: bytes | None,
    dialect: Dialect,
    more: Mapping[str, Any],
) -> Exchange:
    """The row of one of an exchange's searches: its own lines of the request, its own answer, its own status.

    :param body: the whole request's, without its content coding.
    :param answer: what the client got for this search.
    """
    own = body[part.own[0] : part.own[1]]
    status = dialect.part_status(answer) if answer is not None else None
    failed = {"reason": "upstream-error"} if (status or 0) >= 400 and not more.get("reason") else {}
    columns: dict[str, Any] = {
        "part": number,
        "index": part.index,
        "status": exchange.status if status is None else status,
        "request_body": own,
        "response_body": answer,
        "upstream_request_body": None,
        "upstream_response_body": None,
        "bytes_in": len(own),
        "bytes_out": len(answer or b""),
        "parts": (),
        "complete": None,
    }
    return msgspec.structs.replace(exchange, **{**columns, **more, **failed})
