"""A recognised search, from the client's request to the answer with its hits in another order: the I/O around
``pipeline``. Whatever cannot be widened, read or scored is answered as upstream would have."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import msgspec

from . import content, pipeline
from .client import ClientConnection, error_body
from .context import Context
from .dialects import Answer, Dialect
from .drafts import Body, Draft
from .errors import HttpFault, RerankFault, UpstreamFault, UpstreamTimeout
from .exchange import Exchange
from .messages import Headers, Request
from .pipeline import Alone, Outcome, Plan
from .ranking import Ranking, Reranker, Search
from .relay import Relay, request_block, request_line, signed
from .rerankers import ORIGINAL
from .scoring import Scorer
from .settings import Settings
from .upstream import Connection
from .wire import RequestHead, ResponseHead, onward, persistence

T = TypeVar("T")
_HEAVY = 1 << 19
# An answer with its hits in another order is another representation (RFC 9110 §8.8): its validators go.
_STALE = frozenset(
    [b"etag", b"content-md5", b"digest", b"content-digest", b"repr-digest", b"last-modified", b"accept-ranges"]
)
_REQUEST_DROP = frozenset([b"expect", b"accept-encoding", b"content-encoding", b"transfer-encoding", b"content-length"])


@dataclass(frozen=True, slots=True)
class Fetched:
    """A whole answer of upstream's. ``body`` is None where it went over the limit."""

    head: ResponseHead
    body: bytes | None


