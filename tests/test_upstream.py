"""Connections to upstream by themselves, on both loops: what is told of one that is lost."""

from __future__ import annotations

import asyncio
import socket
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest

from nbproxy import Timeouts
from nbproxy.background import LoopThread, new_loop
from nbproxy.errors import UpstreamFault
from nbproxy.heads import ResponseHead
from nbproxy.landing import READ_BYTES
from nbproxy.origin import origin
from nbproxy.upstream import Connection, Pool

from .upstreams import TIMEOUT, Conversation, Scripted

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
LARGE = b"HTTP/1.1 413 Too Large\r\nContent-Length: 30000\r\n%b\r\n" + b"b" * 30_000
HEAD = b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n"
GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
HUGE = HEAD.replace(b"100000", b"32000000") + b"x" * 32_000_000  # more than the system's buffers hold


class User:
    """Notes what it is told."""

    borrows = False

    def __init__(self) -> None:
        self.status: int | None = None
        self.body = b""
        self.ended = False
        self.over: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def on_interim(self, head: ResponseHead) -> None:
        pass

    def on_head(self, head: ResponseHead) -> None:
        self.status = head.status

    def on_data(self, data: bytes) -> None:
        self.body += data

    def on_end(self, trailers: bytes) -> None:
        self.ended = True
        self.over.set_result(None)

    def on_whole(self, head: ResponseHead, body: bytes | memoryview) -> None:
        self.on_head(head)
        self.on_data(bytes(body))
        self.on_end(b"")

    def on_flush(self) -> None:
        pass

    def on_failure(self, fault: UpstreamFault) -> None:
        if not self.over.done():
            self.over.set_result(None)

    def on_blocked(self, blocked: bool) -> None:
        pass

    def on_tunnel(self, data: bytes) -> None:
        pass


Exchange = Callable[[Pool], Awaitable[User]]


@pytest.fixture(params=["uvloop", "asyncio"])
def result_of(request: pytest.FixtureRequest, upstream: Scripted) -> Iterator[Callable[[Exchange], User]]:
    """Runs an exchange with the upstream, on each loop."""
    if request.param == "uvloop":
        pytest.importorskip("uvloop")
    thread = LoopThread("upstream", new_loop if request.param == "uvloop" else asyncio.new_event_loop)
    thread.start()

    async def run(exchange: Exchange) -> User:
        pool = Pool(origin(upstream.url), Timeouts())
        try:
            return await exchange(pool)
        finally:
            pool.close()

    yield lambda exchange: thread.run(run(exchange), TIMEOUT)
    assert thread.stop(TIMEOUT)


class Early:
    """Answers a request of which it has read the head, and resets the connection.

    :param first: it answers so many requests properly before.
    """

    def __init__(self, raw: bytes, *, first: int = 0) -> None:
        self.raw, self.first = raw, first
        self.asked, self.go, self.reset = threading.Event(), threading.Event(), threading.Event()

    def __call__(self, talk: Conversation) -> None:
        for _ in range(self.first):
            talk.request()
            talk.send(OK)
        talk.head()
        self.asked.set()
        self.answer(talk)

    def answer(self, talk: Conversation) -> None:
        assert self.go.wait(TIMEOUT)
        talk.send(self.raw)
        talk.reset()
        self.reset.set()

    def stand_still(self) -> None:
        """Keep the loop from looking while it answers."""
        self.go.set()
        assert self.reset.wait(TIMEOUT)


async def used(pool: Pool) -> Connection:
    """A connection from the pool, which served an exchange."""
    connection, user = await pool.connect(), User()
    connection.begin(user, "GET", GET, due=True)
    await user.over
    connection.release(sent=True)
    taken = pool.take(once=True)
    assert taken is connection
    return taken


@pytest.mark.parametrize(
    ("raw", "told"),
    [
        (LARGE % b"Connection: close\r\n", (413, 30_000, True)),
        (LARGE % b"", (413, 30_000, True)),
        ((LARGE % b"")[:-1], (413, 29_999, False)),
        (b"HTTP/1.1 100 Continue\r\n\r\n" + OK, (200, 2, True)),
        (b"HTTP/1.1 200 OK\r\n\r\nit ends with the connection", (200, 27, False)),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", (200, 2, True)),
        (b"HTTP/1.1 4", (None, 0, False)),
        (b"no answer\r\n\r\n", (None, 0, False)),
        (b"", (None, 0, False)),
    ],
    ids=["closing", "kept alive", "cut", "interim", "without an end", "chunked", "no head", "garbage", "nothing"],
)
@pytest.mark.parametrize("first", [0, 1], ids=["new", "used"])
def test_what_came_before_a_reset_is_told_though_our_write_failed(
    result_of: Callable[[Exchange], User], upstream: Scripted, raw: bytes, told: Any, first: int
) -> None:
    upstream.handler = early = Early(raw, first=first)

    async def exchange(pool: Pool) -> User:
        connection, user = await used(pool) if first else await pool.connect(), User()
        connection.begin(user, "PUT", HEAD, due=False)
        await asyncio.get_running_loop().run_in_executor(None, early.asked.wait, TIMEOUT)
        early.stand_still()
        connection.write(b"x" * 1000)
        await user.over
        return user

    user = result_of(exchange)
    assert (user.status, len(user.body), user.ended) == told


