"""An exchange while it happens: what the server notes by reference, frozen into an :class:`Exchange` off the loop."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable
from time import perf_counter
from typing import Any

import msgspec
import numpy as np

from .dialects import Dialect
from .exchange import Exchange, Route, exchange_ids, id_texts, next_count
from .heads import RequestHead, ResponseHead
from .landing import Landing, Spot
from .ranking import Ranking
from .settings import Settings
from .wire import LARGE

KEPT_OF_A_BODY = 65_536
WHOLE = math.inf


class Body(msgspec.Struct, gc=False, eq=False):
    """A body's pieces by reference, until ``limit`` bytes are there, and its true size.

    :ivar spot: where it is, if it was laid beside other large bodies.
    """

    limit: float = KEPT_OF_A_BODY
    size: int = 0
    first: bytes | memoryview = b""
    others: list[bytes | memoryview] | None = None
    spot: Spot | None = None

    def add(self, data: bytes | memoryview) -> None:
        if not self.size:
            self.first = data
        elif self.size < self.limit:
            if self.others is None:
                self.others = []
            self.others.append(data)
        self.size += len(data)

    def kept(self) -> bytes | memoryview | None:
        """Its first ``limit`` bytes, not copied where they are in one piece; None for an empty body."""
        kept = self.first if self.others is None else b"".join([self.first, *self.others])
        return (memoryview(kept)[: int(self.limit)] if self.truncated else kept) or None

    def bytes(self) -> bytes | None:
        """The same as bytes."""
        kept = self.kept()
        return kept.tobytes() if isinstance(kept, memoryview) else kept

    def settle(self, landing: Landing) -> None:
        """Lay what is kept of it beside other large bodies, and let go of where it came."""
        kept = int(min(self.size, self.limit))
        if kept >= LARGE and (body := landing.adopt([self.first, *(self.others or ())], kept)) is not None:
            self.first, self.others, self.spot = body, None, landing.spot

    @property
    def truncated(self) -> bool:
        return self.size > self.limit

    @property
    def held(self) -> int:
        """Bytes in memory."""
        return len(self.first) if self.others is None else len(self.first) + sum(map(len, self.others))


NOTHING = Body()  # of an exchange without one; nobody adds to it


class Draft(msgspec.Struct, gc=False, eq=False):
    """An unfinished :class:`Exchange`. What it notes are references; nothing is converted before it has ended.

    The garbage collector does not look at it (nothing that it refers to refers to it): thousands that wait for the
    recorder would make it go through all of the kernel's objects again and again.

    :param record: takes the draft when it has ended.
    :param settings: the reference that it took at its start.
    :param t0: ``perf_counter`` at the request's first byte.
    :ivar keep: how much of the request's and of the answer's body is recorded.
    :ivar sent_at, answered_at, ended_at: ``perf_counter``, as ``t0``.
    :ivar more: fields of the exchange that only some have.
    :ivar errors: in whose shape an error of ours is told.
    """

    record: Callable[[Draft], None]
    client: str | None
    head: RequestHead
    settings: Settings
    route: Route
    t0: float
    keep: tuple[float, float] = (KEPT_OF_A_BODY, KEPT_OF_A_BODY)
    sent_body: Body | None = None
    got_body: Body | None = None
    dialect: str | None = None
    index: str | None = None
    status: int | None = None
    response_block: bytes = b""
    sent_at: float | None = None
    answered_at: float | None = None
    ended_at: float | None = None
    rerank_ms: float | None = None
    reason: str | None = None
    error: str | None = None
    more: dict[str, Any] | None = None
    identity: tuple[int, str] | None = None
    part: None = None
    errors: Dialect | None = None
    rankings: tuple[Ranking, ...] = ()

    # -- what happens

    def received(self, data: bytes) -> None:
        """A piece of the request's body."""
        if self.sent_body is None:
            self.sent_body = Body(self.keep[0])
        self.sent_body.add(data)

    def sent(self) -> None:
        """The first byte went upstream."""
        if self.sent_at is None:
            self.sent_at = perf_counter()

    def respond(self, status: int, block: bytes) -> None:
        self.status, self.response_block = status, block

    def respond_as(self, head: ResponseHead) -> None:
        self.status, self.response_block = head.status, head.block

    def returned(self, data: bytes | memoryview) -> None:
        """A piece of the answer's body."""
        if self.got_body is None:
            self.got_body = Body(self.keep[1])
        self.got_body.add(data)

    def answered(self) -> None:
        """The answer's last byte came from upstream."""
        self.answered_at = perf_counter()

    def note(self, **more: Any) -> None:
        """Fields of the exchange that only some have."""
        self.more = {**self.more, **more} if self.more else more

    def finish(self, error: str | None = None) -> None:
        """It has ended: hand it over. A second call does nothing."""
        if self.ended_at is None:
            self.ended_at = perf_counter()
            self.error = error
            self.record(self)

    # -- what it was

    @property
    def exchange_id(self) -> str:
        """Fixed by the first who asks; else when it is recorded."""
        return self._identity()[1]

    @property
    def started(self) -> int:
        """Epoch microseconds of the request's first byte."""
        return self._identity()[0]

    def _identity(self) -> tuple[int, str]:
        if self.identity is None:
            started = epoch_us(np.array([self.t0]), clocks_apart())
            self.identity = int(started[0]), id_texts(exchange_ids(started, next_count(1), os.urandom(8)))[0]
        return self.identity

    @property
    def request(self) -> Body:
        return self.sent_body or NOTHING

    @property
    def response(self) -> Body:
        return self.got_body or NOTHING

    @property
    def weight(self) -> int:
        """Bytes of bodies that it holds."""
        return sum(body.held for body in (self.sent_body, self.got_body) if body is not None)

    @property
    def upstream_ms(self) -> float | None:
        return None if self.sent_at is None or self.answered_at is None else (self.answered_at - self.sent_at) * 1e3

    @property
    def total_ms(self) -> float | None:
        return None if self.ended_at is None else (self.ended_at - self.t0) * 1e3

    def exchange(self) -> Exchange:
        """Frozen; once it has ended."""
        request, response = self.request, self.response
        model = self.settings.model
        fields: dict[str, Any] = {
            "model": model and model.name,
            "model_fingerprint": model and model.fingerprint,
            **(self.more or {}),
        }
        return Exchange(
            exchange_id=self.exchange_id,
            started=self.started,
            client=self.client,
            method=self.head.method,
            target=self.head.target,
            route=self.route,
            dialect=self.dialect,
            index=self.index,
            status=self.status,
            request_head=self.head.block,
            request_body=request.bytes(),
            response_head=self.response_block,
            response_body=response.bytes(),
            request_truncated=request.truncated,
            response_truncated=response.truncated,
            bytes_in=request.size,
            bytes_out=response.size,
            upstream_ms=self.upstream_ms,
            rerank_ms=self.rerank_ms,
            total_ms=self.total_ms,
            reason=self.reason,
            error=self.error,
            **fields,
        )


def clocks_apart() -> float:
    """What ``perf_counter`` lacks to epoch seconds, now: a machine that sleeps moves its clocks apart."""
    return time.time() - perf_counter()


def epoch_us(times: Any, apart: float) -> Any:
    """Epoch microseconds of an array of ``perf_counter`` times, ``apart`` being :func:`clocks_apart` of then."""
    return ((times + apart) * 1e6).astype(np.int64)
