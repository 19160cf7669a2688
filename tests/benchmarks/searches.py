"""What the search path adds to an exchange, the model excluded: 50 hits of 33 KB, a model that takes no time.

The same search is posted on one keep-alive connection directly, with ``X-Nbproxy: off`` (passed through) and reranked,
in turn. ``rerank_ms`` of the frame is the model's share: it is the hand-over to the model's thread and back.
"""

from __future__ import annotations

import http.client
import statistics
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, NamedTuple

from . import peers
from .content import HITS, SIZES
from .machine import temporary_folder
from .processes import Peer
from .proxy import Proxy
from .report import table

if TYPE_CHECKING:
    import nbproxy

NEEDS = ("nginx",)
WARM = 100
BODY = b'{"query":{"match":{"body":"lamp river"}},"size":50}'
FIELDS = {"Content-Type": "application/json"}


def backwards(query: str, texts: list[str]) -> list[int]:
    """A model in constant time, whose order is not upstream's."""
    return list(range(len(texts)))


def reranked_ms(session: nbproxy.Session) -> list[float]:
    """``rerank_ms`` of every exchange that was reranked."""
    frame = session.frame
    return [float(each) for each in frame.loc[frame["reranked"], "rerank_ms"]]


class Asking:
    """One way to ask: its connection and how long each answer took, in milliseconds."""

    def __init__(self, peer: Peer, fields: dict[str, str]) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", peer.port)
        self._fields = FIELDS | fields
        self.times: list[float] = []

    def ask(self) -> bytes:
        began = time.perf_counter()
        self._connection.request("POST", "/idx/_search", BODY, self._fields)
        answer = self._connection.getresponse()
        body = answer.read()
        self.times.append((time.perf_counter() - began) * 1e3)
        if answer.status != 200:
            raise RuntimeError(f"a search was answered with {answer.status}: {body[:200]!r}")
        return body

    def at(self, share: float) -> float:
        return statistics.quantiles(self.times[WARM:], n=100)[round(share * 100) - 1]


class Figures(NamedTuple):
    ways: dict[str, Asking]
    rerank_ms: float


def main(quick: bool = False) -> None:
    figures = measured(500 if quick else 3_000)
    passed = figures.ways["passed through"]
    heads = ("search of 50 hits, 33 KB", "p50 ms", "p95 ms", "p50 over passing through")
    rows = [
        (name, f"{way.at(0.5):.3f}", f"{way.at(0.95):.3f}", f"{way.at(0.5) - passed.at(0.5):+.3f}")
        for name, way in figures.ways.items()
    ]
    added = figures.ways["reranked"].at(0.5) - passed.at(0.5)
    rows.append(("reranked, without rerank_ms", "", "", f"{added - figures.rerank_ms:+.3f}"))
    print(table(heads, rows))


def measured(count: int) -> Figures:
    with (
        temporary_folder() as folder,
        peers.upstream(folder) as upstream,
        Proxy("nbproxy", upstream.port, model=backwards, record=folder / "recording") as proxy,
    ):
        ways = {
            "direct": Asking(upstream, {}),
            "passed through": Asking(proxy, {"X-Nbproxy": "off"}),
            "reranked": Asking(proxy, {}),
        }
        for _ in range(WARM + count):
            _check({name: way.ask() for name, way in ways.items()})
        spent = proxy.ask(reranked_ms)
    if len(spent) != WARM + count:
        raise RuntimeError(f"{len(spent)} of {WARM + count} searches were reranked")
    return Figures(ways, statistics.median(spent[WARM:]))


def _check(answers: dict[str, bytes]) -> None:
    """Untouched where passed through; where reranked, of the same size and turned round."""
    direct, reranked = answers["direct"], answers["reranked"]
    first, last = b'"_id":"000000"', b'"_id":"%06d"' % (HITS["middle"] - 1)
    turned = reranked.index(last) < reranked.index(first) and len(reranked) == SIZES["middle"]
    if answers["passed through"] != direct or not turned:
        raise RuntimeError("an answer is not what it should be")


def during(proxy: Proxy, clients: int, work: Callable[[], Any]) -> tuple[list[float], Any]:
    """Milliseconds of every search that so many clients ask meanwhile, and what ``work`` returns."""
    over = threading.Event()

    def ask(_: int) -> list[float]:
        asking = Asking(proxy, {})
        while not over.is_set():
            asking.ask()
        return asking.times

    with ThreadPoolExecutor(clients) as pool:
        each = [pool.submit(ask, n) for n in range(clients)]
        try:
            result = work()
        finally:
            over.set()
    return [ms for one in each for ms in one.result()], result
