"""wrk, and what it says."""

from __future__ import annotations

import json
import statistics
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .machine import program
from .processes import Peer

SCRIPT = Path(__file__).with_name("wrk.lua")
TIMEOUT_S = 30


class LoadFailed(RuntimeError):
    """A request was lost, refused, or answered with an error or too few bytes."""


@dataclass(frozen=True)
class Load:
    """One run of wrk, or the medians of several. ``cpu_s`` is what the peer spent on it."""

    requests: float
    rate: float
    p50_ms: float
    p99_ms: float
    max_ms: float
    cpu_s: float

    @property
    def cpu_ms(self) -> float:
        """CPU milliseconds a request: also CPU seconds per 1,000."""
        return 1e3 * self.cpu_s / self.requests


def wrk(peer: Peer, path: str, connections: int, seconds: int, size: int, body: str | None = None) -> Load:
    """As many requests for ``path`` as ``connections`` keep-alive connections make in ``seconds``.

    :param size: how many bytes an answer has at least.
    :param body: it is posted; None: GET.
    :raises LoadFailed: not every request was answered, with 2xx or 3xx.
    """
    url = f"http://127.0.0.1:{peer.port}{path}"
    options = ["-t1", f"-c{connections}", f"-d{seconds}s", f"--timeout={TIMEOUT_S}s", "-s", str(SCRIPT)]
    posted = [] if body is None else ["--", body]
    before = peer.cpu_s()
    run = subprocess.run([program("wrk"), *options, url, *posted], capture_output=True, text=True)
    if run.returncode:
        raise LoadFailed(f"{peer.name}, {url}: {run.stdout}{run.stderr}")
    said = json.loads(run.stdout.splitlines()[-1])
    if any(said["errors"].values()) or not said["requests"] or said["bytes"] < said["requests"] * size:
        raise LoadFailed(f"{peer.name}, {url}, {connections} connections: {said}")
    return Load(
        requests=said["requests"],
        rate=1e6 * said["requests"] / said["duration"],
        p50_ms=said["p50"] / 1e3,
        p99_ms=said["p99"] / 1e3,
        max_ms=said["max"] / 1e3,
        cpu_s=peer.cpu_s() - before,
    )


def median(loads: Sequence[Load]) -> Load:
    """The medians of rate and latencies, the sums of requests and CPU, the greatest maximum."""

    def middle(name: str) -> float:
        return statistics.median(float(getattr(load, name)) for load in loads)

    return Load(
        requests=sum(load.requests for load in loads),
        rate=middle("rate"),
        p50_ms=middle("p50_ms"),
        p99_ms=middle("p99_ms"),
        max_ms=max(load.max_ms for load in loads),
        cpu_s=sum(load.cpu_s for load in loads),
    )


def rounds(
    peers: Sequence[Peer],
    path: str,
    connections: int,
    size: int,
    body: str | None = None,
    *,
    count: int,
    seconds: int,
) -> dict[str, Load]:
    """Each peer in turn, ``count`` times over: what the machine does meanwhile hits them all."""
    loads: dict[str, list[Load]] = {peer.name: [] for peer in peers}
    for _ in range(count):
        for peer in peers:
            loads[peer.name].append(wrk(peer, path, connections, seconds, size, body))
    return {name: median(each) for name, each in loads.items()}
