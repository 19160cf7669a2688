"""Connections to the search engine: opened, pooled, watched, and given back.

Laws: a connection carries one exchange at a time and goes back to the pool only when both its request and its answer
have ended and nothing stands behind the answer; bytes on an idle connection condemn it. Times are the loop's clock.
"""

from __future__ import annotations

import asyncio
import select
from collections import defaultdict
from collections.abc import Callable
from typing import Any, Protocol

from .dialing import Dialer
from .errors import UpstreamFault, UpstreamTimeout
from .heads import ResponseHead
from .landing import READ_BYTES, Landing
from .origin import Origin
from .peers import read_left_over, reset_on_close, unsent
from .settings import Timeouts
from .trust import ended_properly, explain
from .watch import Watched
from .wire import LARGE, End, Memo, Memos, ResponseReader

HIGH_WATER = 1 << 18
HEAD_BYTES = 1 << 12  # of a large answer, to look for its head in


class User(Protocol):
    """Who has a connection in use. The pool's callbacks, all on the loop's thread.

    :ivar borrows: whether it records a large body as it came (:mod:`landing`).
    """

    borrows: bool

    def on_interim(self, head: ResponseHead) -> None: ...
    def on_head(self, head: ResponseHead) -> None: ...
    def on_data(self, data: bytes) -> None: ...
    def on_end(self, trailers: bytes) -> None: ...

    def on_whole(self, head: ResponseHead, body: bytes | memoryview) -> None:
        """A whole answer at once, in place of the three above."""
        ...

    def on_flush(self) -> None:
        """All that has come for now was told (not after ``on_whole``)."""
        ...

    def on_failure(self, fault: UpstreamFault) -> None:
        """The connection is lost; after ``on_end`` only where the request was still being sent."""
        ...

    def on_blocked(self, blocked: bool) -> None:
        """Upstream takes no more bytes for now, or does again."""
        ...

    def on_tunnel(self, data: bytes) -> None:
        """After a 101: bytes of another protocol; empty: upstream has ended its side."""
        ...


