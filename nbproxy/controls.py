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
    """One search side by side: its hits in upstream's order, each with its place in the served order."""

    exchange_id: str
    query: str | None
    model: str | None
    places: tuple[Place, ...]


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

    def set_model(self, name: str | None) -> None:
        """Serve the model of this name (one of ``Snapshot.models``), or none; blocks until it is live."""
        ...
