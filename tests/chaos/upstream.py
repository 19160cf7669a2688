"""An upstream that misbehaves at random, yet always in the same way for the same request: its number decides.

Laws: every answer names the number of the request that it answers, in ``X-Id`` and in its body; what a number will
meet, and what a client may then see, is known beforehand (:func:`fate`), whatever the order of things.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import socket
import struct
import threading
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Literal, Self
from urllib.parse import parse_qs, urlsplit

Group = Literal["ok", "before", "within", "any"]  # what is wrong: nothing, no answer, half an answer, it depends
SIZES = ((0, 5), (1, 5), (30, 30), (700, 30), (5_000, 20), (70_000, 8), (400_000, 2))
STATUSES = (400, 404, 429, 500, 502, 503)


def content(number: int) -> bytes:
    """What a request that is no search is answered with."""
    sizes, weights = zip(*SIZES, strict=True)
    size = random.Random(f"size {number}").choices(sizes, weights)[0]
    unit = b"%d " % number
    return (unit * (size // len(unit) + 1))[:size]


def found(number: int, offset: int, size: int) -> bytes:
    """What a search is answered with: documents ``offset`` … of 60, best first."""
    hits = [
        {"_index": "books", "_id": str(n), "_score": 60.0 - n, "_source": {"title": f"document {n} for i{number} "}}
        for n in range(60)[offset : offset + size]
    ]
    return json.dumps({"took": 1, "hits": {"total": {"value": 60, "relation": "eq"}, "hits": hits}}).encode()


@dataclass
class Turn:
    """A request in hand, and the connection that it came by."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    head: bytes
    received: Counter[int]
    rng: random.Random = field(default_factory=random.Random)
    body: bytes = b""
    read: bool = False

    def __post_init__(self) -> None:
        self.method, self.target = self.head.split(b" ", 2)[:2]
        path = urlsplit(self.target.decode()).path
        self.number = int("".join(c for c in path if c.isdigit()))
        self.received[self.number] += 1
        self.search = path.endswith("/_search")

    async def whole(self) -> None:
        """Read the request's body, once."""
        if self.read:
            return
        self.read = True
        lower = self.head.lower()
        if b"\r\ntransfer-encoding: chunked" in lower:
            while size := int(await self.reader.readuntil(b"\r\n"), 16):
                self.body += (await self.reader.readexactly(size + 2))[:-2]
            await self.reader.readuntil(b"\r\n")
        elif b"\r\ncontent-length:" in lower:
            self.body = await self.reader.readexactly(int(lower.split(b"\r\ncontent-length:")[1].split(b"\r\n")[0]))

    @property
    def answer(self) -> bytes:
        return self._found() if self.search else content(self.number)

    def _found(self) -> bytes:
        asked: Any = json.loads(self.body or b"{}")
        given = {key: int(values[0]) for key, values in parse_qs(urlsplit(self.target.decode()).query).items()
                 if key in ("from", "size")}  # fmt: skip
        return found(self.number, asked.get("from", given.get("from", 0)), asked.get("size", given.get("size", 10)))

    def start(self, fields: str, status: int = 200) -> bytes:
        kind = "application/json" if self.search else "text/plain"
        return f"HTTP/1.1 {status} So\r\nX-Id: {self.number}\r\nContent-Type: {kind}\r\n{fields}\r\n".encode()

    def length(self, status: int = 200) -> bytes:
        """A whole answer with a Content-Length."""
        body = self.answer if status == 200 else content(self.number)
        return self.start(f"Content-Length: {len(body)}\r\n", status) + (b"" if self.method == b"HEAD" else body)

    async def send(self, *pieces: bytes) -> None:
        for piece in pieces:
            self.writer.write(piece)
            await self.writer.drain()

    async def pause(self) -> None:
        await asyncio.sleep(self.rng.random() * 0.02)

    def reset(self) -> bool:
        sock = self.writer.get_extra_info("socket")
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()
        return False


# Each returns whether the connection may serve another request.


async def length(turn: Turn) -> bool:
    await turn.whole()
    await turn.send(turn.length())
    return True


async def chunked(turn: Turn) -> bool:
    await turn.whole()
    body, pieces = turn.answer, []
    while body:
        n = turn.rng.choice((1, 7, 900, 40_000)) if len(pieces) < 50 else len(body)
        pieces.append(b"%x;a=b\r\n%b\r\n" % (len(body[:n]), body[:n]))
        body = body[n:]
    await turn.send(turn.start("Transfer-Encoding: chunked\r\n"), *pieces, b"0\r\nX-Trailer: t\r\n\r\n")
    return True


async def until_close(turn: Turn) -> bool:
    await turn.whole()
    await turn.send(turn.start(""), turn.answer)
    return False


async def slow(turn: Turn) -> bool:
    await turn.whole()
    whole = turn.length()
    for _ in range(4):
        await turn.pause()
        n = turn.rng.randrange(len(whole) + 1)
        await turn.send(whole[:n])
        whole = whole[n:]
    await turn.send(whole)
    return True


async def extra(turn: Turn) -> bool:
    """Poison for whoever comes next on this connection."""
    await turn.whole()
    await turn.send(turn.length() + b"HTTP/1.1 200 OK\r\nX-Id: 0\r\nContent-Length: 6\r\n\r\npoison")
    return True


