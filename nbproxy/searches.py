"""A recognised search, from the client's request to the answer with its hits in another order: the I/O around
``pipeline``. Whatever cannot be widened, read or scored is answered as upstream would have."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from . import content, pipeline
from .answering import Answered, Answering
from .client import ClientConnection, error_body
from .context import HEAVY, Context
from .dialects import Dialect, Unreadable
from .drafts import KEPT_OF_A_BODY, Draft
from .errors import HttpFault, UpstreamFault
from .fetching import Fetched, fetch
from .heads import RequestHead, ResponseHead, onward, persistence, restated
from .messages import Request
from .outbound import opted_out, request_block, request_line, signed
from .pipeline import Alone, Plan, Several
from .relay import Relay
from .search_rows import Completion, PartRows, asks, search_columns
from .settings import Settings
from .shadows import About

# An answer with its hits in another order is another representation (RFC 9110 §8.8): its validators go.
_STALE = frozenset(
    [b"etag", b"content-md5", b"digest", b"content-digest", b"repr-digest", b"last-modified", b"accept-ranges"]
)
_REFUSED = frozenset([400, 414, 422, 431])  # 422: Typesense; a widened target may be too long
_REQUEST_DROP = frozenset([b"expect", b"accept-encoding", b"content-encoding", b"transfer-encoding", b"content-length"])


@dataclass(frozen=True, slots=True)
class Recognised:
    """What the head of a request on a search route tells: read once, as clients repeat their heads.

    :ivar picked: the name of the model that the client wants.
    :ivar bypass: it wants none.
    :ivar asks: whether there is, or may be, a query.
    """

    dialect: Dialect
    index: str | None
    picked: bytes | None
    bypass: bool
    asks: bool


def recognised(dialect: Dialect, head: RequestHead) -> Recognised:
    """A request that the dialect knows as a search."""
    query = head.length != 0 or asks(dialect, head.method, head.target)
    return Recognised(dialect, dialect.index_of(head.target), head.value(b"x-nbproxy-model"), opted_out(head), query)


def begin(context: Context, client: ClientConnection, draft: Draft, found: Recognised) -> None:
    """Begin a search: one that is left alone whatever it asks is relayed as any other request."""
    draft.dialect, draft.index, draft.errors = found.dialect.name, found.index, found.dialect
    handler: SearchExchange | Relay
    if draft.settings.model is None and not draft.settings.shadow:
        draft.reason = "no-model"
    elif found.bypass:
        draft.reason = "bypass"
    if draft.reason is None:
        handler = SearchExchange(context, client, draft, found)
    else:
        handler = Relay(context, client, draft)
        if found.asks:
            handler.on_finish = lambda: draft.note(complete=completion(context, draft, found.dialect))
    client.hand_over(handler)
    handler.start()


def completion(context: Context, draft: Draft, dialect: Dialect, reasons: tuple[str, ...] = ()) -> Completion:
    """Reads what a search that was left alone asked and what hits it got, off the event loop."""
    body = draft.request.bytes() or b""
    return Completion(dialect, draft.settings, draft.head, body, context.limits, reasons)


class SearchExchange:
    """One request on a search route that may be reranked: gathers its body, then answers it, or leaves it alone."""

    def __init__(self, context: Context, client: ClientConnection, draft: Draft, found: Recognised) -> None:
        self._context, self._client, self._draft = context, client, draft
        self._dialect, self._asks, self._head = found.dialect, found.asks, draft.head
        self._settings: Settings = draft.settings
        self._pieces: list[bytes] = []
        self._size = 0
        self._continued = False
        self._task: asyncio.Task[None] | None = None
        self._over = False
        self._sent: bytes | None = None  # the widened body
        self._reasons: tuple[str, ...] = ()  # of the searches in it, where it holds several and is left alone
        self._answering = Answering(context, draft.settings, found.dialect, lambda: draft.exchange_id)

    # -- the request

    def start(self) -> None:
        """Begin: the body is gathered first."""
        if self._over_limit(self._head.length or 0):
            self._relay("too-large").start()
        elif self._head.expects_continue:
            self._continued = True
            self._client.invite()

    def _over_limit(self, size: int) -> bool:
        limit = self._context.limits.search_bytes
        return limit is not None and size > limit

    def on_body(self, data: bytes) -> None:
        self._pieces.append(data)
        self._size += len(data)
        if self._over_limit(self._size):
            self._relay("too-large", b"".join(self._pieces)).start()

    def on_body_end(self, trailers: bytes) -> None:
        body = b"".join(self._pieces)
        self._pieces.clear()
        if body:
            self._draft.received(body)
        self._task = self._context.spawn(self._run(body, trailers))

    def on_client_blocked(self, blocked: bool) -> None:
        pass

    def on_client_gone(self) -> None:
        if self._task is not None:
            self._task.cancel()
        self._finish(error="the client closed the connection")

    def on_fault(self, fault: HttpFault) -> None:
        if self._task is not None:
            self._task.cancel()
        self._answer_fault(fault)

    # -- left alone

    def _relay(
        self, reason: str, buffered: bytes = b"", *, whole: bool = False, trailers: bytes = b"", second: bool = False
    ) -> Relay:
        """Hand the exchange over to a relay of the client's own bytes. ``second``: upstream was asked already."""
        if reason == "too-large" and not whole:
            self._draft.keep = (KEPT_OF_A_BODY, self._draft.keep[1])  # what is streamed is not held for the record
        if buffered and not whole:
            self._draft.received(buffered)
        if reason == "too-large" and not second:
            head = Request(self._head.method, self._head.target, self._head.headers)
            reason = pipeline.before_too_large(self._dialect, head) or reason
        self._over = True
        relay = Relay(self._context, self._client, self._draft)
        if buffered or whole or self._continued:
            relay.gathered(buffered, whole=whole, trailers=trailers, again=second, continued=self._continued)
        relay.on_finish = lambda: self._note_relayed(reason, second)
        self._client.hand_over(relay)
        return relay

    def _note_relayed(self, reason: str, second: bool) -> None:
        self._draft.reason = self._reason(reason, second)
        if self._asks:
            self._draft.note(complete=completion(self._context, self._draft, self._dialect, self._reasons))

    def _reason(self, reason: str, second: bool) -> str:
        """An error in answer to the client's own bytes outweighs what was wrong with the widened ones."""
        failed = self._draft.status is not None and self._draft.status >= 400
        return "upstream-error" if second and failed else reason

    # -- reranked

    async def _run(self, body: bytes, trailers: bytes) -> None:
        try:
            await self._answer(body, trailers)
        except asyncio.CancelledError:
            raise
        except UpstreamFault as fault:
            self._context.note("upstream", self._draft.exchange_id, fault)
            self._answer_fault(fault)
        except Exception as error:  # a bug of ours must not cost the client its answer
            self._context.note("nbproxy", self._draft.exchange_id, error)
            if not self._over:
                self._relay("unreadable", body, whole=True, trailers=trailers, second=True).start()

    async def _answer(self, body: bytes, trailers: bytes) -> None:
        context, settings = self._context, self._settings
        request = Request(self._head.method, self._head.target, self._head.headers, body)
        limit = context.limits.search_bytes
        plain = pipeline.plain_request(request, _at_once(limit))
        if isinstance(plain, Alone):  # it may be too large for the event loop only
            plain = await context.heavy.call(lambda: pipeline.plain_request(request, limit))
        found = plain if isinstance(plain, Alone) else await self._plan(plain)
        if isinstance(found, Alone):
            self._reasons = found.parts
            self._relay(found.reason, body, whole=True, trailers=trailers).start()
            return
        if isinstance(found, Plan):
            self._draft.note(**search_columns(found.search, self._head, settings.depth))
        data = self._upstream_bytes(found.request)
        fetched = await fetch(context, self._draft, self._head.method, data, self._on_interim)
        why = await self._serve(found, fetched, body)
        if why is not None:
            if why == "unreadable":
                fetched.connection.condemn()
            self._reasons = _reasons(found)
            self._relay(why, body, whole=True, trailers=trailers, second=True).start()

    def _on_interim(self, head: ResponseHead) -> None:
        """An answer before the answer goes on, but that the request may be sent: it has come."""
        if self._head.minor and head.status != 100:
            self._client.write(head.interim_answer)

    async def _plan(self, plain: Request) -> Plan | Several | Alone:
        heavy = len(plain.body) if pipeline.quick(self._dialect) else HEAVY + 1
        found = await self._context.maybe_heavy(heavy, lambda: pipeline.plan(self._dialect, plain, self._settings))
        for fault in pipeline.faults(found):
            self._context.note("query", self._draft.exchange_id, fault.__cause__ or fault)
        return found

    @property
    def _takes_gzip(self) -> bool:
        return content.accepts_gzip(_text(self._head.value(b"accept-encoding")))

    def _upstream_bytes(self, request: Request) -> bytes:
        """The widened request. Asked for as gzip only if the client takes gzip, as what comes goes on to it."""
        block = request_block(self._context, self._head, drop=_REQUEST_DROP, pooled=True)
        block += b"Accept-Encoding: %b\r\n" % (b"gzip" if self._takes_gzip else b"identity")
        if request.body or self._head.framing != "none":
            block += b"Content-Length: %d\r\n" % len(request.body)
        block = signed(self._context, self._head, block, request.body, request.target)
        line = request_line(self._context, self._head, request.target)
        return line + block + b"\r\n" + request.body

    async def _serve(self, plan: Plan | Several, fetched: Fetched, sent: bytes) -> str | None:
        """Answer from what came, or say why the client's own request, ``sent``, must be sent instead."""
        self._draft.answered()
        arrived = time.perf_counter()
        head, raw = fetched.head, fetched.body
        if raw is None:
            return "too-large"
        if head.status in _REFUSED and (plan.request.body != sent or plan.request.target != self._head.target):
            return "widen-refused"
        if not 200 <= head.status < 300:
            self._write(head, raw, reason="upstream-error")
            return None
        try:
            plain = await self._decoded(raw, _text(head.value(b"content-encoding")))
            self._sent = plan.request.body if plan.request.body != sent else None
            if isinstance(plan, Several):
                await self._answer_each(plan, head, raw, plain, arrived)
            else:
                await self._answer_one(plan, head, raw, plain, arrived)
        except content.TooLarge:
            return "too-large"
        except (content.Undecodable, Unreadable):
            return "unreadable"
        return None

    async def _answer_one(self, plan: Plan, head: ResponseHead, raw: bytes, plain: bytes, arrived: float) -> None:
        done = await self._answering.answer(plan, plain, arrived)
        self._draft.rerank_ms = done.rerank_ms
        await self._send(head, raw, plain, done.body, done.columns)
        self._shadow(None, done)

    async def _answer_each(
        self, several: Several, head: ResponseHead, raw: bytes, plain: bytes, arrived: float
    ) -> None:
        each = await self._answering.answer_each(several, plain, arrived)
        self._draft.rerank_ms = each.rerank_ms
        rows = PartRows(self._dialect, self._settings.depth, several, each)
        await self._send(head, raw, plain, each.body, {**each.columns, "complete": rows})
        for number, done in each.done.items():
            self._shadow(number, done)

    async def _decoded(self, raw: bytes, coding: str | None) -> bytes:
        """An answer without its content coding; what unpacks to much is not unpacked on the event loop."""
        limit = self._context.limits.answer_bytes
        if coding is not None and content.codings(coding):
            with contextlib.suppress(content.TooLarge):
                return content.decode(raw, coding, _at_once(limit))
            return await self._context.heavy.call(lambda: content.decode(raw, coding, limit))
        return content.decode(raw, None, limit)

    async def _send(
        self, head: ResponseHead, raw: bytes, plain: bytes, body: bytes, columns: Mapping[str, Any]
    ) -> None:
        """Answer with ``body``, which is what became of upstream's ``plain``, which is ``raw`` without its coding."""
        packed = bool(content.codings(_text(head.value(b"content-encoding")))) and self._takes_gzip
        if packed:
            unpacked = body
            body = raw if body == plain else await self._context.maybe_heavy(len(body), lambda: content.gzip(unpacked))
        more = {**columns, "upstream_request_body": self._sent, "upstream_response_body": raw if body != raw else None}
        self._write(head, body, changed=body != raw, coding=b"gzip" if packed else None, **more)

    def _shadow(self, part: int | None, done: Answered) -> None:
        shadowing = self._context.shadowing
        if (self._settings.shadow or done.late) and done.answer.hits and shadowing is not None:
            query = done.search.query
            query_id = pipeline.query_id(self._head.headers.get("x-opaque-id") if part is None else None, query)
            about = About(self._draft.exchange_id, part, query_id, query, done.outcome.ranking.returned)
            shadowing(about, _without(self._settings, done), done.answer, done.late)

    def _write(
        self, head: ResponseHead, body: bytes, *, changed: bool = False, coding: bytes | None = None, **more: Any
    ) -> None:
        """The answer, framed by its length, and the exchange's record in the same step."""
        if self._over:
            return
        self._over = True
        keep = self._head.persistent and (b"close" not in head.options or self._client.ahead)
        if changed:
            lines = _restated(head, len(body), coding)
        elif head.framing == "none":  # of which no length may be said that it did not say
            lines, _ = onward(head, self._head)
        else:
            lines = restated(head, len(body))
        self._client.write(lines + persistence(self._head, keep, head.options) + b"\r\n" + body)
        self._draft.respond(head.status, lines.partition(b"\r\n")[2])
        if body:
            self._draft.returned(body)
        self._finish(**more)
        self._client.finish(keep)

    def _answer_fault(self, fault: HttpFault) -> None:
        if self._over:
            return
        self._over = True
        body = error_body(fault, self._dialect)
        keep = self._head.persistent and not self._client.body_pending
        block = self._client.answer(fault.status, body, keep=keep)
        self._draft.respond(fault.status, block)
        self._draft.returned(body)
        reason = "upstream-error" if isinstance(fault, UpstreamFault) else None
        self._finish(error=str(fault), reason=reason)
        self._client.finish(keep)

    def _finish(self, error: str | None = None, reason: str | None = None, **more: Any) -> None:
        self._over = True
        self._draft.reason = reason
        self._draft.note(**more)
        self._draft.finish(error)


def _without(settings: Settings, done: Answered) -> Settings:
    """The settings without the shadows whose ranking is known, or will be: who serves has asked them."""
    names = {(ranking.model, ranking.model_fingerprint) for ranking in done.outcome.others}
    names |= {(late.scorer.name, late.scorer.fingerprint) for late in done.late}
    kept = {key: one for key, one in settings.shadow.items() if (one.name, one.fingerprint) not in names}
    return settings if len(kept) == len(settings.shadow) else replace(settings, shadow=kept)


def _restated(head: ResponseHead, length: int, coding: bytes | None) -> bytes:
    """The head of another representation: its own length and coding, without upstream's validators."""
    if coding is None:
        return restated(head, length, _STALE | {b"content-encoding"})
    return restated(head, length, _STALE, {b"content-encoding": coding})


def _at_once(limit: int | None) -> int:
    """What may be unpacked on the event loop."""
    return HEAVY if limit is None else min(limit, HEAVY)


def _reasons(found: Plan | Several) -> tuple[str, ...]:
    """Why each of several searches was left alone, "" for those that were not."""
    plans = found.plans if isinstance(found, Several) else ()
    return tuple(plan.reason if isinstance(plan, Alone) else "" for plan in plans)


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode("latin-1")
