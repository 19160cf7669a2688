"""The proxy while its kernel is busy: the main thread in a pure-Python loop, a model that scores without pause, the
main thread inside C calls that hold the GIL for a second each. 0.65 KB, recorded, one process all along.

Nothing may be lost: any request without its answer fails the run. ``of idle`` is the share of the same proxy's idle
rate in interleaved rounds.
"""

from __future__ import annotations

import asyncio
import ctypes
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from nbproxy.ranking import Hit
from nbproxy.scoring import Scorer

from . import peers
from .content import SIZES, WORDS
from .load import Load, median, wrk
from .machine import temporary_folder
from .proxy import Proxy, Work
from .report import table

if TYPE_CHECKING:
    import nbproxy

NEEDS = ("nginx", "wrk")
CONNECTIONS = (1, 16)
HELD_S = 1
PASSAGES = 50
PASSAGE_WORDS = 60


def python_loop(session: nbproxy.Session, over: threading.Event) -> str:
    """Pure Python, without a system call."""
    turns = 0
    while not over.is_set():
        turns += 1
    return f"{turns:,} turns of the loop"


def scoring(session: nbproxy.Session, over: threading.Event) -> str:
    """The serving model on a worker, as searches use it, one batch after the other."""
    hits = [Hit("idx", str(n), n + 1, text=" ".join(_words(n))) for n in range(PASSAGES)]
    model = Scorer(session.model)

    async def score() -> int:
        batches = 0
        while not over.is_set():
            await model.scores("a lamp by the river", hits, None)
            batches += 1
        return batches

    return f"{asyncio.run(score()):,} batches of {PASSAGES} passages"


def _words(n: int) -> list[str]:
    return [WORDS[(n + i * i) % len(WORDS)] for i in range(PASSAGE_WORDS)]


def c_calls(session: nbproxy.Session, over: threading.Event) -> str:
    """C code that keeps the GIL for a second, then as long a pause, and again."""
    sleep = ctypes.PyDLL(None).sleep  # unlike CDLL, PyDLL does not release the GIL
    calls = 0
    while not over.is_set():
        sleep(HELD_S)
        calls += 1
        over.wait(HELD_S)
    return f"{calls} calls of {HELD_S} s"


STATES: dict[str, Work | None] = {
    "idle": None,
    "main thread in a Python loop": python_loop,
    "model scoring without pause": scoring,
    "main thread in C calls holding the GIL": c_calls,
}


def main(quick: bool = False) -> None:
    from nbproxy.rerankers import packaged_minilm

    count, seconds = (1, 2) if quick else (3, 4)
    with temporary_folder() as folder, peers.upstream(folder) as upstream:
        model = str(packaged_minilm())
        with Proxy("nbproxy", upstream.port, model=model, record=folder / "recording") as proxy:
            wrk(proxy, "/small", 1, 1, SIZES["small"])  # warm
            results = {connections: _rounds(proxy, connections, count, seconds) for connections in CONNECTIONS}
    rows = [_row(connections, state, loads, did) for connections, (loads, did) in results.items() for state in STATES]
    heads = ("kernel", "connections", "requests/s", "of idle", "p99 ms", "longest ms", "meanwhile")
    print(table(heads, rows))


def _rounds(proxy: Proxy, connections: int, count: int, seconds: int) -> tuple[dict[str, Load], dict[str, str]]:
    """Each state in turn, ``count`` times over; and what the kernel got done in the last round."""
    loads: dict[str, list[Load]] = {state: [] for state in STATES}
    did = {}
    for _ in range(count):
        for state, work in STATES.items():
            load, did[state] = _under(proxy, work, lambda: wrk(proxy, "/small", connections, seconds, SIZES["small"]))
            loads[state].append(load)
    return {state: median(each) for state, each in loads.items()}, did


def _under(proxy: Proxy, work: Work | None, measure: Callable[[], Load]) -> tuple[Load, str]:
    if work is None:
        return measure(), ""
    proxy.begin(work)
    try:
        load = measure()
    finally:
        did = proxy.end()
    return load, did


def _row(connections: int, state: str, loads: dict[str, Load], did: dict[str, str]) -> tuple[str, ...]:
    load = loads[state]
    return (
        state,
        str(connections),
        f"{load.rate:,.0f}",
        f"{load.rate / loads['idle'].rate:.2f}",
        f"{load.p99_ms:.2f}",
        f"{load.max_ms:.0f}",
        did[state],
    )
