"""Connections to upstream, on both loops: several addresses, time limits, handshakes, Unix sockets, no leaks."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import CancelledError
from pathlib import Path
from typing import Any

import psutil
import pytest

from nbproxy import dialing
from nbproxy.background import LoopThread, new_loop
from nbproxy.dialing import Address, Dialer, Resolve, interleaved, system_addresses
from nbproxy.errors import UpstreamFault, UpstreamTimeout
from nbproxy.origin import origin
from nbproxy.trust import ended_properly

from .certificates import root, server_context
from .upstreams import TIMEOUT, Conversation, Scripted

LONG = 30.0  # a time limit that is not to be reached
SHORT = 0.4  # one that is: shorter only than what hangs for ever
V4, V6 = int(socket.AF_INET), int(socket.AF_INET6)


class Echoed(asyncio.Protocol):
    """What comes back on a connection."""

    def __init__(self) -> None:
        self.got: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    def data_received(self, data: bytes) -> None:
        self.got.set_result(data)


class Calls:
    """A loop on its thread, and what is done with a dialer on it."""

    def __init__(self, thread: LoopThread) -> None:
        self.thread = thread

    def dialer(
        self, url: str, timeout: float | None = LONG, resolve: Resolve = system_addresses, **tls: object
    ) -> Dialer:
        place = origin(url, **tls)  # type: ignore[arg-type]

        async def make() -> Dialer:
            return Dialer(place, timeout, resolve)

        return self.thread.run(make())

    def exchange(self, dialer: Dialer, said: bytes = b"hello") -> bytes:
        """Connect, say something, and give what comes back."""

        async def go() -> bytes:
            transport, protocol = await dialer.dial(Echoed)
            transport.write(said)
            answer = await protocol.got
            transport.abort()
            return answer

        return self.thread.run(go(), TIMEOUT)

    def dial(self, dialer: Dialer) -> None:
        self.thread.run(dialer.dial(Echoed), TIMEOUT)


@pytest.fixture(params=["uvloop", "asyncio"])
def calls(request: pytest.FixtureRequest) -> Iterator[Calls]:
    if request.param == "uvloop":
        pytest.importorskip("uvloop")
    thread = LoopThread("dialing", new_loop if request.param == "uvloop" else asyncio.new_event_loop)
    thread.start()
    yield Calls(thread)
    assert thread.stop(TIMEOUT)


def echo(talk: Conversation) -> None:
    talk.send(talk.exactly(5))
    talk.closed()


@pytest.fixture
def echoing(upstream: Scripted) -> Scripted:
    upstream.handler = echo
    return upstream


@pytest.fixture
def refusing() -> Iterator[Address]:
    """An address that nobody listens on, and nobody else gets meanwhile."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        yield V4, sock.getsockname()


@pytest.fixture
def hanging() -> Iterator[Address]:
    """An address that answers nothing: its listener's queue is full, so that Linux drops what comes."""
    with socket.socket() as listener, socket.socket() as first, socket.socket() as second:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for sock in (first, second):
            sock.setblocking(False)
            sock.connect_ex(listener.getsockname())
        yield V4, listener.getsockname()


def at(*addresses: Address) -> Resolve:
    return lambda host, port: addresses


def here(server: Scripted) -> Address:
    return V4, ("127.0.0.1", server.port)


def begun(address: Address) -> int:
    """How many of this process's connections to an address are still being made."""
    open_ = psutil.Process().net_connections("tcp")
    return sum(one.raddr == address[1] and one.status == psutil.CONN_SYN_SENT for one in open_)


# -- several addresses


def test_families_take_turns() -> None:
    assert interleaved([(6, "a"), (6, "b"), (6, "c"), (4, "d"), (4, "d")]) == [(6, "a"), (4, "d"), (6, "b"), (6, "c")]


def test_the_next_address_is_tried_where_one_refuses(calls: Calls, echoing: Scripted, refusing: Address) -> None:
    dialer = calls.dialer("http://upstream.test", resolve=at(refusing, (V6, ("::1", 1, 0, 0)), here(echoing)))
    assert calls.exchange(dialer) == b"hello"


