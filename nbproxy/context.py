"""What the parts of a running server share, on its loop's thread."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from .background import Worker
from .dialects import Dialect
from .drafts import Draft
from .exchange import Exchange
from .heads import RequestHead
from .ranking import Ranking
from .settings import Limits, Settings
from .upstream import Pool
from .wire import Memo

log = logging.getLogger("nbproxy")
T = TypeVar("T")

HEAVY = 1 << 19  # bytes of a body that is not taken apart on the event loop


class Sink(Protocol):
    """Where finished exchanges go: the recorder's side that the server sees."""

    def append(self, row: Exchange | Draft) -> None: ...

    def append_ranking(
        self, exchange_id: str, part: int | None, query_id: str | None, query: str | None, ranking: Ranking
    ) -> None: ...


@dataclass(frozen=True, slots=True)
class ErrorNote:
    """One entry of ``session.errors``. ``time`` is epoch seconds, UTC."""

    time: float
    where: str
    exchange_id: str | None
    type: str
    message: str


@dataclass
class Context:
    """One proxy's state. ``settings`` is the one reference that a live change replaces."""

    settings: Settings
    limits: Limits
    dialects: tuple[Dialect, ...]
    sink: Sink
    pool: Pool
    spawn: Callable[[Coroutine[Any, Any, None]], Any]
    host_header: str = "upstream"
    errors: deque[ErrorNote] = field(default_factory=lambda: deque(maxlen=1000))
    error_count: int = 0
    heavy: Worker = field(default_factory=lambda: Worker("nbproxy-heavy"))  # large bodies
    views: Worker = field(default_factory=lambda: Worker("nbproxy-views"))  # what our own routes look up
    loads: Worker = field(default_factory=lambda: Worker("nbproxy-loads"))  # models that a view switches to
    shadowing: Callable[..., None] | None = None
    heads: Memo[RequestHead] = field(default_factory=Memo)
    told_of_clicks: bool = False  # there is, or was, an interleaving: requests may tell of clicks

    def __post_init__(self) -> None:
        self.record = self.sink.append  # one object for all drafts
        self._fields: tuple[object, Worker] = (None, Worker("nbproxy-fields"))

    async def maybe_heavy(self, size: int, call: Callable[[], T]) -> T:
        """Large bodies are not taken apart on the event loop."""
        return await self.heavy.call(call) if size > HEAVY else call()

    async def users(self, fields: object, call: Callable[[], T], seconds: float | None) -> T:
        """Run ``call``, which calls the user's own ``fields``, on a thread of theirs: others bring a fresh one.

        :raises RerankFault: ``overloaded`` or ``deadline``: not within ``seconds``.
        """
        if fields is not self._fields[0]:
            self._fields[1].close()
            self._fields = (fields, Worker("nbproxy-fields"))
        return await self._fields[1].call(call, seconds)

    def close(self) -> None:
        """Let the workers' threads end."""
        for worker in (self.heavy, self.views, self.loads, self._fields[1]):
            worker.close()

    def note(self, where: str, exchange_id: str | None, error: BaseException | str) -> None:
        """An error that does not stop us. Appending to a deque is safe from any thread."""
        kind = type(error).__name__ if isinstance(error, BaseException) else "Note"
        log.warning(
            "%s: %s: %s", where, kind, str(error)
        )  # a kept record would keep the error, its frames, and the model
        self.error_count += 1
        self.errors.append(ErrorNote(time.time(), where, exchange_id, kind, str(error) or kind))
