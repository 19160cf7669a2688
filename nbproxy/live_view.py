"""What the terminal view shows now, and what each key does to it. No terminal here.

Law: a key does its work at once; only a model's loading, which may take minutes, is on a thread of its own.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from rich.console import Console
from rich.text import Text

from . import views
from .controls import Controls, Line, Sight, Snapshot
from .errors import NbproxyError
from .screen import Scene, matching, screen

LINES = 200  # looked at most: a filter has something to look through
OVER = ("stopped", "failed")
_TIMED = 256
_TOLD = 10  # looks for which a notice stands


class Pulse:
    """Rates, and how long each model takes, out of the snapshots that were seen."""

    def __init__(self) -> None:
        self.rate: float | None = None
        self.rates: dict[str, float] = {}
        self.history: deque[float] = deque(maxlen=120)
        self._meter, self._seen = views.Meter(), deque[tuple[float, dict[str, int]]](maxlen=7)
        self._took: dict[str, deque[float]] = {}
        self._last = 0

    def add(self, snapshot: Snapshot) -> None:
        self.rate = self._meter.add(snapshot)
        now = (float(snapshot.status.get("uptime_s", 0)), _kinds(snapshot))
        if self._seen and now[0] <= self._seen[-1][0]:
            self._seen.clear()  # another proxy: it was restarted
        if self._seen:
            begun, before = self._seen[0]
            self.rates = {name: max(0, n - before[name]) / (now[0] - begun) for name, n in now[1].items()}
            self.history.append(self.rate or 0.0)
        self._seen.append(now)
        self._time(snapshot)

    def _time(self, snapshot: Snapshot) -> None:
        fresh = [line for line in snapshot.lines if line.started > self._last]
        self._last = max([self._last, *(line.started for line in fresh)])
        for line in reversed(fresh):
            if line.rerank_ms is not None and line.model is not None:
                self._took.setdefault(line.model, deque(maxlen=_TIMED)).append(line.rerank_ms)

    @property
    def took(self) -> dict[str, tuple[float, float]]:
        """Model → p50 and p95 (nearest rank) of its newest rerankings, in milliseconds."""
        ordered = {name: sorted(times) for name, times in self._took.items()}
        return {
            name: (times[len(times) // 2], times[round(0.95 * (len(times) - 1))]) for name, times in ordered.items()
        }


def _kinds(snapshot: Snapshot) -> dict[str, int]:
    counts = snapshot.status.get("counts", {})
    routes, reasons = counts.get("route", {}), counts.get("reason", {})
    searches, alone = routes.get("search", 0), sum(reasons.values())
    return {"reranked": max(0, searches - alone), "left alone": alone, "passed on": routes.get("pass", 0)}


@dataclass
class View:
    """What is shown now, and how it changes."""

    controls: Controls
    snapshot: Snapshot
    pulse: Pulse = field(default_factory=Pulse)
    paused: bool = False
    ended: bool = False
    trouble: str = ""
    lost: bool = False
    notice: str = ""
    wanted: str | None = None
    typing: bool = False
    chosen: Line | None = None
    sight: Sight | None = None
    menu: tuple[tuple[str, ...], int] | None = None
    loading: bool = False
    _age: int = 0

    def look(self, lines: int = LINES) -> None:
        """A fresh snapshot, unless paused. A proxy that cannot be reached is told of and asked again."""
        if self.paused:
            return
        self._age = self._age + 1 if self.notice and not self.loading else 0
        if self._age > _TOLD:
            self.notice = ""
        try:
            self.snapshot = self.controls.snapshot(LINES if self.wanted else lines)
        except NbproxyError as error:
            self.trouble, self.lost = str(error), True
        else:
            self.trouble, self.lost = "", False
            self.pulse.add(self.snapshot)
            self.ended = self.ended or self.snapshot.status.get("state") in OVER

    def press(self, key: str) -> None:
        """Each way of the view has keys of its own; what they do not know does nothing."""
        keys = _TYPING if self.typing else _MENU if self.menu is not None else _KEYS
        action = keys.get(key) or keys.get(key.lower())
        if action is not None:
            action(self)
        elif self.typing and len(key) == 1:
            self.wanted = (self.wanted or "") + key

    @property
    def listed(self) -> tuple[Line, ...]:
        """The exchanges that can be selected."""
        return matching(views.traffic(self.snapshot), self.wanted)

    def lines(self, console: Console) -> list[Text]:
        return screen(self.scene(time.time()), *console.size)

    def scene(self, now: float) -> Scene:
        pulse = self.pulse
        return Scene(
            self.snapshot,
            self.controls.url,
            self.controls.name,
            rate=pulse.rate,
            now=now,
            paused=self.paused,
            trouble=self.trouble,
            lost=self.lost,
            notice=self.notice,
            rates=pulse.rates,
            history=tuple(pulse.history),
            took=pulse.took,
            chosen=self.chosen,
            sight=self.sight,
            wanted=self.wanted,
            typing=self.typing,
            menu=self.menu,
        )


# -- what keys do


def _pause(view: View) -> None:
    view.paused = not view.paused
    if not view.paused:
        view.chosen = view.sight = None


def _quit(view: View) -> None:
    view.ended = True


def _filter(view: View) -> None:
    view.typing, view.wanted = True, view.wanted or ""
    view.look()  # a filter looks through more than the screen shows


def _keep(view: View) -> None:
    view.typing, view.wanted = False, (view.wanted or "").strip() or None


def _shorten(view: View) -> None:
    view.wanted = (view.wanted or "")[:-1]


def _empty(view: View) -> None:
    view.wanted = ""


def _drop(view: View) -> None:
    view.typing, view.wanted = False, None


def _space(view: View) -> None:
    view.wanted = (view.wanted or "") + " "


def _back(view: View) -> None:
    """What was opened last is closed first: the selection, which held the list, then the filter."""
    if view.chosen is not None:
        view.chosen, view.sight, view.paused = None, None, False
    else:
        view.wanted, view.notice = None, ""


def _step(by: int) -> Callable[[View], None]:
    def step(view: View) -> None:
        """Select another exchange; the list is held, for it would run away."""
        if not view.paused:
            view.look()
        listed = view.listed
        if not listed:
            return
        ids = [line.exchange_id for line in listed]
        at = ids.index(view.chosen.exchange_id) + by if view.chosen and view.chosen.exchange_id in ids else 0
        view.chosen, view.paused = listed[min(max(at, 0), len(listed) - 1)], True
        view.sight = _sight(view, view.chosen)

    return step


def _sight(view: View, line: Line) -> Sight | None:
    if not line.reranked:
        return None
    if view.snapshot.last is not None and view.snapshot.last.exchange_id == line.exchange_id:
        return view.snapshot.last
    try:
        return view.controls.sight(line.exchange_id)
    except NbproxyError as error:
        view.trouble = str(error)
        return None


def _open(view: View) -> None:
    names = view.snapshot.models
    serving = views.serving(view.snapshot)
    view.menu = (names, names.index(serving) if serving in names else 0) if names else None


def _close(view: View) -> None:
    view.menu = None


def _mark(by: int) -> Callable[[View], None]:
    def mark(view: View) -> None:
        names, at = view.menu or ((), 0)
        view.menu = (names, (at + by) % max(1, len(names)))

    return mark


def _serve(view: View) -> None:
    """Load on a thread of its own: it may take minutes, and searches go on meanwhile."""
    names, at = view.menu or ((), 0)
    view.menu, view.chosen, view.sight, view.paused = None, None, None, False
    if names:
        view.notice, view.loading = f"loading {names[at]} …", True
        threading.Thread(target=_switch, args=(view, names[at]), name="nbproxy-live-model", daemon=True).start()


def _switch(view: View, name: str) -> None:
    try:
        view.controls.set_model(None if name == views.NONE else name)
    except Exception as error:  # whatever a model's loading raises is shown, and the old one serves on
        view.notice = f"{name} cannot be served: {type(error).__name__}: {error}"
    else:
        view.notice = f"{name} serves now"
    view.loading = False


Actions = dict[str, Callable[[View], None]]
_KEYS: Actions = {
    "p": _pause,
    "space": _pause,
    "q": _quit,
    "gone": _quit,
    "/": _filter,
    "m": _open,
    "escape": _back,
    "up": _step(-1),
    "k": _step(-1),
    "down": _step(1),
    "j": _step(1),
    "page up": _step(-10),
    "page down": _step(10),
}
_TYPING: Actions = {
    "enter": _keep,
    "escape": _drop,
    "backspace": _shorten,
    "clear": _empty,
    "space": _space,
    "gone": _quit,
    "up": _step(-1),
    "down": _step(1),
}
_MENU: Actions = {
    "enter": _serve,
    "escape": _close,
    "m": _close,
    "q": _quit,
    "gone": _quit,
    "up": _mark(-1),
    "k": _mark(-1),
    "down": _mark(1),
    "j": _mark(1),
}
