"""Requests a second through the proxy, as a share of the direct path: interleaved rounds, one keep-alive connection.

The upstream is a small asyncio server in a process of its own; the client is a raw socket in this one.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import socket
import statistics
import time
from multiprocessing.connection import Connection

import nbproxy

ROUNDS, REQUESTS = 5, 1500
SIZES = {"0.65 KB": 650, "33 KB": 33_000}


def upstream(pipe: Connection, size: int) -> None:
    """Answers every request with ``size`` bytes."""
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size + b"x" * size

    class Server(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            self.transport = transport

        def data_received(self, data: bytes) -> None:
            self.transport.write(answer * data.count(b"\r\n\r\n"))  # type: ignore[attr-defined]

    async def serve() -> None:
        server = await asyncio.get_running_loop().create_server(Server, "127.0.0.1", 0)
        pipe.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(serve())


def rate(port: int, size: int) -> float:
    """Requests a second on one connection."""
    request = b"GET /a HTTP/1.1\r\nHost: localhost\r\n\r\n"
    with socket.create_connection(("127.0.0.1", port)) as client:
        begin = time.perf_counter()
        for _ in range(REQUESTS):
            client.sendall(request)
            got = 0
            while got < size:
                got += len(client.recv(1 << 18))
        return REQUESTS / (time.perf_counter() - begin)


def main() -> None:
    context = multiprocessing.get_context("spawn")
    for label, size in SIZES.items():
        ours, theirs = context.Pipe()
        process = context.Process(target=upstream, args=(theirs, size), daemon=True)
        process.start()
        port = ours.recv()
        with nbproxy.start(f"http://127.0.0.1:{port}", name="bench", record=False) as session:
            pairs = [(rate(session.port, size), rate(port, size)) for _ in range(ROUNDS)]
        process.terminate()
        process.join()
        share = statistics.median(through / direct for through, direct in pairs)
        print(f"{label}: {statistics.median(p[0] for p in pairs):,.0f} requests/s, {share:.2f} of the direct path")


if __name__ == "__main__":
    main()
