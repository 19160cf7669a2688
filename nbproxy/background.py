"""An event loop on a named daemon thread, and daemon worker threads (models have ``lanes``). Knows no HTTP.

Laws: the start-up result or exception crosses by a Future; whoever starts a thread here also joins it, within a bound;
nothing here keeps an interpreter alive (``ThreadPoolExecutor`` would: its exit hook waits for the running call).
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import queue
import sys
import threading
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import Future, InvalidStateError
from typing import Any, TypeVar

from .errors import RerankFault, SessionClosed

T = TypeVar("T")


def new_loop() -> asyncio.AbstractEventLoop:
    """uvloop's where it is installed, asyncio's own elsewhere."""
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()  # type: ignore[no-any-return]


_PR_SET_TIMERSLACK = 29
_POINTER = ctypes.c_void_p


def sharpen_timers() -> None:
    """Let this thread's waits end when they should: Linux adds up to 50 µs to each (prctl(2), PR_SET_TIMERSLACK), which
    is five times what the wait for the interpreter takes."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(_PR_SET_TIMERSLACK, ctypes.c_ulong(1), 0, 0, 0)


def keep_freed_memory() -> None:
    """Let glibc keep what is freed, up to 62 MiB a thread, for whoever allocates next.

    By default it gives 128 KiB back at once, and each page comes back by a fault: at 33 KB an answer that cost more
    than all of its relaying. It raises the limit by itself when a large block is freed (mallopt(3), M_MMAP_THRESHOLD):
    so one is, of which no page was ever touched. Elsewhere this does nothing.
    """
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            libc = ctypes.CDLL(None)
            libc.malloc.restype, libc.malloc.argtypes, libc.free.argtypes = _POINTER, [ctypes.c_size_t], [_POINTER]
            libc.free(libc.malloc(31 * 2**20))


class LoopThread:
    """An event loop that runs on a thread of its own until it is stopped."""

    def __init__(self, name: str, make_loop: Callable[[], asyncio.AbstractEventLoop] | None = None) -> None:
        self._make_loop = make_loop or new_loop
        self._started: Future[asyncio.AbstractEventLoop] = Future()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self.died: BaseException | None = None

    def start(self) -> None:
        """Start, and wait until the loop runs."""
        self._thread.start()
        self.loop = self._started.result()

    def _run(self) -> None:
        try:
            loop = self._make_loop()
        except BaseException as error:
            self._started.set_exception(error)
            return
        sharpen_timers()
        keep_freed_memory()
        loop.call_soon(self._started.set_result, loop)
        try:
            loop.run_forever()
        except BaseException as error:
            self.died = error
        finally:
            _close(loop)

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()

    @property
    def here(self) -> bool:
        """Whether the caller is on the loop's thread."""
        return threading.current_thread() is self._thread

    def call(self, function: Callable[[], T], timeout: float | None = None) -> T:
        """Run ``function`` on the loop and wait for what it returns or raises.

        As the loop runs callbacks in order, this is also a barrier: whatever was scheduled before has run.
        """
        return self._wait(self._post(function), timeout)

    def run(self, coroutine: Coroutine[Any, Any, T], timeout: float | None = None) -> T:
        """Run a coroutine on the loop and wait for its result."""
        if not self.alive:
            coroutine.close()
            raise SessionClosed("the proxy's thread has ended")
        future = asyncio.run_coroutine_threadsafe(coroutine, self.loop)
        try:
            return self._wait(future, timeout)
        finally:
            future.cancel()  # nothing where it has ended

    def _post(self, function: Callable[[], T]) -> Future[T]:
        future: Future[T] = Future()
        try:
            self.loop.call_soon_threadsafe(settle, future, function)
        except RuntimeError:
            raise SessionClosed("the proxy's thread has ended") from None
        return future

    def _wait(self, future: Future[T], timeout: float | None) -> T:
        end = None if timeout is None else time.monotonic() + timeout
        while True:  # a bounded wait: if the thread dies, its futures never finish
            left = 0.5 if end is None else min(0.5, max(0.0, end - time.monotonic()))
            try:
                return future.result(left)
            except TimeoutError:
                if future.done():
                    return future.result()
                if not self.alive:
                    raise SessionClosed("the proxy's thread has ended") from self.died
                if end is not None and time.monotonic() >= end:
                    raise

    def stop(self, timeout: float) -> bool:
        """Stop the loop and join its thread; whether it ended within ``timeout`` seconds."""
        with contextlib.suppress(RuntimeError):
            self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(timeout)
        return not self._thread.is_alive()


def _close(loop: asyncio.AbstractEventLoop) -> None:
    """Cancel what is left, let it see the cancellation, close."""
    with contextlib.suppress(Exception):
        tasks = asyncio.all_tasks(loop)
        for task in tasks:
            task.cancel()
        if tasks:
            loop.run_until_complete(asyncio.wait(tasks, timeout=1))
        loop.run_until_complete(loop.shutdown_asyncgens())
    loop.close()


