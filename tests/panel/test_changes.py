"""What a user sets: done elsewhere, said meanwhile."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from nbproxy.models import stages
from nbproxy.panel import changes
from nbproxy.panel.changes import Changes

from ..upstreams import TIMEOUT


@pytest.fixture
def prompted() -> threading.Semaphore:
    return threading.Semaphore(0)


@pytest.fixture
def made(prompted: threading.Semaphore) -> Iterator[Changes]:
    one = Changes(prompted.release)
    yield one
    one.close()


def test_the_stages_of_loading_and_how_long_each_takes(
    made: Changes, prompted: threading.Semaphore, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, go_on = [100.0], threading.Semaphore(0)
    monkeypatch.setattr(changes.time, "monotonic", lambda: now[0])

    def loads() -> None:
        assert go_on.acquire(timeout=TIMEOUT)
        stages.get()("warming")
        assert go_on.acquire(timeout=TIMEOUT)

    made.load("model", "mine", loads)
    assert prompted.acquire(timeout=TIMEOUT)
    assert made.notice == "loading mine …"
    now[0] += 7.5
    assert made.notice == "loading mine … 7 s"
    go_on.release()
    assert prompted.acquire(timeout=TIMEOUT)
    assert made.notice == "warming mine …"
    now[0] += 2
    assert made.notice == "warming mine … 2 s"
    assert made.pending("model", "shadows")
    go_on.release()
    assert prompted.acquire(timeout=TIMEOUT)
    assert (made.notice, made.pending("model")) == ("", False)


def test_what_fails_is_said_until_something_else_is_set(made: Changes, prompted: threading.Semaphore) -> None:
    def fails() -> None:
        raise ValueError("no such weights")

    made.set("depth", "depth 7", fails)
    assert prompted.acquire(timeout=TIMEOUT)
    assert made.notice == "depth 7 cannot be set: ValueError: no such weights"
    made.set("depth", "depth 8", lambda: None)
    assert prompted.acquire(timeout=TIMEOUT)
    assert made.notice == ""


def test_only_a_look_that_began_after_a_choice_settles_it(made: Changes, prompted: threading.Semaphore) -> None:
    made.look_begins()
    made.look_ends()
    assert made.settled("depth")
    made.look_begins()
    made.set("depth", "depth 7", lambda: None)
    assert prompted.acquire(timeout=TIMEOUT)
    made.look_ends()
    assert not made.settled("depth")
    assert made.settled("model")
    made.look_begins()
    made.look_ends()
    assert made.settled("depth")


def test_the_end(made: Changes) -> None:
    made.close()
    made.load("model", "mine", lambda: None)
    assert "queue is full" in made.notice
    made.end("closed")
    assert (made.notice, made.pending("model"), made.settled("model")) == ("closed", False, True)
