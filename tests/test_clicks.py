"""The body of a click: what is taken, and what is refused and why."""

from __future__ import annotations

import json
from typing import Any

import pytest

from nbproxy.clicks import Click, read_click, seconds_of
from nbproxy.errors import ClientFault

NOW = 1_700_000_000.0


def told(**body: Any) -> Click:
    return read_click(json.dumps(body).encode(), "x", NOW)


def test_a_click_names_a_query_and_a_document() -> None:
    assert told(query_id="q1", doc_id="d1") == Click(
        exchange_id="x", time=int(NOW * 1e6), source="route", query_id="q1", doc_id="d1"
    )
    full = told(ubi_query_id="u", query_id="q", doc_id=7, index="books", time=NOW - 2.5, extra=[1])
    assert (full.ubi_query_id, full.query_id, full.doc_id, full.index) == ("u", "q", "7", "books")
    assert full.time == int((NOW - 2.5) * 1e6)


@pytest.mark.parametrize(
    ("time", "seconds"),
    [
        (NOW, NOW),
        (NOW * 1000, NOW),
        (0, 0.0),
        ("2023-11-14T22:13:20Z", NOW),
        ("2023-11-14T23:13:20+01:00", NOW),
        ("2023-11-14T22:13:20", NOW),
        ("2023-11-14T22:13:20.5Z", NOW + 0.5),
        ("yesterday", None),
        ("", None),
        (-1, None),
        (float("nan"), None),
        (True, None),
        ([], None),
    ],
)
def test_a_time_is_seconds_milliseconds_or_iso(time: Any, seconds: float | None) -> None:
    assert seconds_of(time) == seconds


def test_nobody_clicks_in_the_future() -> None:
    assert told(query_id="q", doc_id="d", time=NOW + 60).time == int(NOW * 1e6)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"nonsense",
        b"[]",
        b'{"query_id": "q"}',
        b'{"doc_id": "d"}',
        b'{"query_id": "", "doc_id": "d"}',
        b'{"query_id": "q", "doc_id": ""}',
        b'{"query_id": "q", "doc_id": null}',
        b'{"query_id": 5, "doc_id": "d"}',
        b'{"query_id": "q", "doc_id": 1.5}',
        b'{"query_id": "q", "doc_id": "d", "index": 5}',
        b'{"query_id": "q", "doc_id": "d", "time": "now"}',
        b'{"query_id": "q", "doc_id": "d", "time": -1}',
        b'{"query_id": "q", "doc_id": "d", "time": []}',
        b'{"query_id": "q", "doc_id": "' + b"d" * 5000 + b'"}',
        b"query_id=q&doc_id=d",
        b'\xff{"query_id": "q", "doc_id": "d"}',
        b"[" * 100_000,
    ],
)
def test_what_tells_of_no_click_is_refused(body: bytes) -> None:
    with pytest.raises(ClientFault) as caught:
        read_click(body, "x", NOW)
    assert caught.value.status == 400