def test_what_came_before_a_request_is_not_its_answer(
    result_of: Callable[[Exchange], User], upstream: Scripted
) -> None:
    """Upstream ends an idle connection with a 408 and a reset, in the moment that it is used again."""
    early = Early(b"HTTP/1.1 408 Timeout\r\nContent-Length: 0\r\n\r\n")

    def handler(talk: Conversation) -> None:
        talk.request()
        talk.send(OK)
        early.answer(talk)

    upstream.handler = handler

    async def exchange(pool: Pool) -> User:
        connection, user = await used(pool), User()
        pool.give(connection)
        early.stand_still()
        taken = pool.take()
        assert taken is connection
        taken.begin(user, "GET", GET, due=True)
        await user.over
        return user

    user = result_of(exchange)
    assert (user.status, user.ended) == (None, False)


def test_what_stands_behind_an_answer_that_fills_a_read_is_not_the_next_one(
    result_of: Callable[[Exchange], User], upstream: Scripted
) -> None:
    """Plain asyncio reads so much and no more, and sees nothing behind it before the connection is given back."""
    line = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n"
    size, sent = READ_BYTES - len(line % READ_BYTES), threading.Event()

    def handler(talk: Conversation) -> None:
        talk.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2 * READ_BYTES)
        talk.request()
        talk.send(line % size + b"x" * size + OK)
        sent.set()

    upstream.handler = handler

    async def exchange(pool: Pool) -> User:
        connection, user = await pool.connect(), User()
        connection.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2 * READ_BYTES)
        connection.begin(user, "GET", GET, due=True)
        sent.wait(TIMEOUT)  # the loop does not look meanwhile
        await user.over
        if connection.user is user:
            connection.release(sent=True)
        assert pool.take() is None
        return user

    assert len(result_of(exchange).body) == size


def test_a_connection_that_is_not_read_is_not_waited_for(
    result_of: Callable[[Exchange], User], upstream: Scripted
) -> None:
    """Whatever upstream takes of the request meanwhile."""
    upstream.handler = lambda talk: talk.send(OK) if talk.closed() else None

    async def exchange(pool: Pool) -> User:
        connection, user = await pool.connect(), User()
        connection.begin(user, "PUT", HEAD, due=False)
        for held in (True, False):
            connection.hold(held)
            connection.pause_writing()
            assert connection.awaited is not held
            connection.expect_answer()
            assert connection.awaited is not held
            connection.resume_writing()
            assert connection.awaited is not held
        connection.abort()
        return user

    result_of(exchange)


@pytest.mark.skipif(sys.platform != "linux", reason="the system must tell what was not taken")
def test_who_takes_bytes_is_not_quiet(result_of: Callable[[Exchange], User], upstream: Scripted) -> None:
    go, took = threading.Event(), threading.Event()

    def handler(talk: Conversation) -> None:
        assert go.wait(TIMEOUT)
        talk.request()
        took.set()
        talk.send(OK)

    upstream.handler = handler

    async def exchange(pool: Pool) -> User:
        connection, user = await pool.connect(), User()
        connection.begin(user, "PUT", HUGE, due=True)
        while connection.moves():  # until the buffers are full
            await asyncio.sleep(0.01)
        go.set()
        while not took.is_set():
            await asyncio.sleep(0)
        assert connection.moves()
        await user.over
        return user

    assert result_of(exchange).status == 200


def test_a_connection_whose_request_is_not_out_serves_none_after_it(
    result_of: Callable[[Exchange], User], upstream: Scripted
) -> None:
    over = threading.Event()

    def handler(talk: Conversation) -> None:
        talk.head()
        talk.send(OK)
        over.wait(TIMEOUT)

    upstream.handler = handler

    async def exchange(pool: Pool) -> User:
        connection, user = await pool.connect(), User()
        connection.begin(user, "PUT", HUGE, due=True)
        await user.over
        connection.release(sent=True)
        assert pool.take() is None
        over.set()
        return user

    assert result_of(exchange).ended
