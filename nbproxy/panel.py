"""The notebook panel: core ipywidgets that show snapshots and act through ``Controls``.

Laws, as the contract's §1 has them: widgets are made where ``Panel`` is (the main thread); afterwards one refresher
thread assigns traits, at most one widget at a time and four times a second, and only where something changed, so the
notebook gets the same few messages whatever the traffic. Callbacks do nothing but note a wish and wake a thread: they
never block the kernel on a loading model, never raise, never print. Nothing here uses an Output widget. All text is
one HTML widget whose value stands in a saved notebook; whatever was recorded is escaped on its way into it.

ipywidgets is imported with the first panel, not with nbproxy.
"""

from __future__ import annotations

import contextlib
import html
import threading
import time
from collections.abc import Iterable, Sequence
from typing import Any

from msgspec import structs

from . import views
from .background import Worker
from .controls import Controls, Line, Sight, Snapshot
from .errors import NbproxyError

BUSY_S, IDLE_S = 0.25, 1.0  # between looks: while something changes, and once nothing has for _SETTLED looks
_SETTLED = 20
_LINES = 50  # looked at, to have searches to step through
_ROWS, _RANKS = 12, 10
_JOIN_S = 0.5  # an exit waits for nobody longer than a second
_BUTTONS = {  # which way → label, tooltip
    "older": ("◀ older", "show the search before this one"),
    "newer": ("newer ▶", "show the search after this one"),
    "newest": ("newest", "follow the newest reranked search"),
}


