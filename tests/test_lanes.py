"""A model's queue: one call at a time, bounded, the urgent first, what can still be done in time, several a call."""

from __future__ import annotations

import gc
import math
import os
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

from nbproxy import lanes
from nbproxy.errors import RerankFault
from nbproxy.lanes import CAPACITY, PROBED, RECENT, TOGETHER, TRIED, Job, Lane, Pace, chosen, hopeless, lane_of
from nbproxy.ranking import Hit
from nbproxy.rerankers.base import hits_of

from .processes import line_of

TIMEOUT = 10.0
HITS = hits_of(["a", "bb"])


class Model:
    """Scores by length, once ``go`` is set; notes the queries of each call."""

    name = fingerprint = "model"

    def __init__(self) -> None:
        self.calls: list[tuple[str, ...]] = []
        self.began, self.go = threading.Semaphore(0), threading.Event()
        self.priorities: list[int] = []
        self._inside = threading.Lock()

    def score(self, query: str, hits: Sequence[Hit]) -> list[float]:
        return self._answered([(query, hits)])[0]

    def _answered(self, searches: Sequence[tuple[str, Sequence[Hit]]]) -> list[list[float]]:
        assert self._inside.acquire(blocking=False), "called concurrently with itself"
        with_queries = tuple(query for query, _ in searches)
        self.calls.append(with_queries)
        if sys.platform == "linux":
            self.priorities.append(os.getpriority(os.PRIO_PROCESS, threading.get_native_id()))
        self.began.release()
        assert self.go.wait(TIMEOUT)
        self._inside.release()
        return [[float(len(hit.text or "")) for hit in hits] for _, hits in searches]


class Many(Model):
    def score_many(self, searches: Sequence[tuple[str, Sequence[Hit]]]) -> list[list[float]]:
        return self._answered(searches)


@pytest.fixture
def lane() -> Iterator[Callable[[Any], Lane]]:
    """The lane of a model; whatever blocks in it ends behind the test."""
    models: list[Model] = []

    def get(model: Model) -> Lane:
        models.append(model)
        return lane_of(model, "nbproxy-model-test")

    yield get
    for model in models:
        model.go.set()


def ask(lane: Lane, model: Any, query: str, **options: Any) -> Job:
    job = Job(model, query, HITS, **options)
    lane.submit(job)
    return job


def begun(model: Model) -> None:
    assert model.began.acquire(timeout=TIMEOUT)


def test_calls_come_one_after_the_other_whoever_asks(lane: Callable[[Any], Lane]) -> None:
    model = Model()
    model.go.set()
    jobs = [ask(lane(model), model, str(n)) for n in range(50)]
    assert [job.future.result(TIMEOUT) for job in jobs] == [[1.0, 2.0]] * 50
    assert model.calls == [(str(n),) for n in range(50)]


def test_searches_that_wait_share_a_call(lane: Callable[[Any], Lane]) -> None:
    model = Many()
    jobs = [ask(lane(model), model, "first")]
    begun(model)
    jobs += [ask(lane(model), model, str(n)) for n in range(TRIED)]
    model.go.set()
    assert [job.future.result(TIMEOUT) for job in jobs] == [[1.0, 2.0]] * (1 + TRIED)
    assert model.calls == [("first",), tuple(str(n) for n in range(TRIED))]


def test_the_urgent_go_first(lane: Callable[[Any], Lane]) -> None:
    model = Model()
    jobs = [ask(lane(model), model, "first")]
    begun(model)
    jobs += [ask(lane(model), model, query, urgent=query == "urgent") for query in ("shadow", "urgent")]
    model.go.set()
    for job in jobs:
        job.future.result(TIMEOUT)
    assert model.calls == [("first",), ("urgent",), ("shadow",)]


@pytest.mark.skipif(sys.platform != "linux", reason="priorities of threads")
def test_what_nobody_waits_for_runs_at_low_priority_until_somebody_does(lane: Callable[[Any], Lane]) -> None:
    model = Model()
    jobs = [ask(lane(model), model, "shadow", urgent=False)]
    begun(model)
    jobs.append(ask(lane(model), model, "urgent"))  # another thread, but not before this one has ended
    jobs.append(ask(lane(model), model, "shadow", urgent=False))
    model.go.set()
    for job in jobs:
        job.future.result(TIMEOUT)
    low, urgent, after = model.priorities
    assert low > urgent == after


