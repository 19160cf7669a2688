"""New connections to upstream: names, several addresses, Unix sockets, TLS, all within one time limit.

Laws:

- Nothing leaks. A socket is ours from before its ``connect`` on, and whoever does not hand it on closes it. A
  connection that comes about when nobody waits for it any longer is dropped. (``loop.create_connection`` with a host
  is not used: cancelled in the moment of its success, it loses the connection; and uvloop's tries one address after
  the other, each for as long as the system likes.)
- A connection is handed out only once it is known to lead to upstream (``trust``), before any byte is sent.
- Nothing here keeps an interpreter alive: names are looked up on a daemon thread, once for all who ask meanwhile.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import itertools
import os
import socket
import sys
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from .background import Worker
from .errors import RerankFault, UpstreamFault, UpstreamTimeout
from .origin import Origin
from .trust import explain

P = TypeVar("P", bound=asyncio.BaseProtocol)
Address = tuple[int, Any]
"""A socket's family and what ``connect`` takes."""
Resolve = Callable[[str, int], Iterable[Address]]

ATTEMPT_DELAY_S = 0.25
"""After so long without an answer, the next address is tried as well (RFC 8305 §5)."""


def system_addresses(host: str, port: int, flags: int = 0) -> list[Address]:
    """What the system knows of a name, in its order of preference (RFC 6724).

    :raises OSError: nothing is known.
    """
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=flags)
    # A zone stands in the address's fourth part too; with it in the text, ``connect`` would look it up again.
    return [(family, (str(address[0]).partition("%")[0], *address[1:])) for family, _, _, _, address in found]


def interleaved(addresses: Iterable[Address]) -> list[Address]:
    """Families in turn, the first one's first, so that a family without a route costs one delay (RFC 8305 §4).

    >>> interleaved([(6, "a"), (6, "b"), (4, "c"), (6, "a")])
    [(6, 'a'), (4, 'c'), (6, 'b')]
    """
    families: dict[int, list[Address]] = {}
    for address in dict.fromkeys(addresses):
        families.setdefault(address[0], []).append(address)
    return [address for row in itertools.zip_longest(*families.values()) for address in row if address is not None]


