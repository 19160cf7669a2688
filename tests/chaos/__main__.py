"""``python -m tests.chaos``."""

from __future__ import annotations

import argparse
import asyncio
import tempfile

import tests.chaos as chaos
from nbproxy import background

from .load import CLIENTS, report, run
from .upstream import Chaotic


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=chaos.__doc__)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--loop", choices=("uvloop", "asyncio"), default="uvloop")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--clients", type=int, default=CLIENTS)
    given = parser.parse_args()
    if given.loop == "asyncio":
        background.new_loop = asyncio.new_event_loop
    with tempfile.TemporaryDirectory() as directory, Chaotic(given.seed) as upstream:
        return report(run(upstream, directory, requests=None, seconds=given.seconds, clients=given.clients))


if __name__ == "__main__":
    raise SystemExit(main())
