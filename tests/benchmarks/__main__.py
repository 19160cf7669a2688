"""Figures that anyone can measure again: ``make bench``, or ``python -m tests.benchmarks NAME …`` for some of them."""

from __future__ import annotations

import importlib
import platform
import sys

BENCHMARKS = ("import_time", "relay", "splicing")


def main(names: list[str]) -> int:
    print(f"{platform.processor() or platform.machine()}, Python {platform.python_version()}")
    for name in names or BENCHMARKS:
        if name not in BENCHMARKS:
            print(f"no benchmark is called {name}; known: {', '.join(BENCHMARKS)}", file=sys.stderr)
            return 2
        print(f"\n{name}")
        importlib.import_module(f"tests.benchmarks.{name}").main()
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
