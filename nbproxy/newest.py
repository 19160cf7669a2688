"""The newest recorded exchanges, as views ask for them."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from .batches import Row
from .drafts import Draft
from .exchange import Exchange
from .finishing import without_bodies, without_credentials

_IDENTITY = ["exchange_id", "started"]


class Newest:
    """Remembers at least ``most`` rows, or as many as came; routes of ours do not count.

    It keeps references, and makes exchanges of them only when it is asked.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._chunks: deque[tuple[Sequence[Row], Any]] = deque()
        self._size = 0

    def add(self, rows: Sequence[Row], batch: Any = None) -> None:
        """Rows that were recorded, in order; ``batch``: the record batch that drafts have become, with their ids."""
        places = [place for place, row in enumerate(rows) if row.route != "own"][-self._most :]
        if not places:
            return
        kept = [_light(rows[place]) for place in places]
        self._chunks.append((kept, None if batch is None else batch.select(_IDENTITY).take(pa.array(places))))
        self._size += len(kept)
        while self._size - len(self._chunks[0][0]) >= self._most:
            self._size -= len(self._chunks.popleft()[0])

    def exchanges(self, n: int) -> list[Exchange]:
        """At most ``n`` of the newest, newest first, redacted, without bodies."""
        found: list[Exchange] = []
        for rows, batch in reversed(list(self._chunks)):  # copied in one step of the interpreter, whoever appends
            if batch is not None:
                _identify(rows, batch)
            shown = [row for row in reversed(rows) if row.route != "own"][: max(0, n - len(found))]
            found += [_shown(row) for row in shown]
        return found


def _light(row: Row) -> Row:
    return row.let_go() if isinstance(row, Draft) else without_bodies(row)


def _shown(row: Row) -> Exchange:
    return without_bodies(without_credentials(row.exchange())) if isinstance(row, Draft) else row


def _identify(rows: Sequence[Row], batch: Any) -> None:
    """Drafts have the ids under which they were recorded."""
    started = batch.column("started").cast("int64").to_pylist()
    for row, begin, exchange_id in zip(rows, started, batch.column("exchange_id").to_pylist(), strict=True):
        if isinstance(row, Draft) and not row.identified:
            row.identify(begin, exchange_id)
