"""Rows that were written down side by side (:mod:`ledger`) and have not become columns: what a recording keeps of plain
exchanges until it is read, or sealed.

To make columns of each row while there is traffic costs more than all the rest of recording it, and most rows go
without having been read. A slice is a few blocks of memory: it is written as it is, and what it says is made of it in
one go, whenever somebody asks.

Laws:

- Whatever is made of a slice is the same whoever asks and however often, ids included: they come from what it holds.
- Nothing in it changes but for its bodies, which may be let go of. Any thread.

**On disk** the rows' stream is a plain Arrow stream of :data:`ENVELOPE`, one row a message. Its bulk is the answers of
a slice; or, where there is nothing else, a record batch of the frame's columns (an encapsulated message), for rows that
have more than what a slice has room for, or are few. :func:`opened` gives the record batch of either.
"""

from __future__ import annotations

import copy
import hashlib
from collections import Counter
from collections.abc import Sequence
from typing import Any, Generic, NamedTuple, TypeVar

import msgspec
import numpy as np
import pyarrow as pa

from .batches import FRAME_SCHEMA, array_of, bodies_array, ends, repeated
from .drafts import epoch_us
from .exchange import exchange_ids
from .frames import FRAME_COLUMNS, TIME
from .ranking import readable
from .stats import Tally

FIELDS = np.dtype(
    [
        *((name, "<f8") for name in ("t0", "sent_at", "answered_at", "ended_at")),  # of perf_counter; NaN: never
        *((name, "<i4") for name in ("entry", "target")),  # its number; bytes
        *((name, "<i8") for name in ("bytes_in", "bytes_out", "request", "answer")),  # bytes; bytes that are kept
        ("before", "<i8"),  # bytes before the answer's body that are not part of it
    ]
)
ENTRY = (
    "client", "method", "route", "dialect", "index", "status", "request_headers", "response_headers", "reason", "error",
    "model", "model_fingerprint",
)  # fmt: skip
_ROUTE, _STATUS, _REASON = map(ENTRY.index, ("route", "status", "reason"))
_HEADS = [ENTRY.index(name) for name in ("request_headers", "response_headers")]
_ENTRY_BYTES = 256  # of memory, besides its heads
_NOISE = 8  # random bytes of an id

_BLOCKS = ["facts", "rows", "targets", "requests", "bulk"]
ENVELOPE = pa.schema([(name, pa.large_binary()) for name in _BLOCKS])

Entry = tuple[Any, ...]  # values of ``ENTRY``
T = TypeVar("T")


class Placed(NamedTuple, Generic[T]):
    """Something among the rows of a slice: before the one of this number."""

    place: int
    item: T


class Facts(msgspec.Struct, frozen=True):
    """What is said of a slice once.

    :ivar apart: what ``perf_counter`` lacked to epoch seconds.
    :ivar first: the number of its first id (:func:`nbproxy.exchange.next_count`).
    :ivar seed: what the random part of its ids is made of.
    :ivar identified: when the exchanges that have an id already began, and the id.
    """

    apart: float
    first: int
    seed: bytes
    entries: Sequence[Entry]
    identified: Sequence[Placed[tuple[int, str]]] = ()


