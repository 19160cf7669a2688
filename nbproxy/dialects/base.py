"""What a dialect is: four pure functions that know the JSON shape of one engine's search API.

Two more are for requests that hold several searches; a dialect that derives from :class:`Dialect` need not have them.

Laws, which the pipeline relies on and the property tests hold:

1. Nothing here raises on bytes from outside: ``read_search`` gives a reason, ``read_hits`` raises :class:`Unreadable`.
   What code of the user's raises comes as a :class:`~nbproxy.errors.RerankFault`.
2. ``widen`` changes the window and what is shown of a hit, and nothing else of a request.
3. ``write_hits`` copies upstream's bytes; it never encodes a hit anew.
4. Request and answer bodies are plain JSON bytes here: content codings are undone before and put back after.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from ..messages import Request
from ..ranking import Hit, Search
from ..settings import FieldsSetting


class Unreadable(Exception):
    """An answer whose hits cannot be found safely (duplicate keys, not JSON, over-deep …); the message says why."""


@dataclass(frozen=True, slots=True)
class Widened:
    """A search asked for its first ``max(depth, offset + size)`` hits.

    :ivar request: what goes upstream; the client's own object where nothing needed changing.
    :ivar undo: the dialect's own note of what was added for the model and must be taken out of the answer
        again; None: nothing.
    """

    request: Request
    undo: Any = None


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer's hits and where their bytes lie.

    :ivar body: upstream's bytes.
    :ivar hits: in upstream's order.
    :ivar spans: (start, end) in ``body`` of each hit.
    :ivar undo: handed on from :class:`Widened`.
    :ivar ubi_query_id: the id that it gives the search event (User Behavior Insights).
    :ivar reason: why the hits stay in upstream's order although the request looked like one to rerank: what only the
        answer tells (a stored template that sorts); None: they may be reranked.
    """

    body: bytes
    hits: tuple[Hit, ...]
    spans: tuple[tuple[int, int], ...]
    undo: Any = None
    reason: str | None = None
    ubi_query_id: str | None = None


@dataclass(frozen=True, slots=True)
class Part:
    """One search of a request that holds several (``_msearch``, ``/multi-search`` …).

    :ivar request: the search as if it had come alone, which the other functions read and widen.
    :ivar span: (start, end) in the whole request's body of ``request.body``: what a widened body takes the place of.
    :ivar own: (start, end) in the whole request's body of all that is this search's own, for the record.
    :ivar index: the index expression that it names, else the path's; None: none.
    """

    request: Request
    span: tuple[int, int]
    own: tuple[int, int]
    index: str | None = None


class Dialect(Protocol):
    """One engine's search API."""

    def __hash__(self) -> int:
        return id(self)

    @property
    def name(self) -> str: ...

    @property
    def quick(self) -> bool:
        """Whether it may be asked on the event loop; False: ``read_search`` calls code of the user's."""
        return True

    def is_search(self, method: str, target: str) -> bool:
        """Whether this is a search of the dialect's, left alone or not. On the hot path: every request is asked."""
        ...

    def index_of(self, target: str) -> str | None:
        """The path's index expression as written, None for none."""
        ...

    def read_search(self, request: Request) -> Search | str:
        """The search, or the one word (contract §4) why it is left alone.

        :raises RerankFault: code of the user's failed.
        """
        ...

    def read_window(self, request: Request) -> tuple[int, int] | None:
        """(offset, size) of a request whether or not it is a search to rerank; None where they cannot be read."""
        ...

    def parts(self, request: Request) -> tuple[Part, ...] | str | None:  # noqa: ARG002
        """The searches of a request that holds several, or one word why all of it is left alone; None: it is one
        search itself. The functions below are then asked for each part."""
        return None

    def part_spans(self, body: bytes) -> Sequence[tuple[int, int]]:  # noqa: ARG002
        """Where each part's answer lies in the answer to a request that holds several, in their order.

        :raises Unreadable: they cannot be found safely.
        """
        raise Unreadable("this API has no such answers")

    def part_status(self, answer: bytes) -> int | None:  # noqa: ARG002
        """The status that a part's answer has of its own; None: the whole answer's."""
        return None

    def widen(self, request: Request, search: Search, depth: int, fields: FieldsSetting = None) -> Widened:
        """Ask for the first ``max(depth, offset + size)`` hits from 0, with the fields that the model reads."""
        ...

    def read_hits(
        self, body: bytes, search: Search, fields: FieldsSetting = None, *, offset: int = 0, undo: Any = None
    ) -> Answer:
        """The hits of an answer. ``offset`` is the first hit's place: 0 for a widened search.

        :raises Unreadable: the hits cannot be found safely.
        """
        ...

    def write_hits(self, answer: Answer, order: Sequence[int]) -> bytes:
        """Upstream's bytes with its array of hits holding ``order`` (positions in ``answer.hits``) and nothing else,
        and without what was added for the model."""
        ...