class Dialer:
    """Opens connections to one upstream, on the running loop.

    :param timeout: seconds for a whole connection, from the name to the end of TLS's handshake; None: unlimited.
    :param resolve: looks a name up; called on a thread of ours.
    """

    def __init__(self, place: Origin, timeout: float | None, resolve: Resolve = system_addresses) -> None:
        self._place, self._timeout, self._resolve = place, timeout, resolve
        self._loop = asyncio.get_running_loop()
        self._names = Worker("nbproxy-names")
        self._lookup: asyncio.Future[Iterable[Address]] | None = None
        self._attempts: set[asyncio.Task[Any]] = set()
        self._best: Address | None = None  # the one that was reached last is tried first (RFC 8305 §4)
        self._known = _literal(place)

    async def dial(self, make_protocol: Callable[[], P]) -> tuple[asyncio.Transport, P]:
        """A connection; its protocol is not closed yet, and no byte was sent.

        :raises UpstreamFault: it cannot be had; :class:`UpstreamTimeout` where that took too long.
        """
        attempt = self._loop.create_task(self._attempt(make_protocol))
        self._attempts.add(attempt)
        attempt.add_done_callback(self._attempts.discard)
        try:
            transport, protocol = await asyncio.shield(attempt)
        except asyncio.CancelledError:
            attempt.add_done_callback(_drop_late)
            raise
        self._check_open(transport)
        return transport, protocol

    def close(self) -> None:
        """Look no more names up; connections in the making end by themselves, within the time limit."""
        self._names.close()

    async def _attempt(self, make_protocol: Callable[[], P]) -> tuple[asyncio.Transport, P]:
        end = None if self._timeout is None else self._loop.time() + self._timeout
        while True:
            sock = await self._socket(end)
            transport, protocol = await self._started(sock, make_protocol, end)
            if self._accepted(transport):
                return transport, protocol

    def _accepted(self, transport: asyncio.Transport) -> bool:
        """Whether this is upstream; false: connect anew, as another authority is trusted now."""
        trust = self._place.tls
        accepted = False
        self._check_open(transport)
        try:
            accepted = trust is None or trust.accept(transport.get_extra_info("ssl_object"))
        except UpstreamFault as fault:
            raise self._fault(fault.reason) from None
        except OSError as error:  # of OpenSSL, about an authority
            raise self._fault(explain(error)) from None
        finally:
            if not accepted:
                transport.abort()
        return accepted

    # -- a socket

    async def _socket(self, end: float | None) -> socket.socket:
        """A connected socket: the first that comes of attempts that begin one after the other (RFC 8305 §5)."""
        todo = iter(await self._addresses(end))
        pending: set[asyncio.Task[tuple[Address, socket.socket]]] = set()
        errors: list[BaseException] = []
        try:
            while True:
                address = next(todo, None)
                if address is not None:
                    pending.add(self._loop.create_task(self._connected(address)))
                elif not pending:
                    raise self._unreachable(errors)
                done, pending = await asyncio.wait(
                    pending, timeout=self._pause(address, end), return_when=asyncio.FIRST_COMPLETED
                )
                for task in done:
                    if (error := task.exception()) is None:
                        return self._chosen(task, done)
                    errors.append(error)
                self._check(end)
        finally:
            for task in pending:
                _abandon(task)

    def _pause(self, begun: Address | None, end: float | None) -> float | None:
        """How long to wait for those that have begun; the last one has all the time that is left."""
        left = self._left(end)
        if begun is None:
            return left
        return ATTEMPT_DELAY_S if left is None else min(ATTEMPT_DELAY_S, left)

    def _chosen(self, winner: asyncio.Task[tuple[Address, socket.socket]], done: set[Any]) -> socket.socket:
        for task in done - {winner}:
            _abandon(task)
        self._best, sock = winner.result()
        return sock

    async def _connected(self, address: Address) -> tuple[Address, socket.socket]:
        family, where = address
        sock = socket.socket(family, socket.SOCK_STREAM)
        try:
            await _connect(self._loop, sock, where)
            if self._place.socket_path is None:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except OSError as error:
            sock.close()
            raise OSError(error.errno, f"{_shown(where)}: {explain(error)}") from None
        except BaseException:
            sock.close()
            raise
        return address, sock

    async def _addresses(self, end: float | None) -> list[Address]:
        found = self._known or interleaved(await self._looked_up(end))
        return sorted(found, key=lambda address: address != self._best)

    async def _looked_up(self, end: float | None) -> Iterable[Address]:
        lookup = self._lookup
        if lookup is None or lookup.done():
            lookup = self._lookup = self._look_up()
        await asyncio.wait([lookup], timeout=self._left(end))
        if not lookup.done():
            raise self._timed_out("its name was not resolved")
        try:
            return lookup.result()
        except (OSError, UnicodeError) as error:
            raise self._fault(f"the name {self._place.host!r} cannot be resolved: {explain(error)}") from None

    def _look_up(self) -> asyncio.Future[Iterable[Address]]:
        host, port, resolve = self._place.host, self._place.port, self._resolve
        try:
            job = self._names.submit(lambda: resolve(host, port))
        except RerankFault:
            raise UpstreamFault("the proxy is stopping") from None
        lookup: asyncio.Future[Iterable[Address]] = asyncio.wrap_future(job.future)
        lookup.add_done_callback(_seen)
        return lookup

    # -- a transport

    async def _started(
        self, sock: socket.socket, make_protocol: Callable[[], P], end: float | None
    ) -> tuple[asyncio.Transport, P]:
        """The socket's transport, behind TLS's handshake where there is one."""
        create: Any = self._loop.create_connection
        if self._place.socket_path is not None:
            create = self._loop.create_unix_connection
        try:
            return await create(make_protocol, sock=sock, **self._tls(end))  # type: ignore[no-any-return]
        except OSError as error:
            if _took_too_long(error):
                raise self._timed_out("TLS's handshake did not end") from None
            raise self._fault(("in TLS's handshake: " if self._place.tls else "") + explain(error)) from None
        finally:
            # uvloop's handle owns the descriptor, and closes it; ours would close it again when it is collected, and
            # by then it may be somebody else's. asyncio's transport owns the socket itself.
            if not isinstance(self._loop, asyncio.BaseEventLoop):
                sock.detach()

    def _tls(self, end: float | None) -> dict[str, Any]:
        trust = self._place.tls
        if trust is None:
            return {}
        options: dict[str, Any] = {"ssl": trust.context, "server_hostname": self._place.server_name}
        if (left := self._left(end)) is not None:  # the handshake ends by itself: it is never cancelled
            options["ssl_handshake_timeout"] = max(left, 1e-3)
        return options

    # -- time, faults

    def _left(self, end: float | None) -> float | None:
        return None if end is None else max(0.0, end - self._loop.time())

    def _check(self, end: float | None) -> None:
        if end is not None and self._loop.time() >= end:
            raise self._timed_out("no connection")

    def _check_open(self, transport: asyncio.Transport) -> None:
        """It may have ended while we waited for our turn: nobody would be told any more."""
        if transport.is_closing():
            raise self._fault("it closed the connection as soon as it was opened")

    def _timed_out(self, what: str) -> UpstreamTimeout:
        within = "" if self._timeout is None else f" within {self._timeout:g} s"
        return UpstreamTimeout(f"cannot connect to {self._place.url}: {what}{within}")

    def _unreachable(self, errors: list[BaseException]) -> UpstreamFault:
        why = "; ".join(dict.fromkeys(map(explain, errors))) or "its name has no address"
        if errors and all(isinstance(error, TimeoutError) for error in errors):
            return self._timed_out(why)
        return self._fault(why)

    def _fault(self, why: str) -> UpstreamFault:
        return UpstreamFault(f"cannot connect to {self._place.url}: {why}")


