"""What a view or a command line may ask of a running proxy, in this process or in another.

A view looks at a :class:`Snapshot` and acts through :class:`Controls`; it never reaches into the proxy.
"""

from __future__ import annotations

from typing import Any, Literal, Protocol

import msgspec

State = Literal["starting", "running", "stopping", "stopped", "failed"]


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """One hit of a reranked search, as a view shows it: ``original_rank`` and ``rank`` count from 1."""

    doc_id: str | None
    index: str | None
    original_rank: int
    rank: int
    score: float | None
    text: str | None
    returned: bool


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """One exchange, as a view lists it. ``started`` is epoch microseconds."""

    exchange_id: str
    part: int | None = None
    started: int
    method: str
    target: str
    route: str
    status: int | None
    query: str | None
    model: str | None
    reranked: bool
    reason: str | None
    total_ms: float | None
    upstream_ms: float | None
    rerank_ms: float | None
    error: str | None


class Sight(msgspec.Struct, frozen=True, kw_only=True):
    """One search side by side: its hits in upstream's order, each with its place in a model's.

    :ivar role: ``served``, ``shadow`` or ``replay``.
    """

    exchange_id: str
    query: str | None
    model: str | None
    places: tuple[Place, ...]
    part: int | None = None
    role: str = "served"


class Asking(msgspec.Struct, frozen=True, kw_only=True):
    """Which recorded exchanges a view lists; "" and None: whichever.

    :ivar before: only rows whose number (in the order of recording) is smaller, the newest of them first.
    :ivar after: only rows from this number on, the oldest of them; ``before`` is not looked at then.
    :ivar count: how many at most, 1 to 1,000.
    :ivar status: ``404`` or ``4xx``.
    :ivar reason: why it was not reranked; ``reranked``: those that were.
    :ivar text: stands in the query, the target or the error, in whatever case.
    """

    before: int | None = None
    after: int | None = None
    count: int = 50
    route: str = ""
    status: str = ""
    reason: str = ""
    model: str = ""
    text: str = ""


class Listed(msgspec.Struct, frozen=True, kw_only=True):
    """A page of recorded exchanges, newest first.

    :ivar numbers: of the lines, in the order of recording.
    :ivar begin: the number from which on was looked; ``before=begin`` goes on from there.
    :ivar first: the smallest number that there is.
    :ivar total: the number after the newest row.
    """

    lines: tuple[Line, ...]
    numbers: tuple[int, ...]
    begin: int
    first: int
    total: int


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """A running proxy at one moment.

    :ivar status: what the status route answers (contract §7).
    :ivar lines: the newest exchanges, newest first.
    :ivar last: the last reranked search, or None.
    :ivar models: what ``set_model`` takes.
    :ivar errors: the newest errors, newest last, one line each.
    """

    status: dict[str, Any]
    lines: tuple[Line, ...] = ()
    last: Sight | None = None
    models: tuple[str, ...] = ()
    errors: tuple[str, ...] = ()


class Controls(Protocol):
    """What a view may ask."""

    @property
    def url(self) -> str: ...

    @property
    def name(self) -> str: ...

    def snapshot(self, lines: int = 50) -> Snapshot:
        """The proxy now, with at most ``lines`` exchanges."""
        ...

    def sight(self, exchange_id: str) -> Sight | None:
        """One recorded search side by side, None if it is unknown or was not a search."""
        ...

    def sights(self, exchange_id: str, part: int | None = None) -> tuple[Sight, ...]:
        """Every recorded order of one search, served first; reads the recording, so that old ones are found too."""
        ...

    def lines(self, asking: Asking) -> Listed:
        """A page of recorded exchanges, without those of the views themselves."""
        ...

    def set_model(self, name: str | None) -> None:
        """Serve the model of this name (one of ``Snapshot.models``), or none; blocks until it is live."""
        ...