class Slice:
    """Rows of plain exchanges.

    :param rows: an array of :data:`FIELDS`.
    :param targets: of the rows, one after the other, in UTF-8.
    :param requests, answers: their bodies, one after the other, in as many pieces; answers each behind its ``before``.
    :ivar message: as it is written, once, if that was made beforehand.
    """

    message: Any = None

    def __init__(
        self,
        facts: Facts,
        rows: Any,
        targets: Any,
        requests: Sequence[memoryview],
        answers: Sequence[memoryview],
    ) -> None:
        self._facts, self._rows, self._targets = facts, rows, targets
        self._requests: Sequence[memoryview] | None = requests
        self._answers: Sequence[memoryview] | None = answers
        self.num_rows = len(rows)

    @property
    def answers_bytes(self) -> int:
        """Of the answers' bodies."""
        return sum(map(len, self._answers or ()))

    @property
    def nbytes(self) -> int:
        """About so many bytes of memory."""
        entries = self._facts.entries
        heads = sum(len(entry[place] or "") for entry in entries for place in _HEADS)
        bodies = sum(map(len, self._requests or ())) + self.answers_bytes
        return int(self._rows.nbytes) + len(self._targets) + heads + _ENTRY_BYTES * len(entries) + bodies

    def strip(self) -> None:
        """Let go of the bodies."""
        self._requests = self._answers = None

    def bare(self) -> Slice:
        """The same without the bodies."""
        one = copy.copy(self)
        one.strip()
        return one

    @property
    def tally(self) -> Tally:
        """What is counted of them."""
        entries, kinds, spans = self._facts.entries, Counter[Any](), np.full((self.num_rows, 3), np.nan)
        for entry, count in zip(entries, np.bincount(self._rows["entry"]).tolist(), strict=True):
            kinds[entry[_ROUTE], entry[_STATUS], entry[_REASON]] += count
        spans[:, 0], spans[:, 2] = self._spans
        return Tally(kinds, spans)

    def batch(self) -> Any:
        """Their record batch of the frame's columns."""
        rows, n = self._rows, self.num_rows
        (started, ids), (upstream, total) = self._identities(), self._spans
        columns = {
            "exchange_id": _texts(np.arange(0, 36 * n + 1, 36), ids.tobytes()),
            "started": pa.array(started).cast(TIME.arrow),
            "target": _texts(ends(rows["target"]), self._targets),
            "request_body": bodies_array(rows["request"], self._requests),
            "response_body": bodies_array(rows["answer"], self._answers, rows["before"]),
            "request_truncated": pa.array(rows["request"] < rows["bytes_in"]),
            "response_truncated": pa.array(rows["answer"] < rows["bytes_out"]),
            "bytes_in": pa.array(np.ascontiguousarray(rows["bytes_in"])),
            "bytes_out": pa.array(np.ascontiguousarray(rows["bytes_out"])),
            "upstream_ms": pa.array(upstream, from_pandas=True),
            "total_ms": pa.array(total, from_pandas=True),
            "reranked": repeated(False, n, FRAME_COLUMNS["reranked"].arrow),
            **self._shared(),
        }
        arrays = [
            columns[name] if name in columns else repeated(None, n, column.arrow)
            for name, column in FRAME_COLUMNS.items()
        ]
        return pa.record_batch(arrays, schema=FRAME_SCHEMA)

    def _identities(self) -> tuple[Any, Any]:
        """When they began (n epoch microseconds), and their ids (n × 36 characters)."""
        facts = self._facts
        started = epoch_us(self._rows["t0"], facts.apart)
        noise = hashlib.shake_128(facts.seed).digest(_NOISE * self.num_rows)
        ids = exchange_ids(started, facts.first, noise)
        for place, (begin, text) in facts.identified:
            started[place], ids[place] = begin, np.frombuffer(text.encode(), dtype=np.uint8)
        return started, ids

    @property
    def _spans(self) -> tuple[Any, Any]:
        """Milliseconds: upstream's, and all."""
        rows = self._rows
        return (rows["answered_at"] - rows["sent_at"]) * 1e3, (rows["ended_at"] - rows["t0"]) * 1e3

    def _shared(self) -> dict[str, Any]:
        """The columns whose values stand in entries."""
        numbers = pa.array(np.ascontiguousarray(self._rows["entry"]))
        shared = {}
        for name, values in zip(ENTRY, zip(*self._facts.entries, strict=True), strict=True):
            if values.count(values[0]) == len(values):
                shared[name] = repeated(values[0], self.num_rows, FRAME_COLUMNS[name].arrow)
            else:
                shared[name] = array_of(values, FRAME_COLUMNS[name]).take(numbers)
        return shared

    def blocks(self) -> tuple[list[Any], Sequence[memoryview]]:
        """What is written of it: the blocks of an envelope but for the bulk, and the bulk in pieces."""
        rows, requests = self._rows.view(np.uint8), b"".join(self._requests or ())
        return [_encoded(self._facts), memoryview(rows), self._targets, requests], self._answers or ()


def blocks_of(batch: Any) -> tuple[list[Any], Sequence[memoryview]]:
    """The same of a record batch of the frame's columns."""
    return [b""] * (len(_BLOCKS) - 1), [memoryview(batch.serialize()).cast("B")]


def opened(batch: Any, *, bodies: bool = True) -> Any:
    """What is in an envelope as a record batch of the frame's columns; any other batch as it is. ``bodies``: False
    where they are not wanted, which saves finding them."""
    if batch.schema.names != _BLOCKS:
        return batch
    facts, rows, targets, requests, bulk = (column[0].as_buffer() for column in batch.columns)
    if not facts.size:
        return pa.ipc.read_record_batch(bulk, FRAME_SCHEMA)
    said = msgspec.msgpack.decode(facts, type=Facts)
    one = Slice(said, np.frombuffer(rows, FIELDS), targets, [memoryview(requests)], [memoryview(bulk)])
    if not bodies:
        one.strip()
    return one.batch()


def _encoded(facts: Facts) -> bytes:
    try:
        return msgspec.msgpack.encode(facts)
    except UnicodeEncodeError:  # half a character, in an error's text perhaps
        entries = [tuple(readable(one) if isinstance(one, str) else one for one in entry) for entry in facts.entries]
        return msgspec.msgpack.encode(msgspec.structs.replace(facts, entries=entries))


def _texts(offsets: Any, data: Any) -> Any:
    return pa.LargeStringArray.from_buffers(len(offsets) - 1, pa.py_buffer(offsets), pa.py_buffer(data))
