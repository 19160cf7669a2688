"""One client's connection: reads requests one at a time, hands each to a handler, keeps to the time limits.

Law: a request is read only when the exchange before it has ended, so pipelined requests are answered in order; what a
client sends ahead waits in the socket (reading stops beyond a small buffer).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from time import perf_counter
from typing import Protocol

import msgspec

from .dialects import Dialect, elastic_error
from .errors import ClientFault, HttpFault
from .heads import UNREAD, RequestHead
from .peers import has_closed, has_left, reset_on_close
from .settings import Limits
from .watch import Watched
from .wire import End, Memo, RequestReader

HIGH_WATER = 1 << 18
_AHEAD = 1 << 16
_LINGER_S, _LINGER_MOST_S = 1.0, 30.0

STATUS_TEXT = {
    200: "OK", 202: "Accepted", 400: "Bad Request", 401: "Unauthorized", 404: "Not Found", 405: "Method Not Allowed",
    408: "Request Timeout", 414: "URI Too Long", 421: "Misdirected Request", 431: "Request Header Fields Too Large",
    500: "Internal Server Error", 502: "Bad Gateway", 503: "Service Unavailable", 504: "Gateway Timeout",
}  # fmt: skip


class Handler(Protocol):
    """Who answers a request. Callbacks on the loop's thread."""

    def on_body(self, data: bytes) -> None: ...
    def on_body_end(self, trailers: bytes) -> None: ...
    def on_client_blocked(self, blocked: bool) -> None: ...

    def on_client_gone(self) -> None:
        """The connection is lost; nothing more can be written."""
        ...

    def on_fault(self, fault: HttpFault) -> None:
        """The rest of the request cannot be had: answer so, if no answer has begun, and end the connection."""
        ...


class TunnelEnd(Protocol):
    """Who takes a client's bytes after a switch of protocols; empty ones: the client has ended its side."""

    def on_tunnel_data(self, data: bytes) -> None: ...


class Lobby(Protocol):
    """What a client's connection needs of the proxy that accepted it."""

    @property
    def limits(self) -> Limits: ...
    @property
    def heads(self) -> Memo[RequestHead]: ...
    @property
    def stopping(self) -> bool: ...
    def admit(self, client: ClientConnection) -> bool: ...
    def dismiss(self, client: ClientConnection) -> None: ...
    def destination(self, head: RequestHead) -> Callable[[ClientConnection, RequestHead], None]:
        """Who gives such a request to a handler, by :meth:`ClientConnection.hand_over`; remembered on the head."""
        ...

    def refused(self, client: ClientConnection, fault: HttpFault, head: RequestHead) -> None: ...
    def note(self, error: Exception) -> None:
        """A bug of ours."""
        ...


