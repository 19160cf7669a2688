"""Figures that anyone can measure again: ``make bench``, or ``python -m tests.benchmarks NAME …`` for some of them."""

from __future__ import annotations

import argparse
import importlib
import time

from . import machine

BENCHMARKS = (
    *("import_time", "splicing", "searches", "overload", "swapping", "recording", "idle", "busy", "relay"),
    *("terminal", "panel", "models", "cranfield"),
)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(BENCHMARKS))
    parser.add_argument("--quick", action="store_true", help="a round of a second each: what to expect, not to report")
    asked = parser.parse_args()
    if unknown := set(asked.names) - set(BENCHMARKS):
        parser.error(f"no benchmark is called {', '.join(sorted(unknown))}; known: {', '.join(BENCHMARKS)}")
    modules = {name: importlib.import_module(f"tests.benchmarks.{name}") for name in asked.names or BENCHMARKS}
    needed = {name for module in modules.values() for name in getattr(module, "NEEDS", ())}
    for program in needed:
        machine.program(program)
    print(f"{machine.described(tuple(program for program in machine.INSTALL if program in needed))}\n")
    for name, module in modules.items():
        _run(name, module.main, asked.quick)
    return 0


def _run(name: str, benchmark: object, quick: bool) -> None:
    began = time.monotonic()
    print(f"### {name}: `python -m tests.benchmarks {name}{' --quick' if quick else ''}`\n", flush=True)
    benchmark(quick)  # type: ignore[operator]
    print(f"\n({time.monotonic() - began:.0f} s)\n", flush=True)


if __name__ == "__main__":
    raise SystemExit(main())
