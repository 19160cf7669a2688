"""What is shown when: one thread that assigns, and what a click asks of it.

Laws, as the contract's §1 has them: widgets are made where ``Panel`` is (the main thread); afterwards one refresher
thread assigns traits, at most four in any second, whatever the traffic, and only where something changed. What nobody
waits for takes three of the four, so that a click's answer need not wait; nor does it wait for looks, which have a
thread of their own, as they wait for the recorder. Callbacks do nothing but note a wish and wake a thread: they never
block the kernel on a loading model, never raise, never print. Nothing here uses an Output widget. Whatever was recorded
is escaped on its way into the page.

ipywidgets is imported with the first panel, not with nbproxy.
"""

from __future__ import annotations

import contextlib
import itertools
import threading
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any

from msgspec import structs

from .. import views
from ..background import Worker
from ..errors import NbproxyError
from . import header, quality, traffic
from .changes import Changes
from .looking import Looking, Watched, set_shadow

BUSY_S, IDLE_S = 1 / 3, 1.0  # between looks: while something changes, and once nothing has for _SETTLED looks
_SETTLED = 15
_BUDGET = 4  # assignments in any second
_JOIN_S = 0.5  # an exit waits for nobody longer than a second
_REST = 10  # the quality is measured again after so many times as long as it took …
_REST_S = 5.0  # … and not before