def test_a_full_queue_sheds_at_once_each_kind_for_itself(lane: Callable[[Any], Lane]) -> None:
    model = Model()
    ask(lane(model), model, "first")
    begun(model)
    waiting = [ask(lane(model), model, "waits") for _ in range(CAPACITY)]
    with pytest.raises(RerankFault) as shed:
        ask(lane(model), model, "one more")
    assert shed.value.why == "overloaded"
    other = ask(lane(model), model, "shadow", urgent=False)
    assert lane(model).leave(waiting[7])
    assert not lane(model).leave(waiting[7])
    waiting[7] = ask(lane(model), model, "has room")
    model.go.set()
    for job in [*waiting, other]:
        job.future.result(TIMEOUT)
    assert ("one more",) not in model.calls


def test_what_has_begun_does_not_leave(lane: Callable[[Any], Lane]) -> None:
    model = Model()
    job = ask(lane(model), model, "begun")
    begun(model)
    assert not lane(model).leave(job)
    model.go.set()
    assert job.future.result(TIMEOUT) == [1.0, 2.0]


def test_no_thread_is_an_overload(lane: Callable[[Any], Lane], monkeypatch: pytest.MonkeyPatch) -> None:
    def none(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    model = Model()
    model.go.set()
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", none)
        with pytest.raises(RerankFault, match="new thread") as shed:
            ask(lane(model), model, "q")
    assert shed.value.why == "overloaded"
    assert ask(lane(model), model, "again").future.result(TIMEOUT) == [1.0, 2.0]


# -- failing


class Moody(Many):
    """Fails for several at once, and for one of them alone."""

    def __init__(self, many: Any) -> None:
        super().__init__()
        self.many = many

    def score(self, query: str, hits: Sequence[Hit]) -> list[float]:
        scores = super().score(query, hits)
        if query == "bad":
            raise ZeroDivisionError("no good")
        return scores

    def score_many(self, searches: Sequence[tuple[str, Sequence[Hit]]]) -> Any:
        super().score_many(searches)
        return self.many(searches)


def raising(searches: object) -> Any:
    raise SystemExit("all of them")


@pytest.mark.parametrize("many", [raising, lambda searches: [[1.0, 2.0]], lambda searches: None])
def test_where_several_at_once_fail_each_is_asked_alone(lane: Callable[[Any], Lane], many: Any) -> None:
    model = Moody(many)
    ask(lane(model), model, "first")
    begun(model)
    bad, good = ask(lane(model), model, "bad"), ask(lane(model), model, "good")
    model.go.set()
    with pytest.raises(ZeroDivisionError):
        bad.future.result(TIMEOUT)
    assert good.future.result(TIMEOUT) == [1.0, 2.0]
    assert model.calls[1:] == [("bad", "good"), ("bad",), ("good",)]


def test_a_bad_score_of_one_search_costs_the_others_nothing(lane: Callable[[Any], Lane]) -> None:
    model = Moody(lambda searches: [[1.0, math.nan] if query == "bad" else [1.0, 2.0] for query, _ in searches])
    ask(lane(model), model, "first")
    begun(model)
    bad, good = ask(lane(model), model, "bad"), ask(lane(model), model, "good")
    model.go.set()
    with pytest.raises(RerankFault, match="nan"):
        bad.future.result(TIMEOUT)
    assert good.future.result(TIMEOUT) == [1.0, 2.0]
    assert len(model.calls) == 2


# -- what is next


def job(name: str, expires: float | None = None, reranker: Any = None) -> Job:
    return Job(reranker or Model, name, HITS, expires)


def paced(alone: float | None = None, together: float | None = None) -> Pace:
    """Seconds of a call for one search, and for each of several."""
    pace = Pace()
    if alone is not None:
        pace.learn(1, len(HITS), alone)
    if together is not None:
        pace.learn(2, 2 * len(HITS), 2 * together)
    return pace


MANY = Many()
NEXT = {
    # what waits, as (name, seconds left), seconds of a call alone and for each of several, and what is next
    "nothing": ([], None, None, ""),
    "the oldest": ([("a", 9), ("b", 9)], 1, 1, "a"),
    "what has expired is not begun": ([("a", 0), ("b", 9)], None, None, "b"),
    "what cannot be done in time is passed over": ([("a", 0.5), ("b", 2)], 1, 1, "b"),
    "where none can the newest is tried": ([("a", 0.2), ("b", 0.5)], 1, 1, "b"),
    "no deadline is always in time": ([("a", None), ("b", 9)], 1e9, 1e9, "a"),
    "unknown costs are tried together": ([("a", 9), ("b", 9), ("c", None)], None, None, "abc"),
    "together where it pays": ([("a", 9), ("b", 9), ("c", 9)], 1, 0.1, "abc"),
    "alone where it does not": ([("a", 9), ("b", 9)], 1, 0.99, "a"),
    "no more than leaves each in time": ([("a", 1.5), ("b", 9), ("c", 9), ("d", 9)], 1, 0.5, "abc"),
    "nobody who would be late": ([("a", 9), ("b", 0.9), ("c", 9)], 1, 0.5, "ac"),
}


@pytest.mark.parametrize("case", NEXT)
def test_what_is_next(case: str) -> None:
    waiting, alone, together, expected = NEXT[case]
    jobs = [job(name, None if left is None else 100 + left, MANY) for name, left in waiting]
    assert "".join(job.query for job in chosen(jobs, paced(alone, together), now=100.0)) == expected


def test_only_searches_of_one_model_share_a_call() -> None:
    jobs = [job("a", None, MANY), job("b", None, Many()), job("c", None, MANY)]
    assert [job.query for job in chosen(jobs, paced(), 0.0)] == ["a", "c"]
    alone = [job("a"), job("b")]  # no score_many
    assert [job.query for job in chosen(alone, paced(1, 0.1), 0.0)] == ["a"]


def test_a_call_is_bounded() -> None:
    jobs = [job(str(n), None, MANY) for n in range(100)]
    assert len(chosen(jobs, paced(1, 0.1), 0.0)) == TOGETHER
    large = [Job(MANY, str(n), HITS * 1000) for n in range(4)]
    assert len(chosen(large, paced(1, 0.1), 0.0)) == 2


def test_what_did_not_pay_is_tried_again_now_and_then() -> None:
    jobs, pace = [job(str(n), None, MANY) for n in range(20)], paced(1, 1)
    sizes = [len(chosen(jobs, pace, 0.0)) for _ in range(2 * PROBED)]
    assert sizes == [*[1] * (PROBED - 1), TRIED] * 2


def test_what_is_hopeless_leaves_but_not_before_the_pace_is_known() -> None:
    pace, begun = Pace(), [job("begun", 101.0)]
    waiting = [job("a", 100.15), job("b", 100.25), job("c", None), job("d", 109.0)]
    for seconds in (5.0, 0.3):
        pace.learn(1, len(HITS), seconds)
        assert hopeless(waiting, begun, pace, 100.0) == []
    pace.learn(1, len(HITS), 0.3)
    for _ in range(RECENT):
        pace.learn(1, len(HITS), 0.1)
    assert [job.query for job in hopeless(waiting, begun, pace, 100.0)] == ["a"]  # the call that was begun, and its own
    for _ in range(RECENT):
        pace.learn(1, len(HITS), 0.3)
    assert [job.query for job in hopeless(waiting, begun, pace, 100.0)] == ["a", "b"]


def test_what_leaves_as_hopeless_is_told_so(lane: Callable[[Any], Lane], monkeypatch: pytest.MonkeyPatch) -> None:
    model = Model()
    first = ask(lane(model), model, "first")
    begun(model)
    monkeypatch.setattr(lane(model)._queue.pace, "at_best", lambda hits: 1e9)
    second = ask(lane(model), model, "second")
    third = ask(lane(model), model, "third", expires=time.monotonic() + 60)
    model.go.set()
    for one in (first, second):
        assert one.future.result(TIMEOUT) == [1.0, 2.0]
    with pytest.raises(RerankFault, match="too busy") as shed:
        third.future.result(TIMEOUT)
    assert shed.value.why == "overloaded"
    assert model.calls == [("first",), ("second",)]


def test_a_pace_is_learnt_and_forgotten() -> None:
    pace = Pace()
    assert pace.seconds(50) == 0.0
    pace.learn(1, 50, 8.0)  # the first call of a cold model
    for _ in range(5):
        pace.learn(1, 50, 0.1)
    assert 0.1 < pace.seconds(50) < 0.4
    pace.together = math.inf  # it failed
    assert pace.room() == 1
    pace.learn(2, 100, 0.05)
    assert pace.room() == TOGETHER


def test_calls_grow_as_long_as_they_take_no_longer() -> None:
    """Nobody knows beforehand that a call takes as long for many as for one; all that wait have 0.25 s left."""
    pace, sizes = Pace(), []
    for _ in range(5):
        batch = chosen([job(str(n), 100.25, MANY) for n in range(40)], pace, 100.0)
        sizes.append(len(batch))
        pace.learn(len(batch), sum(len(job.hits) for job in batch), 0.1)
    assert sizes == [TRIED, 1, 20, TOGETHER, TOGETHER]  # some together, one alone, to compare


# -- threads and memory


def threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "nbproxy-model-gone"]


