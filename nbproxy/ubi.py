"""User Behavior Insights: clicks among the events that clients index through the proxy.

The events' schema: https://docs.opensearch.org/latest/search-plugins/ubi/schemas/ (``action_name``, ``query_id``,
``timestamp``, ``event_attributes.object`` with ``object_id`` and ``internal_id``). They go to indices whose names begin
with ``ubi_events``, one by ``_doc`` or ``_create``, many by ``_bulk``:
https://docs.opensearch.org/latest/api-reference/document-apis/bulk/

Laws: nothing here raises, whatever the bytes; nothing here runs on the event loop (but :func:`index_of`), and the
relay's bytes are not touched: what is recorded of a request is read, after it has ended.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any
from urllib.parse import unquote

import msgspec

from .clicks import Click, micros, seconds_of, text_of
from .content import TooLarge, Undecodable, decode
from .exchange import Exchange
from .messages import Headers

KEPT = 1 << 20  # bytes of such a request that are looked at …
_UNPACKED = 8 << 20  # … without their content coding
INDEX = "ubi_events"
CLICK = "click"
_BROKEN = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)

# method, path ("*": anything); the first segment of three is the index
_SHAPES = (
    ("POST PUT", ("_bulk",)),
    ("POST PUT", ("*", "_bulk")),
    ("POST", ("*", "_doc")),
    ("POST PUT", ("*", "_doc", "*")),
    ("POST PUT", ("*", "_create", "*")),
)


@lru_cache(maxsize=1024)
def index_of(method: str, target: str) -> str | None:
    """The index that a request may put events into; "" for a ``_bulk`` that says so itself; None: not that."""
    segments = [unquote(segment) for segment in target.partition("?")[0].split("/") if segment]
    if not any(method in methods.split() and _fits(shape, segments) for methods, shape in _SHAPES):
        return None
    index = segments[0] if len(segments) > 1 else ""
    return index if "_bulk" in segments or index.startswith(INDEX) else None


def _fits(shape: tuple[str, ...], segments: list[str]) -> bool:
    return len(shape) == len(segments) and all(w in ("*", got) for w, got in zip(shape, segments, strict=True))


@dataclass(frozen=True, slots=True)
class UbiClicks:
    """Completes an exchange with the clicks that its request told of, and cuts its body to what is recorded. Runs on
    the recorder's thread.

    :ivar index: what :func:`index_of` gave.
    :ivar keep: bytes of a body that are recorded.
    """

    index: str
    keep: int

    def __call__(self, exchange: Exchange) -> Exchange:
        body = exchange.request_body or b""
        cut = {"request_body": body[: self.keep], "request_truncated": True} if len(body) > self.keep else {}
        clicks = tuple(self._clicks(exchange, body))
        return msgspec.structs.replace(exchange, clicks=clicks, **cut) if clicks or cut else exchange

    def _clicks(self, exchange: Exchange, body: bytes) -> Iterator[Click]:
        if exchange.status is None or exchange.status >= 400:  # upstream did not take them; the client tries again
            return
        try:
            plain = decode(body, Headers.parse(exchange.request_head).get("content-encoding"), _UNPACKED)
        except (TooLarge, Undecodable):
            return
        if CLICK.encode() not in plain:
            return
        bulk = "_bulk" in exchange.target.partition("?")[0].split("/")
        arrived = exchange.started / 1e6 + (exchange.total_ms or 0.0) / 1e3
        for event in _sources(plain, self.index) if bulk else [_read(plain)]:
            click = _click(event, exchange.exchange_id, arrived)
            if click is not None:
                yield click


def _sources(body: bytes, index: str) -> Iterator[Any]:
    """The documents of a ``_bulk`` that go to an events index."""
    lines = (line for line in body.split(b"\n") if line.strip())
    for line in lines:
        action = _read(line)
        if not isinstance(action, dict) or len(action) != 1:
            return  # whatever this is, nobody can say which line is which
        ((kind, where),) = action.items()
        if kind == "delete":
            continue
        source = next(lines, b"")
        named = where.get("_index", index) if isinstance(where, dict) else index
        if kind in ("index", "create") and isinstance(named, str) and named.startswith(INDEX):
            yield _read(source)


def _read(text: bytes) -> Any:
    try:
        return msgspec.json.decode(text)
    except _BROKEN:
        return None


def _click(event: Any, exchange_id: str, arrived: float) -> Click | None:
    if not isinstance(event, dict) or event.get("action_name") != CLICK:
        return None
    clicked = _at(event, "event_attributes", "object")
    internal = text_of(clicked.get("internal_id"))
    doc_id = text_of(clicked.get("object_id")) or text_of(event.get("object_id")) or internal
    query_id = text_of(event.get("query_id"))
    if doc_id is None or query_id is None:
        return None
    time = seconds_of(event.get("timestamp"))
    when = micros(arrived if time is None else time, arrived)
    return Click(
        exchange_id=exchange_id, time=when, source="ubi", ubi_query_id=query_id, doc_id=doc_id, internal_id=internal
    )


def _at(value: Any, *path: str) -> Mapping[str, Any]:
    for name in path:
        value = value.get(name) if isinstance(value, dict) else None
    return value if isinstance(value, dict) else {}
