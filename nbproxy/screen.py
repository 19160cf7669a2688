"""What the terminal view shows: a screen is a function of a :class:`Scene` and the terminal's size. Pure.

Laws: exactly as many lines as the terminal has, none of them wider; recorded text reaches a line cleaned, as text,
never as markup; nothing is told by colour alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from rich.cells import cell_len, set_cell_size
from rich.text import Text

from . import views
from .controls import Line, Sight, Snapshot

HELP = "p pause · q quit · / filter · ↑↓ select · m model"
_STYLES = {"running": "bold green", "stopped": "bold", "failed": "bold red", "lost": "bold red"}
_SPARKS = "▁▂▃▄▅▆▇█"
_MOVED = {"▲": "green", "▼": "yellow"}  # beside the sign, which says it without colours
LOW = 16  # lines below which there is none to spare
TALL = 32  # lines from which on there is room for a table of models


@dataclass(frozen=True, slots=True)
class Scene:
    """All that a screen shows.

    :ivar rate: exchanges a second; ``rates`` likewise by what became of them, ``history`` the newest looks'.
    :ivar took: model → (p50, p95) of its reranking, in milliseconds.
    :ivar chosen: the exchange that is selected, and what is known of it as a search.
    :ivar wanted: the filter, None for none; ``typing``: it is being typed.
    :ivar menu: the models to choose from, and which is marked; None: it is not open.
    :ivar trouble: why the snapshot is not a fresh one, or nothing; ``notice`` is told in its place where there is none.
    :ivar lost: the proxy did not answer the last time that it was asked.
    """

    snapshot: Snapshot
    url: str
    name: str
    rate: float | None = None
    now: float = 0.0
    paused: bool = False
    trouble: str = ""
    lost: bool = False
    notice: str = ""
    rates: Mapping[str, float] = field(default_factory=dict)
    history: Sequence[float] = ()
    took: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    chosen: Line | None = None
    sight: Sight | None = None
    wanted: str | None = None
    typing: bool = False
    menu: tuple[Sequence[str], int] | None = None


def screen(scene: Scene, width: int, height: int) -> list[Text]:
    """The whole screen: header, newest exchanges, a search side by side, errors, keys; exactly ``height`` lines."""
    top = [*_header(scene, width, height), *_models(scene, width, height)]
    bottom = [*_errors(scene, 1 if height < TALL else 3), _keys(scene)]
    room = max(0, height - len(top) - len(bottom))
    sized = _lower(scene, room, width)
    middle = [*_exchanges(scene, room - len(sized), width), *sized]
    blank = [Text("")] * max(0, room - len(middle))
    return [*top, *middle[:room], *blank, *bottom][:height]


def matching(lines: Sequence[Line], wanted: str | None) -> tuple[Line, ...]:
    """The lines that have every word of a filter: in what was asked, what became of it, status, method, or model."""
    words = (wanted or "").lower().split()
    return tuple(line for line in lines if all(word in _searched(line) for word in words)) if words else tuple(lines)


def _searched(line: Line) -> str:
    known = (line.method, line.target, line.query, line.route, line.model, line.reason, line.error, line.status)
    return " ".join(str(value) for value in (*known, views.outcome(line)) if value is not None).lower()


def _line(text: str, style: str = "") -> Text:
    return Text(text, style=style, no_wrap=True, overflow="ellipsis")


# -- the header


def _header(scene: Scene, width: int, height: int) -> list[Text]:
    facts = views.facts(scene.snapshot, scene.url, scene.name, scene.rate)
    first = _line("")
    first.append(f"nbproxy {facts.name} ", "bold")
    state = "lost" if scene.lost else str(scene.snapshot.status.get("state"))
    first.append("✖ not answering" if scene.lost else facts.state, _STYLES.get(state, "bold yellow"))
    first.append(" · PAUSED" if scene.paused else "", "bold yellow")
    first.append(f" · {facts.address} → {facts.upstream}")
    counts = _line(f"{facts.traffic} · {facts.recorded} · ")
    counts.append(facts.errors, "red" if scene.snapshot.status.get("errors") else "")
    latency = _line(f"p50/p95 in ms: {facts.latency}")
    return [first, _model(scene, facts.model), counts, *([_rates(scene, width)] if height >= LOW else []), latency]


def _model(scene: Scene, model: str) -> Text:
    line = _line("model ")
    line.append(model, "bold")
    line.append(_spent(scene.took.get(views.serving(scene.snapshot))))
    shadows = [(views.plain(one["name"], 40), _shadow_took(one)) for one in _shadows(scene)]
    line.append("".join(f" · shadow {name}{_spent(took)}" for name, took in shadows))
    others = ", ".join(views.plain(name, 40) for name in scene.snapshot.models if name != views.serving(scene.snapshot))
    line.append(f" (others: {others})" if others else "", "dim")
    return line


def _shadows(scene: Scene) -> list[Mapping[str, object]]:
    found = scene.snapshot.status.get("shadows")
    return [one for one in found if isinstance(one, dict) and "name" in one] if isinstance(found, list) else []


def _shadow_took(shadow: Mapping[str, object]) -> tuple[float, float] | None:
    told = shadow.get("latency_ms")
    if not isinstance(told, dict) or told.get("p50") is None:
        return None
    return float(told["p50"]), float(told.get("p95") or told["p50"])


def _spent(took: tuple[float, float] | None) -> str:
    return "" if took is None else f" {views.number(took[0])}/{views.number(took[1])} ms"


def _rates(scene: Scene, width: int) -> Text:
    parts = [f"{name} {views.number(rate)}/s" for name, rate in scene.rates.items()]
    line = _line(" · ".join(parts) or "rates: measuring …")
    room = width - line.cell_len - 3
    if scene.history and room >= 8:
        line.append(f" · {_sparkline(scene.history[-min(room, 60) :])}", "cyan")
    return line


def _sparkline(values: Sequence[float]) -> str:
    top = max(values) or 1.0
    return "".join(_SPARKS[min(7, round(7 * value / top))] for value in values)


def _models(scene: Scene, width: int, height: int) -> list[Text]:
    """Where there is room: each model with what it does and how long it takes."""
    if height < TALL:
        return []
    serving, shadows = views.serving(scene.snapshot), {str(one["name"]): _shadow_took(one) for one in _shadows(scene)}
    names = dict.fromkeys([serving, *shadows, *scene.took])
    heads = (("role", 8, "left"), ("p50 ms", 8, "right"), ("p95 ms", 8, "right"), ("model", 0, "left"))
    grid = _Grid(width, heads)
    for name in list(names)[:6]:
        role = "serving" if name == serving else "shadow" if name in shadows else "before"
        took = shadows.get(name) or scene.took.get(name)
        times = (views.NOTHING,) * 2 if took is None else tuple(map(views.number, took))
        style = "bold" if role == "serving" else "dim" if role == "before" else ""
        grid.add((role, style), (times[0], ""), (times[1], ""), (views.plain(name, width), style))
    return [_heading("models", width), *grid.rows]


# -- below


def _errors(scene: Scene, n: int) -> list[Text]:
    """The newest errors, newest last; trouble of the view's own, or what it has to say, comes first."""
    if scene.trouble:
        return [_line(f"⚠ {views.plain(scene.trouble)}", "bold red")]
    told = [_line(views.plain(scene.notice), "bold cyan")] if scene.notice else []
    errors = [_line(f"⚠ {views.plain(error)}", "red") for error in scene.snapshot.errors[-n:]]
    room = n - len(told)
    return [*(errors[-room:] if room else ()), *told]


