"""Charts as inline SVG: numbers in, a string out. No text in them comes unescaped, colours follow the theme."""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence

from .. import views
from .markup import SERIES, ink, mixed

DASHES = ("", "6 3", "2 3", "8 3 2 3", "1 4", "12 4")  # a line is told by its dashes too


def svg(width: float, height: float, label: str, body: str, *, style: str = "") -> str:
    """A picture that a screen reader calls by its ``label``."""
    return (
        f'<svg role="img" aria-label="{html.escape(label)}" width="{width:g}" height="{height:g}" '
        f'viewBox="0 0 {width:g} {height:g}" style="vertical-align:middle;{style}">{body}</svg>'
    )


def sparkline(
    values: Sequence[float | None], label: str, colour: str = "plain", size: tuple[int, int] = (90, 20)
) -> str:
    """The last values, the newest to the right, from 0 to the largest; a gap where there was none."""
    width, height = size
    known = [value for value in values if value is not None and math.isfinite(value)]
    top = max(known, default=0.0) or 1.0
    step = (width - 4) / max(len(values) - 1, 1)
    points = [
        None if value is None or not math.isfinite(value) else (2 + i * step, height - 2 - (height - 4) * value / top)
        for i, value in enumerate(values)
    ]
    lines = "".join(_line(run, ink(colour), 1.5) for run in _unbroken(points))
    last = next((point for point in reversed(points) if point), None)
    dot = f'<circle cx="{last[0]:.1f}" cy="{last[1]:.1f}" r="2" fill="{ink(colour)}"/>' if last else ""
    return svg(width, height, f"{label}, at most {views.number(max(known, default=0.0))}", lines + dot)


def _unbroken(points: Sequence[tuple[float, float] | None]) -> list[list[tuple[float, float]]]:
    runs: list[list[tuple[float, float]]] = [[]]
    for point in points:
        if point is None:
            runs.append([])
        else:
            runs[-1].append(point)
    return [run for run in runs if len(run) > 1]


def _line(points: Sequence[tuple[float, float]], colour: str, width: float, dash: str = "") -> str:
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    dashed = f' stroke-dasharray="{dash}"' if dash else ""
    return f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="{width:g}"{dashed}/>'


def slopes(moves: Sequence[tuple[int, int]], rows: int, row: int, width: int = 90) -> str:
    """The lines between two lists of ``rows`` rows, each ``row`` pixels high.

    :param moves: for each hit its row on the left and on the right, from 0; what lies outside is cut off.
    """
    body = "".join(_slope(left, right, row, width) for left, right in sorted(moves, key=lambda move: move[1] < move[0]))
    risen = sum(1 for left, right in moves if right < left)
    return svg(width, rows * row, f"{risen} of the {len(moves)} hits rose", body, style="display:block;overflow:hidden")


def _slope(left: int, right: int, row: int, width: int) -> str:
    """Up: whole and thick; down: dashed; unmoved: faint."""
    start, end, middle = (left + 0.5) * row, (right + 0.5) * row, width / 2
    if start == end:
        return f'<path d="M0 {start:g}H{width:g}" stroke="currentColor" opacity=".4"/>'
    kind, stroke = ("up", 'stroke-width="2"') if end < start else ("down", 'stroke-width="1.5" stroke-dasharray="5 3"')
    path = f"M0 {start:g}C{middle:g} {start:g} {middle:g} {end:g} {width:g} {end:g}"
    return f'<path d="{path}" fill="none" stroke="{ink(kind)}" {stroke}/>'


def timing(parts: Sequence[tuple[str, float]], total: float, width: int = 420) -> str:
    """One bar of named parts, as long as their milliseconds; beside each its name and number."""
    if total <= 0:
        return ""
    x, bars, names = 0.0, "", ""
    for n, (name, took) in enumerate(parts):
        long = max(0.0, width * took / total)
        colour = mixed(SERIES[n % len(SERIES)])
        pattern = f'stroke="currentColor" stroke-width=".5" fill="{colour}" fill-opacity="{(0.9, 0.55, 0.2)[n % 3]}"'
        bars += f'<rect x="{x:.1f}" y="1" width="{long:.1f}" height="14" {pattern}/>'
        names += f'<span style="padding-right:14px"><span style="color:{colour}">{"■▣□"[n % 3]}</span> '
        names += f"{views.escaped(name)} {views.number(took)} ms</span>"
        x += long
    label = ", ".join(f"{name} {views.number(took)} ms" for name, took in parts)
    return f"<div>{svg(width, 16, label, bars)}</div><div>{names}</div>"


def over_time(
    lines: Mapping[str, Sequence[float | None]], ends: tuple[str, str], size: tuple[int, int] = (560, 180)
) -> str:
    """Lines between 0 and 1 over time, with a legend; ``ends`` name the first and the last moment."""
    width, height = size
    left, bottom, top = 34, 20, 8
    high, wide = height - bottom - top, width - left - 8
    text = 'fill="currentColor" font-size="11"'
    body = ""
    for mark in (0, 0.25, 0.5, 0.75, 1):
        y = top + high * (1 - mark)
        body += f'<path d="M{left} {y:.1f}H{width - 8}" stroke="currentColor" opacity=".2"/>'
        body += f'<text x="{left - 4}" y="{y + 4:.1f}" text-anchor="end" {text}>{mark:g}</text>'
    body += f'<text x="{left}" y="{height - 4}" {text}>{html.escape(ends[0])}</text>'
    body += f'<text x="{width - 8}" y="{height - 4}" text-anchor="end" {text}>{html.escape(ends[1])}</text>'
    for n, values in enumerate(lines.values()):
        body += _curve(values, n, left, wide, top, high)
    label = "; ".join(f"{name}: last {views.number(_last(values), 3)}" for name, values in lines.items())
    return svg(width, height, views.plain(label, 400), body) + _legend(lines)


def _curve(values: Sequence[float | None], n: int, left: int, wide: int, top: int, high: int) -> str:
    step = wide / max(len(values) - 1, 1)
    points = [
        (left + i * step, top + high * (1 - min(max(value, 0.0), 1.0)))
        for i, value in enumerate(values)
        if value is not None and math.isfinite(value)
    ]
    colour = mixed(SERIES[n % len(SERIES)])
    dots = "".join(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.5" fill="{colour}"/>' for x, y in points)
    return (_line(points, colour, 2, DASHES[n % len(DASHES)]) if len(points) > 1 else "") + dots


def _legend(lines: Mapping[str, Sequence[float | None]]) -> str:
    items = ""
    for n, (name, values) in enumerate(lines.items()):
        dash = DASHES[n % len(DASHES)]
        sample = svg(28, 10, "", _line([(0, 5), (28, 5)], mixed(SERIES[n % len(SERIES)]), 2, dash))
        text = f"{views.escaped(name, 60)} {views.number(_last(values), 3)}"
        items += f'<span style="padding-right:16px">{sample} {text}</span>'
    return f"<div>{items}</div>"


def _last(values: Sequence[float | None]) -> float | None:
    return next((value for value in reversed(values) if value is not None), None)
