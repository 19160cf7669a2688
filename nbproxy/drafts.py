"""An exchange while it happens: what the server notes, until it is finished and frozen."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from .exchange import Exchange, Route, new_exchange_id
from .heads import RequestHead, ResponseHead
from .settings import Settings

KEPT_OF_A_BODY = 65_536


class Body:
    """The first ``limit`` bytes of a body (None: all of it), by reference, and its true size."""

    __slots__ = ("_kept", "_limit", "_pieces", "size")

    def __init__(self, limit: int | None = KEPT_OF_A_BODY) -> None:
        self._pieces: list[bytes] = []
        self._kept, self._limit, self.size = 0, limit, 0

    def add(self, data: bytes) -> None:
        self.size += len(data)
        if self._limit is None:
            self._pieces.append(data)
        elif self._kept < self._limit:
            self._pieces.append(data[: self._limit - self._kept])
            self._kept += len(self._pieces[-1])

    def bytes(self) -> bytes | None:
        """What was kept; None for an empty body."""
        if not self._pieces:
            return None
        return self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)

    @property
    def truncated(self) -> bool:
        return self._limit is not None and self.size > self._limit


class Draft:
    """An unfinished :class:`Exchange`.

    :param settings: the reference that it took at its start.
    :param t0: ``perf_counter`` at the request's first byte.
    :param keep: how much of the request's and of the answer's body is recorded; None: all.
    """

    __slots__ = (
        "_finish", "client", "exchange_id", "head", "more", "request", "rerank_ms", "response", "response_block",
        "route", "sent_at", "settings", "started", "status", "t0", "upstream_ms",
    )  # fmt: skip

    def __init__(
        self,
        finish: Callable[[Exchange], None],
        client: str | None,
        head: RequestHead,
        settings: Settings,
        route: Route,
        t0: float,
        *,
        keep: tuple[int | None, int | None] = (KEPT_OF_A_BODY, KEPT_OF_A_BODY),
    ) -> None:
        now = time.perf_counter()
        self._finish = finish
        self.client, self.head, self.settings, self.route = client, head, settings, route
        self.exchange_id = new_exchange_id()
        self.t0 = t0
        self.started = time.time_ns() // 1000 - int((now - t0) * 1e6)
        self.request, self.response = Body(keep[0]), Body(keep[1])
        self.status: int | None = None
        self.response_block = b""
        self.sent_at: float | None = None
        self.upstream_ms: float | None = None
        self.rerank_ms: float | None = None
        self.more: dict[str, Any] = {}

    def sent(self) -> None:
        """The first byte went upstream."""
        if self.sent_at is None:
            self.sent_at = time.perf_counter()

    def answered(self) -> None:
        """The answer's last byte came from upstream."""
        if self.sent_at is not None:
            self.upstream_ms = (time.perf_counter() - self.sent_at) * 1e3

    def respond(self, status: int, block: bytes) -> None:
        self.status, self.response_block = status, block

    def respond_as(self, head: ResponseHead) -> None:
        self.respond(head.status, head.block)

    def finish(self, error: str | None = None, **more: Any) -> None:
        """Freeze, record, count. A second call does nothing."""
        finish, self._finish = self._finish, _nothing
        if finish is _nothing:
            return
        model = self.settings.model
        fields: dict[str, Any] = {
            "model": model.name if model else None,
            "model_fingerprint": model.fingerprint if model else None,
            **self.more,
            **more,
        }
        finish(
            Exchange(
                exchange_id=self.exchange_id,
                started=self.started,
                client=self.client,
                method=self.head.method,
                target=self.head.target,
                route=self.route,
                status=self.status,
                request_head=self.head.block,
                request_body=self.request.bytes(),
                response_head=self.response_block,
                response_body=self.response.bytes(),
                request_truncated=self.request.truncated,
                response_truncated=self.response.truncated,
                bytes_in=self.request.size,
                bytes_out=self.response.size,
                upstream_ms=self.upstream_ms,
                rerank_ms=self.rerank_ms,
                total_ms=(time.perf_counter() - self.t0) * 1e3,
                error=error,
                **fields,
            )
        )


def _nothing(_: Exchange) -> None:
    pass
