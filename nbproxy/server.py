"""The listening side: accepts clients, says which handler answers a request, sweeps for what takes too long, drains.

Everything here runs on the loop's thread.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import Callable, Coroutine
from dataclasses import replace
from functools import lru_cache, partial
from typing import Any

from . import routes, ubi
from .client import ClientConnection, error_body
from .context import Context
from .dialects import Dialect, sniffing
from .drafts import KEPT_OF_A_BODY, WHOLE, Draft
from .errors import ClientFault, HttpFault
from .exchange import Route
from .heads import UNREAD, RequestHead
from .relay import Relay
from .searches import Recognised, begin, recognised
from .settings import Limits, Settings
from .wire import Memo

_SWEEP_S = 0.25
_BACKLOG = 4096
_REFUSED = 1000  # so many clients at once are told that they are too many; the next ones are cut


class Server:
    """Accepts clients on one listening socket, for one :class:`Context`."""

    def __init__(self, context: Context, desk: routes.Desk, own_hosts: frozenset[bytes]) -> None:
        self.context = context
        # Clients repeat their targets, and every request is asked by every dialect.
        self._dialect_of = lru_cache(maxsize=1024)(partial(_dialect_of, context.dialects))
        self._desk = desk
        self._own_hosts = own_hosts
        self._clients: set[ClientConnection] = set()
        self._refused: set[ClientConnection] = set()  # those of them that were too many
        self._sweeper: asyncio.TimerHandle | None = None
        self._listening: asyncio.Server | None = None
        self.stopping = False

    async def listen(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        # asyncio's own loop accepts ``backlog`` times in a row, and where descriptors have run out it logs and sets a
        # timer each time: thousands, which start thousands. The system's queue is as long all the same.
        backlog = 1 if isinstance(loop, asyncio.BaseEventLoop) else _BACKLOG
        self._listening = await loop.create_server(lambda: ClientConnection(self), sock=listener, backlog=backlog)
        listener.listen(_BACKLOG)
        self._sweep()

    async def stop(self, drain: float) -> None:
        """Accept nobody, let exchanges in flight end for at most ``drain`` seconds, drop the rest."""
        self.stopping = True
        if self._listening is not None:
            await _accept_no_more(self._listening)
        end = time.monotonic() + drain
        while self._clients and time.monotonic() < end:
            for client in [client for client in self._clients if client.idle]:
                client.linger()
            await asyncio.sleep(0.01)
        for client in list(self._clients):
            client.cut(hard=True)
        self.context.pool.close()
        self.context.close()
        if self._sweeper is not None:
            self._sweeper.cancel()
        await asyncio.sleep(0)

    def _sweep(self) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        for client in list(self._clients):
            client.sweep(now)
        self.context.pool.sweep()
        self._sweeper = loop.call_later(_SWEEP_S, self._sweep)

    @property
    def sockets(self) -> list[Any]:
        """Everything open, for a fork's child to close."""
        clients = [client.transport.get_extra_info("socket") for client in self._clients]
        return [*clients, *self.context.pool.sockets]

    # -- Lobby

    @property
    def heads(self) -> Memo[RequestHead]:
        return self.context.heads

    @property
    def limits(self) -> Limits:
        return self.context.limits

    def admit(self, client: ClientConnection) -> bool:
        most = self.limits.connections
        self._clients.add(client)
        if most is None or len(self._clients) - len(self._refused) <= most:
            return True
        self._refused.add(client)
        if len(self._refused) > _REFUSED:
            client.cut(hard=True)
        return False

    def dismiss(self, client: ClientConnection) -> None:
        self._clients.discard(client)
        self._refused.discard(client)

    def refused(self, client: ClientConnection, fault: HttpFault, head: RequestHead) -> None:
        """A request that cannot be served: answered, and recorded as far as it is known."""
        known = head is not UNREAD
        dialect = self._dialect_of(head.method, head.target) if known else None
        draft = self._draft(client, head, "pass" if dialect is None else "search")
        body, bodiless = error_body(fault, dialect), head.method == "HEAD" if known else client.asks_head
        draft.respond(fault.status, client.answer(fault.status, body, head_only=bodiless, keep=False))
        if not bodiless:
            draft.returned(body)
        draft.finish(str(fault))

    def note(self, error: Exception) -> None:
        self.context.note("nbproxy", None, error)

    def destination(self, head: RequestHead) -> Callable[[ClientConnection, RequestHead], None]:
        """Who answers such a request: one of our routes, a search, or a relay."""
        head.destination = found = self._destination(head)
        return found

    def _destination(self, head: RequestHead) -> Callable[[ClientConnection, RequestHead], None]:
        if head.authority is not None and not self._is_ours(head.scheme, head.authority):
            self._pass_place_on(head.authority, head)
        if routes.is_own(head.target):
            return self._own
        self._warn_of_sniffing(head)
        dialect = self._dialect_of(head.method, head.target)
        return self._pass if dialect is None else partial(self._search, recognised(dialect, head))

    def _is_ours(self, scheme: bytes, authority: bytes) -> bool:
        return authority.lower() in self._own_hosts and scheme.lower() == b"http"

    def _pass_place_on(self, authority: bytes, head: RequestHead) -> None:
        """A target in absolute form that is not ours: upstream judges it if it judges the Host field too."""
        if self.context.host_header != "preserve" or routes.is_own(head.target):
            raise ClientFault("this proxy speaks to its own upstream only", status=421)
        head.before = (head.scheme + b"://" + authority).decode("latin-1")

    def _warn_of_sniffing(self, head: RequestHead) -> None:
        """Once a session: a client is about to leave us in silence."""
        context = self.context
        if sniffing.is_sniff(head.method, head.target) and not any(n.where == "sniffing" for n in context.errors):
            context.note("sniffing", None, sniffing.ADVICE)

    def _own(self, client: ClientConnection, head: RequestHead) -> None:
        draft = self._draft(client, head, "own")
        draft.keep = (KEPT_OF_A_BODY, 0)  # what a view polls is not recorded again and again
        own = routes.OwnExchange(self.context, client, draft, self._desk)
        client.hand_over(own)
        own.start()

    def _pass(self, client: ClientConnection, head: RequestHead) -> None:
        context = self.context
        draft = Draft(context.record, client.peer, head, context.settings, "pass", client.t0)
        if context.told_of_clicks and (index := ubi.index_of(head.method, head.target)) is not None:
            draft.keep = (ubi.KEPT, KEPT_OF_A_BODY)
            draft.note(complete=ubi.UbiClicks(index, KEPT_OF_A_BODY))
        relay = Relay(context, client, draft)
        client.hand_over(relay)
        relay.start()

    def _search(self, found: Recognised, client: ClientConnection, head: RequestHead) -> None:
        draft, limits = self._draft(client, head, "search"), self.limits
        if found.picked is not None:
            draft.settings = self._picked(draft.settings, found.picked.decode("latin-1"))
        draft.keep = (limits.search_bytes or WHOLE, limits.answer_bytes or WHOLE)
        begin(self.context, client, draft, found)

    def _draft(self, client: ClientConnection, head: RequestHead, route: Route) -> Draft:
        context = self.context
        return Draft(context.record, client.peer, head, context.settings, route, client.t0)

    def _picked(self, settings: Settings, name: str) -> Settings:
        """The settings with the model that the client picked."""
        model = settings.models.get(name)
        if model is None:
            known = ", ".join(settings.models) or "none"
            raise ClientFault(f"no model is called {name!r} here; known: {known}", type="nbproxy_unknown_model")
        return replace(settings, model=model)


