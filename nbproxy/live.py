"""The terminal view: rich, full screen where there is a terminal, plain lines where there is none.

Laws: the screen is a function of one snapshot and the terminal's size (:func:`screen`), exactly as high as the
terminal; the loop alone does I/O; recorded text reaches rich as cleaned ``Text``, never as markup; however the view
ends (``q``, Ctrl-C, SIGTERM, the session's end), the terminal is as it was.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import IO, Any

from rich.cells import cell_len, set_cell_size
from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from . import views
from .controls import Controls, Sight, Snapshot
from .errors import ConfigError, NbproxyError
from .remote import Remote, find_running

_LINES = 200
_OVER = ("stopped", "failed")
_STYLES = {"running": "bold green", "stopped": "bold", "failed": "bold red"}
_HELP = "p pause · q quit"


def in_notebook() -> bool:
    """Whether this runs in a Jupyter kernel, which has no terminal to draw on."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return getattr(shell, "kernel", None) is not None


def attach(url: str | None = None, token: str | None = None, **options: Any) -> None:
    """:func:`run` on a proxy in another process.

    :param url: its address; None: this user's newest running proxy on this machine.
    :param token: ``session.token``; None: found in the session's own file.
    :raises ConfigError: there is none, or it is not to be had.
    :raises SessionClosed: nothing answers there.
    """
    place = url or find_running()
    if place is None:
        raise ConfigError("no running proxy of yours was found; start one, or give its address (session.url)")
    run(Remote(place, token), **options)


def run(
    controls: Controls, *, console: Console | None = None, refresh: float = 4, stop: threading.Event | None = None
) -> None:
    """Show the proxy until ``q``, Ctrl-C, or its end.

    :param console: where to; None: standard output. One that is no terminal gets a line for each exchange.
    :param refresh: how often a second.
    :param stop: ends it as ``q`` does, for programs.
    """
    console = console or Console()
    loop = _full_screen if console.is_terminal and not console.is_dumb_terminal else _plain_lines
    try:
        with contextlib.suppress(KeyboardInterrupt), _terminated():
            loop(controls, console, 1 / refresh, stop or threading.Event())
    except BrokenPipeError:  # `nbproxy live | head`
        _let_go(console.file)


# -- one screen


@dataclass(frozen=True, slots=True)
class Scene:
    """All that a screen shows.

    :ivar rate: exchanges a second.
    :ivar trouble: why the snapshot is not a fresh one, or nothing.
    """

    snapshot: Snapshot
    url: str
    name: str
    rate: float | None = None
    now: float = 0.0
    paused: bool = False
    trouble: str = ""


