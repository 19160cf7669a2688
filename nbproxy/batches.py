"""Finished exchanges and rankings as Arrow record batches: the rows of ``session.frame`` and ``session.hits``.

Laws: whatever text or number a client or a model sent, a batch comes out: lone surrogates become U+FFFD (pairs
become the character that they meant), what does not fit its column's type becomes null. Exchanges come redacted;
drafts come as they are, and their heads and targets are redacted here.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from functools import lru_cache
from itertools import chain
from operator import attrgetter
from typing import Any, NamedTuple, TypeVar

import msgspec
import numpy as np
import pyarrow as pa

from .clicks import Click
from .drafts import NOTHING, Body, Draft, start_times
from .exchange import Exchange, new_exchange_ids
from .frames import BODY, EVENT_COLUMNS, FRAME_COLUMNS, HITS_COLUMNS, TIME, Column, schema
from .ranking import Ranking, readable
from .redact import redact_head, redact_target

FRAME_SCHEMA = schema(FRAME_COLUMNS)
HITS_SCHEMA = schema(HITS_COLUMNS)
EVENT_SCHEMA = schema(EVENT_COLUMNS)

_COLUMNS_A_STEP = 12
_MORE = attrgetter("more")
_RENAMED = {"request_headers": "request_head", "response_headers": "response_head"}
T = TypeVar("T")
Steps = Generator[None, None, T]  # work that may wait between its parts, and what comes of it
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


Row = Exchange | Draft


def all_plain(rows: Sequence[Row]) -> bool:
    """Whether they are drafts of exchanges that have no more than what every exchange has."""
    return set(map(type, rows)) <= {Draft} and not any(map(_MORE, rows))


def rows_batch(rows: Sequence[Row]) -> Any:
    """A record batch of one row for each of ``rows``, in the order given; drafts among them are plain."""
    if all_plain(rows):
        return plain_batch(rows)  # type: ignore[arg-type]
    mine = np.array([isinstance(row, Draft) for row in rows])
    if not mine.any():
        return frame_batch(rows)  # type: ignore[arg-type]
    one = plain_batch([row for row in rows if isinstance(row, Draft)])
    other = frame_batch([row for row in rows if isinstance(row, Exchange)])
    order = np.where(mine, np.cumsum(mine) - 1, one.num_rows + np.cumsum(~mine) - 1)
    return pa.Table.from_batches([one, other]).take(pa.array(order)).combine_chunks().to_batches()[0]


class Hollow(NamedTuple):
    """A record batch in which the answers' bodies are empty. Who writes it puts them in."""

    batch: Any
    bodies: Sequence[bytes | memoryview | None]

    @property
    def offsets(self) -> Any:
        """Where each begins, and the last ends, if they lie one after the other."""
        return _offsets(self.bodies)


def _buffers_before(name: str) -> int:
    """How many buffers of a batch of the frame's columns stand before this column's."""
    before = pa.RecordBatch.from_pylist([], FRAME_SCHEMA).columns[: FRAME_SCHEMA.get_field_index(name)]
    return sum(len(column.buffers()) for column in before)


ANSWERS_BUFFER = _buffers_before("response_body") + 2  # behind which of them are there, and their offsets


def hollow_steps(drafts: Sequence[Draft]) -> Steps[Hollow]:
    """:func:`plain_steps`, but for the answers' bodies, which are not copied."""
    bodies = _bodies_of([draft.got_body or NOTHING for draft in drafts])
    empty = pa.array([body and b"" for body in bodies], BODY.arrow)
    return Hollow((yield from plain_steps(drafts, answers=empty)), bodies)


def plain_batch(drafts: Sequence[Draft]) -> Any:
    """A record batch of one row per draft, in the order given. By columns from what the drafts refer to, without an
    object for each row; what only some exchanges have is null."""
    return done(plain_steps(drafts))


def done(steps: Steps[T]) -> T:
    """All of them at once."""
    try:
        while True:
            next(steps)
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]


def plain_steps(drafts: Sequence[Draft], answers: Any = None) -> Steps[Any]:
    """:func:`plain_batch` in steps that take about the same time: on the loop, requests go between them.

    :param answers: the column of the answers' bodies; None: to be made.
    """
    n = len(drafts)
    identities = _identities(drafts)
    yield
    heads, blocks = [draft.head for draft in drafts], [draft.response_block for draft in drafts]
    t0, sent, answered, ended = (
        np.array([getattr(draft, name) for draft in drafts], dtype=np.float64)
        for name in ("t0", "sent_at", "answered_at", "ended_at")
    )
    yield
    columns = {
        **identities,
        "client": [draft.client for draft in drafts],
        "method": [head.method for head in heads],
        "target": _mapped(redact_target, [head.target for head in heads]),
        "route": [draft.route for draft in drafts],
        "dialect": [draft.dialect for draft in drafts],
        "index": [draft.index for draft in drafts],
        "status": [draft.status for draft in drafts],
        "request_headers": _mapped(recorded_lines, [head.block for head in heads]),
        "response_headers": _mapped(recorded_lines, blocks),
        **_bodies("request", "bytes_in", [draft.sent_body or NOTHING for draft in drafts]),
        **_bodies("response", "bytes_out", [draft.got_body or NOTHING for draft in drafts], answers),
        "upstream_ms": pa.array((answered - sent) * 1e3, from_pandas=True),
        "total_ms": pa.array((ended - t0) * 1e3),
        **_models(drafts),
        "reranked": [False] * n,
        "reason": [draft.reason for draft in drafts],
        "error": [draft.error for draft in drafts],
    }
    nothing, arrays = [None] * n, []
    for number, (name, column) in enumerate(FRAME_COLUMNS.items()):
        if not number % _COLUMNS_A_STEP:
            yield
        arrays.append(_column(columns.get(name, nothing), column))
    return pa.record_batch(arrays, schema=FRAME_SCHEMA)


