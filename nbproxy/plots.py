"""Pictures from numbers, as SVG that stands in a page: no file, no script, nothing loaded.

Laws: ink is the page's own colour (``currentColor``), so a picture is read in light, dark and print; series are told
apart by their place, dash or label, not by colour alone; recorded text in it is cleaned, and no mathematics.

matplotlib is imported with the first picture; it is the extra ``plot``.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from .errors import MissingExtra
from .tables import clean

INSTALL = 'pip install "nbproxy[plot]"'
COLOURS = ("#3b82c4", "#d97706", "#2f9e6e", "#b5548f", "#8a8f98")  # told apart on white and on black
NAME = 40  # characters of a series' name at most
_DASHES = ("-", "--", "-.", ":")
_MARKERS = "osD^v"
_INK = "#010203"  # stands for the page's own
_STYLE = {
    "svg.fonttype": "none",
    "text.parse_math": False,
    "font.family": "sans-serif",
    "font.size": 10,
    "text.color": _INK,
    "axes.edgecolor": _INK,
    "axes.labelcolor": _INK,
    "axes.facecolor": "none",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": _INK,
    "grid.alpha": 0.15,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "legend.frameon": False,
    "figure.facecolor": "none",
}
_NO_METADATA = dict.fromkeys(("Creator", "Date", "Format", "Type"))

Axes = Any  # matplotlib's: a library that need not be there
if TYPE_CHECKING:
    Numbers = Sequence[float] | np.typing.NDArray[Any] | pd.Series[Any]


def matplotlib() -> Any:
    """The library.

    :raises MissingExtra: it is not installed.
    """
    try:
        return import_module("matplotlib"), import_module("matplotlib.figure")
    except ImportError as error:
        raise MissingExtra("matplotlib", INSTALL, "for pictures") from error


def picture(name: str, draw: Callable[[Axes], None], *, height: float = 2.6, width: float = 8.0) -> str:
    """What ``draw`` draws, as an ``<svg>`` element.

    :param name: of letters; unique in the page, as its inner ids are made of it.
    :param height: in inches of 72 points, likewise ``width``; the page may scale it.
    """
    library, figures = matplotlib()
    with library.rc_context(_STYLE | {"svg.hashsalt": name}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from")  # it is the browser's fonts that draw the text
        figure = figures.Figure(figsize=(width, height), layout="constrained")
        draw(figure.subplots())
        paper = io.StringIO()
        figure.savefig(paper, format="svg", metadata=_NO_METADATA)
    return _inline(name, paper.getvalue())


def _inline(name: str, svg: str) -> str:
    """Without what a file begins with; as wide as the page lets it be; in the page's ink; ids its own."""
    element = svg[svg.index("<svg") :].replace(_INK, "currentColor")
    element = re.sub(r"(<svg\b[^>]*?) width=\"[^\"]*\"", r"\1", element, count=1)
    element = re.sub(r"(<svg\b[^>]*?) height=\"[^\"]*\"", r"\1", element, count=1)
    used = set(re.findall(r"""(?:url\(|href=")#([\w.-]+)""", element))
    element = re.sub(r' id="([^"]*)"', lambda found: f' id="{name}-{found[1]}"' if found[1] in used else "", element)
    element = re.sub(r"""(url\(|href=")#""", rf"\g<1>#{name}-", element)
    return element.replace("<svg", '<svg aria-hidden="true" focusable="false"', 1)


def areas(edges: Sequence[Any], series: Mapping[str, Numbers], label: str) -> Callable[[Axes], None]:
    """Counts over time, stacked.

    :param edges: datetimes, one more than there are counts.
    """

    def draw(ax: Axes) -> None:
        bottom = np.zeros(len(edges) - 1)
        for place, (name, values) in enumerate(series.items()):
            top = bottom + np.asarray(values, dtype=float)
            ax.stairs(top, edges, baseline=bottom, fill=True, color=_colour(place), label=_named(name), linewidth=0)
            bottom = top
        ax.set(ylabel=clean(label), ylim=(0, None), xlim=(edges[0], edges[-1]))
        ax.legend(loc="upper left", ncols=len(series), bbox_to_anchor=(0, 1.16), borderaxespad=0)
        _times(ax)

    return draw


