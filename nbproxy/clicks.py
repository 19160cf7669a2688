"""A click as it is recorded, and the body of ``POST /_nbproxy/click`` (contract §7)."""

from __future__ import annotations

import contextlib
import math
from datetime import UTC, datetime
from typing import Any, Literal

import msgspec

from .errors import ClientFault

_LONGEST = 4096  # characters of an id
_MILLISECONDS = 1e11  # epoch seconds reach this in the year 5138: what is above is JavaScript's Date.now()


class Click(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody clicked a document.

    :ivar exchange_id: of the request that told of it, not of the search.
    :ivar time: when, epoch microseconds; never after it was told.
    :ivar source: how it was told: by our route, or by a UBI event that passed through.
    :ivar query_id, ubi_query_id: of the search; one of them is there.
    :ivar internal_id: UBI's second name for the document; where it is there, either may be the search engine's.
    """

    exchange_id: str
    time: int
    source: Literal["route", "ubi"]
    doc_id: str
    query_id: str | None = None
    ubi_query_id: str | None = None
    index: str | None = None
    internal_id: str | None = None


class _Body(msgspec.Struct):
    doc_id: str | int
    query_id: str | None = None
    ubi_query_id: str | None = None
    index: str | None = None
    time: float | str | None = None


def read_click(body: bytes, exchange_id: str, arrived: float) -> Click:
    """The click that a request tells of, whatever its content type: ``navigator.sendBeacon`` sends ``text/plain``.

    :param body: JSON: ``doc_id``; ``query_id`` or ``ubi_query_id``; optionally ``index`` and ``time``.
    :param arrived: epoch seconds.
    :raises ClientFault: it tells of none; the message says what is missing.
    """
    try:
        told = msgspec.json.decode(body, type=_Body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ClientFault(
            f'the body must be JSON like {{"query_id": "…", "doc_id": "…"}} ("ubi_query_id" instead, and "index" and '
            f'"time" if you like): {error}'
        ) from None
    ids = {name: text_of(getattr(told, name)) for name in ("doc_id", "query_id", "ubi_query_id", "index")}
    if ids["doc_id"] is None or (ids["query_id"] is None and ids["ubi_query_id"] is None):
        raise ClientFault(f"a click needs doc_id, and query_id or ubi_query_id, of 1 to {_LONGEST:,} characters")
    time = arrived if told.time is None else seconds_of(told.time)
    if time is None:
        raise ClientFault(f"time must be epoch seconds or an ISO 8601 text, not {told.time!r:.60}")
    return Click(exchange_id=exchange_id, time=micros(time, arrived), source="route", **ids)  # type: ignore[arg-type]


def text_of(value: Any) -> str | None:
    """An id as text; None where it is none."""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return value if isinstance(value, str) and 0 < len(value) <= _LONGEST else None


def seconds_of(value: Any) -> float | None:
    """A time as epoch seconds: a number (seconds, or milliseconds as JavaScript has them) or an ISO 8601 text, UTC
    unless it says otherwise; None: it is no time.

    >>> seconds_of(1700000000000), seconds_of("2023-11-14T22:13:20Z")
    (1700000000.0, 1700000000.0)
    """
    if isinstance(value, str):
        with contextlib.suppress(ValueError, OverflowError):
            moment = datetime.fromisoformat(value)
            return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value) or value < 0:
        return None
    return value / 1000 if value > _MILLISECONDS else float(value)


def micros(time: float, arrived: float) -> int:
    """Epoch microseconds of a time that cannot be after ``arrived``, nor before the epoch."""
    return int(max(0.0, min(time, arrived)) * 1e6)
