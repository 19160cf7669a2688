"""Columns and dtypes to the letter (contract §5), and which rows lose their X-Opaque-Id (§3)."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from nbproxy import frames
from nbproxy.frames import FRAME_COLUMNS, HITS_COLUMNS, ambiguous_ids, schema, to_frame, without_ids
from nbproxy.ranking import query_hash

STR, INT, REAL, FLAG = "str", "Int64", "Float64", "boolean"
BODY, TIME = "large_binary[pyarrow]", "datetime64[us, UTC]"

FRAME = {
    "exchange_id": STR, "part": INT, "started": TIME, "client": STR, "method": STR, "target": STR, "route": STR,
    "dialect": STR, "index": STR, "query_id": STR, "ubi_query_id": STR, "query": STR, "offset": INT, "size": INT,
    "depth": INT, "status": INT, "request_headers": STR, "request_body": BODY, "response_headers": STR,
    "response_body": BODY, "upstream_request_body": BODY, "upstream_response_body": BODY, "request_truncated": FLAG,
    "response_truncated": FLAG, "bytes_in": INT, "bytes_out": INT, "upstream_ms": REAL, "rerank_ms": REAL,
    "total_ms": REAL, "model": STR, "model_fingerprint": STR, "reranked": FLAG, "reason": STR, "error": STR,
}  # fmt: skip
HITS = {
    "exchange_id": STR, "part": INT, "query_id": STR, "query": STR, "index": STR, "doc_id": STR, "original_rank": INT,
    "original_score": REAL, "role": STR, "model": STR, "model_fingerprint": STR, "score": REAL, "rank": INT,
    "returned": FLAG, "text": STR,
}  # fmt: skip


@pytest.mark.parametrize(("columns", "expected"), [(FRAME_COLUMNS, FRAME), (HITS_COLUMNS, HITS)])
def test_an_empty_frame_has_the_contracts_columns_and_dtypes(columns, expected):
    frame = to_frame(schema(columns).empty_table(), columns)
    assert {name: str(dtype) for name, dtype in frame.dtypes.items()} == expected
    assert list(frame.columns) == list(expected)
    assert isinstance(frame.index, pd.RangeIndex)
    assert frame["exchange_id"].dtype == pd.Series(["a"]).dtype  # what pandas itself calls text


def test_values_survive():
    rows = pa.table(
        {"part": [0, None], "started": pa.array([1_700_000_000_000_001, 2], pa.int64()), "request_body": [b"a", None]}
    )
    rows = rows.set_column(1, "started", rows.column("started").cast(pa.timestamp("us", tz="UTC")))
    frame = to_frame(rows, FRAME_COLUMNS)
    assert frame["started"][0] == pd.Timestamp("2023-11-14 22:13:20.000001", tz="UTC")
    assert frame["part"].tolist() == [0, pd.NA]
    assert frame["request_body"][0] == b"a"
    assert frame["request_body"].isna().tolist() == [False, True]
    assert frame["query"].isna().all()


def test_nan_and_null_are_two_things():
    table = pa.table({"score": pa.chunked_array([[1.5, float("nan")], [None]], pa.float64())})
    score = to_frame(table, HITS_COLUMNS)["score"]
    assert score.isna().tolist() == [False, False, True]
    assert np.isnan(score[1])
    assert score[2] is pd.NA
    assert pd.concat([score, score], ignore_index=True).isna().tolist() == [False, False, True] * 2


def test_a_frame_can_be_written_to():
    frame = to_frame(pa.table({"size": [1], "reranked": [True], "query": ["a"]}), FRAME_COLUMNS)
    frame.loc[0, ["size", "reranked", "query"]] = [2, False, "b"]
    assert frame.loc[0, ["size", "reranked", "query"]].tolist() == [2, False, "b"]


def test_columns_of_other_versions_go_and_missing_ones_are_null():
    frame = to_frame(pa.table({"tomorrow": [1], "method": ["GET"]}), FRAME_COLUMNS)
    assert list(frame.columns) == list(FRAME)
    assert frame["method"].tolist() == ["GET"]


def pairs(*rows):
    ids, queries = zip(*rows, strict=True)
    return pa.table({"query_id": pa.array(ids, pa.large_string()), "query": pa.array(queries, pa.large_string())})


def test_an_opaque_id_with_two_texts_is_no_query():
    table = pairs(("app", "Red shoes"), ("app", "boots"), ("q1", "x"), ("q1", " X\u00a0"), (None, "y"), ("app", None))
    ids = ambiguous_ids(table)
    assert ids == {"app"}
    changed = without_ids(table, ids).column("query_id").to_pylist()
    assert changed == [query_hash("red shoes"), query_hash("boots"), "q1", "q1", None, None]


def test_normalised_alike_is_one_query():
    table = pairs(("q", "Straße  É"), ("q", "strasse e\u0301"), ("r", "a"), ("r", None))
    assert ambiguous_ids(table) == frozenset()
    assert without_ids(table, frozenset()) is table


def test_the_warning_names_some():
    assert "'a', 'b', 'c' …" in frames.warning_for(frozenset("dcba"))
