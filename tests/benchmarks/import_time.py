"""What ``import nbproxy`` costs beyond ``import pandas``; goal: at most 0.5 s."""

from __future__ import annotations

import statistics
import subprocess
import sys

RUNS = 7


def seconds(code: str) -> float:
    """The median over fresh interpreters of what ``code`` takes after ``import pandas``."""
    program = f"import time, pandas, pyarrow; t = time.perf_counter(); {code}; print(time.perf_counter() - t)"
    times = [
        float(subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout)
        for _ in range(RUNS)
    ]
    return statistics.median(times)


def main(quick: bool = False) -> None:
    print(f"import nbproxy, beyond pandas: {seconds('import nbproxy'):.3f} s (median of {RUNS})")


if __name__ == "__main__":
    main()
