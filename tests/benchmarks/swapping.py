"""What swaps and shadows cost the traffic, with a small transformers model saved by the benchmark.

Swaps: 50, one after the other, while 64 connections search: how long searches take meanwhile and without, and what
memory is left behind. Shadows: how long a search takes with none, and with one that computes without pause; and what
the low priority of its thread is worth.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import peers
from .machine import temporary_folder
from .processes import memory
from .proxy import Proxy, flush
from .report import table
from .searches import Asking, during

if TYPE_CHECKING:
    import nbproxy
    from nbproxy.ranking import Hit

NEEDS = ("nginx",)
CONNECTIONS = 64
SWAPS = 50


def main(quick: bool = False) -> None:
    with temporary_folder() as folder, peers.upstream(folder) as upstream:
        model = _saved(folder / "small")
        with Proxy("nbproxy", upstream.port, model=model, record=folder / "recording") as proxy:
            _swaps(proxy, str(model), 10 if quick else SWAPS)
        print()
        with Proxy("nbproxy", upstream.port, model=rank, record=folder / "second") as proxy:
            _shadows(proxy, 1_000 if quick else 4_000)


# -- swaps


def _saved(folder: Path) -> str:
    from tests.rerankers.conftest import save_tiny

    return str(save_tiny(folder, "bert", 1))


def one_thread(session: nbproxy.Session) -> None:
    """As many threads of torch's as leave the others alone."""
    import torch

    torch.set_num_threads(1)


def swap(session: nbproxy.Session, model: str, count: int) -> tuple[list[float], list[int]]:
    """Milliseconds of each swap, and the memory after it."""
    took, grown = [], []
    for _ in range(count):
        began = time.perf_counter()
        session.model = model
        took.append((time.perf_counter() - began) * 1e3)
        grown.append(memory(os.getpid()))
    return took, grown


def _swaps(proxy: Proxy, model: str, count: int) -> None:
    proxy.ask(one_thread)
    proxy.ask(swap, model, 5)  # what the first ones set up stays
    without, _ = during(proxy, CONNECTIONS, lambda: time.sleep(5))
    amid, (took, grown) = during(proxy, CONNECTIONS, lambda: proxy.ask(swap, model, count))
    after, _ = during(proxy, CONNECTIONS, lambda: time.sleep(5))
    heads = (f"{CONNECTIONS} connections", "searches", "p50 ms", "p99 ms", "max ms")
    rows = [("before", without), (f"during {count} swaps", amid), ("after", after)]
    print(table(heads, [(name, f"{len(times):,}", *_spread(times)) for name, times in rows]))
    half = len(grown) // 2
    print(
        f"\na swap: {statistics.median(took):,.0f} ms; memory after the first {grown[0] / 1e6:,.1f} MB, after "
        f"{half} {grown[half - 1] / 1e6:,.1f} MB, after {count} {grown[-1] / 1e6:,.1f} MB"
    )


def _spread(times: Sequence[float]) -> list[str]:
    cuts = statistics.quantiles(times, n=100)
    return [f"{each:,.1f}" for each in (cuts[49], cuts[98], max(times))]


# -- shadows


def rank(query: str, texts: list[str]) -> list[int]:
    """In constant time."""
    return list(range(len(texts)))


class Computing:
    """20 ms a search: of numpy's, which lets go of the interpreter, or of Python's, which does not."""

    fingerprint = "0" * 16

    def __init__(self, kind: str) -> None:
        self.name = self.kind = kind

    def score(self, query: str, hits: Sequence[Hit]) -> list[float]:
        end = time.perf_counter() + 0.02
        numbers = __import__("numpy").ones((300, 300), dtype="float32")
        while time.perf_counter() < end:
            if self.kind == "numpy":
                numbers @ numbers
            else:
                sum(n * n for n in range(1000))
        return [0.0] * len(hits)


def put(session: nbproxy.Session, models: dict[str, Any], nice: int) -> None:
    """Shadows, whose threads have a priority of ``nice``."""
    from nbproxy import lanes

    lanes._NICE = nice
    session.shadow = models


def _shadows(proxy: Proxy, count: int) -> None:
    """The cases in turn, five times over: what the machine does meanwhile hits them all."""
    cases: dict[str, tuple[dict[str, Any], int]] = {"none": ({}, 10)}
    for kind in ("numpy", "Python"):
        models = {f"{kind}-{n}": Computing(kind) for n in range(2)}
        cases |= {f"two that compute in {kind}, nice {nice}": (models, nice) for nice in (0, 10)}
    times: dict[str, list[float]] = {name: [] for name in cases}
    for _ in range(5):
        for name, (models, nice) in cases.items():
            proxy.ask(put, models, nice)
            asking = Asking(proxy, {})
            for _ in range(count // 5):
                asking.ask()
            proxy.ask(put, {}, nice)
            proxy.ask(flush)
            times[name] += asking.times
    rows = [(name, f"{len(each):,}", *_spread(each)) for name, each in times.items()]
    print(table(("shadows, one connection", "searches", "p50 ms", "p99 ms", "max ms"), rows))
