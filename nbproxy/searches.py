"""A recognised search, from the client's request to the answer with its hits in another order: the I/O around
``pipeline``. Whatever cannot be widened, read or scored is answered as upstream would have."""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections.abc import Callable
from typing import Any, TypeVar

from . import content, pipeline
from .client import ClientConnection, error_body
from .context import Context
from .dialects import Answer, Dialect, Unreadable
from .drafts import KEPT_OF_A_BODY, Draft
from .errors import HttpFault, RerankFault, UpstreamFault
from .exchange import Exchange
from .fetching import Fetched, fetch
from .heads import ResponseHead, persistence, restated
from .left_alone import asks, completed, search_columns
from .messages import Request
from .outbound import request_block, request_line, signed
from .pipeline import Alone, Outcome, Plan
from .ranking import Reranker, Search
from .relay import Relay
from .rerankers import Original
from .scoring import Scorer
from .settings import FieldsSetting, Settings

T = TypeVar("T")
_HEAVY = 1 << 19
# An answer with its hits in another order is another representation (RFC 9110 §8.8): its validators go.
_STALE = frozenset(
    [b"etag", b"content-md5", b"digest", b"content-digest", b"repr-digest", b"last-modified", b"accept-ranges"]
)
_REQUEST_DROP = frozenset([b"expect", b"accept-encoding", b"content-encoding", b"transfer-encoding", b"content-length"])


