"""Finished exchanges and rankings as Arrow record batches: the rows of ``session.frame`` and ``session.hits``.

Laws: whatever text or number a client or a model sent, a batch comes out: lone surrogates become U+FFFD (pairs
become the character that they meant), what does not fit its column's type becomes null. Nothing here redacts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from operator import attrgetter
from typing import Any

import numpy as np
import pyarrow as pa

from .exchange import Exchange
from .frames import FRAME_COLUMNS, HITS_COLUMNS, Column, schema
from .ranking import Ranking

FRAME_SCHEMA = schema(FRAME_COLUMNS)
HITS_SCHEMA = schema(HITS_COLUMNS)

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


_CONVERTED = {"request_headers": header_lines, "response_headers": header_lines}
_read_exchange = attrgetter(*(_RENAMED.get(name, name) for name in FRAME_COLUMNS))


def frame_batch(exchanges: Iterable[Exchange]) -> Any:
    """A record batch of one row per exchange, in the order given."""
    columns = dict(zip(FRAME_COLUMNS, zip(*map(_read_exchange, exchanges), strict=True), strict=True))
    for name, convert in _CONVERTED.items():
        columns[name] = tuple(map(convert, columns[name]))
    return _batch(columns, FRAME_COLUMNS, FRAME_SCHEMA)


def hits_batch(exchanges: Iterable[Exchange]) -> Any:
    """A record batch of one row per hit of each ranking, in the order given, hits in upstream's order."""
    pairs = [(exchange, ranking) for exchange in exchanges for ranking in exchange.rankings]
    counts = np.fromiter((len(ranking.hits) for _, ranking in pairs), dtype=np.int64, count=len(pairs))
    repeats = pa.array(np.repeat(np.arange(len(pairs)), counts))
    once, each = _once(pairs), _each([ranking for _, ranking in pairs])
    arrays = [
        _array(once[name], column).take(repeats) if name in once else _array(each[name], column)
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


def _batch(values: Mapping[str, Sequence[Any]], columns: Mapping[str, Column], of: Any) -> Any:
    arrays = [_array(values[name], column) for name, column in columns.items()]
    return pa.record_batch(arrays, schema=of)


def _array(values: Sequence[Any], column: Column) -> Any:
    """An Arrow array; the slow way only if one of the values does not fit."""
    try:
        return pa.array(values, column.arrow)
    except Failures:
        return pa.array([_fitting(value, column.arrow) for value in values], column.arrow)


def _fitting(value: Any, kind: Any) -> Any:
    """``value`` if it fits, else mended text, else None."""
    if isinstance(value, str) and pa.types.is_large_string(kind):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    try:
        return pa.scalar(value, kind).as_py()
    except Failures:
        return None
