"""A client's connection in states that real sockets reach only now and then."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, cast

import pytest

from nbproxy.client import ClientConnection, Lobby
from nbproxy.heads import RequestHead
from nbproxy.settings import Limits
from nbproxy.wire import Memo

FIRST, SECOND = (b"GET /%d HTTP/1.1\r\nHost: a\r\n\r\n" % n for n in (1, 2))


class Transport:
    """What is done to it."""

    closed = paused = False

    def set_write_buffer_limits(self, high: int) -> None: ...
    def is_closing(self) -> bool:
        return self.closed

    def get_extra_info(self, name: str) -> Any:
        return ("127.0.0.1", 1) if name == "peername" else None

    def write(self, data: bytes) -> None: ...
    def close(self) -> None:
        self.closed = True

    def write_eof(self) -> None: ...

    def pause_reading(self) -> None:
        self.paused = True

    def resume_reading(self) -> None:
        self.paused = False


class Handler:
    def on_body(self, data: bytes) -> None: ...
    def on_body_end(self, trailers: bytes) -> None: ...
    def on_client_blocked(self, blocked: bool) -> None: ...
    def on_client_gone(self) -> None: ...


class Proxy:
    """Notes what it is asked, and answers nothing."""

    limits, stopping = Limits(), False

    def __init__(self) -> None:
        self.heads: Memo[RequestHead] = Memo()
        self.asked: list[str] = []

    def admit(self, _client: ClientConnection) -> bool:
        return True

    def destination(self, head: RequestHead) -> Callable[[ClientConnection, RequestHead], None]:
        return self.take

    def take(self, client: ClientConnection, head: RequestHead) -> None:
        self.asked.append(head.target)
        client.hand_over(cast(Any, Handler()))


def connected() -> tuple[ClientConnection, Transport, list[str]]:
    proxy, transport = Proxy(), Transport()
    client = ClientConnection(cast(Lobby, proxy))
    client.connection_made(cast(Any, transport))
    return client, transport, proxy.asked


async def ended(client: ClientConnection) -> None:
    """The exchange in hand, and what follows from that."""
    client.finish(True)
    await asyncio.sleep(0)


async def while_it_reads_nothing() -> None:
    client, transport, asked = connected()
    client.pause_writing()
    client.data_received(FIRST + SECOND)
    assert client.eof_received()
    assert asked == []
    client.resume_writing()
    await asyncio.sleep(0)
    assert asked == ["/1"]
    await ended(client)
    assert (asked, transport.closed) == (["/1", "/2"], False)
    await ended(client)
    assert transport.closed


async def between_two_exchanges() -> None:
    client, transport, asked = connected()
    client.data_received(FIRST + SECOND)
    client.finish(True)
    assert client.eof_received()
    await asyncio.sleep(0)
    assert (asked, transport.closed) == (["/1", "/2"], False)
    await ended(client)
    assert transport.closed


async def inside_a_head() -> None:
    client, transport, asked = connected()
    client.pause_writing()
    client.data_received(SECOND[:9])
    assert client.eof_received()
    client.resume_writing()
    await asyncio.sleep(0)
    assert (asked, transport.closed) == ([], True)


async def inside_a_head_while_an_answer_is_on_its_way() -> None:
    """It is not reset: what was written would be lost."""
    client, transport, asked = connected()
    client.data_received(FIRST)
    await ended(client)
    client.data_received(SECOND[:9])
    assert not client.eof_received()
    assert (asked, transport.closed) == (["/1"], True)


async def blocked_again() -> None:
    client, transport, asked = connected()
    client.data_received(FIRST + SECOND)
    assert client.eof_received()
    client.pause_writing()
    await ended(client)
    assert (asked, transport.closed) == (["/1"], False)
    client.resume_writing()
    await asyncio.sleep(0)
    assert (asked, transport.closed) == (["/1", "/2"], False)


@pytest.mark.parametrize(
    "when",
    [
        while_it_reads_nothing,
        between_two_exchanges,
        inside_a_head,
        inside_a_head_while_an_answer_is_on_its_way,
        blocked_again,
    ],
    ids=lambda when: when.__name__,
)
def test_a_client_that_has_said_all_gets_all_answers(when: Callable[[], Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nbproxy.client.has_closed", lambda sock: False)
    asyncio.run(when())


def test_a_client_that_reads_nothing_is_not_read_far() -> None:
    async def run() -> None:
        client, transport, asked = connected()
        client.pause_writing()
        client.data_received(FIRST * 10_000)
        assert transport.paused
        client.resume_writing()
        await asyncio.sleep(0)
        assert asked == ["/1"]
        assert transport.paused  # as far as there is more than enough

    asyncio.run(run())


def test_who_is_to_go_is_read_to_the_end() -> None:
    """Else what it still sends would reset the connection, and the answer with it."""

    async def run() -> None:
        client, transport, _ = connected()
        client.data_received(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n")
        client.hold(True)
        client.data_received(b"x" * 100_000)
        assert transport.paused
        client.finish(False)
        assert not transport.paused

    asyncio.run(run())