class SearchExchange:
    """One request on a search route: gathers its body, then answers it, or leaves it alone."""

    def __init__(
        self, context: Context, client: ClientConnection, draft: Draft, dialect: Dialect, *, bypass: bool
    ) -> None:
        self._context, self._client, self._draft, self._dialect = context, client, draft, dialect
        self._head = draft.head
        self._settings: Settings = draft.settings
        self._bypass = bypass
        self._pieces: list[bytes] = []
        self._size = 0
        self._continued = False
        self._task: asyncio.Task[None] | None = None
        self._over = False
        draft.dialect, draft.index, draft.errors = dialect.name, dialect.index_of(self._head.target), dialect

    # -- the request

    def start(self) -> None:
        """Begin. What is left alone anyway is relayed as it comes; the rest is gathered first."""
        reason = self._known_reason()
        if reason is not None:
            self._relay(reason).start()
        elif self._head.expects_continue:
            self._continued = True
            self._client.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def _known_reason(self) -> str | None:
        """Why this search is left alone, where its head alone tells."""
        if self._settings.model is None and not self._settings.shadow:
            return "no-model"
        if self._bypass:
            return "bypass"
        return "too-large" if self._over_limit(self._head.length or 0) else None

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
        self._over = True
        relay = Relay(self._context, self._client, self._draft)
        if buffered or whole or self._continued:
            relay.gathered(buffered, whole=whole, trailers=trailers, resend=second, continued=self._continued)
        relay.on_finish = lambda: self._note_relayed(reason, second)
        self._client.hand_over(relay)
        return relay

    def _note_relayed(self, reason: str, second: bool) -> None:
        self._draft.reason = self._reason(reason, second)
        if self._head.length != 0 or asks(self._dialect, self._head.method, self._head.target):
            self._draft.note(complete=self._completion())

    def _reason(self, reason: str, second: bool) -> str:
        """An error in answer to the client's own bytes outweighs what was wrong with the widened ones."""
        failed = self._draft.status is not None and self._draft.status >= 400
        return "upstream-error" if second and failed else reason

    def _completion(self) -> Callable[[Exchange], Exchange]:
        """Reads what the search asked and what hits it got, off the event loop."""
        dialect, settings, limits = self._dialect, self._settings, self._context.limits
        head, request_body = self._head, self._draft.request.bytes() or b""
        return lambda exchange: completed(exchange, dialect, settings, head, request_body, limits)

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
            self._relay(found.reason, body, whole=True, trailers=trailers).start()
            return
        self._draft.note(**search_columns(found.search, self._head, settings.depth))
        fetched = await fetch(context, self._draft, self._head.method, self._upstream_bytes(found))
        why = await self._serve(found, fetched, body)
        if why is not None:
            self._relay(why, body, whole=True, trailers=trailers, second=True).start()

    async def _plan(self, plain: Request) -> Plan | Alone:
        return await self._maybe_heavy(len(plain.body), lambda: pipeline.plan(self._dialect, plain, self._settings))

    @property
    def _takes_gzip(self) -> bool:
        return content.accepts_gzip(_text(self._head.value(b"accept-encoding")))

    def _upstream_bytes(self, plan: Plan) -> bytes:
        """The widened request. Asked for as gzip only if the client takes gzip, as what comes goes on to it."""
        request = plan.widened.request
        block = request_block(self._context, self._head, drop=_REQUEST_DROP)
        block += b"Accept-Encoding: %b\r\n" % (b"gzip" if self._takes_gzip else b"identity")
        if request.body or self._head.framing != "none":
            block += b"Content-Length: %d\r\n" % len(request.body)
        block = signed(self._context, self._head, block, request.body, request.target)
        line = request_line(self._context, self._head, request.target)
        return line + block + b"\r\n" + request.body

    async def _serve(self, plan: Plan, fetched: Fetched, sent: bytes) -> str | None:
        """Answer from what came, or say why the client's own request must be sent instead."""
        self._draft.answered()
        arrived = time.perf_counter()
        head, raw = fetched.head, fetched.body
        if raw is None:
            return "too-large"
        widened = plan.widened.request.body != sent or plan.widened.request.target != self._head.target
        if head.status == 400 and widened:
            return "widen-refused"
        if not 200 <= head.status < 300:
            self._write(head, raw, reason="upstream-error")
            return None
        try:
            plain = await self._decoded(raw, _text(head.value(b"content-encoding")))
        except content.TooLarge:
            return "too-large"
        except content.Undecodable:
            return "unreadable"
        try:
            answer, broken = await self._read(plain, plan)
            if plan.widened.request.body != sent:
                self._draft.note(upstream_request_body=plan.widened.request.body or None)
            outcome = broken or await self._decide(plan.search, answer, arrived)
            await self._send(head, raw, answer, outcome)
        except Unreadable:
            return "unreadable"
        return None

    async def _decoded(self, raw: bytes, coding: str | None) -> bytes:
        """An answer without its content coding; what unpacks to much is not unpacked on the event loop."""
        limit = self._context.limits.answer_bytes
        if coding is not None and content.codings(coding):
            with contextlib.suppress(content.TooLarge):
                return content.decode(raw, coding, _at_once(limit))
            return await self._context.heavy.call(lambda: content.decode(raw, coding, limit))
        return content.decode(raw, None, limit)

    async def _read(self, plain: bytes, plan: Plan) -> tuple[Answer, Outcome | None]:
        """The answer's hits. Where the user's own ``fields`` raises, they are read by the default ones, and the
        outcome is decided: it fails open as a model would."""
        fields, search = self._settings.fields, plan.search

        def read(fields: FieldsSetting) -> Answer:
            return self._dialect.read_hits(plain, search, fields, undo=plan.widened.undo)

        try:
            heavy = _HEAVY + 1 if callable(fields) else len(plain)  # user code does not run on the event loop
            return await self._maybe_heavy(heavy, lambda: read(fields)), None
        except RerankFault as fault:
            self._context.note("fields", self._draft.exchange_id, fault.__cause__ or fault)
            answer = await self._maybe_heavy(len(plain), lambda: read(None))
            return answer, pipeline.unranked(answer, search, self._settings.model, fault.why, str(fault))

    async def _decide(self, search: Search, answer: Answer, arrived: float) -> Outcome:
        """The order to answer with. Fails open."""
        settings, model = self._settings, self._settings.model
        if not answer.hits:
            return pipeline.unranked(answer, search, model, "no-hits")
        if model is None:
            return pipeline.unranked(answer, search, None, "no-model")
        if _is_original(model):
            return pipeline.unranked(answer, search, model, None, reranked=True, score=math.nan)
        positions = pipeline.candidates(answer, settings.depth)
        if not positions:
            return pipeline.unranked(answer, search, model, "no-text")
        assert isinstance(model, Scorer)
        left = None if settings.deadline is None else settings.deadline - (time.perf_counter() - arrived)
        began = time.perf_counter()
        try:
            scores = await model.scores(search.query, [answer.hits[i] for i in positions], left)
        except RerankFault as fault:
            self._context.note("model", self._draft.exchange_id, fault.__cause__ or fault)
            return pipeline.unranked(answer, search, model, fault.why, str(fault))
        finally:
            self._draft.rerank_ms = (time.perf_counter() - began) * 1e3
        return pipeline.ranked(answer, search, settings, model, positions, scores)

    async def _send(self, head: ResponseHead, raw: bytes, answer: Answer, outcome: Outcome) -> None:
        body = await self._maybe_heavy(len(answer.body), lambda: self._dialect.write_hits(answer, outcome.order))
        packed = bool(content.codings(_text(head.value(b"content-encoding")))) and self._takes_gzip
        if packed:
            body = await self._maybe_heavy(len(body), lambda: content.gzip(body)) if body != answer.body else raw
        more: dict[str, Any] = {
            "rankings": (outcome.ranking,),
            "reranked": outcome.reranked,
            "reason": outcome.reason,
            "error": outcome.error,
        }
        if body != raw:
            more["upstream_response_body"] = raw
        self._write(head, body, changed=body != raw, coding=b"gzip" if packed else None, **more)
        self._shadow(answer, outcome)

    def _shadow(self, answer: Answer, outcome: Outcome) -> None:
        if self._settings.shadow and answer.hits and self._context.shadowing is not None:
            self._context.shadowing(self._draft, self._settings, answer, outcome.ranking.returned)

    def _write(
        self, head: ResponseHead, body: bytes, *, changed: bool = False, coding: bytes | None = None, **more: Any
    ) -> None:
        """The answer, framed by its length, and the exchange's record in the same step."""
        if self._over:
            return
        self._over = True
        keep = self._head.persistent and (b"close" not in head.options or self._client.ahead)
        lines = _restated(head, len(body), coding) if changed else restated(head, len(body))
        self._client.write(lines + persistence(self._head, keep) + b"\r\n" + body)
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

    async def _maybe_heavy(self, size: int, call: Callable[[], T]) -> T:
        """Large bodies are not taken apart on the event loop."""
        return await self._context.heavy.call(call) if size > _HEAVY else call()


def _restated(head: ResponseHead, length: int, coding: bytes | None) -> bytes:
    """The head of another representation: its own length and coding, without upstream's validators."""
    if coding is None:
        return restated(head, length, _STALE | {b"content-encoding"})
    return restated(head, length, _STALE, {b"content-encoding": coding})


def _at_once(limit: int | None) -> int:
    """What may be unpacked on the event loop."""
    return _HEAVY if limit is None else min(limit, _HEAVY)


def _is_original(model: Reranker) -> bool:
    reranker = getattr(model, "reranker", model)
    return isinstance(getattr(reranker, "inner", reranker), Original)


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode("latin-1")
