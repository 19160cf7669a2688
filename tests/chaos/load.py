"""The clients, and a session under them: what they saw, and what is left behind."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import itertools
import random
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass

import psutil

import nbproxy
from nbproxy import Limits, Timeouts

from .ledger import SAFE, Ledger, check_records
from .messages import Closed, Sent, Wrong, asked, read_answer
from .upstream import Chaotic, fate

CLIENTS, HANG_S = 64, 30.0
LIMITS = Limits(connections=2 * CLIENTS)
TIMEOUTS = Timeouts(connect=5, read=2)


def backwards(query: str, texts: list[str]) -> list[float]:
    """A model that turns the order round, and fails for every tenth query."""
    if query.rstrip().endswith("0"):
        raise ArithmeticError(query)
    return [float(text.split()[1]) for text in texts]


class Load:
    """Clients that ask until there is nothing left to ask.

    :param requests: how many requests in all; None: until ``seconds`` have passed.
    """

    def __init__(self, url: str, ledger: Ledger, *, requests: int | None, seconds: float = 0, clients: int = CLIENTS):
        self._host, _, port = url.removeprefix("http://").rpartition(":")
        self._port, self._ledger, self._clients = int(port), ledger, clients
        self._end = None if requests is not None else time.monotonic() + seconds
        self._numbers: Iterator[int] = iter(range(1, requests + 1)) if requests is not None else itertools.count(1)

    async def run(self) -> None:
        await asyncio.gather(*(self._client(n) for n in range(self._clients)))

    def _batch(self, rng: random.Random) -> list[Sent]:
        if self._end is not None and time.monotonic() > self._end:
            return []
        size = rng.choices((1, 2, 4), (80, 12, 8))[0]
        return [asked(rng, number) for number in itertools.islice(self._numbers, size)]

    async def _client(self, n: int) -> None:
        rng = random.Random(f"client {self._ledger.seed} {n}")
        batch = self._batch(rng)
        while batch:
            reader, writer = await asyncio.open_connection(self._host, self._port, limit=1 << 20)
            try:
                async with asyncio.timeout(None) as patience:
                    going = True
                    while batch and going:
                        patience.reschedule(asyncio.get_running_loop().time() + HANG_S)
                        going = await self._exchange(rng, batch, reader, writer)
                        batch = self._batch(rng)
            except TimeoutError:
                self._ledger.problem("hung", f"one of {[sent.number for sent in batch]}")
                batch = self._batch(rng)
            finally:
                writer.close()
                with contextlib.suppress(ConnectionError):
                    await writer.wait_closed()

    async def _exchange(
        self, rng: random.Random, batch: list[Sent], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        """Send ``batch``, pipelined, and read the answers; whether the connection may go on."""
        self._ledger.unsafe |= {sent.number for sent in batch if sent.method not in SAFE and not sent.search}
        writer.write(b"".join(sent.raw for sent in batch))
        if rng.random() < 0.03:
            return await self._vanish(rng, batch, reader, writer)
        closes = False
        for sent in batch:
            try:
                answer = await read_answer(reader, sent)
            except Closed:
                self._unanswered(sent, explained=closes)
                closes = True
                continue
            except Wrong as error:
                self._ledger.problem("wrong", f"{sent.number}: {error}")
                return False
            if closes:
                self._ledger.problem("crossed", f"{sent.number}: an answer behind a closing one")
            self._ledger.judge(sent, answer)
            closes = answer.closes or sent.minor == 0
        return not closes

    def _unanswered(self, sent: Sent, *, explained: bool) -> None:
        self._ledger.statuses[sent.number] = 0
        self._ledger.kinds["unanswered"] += 1
        if not explained:
            met, _ = fate(self._ledger.seed, sent.number, sent.method)
            self._ledger.problem("lost", f"{sent.number} {sent.method.decode()} {met.__name__}")

    async def _vanish(
        self, rng: random.Random, batch: list[Sent], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        """Leave: at once, in the middle of the request, or behind the first bytes of an answer."""
        self._ledger.statuses.update({sent.number: 0 for sent in batch})
        self._ledger.kinds["left"] += len(batch)
        if rng.random() < 0.5:
            with contextlib.suppress(ConnectionError):
                await reader.read(rng.choice((1, 100, 1000)))
        writer.transport.abort()
        return False


def tasks_of(session: nbproxy.Session) -> int:
    """How many tasks live on the proxy's loop."""
    thread = session._thread
    return thread.call(lambda: len(asyncio.all_tasks(thread.loop)))


def traces() -> tuple[set[str], int]:
    """The threads of ours that live, and how many file descriptors are open."""
    gc.collect()
    ours = [thread for thread in threading.enumerate() if thread.name.startswith("nbproxy")]
    for thread in ours:
        thread.join(5)  # a model's ends once the last exchange has let go of it
    return {thread.name for thread in ours if thread.is_alive()}, psutil.Process().num_fds()


@dataclass(frozen=True)
class Result:
    ledger: Ledger
    rows: int
    tasks: int
    threads: set[str]
    fds: int
    grown: int  # bytes


def run(
    upstream: Chaotic, directory: str, *, requests: int | None, seconds: float = 0, clients: int = CLIENTS
) -> Result:
    """A session, the load, and what is left behind."""
    ledger = Ledger(upstream.seed)
    nbproxy.start(upstream.url, name="chaos", record=False).stop()  # what is opened once for all is open now
    threads, fds = traces()
    session = nbproxy.start(
        upstream.url, name="chaos", model=backwards, record=directory, deadline=None, drain=2, limits=LIMITS,
        timeout=TIMEOUTS,
    )  # fmt: skip
    before = psutil.Process().memory_info().rss
    asyncio.run(Load(session.url, ledger, requests=requests, seconds=seconds, clients=clients).run())
    tasks = _settled(session)
    grown = psutil.Process().memory_info().rss - before
    rows = check_records(ledger, session, upstream)
    session.stop()
    after, open_now = traces()
    return Result(ledger, rows, tasks, after - threads, open_now - fds, grown)


def _settled(session: nbproxy.Session) -> int:
    """The tasks that are left once clients have gone: their last callbacks may still run."""
    end = time.monotonic() + HANG_S
    while (tasks := tasks_of(session)) and time.monotonic() < end:
        pass
    return tasks


def report(result: Result) -> int:
    ledger = result.ledger
    print(f"requests        {len(ledger.statuses)}")
    print(f"answers         {dict(ledger.kinds)}")
    for kind, texts in ledger.problems.items():
        print(f"{kind:15} {len(texts)} {texts[:5] if texts else ''}")
    print(f"leaked threads  {len(result.threads)} {result.threads or ''}")
    print(f"leaked tasks    {result.tasks}")
    print(f"leaked fds      {result.fds}")
    print(f"memory growth   {result.grown / 2**20:.1f} MiB")
    print(f"recorded rows   {result.rows}")
    return int(any(ledger.problems.values()) or bool(result.threads) or bool(result.tasks) or result.fds > 0)
