"""Finished exchanges and rankings as Arrow record batches: the rows of ``session.frame`` and ``session.hits``.

Laws: whatever text or number a client or a model sent, a batch comes out: lone surrogates become U+FFFD (pairs
become the character that they meant), what does not fit its column's type becomes null. Exchanges come redacted.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from itertools import chain
from operator import attrgetter
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa

from .clicks import Click
from .exchange import Exchange
from .frames import BODY, EVENT_COLUMNS, FRAME_COLUMNS, HITS_COLUMNS, Column, schema
from .ranking import Ranking, readable
from .redact import redact_head

FRAME_SCHEMA = schema(FRAME_COLUMNS)
HITS_SCHEMA = schema(HITS_COLUMNS)
EVENT_SCHEMA = schema(EVENT_COLUMNS)

_RENAMED = {"request_headers": "request_head", "response_headers": "response_head"}
Failures = (
    ValueError,
    TypeError,
    OverflowError,
)  # what pyarrow raises over a value (UnicodeEncodeError is one)


def header_lines(head: bytes) -> str:
    """The lines ``Name: value`` of a head, joined by newlines; bytes as Latin-1."""
    lines = head.decode("latin-1").strip("\r\n").replace("\r\n", "\n").split("\n")
    return "\n".join([line if ": " in line else line.replace(":", ": ", 1) for line in lines])


def recorded_lines(head: bytes) -> str:
    """The same without credentials: as they are stored."""
    return header_lines(redact_head(head))


_CONVERTED = {"request_headers": header_lines, "response_headers": header_lines}
_read_exchange = attrgetter(*(_RENAMED.get(name, name) for name in FRAME_COLUMNS))


def frame_batch(exchanges: Iterable[Exchange]) -> Any:
    """A record batch of one row per exchange, in the order given."""
    columns = dict(zip(FRAME_COLUMNS, zip(*map(_read_exchange, exchanges), strict=True), strict=True))
    for name, convert in _CONVERTED.items():
        columns[name] = tuple(map(convert, columns[name]))
    return _batch(columns, FRAME_COLUMNS, FRAME_SCHEMA)


def merged(rows: Any, others: Any, places: Sequence[int]) -> Any:
    """One batch of two: each of ``others`` before the one of ``rows`` whose number is its place."""
    keys = np.concatenate([2 * np.arange(rows.num_rows) + 1, 2 * np.asarray(places)])
    order = pa.array(np.argsort(keys, kind="stable"))
    return pa.Table.from_batches([rows, others]).take(order).combine_chunks().to_batches()[0]


def hits_batch(exchanges: Iterable[Exchange]) -> Any:
    """A record batch of one row per hit of each ranking, in the order given, hits in upstream's order."""
    pairs = [(exchange, ranking) for exchange in exchanges for ranking in exchange.rankings]
    counts = np.fromiter((len(ranking.hits) for _, ranking in pairs), dtype=np.int64, count=len(pairs))
    repeats = pa.array(np.repeat(np.arange(len(pairs)), counts))
    once, each = _once(pairs), _each([ranking for _, ranking in pairs])
    arrays = [
        array_of(once[name], column).take(repeats) if name in once else array_of(each[name], column)
        for name, column in HITS_COLUMNS.items()
    ]
    return pa.record_batch(arrays, schema=HITS_SCHEMA)


def _once(pairs: Sequence[tuple[Exchange, Ranking]]) -> dict[str, list[Any]]:
    """The columns with one value for a whole ranking; Arrow repeats it."""
    return {
        "exchange_id": [exchange.exchange_id for exchange, _ in pairs],
        "part": [exchange.part for exchange, _ in pairs],
        "query_id": [exchange.query_id for exchange, _ in pairs],
        "query": [exchange.query for exchange, _ in pairs],
        "role": [ranking.role for _, ranking in pairs],
        "model": [ranking.model for _, ranking in pairs],
        "model_fingerprint": [ranking.model_fingerprint for _, ranking in pairs],
    }


def _each(rankings: Sequence[Ranking]) -> dict[str, list[Any]]:
    """The columns with a value of their own for every hit."""
    hits = [hit for ranking in rankings for hit in ranking.hits]
    return {
        "index": [hit.index for hit in hits],
        "doc_id": [hit.doc_id for hit in hits],
        "original_rank": [hit.rank for hit in hits],
        "original_score": [hit.score for hit in hits],
        "score": list(chain.from_iterable(ranking.scores for ranking in rankings)),
        "rank": list(chain.from_iterable(ranking.ranks for ranking in rankings)),
        "returned": list(chain.from_iterable(ranking.returned for ranking in rankings)),
        "text": [hit.text for hit in hits],
    }


