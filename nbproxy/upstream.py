"""Connections to the search engine: opened, pooled, watched, and given back.

Laws: a connection carries one exchange at a time and goes back to the pool only when both its request and its answer
have ended and nothing stands behind the answer; bytes on an idle connection condemn it. Times are the loop's clock.
"""

from __future__ import annotations

import asyncio
from typing import Any, Protocol

from .dialing import Dialer
from .errors import UpstreamFault, UpstreamTimeout
from .heads import ResponseHead
from .origin import Origin
from .settings import Timeouts
from .wire import End, ResponseReader

HIGH_WATER = 1 << 18


class User(Protocol):
    """Who has a connection in use. The pool's callbacks, all on the loop's thread."""

    def on_interim(self, head: ResponseHead) -> None: ...
    def on_head(self, head: ResponseHead) -> None: ...
    def on_data(self, data: bytes) -> None: ...
    def on_end(self, trailers: bytes) -> None: ...

    def on_flush(self) -> None:
        """All that has come for now was told."""
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


class Connection(asyncio.Protocol):
    """One connection to upstream."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._reader = ResponseReader()
        self.user: User | None = None
        self.transport: asyncio.Transport = None  # type: ignore[assignment]
        self.reused = False
        self.answered = False  # whether any byte of this exchange's answer has come
        self.ended = False  # whether this exchange's answer has ended
        self.waiting_since: float | None = None
        self._keeps_alive = False
        self._tunnel = False
        self._lost = False

    # -- what a user does

    def begin(self, user: User, method: str) -> None:
        """Use this connection for an exchange; then ``write`` its request."""
        self.user = user
        self.answered = self.ended = False
        self._keeps_alive = False
        self._reader.expect(method)
        self.waiting_since = self._pool.time()

    def write(self, *pieces: bytes) -> None:
        if not self._lost:
            self.waiting_since = self._pool.time()
            self.transport.writelines(pieces) if len(pieces) > 1 else self.transport.write(pieces[0])

    def hold(self, held: bool) -> None:
        """Read no more from upstream (its bytes have nowhere to go), or read again."""
        if self._lost or self.transport.is_closing():
            return
        if held:
            self.waiting_since = None  # it is not upstream who is slow
            self.transport.pause_reading()
        else:
            self.waiting_since = self._pool.time()
            self.transport.resume_reading()

    def release(self, *, sent: bool) -> None:
        """Give the connection back: the answer has ended. ``sent``: the request as well."""
        self.user = None
        self.waiting_since = None
        if sent and self.ended and self._keeps_alive and self._reader.clean and self.usable:
            self._pool.give(self)
        else:
            self.abort()

    def abort(self) -> None:
        """Drop the connection at once."""
        self.user = None
        self.waiting_since = None
        self._pool.forget(self)
        if self.transport is not None:
            self.transport.abort()

    def finish_tunnel(self) -> None:
        """The client has ended its side of a tunnel."""
        if not self._lost and self.transport.can_write_eof():
            self.transport.write_eof()

    @property
    def usable(self) -> bool:
        return not self._lost and not self.transport.is_closing()

    # -- what the loop tells

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]
        self.transport.set_write_buffer_limits(high=HIGH_WATER)

    def data_received(self, data: bytes) -> None:
        if self.user is None:
            self.abort()  # nobody asked: what comes must not be taken for the next answer
            return
        self.waiting_since = self._pool.time()
        if self._tunnel:
            self.user.on_tunnel(data)
            return
        self.answered = True
        self._reader.receive(data)
        try:
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
                self._keeps_alive = event.keeps_alive()
                user.on_head(event)
                if event.status == 101 and self.user is user:
                    self._open_tunnel(user)
                    return

    def _open_tunnel(self, user: User) -> None:
        self._tunnel = True
        self._keeps_alive = False
        self.waiting_since = None
        if data := self._reader.drain():
            user.on_tunnel(data)

    def _end(self, trailers: bytes) -> None:
        self.ended = True
        self.waiting_since = None
        if self.user is not None:
            self.user.on_end(trailers)

    def eof_received(self) -> bool:
        if self._tunnel:
            if self.user is not None:
                self.user.on_tunnel(b"")
            return True
        end = self._reader.eof() if self.user is not None and not self.ended else None
        if end is not None:
            self._end(end.trailers)
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._lost = True
        self._pool.forget(self)
        self._fail(UpstreamFault(f"upstream closed the connection{f': {exc}' if exc else ''}"))

    def _fail(self, fault: UpstreamFault) -> None:
        user, self.user = self.user, None
        self.abort()
        if user is not None:
            user.on_failure(fault)

    def expire(self, seconds: float) -> None:
        self._fail(UpstreamTimeout(f"upstream sent nothing for {seconds:g} s"))

    def pause_writing(self) -> None:
        if self.user is not None:
            self.user.on_blocked(True)

    def resume_writing(self) -> None:
        if self.user is not None:
            self.user.on_blocked(False)


class Pool:
    """The connections to one upstream."""

    def __init__(self, place: Origin, timeouts: Timeouts, *, keep: int = 256, idle_s: float = 60.0) -> None:
        self.origin = place
        self._timeouts = timeouts
        self._loop = asyncio.get_running_loop()
        self.time = self._loop.time
        self._idle: list[tuple[Connection, float]] = []
        self._all: set[Connection] = set()
        self._dialer = Dialer(place, timeouts.connect)
        self._keep, self._idle_s = keep, idle_s
        self._closed = False

    def take(self) -> Connection | None:
        """An idle connection, the one used last first; None where a new one must be opened."""
        while self._idle:
            connection, _ = self._idle.pop()
            if connection.usable:
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
            self._idle.append((connection, self.time()))

    def forget(self, connection: Connection) -> None:
        self._all.discard(connection)

    def sweep(self) -> None:
        """End what has waited too long; called now and then."""
        now, read = self.time(), self._timeouts.read
        if read is not None:
            for connection in list(self._all):
                if connection.waiting_since is not None and now - connection.waiting_since > read:
                    connection.expire(read)
        while self._idle and now - self._idle[0][1] > self._idle_s:
            self._idle.pop(0)[0].abort()

    def close(self) -> None:
        """Drop every connection."""
        self._closed = True
        self._dialer.close()
        self._idle.clear()
        for connection in list(self._all):
            connection.abort()

    @property
    def sockets(self) -> list[Any]:
        """Of the open connections, for a fork's child to close."""
        return [c.transport.get_extra_info("socket") for c in self._all if c.transport is not None]