def screen(scene: Scene, width: int, height: int) -> Group:
    """The whole screen: header, newest exchanges, last reranked search, keys; exactly ``height`` lines."""
    top = _header(scene)
    bottom = [*_errors(scene, 1 if height < 40 else 3), _line(_HELP, "dim")]
    room = max(0, height - len(top) - len(bottom))
    sight = scene.snapshot.last
    lower = min(room // 2, 2 + len(sight.places)) if sight is not None else min(room, 1)
    middle = [*_exchanges(scene, room - lower, width), *_search(sight, lower, width)]
    blank = [Text("")] * max(0, room - len(middle))
    return Group(*[*top, *middle[:room], *blank, *bottom][:height])


def _line(text: str, style: str = "") -> Text:
    return Text(text, style=style, no_wrap=True, overflow="ellipsis")


def _header(scene: Scene) -> list[Text]:
    facts = views.facts(scene.snapshot, scene.url, scene.name, scene.rate)
    first = _line("")
    first.append(f"nbproxy {facts.name} ", "bold")
    first.append(facts.state, _STYLES.get(str(scene.snapshot.status.get("state")), "bold yellow"))
    first.append(" · PAUSED" if scene.paused else "", "bold yellow")
    first.append(f" · {facts.address} → {facts.upstream}")
    second = _line("model ")
    second.append(facts.model, "bold")
    others = ", ".join(views.plain(name, 40) for name in scene.snapshot.models if name != views.serving(scene.snapshot))
    second.append(f" (others: {others})" if others else "", "dim")
    third = _line(f"{facts.traffic} · {facts.recorded} · {facts.errors}")
    return [first, second, third, _line(f"p50/p95 in ms: {facts.latency}")]


def _errors(scene: Scene, n: int) -> list[Text]:
    """The newest errors, newest last; trouble of the view's own comes first."""
    if scene.trouble:
        return [_line(f"⚠ {views.plain(scene.trouble)}", "bold red")]
    return [_line(f"⚠ {views.plain(error)}", "red") for error in scene.snapshot.errors[-n:]]


def _heading(text: str, width: int) -> Text:
    head = _line(f"{text} ", "bold")
    head.append("─" * max(0, width - head.cell_len), "dim")
    return head


class _Grid:
    """Rows in columns, a line each. Four screens a second are built of hundreds of cells: rich's own table, which
    measures and wraps each of them, takes four times as long.

    :param columns: head, width, and the side that the text stands on; columns of width 0 share what is left.
    """

    def __init__(self, width: int, columns: Sequence[tuple[str, int, str]]) -> None:
        left = width - sum(size for _, size, _ in columns) - len(columns) + 1
        share = max(4, left // max(1, sum(size == 0 for _, size, _ in columns)))
        self._shapes = [(size or share, side) for _, size, side in columns]
        self.rows = [self._row([(head, "dim") for head, _, _ in columns])]

    def add(self, *cells: tuple[str, str]) -> None:
        """A row of (cleaned text, style)."""
        self.rows.append(self._row(cells))

    def _row(self, cells: Sequence[tuple[str, str]]) -> Text:
        row = _line("")
        for (text, style), (size, side) in zip(cells, self._shapes, strict=True):
            row.append(" " if row else "").append(_fitted(text, size, side), style)
        return row


def _fitted(text: str, size: int, side: str) -> str:
    """``text`` in exactly ``size`` cells of the terminal."""
    taken = cell_len(text)
    if taken > size:
        return set_cell_size(text, size - 1) + "…"
    return " " * (size - taken) + text if side == "right" else text + " " * (size - taken)


def _exchanges(scene: Scene, height: int, width: int) -> list[Text]:
    heading, lines = _heading("newest exchanges", width), views.traffic(scene.snapshot)[: max(height - 2, 0)]
    if not lines:
        return [heading, _line(f"none yet: send searches to {views.plain(scene.url)}", "dim")]
    wide = 24 if width < 100 else 40
    grid = _Grid(
        width,
        [
            ("age", 6, "right"),
            ("status", 6, "right"),
            ("ms", 7, "right"),
            ("outcome", wide, "left"),
            ("asked", 0, "left"),
        ],
    )
    for line in lines:
        told = "red" if line.error or (line.status or 500) >= 500 else "green" if line.reranked else ""
        status = views.NOTHING if line.status is None else str(line.status)
        numbers = (views.age(line.started, scene.now), status, views.number(line.total_ms))
        grid.add(*((text, "") for text in numbers), (views.outcome(line), told), (views.asked(line), ""))
    return [heading, *grid.rows]


_MOVED = {"▲": "green", "▼": "yellow"}  # beside the sign, which says it without colours


def _search(sight: Sight | None, height: int, width: int) -> list[Text]:
    if sight is None:
        return [_line("no reranked search yet", "dim")][:height]
    grid = _Grid(
        width,
        [
            ("rank", 4, "right"),
            ("upstream", 0, "left"),
            ("moved", 5, "right"),
            ("served", 0, "left"),
            ("score", 9, "right"),
        ],
    )
    for pair in views.pairs(sight, height - 2):
        moved = views.move(pair.after) if pair.after else ""
        score = views.score(pair.after.score) if pair.after else ""
        before, after = views.label(pair.before, width), views.label(pair.after, width)
        grid.add((str(pair.rank), ""), (before, "dim"), (moved, _MOVED.get(moved[:1], "dim")), (after, ""), (score, ""))
    return [_heading(views.entitled(sight), width), *grid.rows]


# -- full screen


@dataclass
class _View:
    """What is shown now, and how it changes."""

    controls: Controls
    snapshot: Snapshot
    meter: views.Meter = field(default_factory=views.Meter)
    rate: float | None = None
    paused: bool = False
    ended: bool = False
    trouble: str = ""

    def look(self) -> None:
        """A fresh snapshot, unless paused. A proxy that cannot be reached is told of and asked again."""
        if self.paused:
            return
        try:
            self.snapshot = self.controls.snapshot(_LINES)
        except NbproxyError as error:
            self.trouble = str(error)
        else:
            self.trouble, self.rate = "", self.meter.add(self.snapshot)
            self.ended = self.ended or self.snapshot.status.get("state") in _OVER

    def press(self, key: str) -> None:
        action = _KEYS.get(key)
        if action is not None:
            action(self)

    def shown(self, console: Console) -> Group:
        url, name = self.controls.url, self.controls.name
        scene = Scene(self.snapshot, url, name, self.rate, time.time(), self.paused, self.trouble)
        return screen(scene, *console.size)


def _pause(view: _View) -> None:
    view.paused = not view.paused


def _quit(view: _View) -> None:
    view.ended = True


_KEYS: dict[str, Callable[[_View], None]] = {"p": _pause, "q": _quit}


def _full_screen(controls: Controls, console: Console, pace: float, stop: threading.Event) -> None:
    view = _View(controls, controls.snapshot(_LINES))
    with (
        _keyboard() as keys,
        Live(console=console, screen=True, auto_refresh=False, vertical_overflow="crop") as live,
    ):
        while not view.ended and not stop.is_set():
            view.look()
            live.update(view.shown(console), refresh=True)
            for key in keys(pace, stop):
                view.press(key)


Keys = Callable[[float, threading.Event], Sequence[str]]


@contextlib.contextmanager
def _keyboard() -> Iterator[Keys]:
    """Single keys without echo, where standard input is a POSIX terminal; else none come. Ctrl-C stays Ctrl-C."""
    try:
        import termios
        import tty

        device = sys.stdin.fileno()
        before = termios.tcgetattr(device)
    except (ImportError, OSError, ValueError, AttributeError):  # Windows, a pipe, a closed or replaced stdin
        yield _no_keys
        return
    except termios.error:  # not a terminal
        yield _no_keys
        return
    tty.setcbreak(device)
    try:
        yield lambda pace, _: _pressed(device, pace)
    finally:
        termios.tcsetattr(device, termios.TCSADRAIN, before)


def _no_keys(pace: float, stop: threading.Event) -> Sequence[str]:
    stop.wait(pace)
    return ()


def _pressed(device: int, pace: float) -> str:
    """What was typed within ``pace`` seconds; ``q`` where the terminal has gone."""
    if not select.select([device], [], [], pace)[0]:
        return ""
    try:
        return os.read(device, 64).decode("ascii", "ignore").lower() or "q"
    except OSError:
        return "q"


@contextlib.contextmanager
def _terminated() -> Iterator[None]:
    """SIGTERM ends the view as Ctrl-C does, so that the terminal is restored; only where signals can be caught."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


# -- plain lines


def _plain_lines(controls: Controls, console: Console, pace: float, stop: threading.Event) -> None:
    """A line for each exchange, oldest first, until the proxy ends or nobody reads any more."""
    snapshot = controls.snapshot(_LINES)
    facts = views.facts(snapshot, controls.url, controls.name, None)
    seen: set[str] = set()
    _say(console, f"nbproxy {facts.name} {facts.state} · {facts.address} → {facts.upstream} · model {facts.model}")
    while True:
        fresh = [line for line in views.traffic(snapshot) if line.exchange_id not in seen]
        for line in reversed(fresh):
            parts = (views.clock(line.started), str(line.status or views.NOTHING), f"{views.number(line.total_ms)} ms")
            _say(console, "  ".join((*parts, views.outcome(line), views.asked(line))))
        seen = {line.exchange_id for line in snapshot.lines}
        if snapshot.status.get("state") in _OVER or stop.wait(pace):
            return
        try:
            snapshot = controls.snapshot(_LINES)
        except NbproxyError as error:
            _say(console, f"ended: {views.plain(error)}")
            return


def _say(console: Console, text: str) -> None:
    """A line, at once. Not by ``console.print``, which ends the process where nobody reads any more."""
    encoding = console.encoding
    console.file.write(text.encode(encoding, "replace").decode(encoding) + "\n")
    console.file.flush()


def _let_go(file: IO[str]) -> None:
    """Nobody reads it: what is still in its buffer must not be an error at the interpreter's exit."""
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, file.fileno())
        os.close(nowhere)
