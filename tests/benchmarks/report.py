"""Markdown tables, to be pasted into the README."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def table(heads: Sequence[str], rows: Iterable[Sequence[str]], texts: int = 1) -> str:
    """``rows`` under ``heads``; all columns but the first ``texts`` hold numbers."""
    cells = [list(heads), *(list(row) for row in rows)]
    widths = [max(2, *(len(row[i]) for row in cells)) for i in range(len(heads))]
    ruler = ["-" * width if i < texts else "-" * (width - 1) + ":" for i, width in enumerate(widths)]
    lines = [cells[0], ruler, *cells[1:]]
    return "\n".join(f"| {' | '.join(_padded(line, widths, texts))} |" for line in lines)


def _padded(row: Sequence[str], widths: Sequence[int], texts: int) -> list[str]:
    return [
        cell.ljust(width) if i < texts else cell.rjust(width)
        for i, (cell, width) in enumerate(zip(row, widths, strict=True))
    ]