class Connection(Watched, asyncio.BufferedProtocol):
    """One connection to upstream."""

    def __init__(self, pool: Pool) -> None:
        self._pool, self._landing = pool, pool.landing
        self._reader = ResponseReader(memos=pool.memos)
        self.user: User | None = None
        self.transport: asyncio.Transport = None  # type: ignore[assignment]
        self.reused = False
        self.open = True
        self.answered = False  # whether any byte of this exchange's answer has come
        self.ended = False  # whether this exchange's answer has ended
        self._reusable = False  # whether the connection may serve another exchange after this one
        self._due = False  # whether the request has been sent, so that it is upstream's turn
        self._tunnel = False
        self._look: Callable[[int], list[Any]] | None = None  # made once: polls the socket
        self.blocked = False  # whether upstream takes no more bytes for now
        self._held = False  # whether it is not read for now
        self._more = False  # whether something stood behind what was read last
        self._is_answer = False  # whether what is there when a write fails came in answer to it, not before it

    # -- what a user does

    def begin(self, user: User, method: str, data: bytes, *, due: bool) -> None:
        """Use this connection for an exchange: send its request, or its first part. ``due``: it is upstream's turn
        then (see :meth:`expect_answer`)."""
        self.user = user
        self.answered = self.ended = self._reusable = False
        self._due = self.awaited = due
        self.quiet_since = None
        self._is_answer = not self.reused
        self._reader.expect(method)
        self.transport.write(data)

    def write(self, data: bytes) -> None:
        """Send more of the request."""
        self._is_answer = True
        if self.open and not self.transport.is_closing():
            self.transport.write(data)

    def expect_answer(self) -> None:
        """It is upstream's turn: it has so long from now."""
        self._due = True
        self._await()

    def expect_nothing(self) -> None:
        """It is the client's turn: upstream owes nothing yet, unless it has begun to answer, or takes no bytes."""
        if self._due:
            self._due = False
            self.awaited = self.answered and not self.ended

    def _await(self) -> None:
        if not self._held and not self._tunnel and (self.blocked or not self.ended):
            self.awaited, self.quiet_since = True, None

    def hold(self, held: bool) -> None:
        """Read no more from upstream (its bytes have nowhere to go), or read again."""
        if not self.open:
            return
        self._held = held
        if held:
            self.awaited = False  # it is not upstream who is slow
            self.transport.pause_reading()
        else:
            self._await()
            self.transport.resume_reading()

    def release(self, *, sent: bool) -> None:
        """Give the connection back: the answer has ended. ``sent``: the request as well."""
        self.user = None
        self.awaited = False
        clean = sent and self.ended and self._reusable and not self._more
        if clean and self.open and not self.transport.get_write_buffer_size():
            self._pool.give(self)
        else:
            self.abort()

    def abort(self) -> None:
        """Drop the connection at once."""
        self.user = None
        self.awaited = self.open = False
        self._pool.forget(self)
        if self.transport is not None:
            self.transport.abort()

    def end(self) -> None:
        """Let go of the connection once what was written to it is out; for that upstream has as long as to answer."""
        self.user = None
        self.open, self.awaited, self.quiet_since = False, True, None
        self.transport.close()

    def condemn(self) -> None:
        """What it answered could not be read: unless it has another exchange already, it is to have none."""
        if self.user is None:
            self.abort()

    def reset(self) -> None:
        """Drop the connection so that upstream sees a reset, not an end."""
        reset_on_close(self.transport)
        self.abort()

    def finish_tunnel(self) -> None:
        """The client has ended its side of a tunnel."""
        if not self.open:
            return
        if self.transport.can_write_eof():
            self.transport.write_eof()
        else:  # TLS has no half
            self.transport.close()

    @property
    def stirred(self) -> bool:
        """Whether something has come (its end, as a rule) that the loop has not told yet."""
        if self._look is None and self.open and hasattr(select, "poll"):
            look = select.poll()
            look.register(self.transport.get_extra_info("socket").fileno(), select.POLLIN)
            self._look = look.poll
        return not self.open or (self._look is not None and bool(self._look(0)))

    # -- what the loop tells

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]
        self.transport.set_write_buffer_limits(high=HIGH_WATER)

    def get_buffer(self, _sizehint: int) -> memoryview:
        return self._landing.room

    def buffer_updated(self, size: int) -> None:
        user = self.user
        if user is None:
            self.abort()  # nobody asked: what comes must not be taken for the next answer
            return
        self.quiet_since = None
        if self._tunnel:
            user.on_tunnel(self._landing.copied(size))
            return
        if self.ended:
            self._reusable = False  # it says more than was asked: never to be taken for the next answer
            return
        self.answered = self.awaited = True
        self._more = size == READ_BYTES and self.stirred  # plain asyncio tells a read that was full by itself
        small = size < LARGE
        data = self._landing.copied(size if small else HEAD_BYTES)
        try:
            if (whole := self._reader.whole(data, size)) is not None:
                head, start = whole
                self.ended, self.awaited, self._reusable = True, self.blocked, head.persistent
                if small:
                    user.on_whole(head, data[start:])
                elif user.borrows:
                    user.on_whole(head, self._landing.lend(start, size - start, harmless=head.harmless))
                else:
                    user.on_whole(head, self._landing.copied(size)[start:])
                return
            self._reader.receive(data if small else self._landing.copied(size))
            self._pump()
        except UpstreamFault as fault:
            self._fail(fault)
        if self.user is not None:
            self.user.on_flush()

    def _pump(self) -> None:
        while (user := self.user) is not None and not self.ended:
            event = self._reader.next()
            if event is None:
                return
            if isinstance(event, bytes):
                user.on_data(event)
            elif isinstance(event, End):
                self._end(event.trailers)
            elif event.interim:
                user.on_interim(event)
            else:
                self._reusable = event.persistent
                user.on_head(event)
                if event.status == 101 and self.user is user:
                    self._open_tunnel(user)
                    return

    def _open_tunnel(self, user: User) -> None:
        self._tunnel = True
        self._reusable = self.awaited = False
        if data := self._reader.drain():
            user.on_tunnel(data)

    def _end(self, trailers: bytes) -> None:
        self.ended = True
        self.awaited = self.blocked
        self._reusable = self._reusable and self._reader.clean
        if self.user is not None:
            self.user.on_end(trailers)

    def eof_received(self) -> bool:
        if self._tunnel:
            if self.user is not None:
                self.user.on_tunnel(b"")
            return True
        self.open = False
        cut = self.user is None or self.ended or not ended_properly(self.transport)
        end = None if cut else self._reader.eof()
        if end is not None:
            self._end(end.trailers)
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self.open = False
        self._pool.forget(self)
        if exc is not None and self._is_answer:
            self._take_what_came()
        fault = UpstreamFault(f"upstream closed the connection{f': {explain(exc)}' if exc else ''}")
        fault.reset = isinstance(exc, ConnectionResetError)
        self.awaited = False
        self._fail(fault, lost=True)

    def _take_what_came(self) -> None:
        """A server that answers before it has read the whole request, and closes, resets the connection: our next write
        fails, and both loops then look no more at what had come before. The system still has it."""
        while (
            self.user is not None and not self.ended and (size := read_left_over(self.transport, self.get_buffer(-1)))
        ):
            self.buffer_updated(size)

    def _fail(self, fault: UpstreamFault, *, lost: bool = False) -> None:
        """``lost``: nothing is left to abort, and asyncio would tell of the loss a second time."""
        user, self.user = self.user, None
        if not lost:
            self.abort()
        if user is not None:
            user.on_failure(fault)

    def moves(self) -> bool:
        """The sweep's look at what is quiet: whether it takes bytes, though it says none."""
        return self.moved(unsent(self.transport))

    def expire(self, seconds: float) -> None:
        self._fail(UpstreamTimeout(f"upstream sent nothing for {seconds:g} s"))

    def pause_writing(self) -> None:
        self.blocked = True
        self._await()  # that it reads on, though it may have answered
        if self.user is not None:
            self.user.on_blocked(True)

    def resume_writing(self) -> None:
        self.blocked = False
        self.awaited = (self._due or self.answered) and not (self.ended or self._tunnel or self._held)
        if self.user is not None:  # asyncio looks at the connection once more behind this: it must not be closed here
            asyncio.get_running_loop().call_soon(self._tell_unblocked, self.user)

    def _tell_unblocked(self, user: User) -> None:
        if self.user is user and not self.blocked:
            user.on_blocked(False)