class Panel:
    """One panel onto one session.

    :param session: a :class:`nbproxy.Session`, or a :class:`nbproxy.ConnectedSession`.
    """

    def __init__(self, session: Watched) -> None:
        from .widgets import Widgets

        self._session = session
        self._looking = Looking(session)
        self._measures = Worker("nbproxy-panel-quality")
        self._lock = threading.Lock()
        self._wake, self._prompt, self._closed = threading.Event(), threading.Event(), threading.Event()
        self._changes = Changes(self._prompt.set)
        self._wanted, self._view = views.NONE, "Side by side"
        self._shadowing: set[str] = set()  # as the list of shadows shows it
        self._judged: quality.Judgments | None = None
        self._quality, self._measured_at, self._measuring = "", -1, False
        self._rest_until = 0.0
        self._spent: deque[float] = deque(maxlen=_BUDGET)
        self._clicked = self._owed = False  # a user waits; for what may not be assigned yet
        self._seen = 0  # how many parts may show what was looked at
        self._quiet = 0  # turns since something changed
        self._widgets = w = Widgets()
        self.widget = w.whole
        self.widget.snapshot = self._static
        self._turn = itertools.count()
        parts = (self._address, self._model, self._depth, self._shadows, self._filters, self._table, self._detail,
                 self._header, self._orders, self._scroll)  # fmt: skip
        self._parts: dict[Callable[[], bool], int] = {part: next(self._turn) for part in parts}
        self._look()
        for part in self._parts:
            while part():
                pass
        self._thread = threading.Thread(target=self._refresh, name="nbproxy-panel", daemon=True)
        self._looker = threading.Thread(target=self._look_on, name="nbproxy-panel-looks", daemon=True)
        self._listen()
        self._thread.start()
        self._looker.start()

    # -- what the user does: note it, wake a thread

    def _listen(self) -> None:
        w = self._widgets
        self._on(w.model, self._choose_model)
        self._on(w.depth, self._choose_depth)
        for toggle in w.toggles:
            self._on(toggle, partial(self._toggle, toggle))
        self._on(w.shadow_list, self._choose_shadows)
        for widget in w.filters.values():
            self._on(widget, lambda _: self._looking.filter({n: f.value or "" for n, f in w.filters.items()}))
        self._on(w.scroll, self._looking.scroll)
        self._on(w.view, self._choose_view)
        self._on(w.ranking, lambda value: setattr(self._looking, "order", value or ""))
        for button, does in (
            (w.newest, self._looking.newest),
            (w.newer, self._looking.newer),
            (w.older, self._looking.older),
        ):
            button.on_click(partial(self._pressed, does))
        for n, button in enumerate(w.rows):
            button.on_click(partial(self._pressed, partial(self._looking.choose, n)))

    def _pressed(self, does: Callable[[], Any], _: Any) -> None:
        self._wished(does)

    def _on(self, widget: Any, does: Callable[[Any], Any]) -> None:
        """When its value changes, unless it is what the refresher assigns."""

        def changed(change: Any) -> None:
            if threading.current_thread() is not self._thread:
                self._wished(lambda: does(change["new"]))

        widget.observe(changed, "value")

    def _wished(self, does: Callable[[], Any]) -> None:
        if self._closed.is_set():
            return
        with contextlib.suppress(Exception):  # a callback that raises is a traceback in the log, and no use
            does()
        self._clicked = True
        self._wake.set()

    def _choose_view(self, name: str) -> None:
        self._view = name
        self._looking.show(name)

    def _choose_model(self, name: str | None) -> None:
        if name is not None:
            self._wanted = name
            self._changes.load("model", name, lambda: self._serve(name))

    def _serve(self, name: str) -> None:
        """The model may take minutes to load, and another may be wanted by then."""
        if name == self._wanted:
            self._session.set_model(None if name == views.NONE else name)

    def _choose_depth(self, depth: int) -> None:
        self._changes.set("depth", f"depth {depth}", lambda: setattr(self._session, "depth", depth))

    def _toggle(self, toggle: Any, on: bool) -> None:
        self._let_shadow(toggle.description, on)

    def _choose_shadows(self, names: tuple[str, ...]) -> None:
        """Where there are more models than toggles."""
        for name in {*names} ^ self._shadowing:
            self._let_shadow(name, name in names)
        self._shadowing = {*names}

    def _let_shadow(self, name: str, on: bool) -> None:
        change = self._changes.load if on else self._changes.set
        change("shadows", name, lambda: set_shadow(self._session, name, on))

    def judge(self, qrels: Any, queries: Any = None) -> None:
        """Show the quality against these judgments, from the thread that makes widgets."""
        self._judged, self._measured_at = quality.Judgments(qrels, queries), -1
        if not self._closed.is_set():
            self._widgets.view.value = "Quality"
            self._prompt.set()

    # -- the thread that looks

    def _look_on(self) -> None:
        with contextlib.suppress(Exception):
            self._looking.warm()
        while not self._closed.is_set():
            prompted = self._prompt.wait(IDLE_S if self._quiet >= _SETTLED else BUSY_S)
            self._prompt.clear()
            if not self._closed.is_set():
                self._look()
                with self._lock:
                    self._seen = max(self._seen, len(self._parts) if prompted else 1)
                self._wake.set()

    def _look(self, *, last: bool = False) -> None:
        self._changes.look_begins()
        try:
            (self._looking.last_look if last else self._looking.look)()
            self._measure()
        except Exception as error:
            self._looking.trouble = f"the proxy cannot be seen: {error}"
        self._changes.look_ends()

    # -- the refresher

    def _refresh(self) -> None:
        while not self._closed.is_set():
            self._wake.wait(max(0.0, self._spent[0] + 1.0 - time.monotonic()) if self._owed else None)
            self._wake.clear()
            if not self._closed.is_set():
                with contextlib.suppress(Exception):  # the kernel may be going away; nothing ends this thread
                    self._turn_once()

    def _turn_once(self) -> None:
        """The user first, then what was looked at."""
        clicked, self._clicked = self._clicked or self._owed, False
        with self._lock:
            most, self._seen = self._seen, 0
        if clicked:
            self._quiet = 0
            self._answer()
            self._prompt.set()  # not before: two that read at once take longer than one after the other
        if most and self._affordable(_BUDGET - 1):
            self._quiet = 0 if self._show(most) else self._quiet + 1

    def _answer(self) -> None:
        """What was clicked, whatever else changed."""
        with contextlib.suppress(NbproxyError, OSError):  # the look that follows says what is wrong
            self._looking.answer()
        self._owed = not self._affordable()
        for part in (self._detail, self._table):
            if self._affordable():
                self._assign(part)

    def _show(self, most: int) -> bool:
        """Let at most so many parts assign what changed in them, the one that waits longest first; what nobody waits
        for leaves one assignment to who clicks next."""
        assigned = False
        for part in sorted(self._parts, key=lambda part: self._parts[part]):
            if most and self._affordable(_BUDGET - 1) and self._assign(part):
                most, assigned = most - 1, True
        return assigned

    def _assign(self, part: Callable[[], bool]) -> bool:
        if not part():
            return False
        self._parts[part] = next(self._turn)
        self._spent.append(time.monotonic())
        return True

    def _affordable(self, most: int = _BUDGET) -> bool:
        """Whether fewer than ``most`` were assigned in the last second."""
        return len(self._spent) < most or time.monotonic() - self._spent[-most] >= 1.0

    # -- the parts: each assigns what changed in it, at most one message, and says whether it did

    @staticmethod
    def _assigned(widget: Any, value: Any) -> bool:
        if widget.value == value:
            return False
        widget.value = value
        return True

    def _address(self) -> bool:
        return self._assigned(self._widgets.address, header.address(self._session.url, self._session.name))

    def _header(self) -> bool:
        notice, loading = self._changes.notice, self._changes.pending("model", "shadows")
        return self._assigned(self._widgets.header, self._looking.header(notice, loading=loading))

    def _table(self) -> bool:
        page = self._looking.page
        changed = self._assigned(self._widgets.table, self._looking.table())
        self._looking.on_screen = page  # a press on a row means what stands there, not what was read since
        return changed

    def _detail(self) -> bool:
        shown = {"Side by side": self._looking.side, "Exchange": self._looking.exchange}
        return self._assigned(self._widgets.detail, shown.get(self._view, lambda: self._quality)())

    def _model(self) -> bool:
        """What serves, unless the user has chosen since it was looked at."""
        if not self._changes.settled("model"):
            return False
        snapshot = self._looking.snapshot
        name = views.serving(snapshot)
        options = snapshot.models if name in snapshot.models else (*snapshot.models, name)
        return bool(self._widgets.model.offer(options, name))

    def _depth(self) -> bool:
        slider, depth = self._widgets.depth, self._looking.depth
        if not self._changes.settled("depth") or slider.value == depth:
            return False
        with slider.hold_sync():
            slider.max = max(slider.max, depth)
            slider.value = depth
        return True

    def _shadows(self) -> bool:
        """One toggle for each model that could shadow; one message a look, so that it settles in a few."""
        if not self._changes.settled("shadows"):
            return False
        snapshot, w = self._looking.snapshot, self._widgets
        on = {str(model["name"]) for model in snapshot.status.get("shadows", ()) if model}
        names = [name for name in dict.fromkeys([*snapshot.models, *sorted(on)]) if name != views.NONE]
        if len(names) > len(w.toggles):
            return self._listed_shadows(names, on)
        for toggle, name in zip(w.toggles, names, strict=False):
            if (toggle.description, toggle.value) != (name, name in on):
                with toggle.hold_sync():
                    toggle.description, toggle.value = name, name in on
                return True
        return self._offered(w.toggles[: len(names)])

    def _listed_shadows(self, names: list[str], on: set[str]) -> bool:
        """More models than there are toggles for: a list in which several can be chosen."""
        self._shadowing = on
        chosen = tuple(name for name in names if name in on)
        listed = self._widgets.shadow_list
        return listed.offer(tuple(names), chosen) or self._offered((listed,))

    def _offered(self, children: tuple[Any, ...]) -> bool:
        if self._widgets.shadows.children == children:
            return False
        self._widgets.shadows.children = children
        return True

    def _filters(self) -> bool:
        snapshot = self._looking.snapshot
        offered = traffic.choices(snapshot.status.get("counts", {}), snapshot.models)
        return any(
            widget.offer(options, widget.value) if widget.value in options else False
            for name, options in offered.items()
            if (widget := self._widgets.filters[name])
        )

    def _orders(self) -> bool:
        orders = self._looking.orders
        order = self._looking.order if self._looking.order in orders else orders[0]
        return bool(self._widgets.ranking.offer(orders, order))

    def _scroll(self) -> bool:
        return self._assigned(self._widgets.scroll, self._looking.percent)

    # -- the quality, on its own thread, while it is looked at

    def _measure(self) -> None:
        count = views.requests(self._looking.snapshot)
        if (
            self._view != "Quality"
            or self._measuring
            or count == self._measured_at
            or time.monotonic() < self._rest_until
        ):
            return
        self._measuring, judged = True, self._judged

        def work() -> None:
            began = time.monotonic()
            try:
                self._quality = quality.quality(self._session, judged)
                self._measured_at = count if judged is self._judged else -1
            finally:
                took = time.monotonic() - began
                self._rest_until = time.monotonic() + (max(_REST_S, _REST * took) if judged is self._judged else 0)
                self._measuring = False
                self._prompt.set()

        self._measures.submit(work)

    # -- the end

    def _static(self) -> tuple[str, str]:
        """The page as HTML without widgets, and in a line of text."""
        w, looking = self._widgets, self._looking
        page = "".join(part.value for part in (w.address, w.header, w.table, w.detail))
        state = views.plain(looking.snapshot.status.get("state", "?"), 20)
        facts = views.facts(looking.snapshot, self._session.url, self._session.name, looking.pulse.per_second)
        where = f"{facts.address} → {facts.upstream}"
        return page, f"nbproxy panel {facts.name}: {state}, {where}, model {facts.model}, {facts.traffic}"

    def close(self) -> None:
        """Stop refreshing. What was shown last stays, disabled, so that a saved notebook keeps it."""
        if self._closed.is_set():
            return
        self._closed.set()
        self._wake.set()
        for worker in (self._changes, self._measures):
            worker.close()
        self._prompt.set()
        until = time.monotonic() + _JOIN_S
        for thread in {self._thread, self._looker} - {threading.current_thread()}:
            thread.join(max(0.0, until - time.monotonic()))
        with contextlib.suppress(Exception):  # at the interpreter's exit the kernel may be gone already
            self._last_look()

    def _last_look(self) -> None:
        self._look(last=True)
        looking = self._looking
        snapshot = looking.snapshot
        if snapshot.status.get("state") == "stopping":  # it is closed by the session's own end
            looking.snapshot = structs.replace(snapshot, status={**snapshot.status, "state": "stopped"})
        self._changes.end("closed: this is the last view")
        for part in (self._model, self._table, self._header, self._detail):
            part()
        for control in self._widgets.controls():
            control.disabled = True