class Panel:
    """One panel onto one proxy.

    :param controls: a session, or a :class:`nbproxy.remote.Remote`.
    """

    def __init__(self, controls: Controls) -> None:
        import ipywidgets

        self._controls = controls
        self._meter = views.Meter()
        self._models = Worker("nbproxy-panel-model")
        self._lock = threading.Lock()
        self._wake, self._closed = threading.Event(), threading.Event()
        self._held: Sight | None = None  # the search that the user chose; None: follow the newest
        self._step: str | None = None
        self._wanted, self._loading, self._notice = views.NONE, 0, ""
        self._fill(ipywidgets)
        self._snapshot = self._looked()
        self._follow_model()
        self._draw()
        self._thread = threading.Thread(target=self._refresh, name="nbproxy-panel", daemon=True)
        self._dropdown.observe(self._on_model, "value")
        for which, button in self._buttons.items():
            button.on_click(lambda _, which=which: self._on_step(which))
        self._thread.start()

    def _fill(self, ipywidgets: Any) -> None:
        """Make the widgets; only ever here, in the thread of whoever asked for the panel."""
        wide = {"description_width": "initial"}  # else the label's room is fixed and longer names are cut
        self._dropdown = ipywidgets.Dropdown(
            options=(views.NONE,),
            description="Model",
            tooltip="the model that reranks searches from now on",
            style=wide,
        )
        self._buttons = {
            which: ipywidgets.Button(description=text, tooltip=tip, layout={"width": "auto"})
            for which, (text, tip) in _BUTTONS.items()
        }
        label = ipywidgets.Label("Search")
        self._html = ipywidgets.HTML()
        row = ipywidgets.HBox((self._dropdown, label, *self._buttons.values()), layout={"flex_flow": "row wrap"})
        self.widget = ipywidgets.VBox((row, self._html))

    # -- what the user does: note it, wake a thread

    def _on_model(self, change: Any) -> None:
        """The dropdown changed: by the user, unless it is what the refresher assigns."""
        name = change["new"]
        if name is None or threading.current_thread() is self._thread or self._closed.is_set():
            return
        with self._lock:
            self._loading, self._wanted, self._notice = self._loading + 1, name, f"loading {name} …"
        try:
            self._models.submit(lambda: self._switch(name))
        except NbproxyError as error:
            self._switched(str(error))
        self._wake.set()

    def _switch(self, name: str) -> None:
        """On the worker: the model may take minutes to load, and another may be wanted by then."""
        notice = ""
        try:
            if name == self._wanted:
                self._controls.set_model(None if name == views.NONE else name)
        except Exception as error:  # whatever a model's loading raises is shown, and the old one serves on
            notice = f"{name} cannot be served: {type(error).__name__}: {error}"
        self._switched(notice)

    def _switched(self, notice: str) -> None:
        with self._lock:
            self._loading -= 1
            if not self._loading:
                self._notice = notice
        self._wake.set()

    def _on_step(self, which: str) -> None:
        self._step = which
        self._wake.set()

    # -- the refresher

    def _refresh(self) -> None:
        quiet, last = 0, time.monotonic()
        while not self._closed.is_set():
            if self._wake.wait(IDLE_S if quiet >= _SETTLED else BUSY_S):
                quiet = 0
            self._closed.wait(last + BUSY_S - time.monotonic())  # four a second, however fast the user clicks
            self._wake.clear()
            last = time.monotonic()
            quiet = 0 if not self._closed.is_set() and self._once() else quiet + 1

    def _once(self) -> bool:
        """Look, and show what changed; whether anything did. Nothing that fails here may end the thread."""
        try:
            self._snapshot = self._looked()
            return self._follow_model() or self._draw()  # one message a look: the text comes with the next
        except Exception as error:
            with contextlib.suppress(Exception):  # the kernel may be going away
                return self._draw(f"the proxy cannot be seen: {error}")
            return False

    def _looked(self) -> Snapshot:
        snapshot = self._controls.snapshot(_LINES)
        step, self._step = self._step, None
        if step is not None:
            self._held = self._stepped(step, snapshot)
        return snapshot

    def _stepped(self, step: str, snapshot: Snapshot) -> Sight | None:
        """The search that a button leads to; None follows the newest."""
        searches = [line.exchange_id for line in snapshot.lines if line.reranked]
        now = self._held or snapshot.last
        if step == "newest" or now is None or not searches:
            return None
        at = searches.index(now.exchange_id) if now.exchange_id in searches else len(searches)
        at += 1 if step == "older" else -1
        if at < 0:
            return None
        return self._controls.sight(searches[min(at, len(searches) - 1)]) or self._held

    def _draw(self, trouble: str = "") -> bool:
        snapshot = self._snapshot
        facts = views.facts(snapshot, self._controls.url, self._controls.name, self._meter.add(snapshot))
        sight = self._held or snapshot.last
        parts = [
            _header(facts),
            _alert(trouble or self._notice),
            _table(views.traffic(snapshot)[:_ROWS], sight),
            _side_by_side(sight, held=self._held is not None),
            _errors(snapshot.errors),
        ]
        return self._assign(_region(facts.name, parts))

    def _assign(self, text: str) -> bool:
        if text == self._html.value:
            return False
        self._html.value = text
        return True

    def _follow_model(self) -> bool:
        """Bring the dropdown to what serves, unless a choice of the user is still loading."""
        with self._lock:
            if self._loading:
                return False
        snapshot, name = self._snapshot, views.serving(self._snapshot)
        options = snapshot.models if name in snapshot.models else (*snapshot.models, name)
        if self._dropdown.options == options and self._dropdown.value == name:
            return False
        with self._dropdown.hold_sync():  # new options choose the first of them: that is not to be seen
            if self._dropdown.options != options:
                self._dropdown.options = options
            self._dropdown.value = name
        return True

    # -- the end

    def close(self) -> None:
        """Stop refreshing. What was shown last stays, disabled, so that a saved notebook keeps it."""
        if self._closed.is_set():
            return
        self._closed.set()
        self._wake.set()
        self._models.close()
        if threading.current_thread() is not self._thread:
            self._thread.join(_JOIN_S)
        with contextlib.suppress(Exception):  # at the interpreter's exit the kernel may be gone already
            self._last_look()

    def _last_look(self) -> None:
        snapshot = self._controls.snapshot(_LINES)
        if snapshot.status.get("state") == "stopping":  # it is closed by the session's own end
            snapshot = structs.replace(snapshot, status={**snapshot.status, "state": "stopped"})
        with self._lock:
            self._loading, self._notice = 0, "closed: this is the last view"
        self._snapshot = snapshot
        self._follow_model()
        self._draw()
        for control in (self._dropdown, *self._buttons.values()):
            control.disabled = True


# -- HTML: every recorded string goes through ``views.escaped``; colours are the theme's

