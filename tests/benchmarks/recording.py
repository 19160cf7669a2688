"""What recording costs, in CPU time of threads: the recorder's a row; the event loop's to hand a row over, and a whole
exchange for comparison.

The floor is Arrow alone: the same bodies in batches of 256 rows, one column, written to a file uncompressed.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, NamedTuple

import pyarrow as pa

from . import peers
from .content import SIZES, answer
from .load import wrk
from .machine import temporary_folder
from .proxy import Proxy, recorded, thread_cpu_s
from .report import table

if TYPE_CHECKING:
    import nbproxy

NEEDS = ("nginx", "wrk")
CONNECTIONS = 4
ROWS, BATCHES, REPEATS = 256, 10, 7
SAMPLES = 10_000


class Case(NamedTuple):
    label: str
    path: str
    content: str


CASES = (
    Case("0.65 KB, passed through", "/small", "small"),
    Case("0.65 KB, search of 1 hit", "/tiny/_search?q=lamp", "small"),
    Case("33 KB, passed through", "/middle", "middle"),
    Case("33 KB, search route, no query", "/idx/_search", "middle"),
    Case("33 KB, search of 50 hits", "/idx/_search?q=lamp", "middle"),
)


class Cost(NamedTuple):
    """Microseconds a row, and the share of rows that was lost because the recorder was behind."""

    recorder: float
    loop: float
    handing_over: float
    dropped: float


# -- in the proxy's process


class Timed:
    """Stands before the recorder and sums what the loop pays to hand an exchange over."""

    def __init__(self, sink: Any) -> None:
        self._sink, self._append, self.calls, self.ns = sink, sink.append, 0, 0

    def append(self, exchange: Any) -> None:
        began = time.thread_time_ns()
        self._append(exchange)
        self.ns += time.thread_time_ns() - began
        self.calls += 1

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sink, name)


def watch(session: nbproxy.Session) -> None:
    timed = Timed(session._context.sink)
    session._context.sink, session._context.record = timed, timed.append


def watched_us(session: nbproxy.Session) -> float:
    """Microseconds a row, without those that looking at the clock takes."""
    timed: Any = session._context.sink
    if not timed.calls:
        raise RuntimeError("nothing was handed over to the recorder")
    nothing = Timed(_Nothing())
    for _ in range(SAMPLES):
        nothing.append(None)
    return float(timed.ns / timed.calls - nothing.ns / nothing.calls) / 1e3


class _Nothing:
    def append(self, exchange: Any) -> None:
        pass


# -- here


def main(quick: bool = False) -> None:
    rows = [_row(case, cost(case, 1 if quick else 4)) for case in CASES]
    heads = ("µs of CPU a row", "recorder", "× Arrow alone", "loop, handing over", "loop, whole exchange", "rows lost")
    print(table(heads, rows))


def cost(case: Case, seconds: int) -> Cost:
    with (
        temporary_folder() as folder,
        peers.upstream(folder) as upstream,
        Proxy("nbproxy", upstream.port, record=folder / "recording") as proxy,
    ):
        _load(proxy, case, 1)  # warm
        before, cpu_before = proxy.ask(recorded), proxy.ask(thread_cpu_s)
        _load(proxy, case, seconds)
        after, cpu_after = proxy.ask(recorded), proxy.ask(thread_cpu_s)
        proxy.ask(watch)
        _load(proxy, case, 1)
        handing_over = proxy.ask(watched_us)
    rows, lost = after[0] - before[0], after[1] - before[1]
    spent = {name: 1e6 * (cpu_after[name] - cpu_before[name]) for name in cpu_before}
    recorder = sum(each for name, each in spent.items() if name.startswith("nbproxy-recorder"))
    return Cost(recorder / rows, spent["nbproxy-bench"] / (rows + lost), handing_over, lost / (rows + lost))


def _load(proxy: Proxy, case: Case, seconds: int) -> None:
    wrk(proxy, case.path, CONNECTIONS, seconds, SIZES[case.content])


def _row(case: Case, cost: Cost) -> tuple[str, ...]:
    alone = min(arrow_us(answer(case.content)) for _ in range(REPEATS))
    return (
        case.label,
        f"{cost.recorder:.1f}",
        f"{cost.recorder / alone:.1f}",
        f"{cost.handing_over:.2f}",
        f"{cost.loop:.1f}",
        f"{cost.dropped:.0%}",
    )


def arrow_us(body: bytes) -> float:
    """Microseconds of CPU for a body in an Arrow stream, and nothing else of the row."""
    schema = pa.schema([("body", pa.large_binary())])
    with (
        temporary_folder() as folder,
        pa.OSFile(str(folder / "alone"), "wb") as file,
        pa.ipc.new_stream(file, schema) as stream,
    ):
        began = time.thread_time()
        for _ in range(BATCHES):
            stream.write_batch(pa.record_batch([pa.array([body] * ROWS, pa.large_binary())], schema))
        return (time.thread_time() - began) / (BATCHES * ROWS) * 1e6
