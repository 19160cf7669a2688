"""The table of exchanges: rows of one height, so that a button lies over each."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from typing import Any

from .. import views
from ..controls import Asking, Line
from .markup import COLOUR, FAINT, FONT, RULE, ink

ROWS = 12  # on one page
HEIGHT = 26  # pixels of a row
NARROWEST = 760  # pixels of the table: where there is less room, it is scrolled
_COLUMNS = (("", "left", 20), ("UTC", "left", 74), ("status", "right", 66), ("ms", "right", 66),
            ("route", "left", 64), ("outcome", "left", 210), ("asked", "left", None))  # fmt: skip
ANY = "any"
Key = tuple[str, int | None]


def key(line: Line) -> Key:
    """Which row it is: an exchange, or one search of it."""
    return line.exchange_id, line.part


def table(lines: Sequence[Line], chosen: Key | None, nothing: str, place: str = "") -> str:
    """The page of exchanges.

    :param nothing: what is said where there are none.
    :param place: which rows these are, shown in the head.
    """
    columns = "".join(f'<col style="width:{w}px">' if w else "<col>" for _, _, w in _COLUMNS)
    heads = "".join(
        f'<th scope="col" style="{_cell(side)};border-bottom:{RULE}">{_head(name, place if width is None else "")}</th>'
        for name, side, width in _COLUMNS
    )
    body = "".join(_row(line, key(line) == chosen) for line in lines[:ROWS])
    if not lines:
        body = f'<tr><td colspan="{len(_COLUMNS)}" style="{_cell("left")}"><i>{views.escaped(nothing)}</i></td></tr>'
    style = f"border-collapse:collapse;table-layout:fixed;width:100%;background:none;margin:0;{FONT};{COLOUR}"
    return (
        f'<table aria-label="recorded exchanges, newest first" style="{style}"><colgroup>{columns}</colgroup>'
        f'<thead><tr style="height:{HEIGHT}px">{heads}</tr></thead><tbody>{body}</tbody></table>'
    )


def _head(name: str, place: str) -> str:
    """One line whatever the room: the buttons lie where rows of this height do."""
    if not place:
        return html.escape(name)
    box = f"height:{HEIGHT - 2}px;overflow:hidden;display:flex;justify-content:space-between;gap:12px"
    shown = f'<span style="font-weight:400;{FAINT}">{views.escaped(place)}</span>'
    return f'<div style="{box}"><span>{html.escape(name)}</span>{shown}</div>'


def _cell(side: str) -> str:
    return (
        f"height:{HEIGHT}px;box-sizing:border-box;padding:0 8px 0 4px;line-height:{HEIGHT - 2}px;overflow:hidden;"
        f"text-overflow:ellipsis;white-space:nowrap;text-align:{side}"
    )


def _row(line: Line, chosen: bool) -> str:
    failed = line.error is not None or (line.status or 0) >= 500
    outcome = html.escape(views.outcome(line))
    cells = (
        '<span title="shown below">▸</span>' if chosen else "",
        views.clock(line.started),
        f'<span style="color:{ink("bad")}">✖</span> {_status(line)}' if failed else _status(line),
        views.number(line.total_ms),
        views.escaped(line.route if line.part is None else f"#{line.part}", 10),
        outcome if line.reranked else f'<span style="{FAINT}">{outcome}</span>',
        html.escape(views.asked(line)),
    )
    back = "background:color-mix(in srgb,currentColor 12%,transparent)" if chosen else ""
    current = ' aria-current="true"' if chosen else ""
    shown = "".join(
        f'<td style="{_cell(side)}">{text}</td>' for text, (_, side, _) in zip(cells, _COLUMNS, strict=True)
    )
    return f'<tr style="height:{HEIGHT}px;{back}"{current}>{shown}</tr>'


def _status(line: Line) -> str:
    return views.escaped(views.NOTHING if line.status is None else line.status)


# -- filters


def filters(chosen: Mapping[str, str]) -> Asking:
    """What the filter's widgets say, as a question; ``any`` is no condition."""
    wanted: dict[str, Any] = {name: "" if value == ANY else value.strip() for name, value in chosen.items()}
    return Asking(count=ROWS, **wanted)


def choices(counts: Mapping[str, Mapping[str, int]], models: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """What each dropdown of the filter offers, from the status route's counts."""
    statuses = [str(status) for status in counts.get("status", {})]
    classes = sorted({f"{status[0]}xx" for status in statuses if status[:1].isdigit()})
    return {
        "route": (ANY, "search", "pass"),
        "status": (ANY, *classes, *sorted(status for status in statuses if status.isdecimal())),
        "reason": (ANY, "reranked", *sorted(map(str, counts.get("reason", {})))),
        "model": (ANY, *(name for name in models if name != views.NONE)),
    }


def where(numbers: Sequence[int], first: int, total: int) -> str:
    """Which rows these are, of how many."""
    if not numbers:
        return f"of {total - first:,} rows"
    return f"rows {numbers[-1] - first + 1:,} to {numbers[0] - first + 1:,} of {total - first:,}"
