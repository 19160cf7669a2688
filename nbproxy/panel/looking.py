"""What a panel looks at: which page of exchanges, which search, which view of it; facts only, no widgets.

Laws: what the user wishes is noted by the callbacks, whichever thread they are on, by replacing one reference each;
only :meth:`Looking.look`, on the panel's own thread, asks the session. What is asked is bounded: one page, one
exchange, one search's orders; and it is asked again only where something may have changed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from msgspec import structs

from .. import views
from ..controls import Asking, Controls, Listed, Sight, Snapshot
from . import detail, header, sides, traffic
from .header import Pulse
from .traffic import Key

_LINES = 8  # of a snapshot: enough to have one that is not a view's own
_TRIES = 20  # looks that a chosen search is given until its shadows are recorded
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
        self.page = _EMPTY
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

    # -- what the user does

    def choose(self, place: int) -> Key | None:
        """Select the exchange in a row of the table; the table stays where it is then."""
        if place < len(self.page.lines):
            self._following, self.chosen = False, traffic.key(self.page.lines[place])
        return self.chosen

    def newest(self) -> None:
        """Follow the newest again."""
        self.chosen, self._following, self._asking = None, True, self._filter

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
            self._following, self._asking = True, self._filter
            return
        first, total = self.page.first, self.page.total
        self._turn(before=first + max(traffic.ROWS, round((total - first) * percent / 100)))

    def filter(self, chosen: Mapping[str, str]) -> None:
        """Only some exchanges, the newest of them."""
        self._filter = traffic.filters(chosen)
        self._following, self._asking = True, self._filter

    def _turn(self, **where: int) -> None:
        self._following, self._asking = False, structs.replace(self._filter, **where)

    # -- looks

    def look(self) -> None:
        """Ask the session for what is to be shown."""
        self.snapshot = self._session.snapshot(_LINES)
        self.depth = self._session.depth
        self.pulse.add(self.snapshot)
        self._read_page()
        self.read_chosen()
        self.trouble = ""

    def read_chosen(self) -> None:
        """What the view that is open needs of the chosen exchange, or of the newest."""
        if self.view == "Exchange":
            self._read_row()
        elif self.view == "Side by side":
            self._read_sights()

    def _read_page(self) -> None:
        count = views.requests(self.snapshot)
        asking, self._asking = self._asking, None
        if asking is None and self._following and count != self._seen:
            asking = self._filter
        if asking is None:
            return
        self._seen = count
        page = self._session.lines(asking)
        if asking.after is not None and len(page.lines) < traffic.ROWS:
            self._following, page = True, self._session.lines(self._filter)
        self.page = page

    def _read_sights(self) -> None:
        last = self.snapshot.last
        if self.chosen is None:
            self.sights = (last,) if last else ()
            if last and self.snapshot.status.get("shadows"):
                self.sights = self._session.sights(last.exchange_id, last.part) or self.sights
            return
        before, tries = self._sighted
        tries = 0 if before != self.chosen else tries + 1
        self._sighted = self.chosen, tries
        if tries <= _TRIES:
            self.sights = self._session.sights(*self.chosen)

    def _read_row(self) -> None:
        newest = next(iter(self.page.lines), None)
        wanted = self.chosen or (traffic.key(newest) if newest else None)
        if wanted != self._row_of:
            self.row = None if wanted is None else self._session.row(*wanted)
            self._row_of = wanted

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
