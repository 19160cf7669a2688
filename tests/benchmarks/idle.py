"""What 10,000 idle keep-alive connections cost, each of which has had one answer: memory of the proxy's processes (the
kernel's, of the sockets, is not in it). All of them serve again in the end.

nginx and HAProxy set room for their connections aside when they start, which is not counted here.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path

import nbproxy

from . import peers
from .content import SIZES
from .machine import raise_file_limit, temporary_folder
from .processes import Daemon
from .proxy import Proxy
from .report import table

NEEDS = ("nginx", "haproxy")
CONNECTIONS = 10_000
FILLING = 2_000  # connections before them, which take what room starting up has left free
FILES = CONNECTIONS + FILLING + 1_000  # a process's own: the client's, and each proxy's
REQUEST = b"GET /small HTTP/1.1\r\nHost: localhost\r\n\r\n"

Make = Callable[[Path, int], AbstractContextManager[Daemon | Proxy]]


def ours(folder: Path, upstream: int) -> Proxy:
    limits = nbproxy.Limits(connections=None, idle_s=None)
    return Proxy("nbproxy", upstream, limits=limits, record=folder / "recording")


MAKERS: tuple[Make, ...] = (
    lambda folder, upstream: peers.nginx(folder, upstream, FILES),
    lambda folder, upstream: peers.haproxy(folder, upstream, FILES),
    ours,
)


def main(quick: bool = False) -> None:
    raise_file_limit(FILES)
    rows = []
    with temporary_folder() as folder, peers.upstream(folder) as upstream:
        for make in MAKERS:
            with make(folder, upstream.port) as peer:
                before, after = _grown(peer)
                rows.append((peer.name, f"{before / 1e6:.1f}", f"{after / 1e6:.1f}", after - before))
    theirs = min(each[3] for each in rows if each[0] != "nbproxy")
    heads = (f"{CONNECTIONS:,} idle connections", "MB before", "MB with them", "KB each", "× the better")
    print(table(heads, [(*row[:3], f"{row[3] / CONNECTIONS / 1e3:.1f}", f"{row[3] / theirs:.1f}") for row in rows]))


def _grown(peer: Daemon | Proxy) -> tuple[int, int]:
    """Bytes of memory before, and while the connections are open."""
    with ExitStack() as clients:
        first = [clients.enter_context(_connected(peer)) for _ in range(FILLING)]
        for client in first * 3:
            _served(client)
        before = peer.memory()
        many = []
        for _ in range(CONNECTIONS):
            many.append(clients.enter_context(_connected(peer)))
            _served(many[-1])
        after = peer.memory()
        for client in many:
            _served(client)
    return before, after


def _connected(peer: Daemon | Proxy) -> socket.socket:
    return socket.create_connection(("127.0.0.1", peer.port), timeout=30)


def _served(client: socket.socket) -> None:
    """One request and its answer."""
    client.sendall(REQUEST)
    got = b""
    while (end := got.find(b"\r\n\r\n")) < 0 or len(got) < end + 4 + SIZES["small"]:
        if not (data := client.recv(65_536)):
            raise RuntimeError(f"a connection was closed after {got[:200]!r}")
        got += data
    if not got.startswith(b"HTTP/1.1 200 "):
        raise RuntimeError(f"a request was answered with {got[:200]!r}")
