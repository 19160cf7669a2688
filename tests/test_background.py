"""Threads: a loop that starts, answers, stops; workers that queue, shed and never hold an exit up."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import subprocess
import sys
import threading
import weakref
from collections.abc import Iterator

import pytest

from nbproxy.background import LoopThread, SwitchInterval, Worker
from nbproxy.errors import RerankFault, SessionClosed

TIMEOUT = 10.0


@pytest.fixture(params=["uvloop", "asyncio"])
def thread(request: pytest.FixtureRequest) -> Iterator[LoopThread]:
    make = asyncio.new_event_loop
    if request.param == "uvloop":
        make = pytest.importorskip("uvloop").new_event_loop
    thread = LoopThread("test-loop", make)
    thread.start()
    yield thread
    assert thread.stop(TIMEOUT)


def test_calls_cross_with_their_result_or_exception(thread: LoopThread) -> None:
    assert thread.call(lambda: threading.current_thread().name) == "test-loop"
    with pytest.raises(ZeroDivisionError):
        thread.call(lambda: 1 / 0)

    async def later() -> int:
        await asyncio.sleep(0)
        return 7

    assert thread.run(later()) == 7


def test_calls_are_a_barrier(thread: LoopThread) -> None:
    seen: list[int] = []
    for n in range(100):
        thread.loop.call_soon_threadsafe(seen.append, n)
    thread.call(lambda: None)
    assert seen == list(range(100))


def test_a_call_may_time_out(thread: LoopThread) -> None:
    async def forever() -> None:
        await asyncio.Event().wait()

    with pytest.raises(TimeoutError):
        thread.run(forever(), 0.01)


def test_a_loop_that_cannot_be_made_raises_where_it_was_asked_for() -> None:
    def broken() -> asyncio.AbstractEventLoop:
        raise OSError("no loop")

    with pytest.raises(OSError, match="no loop"):
        LoopThread("broken", broken).start()


def test_after_stop_calls_say_so() -> None:
    thread = LoopThread("stopped")
    thread.start()
    assert thread.stop(TIMEOUT)
    with pytest.raises(SessionClosed):
        thread.call(lambda: None)
    assert not thread.alive


@pytest.mark.parametrize("raised", [SystemExit, KeyboardInterrupt, GeneratorExit, StopIteration, StopAsyncIteration])
def test_what_would_end_a_loop_is_an_error_like_others(thread: LoopThread, raised: type[BaseException]) -> None:
    worker = Worker("w")

    def call() -> None:
        raise raised(3)

    with pytest.raises(RuntimeError, match=f"^{raised.__name__}: 3$"):
        thread.run(worker.call(call))
    assert thread.run(worker.call(lambda: 1)) == 1
    worker.close()


def submit(worker: Worker, call: object, deadline: float | None = None) -> object:
    return asyncio.run(worker.call(call, deadline))  # type: ignore[arg-type]


def test_a_worker_runs_calls_one_after_the_other() -> None:
    worker = Worker("w")
    inside: list[int] = []

    def call() -> int:
        inside.append(1)
        assert inside.pop() == 1
        assert not inside
        return threading.get_ident()

    async def many() -> list[int]:
        return await asyncio.gather(*(worker.call(call) for _ in range(20)))

    assert len(set(asyncio.run(many()))) == 1
    worker.close()


def test_a_late_call_is_a_deadline_and_the_next_an_overload() -> None:
    worker, began, release = Worker("w"), threading.Event(), threading.Event()

    def stuck() -> None:
        began.set()
        release.wait(TIMEOUT)

    with pytest.raises(RerankFault) as late:
        submit(worker, stuck, 0.05)
    assert began.is_set()
    with pytest.raises(RerankFault) as busy:
        submit(worker, stuck, 0.05)
    assert (late.value.why, busy.value.why) == ("deadline", "overloaded")
    release.set()
    assert submit(worker, lambda: 3) == 3
    worker.close()


def test_a_full_queue_sheds() -> None:
    worker, release = Worker("w", capacity=2), threading.Event()
    jobs = [worker.submit(lambda: release.wait(TIMEOUT))]
    while len(jobs) < 3:  # one may have left the queue for the thread
        with contextlib.suppress(RerankFault):
            jobs.append(worker.submit(lambda: None))
    with pytest.raises(RerankFault, match="full"):
        worker.submit(lambda: None)
    release.set()
    for job in jobs:
        job.future.result(TIMEOUT)
    worker.close()
    with pytest.raises(RerankFault):
        worker.submit(lambda: None)


def test_a_models_own_timeout_is_its_error() -> None:
    def raising() -> None:
        raise TimeoutError("its own")

    worker = Worker("w")
    with pytest.raises(TimeoutError, match="its own"):
        submit(worker, raising, TIMEOUT)
    worker.close()


def test_a_worker_keeps_nothing_of_a_finished_call() -> None:
    class Model:
        pass

    worker, model = Worker("w"), Model()
    gone = weakref.ref(model)
    submit(worker, lambda kept=model: None)
    submit(worker, lambda: None)
    del model
    gc.collect()
    assert gone() is None
    worker.close()


def test_the_switch_interval_is_held_and_restored() -> None:
    before, interval = sys.getswitchinterval(), SwitchInterval(2e-4)
    interval.acquire()
    interval.acquire()
    assert sys.getswitchinterval() == pytest.approx(2e-4)
    interval.release()
    assert sys.getswitchinterval() == pytest.approx(2e-4)
    interval.release()
    assert sys.getswitchinterval() == pytest.approx(before)
    interval.acquire()
    sys.setswitchinterval(3e-3)  # somebody else's wish stands
    interval.release()
    assert sys.getswitchinterval() == pytest.approx(3e-3)
    sys.setswitchinterval(before)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="page faults are counted by Linux's getrusage")
def test_freed_memory_is_used_again() -> None:
    """In a process of its own: whether a large block was ever freed is the process's."""
    code = """
import resource, sys
from nbproxy.background import keep_freed_memory
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(20):
        kept = [b"x" * 33_000 + b"y" for _ in range(200)]
        kept.clear()
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
without = faults()
keep_freed_memory()
faults()
print(without, faults())
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    without, kept = map(int, run.stdout.split())
    assert kept < 1000
    assert kept < without or without < 1000  # another allocator keeps it anyway
