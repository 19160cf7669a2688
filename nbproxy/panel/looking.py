"""What a panel looks at: which page of exchanges, which search, which view of it; facts only, no widgets.

Laws: what the user wishes is noted by the callbacks, whichever thread they are on, by replacing one reference each.
Two threads ask the session: :meth:`Looking.look` for everything, which waits until what came before is recorded, and
:meth:`Looking.answer` for what a user waits for, which does not. What was asked before the user wished something
else is dropped. What is asked is bounded: one page, one exchange, one search's orders; and it is asked again only
where something may have changed.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from msgspec import structs

from .. import views
from ..controls import Asking, Controls, Listed, Sight, Snapshot
from . import detail, header, sides, traffic
from .header import Pulse
from .traffic import Key

_LINES = 8  # of a snapshot: enough to have one that is not a view's own
_TRIES = 20  # looks that a chosen search is given until its shadows are recorded
_Read = dict[str, Any]  # attributes and what they become
_EMPTY = Listed(lines=(), numbers=(), begin=0, first=0, total=0)


class Watched(Controls, Protocol):
    """A session, here or connected, as far as a panel needs it."""

    depth: int
    shadow: Any

    @property
    def model(self) -> Any: ...
    @property
    def models(self) -> Any: ...
    def row(self, exchange_id: str, part: int | None = None) -> Mapping[str, Any] | None: ...
    def evaluate(self, qrels: Any, *, queries: Any = None) -> Any: ...
    def _rows(self) -> Any: ...
    def _orders(self) -> Any: ...


def set_shadow(session: Watched, name: str, on: bool) -> None:
    """Let a model shadow, or no longer: one of ``session.models``, the serving one, or a built-in one."""
    if not on:
        session.shadow.pop(name, None)
        return
    known, serving = session.models, session.model
    if name in known:
        session.shadow[name] = known[name]
    else:
        session.shadow[name] = serving if serving is not None and serving.name == name else name


class Looking:
    """One look after the other at one session."""

    def __init__(self, session: Watched) -> None:
        self._session = session
        self.pulse = Pulse()
        self.snapshot = Snapshot(status={})
        self.depth = 1
        self.page = self.on_screen = _EMPTY  # what was read last, and what the table shows
        self.sights: tuple[Sight, ...] = ()
        self.trouble = ""
        self.chosen: Key | None = None  # None: follow the newest reranked search
        self.order = ""  # whose order; "": the first there is
        self.row: Mapping[str, Any] | None = None
        self.view = "Side by side"
        self._asking: Asking | None = traffic.filters({})  # None: the page is as it is wanted
        self._filter = traffic.filters({})
        self._following = True
        self._seen = -1  # how many exchanges there were when the page was read
        self._sighted: tuple[Key | None, int] = (None, 0)
        self._row_of: Key | None = None
        self._wishes = 0
        self._lock = threading.Lock()
        self._over = False

    # -- what the user does

    def show(self, view: str) -> None:
        """Look at another view of the exchange."""
        self._wish(view=view)

    def _wish(self, **what: Any) -> None:
        with self._lock:
            self._wishes += 1
            self._take(what)

    def _take(self, what: _Read) -> None:
        for name, value in what.items():
            setattr(self, name, value)

    def choose(self, place: int) -> Key | None:
        """Select the exchange in a row of the table; the table stays where it is then."""
        if place < len(self.on_screen.lines):
            self._wish(_following=False, chosen=traffic.key(self.on_screen.lines[place]))
        return self.chosen

    def newest(self) -> None:
        """Follow the newest again."""
        self._wish(chosen=None, order="", _following=True, _asking=self._filter)

    def older(self) -> None:
        """A page back."""
        if self.page.begin > self.page.first:
            self._turn(before=self.page.begin)

    def newer(self) -> None:
        """A page forward; where that is not full, the newest."""
        if not self._following and self.page.numbers:
            self._turn(after=self.page.numbers[0] + 1)

    def scroll(self, percent: float) -> None:
        """To where so many per cent of the recording are older."""
        if percent >= 100:
            self._wish(_following=True, _asking=self._filter)
            return
        first, total = self.page.first, self.page.total
        self._turn(before=first + max(traffic.ROWS, round((total - first) * percent / 100)))

    def filter(self, chosen: Mapping[str, str]) -> None:
        """Only some exchanges, the newest of them."""
        wanted = traffic.filters(chosen)
        self._wish(_filter=wanted, _following=True, _asking=wanted)

    def _turn(self, **where: int) -> None:
        self._wish(_following=False, _asking=structs.replace(self._filter, **where))

    # -- looks

    def look(self) -> None:
        """Ask the session for what is to be shown."""
        snapshot, depth = self._session.snapshot(_LINES), self._session.depth
        with self._lock:
            if self._over:
                return
            self.snapshot, self.depth, self.trouble = snapshot, depth, ""
            self.pulse.add(snapshot)
        self._noted(self._page_read)
        self._noted(self._chosen_read)

    def warm(self) -> None:
        """Have the session find where all that was recorded before lies: the first click need not wait for that."""
        if self.page.lines:
            self._session.sights(*traffic.key(self.page.lines[-1]))

    def last_look(self) -> None:
        """One more; none that began before is heeded then."""
        self.look()
        with self._lock:
            self._over = True

    def answer(self) -> None:
        """What the user waits for, and nothing else: the page that was turned to, the exchange that was chosen."""
        if self._asking is not None:
            self._noted(self._page_read)
        self._noted(self._chosen_read)

    def _noted(self, read: Callable[[], _Read]) -> None:
        """Take what was read, unless the user wished something meanwhile: that is being answered then."""
        wishes = self._wishes
        found = read()
        with self._lock:
            if wishes == self._wishes and not self._over:
                self._take(found)

    def _page_read(self) -> _Read:
        count = views.requests(self.snapshot)
        asking, following = self._asking, self._following
        if asking is None and following and count != self._seen:
            asking = self._filter
        if asking is None:
            return {}
        page = self._session.lines(asking)
        if asking.after is not None and len(page.lines) < traffic.ROWS:
            following, page = True, self._session.lines(self._filter)
        return {"page": page, "_asking": None, "_following": following, "_seen": count}

    def _chosen_read(self) -> _Read:
        """What the view that is open needs of the chosen exchange, or of the newest."""
        if self.view == "Exchange":
            return self._row_read()
        return self._sights_read() if self.view == "Side by side" else {}

    def _sights_read(self) -> _Read:
        last, chosen = self.snapshot.last, self.chosen
        if chosen is None:
            found: tuple[Sight, ...] = (last,) if last else ()
            if last and self.snapshot.status.get("shadows"):
                found = self._session.sights(last.exchange_id, last.part) or found
            return {"sights": found}
        before, tries = self._sighted
        tries = 0 if before != chosen else tries + 1
        noted: _Read = {"_sighted": (chosen, tries)}
        return noted | ({"sights": self._session.sights(*chosen)} if tries <= _TRIES else {})

    def _row_read(self) -> _Read:
        newest = next(iter(self.page.lines), None)
        wanted = self.chosen or (traffic.key(newest) if newest else None)
        if wanted == self._row_of:
            return {}
        return {"row": None if wanted is None else self._session.row(*wanted), "_row_of": wanted}

    # -- what is seen

    @property
    def sight(self) -> Sight | None:
        """The order that is shown."""
        named = (sight for sight in self.sights if order_name(sight) == self.order)
        return next(named, next(iter(self.sights), None))

    @property
    def orders(self) -> tuple[str, ...]:
        """Whose orders there are of this search."""
        return tuple(dict.fromkeys(map(order_name, self.sights))) or ("served",)

    @property
    def percent(self) -> float:
        """Where the page stands: 100 is the newest."""
        page = self.page
        if self._following or not page.numbers or page.total <= page.first:
            return 100.0
        return min(99.99, round(100 * (page.numbers[0] + 1 - page.first) / (page.total - page.first), 2))

    def table(self) -> str:
        """The page of exchanges."""
        page = self.page
        nothing = "no exchanges yet: send a search to the address above"
        if page.total > page.first and self._filter != traffic.filters({}):
            nothing = "no exchange of this kind"
        place = traffic.where(page.numbers, page.first, page.total)
        shown = self.chosen or (self._key_of_sight() if self._following else None)
        return traffic.table(page.lines, shown, nothing, place)

    def _key_of_sight(self) -> Key | None:
        sight = self.sight
        return (sight.exchange_id, sight.part) if sight else None

    def header(self, notice: str, *, loading: bool) -> str:
        """The state."""
        return header.header(self.snapshot, self.pulse, notice=notice, trouble=self.trouble, loading=loading)

    def side(self) -> str:
        """The chosen search side by side."""
        nothing = "no reranked search yet" if self.chosen is None else "this exchange has no recorded order of hits"
        return sides.side_by_side(self.sight, nothing)

    def exchange(self) -> str:
        """The chosen exchange."""
        return detail.exchange(self.row, self._session.url)


def order_name(sight: Sight) -> str:
    """How an order is called in the dropdown: ``served``, ``shadow bm25``."""
    return "served" if sight.role == "served" else views.plain(f"{sight.role} {sight.model or ''}", 60)
