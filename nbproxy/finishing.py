"""From what the event loop handed over to what may be stored: completed, redacted, or withheld. No I/O.

Code of others runs here (``Exchange.complete``, the user's ``redact``): whatever it raises is reported, and costs
at most the row that it concerns.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from msgspec.structs import replace as replaced

from .exchange import Exchange
from .ranking import Ranking
from .redact import redact_head, redact_target

OnError = Callable[[str, str | None, BaseException], object]
Redact = Callable[[Exchange], Exchange]


def finish(exchange: Exchange, redact: Redact | None, report: OnError) -> list[Exchange]:
    """The exchange as it is stored, and after it its parts: each of them redacted on its own.

    One whose ``complete`` fails is kept as it is; one whose ``redact`` fails keeps only what :func:`withheld` leaves.
    """
    if exchange.complete is not None:
        exchange = replaced(_completed(exchange, report), complete=None)
    rows = [replaced(exchange, parts=()), *exchange.parts] if exchange.parts else [exchange]
    rows = [without_credentials(row) for row in rows]
    return rows if redact is None else [_redacted(row, redact, report) for row in rows]


def late(
    exchange_id: str,
    part: int | None,
    query_id: str | None,
    query: str | None,
    ranking: Ranking,
    started: int = 0,
) -> Exchange:
    """An exchange that only carries a ranking which came after the exchange of this id was recorded."""
    return Exchange(
        exchange_id=exchange_id,
        part=part,
        started=started,
        method="",
        target="",
        route="search",
        query_id=query_id,
        query=query,
        rankings=(ranking,),
    )


def without_credentials(exchange: Exchange) -> Exchange:
    """Head lines and target redacted (the same object if there was nothing to redact)."""
    target = redact_target(exchange.target)
    request, response = redact_head(exchange.request_head), redact_head(exchange.response_head)
    if target is exchange.target and request is exchange.request_head and response is exchange.response_head:
        return exchange
    return replaced(exchange, target=target, request_head=request, response_head=response)


def withheld(exchange: Exchange) -> Exchange:
    """What is left where redaction failed: no body, header, parameter, query or text; numbers and ids stay."""
    return replaced(
        without_bodies(exchange),
        target=exchange.target.partition("?")[0],
        request_head=b"",
        response_head=b"",
        query=None,
        rankings=tuple(_without_texts(ranking) for ranking in exchange.rankings),
    )


def without_bodies(exchange: Exchange) -> Exchange:
    """As views keep it: no bodies, and no documents that a hit's ``source`` may hold."""
    return replaced(
        exchange,
        request_body=None,
        response_body=None,
        upstream_request_body=None,
        upstream_response_body=None,
        rankings=tuple(_without_sources(ranking) for ranking in exchange.rankings),
    )


def _completed(exchange: Exchange, report: OnError) -> Exchange:
    assert exchange.complete is not None
    try:
        done = exchange.complete(exchange)
        if not isinstance(done, Exchange):
            raise TypeError(f"complete returned {type(done).__name__}, not an Exchange")
    except BaseException as error:  # a SystemExit of theirs must not end the recorder's thread
        report("complete", exchange.exchange_id, error)
        return exchange
    return done


def _redacted(exchange: Exchange, redact: Redact, report: OnError) -> Exchange:
    try:
        clean = redact(exchange)
        if not isinstance(clean, Exchange):
            raise TypeError(f"redact returned {type(clean).__name__}, not an Exchange")
    except BaseException as error:
        report("redact", exchange.exchange_id, error)
        return withheld(exchange)
    return clean


def _without_sources(ranking: Ranking) -> Ranking:
    if all(hit.source is None for hit in ranking.hits):
        return ranking
    return replace(ranking, hits=tuple(replaced(hit, source=None) for hit in ranking.hits))


def _without_texts(ranking: Ranking) -> Ranking:
    return replace(ranking, hits=tuple(replaced(hit, text=None, source=None) for hit in ranking.hits))
