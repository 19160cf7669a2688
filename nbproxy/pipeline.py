"""What to do with a search, and what to answer from its scores. Pure: no I/O, no clock, no threads.

The policy of failing open lives here: whatever goes wrong with a model, the client gets upstream's order, and the
exchange says why (contract §4's reasons).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from .content import TooLarge, Undecodable, decode, known
from .dialects import Answer, Dialect, Part, Unreadable, Widened, splice
from .errors import RerankFault
from .messages import Request
from .ranking import Hit, Model, Ranking, Role, Search, query_hash, reorder
from .settings import Settings


@dataclass(frozen=True, slots=True)
class Plan:
    """A search that will be widened and reranked.

    :ivar unchanged: upstream is asked for what the client asked for, so that all that comes is the client's page.
    """

    search: Search
    widened: Widened
    unchanged: bool

    @property
    def request(self) -> Request:
        """What goes upstream."""
        return self.widened.request


@dataclass(frozen=True, slots=True)
class Alone:
    """A search that is passed on untouched, and why.

    :ivar parts: the reason of each search in it, where it holds several.
    :ivar fault: code of the user's that failed.
    """

    reason: str
    parts: tuple[str, ...] = ()
    fault: RerankFault | None = None


@dataclass(frozen=True, slots=True)
class Several:
    """A request of several searches, of which some will be reranked.

    :ivar asked: the client's, without its content coding.
    :ivar plans: what to do with each of ``parts``.
    :ivar request: what goes upstream.
    """

    asked: Request
    parts: tuple[Part, ...]
    plans: tuple[Plan | Alone, ...]
    request: Request


def plan(dialect: Dialect, request: Request, settings: Settings) -> Plan | Several | Alone:
    """What to do with a request on a search's route (its body decoded; see :func:`plain_request`)."""
    parts = parts_of(dialect, request)
    if parts is None:
        return _plan(dialect, request, settings)
    if isinstance(parts, str):
        return Alone(parts)
    plans = tuple(_plan(dialect, part.request, settings) for part in parts)
    reasons = tuple(one.reason for one in plans if isinstance(one, Alone))
    if len(reasons) == len(plans):
        fault = next((one.fault for one in plans if isinstance(one, Alone) and one.fault), None)
        return Alone(reasons[0] if reasons else "no-query", reasons, fault)
    return Several(request, parts, plans, _widened_whole(request, parts, plans))


def faults(found: Plan | Several | Alone) -> list[RerankFault]:
    """What code of the user's did wrong while a request was read."""
    plans = found.plans if isinstance(found, Several) else (found,)
    return [one.fault for one in plans if isinstance(one, Alone) and one.fault is not None]


def quick(dialect: Dialect) -> bool:
    """Whether a dialect may be asked on the event loop."""
    return getattr(dialect, "quick", True)  # a dialect of the user's own need not say


def parts_of(dialect: Dialect, request: Request) -> tuple[Part, ...] | str | None:
    """The searches of a request that holds several, why it is left alone, or None: it is one search."""
    read = getattr(dialect, "parts", None)  # a dialect of the user's own need not have it
    return read(request) if read is not None else None


def _widened_whole(request: Request, parts: Sequence[Part], plans: Sequence[Plan | Alone]) -> Request:
    """The request with the bodies of the searches that are widened."""
    widened = [(part, one.request) for part, one in zip(parts, plans, strict=True) if isinstance(one, Plan)]
    for part, new in widened:
        if new.target != part.request.target:
            raise ValueError(f"a search among several cannot change its target: {new.target}")
    spans, bodies = [part.span for part, _ in widened], [new.body for _, new in widened]
    return request.replace(body=splice.set_spans(request.body, spans, bodies))


def _plan(dialect: Dialect, request: Request, settings: Settings) -> Plan | Alone:
    try:
        search = dialect.read_search(request)
    except RerankFault as fault:
        return Alone("no-query", fault=fault)
    if not isinstance(search, Search):
        return Alone("beyond-depth" if _is_beyond(dialect, request, search, settings.depth) else search)
    if search.offset >= settings.depth:
        return Alone("beyond-depth")
    widened = dialect.widen(request, search, settings.depth, _whole if _reads_source(settings) else settings.fields)
    return Plan(search, widened, unchanged=widened.request is request)


def _whole(hit: Hit) -> str | None:
    """A setting of ``fields`` that may read anything, so that dialects ask for the whole source. It is never called."""
    return hit.text


def _reads_source(settings: Settings) -> bool:
    """Whether a model reads more of a document than its text: a callable that takes hits, ``nbproxy.field``."""
    models = (settings.model, *settings.shadow.values())
    return any(getattr(model, "reads_source", False) for model in models)


# Contract §4 names the first reason that applies, and beyond-depth comes before these.
_AFTER_BEYOND = frozenset(["suggest-only", "aggregations-only", "match-all", "no-query"])


def _is_beyond(dialect: Dialect, request: Request, reason: str, depth: int) -> bool:
    window = dialect.read_window(request) if reason in _AFTER_BEYOND else None
    return window is not None and window[0] >= depth


# Contract §4: they come before too-large, and a request's head tells.
_BEFORE_TOO_LARGE = frozenset(["format", "filter-path"])