class Fetch:
    """A request sent upstream whose answer is awaited whole."""

    def __init__(self, limit: int | None) -> None:
        self.result: asyncio.Future[Fetched] = asyncio.get_running_loop().create_future()
        self._limit = limit
        self._pieces: list[bytes] = []
        self._size = 0
        self._head: ResponseHead | None = None
        self._connection: Connection | None = None

    def send(self, connection: Connection, method: str, data: bytes) -> None:
        self._connection = connection
        connection.begin(self, method)
        connection.write(data)

    def on_interim(self, head: ResponseHead) -> None:
        pass

    def on_head(self, head: ResponseHead) -> None:
        if head.status == 101:
            raise UpstreamFault("upstream switched protocols unasked")
        self._head = head

    def on_data(self, data: bytes) -> None:
        self._size += len(data)
        self._pieces.append(data)
        if self._limit is not None and self._size > self._limit:
            self._settle(None, reusable=False)

    def on_end(self, trailers: bytes) -> None:
        self._settle(b"".join(self._pieces), reusable=True)

    def _settle(self, body: bytes | None, *, reusable: bool) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.release(sent=True) if reusable else connection.abort()
        if not self.result.done() and self._head is not None:
            self.result.set_result(Fetched(self._head, body))

    def on_flush(self) -> None:
        pass

    def on_failure(self, fault: UpstreamFault) -> None:
        self._connection = None
        if not self.result.done():
            self.result.set_exception(fault)

    def on_blocked(self, blocked: bool) -> None:
        pass

    def on_tunnel(self, data: bytes) -> None:
        pass

    def cancel(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.abort()


async def fetch(context: Context, draft: Draft, method: str, data: bytes) -> Fetched:
    """Send ``data`` upstream and await the answer; once more where the connection had gone stale."""
    connection = context.pool.take()
    while True:
        if connection is None:
            connection = await context.pool.connect()
        draft.sent()
        job = Fetch(context.limits.answer_bytes)
        job.send(connection, method, data)
        try:
            return await job.result
        except UpstreamFault as fault:
            if not connection.reused or connection.answered or isinstance(fault, UpstreamTimeout):
                raise
            connection = None  # a search may be sent again: it changes nothing
        finally:
            job.cancel()


class SearchExchange:
    """One request on a search route: gathers its body, then answers it, or leaves it alone."""

    def __init__(self, context: Context, client: ClientConnection, draft: Draft, dialect: Dialect, *, bypass: bool) -> None:
        self._context, self._client, self._draft, self._dialect = context, client, draft, dialect
        self._head: RequestHead = draft.head
        self._settings: Settings = draft.settings
        self._bypass = bypass
        self._pieces: list[bytes] = []
        self._size = 0
        self._continued = False
        self._task: asyncio.Task[None] | None = None
        self._over = False
        draft.more.update(dialect=dialect.name, index=dialect.index_of(self._head.target))

    # -- the request

    def start(self) -> None:
        """Begin. A model-less proxy needs nothing of the body, and relays it as it comes."""
        if self._untouched() or self._over_limit(self._head.length or 0):
            reason = "no-model" if self._untouched() else "too-large"
            self._relay(reason).start()
        elif self._head.expects_continue and self._head.length != 0:
            self._continued = True
            self._client.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def _untouched(self) -> bool:
        return self._settings.model is None and not self._settings.shadow

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
            self._draft.request.add(body)
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
        self,
        reason: str,
        buffered: bytes = b"",
        *,
        whole: bool = False,
        trailers: bytes = b"",
        search: Search | None = None,
        upstream_request: bytes | None = None,
        error: bool = False,
    ) -> Relay:
        """Hand the exchange over to a relay of the client's own bytes."""
        if reason == "too-large" and not whole:
            self._draft.request = Body()  # what is streamed is not held in memory for the record
        if buffered and not whole:
            self._draft.request.add(buffered)
        self._over = True
        self._draft.more.update(reason=reason)
        relay = Relay(
            self._context,
            self._client,
            self._draft,
            buffered=buffered,
            whole=whole,
            trailers=trailers,
            resend=True,
            continued=self._continued,
            on_finish=lambda: {"complete": self._completion(), "reason": _after(reason, self._draft)},
        )
        self._client.hand_over(relay)
        return relay

    def _completion(self) -> Callable[[Exchange], Exchange]:
        """Reads what the search asked and what hits it got, off the event loop."""
        dialect, settings, limit = self._dialect, self._settings, self._context.limits.answer_bytes
        head, request_body = self._head, self._draft.request.bytes() or b""
        return lambda exchange: completed(exchange, dialect, settings, head, request_body, limit)

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
                self._relay("unreadable", body, whole=True, trailers=trailers).start()

    async def _answer(self, body: bytes, trailers: bytes) -> None:
        context, settings = self._context, self._settings
        request = Request(self._head.method, self._head.target, self._head.headers, body)
        plain = pipeline.plain_request(request, context.limits.search_bytes)
        found = (
            plain
            if isinstance(plain, Alone)
            else await self._maybe_heavy(
                len(body), lambda: pipeline.plan(self._dialect, plain, settings, bypass=self._bypass)
            )
        )
        if isinstance(found, Alone):
            self._relay(found.reason, body, whole=True, trailers=trailers).start()
            return
        self._note_search(found.search)
        fetched = await fetch(context, self._draft, self._head.method, self._upstream_bytes(found))
        why = await self._serve(found, fetched, body)
        if why is not None:
            self._relay(why, body, whole=True, trailers=trailers).start()

    def _note_search(self, search: Search) -> None:
        self._draft.more.update(search_columns(search, self._head, self._settings.depth))

    def _upstream_bytes(self, plan: Plan) -> bytes:
        """The widened request. Asked for as gzip only if the client takes gzip, as what comes goes on to it."""
        request = plan.widened.request
        block = request_block(self._context, self._head, drop=_REQUEST_DROP)
        gzip = content.accepts_gzip(_text(self._head.value(b"accept-encoding")))
        block += b"Accept-Encoding: %b\r\n" % (b"gzip" if gzip else b"identity")
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
            plain = content.decode(raw, _text(head.value(b"content-encoding")), self._context.limits.answer_bytes)
        except content.TooLarge:
            return "too-large"
        except content.Undecodable:
            return "unreadable"
        answer = await self._maybe_heavy(
            len(plain),
            lambda: pipeline.read_answer(self._dialect, plain, plan.search, self._settings, plan.widened),
        )
        if answer is None:
            return "unreadable"
        if plan.widened.request.body != sent:
            self._draft.more["upstream_request_body"] = plan.widened.request.body or None
        outcome = await self._decide(plan.search, answer, arrived)
        await self._send(head, raw, answer, outcome)
        return None

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
        coding = head.value(b"content-encoding")
        packed = coding is not None and coding.strip().lower() != b"identity"
        if packed:
            body = raw if body == answer.body else await self._maybe_heavy(len(body), lambda: content.gzip(body))
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

    def _write(self, head: ResponseHead, body: bytes, *, changed: bool = False, coding: bytes | None = None, **more: Any) -> None:
        """The answer, framed by its length, and the exchange's record in the same step."""
        if self._over:
            return
        self._over = True
        keep = self._head.keeps_alive()
        head.framing, head.length = "length", len(body)
        if changed:
            head = _restated(head, len(body), coding)
        lines, _ = onward(head, self._head)
        if not head.values(b"content-length"):
            lines += b"Content-Length: %d\r\n" % len(body)
        self._client.write(lines + persistence(self._head, keep) + b"\r\n" + body)
        self._draft.respond(head.status, lines.partition(b"\r\n")[2])
        if body:
            self._draft.response.add(body)
        self._draft.finish(**more) if "error" in more else self._finish(**more)
        self._client.finish(keep)

    def _answer_fault(self, fault: HttpFault) -> None:
        if self._over:
            return
        self._over = True
        body = error_body(fault)
        keep = self._head.keeps_alive() and not self._client.body_pending
        block = self._client.answer(fault.status, body, keep=keep)
        self._draft.respond(fault.status, block)
        self._draft.response.add(body)
        reason = "upstream-error" if isinstance(fault, UpstreamFault) else None
        self._finish(error=str(fault), reason=reason)
        self._client.finish(keep)

    def _finish(self, error: str | None = None, **more: Any) -> None:
        self._over = True
        self._draft.finish(error, **more)

    async def _maybe_heavy(self, size: int, call: Callable[[], T]) -> T:
        """Large bodies are not taken apart on the event loop."""
        return await self._context.heavy.call(call) if size > _HEAVY else call()