def _identities(drafts: Sequence[Draft]) -> dict[str, Any]:
    """The ids that they have already, or new ones."""
    started = start_times(drafts)
    ids = new_exchange_ids(started)
    for place in [place for place, draft in enumerate(drafts) if draft.identity is not None]:
        started[place] = drafts[place].started
        ids[place] = np.frombuffer(drafts[place].exchange_id.encode(), dtype=np.uint8)
    offsets = pa.py_buffer(np.arange(0, 36 * len(drafts) + 1, 36, dtype=np.int64))
    texts = pa.LargeStringArray.from_buffers(len(drafts), offsets, pa.py_buffer(ids.tobytes()))
    return {"exchange_id": texts, "started": pa.array(started).cast(TIME.arrow)}


def _bodies(which: str, total: str, bodies: Sequence[Body], made: Any = None) -> dict[str, Any]:
    if all([body is NOTHING for body in bodies]):  # noqa: C419 - a list is faster
        n = len(bodies)
        return {f"{which}_body": [None] * n, f"{which}_truncated": [False] * n, total: [0] * n}
    return {
        f"{which}_body": _bodies_of(bodies) if made is None else made,
        f"{which}_truncated": [body.size > body.limit for body in bodies],
        total: [body.size for body in bodies],
    }


def _bodies_of(bodies: Sequence[Body]) -> list[bytes | memoryview | None]:
    return [body.first or None if body.others is None and body.size <= body.limit else body.kept() for body in bodies]


def _models(drafts: Sequence[Draft]) -> dict[str, Any]:
    if all([draft.settings.model is None for draft in drafts]):  # noqa: C419 - a list is faster
        return {}
    models = [draft.settings.model for draft in drafts]
    return {
        "model": [model and model.name for model in models],
        "model_fingerprint": [model and model.fingerprint for model in models],
    }


def _mapped(convert: Callable[[Any], Any], values: Sequence[Any]) -> list[Any]:
    """Each value converted, equal ones once: targets and heads repeat."""
    converted = {value: convert(value) for value in set(values)}
    return [converted[value] for value in values]


def recorded_lines(head: bytes) -> str:
    """The lines of a head as they are stored."""
    return header_lines(redact_head(head))


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


def has_events(row: Row) -> bool:
    """Whether :func:`events_batch` has something to say of it."""
    clicks = not isinstance(row, Draft) and bool(row.clicks)
    return clicks or any(ranking.teams is not None or ranking.late for ranking in row.rankings)


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
    return pa.record_batch([_column(values[name], column) for name, column in columns.items()], schema=of)


def _column(values: Sequence[Any], column: Column) -> Any:
    return _bodies_array(values) if column is BODY else _array(values, column)


def _bodies_array(values: Sequence[bytes | memoryview | None]) -> Any:
    """An array of ``BODY``, copied once."""
    if isinstance(values, pa.Array) or not any(values):
        return _array(values, BODY)
    known = pa.array([value is not None for value in values]).buffers()[1]
    data = pa.py_buffer(b"".join(filter(None, values)))
    return pa.Array.from_buffers(BODY.arrow, len(values), [known, pa.py_buffer(_offsets(values)), data])


def _offsets(values: Sequence[bytes | memoryview | None]) -> Any:
    """Where each begins, and the last ends, if they lie one after the other."""
    lengths = np.fromiter([len(value or b"") for value in values], dtype=np.int64, count=len(values))
    return np.concatenate([[0], np.cumsum(lengths)])


def _array(values: Sequence[Any], column: Column) -> Any:
    """An Arrow array; the slow way only if one of the values does not fit."""
    if isinstance(values, pa.Array):
        return values
    if len(values) > 1 and values.count(values[0]) == len(values) and isinstance(values[0], _PLAIN_VALUES):
        return _repeated(values[0], len(values), column.arrow)
    try:
        return pa.array(values, column.arrow)
    except Failures:
        return pa.array([_fitting(value, column.arrow) for value in values], column.arrow)


_PLAIN_VALUES = str | int | None  # not floats, of which one may be a NaN, nor what has no hash


@lru_cache(maxsize=256)
def _repeated(value: Any, n: int, kind: Any) -> Any:
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