def before_too_large(dialect: Dialect, head: Request) -> str | None:
    """Why a search whose body is too large to read would be left alone anyway; None: no other reason is known."""
    if not known(head.headers.get("content-encoding")):
        return "encoding"
    if not quick(dialect):
        return None
    parts = parts_of(dialect, head)
    found = dialect.read_search(head) if parts is None else parts
    return found if isinstance(found, str) and found in _BEFORE_TOO_LARGE else None


def plain_request(request: Request, limit: int | None) -> Request | Alone:
    """The request with its body's content coding undone, or why it is left alone."""
    coding = request.headers.get("content-encoding")
    if coding is None or not request.body:
        return request
    try:
        body = decode(request.body, coding, limit)
    except Undecodable:
        return Alone("encoding")
    except TooLarge:
        return Alone("too-large")
    return Request(request.method, request.target, request.headers.without("content-encoding"), body)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a search is answered with: ``order`` are positions in the answer's hits, already cut to the page.

    :ivar others: rankings beside the served one: of the models that an interleaving merges.
    """

    order: tuple[int, ...]
    ranking: Ranking
    reranked: bool
    reason: str | None = None
    error: str | None = None
    others: tuple[Ranking, ...] = ()


def unranked(
    answer: Answer,
    search: Search,
    model: Model | None,
    reason: str | None,
    error: str | None = None,
    *,
    reranked: bool = False,
    score: float | None = None,
) -> Outcome:
    """Upstream's order, cut to the page; ``score`` stands for each hit."""
    page = range(search.offset, min(search.offset + search.size, len(answer.hits)))
    ranking = in_order(answer.hits, page, model, score=score)
    return Outcome(tuple(page), ranking, reranked, reason, error)


def in_order(hits: Sequence[Hit], page: range, model: Model | None, *, score: float | None = None) -> Ranking:
    """Hits as upstream ranked them; those in ``page`` (positions) were returned."""
    return Ranking(
        role="served",
        model=model.name if model else None,
        model_fingerprint=model.fingerprint if model else None,
        hits=tuple(hits),
        scores=(score,) * len(hits),
        ranks=tuple(hit.rank for hit in hits),
        returned=tuple(i in page for i in range(len(hits))),
    )


def candidates(answer: Answer, depth: int) -> list[int]:
    """Positions of the hits that a model is given: the first ``depth`` that have a text."""
    return [i for i, hit in enumerate(answer.hits[:depth]) if hit.text is not None]


def full_order(scores: Sequence[float | None], depth: int) -> list[int]:
    """Positions in their new order: hits 0 … depth-1 by score, those without one last; beyond, as they are."""
    return [*reorder(scores[:depth]), *range(min(depth, len(scores)), len(scores))]


def all_ranked(
    answer: Answer,
    depth: int,
    model: Model,
    positions: Sequence[int],
    scores: Sequence[float],
    role: Role = "served",
) -> Ranking:
    """The whole window in the order of ``scores`` (of the hits at ``positions``); nothing marked as returned."""
    by_place = _placed(len(answer.hits), positions, scores)
    places = {position: rank for rank, position in enumerate(full_order(by_place, depth), 1)}
    return Ranking(
        role=role,
        model=model.name,
        model_fingerprint=model.fingerprint,
        hits=answer.hits,
        scores=tuple(math.nan if score is None and i < depth else score for i, score in enumerate(by_place)),
        ranks=tuple(places[i] for i in range(len(answer.hits))),
        returned=(False,) * len(answer.hits),
    )


def ranked(
    answer: Answer,
    search: Search,
    settings: Settings,
    model: Model,
    positions: Sequence[int],
    scores: Sequence[float],
) -> Outcome:
    """The order by ``scores`` (of the hits at ``positions``), cut to the page; ``min_score`` shortens the page."""
    by_place = _placed(len(answer.hits), positions, scores)
    order = full_order(by_place, settings.depth)[search.offset : search.offset + search.size]
    page = tuple(i for i in order if not _below(by_place[i], settings.min_score))
    shown = set(page)
    ranking = replace(
        all_ranked(answer, settings.depth, model, positions, scores),
        returned=tuple(i in shown for i in range(len(answer.hits))),
    )
    return Outcome(page, ranking, reranked=True)


def _placed(n: int, positions: Sequence[int], scores: Sequence[float]) -> list[float | None]:
    by_place: list[float | None] = [None] * n
    for position, score in zip(positions, scores, strict=True):
        by_place[position] = score
    return by_place


def _below(score: float | None, floor: float | None) -> bool:
    return floor is not None and score is not None and score < floor


def as_answered(
    dialect: Dialect, body: bytes, search: Search, settings: Settings, model: Model | None
) -> tuple[Search, Ranking | None]:
    """The hits of an answer that was passed on untouched, None where they cannot be read; and the search with what
    only the answer tells of it."""
    try:
        answer = dialect.read_hits(body, search, settings.fields, offset=search.offset)
    except (Unreadable, RerankFault):
        return search, None
    return identified(search, answer), in_order(answer.hits, range(len(answer.hits)), model)


def identified(search: Search, answer: Answer) -> Search:
    """The search with its UBI id: the request's, else the answer's."""
    return replace(search, ubi_query_id=search.ubi_query_id or answer.ubi_query_id)


def query_id(opaque_id: str | None, query: str) -> str:
    """Contract §3: the client's ``X-Opaque-Id``, else the hash of the text."""
    return opaque_id or query_hash(query)
