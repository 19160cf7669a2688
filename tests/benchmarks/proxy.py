"""nbproxy in a process of its own, as in a kernel: the main thread waits, or does what a benchmark tells it to."""

from __future__ import annotations

import contextlib
import io
import multiprocessing
import os
import sys
import threading
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from queue import SimpleQueue
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

from .machine import free_port
from .processes import cpu_s, memory

if TYPE_CHECKING:
    import nbproxy

T = TypeVar("T")
Work = Callable[["nbproxy.Session", threading.Event], Any]


class Proxy:
    """A session in a process of its own, for as long as the ``with`` block. A :class:`~.processes.Peer`.

    :param upstream: upstream's port.
    :param uvloop: False: it runs on plain asyncio, as where uvloop is not installed.
    :param options: of ``nbproxy.start``; functions among them by reference to their module.
    """

    def __init__(self, name: str, upstream: int, *, uvloop: bool = True, **options: Any) -> None:
        self.name, self.port = name, free_port()
        options = {"upstream": f"http://127.0.0.1:{upstream}", "name": "bench", "port": self.port, **options}
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, options, uvloop), daemon=True)

    def __enter__(self) -> Self:
        self._process.start()
        self._answer()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.terminate()
        self._process.join()

    def ask(self, function: Callable[..., T], *arguments: Any) -> T:
        """What ``function(session, *arguments)`` returns over there, on a thread beside the main one."""
        self._pipe.send((function, arguments))
        return self._answer()  # type: ignore[no-any-return]

    def begin(self, work: Work) -> None:
        """Have the main thread run ``work(session, over)`` until ``over`` is set."""
        self._pipe.send((_begin, (work,)))
        self._answer()

    def end(self) -> Any:
        """End what the main thread does; what it returns."""
        self._pipe.send((_end, ()))
        return self._answer()

    def _answer(self) -> Any:
        value = self._pipe.recv()
        if isinstance(value, BaseException):
            raise value
        return value

    def cpu_s(self) -> float:
        self.ask(flush)
        return cpu_s(self._process.pid or 0)

    def memory(self) -> int:
        self.ask(flush)
        return memory(self._process.pid or 0)


# -- asked over there


def flush(session: nbproxy.Session) -> None:
    """Wait until all is recorded: it is part of the cost."""
    session.flush()


def recorded(session: nbproxy.Session) -> tuple[int, int]:
    """How many exchanges were recorded, and how many rows were dropped."""
    session.flush()
    counts = session.status["recording"]
    return counts["exchanges"], counts["dropped"]


def thread_cpu_s(session: nbproxy.Session) -> dict[str, float]:
    """CPU seconds so far of each thread, by its name."""
    session.flush()
    clocks = {each.name: time.pthread_getcpuclockid(each.ident) for each in threading.enumerate() if each.ident}
    return {name: time.clock_gettime(clock) for name, clock in clocks.items()}


# -- over there


def _serve(pipe: Connection, options: dict[str, Any], uvloop: bool) -> None:
    if not uvloop:
        sys.modules["uvloop"] = None  # type: ignore[assignment]  # its import fails
    import nbproxy

    try:
        with contextlib.redirect_stdout(io.StringIO()):  # the line that it prints is not for the tables
            session = nbproxy.start(**options)
    except BaseException as error:
        pipe.send(error)
        return
    desk = _Desk(session)
    threading.Thread(target=desk.answer, args=(pipe,), name="benchmark", daemon=True).start()
    pipe.send(None)
    desk.run()


class _Desk:
    """What the two threads of the benchmark's share: the main one works, the other answers the pipe."""

    def __init__(self, session: nbproxy.Session) -> None:
        self.session, self.over = session, threading.Event()
        self.work: SimpleQueue[Work] = SimpleQueue()
        self.begun: SimpleQueue[None] = SimpleQueue()
        self.results: SimpleQueue[Any] = SimpleQueue()

    def run(self) -> None:
        while True:
            work = self.work.get()
            self.begun.put(None)
            self.results.put(_outcome(work, self.session, self.over))

    def answer(self, pipe: Connection) -> None:
        while True:
            try:
                function, arguments = pipe.recv()
            except EOFError:  # the benchmark is gone
                os._exit(1)
            subject: Any = self if function in (_begin, _end) else self.session
            pipe.send(_outcome(function, subject, *arguments))


def _outcome(function: Callable[..., Any], *arguments: Any) -> Any:
    try:
        return function(*arguments)
    except BaseException as error:
        return error


def _begin(desk: _Desk, work: Work) -> None:
    desk.over.clear()
    desk.work.put(work)
    desk.begun.get()


def _end(desk: _Desk) -> Any:
    desk.over.set()
    return desk.results.get()
