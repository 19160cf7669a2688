"""Results as tables in three places: HTML for a notebook, plain text for a repr, rich for a terminal.

What is shown may come from recorded traffic, so it is never trusted: control characters and escape sequences
are taken out everywhere, HTML is escaped, and rich gets text, not markup.
"""

from __future__ import annotations

import html
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pandas as pd

if TYPE_CHECKING:
    from rich.console import Group

DIGITS = 3
WIDEST = 60
NOTHING = "–"
# Terminal sequences (CSI, OSC and its like, short escapes), then C0, C1, and what turns writing round.
_CONTROL = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]|\x1b[]PX^_].*?(?:\x07|\x1b\\|$)|\x1b[ -/]*[0-~]"
    r"|[\x00-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]+",
    re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class Table:
    """One table of a result.

    :ivar frame: its index is shown if it has a name.
    :ivar notes: sentences below it.
    """

    title: str
    frame: pd.DataFrame
    notes: Sequence[str] = field(default=())


def clean(text: str) -> str:
    """One line without control sequences; white space collapsed."""
    return " ".join(_CONTROL.sub(" ", text).split())


def cell(value: Any) -> str:
    """A value as it is shown: floats with three digits (tiny ones as 2e-07), at most sixty characters."""
    if isinstance(value, tuple):
        return cell(", ".join(map(str, value)))
    if pd.isna(value):
        return NOTHING
    if isinstance(value, float):
        return f"{value:.{DIGITS}f}" if value == 0 or abs(value) >= 10**-DIGITS else f"{value:.0e}"
    text = clean(str(value))
    return text if len(text) <= WIDEST else text[: WIDEST - 1] + "…"


def cells(frame: pd.DataFrame) -> tuple[list[str], list[list[str]], list[bool]]:
    """Heads, rows, and which columns are numbers (shown to the right)."""
    shown = frame.reset_index() if frame.index.name else frame
    heads = [cell(str(name)) for name in shown.columns]
    columns = [[cell(value) for value in shown[name]] for name in shown.columns]
    numbers = [pd.api.types.is_numeric_dtype(dtype) for dtype in shown.dtypes]
    return heads, [list(row) for row in zip(*columns, strict=True)], numbers


def to_html(tables: Sequence[Table]) -> str:
    """A fragment that takes its colours from the notebook."""
    return "<div>" + "".join(map(_html, tables)) + "</div>"


def _html(table: Table) -> str:
    heads, rows, numbers = cells(table.frame)
    sides = ["right" if number else "left" for number in numbers]
    body = "".join(f"<tr>{_html_row('td', row, sides)}</tr>" for row in rows)
    notes = "".join(f'<p style="opacity:.7">{html.escape(clean(note))}</p>' for note in table.notes)
    caption = f'<caption style="text-align:left"><b>{html.escape(clean(table.title))}</b></caption>'
    head = f"<thead><tr>{_html_row('th', heads, sides)}</tr></thead>"
    return f"<table>{caption}{head}<tbody>{body}</tbody></table>{notes}"


def _html_row(tag: str, row: Sequence[str], sides: Sequence[str]) -> str:
    return "".join(
        f'<{tag} style="text-align:{side}">{html.escape(text)}</{tag}>' for text, side in zip(row, sides, strict=True)
    )


def to_text(tables: Sequence[Table]) -> str:
    """The same without colours or lines."""
    return "\n\n".join(map(_text, tables))


def _text(table: Table) -> str:
    from rich.cells import cell_len  # 日 is as wide as two letters

    heads, rows, numbers = cells(table.frame)
    widths = [max(map(cell_len, column)) for column in zip(heads, *rows, strict=True)]
    lines = [
        "  ".join(
            " " * (w - cell_len(t)) + t if n else t + " " * (w - cell_len(t))
            for t, w, n in zip(row, widths, numbers, strict=True)
        )
        for row in [heads, *rows]
    ]
    return "\n".join(line.rstrip() for line in [clean(table.title), *lines, *map(clean, table.notes)])


def to_rich(tables: Sequence[Table]) -> Group:
    """Rich tables; nothing in them is read as markup."""
    from rich.console import Group
    from rich.text import Text

    parts: list[Any] = []
    for table in tables:
        parts += [_rich(table), *(Text(clean(note), style="dim") for note in table.notes)]
    return Group(*parts)


def _rich(table: Table) -> Any:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table as RichTable
    from rich.text import Text

    heads, rows, numbers = cells(table.frame)
    shown = RichTable(title=Text(clean(table.title)), title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
    for head, number in zip(heads, numbers, strict=True):
        shown.add_column(Text(head), justify="right" if number else "left", overflow="fold")
    for row in rows:
        shown.add_row(*map(Text, row))
    return shown


class Shown:
    """Gives a result its three faces from its one method ``_tables``."""

    def _tables(self) -> Sequence[Table]:
        raise NotImplementedError

    def _repr_html_(self) -> str:
        return to_html(self._tables())

    def __repr__(self) -> str:
        return to_text(self._tables())

    def __rich__(self) -> Group:
        return to_rich(self._tables())


def counted(label: str, counts: pd.Series[int]) -> list[str]:
    """A note of counts, biggest first as given: ``left out: repeat 3, deadline 1``; none for none."""
    parts = ", ".join(f"{name} {n}" for name, n in counts.items())
    return [f"{label}: {parts}"] if parts else []
