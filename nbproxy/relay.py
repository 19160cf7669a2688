"""Pass-through: one exchange's bytes from client to upstream and back, as they come.

Laws: a request goes upstream once, and again only if the reused connection closed before any byte of an answer and the
request is safe (or a recognised search); a truncated answer never ends cleanly; each side is read only as fast as the
other takes it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from time import perf_counter

from .client import ClientConnection, error_body
from .context import Context
from .drafts import Body, Draft
from .errors import ClientFault, HttpFault, UpstreamFault, UpstreamTimeout
from .heads import Framing, ResponseHead, answer_head
from .outbound import request_block, request_line, signed
from .redact import redact_head
from .upstream import Connection
from .wire import LARGE, chunk, last_chunk

SAFE = frozenset(["GET", "HEAD", "OPTIONS", "TRACE"])
_PAST_THE_REST_S = 1.0
_NONE: frozenset[bytes] = frozenset()
_EXPECT = frozenset([b"expect"])


class Relay:
    """One exchange that is passed through.

    :ivar on_finish: called when it has ended, before it is recorded.
    """

    borrows = True
    on_finish: Callable[[], None] | None = None
    answering = False  # whether any of the answer has gone to the client
    over = False
    _buffered = b""  # the part of the body that was read before, and is sent with the head
    _trailers = b""
    _again = False  # whether it goes upstream on a new connection only
    _continued = False  # whether we told the client to go on
    _invited = False  # whether upstream did
    _connection: Connection | None = None
    _collected: list[bytes] | None = None  # the body of a request that is to be signed
    _request_done = False
    _response_done = False
    _discarding = False
    _tunnel = False
    _sides = 2  # of a tunnel, that have not ended
    _got_body = False
    _closes = False  # whether upstream ends its connection with this answer
    _keep = False
    _framing: Framing = "none"

    def __init__(self, context: Context, client: ClientConnection, draft: Draft) -> None:
        self._context, self._client, self._draft = context, client, draft
        self._head = draft.head
        self._whole = self._head.length == 0  # whether ``_buffered`` is all of the body
        self._replayable = self._whole and self._head.method in SAFE
        self._out: list[bytes] = []

    def gathered(self, body: bytes, *, whole: bool, trailers: bytes, again: bool, continued: bool) -> None:
        """Before the start: what was read of the request's body already. ``whole``: all of it. ``again``: upstream was
        asked before, so that what comes late of that answer must not meet this request: its connection is a new one.
        ``continued``: the client was told to go on."""
        self._buffered, self._whole, self._trailers, self._continued = body, whole, trailers, continued
        self._replayable, self._again = whole and self._head.method in SAFE, again

    # -- the request

    def start(self) -> None:
        """Begin. A request that is to be signed is read whole first: the signature covers its body."""
        if self._head.length and (body := self._client.take_body()):
            self._draft.received(body)
            self._buffered, self._whole, self._replayable = body, True, self._head.method in SAFE
        if self._context.pool.origin.sign is None or self._whole:
            self._open()
        else:
            self._collected = [self._buffered]
            if self._head.expects_continue and not self._continued:
                self._continued = True
                self._client.invite()

    def _collect(self, data: bytes) -> None:
        assert self._collected is not None
        self._collected.append(data)
        most = self._context.limits.search_bytes
        if most is not None and sum(map(len, self._collected)) > most:
            self.on_fault(ClientFault(f"a request over {most} bytes cannot be signed"))

    def _open(self) -> None:
        connection = None if self._again else self._context.pool.take(once=self._head.method not in SAFE)
        if connection is not None:
            self._begin(connection)
        else:
            self._client.hold(True)
            self._context.spawn(self._connect())

    async def _connect(self) -> None:
        try:
            connection = await self._context.pool.connect()
        except UpstreamFault as fault:
            self.on_failure(fault)
            return
        if self.over:
            self._context.pool.give(connection)  # unused
            return
        self._begin(connection)
        self._client.hold(connection.blocked and not self._request_done)

    def _begin(self, connection: Connection) -> None:
        head, body = self._head, self._buffered
        if self._continued or self._context.pool.origin.sign is not None:
            try:
                data = self._outbound()
            except UpstreamFault as fault:  # the signing callable's
                self._context.pool.give(connection)  # unused
                self.on_failure(fault)
                return
        else:
            data = head.outbound = head.outbound or self._outbound()
        if body:
            data += chunk(body) if head.framing == "chunked" else body
        self._connection, self._request_done = connection, self._whole
        if self._draft.sent_at is None:
            self._draft.sent_at = perf_counter()
        connection.begin(self, head.method, data, due=self._whole or self._unsent_body())
        if self._whole and head.framing == "chunked":
            connection.write(last_chunk(self._trailers))

    def _outbound(self) -> bytes:
        """The head as it goes upstream."""
        context, head = self._context, self._head
        block = request_block(context, head, drop=_EXPECT if self._continued else _NONE)
        if self._whole:
            block = signed(context, head, block, self._buffered)
        if head.upgrade is not None:
            block += b"Connection: Upgrade\r\nUpgrade: %b\r\n" % head.upgrade
        return request_line(context, head) + block + b"\r\n"

    def on_body(self, data: bytes) -> None:
        if not self.over:
            self._draft.received(data)
        self._got_body = True
        if self._collected is not None:
            self._collect(data)
        if self._discarding or self._connection is None:
            return
        self._replayable = False
        self._connection.expect_nothing()
        self._connection.write(chunk(data) if self._head.framing == "chunked" else data)

    def on_body_end(self, trailers: bytes) -> None:
        if self._whole:
            return  # it has gone with the head
        self._trailers = trailers
        if self._collected is not None and not self.over:
            self._buffered, self._whole = b"".join(self._collected), True
            self._collected = None
            self._open()
            return
        if self._head.framing == "chunked" and self._connection is not None and not self._discarding:
            self._connection.write(last_chunk(trailers))
        if not self._got_body:
            self._replayable = self._head.method in SAFE
        self._end_request()

    def _end_request(self) -> None:
        self._request_done = True
        if self._connection is not None:
            self._connection.expect_answer()
        if self._response_done:
            self._close()

    def on_blocked(self, blocked: bool) -> None:
        if not self._request_done or self._tunnel:
            self._client.hold(blocked)

    # -- the answer

    def on_interim(self, head: ResponseHead) -> None:
        if self._head.minor == 0 or (head.status == 100 and self._continued):
            return
        if head.status == 100:
            self._invited = True
        self._client.write(head.interim_answer)

    def on_head(self, head: ResponseHead) -> None:
        self.answering = True
        self._draft.respond_as(head)
        if head.status == 101:
            asked = self._head.upgrade is not None or head.values(b"upgrade") or not self._head.minor
            self._switch(head) if asked else self._switch_to_nothing(head)
            return
        self._out.append(self._begin_answer(head))

    def _begin_answer(self, head: ResponseHead) -> bytes:
        """The head as it goes to the client."""
        # Upstream's own end is told on, so that nobody stays whom the server meant to go; but not to a client that has
        # sent its next request already.
        self._closes = b"close" in head.options or head.framing == "close"
        more = self._request_done and self._client.ahead
        keep = self._head.persistent and not self._unsent_body() and (more or not self._closes)
        lines, self._framing = answer_head(head, self._head, keep=keep, more=more)
        self._keep = keep and self._framing != "close"
        return lines

    def on_whole(self, head: ResponseHead, body: bytes | memoryview) -> None:
        """A whole answer at once: most are."""
        draft, known = self._draft, head.plain_answer
        draft.answered_at, draft.status, draft.response_block = perf_counter(), head.status, head.block
        self.answering = self._response_done = True
        if known is not None and self._head.plain and self._request_done:
            lines, self._framing = known
            self._keep = by_heart = True
        else:
            lines, by_heart = self._begin_answer(head), False
        if isinstance(body, bytes):
            if body:
                draft.got_body = Body(draft.keep[1], len(body), body)
            self._client.write(lines + body)
        else:
            landing = self._context.pool.landing
            draft.got_body = Body(draft.keep[1], len(body), body, None, landing.spot)
            whole = landing.headed(lines, len(body)) if by_heart and _harmless(head) else None
            if whole is None:
                self._client.write_all((lines, body))
            else:
                self._client.write(whole)
        self._close_if_done()

    def _unsent_body(self) -> bool:
        """The client waits for a 100 (Continue) that will not come: whether it will send its body, nobody knows."""
        return self._head.expects_continue and not (
            self._continued or self._invited or self._got_body or self._request_done
        )

    def _switch(self, head: ResponseHead) -> None:
        if not self._request_done or not self._head.may_become(head.items(b"upgrade")):
            self.answering = False
            raise UpstreamFault("upstream switched protocols unasked, or before it had the whole request")
        self._tunnel = True
        upgrade = head.value(b"upgrade") or self._head.upgrade or b""
        block = head.forwarded() + b"Connection: Upgrade\r\nUpgrade: %b\r\n" % upgrade
        self._out += [b"HTTP/1.1 101 %b\r\n" % head.reason, block, b"\r\n"]
        self.on_flush()
        self._client.tunnel(self)
        if self._connection is not None and self._connection.blocked:
            self._client.hold(True)

    def _switch_to_nothing(self, head: ResponseHead) -> None:
        """A 101 that names no protocol, and was not asked for: an answer without a body, and nothing follows it."""
        self._out.append(head.status_line + head.forwarded() + b"Connection: close\r\n\r\n")
        self._response_done = True
        self._draft.answered()
        self.on_flush()
        self._close()

    def on_data(self, data: bytes) -> None:
        self._draft.returned(data)
        self._out.append(chunk(data) if self._framing == "chunked" else data)

    def on_end(self, trailers: bytes) -> None:
        self._draft.answered()
        self._draft.response.settle(self._context.pool.landing)
        if self._framing == "chunked":
            self._out.append(last_chunk(trailers))
        self._response_done = True
        self.on_flush()
        self._close_if_done()

    def _close_if_done(self) -> None:
        if self._request_done or (not self._keep and (self._closes or self._unsent_body())):
            self._close()

    def on_flush(self) -> None:
        """Write what has come together."""
        if self._out:
            out, self._out = self._out, []
            if len(out) > 1 and sum(map(len, out)) >= LARGE:
                self._client.write_all(out)
            else:
                self._client.write(out[0] if len(out) == 1 else b"".join(out))
            if self._client.blocked and self._connection is not None and not self._response_done:
                self._connection.hold(True)

    def on_client_blocked(self, blocked: bool) -> None:
        if self._connection is not None and not self._response_done:
            self._connection.hold(blocked)

    def on_tunnel(self, data: bytes) -> None:
        if not data:
            self._client.end_tunnel()
            self._end_side()
            return
        self._draft.returned(data)
        self._client.write(data)
        if self._client.blocked and self._connection is not None:
            self._connection.hold(True)

    def on_tunnel_data(self, data: bytes) -> None:
        """The client's side of a tunnel; empty: it has ended."""
        if self._connection is None:
            return
        if data:
            self._draft.received(data)
            self._connection.write(data)
        else:
            self._connection.finish_tunnel()
            self._end_side()

    def _end_side(self) -> None:
        """One side of a tunnel has ended; with the second there is nothing left of it."""
        self._sides -= 1
        if not self._sides:
            self._drop(flushed=True)
            self._finish(None)
            self._client.cut()

    # -- the end

    def _close(self, error: str | None = None) -> None:
        if self.over:
            return
        self.over = True
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.release(sent=self._request_done and not self._head.last)
        if self.on_finish is not None:
            self.on_finish()
        self._draft.finish(error)
        self._client.finish(self._keep)

    def _finish(self, error: str | None) -> None:
        if self.on_finish is not None:
            self.on_finish()
        self._draft.finish(error)

    def on_failure(self, fault: UpstreamFault) -> None:
        """Upstream cannot be reached, or its answer broke off."""
        if self.over:
            return
        connection, self._connection = self._connection, None
        if self._response_done:
            self._read_past_the_rest()
        elif connection is not None and self._may_resend(connection, fault):
            self._start_anew()
        else:
            self._context.note("upstream", self._draft.exchange_id, fault)
            self.on_fault(fault)

    def _read_past_the_rest(self) -> None:
        """The answer stands, the rest of the request has nowhere to go. A client that was told that its connection
        goes on may have sent its next request behind it; one that takes longer is told by its connection's end."""
        if self._keep:
            self._discarding = True
            asyncio.get_running_loop().call_later(_PAST_THE_REST_S, self._end_unread)
            self._client.hold(False)
        else:
            self._close()

    def _end_unread(self) -> None:
        self._keep = False
        self._close()

    def _may_resend(self, connection: Connection, fault: UpstreamFault) -> bool:
        """Only where upstream closed an idle connection in the moment that we used it."""
        untouched = connection.reused and not connection.answered and not isinstance(fault, UpstreamTimeout)
        return untouched and self._replayable and self._request_done

    def _start_anew(self) -> None:
        self._whole, self._request_done = True, False
        self._client.hold(True)
        self._context.spawn(self._connect())

    def on_fault(self, fault: HttpFault) -> None:
        """Answer with an error of ours if no answer has begun; else cut it, so that it is seen to be cut."""
        if self.over:
            return
        self._drop()
        if self._tunnel:
            self._finish(None)
            self._client.cut(hard=isinstance(fault, UpstreamFault) and fault.reset)
        elif self.answering:
            self.on_flush()
            self._finish(str(fault))
            self._client.cut(hard=self._framing == "close")
        else:
            self._answer_fault(fault)

    def _answer_fault(self, fault: HttpFault) -> None:
        self._discarding = True  # what is at hand of the request is read, so that the connection can go on
        self._client.hold(False)
        body, method = error_body(fault, self._draft.errors), self._head.method
        keep = self._head.persistent and (self._request_done or self._whole)
        block = self._client.answer(fault.status, body, head_only=method == "HEAD", keep=keep)
        self._draft.respond(fault.status, block)
        if method != "HEAD":
            self._draft.returned(body)
        self._finish(str(fault))
        self._client.finish(keep)

    def _drop(self, *, flushed: bool = False) -> None:
        """Let go of upstream; ``flushed``: once what was written is out."""
        self.over = True
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.end() if flushed else connection.abort()

    def on_client_gone(self) -> None:
        if self.over:
            return
        if self._tunnel and self._connection is not None:
            self._connection.reset()  # an end would have come as one
        self._drop()
        self._finish(None if self._tunnel else "the client closed the connection")


def _harmless(head: ResponseHead) -> bool:
    """Whether a head may stand in a recording as it is."""
    if head.harmless is None:
        raw = head.status_line + head.block
        head.harmless = redact_head(raw) == raw
    return head.harmless
