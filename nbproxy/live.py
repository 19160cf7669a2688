"""The terminal view: rich, full screen where there is a terminal, plain lines where there is none.

Laws: what is drawn is :func:`nbproxy.screen.screen` of one snapshot; the loop alone does I/O (a model is loaded on a
thread of its own); a line is written only where it changed, so nothing flickers; however the view ends (``q``, Ctrl-C,
SIGTERM, the session's end), or is put aside (Ctrl-Z), the terminal is as it was.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from typing import IO, Any

from rich.color import ColorSystem
from rich.console import Console
from rich.style import Style
from rich.text import Text

from . import views
from .controls import Controls
from .errors import ConfigError, NbproxyError
from .keyboard import keyboard
from .live_view import LINES, OVER, View
from .remote import Remote, find_running


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
    controls: Controls, *, console: Console | None = None, refresh: float = 2, stop: threading.Event | None = None
) -> None:
    """Show the proxy until ``q``, Ctrl-C, or its end.

    :param console: where to; None: standard output. One that is no terminal gets a line for each exchange.
    :param refresh: how often a second; what a key does is seen at once.
    :param stop: ends it as ``q`` does, for programs.
    """
    console = console or Console()
    whole = console.is_terminal and not console.is_dumb_terminal and not console.legacy_windows
    loop = _full_screen if whole else _plain_lines
    try:
        with contextlib.suppress(KeyboardInterrupt), _terminated():
            loop(controls, console, 1 / refresh, stop or threading.Event())
    except BrokenPipeError:  # `nbproxy live | head`
        _let_go(console.file)


# -- full screen


_COLOURS = {"standard": ColorSystem.STANDARD, "256": ColorSystem.EIGHT_BIT, "truecolor": ColorSystem.TRUECOLOR}


class _Paper:
    """The terminal, on which only lines that changed are written anew."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._colours = _COLOURS.get(console.color_system or "")
        self._size: tuple[int, int] | None = None
        self._shown: list[tuple[Any, ...]] = []

    def draw(self, lines: list[Text]) -> None:
        width, height = size = self._console.size
        out = []
        if size != self._size:
            self._size, self._shown, out = size, [()] * height, ["\x1b[2J"]
        for row, line in enumerate(lines):
            known = (line.plain, str(line.style), tuple(line.spans))
            if self._shown[row] != known:
                self._shown[row] = known
                out.append(f"\x1b[{row + 1};1H{self._ansi(line, width)}")
        if out:  # at once: half a screen is never seen
            _write(self._console, "".join(out))

    def _ansi(self, line: Text, width: int) -> str:
        whole = line.copy()
        whole.truncate(width, overflow="ellipsis", pad=True)
        whole.end = ""
        # Not by `print`, which measures and wraps: three times the work.
        return "".join(self._styled(piece.text, piece.style) for piece in whole.render(self._console))

    def _styled(self, text: str, style: Style | None) -> str:
        if style is None:
            return text
        return (style.without_color if self._console.no_color else style).render(text, color_system=self._colours)


def _full_screen(controls: Controls, console: Console, pace: float, stop: threading.Event) -> None:
    view = View(controls, controls.snapshot(LINES))
    while _suspended(view, console, pace, stop):
        # The terminal is the shell's until its `fg`. Not SIGSTOP: where no shell waits, this one does nothing.
        os.kill(os.getpid(), signal.SIGTSTP)


def _suspended(view: View, console: Console, pace: float, stop: threading.Event) -> bool:
    """Draw until the view ends, or, which is True, until Ctrl-Z."""
    paper, due = _Paper(console), 0.0
    with keyboard() as keys, console.screen(), _no_wrapping(console):
        while not view.ended and not stop.is_set():
            if time.monotonic() >= due:
                view.look(console.height)
                due = time.monotonic() + pace
            paper.draw(view.lines(console))
            for key in keys(max(0.0, due - time.monotonic()), stop):
                if key == "suspend":
                    return True
                if key == "redraw":
                    paper = _Paper(console)
                view.press(key)
    return False


@contextlib.contextmanager
def _no_wrapping(console: Console) -> Iterator[None]:
    """Terminals do not agree on how wide some writing is: a line that is wider than was reckoned ends at the edge, and
    does not run into the next, which may not be written anew (DECAWM,
    https://vt100.net/docs/vt510-rm/DECAWM.html)."""
    _write(console, "\x1b[?7l")
    try:
        yield
    finally:
        _write(console, "\x1b[?7h")


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
    snapshot = controls.snapshot(LINES)
    facts = views.facts(snapshot, controls.url, controls.name, None)
    seen, counted = set[str](), 0
    _say(console, f"nbproxy {facts.name} {facts.state} · {facts.address} → {facts.upstream} · model {facts.model}")
    while True:
        fresh = [line for line in views.traffic(snapshot) if line.exchange_id not in seen]
        missed = views.requests(snapshot) - counted - len(fresh)
        if seen and missed > 0 and len(fresh) == len(views.traffic(snapshot)):
            _say(console, f"… {missed:,} more …")
        for line in reversed(fresh):
            parts = (views.clock(line.started), str(line.status or views.NOTHING), f"{views.number(line.total_ms)} ms")
            _say(console, "  ".join((*parts, views.outcome(line), views.asked(line))))
        seen, counted = {line.exchange_id for line in snapshot.lines}, views.requests(snapshot)
        if snapshot.status.get("state") in OVER or stop.wait(pace):
            return
        try:
            snapshot = controls.snapshot(LINES)
        except NbproxyError as error:
            _say(console, f"ended: {views.plain(error)}")
            return


def _say(console: Console, text: str) -> None:
    _write(console, text + "\n")


def _write(console: Console, text: str) -> None:
    """At once. Not by ``console.print``, which ends the process where nobody reads any more."""
    encoding = console.encoding
    console.file.write(text.encode(encoding, "replace").decode(encoding))
    console.file.flush()


def _let_go(file: IO[str]) -> None:
    """Nobody reads it: what is still in its buffer must not be an error at the interpreter's exit."""
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, file.fileno())
        os.close(nowhere)