def test_a_lane_goes_with_those_who_refer_to_it_and_keeps_no_model() -> None:
    model = Model()
    model.go.set()
    lane = lane_of(model, "nbproxy-model-gone")
    assert ask(lane, model, "q").future.result(TIMEOUT) == [1.0, 2.0]
    (thread,) = threads()
    gone, lane_gone = weakref.ref(model), weakref.ref(lane)
    del model, lane
    thread.join(TIMEOUT)
    assert not thread.is_alive()
    gc.collect()
    assert gone() is lane_gone() is None


def test_a_model_in_a_call_has_its_lane_though_nobody_serves_it() -> None:
    """Assigned again, it waits for its own call: never concurrently with itself."""
    model = Model()
    stuck = ask(lane_of(model, "nbproxy-model-gone"), model, "stuck")
    begun(model)
    again = ask(lane_of(model, "nbproxy-model-gone"), model, "again")
    assert len(threads()) == 1
    model.go.set()
    assert [job.future.result(TIMEOUT) for job in (stuck, again)] == [[1.0, 2.0]] * 2


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
def test_a_forks_child_has_lanes_of_its_own(process: Callable[[str], Any]) -> None:
    """Its parent's threads are not there."""
    child = process(
        """
        import os, warnings
        warnings.simplefilter("ignore", DeprecationWarning)  # of forking with threads, which is the point here
        from nbproxy.lanes import Job, lane_of
        class Model:
            name = fingerprint = "model"
            def score(self, query, hits):
                return [float(os.getpid())] * len(hits)
        model = Model()
        def scored():
            job = Job(model, "q", [None])
            lane = lane_of(model, "x")
            lane.submit(job)
            return lane, job.future.result(10)
        kept, scores = scored()
        assert scores == [os.getpid()]
        if os.fork() == 0:
            lane, scores = scored()
            print(scores == [os.getpid()], lane is not kept, flush=True)
            os._exit(0)
        os.wait()
        """
    )
    assert line_of(child) == "True True"


def test_under_load_much_is_still_done_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten a second, 32 that always wait for half a second: by a clock of the test's own."""
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    pace, waiting, in_time = Pace(), [], 0
    for _ in range(300):
        waiting = [job for job in waiting if job.end > now[0]]
        waiting += [job("q", now[0] + 0.5) for _ in range(32 - len(waiting))]
        (picked,) = chosen(waiting, pace, now[0])
        waiting.remove(picked)
        now[0] += 0.1
        pace.learn(1, len(HITS), 0.1)
        in_time += now[0] <= picked.end + 1e-9
    assert in_time >= 295


def test_the_module_keeps_lanes_weakly() -> None:
    before = len(lanes._lanes)
    kept = [lane_of(object(), "x") for _ in range(100)]
    assert len(lanes._lanes) == before + 100
    del kept
    gc.collect()
    assert len(lanes._lanes) <= before