def has_events(row: Exchange) -> bool:
    """Whether :func:`events_batch` has something to say of it."""
    return bool(row.clicks) or any(ranking.teams is not None or ranking.late for ranking in row.rankings)


def events_batch(exchanges: Iterable[Exchange]) -> Any:
    """A record batch of one row for each merged ranking, each late one of two, and each click, in the order given."""
    rows = [
        row
        for exchange in exchanges
        for row in (*_merges(exchange), *_lates(exchange), *map(_clicked, exchange.clicks))
    ]
    return _batch({name: [row.get(name) for row in rows] for name in EVENT_COLUMNS}, EVENT_COLUMNS, EVENT_SCHEMA)


def _merges(exchange: Exchange) -> list[dict[str, Any]]:
    return [
        {
            "event": "merge",
            "exchange_id": exchange.exchange_id,
            "part": exchange.part,
            "method": teams.method,
            **dict(zip(("a", "a_fingerprint"), teams.a, strict=True)),
            **dict(zip(("b", "b_fingerprint"), teams.b, strict=True)),
            "teams": teams.letters,
            "propensities": " ".join(f"{value:.17g}" for value in teams.propensities),
        }
        for teams in (ranking.teams for ranking in exchange.rankings)
        if teams is not None
    ]


def _lates(exchange: Exchange) -> list[dict[str, Any]]:
    said = {"event": "late", "exchange_id": exchange.exchange_id, "part": exchange.part}
    lates = [ranking for ranking in exchange.rankings if ranking.late]
    return [{**said, "a": ranking.model, "a_fingerprint": ranking.model_fingerprint} for ranking in lates]


def _clicked(click: Click) -> dict[str, Any]:
    return {"event": "click", **msgspec.structs.asdict(click)}


def _batch(values: Mapping[str, Sequence[Any]], columns: Mapping[str, Column], of: Any) -> Any:
    return pa.record_batch([array_of(values[name], column) for name, column in columns.items()], schema=of)


def bodies_array(sizes: Any, pieces: Sequence[memoryview] | None, before: Any = 0) -> Any:
    """An array of ``BODY``: bodies of so many bytes, null where there are none, that lie one after the other in
    ``pieces``; None: they are gone. ``before``: so many bytes before each are not part of it."""
    if pieces is None:
        return pa.nulls(len(sizes), BODY.arrow)
    data = pieces[0] if len(pieces) == 1 else b"".join(pieces)
    if not np.any(before):
        return _bodies(sizes > 0, ends(sizes), data)
    both = np.column_stack([before, sizes]).ravel()
    return _bodies(both > 0, ends(both), data).take(pa.array(np.arange(1, len(both), 2)))


def _bodies_of(values: Sequence[bytes | None]) -> Any:
    """An array of ``BODY``, copied once."""
    sizes = np.fromiter([len(value or b"") for value in values], dtype=np.int64, count=len(values))
    known = np.fromiter([value is not None for value in values], dtype=bool, count=len(values))
    return _bodies(known, ends(sizes), b"".join(filter(None, values)))


def _bodies(known: Any, offsets: Any, data: bytes | memoryview) -> Any:
    parts = [np.packbits(known, bitorder="little"), offsets, data]
    return pa.Array.from_buffers(BODY.arrow, len(known), [pa.py_buffer(part) for part in parts])


def ends(sizes: Any) -> Any:
    """Offsets: where each of these begins, and the last ends."""
    offsets = np.zeros(len(sizes) + 1, dtype=np.int64)
    np.cumsum(sizes, out=offsets[1:])
    return offsets


_PLAIN = str | int | None  # not floats, of which one may be a NaN, nor what has no hash


def array_of(values: Sequence[Any], column: Column) -> Any:
    """An Arrow array; the slow way only if one of the values does not fit."""
    if values and isinstance(values[0], _PLAIN) and values.count(values[0]) == len(values):
        return repeated(values[0], len(values), column.arrow)
    try:
        return _bodies_of(values) if column is BODY else pa.array(values, column.arrow)
    except Failures:
        return pa.array([_fitting(value, column.arrow) for value in values], column.arrow)


@lru_cache(maxsize=256)
def repeated(value: Any, n: int, kind: Any) -> Any:
    """The same ``n`` times: so are most columns of most batches."""
    if value is None:
        return pa.nulls(n, kind)
    try:
        return pa.repeat(pa.scalar(value, kind), n)
    except Failures:
        return pa.repeat(pa.scalar(_fitting(value, kind), kind), n)


def _fitting(value: Any, kind: Any) -> Any:
    """``value`` if it fits, else mended text, else None."""
    if isinstance(value, str) and pa.types.is_large_string(kind):
        return readable(value)
    try:
        return pa.scalar(value, kind).as_py()
    except Failures:
        return None