_FONT = "font-family:var(--jp-ui-font-family,sans-serif);font-size:var(--jp-ui-font-size1,13px);line-height:1.4"
_COLOUR = "color:var(--jp-content-font-color1,var(--vscode-foreground,inherit))"
_LINE = "border-bottom:1px solid color-mix(in srgb,currentColor 25%,transparent)"
_CELL = "padding:1px 8px 1px 0;text-align:{side};vertical-align:top"
_CAPTION = "text-align:left;font-weight:600;padding:8px 0 2px"


def _region(name: str, parts: Iterable[str]) -> str:
    title = html.escape(f"nbproxy {name}")
    return f'<div role="region" aria-label="{title}" style="{_FONT};{_COLOUR}">{"".join(parts)}</div>'


def _header(facts: views.Facts) -> str:
    shown = {name: html.escape(value) for name, value in facts._asdict().items()}
    return (
        f"<div><b>nbproxy {shown['name']}</b> {shown['state']} · <code>{shown['address']}</code>"
        f" → <code>{shown['upstream']}</code> · model <b>{shown['model']}</b></div>"
        f"<div>{shown['traffic']} · {shown['recorded']} · {shown['errors']}</div>"
        f"<div>p50/p95 in ms: {shown['latency']}</div>"
    )


def _alert(text: str) -> str:
    return f'<div role="status"><b>⚠ {views.escaped(text, 400)}</b></div>' if text else ""


def _errors(errors: Sequence[str]) -> str:
    items = "".join(f"<li>{views.escaped(error, 200)}</li>" for error in reversed(errors))
    return f'<div style="{_CAPTION}">newest errors</div><ul style="margin:0">{items}</ul>' if items else ""


def _grid(caption: str, heads: Sequence[tuple[str, str]], rows: Sequence[Sequence[str]]) -> str:
    """A table of cells that are HTML already."""
    sides = [side for _, side in heads]
    top = "".join(
        f'<th scope="col" style="{_CELL.format(side=side)};{_LINE}">{html.escape(text)}</th>' for text, side in heads
    )
    body = "".join(
        "<tr>"
        + "".join(f'<td style="{_CELL.format(side=s)}">{c}</td>' for c, s in zip(row, sides, strict=True))
        + "</tr>"
        for row in rows
    )
    style = "border-collapse:collapse;width:100%;background:none"
    title = f'<caption style="{_CAPTION};color:inherit">{caption}</caption>'
    return f'<table style="{style}">{title}<thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>'


_EXCHANGES = (
    ("", "left"),
    ("UTC", "left"),
    ("status", "right"),
    ("ms", "right"),
    ("outcome", "left"),
    ("asked", "left"),
)


def _table(lines: Sequence[Line], sight: Sight | None) -> str:
    if not lines:
        return f'<div style="{_CAPTION}">no exchanges yet: send a search to the address above</div>'
    return _grid("newest exchanges", _EXCHANGES, [_row(line, sight) for line in lines])


def _row(line: Line, sight: Sight | None) -> tuple[str, ...]:
    below = sight is not None and line.exchange_id == sight.exchange_id
    return (
        '<span title="shown below">▸</span>' if below else "",
        views.clock(line.started),
        views.escaped(views.NOTHING if line.status is None else line.status),
        views.number(line.total_ms),
        html.escape(views.outcome(line)),
        html.escape(views.asked(line)),
    )


_SIDES = (("rank", "right"), ("upstream", "left"), ("moved", "left"), ("served", "left"), ("score", "right"))


def _side_by_side(sight: Sight | None, *, held: bool) -> str:
    if sight is None:
        return ""
    kept = " (held: “newest” follows again)" if held else ""
    caption = html.escape(views.entitled(sight) + kept)
    return _grid(caption, _SIDES, [_ranks(pair) for pair in views.pairs(sight, _RANKS)])


def _ranks(pair: views.Pair) -> tuple[str, ...]:
    after = pair.after
    moved = "" if after is None else f'<span title="{views.move_words(after)}">{views.move(after)}</span>'
    return (
        str(pair.rank),
        html.escape(views.label(pair.before, 70)),
        moved,
        html.escape(views.label(after, 70)),
        "" if after is None else views.score(after.score),
    )
