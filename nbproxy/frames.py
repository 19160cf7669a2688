"""The columns of ``session.frame`` and ``session.hits``: name, how Arrow stores it, what pandas shows. And those of
what is recorded beside them.

Laws:

- The tables below are the contract (§5): every frame has exactly these columns, in this order, with these
  dtypes, an empty one too. A column that a file lacks is null; one that the tables lack is left out.
- Turning Arrow into pandas copies numbers only (a frame can be written to, a recording cannot): text and bodies
  stay in Arrow's memory, which may be a mapped file. No step holds the GIL for long: it is Arrow that works.
- In ``score``, NaN (the model ``"original"``) and null (no model scored it) are two things and stay two:
  ``Float64`` keeps the NaN as a value. ``isna()`` is True for null only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from .ranking import normalized, query_hash

Chunks = Any  # pa.ChunkedArray: pyarrow has no types of its own


class Column(NamedTuple):
    """How one column is stored and shown.

    :ivar arrow: the type in files.
    :ivar pandas: the dtype in frames.
    :ivar build: Arrow's column → pandas' array.
    """

    arrow: Any
    pandas: Any
    build: Callable[[Chunks, Any], Any]


def _wrapped(column: Chunks, dtype: Any) -> Any:
    """Text, bodies, times: pandas' own reading, which shares Arrow's memory where it can."""
    return dtype.__from_arrow__(column)


def _masked(column: Chunks, dtype: Any) -> Any:
    """Numbers and flags: writable copies, with NaN kept apart from null (``__from_arrow__`` makes them one)."""
    missing = np.array(column.is_null().to_numpy(), dtype=bool)
    zero = pa.scalar(0).cast(column.type)
    values = np.array(column.fill_null(zero).to_numpy(), dtype=dtype.numpy_dtype)
    return dtype.construct_array_type()(values, missing)


TEXT = Column(pa.large_string(), pd.StringDtype(na_value=np.nan), _wrapped)
BODY = Column(pa.large_binary(), pd.ArrowDtype(pa.large_binary()), _wrapped)
TIME = Column(pa.timestamp("us", tz="UTC"), pd.DatetimeTZDtype("us", "UTC"), _wrapped)
WHOLE = Column(pa.int64(), pd.Int64Dtype(), _masked)
REAL = Column(pa.float64(), pd.Float64Dtype(), _masked)
FLAG = Column(pa.bool_(), pd.BooleanDtype(), _masked)

FRAME_COLUMNS: Mapping[str, Column] = {
    "exchange_id": TEXT,
    "part": WHOLE,
    "started": TIME,
    "client": TEXT,
    "method": TEXT,
    "target": TEXT,
    "route": TEXT,
    "dialect": TEXT,
    "index": TEXT,
    "query_id": TEXT,
    "ubi_query_id": TEXT,
    "query": TEXT,
    "offset": WHOLE,
    "size": WHOLE,
    "depth": WHOLE,
    "status": WHOLE,
    "request_headers": TEXT,
    "request_body": BODY,
    "response_headers": TEXT,
    "response_body": BODY,
    "upstream_request_body": BODY,
    "upstream_response_body": BODY,
    "request_truncated": FLAG,
    "response_truncated": FLAG,
    "bytes_in": WHOLE,
    "bytes_out": WHOLE,
    "upstream_ms": REAL,
    "rerank_ms": REAL,
    "total_ms": REAL,
    "model": TEXT,
    "model_fingerprint": TEXT,
    "reranked": FLAG,
    "reason": TEXT,
    "error": TEXT,
}

HITS_COLUMNS: Mapping[str, Column] = {
    "exchange_id": TEXT,
    "part": WHOLE,
    "query_id": TEXT,
    "query": TEXT,
    "index": TEXT,
    "doc_id": TEXT,
    "original_rank": WHOLE,
    "original_score": REAL,
    "role": TEXT,
    "model": TEXT,
    "model_fingerprint": TEXT,
    "score": REAL,
    "rank": WHOLE,
    "returned": FLAG,
    "text": TEXT,
}


# "merge": a search was interleaved; "late": scores of one of two, "a", missed the deadline; "click": of somebody
EVENT_COLUMNS: Mapping[str, Column] = {
    "event": TEXT,
    "exchange_id": TEXT,
    "part": WHOLE,
    "method": TEXT,
    "a": TEXT,
    "a_fingerprint": TEXT,
    "b": TEXT,
    "b_fingerprint": TEXT,
    "teams": TEXT,  # a letter for each rank
    "propensities": TEXT,  # with a space between
    "time": TIME,
    "source": TEXT,
    "query_id": TEXT,
    "ubi_query_id": TEXT,
    "index": TEXT,
    "doc_id": TEXT,
    "internal_id": TEXT,
}


def schema(columns: Mapping[str, Column]) -> Any:
    """The Arrow schema of a table of columns."""
    return pa.schema([(name, column.arrow) for name, column in columns.items()])


def conform(table: Any, columns: Mapping[str, Column]) -> Any:
    """``table`` with exactly ``columns``: missing ones null, unknown ones gone (other versions wrote files too)."""
    names = set(table.column_names)
    arrays = [
        table.column(name) if name in names else pa.nulls(table.num_rows, column.arrow)
        for name, column in columns.items()
    ]
    return pa.table(arrays, schema=schema(columns))


def from_batches(batches: Sequence[Any], columns: Mapping[str, Column]) -> Any:
    """A table of record batches, of none too."""
    return pa.Table.from_batches(batches) if batches else schema(columns).empty_table()


def place_of(rows: Any, exchange_id: str, part: int | None) -> int:
    """Which row of a table it is, -1 for none."""
    parts = rows.column("part")
    which = pc.is_null(parts) if part is None else pc.equal(parts, part)
    place: int = pc.index(pc.and_(pc.equal(rows.column("exchange_id"), exchange_id), which), True).as_py()
    return place


def to_frame(table: Any, columns: Mapping[str, Column]) -> pd.DataFrame:
    """A DataFrame with a RangeIndex and exactly ``columns`` from an Arrow table of them."""
    table = conform(table, columns)
    arrays = {name: column.build(table.column(name), column.pandas) for name, column in columns.items()}
    return pd.DataFrame(arrays, index=pd.RangeIndex(table.num_rows), copy=False)


def ambiguous_ids(rows: Any) -> frozenset[str]:
    """The ``query_id`` s that came with two texts, once normalised: an application's name, not a query (§3).

    :param rows: a table with the text columns ``query_id`` and ``query``.
    """
    pairs = rows.select(["query_id", "query"]).drop_null().group_by(["query_id", "query"]).aggregate([])
    counts = pairs.group_by("query_id").aggregate([("query", "count")])
    suspects = counts.filter(pc.greater(counts.column("query_count"), 1)).column("query_id")
    texts: dict[str, set[str]] = {}
    for pair in pairs.filter(pc.is_in(pairs.column("query_id"), value_set=suspects)).to_pylist():
        texts.setdefault(pair["query_id"], set()).add(normalized(pair["query"]))
    return frozenset(query_id for query_id, seen in texts.items() if len(seen) > 1)


def without_ids(table: Any, ids: frozenset[str]) -> Any:
    """``table`` where the rows of ``ids`` have the hash of their query as ``query_id``, null where there is none."""
    if not ids:
        return table
    queries, place = table.column("query"), table.schema.get_field_index("query_id")
    wanted = pc.is_in(table.column("query_id"), value_set=pa.array(sorted(ids), pa.large_string()))
    unique = [query for query in pc.unique(queries.filter(wanted)).to_pylist() if query is not None]
    known = pa.array(unique, pa.large_string())
    hashes = pa.array([query_hash(query) for query in unique], pa.large_string())
    hashed = hashes.take(pc.index_in(queries, value_set=known).combine_chunks())
    return table.set_column(place, "query_id", pc.if_else(wanted.fill_null(False), hashed, table.column("query_id")))


def warning_for(ids: frozenset[str]) -> str:
    """What the user is told when :func:`ambiguous_ids` found some."""
    some = ", ".join(repr(query_id) for query_id in sorted(ids)[:3])
    return (
        f"X-Opaque-Id {some}{' …' if len(ids) > 3 else ''} came with different queries, so it names an application, "
        "not a query: query_id of its rows is the hash of the query text instead"
    )