def _dialect_of(dialects: tuple[Dialect, ...], method: str, target: str) -> Dialect | None:
    """The first dialect that knows the request as a search."""
    return next((dialect for dialect in dialects if dialect.is_search(method, target)), None)


async def _accept_no_more(listening: asyncio.Server) -> None:
    """Close the listening side. Plain asyncio accepts in tasks, and a task that comes after the closing leaves its
    connection half made: so first nothing new, then those tasks, then the closing."""
    for listener in listening.sockets:
        with contextlib.suppress(RuntimeError, ValueError, NotImplementedError):
            asyncio.get_running_loop().remove_reader(listener.fileno())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    listening.close()


def bind(host: str, port: int | None) -> socket.socket:
    """A bound socket, not yet listening. ``port`` None or 0: a free one.

    :raises OSError: it cannot be bound.
    """
    family, kind, proto, _, address = socket.getaddrinfo(
        host, port or 0, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    listener = socket.socket(family, kind, proto)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with contextlib.suppress(OSError, AttributeError):
            if family == socket.AF_INET6:
                listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.bind(address)
    except OSError:
        listener.close()
        raise
    listener.setblocking(False)
    return listener


def spawner() -> Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]]:
    """A ``spawn`` that keeps its tasks alive until they have ended."""
    tasks: set[asyncio.Task[None]] = set()
    loop = asyncio.get_running_loop()

    def spawn(coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = loop.create_task(coroutine)
        tasks.add(task)
        task.add_done_callback(tasks.discard)
        return task

    return spawn
