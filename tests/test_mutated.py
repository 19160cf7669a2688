"""Mutated messages through the whole proxy (see ``mutations``): what the other side reads is what h11 or llhttp read of
the very bytes, or nothing, and nothing behind them becomes a message of its own.

``NBPROXY_MUTATED=20000`` says how many answers, and a fifth of how many requests.
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Callable, Iterator
from random import Random
from typing import Any

import h11
import httptools
import pytest

import nbproxy
from nbproxy import Timeouts

from . import mutations
from .upstreams import Answered, Client, Conversation, Scripted

pytestmark = pytest.mark.usefixtures("both_loops")
Start = Callable[..., nbproxy.Session]
Message = tuple[bytes, bytes, bytes]
COUNT = int(os.environ.get("NBPROXY_MUTATED", "200"))


class Server:
    """h11 as a server: its requests, until it refuses or they end."""

    def __init__(self) -> None:
        self.parser = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20)
        self.read: list[Message] = []
        self._now: list[bytes] = []

    def receive(self, data: bytes) -> int:
        """How many requests have ended by this.

        :raises h11.RemoteProtocolError: it cannot be read.
        """
        self.parser.receive_data(data)
        before = len(self.read)
        while (event := self.parser.next_event()) not in (h11.NEED_DATA, h11.PAUSED):
            if isinstance(event, h11.Request):
                self._now = [event.method, event.target, b""]
            elif isinstance(event, h11.Data):
                self._now[2] += event.data
            elif isinstance(event, h11.EndOfMessage):
                self.read.append((self._now[0], self._now[1], self._now[2]))
                if self._answered():
                    break
            else:
                break
        return len(self.read) - before

    def _answered(self) -> bool:
        """Whether nothing is read behind it."""
        self.parser.send(h11.Response(status_code=404, headers=[("Content-Length", "0")]))
        self.parser.send(h11.EndOfMessage())
        if self.parser.our_state is h11.MUST_CLOSE:
            return True
        self.parser.start_next_cycle()
        return False


def by_h11(raw: bytes) -> list[Message]:
    server = Server()
    with contextlib.suppress(h11.RemoteProtocolError):
        server.receive(raw)
    return server.read


class Llhttp:
    def __init__(self, raw: bytes) -> None:
        self.read: list[Message] = []
        self._parser = httptools.HttpRequestParser(self)
        with contextlib.suppress(httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._parser.feed_data(raw)

    def on_message_begin(self) -> None:
        self._target = self._body = b""

    def on_url(self, url: bytes) -> None:
        self._target += url

    def on_body(self, data: bytes) -> None:
        self._body += data

    def on_message_complete(self) -> None:
        self.read.append((self._parser.get_method(), self._target, self._body))


@pytest.mark.parametrize("seed", [1, 2])
def test_upstream_reads_a_request_as_the_strictest_do_or_not_at_all(
    start: Start, upstream: Scripted, seed: int
) -> None:
    seen: list[Message] = []
    unread: list[str] = []

    def handler(talk: Conversation) -> None:
        server = Server()
        while data := talk.socket.recv(65536):
            try:
                ended = server.receive(data)
            except h11.RemoteProtocolError as error:
                unread.append(f"{error}: {data!r}")
                raise EOFError from None
            if ended:
                seen.extend(server.read[-ended:])
                talk.send(b"HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n" * ended)
            if server.parser.our_state is h11.MUST_CLOSE:
                return

    upstream.handler = handler
    session = start(upstream.url)
    dice = Random(seed)
    for number in range(5 * COUNT):
        raw = mutations.request(dice, tag := b"-%d-" % number)
        with Client(session.url) as client:
            cut = dice.choice([0, dice.randrange(len(raw))])
            with contextlib.suppress(ConnectionError):  # refused before all of it was sent
                client.send(raw[:cut], raw[cut:])
                client.socket.shutdown(socket.SHUT_WR)
            client.rest()
        got = [message for message in list(seen) if tag in message[1]]  # one before may be late, if it was cut short
        readings = [[message for message in read if tag in message[1]] for read in (by_h11(raw), Llhttp(raw).read)]
        assert any(reading[: len(got)] == got for reading in readings), (raw, got, readings)
        assert not unread, raw


def read_by_client(raw: bytes, method: bytes) -> tuple[Answered | str, bool]:
    """How h11 reads an answer, or that it is ``cut`` or ``refused``; and whether upstream must close to end it."""
    parser = h11.Connection(h11.CLIENT, max_incomplete_event_size=1 << 20)
    parser.send(h11.Request(method=method, target="/", headers=[("Host", "x")]))
    parser.send(h11.EndOfMessage())
    parser.receive_data(raw)
    ended = False

    def events() -> Iterator[Any]:
        nonlocal ended
        event = None
        while not isinstance(event, h11.EndOfMessage):
            if (event := parser.next_event()) is h11.NEED_DATA:
                parser.receive_data(b"")
                ended = True
            elif isinstance(event, h11.ConnectionClosed) or event is h11.PAUSED:
                raise h11.RemoteProtocolError("it ended")
            else:
                yield event

    try:
        return Answered.read(events()), ended
    except h11.RemoteProtocolError:
        return "cut" if ended else "refused", ended


@pytest.mark.parametrize("seed", [2, 3])
def test_a_client_reads_an_answer_as_h11_does_or_not_at_all_and_the_next_is_its_own(
    start: Start, upstream: Scripted, seed: int
) -> None:
    raw, ends = b"", False

    def handler(talk: Conversation) -> None:
        while True:
            target = talk.request()[0].split()[1]
            if target == b"/mutated":
                talk.send(raw)
                if ends:
                    return
            else:
                talk.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(target), target))

    upstream.handler = handler
    session = start(upstream.url, timeout=Timeouts(connect=2, read=5))
    dice = Random(seed)
    for number in range(COUNT):
        method = dice.choice([b"GET", b"GET", b"POST", b"HEAD"])
        raw = mutations.answer(dice, method)
        wanted, ends = read_by_client(raw, method)
        ends = ends or dice.random() < 0.3  # else it waits for the next request
        with Client(session.url) as client:
            got: Answered | str = "cut"
            with contextlib.suppress(h11.RemoteProtocolError, ConnectionError):
                got = client.ask(method, b"/mutated", None if method != b"POST" else b"x")
        if isinstance(got, Answered) and got.status not in (502, 504):
            assert wanted != "cut", raw
            if isinstance(wanted, Answered):
                assert (got.status, got.body) == (wanted.status, wanted.body), raw
        with Client(session.url) as client:
            assert client.ask(b"GET", b"/%d" % number).body == b"/%d" % number, raw