def _named(name: str) -> str:
    """A series' name, so short that its picture stays wide."""
    line = clean(name)
    return line if len(line) <= NAME else line[: NAME - 1] + "…"


def _times(ax: Axes) -> None:
    dates = import_module("matplotlib.dates")
    locator = dates.AutoDateLocator(maxticks=8)
    ax.xaxis.set_major_locator(locator)
    ax.xaxis.set_major_formatter(dates.ConciseDateFormatter(locator))


def shares(series: Mapping[str, Numbers], label: str) -> Callable[[Axes], None]:
    """How many of the values are at most so large, for each series: its distribution, on a logarithmic scale."""

    def draw(ax: Axes) -> None:
        for place, (name, values) in enumerate(series.items()):
            ordered = np.sort(np.maximum(np.asarray(values, dtype=float), 1e-3))
            share = np.arange(1, len(ordered) + 1) / len(ordered)
            ordered, share = _thinned(ordered), _thinned(share)
            style = {"color": _colour(place), "linestyle": _DASHES[place % len(_DASHES)], "linewidth": 2}
            ax.step(ordered, share, where="post", label=_named(name), **style)
        ax.set(xlabel=clean(label), ylabel="share of exchanges", ylim=(0, 1.02), xscale="log")
        ax.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
        ax.legend(loc="lower right")

    return draw


def falling(series: Mapping[str, Numbers], label: str, places: str) -> Callable[[Axes], None]:
    """Values between 0 and 1, the smallest first, one place for each."""

    def draw(ax: Axes) -> None:
        for place, (name, values) in enumerate(series.items()):
            ordered = np.sort(np.asarray(values, dtype=float))
            marks = {"marker": _MARKERS[place % len(_MARKERS)], "markersize": 3} if len(ordered) <= 150 else {}
            style = {"color": _colour(place), "linestyle": _DASHES[place % len(_DASHES)], "linewidth": 2} | marks
            ax.plot(_thinned(np.arange(1, len(ordered) + 1)), _thinned(ordered), label=_named(name), **style)
        ax.set(xlabel=clean(places), ylabel=clean(label), ylim=(-0.02, 1.02))
        ax.xaxis.get_major_locator().set_params(integer=True)
        ax.legend(loc="lower right")

    return draw


def _thinned(values: np.typing.NDArray[Any], most: int = 400) -> np.typing.NDArray[Any]:
    """At most so many of them, evenly: a page need not hold a million points."""
    if len(values) <= most:
        return values
    kept: np.typing.NDArray[Any] = values[np.linspace(0, len(values) - 1, most).astype(int)]
    return kept


def differences(series: Mapping[str, Numbers], label: str) -> Callable[[Axes], None]:
    """Each query's difference, the largest gain first: what is above the line was won."""

    def draw(ax: Axes) -> None:
        for place, (name, values) in enumerate(series.items()):
            ordered = np.sort(np.asarray(values, dtype=float))[::-1]
            where = np.linspace(0, 1, len(ordered) + 1)
            ax.stairs(ordered, where, baseline=0, fill=len(series) == 1, color=_colour(place), alpha=0.85,
                      linestyle=_DASHES[place % len(_DASHES)], linewidth=2, label=_named(name))  # fmt: skip
        ax.axhline(0, color=_INK, linewidth=1)
        ax.set(ylabel=clean(label), xlabel="share of queries, the most gained first", xlim=(0, 1))
        ax.legend(loc="upper right")

    return draw


def intervals(rows: Sequence[tuple[str, float, float, float]], label: str) -> Callable[[Axes], None]:
    """A mean with its interval for each name: what does not touch the line differs by more than chance."""

    def draw(ax: Axes) -> None:
        for place, (_, middle, low, high) in enumerate(rows):
            ax.plot([low, high], [place, place], color=_colour(0), linewidth=3, solid_capstyle="butt", alpha=0.6)
            ax.plot([middle], [place], "o", color=_colour(0), markersize=7)
        ax.axvline(0, color=_INK, linewidth=1)
        ax.set(yticks=range(len(rows)), yticklabels=[_named(name) for name, *_ in rows], xlabel=clean(label))
        ax.set_ylim(len(rows) - 0.4, -0.6)

    return draw


def _colour(place: int) -> str:
    return COLOURS[place % len(COLOURS)]