async def _connect(loop: asyncio.AbstractEventLoop, sock: socket.socket, where: Any) -> None:
    """``loop.sock_connect``, but that uvloop's drops an address's zone, and that both take a Unix socket whose queue is
    full for connected."""
    sock.setblocking(False)
    if sys.platform == "win32":  # whose loop has no add_writer
        await loop.sock_connect(sock, where)
        return
    error = sock.connect_ex(where)
    if error in (errno.EINPROGRESS, errno.EINTR):
        writable = asyncio.Event()
        loop.add_writer(sock, writable.set)
        try:
            await writable.wait()
        finally:
            loop.remove_writer(sock)
        error = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if error:
        raise OSError(error, os.strerror(error))


def _literal(place: Origin) -> list[Address]:
    """The addresses that are known without a look-up; none for a name."""
    if place.socket_path is not None:
        return [(socket.AF_UNIX, place.socket_path)]
    with contextlib.suppress(OSError, UnicodeError):
        return system_addresses(place.host, place.port, socket.AI_NUMERICHOST)
    return []


def _shown(where: Any) -> str:
    if isinstance(where, str):
        return where
    return f"[{where[0]}]:{where[1]}" if ":" in where[0] else f"{where[0]}:{where[1]}"


def _took_too_long(error: OSError) -> bool:
    """Both loops tell the end of ``ssl_handshake_timeout`` as an abortion that has no number."""
    return isinstance(error, TimeoutError) or (isinstance(error, ConnectionAbortedError) and error.errno is None)


def _abandon(task: asyncio.Task[tuple[Address, socket.socket]]) -> None:
    """End an attempt: it closes its socket, or, where it has just succeeded, we do."""
    task.cancel()
    task.add_done_callback(_close_late)


def _close_late(task: asyncio.Task[tuple[Address, socket.socket]]) -> None:
    if not task.cancelled() and task.exception() is None:
        task.result()[1].close()


def _drop_late(attempt: asyncio.Task[tuple[asyncio.Transport, Any]]) -> None:
    """A connection that nobody waits for any longer."""
    if not attempt.cancelled() and attempt.exception() is None:
        attempt.result()[0].abort()


def _seen(lookup: asyncio.Future[Any]) -> None:
    """The error of a look-up that nobody waits for any longer is not worth a warning."""
    if not lookup.cancelled():
        lookup.exception()
