"""The nouns of information retrieval, with no JSON and no HTTP in them."""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, runtime_checkable

import msgspec

Role = Literal["served", "shadow", "replay"]


class Hit(msgspec.Struct, frozen=True, gc=False):
    """One returned document. A struct, as a frozen dataclass takes eight times as long to make, and searches have
    hundreds; ``msgspec.structs.replace`` (from Python 3.13 on ``copy.replace``) changes one. The garbage collector does
    not look into it: it is in no cycle unless somebody puts it into its own source.

    :ivar index: the index that holds it; with ``doc_id`` its identity.
    :ivar rank: upstream's, absolute, from 1 (the offset is counted).
    :ivar score: upstream's, None where it gave none.
    :ivar text: the exact string a model reads; None: the document has none.
    :ivar source: the document's fields (``_source``), for callables that want more than text.
    """

    index: str | None
    doc_id: str | None
    rank: int
    score: float | None = None
    text: str | None = None
    source: Any = None

    def __repr__(self) -> str:
        """Without the source, which may be long."""
        shown = ((name, getattr(self, name)) for name in self.__struct_fields__ if name != "source")
        return f"Hit({', '.join(f'{name}={value!r}' for name, value in shown)})"


@dataclass(frozen=True, slots=True)
class Search:
    """A recognised search.

    :ivar query: its text.
    :ivar offset: the first hit asked for, from 0.
    :ivar size: how many hits the client wants.
    :ivar fields: the fields it searched, boosts removed, wildcards kept; empty: no particular ones.
    :ivar index: the index expression of the path as written; None: none.
    :ivar ubi_query_id: the User Behavior Insights id of this search event.
    """

    query: str
    offset: int = 0
    size: int = 10
    fields: tuple[str, ...] = ()
    index: str | None = None
    ubi_query_id: str | None = None


@dataclass(frozen=True, slots=True)
class Teams:
    """Whose each hit of a merged order is (see :mod:`nbproxy.merging`).

    :ivar a, b: name and fingerprint of the two models.
    :ivar letters: ``a`` or ``b`` for each rank from 1; ranks beyond it are nobody's.
    :ivar propensities: of each of these ranks.
    """

    method: str
    a: tuple[str, str]
    b: tuple[str, str]
    letters: str
    propensities: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Ranking:
    """One system's order of one search's hits: what becomes rows of ``session.hits``.

    ``hits``, ``scores``, ``ranks`` and ``returned`` run in parallel, in upstream's order.

    :ivar scores: the model's, None where the model gave none.
    :ivar ranks: the place in this order, absolute, from 1.
    :ivar returned: whether the client got the hit.
    :ivar teams: of an interleaving's order.
    :ivar late: a model's that was to be merged with another's, and missed the deadline.
    """

    role: Role
    model: str | None
    model_fingerprint: str | None
    hits: tuple[Hit, ...]
    scores: tuple[float | None, ...]
    ranks: tuple[int, ...]
    returned: tuple[bool, ...]
    teams: Teams | None = None
    late: bool = False


class Model(Protocol):
    """What can serve: a :class:`Reranker`, or a merger of two."""

    @property
    def name(self) -> str: ...

    @property
    def fingerprint(self) -> str: ...


@runtime_checkable
class Reranker(Protocol):
    """Scores a query's hits, higher is better.

    ``score`` returns one finite real number for each hit, in the order of ``hits``.

    Two more methods are used where there are any: ``score_many([(query, hits), …])``, one list of scores for each
    search, gets several searches that wait at once, if that takes less time than one after the other; ``warm()`` is
    called before the model serves.
    """

    @property
    def name(self) -> str: ...

    @property
    def fingerprint(self) -> str: ...

    def score(self, query: str, hits: Sequence[Hit]) -> Sequence[float]: ...


def readable(text: str) -> str:
    """The text as tokenizers, JSON and Arrow take it: half a character, which JSON can write and UTF-8 cannot, becomes
    U+FFFD; two halves that belong together become the character that they meant.

    >>> readable("a" + chr(0xD800)) == "a" + chr(0xFFFD)
    True
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def normalized(query: str) -> str:
    """A query text as two searches are compared by: NFC, casefolded, white space collapsed and stripped."""
    return " ".join(unicodedata.normalize("NFC", query).casefold().split())


def query_hash(query: str) -> str:
    """The ``query_id`` of a search that brings none: ``q-`` and 16 hex digits of SHA-256 (contract §3)."""
    return "q-" + hashlib.sha256(normalized(query).encode("utf-8", "surrogatepass")).hexdigest()[:16]


def reorder(scores: Sequence[float | None]) -> list[int]:
    """Positions best first: by score, equal scores in the order given, unscored ones last in the order given.

    >>> reorder([0.1, None, 0.9, 0.1])
    [2, 0, 3, 1]
    """
    return sorted(range(len(scores)), key=lambda i: (scores[i] is None, -(scores[i] or 0.0)))
