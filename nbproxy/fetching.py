"""A request sent upstream whose answer is awaited whole."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from .context import Context
from .drafts import Draft
from .errors import UpstreamFault, UpstreamTimeout
from .heads import ResponseHead
from .upstream import Connection

OnInterim = Callable[[ResponseHead], None]


@dataclass(frozen=True, slots=True)
class Fetched:
    """A whole answer of upstream's, and where it came from. ``body`` is None where it went over the limit."""

    head: ResponseHead
    body: bytes | None
    connection: Connection


class Fetch:
    """The user of a connection that gathers an answer, up to ``limit`` bytes.

    :param on_interim: told of answers before it.
    """

    borrows = False

    def __init__(self, limit: int | None, on_interim: OnInterim) -> None:
        self.on_interim = on_interim
        self.result: asyncio.Future[Fetched] = asyncio.get_running_loop().create_future()
        self._limit = limit
        self._pieces: list[bytes] = []
        self._size = 0
        self._head: ResponseHead | None = None
        self._connection: Connection | None = None

    def send(self, connection: Connection, method: str, data: bytes) -> None:
        self._connection = connection
        connection.begin(self, method, data, due=True)

    def on_head(self, head: ResponseHead) -> None:
        if head.status == 101:
            raise UpstreamFault("upstream switched protocols unasked")
        self._head = head

    def on_data(self, data: bytes) -> None:
        self._size += len(data)
        self._pieces.append(data)
        if self._limit is not None and self._size > self._limit:
            self._settle(None, reusable=False)

    def on_whole(self, head: ResponseHead, body: bytes | memoryview) -> None:
        self.on_head(head)
        self.on_data(bytes(body))
        self.on_end(b"")

    def on_end(self, _trailers: bytes) -> None:
        self._settle(b"".join(self._pieces), reusable=True)

    def _settle(self, body: bytes | None, *, reusable: bool) -> None:
        connection, self._connection = self._connection, None
        if connection is None:
            return
        connection.release(sent=True) if reusable else connection.abort()
        if not self.result.done() and self._head is not None:
            self.result.set_result(Fetched(self._head, body, connection))

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


async def fetch(context: Context, draft: Draft, method: str, data: bytes, on_interim: OnInterim) -> Fetched:
    """Send ``data`` upstream and await the answer; once more where the connection had gone stale."""
    connection = context.pool.take()
    while True:
        if connection is None:
            connection = await context.pool.connect()
        draft.sent()
        job = Fetch(context.limits.answer_bytes, on_interim)
        job.send(connection, method, data)
        try:
            return await job.result
        except UpstreamFault as fault:
            if not connection.reused or connection.answered or isinstance(fault, UpstreamTimeout):
                raise
            connection = None  # a search may be sent again: it changes nothing
        finally:
            job.cancel()
