"""Makes the pictures: ``python -m tests.pictures [NAME …]``, all where none is named.

The README's lie in ``docs/pictures/``, small, and are committed; what else there is to look at lies in ``pictures/``.
One function a picture; what it needs (a browser, a terminal) it brings itself. Nothing of it is drawn by hand.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

from . import notebook, page, terminal

PICTURES: dict[str, Callable[[], list[Path]]] = {
    "panel": notebook.panel,
    "quality": notebook.quality,
    "terminal": terminal.live,
    "report": page.report,
}


def main(names: list[str]) -> None:
    """Make them, and say where they are."""
    for name in names or PICTURES:
        for file in PICTURES[name]():
            print(f"{file} ({file.stat().st_size:,} bytes)")


if __name__ == "__main__":
    main(sys.argv[1:])