def _restated(head: ResponseHead, length: int, coding: bytes | None) -> ResponseHead:
    """The head of another representation: its own length and coding, without upstream's validators."""
    replace_with = {b"content-length": b"%d" % length}
    drop = _STALE | ({b"content-encoding"} if coding is None else frozenset())
    if coding is not None:
        replace_with[b"content-encoding"] = coding
    block = head.forwarded(drop, replace_with)
    return ResponseHead(head.minor, head.status, head.reason, block, "GET")


def _is_original(model: Reranker) -> bool:
    return getattr(model, "reranker", model) is ORIGINAL


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode("latin-1")


def _after(reason: str, draft: Draft) -> str:
    """The reason, once the client's own request was answered: an error of upstream's outweighs a failed widening."""
    failed = draft.status is not None and draft.status >= 400
    return "upstream-error" if failed and reason in ("widen-refused", "unreadable", "too-large") and draft.upstream_ms else reason


def search_columns(search: Search, head: RequestHead, depth: int) -> dict[str, Any]:
    """The columns of the frame that say what was searched."""
    opaque = head.headers.get("x-opaque-id")
    return {
        "query_id": pipeline.query_id(opaque, search.query),
        "ubi_query_id": search.ubi_query_id,
        "query": search.query,
        "offset": search.offset,
        "size": search.size,
        "depth": depth,
    }


def completed(
    exchange: Exchange, dialect: Dialect, settings: Settings, head: RequestHead, body: bytes, limit: int | None
) -> Exchange:
    """A search that was left alone, with what it asked and the hits that it got. Runs on the recorder's thread."""
    request = pipeline.plain_request(Request(head.method, head.target, head.headers, body), limit)
    search = None if isinstance(request, Alone) else dialect.read_search(request)
    if not isinstance(search, Search):
        # What would have been found wrong with a model is no reason without one: no-model comes first.
        return msgspec.structs.replace(exchange, complete=None)
    rankings: tuple[Ranking, ...] = ()
    if exchange.status is not None and 200 <= exchange.status < 300 and exchange.response_body:
        rankings = _hits_as_answered(exchange, dialect, settings, search, limit)
    columns = search_columns(search, head, settings.depth)
    return msgspec.structs.replace(exchange, complete=None, rankings=rankings, **columns)


def _hits_as_answered(
    exchange: Exchange, dialect: Dialect, settings: Settings, search: Search, limit: int | None
) -> tuple[Ranking, ...]:
    coding = Headers.parse(exchange.response_head).get("content-encoding")
    try:
        plain = content.decode(exchange.response_body or b"", coding, limit)
    except (content.TooLarge, content.Undecodable):
        return ()
    ranking = pipeline.as_answered(dialect, plain, search, settings, settings.model)
    return (ranking,) if ranking is not None else ()