def _keys(scene: Scene) -> Text:
    if scene.typing:
        return _line(f"filter: {views.plain(scene.wanted or '')}▏  Enter keeps it · Esc drops it", "bold cyan")
    if scene.menu is not None:
        return _line("↑↓ choose · Enter serves it · Esc leaves", "bold cyan")
    escape = " · Esc back" if scene.chosen is not None or scene.wanted else ""
    return _line(HELP + escape, "dim")


def _heading(text: str, width: int) -> Text:
    head = _line(f"{text} ", "bold")
    head.append("─" * max(0, width - head.cell_len), "dim")
    return head


class _Grid:
    """Rows in columns, a line each. Several screens a second are built of hundreds of cells: rich's own table, which
    measures and wraps each of them, takes four times as long.

    :param columns: head, width, and the side that the text stands on; columns of width 0 share what is left.
    """

    def __init__(self, width: int, columns: Sequence[tuple[str, int, str]]) -> None:
        left = width - sum(size for _, size, _ in columns) - len(columns) + 1
        share = max(4, left // max(1, sum(size == 0 for _, size, _ in columns)))
        self._shapes = [(size or share, side) for _, size, side in columns]
        self.rows = [self._row([(head, "dim") for head, _, _ in columns])]

    def add(self, *cells: tuple[str, str], style: str = "") -> None:
        """A row of (cleaned text, style)."""
        self.rows.append(self._row(cells, style))

    def _row(self, cells: Sequence[tuple[str, str]], style: str = "") -> Text:
        row = _line("", style)
        for (text, own), (size, side) in zip(cells, self._shapes, strict=True):
            row.append(" " if row else "").append(_fitted(text, size, side), own)
        return row


def _fitted(text: str, size: int, side: str) -> str:
    """``text`` in exactly ``size`` cells of the terminal."""
    taken = cell_len(text)
    if taken > size:
        return set_cell_size(text, size - 1) + "…"
    return " " * (size - taken) + text if side == "right" else text + " " * (size - taken)


# -- exchanges


def _exchanges(scene: Scene, height: int, width: int) -> list[Text]:
    found = matching(views.traffic(scene.snapshot), scene.wanted)
    filtered = f", filtered by “{views.plain(scene.wanted, 40)}”" if scene.wanted else ""
    heading = _heading(f"newest exchanges{filtered}", width)
    if not found:
        none = "none fits the filter" if scene.wanted else f"none yet: send searches to {views.plain(scene.url)}"
        return [heading, _line(none, "dim")][: max(height, 0)]
    wide = 24 if width < 100 else 28 if width < 140 else 40
    heads = (
        ("age", 6, "right"),
        ("status", 6, "right"),
        ("ms", 7, "right"),
        ("outcome", wide, "left"),
        ("asked", 0, "left"),
    )
    grid = _Grid(width - 2, heads)
    shown = _window(found, scene.chosen, max(height - 2, 0))
    for line in shown:
        told = "red" if line.error or (line.status or 500) >= 500 else "green" if line.reranked else ""
        status = views.NOTHING if line.status is None else str(line.status)
        numbers = (views.age(line.started, scene.now), status, views.number(line.total_ms))
        here = scene.chosen is not None and line.exchange_id == scene.chosen.exchange_id
        grid.add(
            *((text, "") for text in numbers),
            (views.outcome(line), told),
            (views.asked(line), ""),
            style="reverse" if here else "",
        )
    marks = [" ", *("▸" if scene.chosen and one.exchange_id == scene.chosen.exchange_id else " " for one in shown)]
    return [heading, *(_marked(mark, row) for mark, row in zip(marks, grid.rows, strict=True))][: max(height, 0)]


def _marked(mark: str, row: Text) -> Text:
    line = _line(f"{mark} ", row.style if isinstance(row.style, str) else "")
    return line.append_text(row)


def _window(found: Sequence[Line], chosen: Line | None, n: int) -> Sequence[Line]:
    """``n`` of the lines, the chosen one among them."""
    ids = [line.exchange_id for line in found]
    at = ids.index(chosen.exchange_id) if chosen is not None and chosen.exchange_id in ids else 0
    begin = max(0, min(at - n // 2, len(found) - n))
    return found[begin : begin + n]


# -- one search, one exchange, or the menu


def _lower(scene: Scene, room: int, width: int) -> list[Text]:
    """What stands below the exchanges."""
    if scene.menu is not None:
        return _menu(scene, room, width)
    if scene.chosen is not None and scene.sight is None:
        return _detail(scene.chosen, width)[:room]
    sight = scene.sight or scene.snapshot.last
    height = min(room // 2, 2 + len(sight.places)) if sight is not None else min(room, 1)
    return _search(sight, height, width)


def _menu(scene: Scene, room: int, width: int) -> list[Text]:
    names, marked = scene.menu or ((), 0)
    n = max(1, min(len(names), room // 2))
    begin = max(0, min(marked - n // 2, len(names) - n))
    serving = views.serving(scene.snapshot)
    rows = [
        _line(
            f"{'▸' if place == marked else ' '} {views.plain(name, 60)}{'  (serving)' if name == serving else ''}",
            "reverse" if place == marked else "",
        )
        for place, name in enumerate(names)
    ]
    return [_heading("serve which model?", width), *rows[begin : begin + n]]


def _detail(line: Line, width: int) -> list[Text]:
    own = (line.total_ms or 0) - (line.upstream_ms or 0) - (line.rerank_ms or 0)
    times = (
        f"{views.number(line.total_ms)} ms in all: upstream {views.number(line.upstream_ms)}, "
        f"reranking {views.number(line.rerank_ms)}, the rest {views.number(max(own, 0))}"
    )
    status = views.NOTHING if line.status is None else str(line.status)
    rows = [
        _heading(f"selected at {views.clock(line.started)} UTC", width),
        _line(views.plain(f"{line.method} {line.target}")),
        _line(f"“{views.plain(line.query)}”" if line.query else "no query text"),
        _line(f"{status} · {views.outcome(line)} · model {views.plain(line.model or views.NONE, 60)}"),
        _line(times),
    ]
    return [*rows, _line(views.plain(line.error), "red")] if line.error else rows


def _search(sight: Sight | None, height: int, width: int) -> list[Text]:
    if sight is None:
        return [_line("no reranked search yet", "dim")][:height]
    heads = (
        ("rank", 4, "right"),
        ("upstream", 0, "left"),
        ("moved", 5, "right"),
        ("served", 0, "left"),
        ("score", 9, "right"),
    )
    grid = _Grid(width, heads)
    for pair in views.pairs(sight, height - 2):
        moved = views.move(pair.after) if pair.after else ""
        score = views.score(pair.after.score) if pair.after else ""
        before, after = views.label(pair.before, width), views.label(pair.after, width)
        grid.add((str(pair.rank), ""), (before, "dim"), (moved, _MOVED.get(moved[:1], "dim")), (after, ""), (score, ""))
    return [_heading(views.entitled(sight), width), *grid.rows][: max(height, 0)]
