"""Requests through nbproxy against nginx, HAProxy, mitmproxy and the direct path: wrk, one nginx as upstream,
interleaved rounds.

The better of nginx and HAProxy is the measure: ``×`` is the share of its rate, and the multiple of the lower p99.
CPU is that of the peer's processes (upstream's and wrk's are not counted), what the recorder writes after the load has
ended included.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

from . import peers
from .content import SIZES
from .load import Load, rounds
from .machine import temporary_folder
from .processes import Peer
from .proxy import Proxy, recorded
from .report import table

NEEDS = ("nginx", "haproxy", "wrk", "mitmdump")
CONNECTIONS = (1, 16)
BETTER_OF = ("nginx", "HAProxy")
RECORDED, MEMORY, PLAIN = "nbproxy", "nbproxy, record=False", "nbproxy on asyncio"
DOCUMENT = '{"title": "a document of some hundred bytes", "text": "as a program would have it indexed", "n": 12345}'


class Case(NamedTuple):
    """One answer: what it is called, how it is asked for, which file it is, whether all peers take part, and what is
    posted."""

    label: str
    path: str
    content: str
    all_peers: bool = True
    body: str | None = None


CASES = (
    Case("0.65 KB", "/small", "small"),
    Case("0.65 KB, POST", "/posted", "small", body=DOCUMENT),
    Case("33 KB", "/middle", "middle"),
    Case("1 MB", "/big", "big"),
    Case("33 KB, search route", "/idx/_search", "middle", all_peers=False),
    Case("33 KB, search", "/idx/_search?q=lamp", "middle", all_peers=False),  # hits are recorded too
)


class Result(NamedTuple):
    case: Case
    connections: int
    loads: dict[str, Load]

    @property
    def rate(self) -> float:
        """Of the better of nginx and HAProxy."""
        return max(self.loads[name].rate for name in BETTER_OF)

    @property
    def p99_ms(self) -> float:
        return min(self.loads[name].p99_ms for name in BETTER_OF)


def main(quick: bool = False) -> None:
    results: list[Result] = []
    for case in CASES:
        with temporary_folder() as folder, _peers(folder, case) as (taking_part, lost):
            for connections in CONNECTIONS:
                rows = rounds(taking_part, case.path, connections, SIZES[case.content], case.body, **_pace(quick))
                results.append(Result(case, connections, rows))
            for line in lost():
                print(line)
    print(_details(results), _summary(results), sep="\n\n")


def _pace(quick: bool) -> dict[str, int]:
    return {"count": 1, "seconds": 1} if quick else {"count": 4, "seconds": 2}


@contextmanager
def _peers(folder: Path, case: Case) -> Iterator[tuple[list[Peer], Callable[[], list[str]]]]:
    """Everybody who takes part, fresh for each case (recordings would fill the disk); and what was lost meanwhile."""
    with ExitStack() as stack:
        direct = stack.enter_context(peers.upstream(folder))
        behind = direct.port
        others = [peers.nginx(folder, behind), peers.haproxy(folder, behind)]
        ours = [
            Proxy(RECORDED, behind, record=folder / "recording"),
            Proxy(MEMORY, behind, record=False),
        ]
        if case.all_peers:
            others.append(peers.mitmproxy(folder, behind))
            ours.append(Proxy(PLAIN, behind, record=folder / "plain", uvloop=False))
        everybody: list[Peer] = [direct, *map(stack.enter_context, others), *map(stack.enter_context, ours)]
        yield everybody, lambda: _dropped(case, ours)


def _dropped(case: Case, proxies: Sequence[Proxy]) -> list[str]:
    """A recorder that is too slow for the load drops rows: a figure with rows missing is not one with recording on."""
    counts = [(proxy.name, *proxy.ask(recorded)) for proxy in proxies if proxy.name != MEMORY]
    return [
        f"{case.label}: {name} dropped {dropped / (rows + dropped):.0%} of its rows"
        for name, rows, dropped in counts
        if dropped
    ]


def _details(results: Sequence[Result]) -> str:
    heads = ("answer", "connections", "through", "requests/s", "×", "of direct", "CPU s per 1,000", "p99 ms", "× p99")
    rows = [_row(result, name, load) for result in results for name, load in result.loads.items()]
    return table(heads, rows, texts=3)


def _row(result: Result, name: str, load: Load) -> tuple[str, ...]:
    direct = name == "direct"
    return (
        result.case.label,
        str(result.connections),
        name,
        f"{load.rate:,.0f}",
        f"{load.rate / result.rate:.2f}",
        f"{load.rate / result.loads['direct'].rate:.2f}",
        "" if direct else f"{load.cpu_ms:.3f}",
        f"{load.p99_ms:.2f}",
        f"{load.p99_ms / result.p99_ms:.1f}",
    )


def _summary(results: Sequence[Result]) -> str:
    """A line for each case, for the README."""
    names = (RECORDED, MEMORY, PLAIN, "mitmproxy")
    heads = ("answer", "connections", "better of nginx and HAProxy", *names, "p99", "CPU")
    return table(heads, [_line(result, names) for result in results])


def _line(result: Result, names: Sequence[str]) -> tuple[str, ...]:
    better = max(BETTER_OF, key=lambda name: result.loads[name].rate)
    ours = result.loads[RECORDED]
    return (
        result.case.label,
        str(result.connections),
        f"{better} {result.rate:,.0f}/s",
        *(f"{result.loads[name].rate / result.rate:.2f}×" if name in result.loads else "" for name in names),
        f"{ours.p99_ms / result.p99_ms:.1f}×",
        f"{ours.cpu_ms / min(result.loads[name].cpu_ms for name in BETTER_OF):.1f}×",
    )