class ClientConnection(Watched, asyncio.Protocol):
    """A client's connection. What ``Watched`` is about here is the next byte of what is being waited for."""

    def __init__(self, lobby: Lobby) -> None:
        self._lobby = lobby
        self._reader = RequestReader(lobby.limits, lobby.heads)
        self._handler: Handler | None = None
        self._reading_body = False
        self._in_hand: bytes | None = None  # see take_body
        self._held = False  # the handler takes no more of the body for now
        self._paused = False
        self._resuming = False  # it is to be seen soon whether there is another request
        self._half_closed = False
        self._told_end = False  # whether we have ended our side of a tunnel
        self._asks_to_switch = False  # the request in hand asks for a tunnel
        self._lingering_until: float | None = None
        self._tunnel: TunnelEnd | None = None
        self.transport: asyncio.Transport = None  # type: ignore[assignment]
        self.gone = False
        self.blocked = False
        self.peer: str | None = None
        self.t0 = 0.0  # of perf_counter: the request's first byte

    # -- what handlers use

    def write(self, data: bytes | memoryview) -> None:
        if not self.gone and not self.transport.is_closing():
            self.quiet_since = None
            self.transport.write(data)

    def write_all(self, pieces: Sequence[bytes | memoryview]) -> None:
        """The same for several, put together by the system rather than by us where they are large."""
        if not self.gone and not self.transport.is_closing():
            self.quiet_since = None
            self.transport.writelines(pieces)

    def invite(self) -> None:
        """Tell the client to send its body (RFC 9110 §10.1.1)."""
        self.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def hold(self, held: bool) -> None:
        """The handler takes no more of the body for now, or does again."""
        self._held = held
        if not held:
            self.quiet_since = None
            self._pump()
            self._mind_the_end()
        self._adjust()

    def hand_over(self, handler: Handler) -> None:
        """Another handler goes on with this exchange."""
        self._handler = handler

    def take_body(self) -> bytes | None:
        """The body of the request in hand, where it came with its head, whole, and was not told yet: then it is not
        told, nor its end."""
        body, self._in_hand = self._in_hand, None
        if body is not None:
            self._reading_body = False
        return body

    @property
    def ahead(self) -> bool:
        """Whether the client has sent more than the request in hand."""
        return self._reader.pending > 0

    @property
    def body_pending(self) -> bool:
        """Whether the request's body has not been read to its end."""
        return self._reading_body

    def finish(self, keep: bool) -> None:
        """The exchange has ended, its answer is written. ``keep``: the connection may serve another."""
        self._handler = None
        self.quiet_since = None
        if not keep or self._reading_body or self._lobby.stopping:
            self.linger()
            return
        self._held = False
        if self._reader.pending or self._half_closed:
            self._resume_soon()

    def answer(
        self, status: int, body: bytes, *, fields: bytes = b"", head_only: bool = False, keep: bool = True
    ) -> bytes:
        """Write an answer of our own, JSON. Returns its field lines."""
        keep = keep and not self._reading_body and not self._lobby.stopping
        block = b"Content-Type: application/json\r\nContent-Length: %d\r\n%b%b" % (
            len(body), fields, b"" if keep else b"Connection: close\r\n"
        )  # fmt: skip
        line = b"HTTP/1.1 %d %b\r\n" % (status, STATUS_TEXT.get(status, "").encode())
        self.write(line + block + b"\r\n" + (b"" if head_only else body))
        return block

    def linger(self) -> None:
        """Close, but let the client read the answer first: closing at once while it still sends would reset the
        connection and could destroy the answer on its way (RFC 9112 §9.6)."""
        if self.gone or self._lingering_until is not None:
            return
        self._lingering_until = self._now() + _LINGER_S  # longer while it still sends, but not for ever
        self._linger_end = self._now() + _LINGER_MOST_S
        if self._half_closed or self.transport.is_closing():
            self.transport.close()
            return
        with contextlib.suppress(OSError, NotImplementedError):
            self.transport.write_eof()
        self._adjust()

    def tunnel(self, end: TunnelEnd) -> None:
        """From now on this connection speaks another protocol."""
        self._tunnel = end
        if data := self._reader.drain():
            end.on_tunnel_data(data)
        self._adjust()

    def end_tunnel(self) -> None:
        """The other side has ended; end ours once what was written is out."""
        if self._half_closed:
            self.transport.close()
        elif not self.gone:
            self._told_end = True
            with contextlib.suppress(OSError, NotImplementedError):
                self.transport.write_eof()

    def cut(self, *, hard: bool = False) -> None:
        """End the connection so that the client sees that the answer is not whole. ``hard``: by a reset, for where its
        end would be taken for the answer's."""
        if self.gone:
            return
        if hard:
            reset_on_close(self.transport)
            self.transport.abort()
        else:
            self.transport.close()

    # -- what the loop tells

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]
        self.transport.set_write_buffer_limits(high=HIGH_WATER)
        peer = transport.get_extra_info("peername")
        self.peer = f"{peer[0]}:{peer[1]}" if isinstance(peer, tuple) else None
        self._now = asyncio.get_running_loop().time
        if self._lobby.stopping:  # accepted in the last moment
            self.transport.abort()
        elif not self._lobby.admit(self):
            self.answer(
                503, error_body(ClientFault("too many connections", status=503, type="nbproxy_limit")), keep=False
            )
            self.linger()

    def data_received(self, data: bytes) -> None:
        if self._lingering_until is not None:
            self._lingering_until = min(self._now() + _LINGER_S, self._linger_end)
            return
        if self._handler is None and not self.blocked and (whole := self._reader.whole(data)) is not None:
            self.t0 = perf_counter()
            head, body = whole
            if body:
                self._begin(head, body)
            else:
                self._dispatch(head)
                if self._handler is not None:
                    self._handler.on_body_end(b"")
            return
        if self._tunnel is not None:
            self._tunnel.on_tunnel_data(data)
            return
        waiting = self._handler is None and not self._reader.started
        if waiting:
            self.t0 = perf_counter()
        self._reader.receive(data)
        self._pump()
        if self._handler is not None or (waiting and self._reader.started):
            self.quiet_since = None  # a head has so long from its first byte; empty lines before it do not count
        self._adjust()

    def _begin(self, head: RequestHead, body: bytes) -> None:
        """A request that came whole, with a body."""
        self._in_hand, self._reading_body = body, True
        self._dispatch(head)
        if self._in_hand is not None:  # nobody took it
            self._in_hand = self.quiet_since = None
            self._reader.go_on(head, body)
            self._pump()
            self._adjust()

    def _dispatch(self, head: RequestHead) -> None:
        self._asks_to_switch = head.upgrade is not None
        try:
            (head.destination or self._lobby.destination(head))(self, head)
        except HttpFault as fault:
            self._refuse(fault, head)
        except Exception as error:  # a bug of ours must not leave a client without an answer
            self._lobby.note(error)
            self._refuse(HttpFault(f"{type(error).__name__}: {error}"), head)

    def _resume_soon(self) -> None:
        self._resuming = True
        asyncio.get_running_loop().call_soon(self._resume)

    def _resume(self) -> None:
        """Go on with what the client sent ahead."""
        self._resuming = False
        if self.gone or self._handler is not None:
            return
        self.t0 = perf_counter()
        self._pump()
        self._adjust()
        self._mind_the_end()

    def _pump(self) -> None:
        try:
            while not self._held and self._lingering_until is None and not self.gone:
                if self.blocked if self._handler is None else not self._reading_body:
                    return  # the next request waits until the answer before it is out
                event = self._reader.next()
                if event is None:
                    return
                self._take(event)
        except ClientFault as fault:
            self._refuse(fault)

    def _take(self, event: RequestHead | bytes | End) -> None:
        if isinstance(event, bytes):
            if self._handler is not None:
                self._handler.on_body(event)
        elif isinstance(event, End):
            self._reading_body = False
            if self._handler is not None:
                self._handler.on_body_end(event.trailers)
        else:
            self._reading_body = True
            self._dispatch(event)

    @property
    def asks_head(self) -> bool:
        """Whether a request that cannot be read begins as one of HEAD, so that no body answers it."""
        return self._reader.asks_head

    def _refuse(self, fault: HttpFault, head: RequestHead = UNREAD) -> None:
        """What the client sends is of no use: it is told so, if no answer has begun, and the connection closes."""
        if self._handler is not None:
            self._handler.on_fault(fault)
        else:
            self._lobby.refused(self, fault, head)
            self.linger()

    def _adjust(self) -> None:
        """Read from the socket just while what comes has somewhere to go."""
        if self._tunnel is not None:
            full = self._held
        else:
            waits = self.blocked if self._handler is None else not self._reading_body
            full = (self._held or waits) and self._reader.pending > _AHEAD and self._lingering_until is None
        if full != self._paused and not self.gone and not self.transport.is_closing():
            self._paused = full
            self.transport.pause_reading() if full else self.transport.resume_reading()

    def eof_received(self) -> bool:
        self._half_closed = True
        if self._tunnel is not None:
            self._tunnel.on_tunnel_data(b"")
            return True
        if self._lingering_until is not None or (self._handler is None and not self._reader.pending):
            return False
        if self._handler is None and (self._resuming or self.blocked):
            return True  # whole requests may wait
        if self._handler is None or (self._reading_body and not self._held):
            return self._eof_inside_a_request(hard=self._handler is not None)  # else an answer may be on its way
        if self._asks_to_switch or self._deserted():  # who asks for a tunnel and ends it before it is there has gone
            return self._eof_inside_a_request(hard=False)
        return True  # it has said all it wants, and waits for the answer

    def _mind_the_end(self) -> None:
        """Where the client has ended its side: close if nothing of it waits, or if it never sends what is missing."""
        if not self._half_closed or self.gone or self._resuming:
            return
        if self._handler is not None:
            if self._reading_body and not self._held:
                self._eof_inside_a_request()  # what it sent before its end is not the whole body
        elif not (self.blocked and self._reader.pending):
            self.transport.close()

    def _deserted(self) -> bool:
        """Whether the client, which sends no more, does not wait for its answer either, as far as can be known."""
        return has_closed(self.transport.get_extra_info("socket"))

    def _eof_inside_a_request(self, *, hard: bool = True) -> bool:
        if self._handler is not None:
            handler, self._handler = self._handler, None
            handler.on_client_gone()
        self.cut(hard=hard)
        return False

    def connection_lost(self, _exc: Exception | None) -> None:
        self.gone = True
        self._lobby.dismiss(self)
        handler, self._handler = self._handler, None
        if handler is not None:
            handler.on_client_gone()

    def pause_writing(self) -> None:
        self.blocked = True
        if self._handler is not None:
            self._handler.on_client_blocked(True)

    def resume_writing(self) -> None:
        self.blocked = False
        self.quiet_since = None
        # Asyncio looks at the connection once more behind this: it must not be closed here.
        if self._handler is not None:
            asyncio.get_running_loop().call_soon(self._tell_unblocked, self._handler)
        elif self._reader.pending:
            self._resume_soon()

    def _tell_unblocked(self, handler: Handler) -> None:
        if self._handler is handler and not self.blocked:
            handler.on_client_blocked(False)

    # -- time

    def sweep(self, now: float) -> None:
        """End what has waited too long; called now and then."""
        limits = self._lobby.limits
        if self._paused and has_left(self.transport.get_extra_info("socket"), told_end=self._told_end):
            self.transport.abort()
        elif unread := self.transport.get_write_buffer_size():
            if not self.moved(unread) and self.overdue(now, limits.idle_s):  # else it reads, though slowly
                self.transport.abort()
        elif self._lingering_until is not None:
            if now > self._lingering_until:
                self.transport.abort()
        elif self._handler is None:
            if self._reader.started:
                if self.overdue(now, limits.head_s):
                    self._refuse(ClientFault("the request head took too long", status=408, type="nbproxy_limit"))
            elif self.overdue(now, limits.idle_s):
                self.transport.close()
        elif self._half_closed and self._tunnel is None and self._deserted():
            self._eof_inside_a_request()
        elif self._reading_body and not self._held and self.overdue(now, limits.body_s):
            self._refuse(ClientFault("the request body took too long", status=408, type="nbproxy_limit"))

    @property
    def idle(self) -> bool:
        return self._handler is None


def error_body(fault: HttpFault, dialect: Dialect | None = None) -> bytes:
    """Contract §7: in the shape that the dialect of a search gives errors, else in Elasticsearch's."""
    shape = getattr(dialect, "error", elastic_error)  # one's own dialect need not have it
    return msgspec.json.encode(shape(fault.status, fault.type, fault.reason))