class Pool:
    """The connections to one upstream."""

    def __init__(self, place: Origin, timeouts: Timeouts, *, keep: int = 256, idle_s: float = 60.0) -> None:
        self.origin = place
        self._timeouts = timeouts
        self._loop = asyncio.get_running_loop()
        self.time = self._loop.time
        self._idle: list[Connection] = []
        self._all: set[Connection] = set()
        self._dialer = Dialer(place, timeouts.connect)
        self._keep, self._idle_s = keep, idle_s
        self._closed = False
        self.memos: Memos = defaultdict(Memo)
        self.landing = Landing()

    def take(self, *, once: bool = False) -> Connection | None:
        """An idle connection, the one used last first; None where a new one must be opened. ``once``: for a request
        that cannot be sent again, so that it is worth a look whether upstream has just closed the connection."""
        while self._idle:
            connection = self._idle.pop()
            if once and connection.stirred:
                connection.abort()
            elif connection.open:
                connection.reused = True
                return connection
        return None

    async def connect(self) -> Connection:
        """A new connection.

        :raises UpstreamFault: it cannot be had; :class:`UpstreamTimeout` where that took too long.
        """
        transport, connection = await self._dialer.dial(lambda: Connection(self))
        if self._closed:
            transport.abort()
            raise UpstreamFault("the proxy is stopping")
        self._all.add(connection)
        return connection

    def give(self, connection: Connection) -> None:
        """Take a connection back."""
        if self._closed or len(self._idle) >= self._keep:
            connection.abort()
        else:
            connection.quiet_since = None
            self._idle.append(connection)

    def forget(self, connection: Connection) -> None:
        self._all.discard(connection)

    def sweep(self) -> None:
        """End what has waited too long; called now and then."""
        now, read = self.time(), self._timeouts.read
        for connection in list(self._all):
            if connection.awaited and connection.quiet_since is not None:
                connection.moves()
            if connection.awaited and connection.overdue(now, read):
                connection.expire(read or 0)
        for connection in list(self._idle):
            if not connection.open or connection.overdue(now, self._idle_s):
                self._idle.remove(connection)
                connection.abort()

    def close(self) -> None:
        """Drop every connection."""
        self._closed = True
        self._dialer.close()
        self.landing.close()
        self._idle.clear()
        for connection in list(self._all):
            connection.abort()

    @property
    def sockets(self) -> list[Any]:
        """Of the open connections, for a fork's child to close."""
        return [c.transport.get_extra_info("socket") for c in self._all if c.transport is not None]