def test_the_next_address_is_tried_where_one_hangs(
    calls: Calls, echoing: Scripted, hanging: Address, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = begun(hanging)
    dialer = calls.dialer("http://upstream.test", resolve=at(hanging, here(echoing)))
    assert calls.exchange(dialer) == b"hello"
    assert begun(hanging) == before  # the attempt that lost has left nothing
    monkeypatch.setattr(dialing, "ATTEMPT_DELAY_S", 1e6)  # from now on the first address tried is the only one
    assert calls.exchange(dialer) == b"hello"


def test_the_time_may_be_unlimited(calls: Calls, echoing: Scripted, hanging: Address) -> None:
    dialer = calls.dialer("http://upstream.test", None, at(hanging, here(echoing)))
    assert calls.exchange(dialer) == b"hello"


def test_where_all_refuse_each_is_told(calls: Calls, refusing: Address) -> None:
    dialer = calls.dialer("http://user:secret@upstream.test/a", resolve=at(refusing, (V6, ("::1", 1, 0, 0))))
    with pytest.raises(UpstreamFault) as caught:
        calls.dial(dialer)
    assert caught.value.status == 502
    assert f"127.0.0.1:{refusing[1][1]}: " in str(caught.value)
    assert "[::1]:1: " in str(caught.value)
    assert "secret" not in str(caught.value)
    assert "http://upstream.test/a" in str(caught.value)


def test_where_all_hang_it_is_a_time_out(calls: Calls, hanging: Address) -> None:
    before = begun(hanging)
    dialer = calls.dialer("http://upstream.test", SHORT, at(hanging, hanging))
    with pytest.raises(UpstreamTimeout, match=r"no connection within 0\.4 s") as caught:
        calls.dial(dialer)
    assert caught.value.status == 504
    calls.thread.call(lambda: None)
    assert begun(hanging) == before


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_a_name_is_reached_whichever_of_its_addresses_listens(calls: Calls, address: str) -> None:
    with Scripted(address) as server:
        server.handler = echo
        assert calls.exchange(calls.dialer(server.url)) == b"hello"
        if any(where[0] == address for _, where in system_addresses("localhost", server.port)):
            assert calls.exchange(calls.dialer(f"http://localhost:{server.port}")) == b"hello"


def test_an_address_may_have_a_zone(calls: Calls) -> None:
    with Scripted("::1") as server:
        server.handler = echo
        zone = socket.if_nametoindex("lo") if "lo" in dict(map(reversed, socket.if_nameindex())) else 1  # type: ignore[arg-type]
        assert calls.exchange(calls.dialer(f"http://[::1%25{zone}]:{server.port}")) == b"hello"


# -- names


def test_a_name_that_is_not_known_is_told(calls: Calls) -> None:
    with pytest.raises(UpstreamFault, match=r"the name 'upstream\.invalid' cannot be resolved"):
        calls.dial(calls.dialer("http://upstream.invalid"))
    with pytest.raises(UpstreamFault, match="its name has no address"):
        calls.dial(calls.dialer("http://upstream.test", resolve=at()))


def test_a_look_up_that_hangs_is_a_time_out_and_shared(calls: Calls, echoing: Scripted) -> None:
    answered, asked = threading.Event(), []

    def resolve(host: str, port: int) -> list[Address]:
        asked.append((host, port))
        answered.wait(TIMEOUT)
        return [here(echoing)]

    dialer = calls.dialer("http://upstream.test:9200", SHORT, resolve)
    for _ in range(2):
        with pytest.raises(UpstreamTimeout, match="its name was not resolved within"):
            calls.dial(dialer)
    answered.set()
    assert calls.exchange(dialer) == b"hello"
    assert set(asked) == {("upstream.test", 9200)}
    assert len(asked) <= 2


def test_after_the_end_nobody_is_looked_up(calls: Calls) -> None:
    dialer = calls.dialer("http://localhost:1")
    dialer.close()
    with pytest.raises(UpstreamFault, match="stopping"):
        calls.dial(dialer)


# -- what nobody waits for


@pytest.mark.parametrize("secure", [False, True])
def test_a_connection_that_ended_at_once_is_not_handed_out(
    calls: Calls, upstream: Scripted, tmp_path: Path, secure: bool
) -> None:
    class Leaving(asyncio.Protocol):
        def connection_made(self, transport: Any) -> None:
            transport.abort()

    certificate = root().issue("127.0.0.1")
    context = server_context(tmp_path, certificate)

    def handler(talk: Conversation) -> None:
        talk.socket = context.wrap_socket(talk.socket, server_side=True) if secure else talk.socket
        talk.closed()

    upstream.handler = handler
    tls = {"fingerprint": certificate.fingerprint} if secure else {}
    dialer = calls.dialer(upstream.url.replace("http:", "https:") if secure else upstream.url, **tls)
    with pytest.raises(UpstreamFault, match="it closed the connection as soon as it was opened"):
        calls.thread.run(dialer.dial(Leaving), TIMEOUT)


def test_a_late_success_is_dropped(calls: Calls, upstream: Scripted, tmp_path: Path) -> None:
    authority = root()
    context = server_context(tmp_path, authority.issue("127.0.0.1"))
    accepted, go_on, seen = threading.Event(), threading.Event(), []

    def handler(talk: Conversation) -> None:
        accepted.set()
        go_on.wait(TIMEOUT)
        try:
            talk.socket = context.wrap_socket(talk.socket, server_side=True)
            seen.append(talk.closed())
        except OSError:
            seen.append(True)  # dropped while the server's half of the handshake was ending

    upstream.handler = handler
    dialer = calls.dialer(upstream.url.replace("http:", "https:"), ca=authority.file(tmp_path))
    waiting = asyncio.run_coroutine_threadsafe(dialer.dial(Echoed), calls.thread.loop)
    assert accepted.wait(TIMEOUT)
    waiting.cancel()
    with pytest.raises(CancelledError):
        waiting.result(TIMEOUT)
    go_on.set()
    upstream.join()
    assert seen == [True]


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_the_loops_end_leaves_nothing(calls: Calls, upstream: Scripted, hanging: Address, scheme: str) -> None:
    accepted = threading.Event()

    def handler(talk: Conversation) -> None:
        accepted.set()
        while talk.socket.recv(65536):
            pass

    upstream.handler = handler
    before = begun(hanging)
    to = (hanging, here(upstream)) if scheme == "https" else (hanging,)
    dialer = calls.dialer(f"{scheme}://upstream.test", resolve=at(*to))
    waiting = asyncio.run_coroutine_threadsafe(dialer.dial(Echoed), calls.thread.loop)
    assert scheme == "http" or accepted.wait(TIMEOUT)
    calls.thread.call(lambda: None)
    dialer.close()
    assert calls.thread.stop(TIMEOUT)
    with pytest.raises(CancelledError):
        waiting.result(TIMEOUT)
    upstream.join()
    assert begun(hanging) == before


# -- TLS's handshake


def test_a_handshake_that_hangs_is_a_time_out(calls: Calls, upstream: Scripted) -> None:
    seen: list[bytes] = []

    def handler(talk: Conversation) -> None:
        while data := talk.socket.recv(65536):
            seen.append(data[:1])

    upstream.handler = handler
    with pytest.raises(UpstreamTimeout, match="TLS's handshake did not end within"):
        calls.dial(calls.dialer(upstream.url.replace("http:", "https:"), SHORT))
    upstream.join()  # we have closed
    assert seen[0] == b"\x16"


@pytest.mark.parametrize(
    ("does", "match"),
    [
        (lambda talk: talk.send(b"HTTP/1.1 400 Bad Request\r\n\r\n"), "is upstream http:// instead of https://"),
        (lambda talk: talk.reset(), "in TLS's handshake"),
        (lambda talk: talk.close(), "in TLS's handshake"),
    ],
)
def test_who_speaks_no_tls_is_told(calls: Calls, upstream: Scripted, does: object, match: str) -> None:
    def handler(talk: Conversation) -> None:
        talk.socket.recv(65536)
        does(talk)  # type: ignore[operator]

    upstream.handler = handler
    with pytest.raises(UpstreamFault, match=match) as caught:
        calls.dial(calls.dialer(upstream.url.replace("http:", "https:")))
    assert caught.value.status == 502


def test_names_and_http_1_1_are_offered(calls: Calls, upstream: Scripted, tmp_path: Path) -> None:
    authority, told = root(), []
    context = server_context(tmp_path, authority.issue("upstream.test"))
    context.set_alpn_protocols(["h2", "http/1.1"])
    context.sni_callback = lambda tls, name, _: told.append(name)

    def handler(talk: Conversation) -> None:
        talk.socket = tls = context.wrap_socket(talk.socket, server_side=True)
        told.append(tls.selected_alpn_protocol())
        echo(talk)

    upstream.handler = handler
    dialer = calls.dialer("https://UPSTREAM.test.", resolve=at(here(upstream)), ca=authority.file(tmp_path))
    assert calls.exchange(dialer) == b"hello"
    assert told == ["upstream.test", "http/1.1"]


@pytest.mark.parametrize("alert", [True, False])
def test_whether_upstream_has_really_ended_is_known(
    calls: Calls, upstream: Scripted, tmp_path: Path, alert: bool
) -> None:
    authority = root()
    context = server_context(tmp_path, authority.issue("127.0.0.1"))

    def handler(talk: Conversation) -> None:
        tls = context.wrap_socket(talk.socket, server_side=True)
        talk.socket = tls
        if alert:
            tls.unwrap()
        else:
            os.close(tls.detach())

    class Ended(asyncio.Protocol):
        def __init__(self) -> None:
            self.told: list[bool] = []
            self.lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def connection_made(self, transport: Any) -> None:
            self.transport = transport

        def eof_received(self) -> None:
            self.told.append(ended_properly(self.transport))

        def connection_lost(self, _exc: Exception | None) -> None:
            self.lost.set_result(None)

    made: list[Ended] = []

    def make() -> Ended:
        made.append(Ended())
        return made[-1]

    async def go() -> None:
        with contextlib.suppress(UpstreamFault):  # it may end before it is handed out
            await dialer.dial(make)
        await made[0].lost

    upstream.handler = handler
    dialer = calls.dialer(upstream.url.replace("http:", "https:"), ca=authority.file(tmp_path))
    calls.thread.run(go(), TIMEOUT)
    assert made[0].told in ([[True]] if alert else [[False], []])  # asyncio asks in both cases, uvloop in the first


# -- Unix sockets


@pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="this system has no Unix sockets")
def test_unix_sockets(calls: Calls, tmp_path: Path) -> None:
    path = tmp_path / "search.sock"
    url = "http+unix://" + str(path).replace("/", "%2F")
    with pytest.raises(UpstreamFault, match=str(path)):
        calls.dial(calls.dialer(url))
    with Scripted(str(path)) as server:
        server.handler = echo
        assert calls.exchange(calls.dialer(url)) == b"hello"
