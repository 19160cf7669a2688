"""Many clients at once before a proxy whose upstream misbehaves at random; what they got, judged request by request.

    python -m tests.chaos --seconds 60 --loop uvloop       (or asyncio)

Every request carries a number. A client must get exactly one answer to it: its own, or an error of the proxy's (502,
504), or one that is visibly cut; what is allowed follows from what the number met upstream (``chaotic.fate``).
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import itertools
import json
import random
import tempfile
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field

import psutil

import nbproxy
from nbproxy import Limits, Timeouts, background

from .chaotic import STATUSES, Chaotic, content, early_close, fate, hang

CLIENTS, HANG_S = 64, 30.0
SAFE = (b"GET", b"HEAD")
LIMITS = Limits(connections=2 * CLIENTS)
TIMEOUTS = Timeouts(connect=5, read=2)


def backwards(query: str, texts: list[str]) -> list[float]:
    """A model that turns the order round, and fails for every tenth query."""
    if query.rstrip().endswith("0"):
        raise ArithmeticError(query)
    return [float(text.split()[1]) for text in texts]


@dataclass(frozen=True)
class Sent:
    """One request."""

    number: int
    method: bytes
    raw: bytes
    search: bool = False
    minor: int = 1
    alone: bool = False  # a search that is passed through as it is


def _asked(rng: random.Random, number: int) -> Sent:
    kind = rng.choices(list(KINDS), list(KINDS.values()))[0]
    method, body, field_line = kind[0], b"x" * kind[1], kind[2]
    target, minor = b"/p%d/doc?x=1" % number, kind[3]
    search, size = kind[4], rng.choice((0, 1, 10, 10, 20))
    if search and method == b"POST":
        query = {"query": {"match": {"title": f"about i{number} "}}, "size": size}
        target, body = b"/i%d/_search" % number, json.dumps(query).encode()
    elif search:
        target = b"/i%d/_search?q=title:about&size=10" % number
    framing = b""
    if b"chunked" in field_line:
        body = b"".join(b"%x\r\n%b\r\n" % (len(p), p) for p in (body[i : i + 999] for i in range(0, len(body), 999)))
        body += b"0\r\n\r\n"
    elif body:
        framing = b"Content-Length: %d\r\n" % len(body)
    head = b"%b %b HTTP/1.%d\r\nHost: a\r\n%b%b\r\n" % (method, target, minor, framing, field_line)
    return Sent(number, method, head + body, search, minor, alone=search and method == b"POST" and not size)


CHUNKED = b"Transfer-Encoding: chunked\r\n"
# (method, size of the body, a field, minor version, search) → weight
KINDS: dict[tuple[bytes, int, bytes, int, bool], float] = {
    (b"GET", 0, b"", 1, False): 30,
    (b"GET", 0, b"", 0, False): 0,  # 3 once a cut answer to an HTTP/1.0 client is cut (test_chaos has the case)
    (b"HEAD", 0, b"", 1, False): 4,
    (b"DELETE", 0, b"", 1, False): 4,
    (b"POST", 50, b"", 1, False): 15,
    (b"POST", 300_000, b"", 1, False): 3,
    (b"PUT", 5_000, CHUNKED, 1, False): 6,
    (b"PUT", 300_000, CHUNKED, 1, False): 2,
    (b"PUT", 500, b"Expect: 100-continue\r\n", 1, False): 2,
    (b"POST", 1, b"", 1, True): 25,
    (b"GET", 0, b"", 1, True): 4,
}


@dataclass
class Answer:
    """What a client saw: ``whole`` or visibly cut."""

    status: int = 0
    fields: dict[bytes, bytes] = field(default_factory=dict)
    body: bytes = b""
    whole: bool = False

    @property
    def closes(self) -> bool:
        return not self.whole or self.fields.get(b"connection", b"").lower() == b"close"


class Closed(Exception):
    """The connection closed before an answer began."""


class Wrong(Exception):
    """What came is no answer."""


async def read_answer(reader: asyncio.StreamReader, sent: Sent) -> Answer:
    """The final answer to ``sent``.

    :raises Closed: there is none.
    """
    answer = Answer()
    while answer.status < 200:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError as error:
            raise (Wrong("half a head") if error.partial else Closed()) from None
        except ConnectionError:
            raise Closed from None
        lines = head[:-4].split(b"\r\n")
        answer.status = int(lines[0].split(b" ")[1])
        answer.fields = {name.lower(): value.strip() for name, _, value in (line.partition(b":") for line in lines[1:])}
    with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
        async for piece in _body(reader, sent, answer):
            answer.body += piece
        answer.whole = True
    return answer


async def _body(reader: asyncio.StreamReader, sent: Sent, answer: Answer) -> AsyncIterator[bytes]:
    if sent.method == b"HEAD":
        return
    if b"content-length" in answer.fields:
        left = int(answer.fields[b"content-length"])
        while left:
            piece = await reader.read(min(left, 65536))
            if not piece:
                raise asyncio.IncompleteReadError(b"", left)
            left -= len(piece)
            yield piece
    elif answer.fields.get(b"transfer-encoding") == b"chunked":
        while size := int(await reader.readuntil(b"\r\n"), 16):
            yield (await reader.readexactly(size + 2))[:-2]
        while await reader.readuntil(b"\r\n") != b"\r\n":
            pass
    else:
        if sent.minor:
            raise Wrong("an answer without an end")
        yield await reader.read()


@dataclass
class Ledger:
    """What happened, counted; ``problems`` are what must not be."""

    seed: int
    kinds: Counter[str] = field(default_factory=Counter)
    problems: dict[str, list[str]] = field(
        default_factory=lambda: {kind: [] for kind in ("lost", "crossed", "hung", "wrong", "records", "repeats")}
    )
    statuses: dict[int, int] = field(default_factory=dict)  # by number: 0: cut or without an answer
    unsafe: set[int] = field(default_factory=set)

    def problem(self, kind: str, text: str) -> None:
        self.problems[kind].append(text)

    def judge(self, sent: Sent, answer: Answer) -> None:
        self.statuses[sent.number] = answer.status
        kind = "cut" if not answer.whole else "whole" if b"x-id" in answer.fields else "error"
        self.kinds[kind] += 1
        met, _ = fate(self.seed, sent.number, sent.method)
        what = f"{sent.number} {sent.method.decode()} {met.__name__}: {answer.status} {kind}"
        if kind != "error" and answer.fields.get(b"x-id") != b"%d" % sent.number:
            self.problem("crossed", f"{what} X-Id {answer.fields.get(b'x-id')!r}")
        elif kind not in self.allowed(sent):
            self.problem("wrong", f"{what} {answer.body[:200]!r}")
        elif not _right(sent, answer, kind, met is hang):
            self.problem("crossed", f"{what} {answer.body[:200]!r}")

    def allowed(self, sent: Sent) -> set[str]:
        """The kinds of answer that this request may get."""
        met, group = fate(self.seed, sent.number, sent.method)
        within = "error" if sent.search and not sent.alone else "cut"  # a search's answer is read whole first
        kinds = {"ok": {"whole"}, "before": {"error"}, "within": {within}}.get(group, {"whole", "error", "cut"})
        stale = sent.method not in SAFE and (
            sent.alone or not sent.search
        )  # its reused connection may just have closed
        if met is early_close and sent.method in SAFE:
            kinds = {"whole"}
        return kinds | {"error"} if stale else kinds


def _right(sent: Sent, answer: Answer, kind: str, hung: bool) -> bool:
    """Whether an answer is, byte for byte, what it may be."""
    if sent.method == b"HEAD":
        return not answer.body
    if kind == "error":
        return answer.status in ((504,) if hung else (502,)) and b'"nbproxy_upstream_' in answer.body
    if sent.search and answer.status == 200:
        return kind == "cut" or _own_hits(sent, json.loads(answer.body))
    if answer.status not in (200, *STATUSES):
        return False
    own = content(sent.number)
    return answer.body == own if kind == "whole" else (own + b"xab").startswith(answer.body) or answer.body == b"123"


def _own_hits(sent: Sent, answer: object) -> bool:
    assert isinstance(answer, dict)
    hits = answer["hits"]["hits"]
    ids = [int(hit["_id"]) for hit in hits]
    own = all(f" i{sent.number} " in hit["_source"]["title"] for hit in hits)
    turned = sent.method == b"POST" and sent.number % 10  # a GET's query is none of the model's failures
    order = [49 - n if turned else n for n in range(len(ids))]
    return own and (ids == order or sent.method == b"GET")


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
        return [_asked(rng, number) for number in itertools.islice(self._numbers, size)]

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


def check_records(ledger: Ledger, session: nbproxy.Session, upstream: Chaotic) -> int:
    """Each answered exchange is recorded once, with the status that the client saw; the number of rows."""
    rows = session._rows()
    numbers = rows.target.str.extract(r"^/[pi](\d+)/")[0].astype("Int64")
    recorded = Counter(numbers.dropna())
    statuses = dict(zip(numbers, rows.status, strict=True))
    for number, status in ledger.statuses.items():
        count = recorded[number]
        if count > 1 or (status and count != 1):
            ledger.problem("records", f"{number} was recorded {count} times")
        elif status and statuses[number] != status:
            ledger.problem("records", f"{number}: {status} seen, {statuses[number]} recorded")
    for number in ledger.unsafe:
        if upstream.received[number] > 1:
            ledger.problem("repeats", f"{number} came {upstream.received[number]} times")
    return len(rows)


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


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--loop", choices=("uvloop", "asyncio"), default="uvloop")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--clients", type=int, default=CLIENTS)
    given = parser.parse_args()
    if given.loop == "asyncio":
        background.new_loop = asyncio.new_event_loop
    with tempfile.TemporaryDirectory() as directory, Chaotic(given.seed) as upstream:
        return report(run(upstream, directory, requests=None, seconds=given.seconds, clients=given.clients))


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


if __name__ == "__main__":
    raise SystemExit(main())