class _Job:
    __slots__ = ("call", "expires", "future", "lock", "state")

    def __init__(self, call: Callable[[], Any], expires: float | None) -> None:
        self.call, self.expires = call, expires
        self.future: Future[Any] = Future()
        self.state = "queued"
        self.lock = threading.Lock()

    def claim(self, state: str) -> bool:
        """Leave the queue for ``state``; false where somebody else was first."""
        with self.lock:
            if self.state != "queued":
                return False
            self.state = state
            return True


class Worker:
    """Runs calls one after the other on a daemon thread of its own, which begins with the first call.

    A call that nobody waits for any longer is not begun; one that has begun keeps the thread until it ends.
    """

    def __init__(self, name: str, capacity: int = 1024) -> None:
        self._name = name
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._capacity = capacity
        self._closed = False

    def submit(self, call: Callable[[], Any], expires: float | None = None) -> _Job:
        """Queue a call. It is not begun after ``expires`` (``time.monotonic``).

        :raises RerankFault: ``overloaded``: the queue is full.
        """
        if self._closed or self._jobs.qsize() >= self._capacity:
            raise RerankFault("the model's queue is full", why="overloaded")
        job = _Job(lambda: contained(call), expires)
        self._jobs.put(job)
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
            self._thread.start()
        return job

    async def call(self, call: Callable[[], T], deadline: float | None = None) -> T:
        """Run ``call`` on the worker, from an event loop.

        :param deadline: seconds, queueing included; None: unlimited.
        :raises RerankFault: ``overloaded`` if it was not begun in time, ``deadline`` if it did not end in time.
        """
        job = self.submit(call, None if deadline is None else time.monotonic() + deadline)
        try:
            return await asyncio.wait_for(asyncio.wrap_future(job.future), deadline)
        except TimeoutError:
            if job.claim("abandoned"):
                raise RerankFault(f"the model was busy for {deadline:g} s", why="overloaded") from None
            if not job.future.done() or job.future.cancelled():
                raise RerankFault(f"no scores within {deadline:g} s", why="deadline") from None
            raise  # the model itself raised a TimeoutError
        except asyncio.CancelledError:
            job.claim("abandoned")
            raise

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            late = job.expires is not None and time.monotonic() > job.expires
            if not job.claim("late" if late else "running"):
                continue
            if late:
                with contextlib.suppress(InvalidStateError):
                    job.future.set_exception(RerankFault("the model was busy", why="overloaded"))
            else:
                settle(job.future, job.call)
            del job  # not to keep a model alive while waiting for the next call

    def close(self) -> None:
        """Begin no more calls. The thread ends once the running one does; nobody waits for it."""
        self._closed = True
        self._jobs.put(None)


def contained(call: Callable[[], T]) -> T:
    """What the call returns. Somebody else's code may raise anything: what would end an event loop that awaits it
    (SystemExit, KeyboardInterrupt), or cannot cross to one (StopIteration), becomes an error like others."""
    try:
        return call()
    except BaseException as error:
        if isinstance(error, Exception) and not isinstance(error, (StopIteration, StopAsyncIteration)):
            raise
        raise RuntimeError(f"{type(error).__name__}: {error}") from error


def settle(future: Future[T], work: Callable[[], T]) -> None:
    """Give ``future`` what ``work`` returns or raises."""
    with contextlib.suppress(InvalidStateError):  # the waiter has left: it cancelled the future
        try:
            value = work()
        except BaseException as error:
            future.set_exception(error)
        else:
            future.set_result(value)


class SwitchInterval:
    """Holds ``sys.setswitchinterval`` at ``seconds`` while anybody wants it, then restores what was.

    With the default of 5 ms a proxy on a background thread falls from thousands to some fifty requests a second
    when the main thread runs pure Python: each time the loop gives the GIL up around a system call, it waits 5 ms
    to get it back (the convoy effect). A hundredth of that, with :func:`sharpen_timers`, keeps three fourths of them.
    """

    def __init__(self, seconds: float = 1e-5) -> None:
        self._seconds, self._users, self._before, self._lock = seconds, 0, 0.0, threading.Lock()

    def acquire(self) -> None:
        with self._lock:
            if self._users == 0:
                self._before = sys.getswitchinterval()
                sys.setswitchinterval(self._seconds)
            self._users += 1

    def release(self) -> None:
        with self._lock:
            self._users -= 1
            # Not where somebody else has changed it meanwhile.
            if self._users == 0 and abs(sys.getswitchinterval() - self._seconds) < 1e-9:
                sys.setswitchinterval(self._before)


SWITCH_INTERVAL = SwitchInterval()