async def error(turn: Turn) -> bool:
    await turn.whole()
    await turn.send(turn.length(turn.rng.choice(STATUSES)))
    return True


async def interim(turn: Turn) -> bool:
    await turn.whole()
    await turn.send(*[b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"] * 3, turn.length())
    return True


async def early(turn: Turn) -> bool:
    """Answers before it has read the request's body."""
    if turn.search:
        await turn.whole()
    await turn.send(turn.length())
    await turn.whole()
    return True


async def early_close(turn: Turn) -> bool:
    if turn.search:
        await turn.whole()
    await turn.send(turn.length())
    return False


async def leave(turn: Turn) -> bool:
    """Closes behind the answer without a word: the worst moment for a keep-alive connection."""
    await turn.whole()
    await turn.send(turn.length())
    return turn.reset() if turn.rng.random() < 0.5 else False


async def leave_later(turn: Turn) -> bool:
    await turn.whole()
    await turn.send(turn.length())
    await turn.pause()
    return False


async def drop_next(turn: Turn) -> bool:
    """Takes the next request on this connection and closes without an answer."""
    await turn.whole()
    await turn.send(turn.length())
    Turn(turn.reader, turn.writer, await turn.reader.readuntil(b"\r\n\r\n"), turn.received)
    return turn.reset() if turn.rng.random() < 0.5 else False


async def reset(turn: Turn) -> bool:
    if turn.rng.random() < 0.5:
        await turn.whole()
    return turn.reset()


async def shut(turn: Turn) -> bool:
    await turn.whole()
    return False


async def half_head(turn: Turn) -> bool:
    await turn.whole()
    await turn.send(turn.length()[: turn.rng.randrange(1, 30)])
    return turn.reset() if turn.rng.random() < 0.5 else False


async def garbage(turn: Turn) -> bool:
    await turn.whole()
    await turn.send(turn.rng.choice((b"\0\1\2\r\n\r\n", b"SSH-2.0-x\r\n\r\n", b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n")))
    return False


async def hang(turn: Turn) -> bool:
    await turn.whole()
    await turn.reader.read()  # until the other side gives up
    return False


async def cut_length(turn: Turn) -> bool:
    await turn.whole()
    body = turn.answer
    await turn.send(turn.start(f"Content-Length: {len(body) + 9}\r\n") + body)
    return turn.reset() if turn.rng.random() < 0.5 else False


async def cut_chunked(turn: Turn) -> bool:
    await turn.whole()
    body = turn.answer + b"x"
    tail = turn.rng.choice((b"", b"\r\n", b"\r\n0\r\n", b"\r\n5\r\nab"))
    await turn.send(turn.start("Transfer-Encoding: chunked\r\n") + b"%x\r\n%b" % (len(body), body) + tail)
    return turn.reset() if turn.rng.random() < 0.5 else False


async def bad_chunks(turn: Turn) -> bool:
    await turn.whole()
    await turn.send(turn.start("Transfer-Encoding: chunked\r\n") + b"3\r\n123\r\nnonsense\r\n0\r\n\r\n")
    return False


Fate = Callable[[Turn], Awaitable[bool]]
FATES: dict[Fate, tuple[Group, float]] = {
    length: ("ok", 30), chunked: ("ok", 10), until_close: ("ok", 4), slow: ("ok", 8), extra: ("ok", 4),
    error: ("ok", 8), interim: ("ok", 2), early: ("ok", 4), early_close: ("any", 2), leave: ("ok", 4),
    leave_later: ("ok", 4), drop_next: ("ok", 3), reset: ("before", 3), shut: ("before", 3), half_head: ("before", 3),
    garbage: ("before", 3), hang: ("before", 0.3), cut_length: ("within", 4), cut_chunked: ("within", 4),
    bad_chunks: ("within", 2),
}  # fmt: skip


def fate(seed: int, number: int, method: bytes) -> tuple[Fate, Group]:
    """What a request will meet. A HEAD has no body to be cut."""
    chosen = random.Random(f"{seed} {number}").choices(list(FATES), [weight for _, weight in FATES.values()])[0]
    if method == b"HEAD" and (FATES[chosen][0] == "within" or chosen in (chunked, until_close)):
        chosen = length
    return chosen, FATES[chosen][0]


class Chaotic:
    """The upstream, on a thread of its own.

    :ivar received: how often each number came, counted at its head.
    """

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed
        self.received: Counter[int] = Counter()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._main()), name="chaotic", daemon=True)
        self._thread.start()
        self._ready.wait()

    async def _main(self) -> None:
        self._loop, self._stopped = asyncio.get_running_loop(), asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        server = await asyncio.start_server(self._accepted, "127.0.0.1", 0, backlog=1024)
        self.port: int = server.sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._ready.set()
        await self._stopped.wait()
        server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            going = True
            while going:
                turn = Turn(reader, writer, await reader.readuntil(b"\r\n\r\n"), self.received)
                turn.rng.seed(f"{self.seed} {turn.number}")
                going = await fate(self.seed, turn.number, turn.method)[0](turn)
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stopped.set)
        self._thread.join()
