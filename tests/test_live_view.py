"""What keys do to the terminal view, and what it makes of the snapshots that it sees."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from nbproxy.controls import Sight, Snapshot
from nbproxy.errors import ConfigError, SessionClosed
from nbproxy.live_view import Pulse, View

from .test_views import line, place, snapshot
from .upstreams import TIMEOUT

SIGHT = Sight(exchange_id="2", query="boots", model="m", places=(place(1, 1),))


class Proxy:
    """Controls of a proxy that has had three exchanges."""

    url, name = "http://127.0.0.1:9", "default"

    def __init__(self) -> None:
        self.model: str | None = "m"
        self.asked: list[int] = []
        self.loaded = threading.Event()

    def snapshot(self, lines: int = 50) -> Snapshot:
        self.asked.append(lines)
        seen = tuple(line(exchange_id=str(n), query=f"boot{n}x", reranked=n != 1) for n in (3, 2, 1))
        status = {"model": {"name": self.model}}
        return snapshot(float(len(self.asked)), search=3, status=status, lines=seen, models=("none", "m", "n"))

    def sight(self, exchange_id: str) -> Sight | None:
        if exchange_id == "3":
            raise SessionClosed("gone")
        return SIGHT

    def set_model(self, name: str | None) -> None:
        try:
            if name == "n":
                raise ConfigError("no such model")
            self.model = name
        finally:
            self.loaded.set()


@pytest.fixture
def proxy() -> Proxy:
    return Proxy()


@pytest.fixture
def view(proxy: Proxy) -> View:
    return View(proxy, proxy.snapshot())


def pressed(view: View, *keys: str) -> View:
    for key in keys:
        view.press(key)
    return view


def test_pausing_holds_what_is_shown(view: View, proxy: Proxy) -> None:
    before = len(proxy.asked)
    assert pressed(view, "P").paused
    view.look()
    assert len(proxy.asked) == before
    assert not pressed(view, "space").paused


def test_selecting_holds_the_list_and_shows_the_search(view: View) -> None:
    pressed(view, "down")
    assert (view.chosen.exchange_id, view.paused, view.sight) == ("3", True, None)  # type: ignore[union-attr]
    assert view.trouble == "gone"
    pressed(view, "j")
    assert view.sight is SIGHT
    pressed(view, "page down")
    assert (view.chosen.exchange_id, view.sight) == ("1", None)  # type: ignore[union-attr]
    pressed(view, "escape")
    assert (view.chosen, view.paused) == (None, False)


def test_a_filter_is_typed_and_looks_through_more(view: View, proxy: Proxy) -> None:
    pressed(view, "/", "B", "u", "backspace", "space", "2", "X", "q")
    assert (view.wanted, view.typing, view.ended) == ("B 2Xq", True, False)
    pressed(view, "backspace", "enter")
    assert [one.exchange_id for one in view.listed] == ["2"]
    view.look(10)
    assert proxy.asked[-1] == 200
    assert pressed(view, "escape").wanted is None
    assert pressed(view, "/", "x", "escape").wanted is None
    assert pressed(view, "/", "x", "clear", "enter").wanted is None
    view.look(10)
    assert proxy.asked[-1] == 10


@pytest.mark.parametrize(("keys", "model"), [(("up", "enter"), None), (("down", "enter"), "m"), (("escape",), "m")])
def test_a_model_is_chosen_and_loaded_behind_the_view(view: View, proxy: Proxy, keys: Any, model: str | None) -> None:
    pressed(view, "m")
    assert view.menu == (("none", "m", "n"), 1)
    pressed(view, *keys)
    assert view.menu is None
    if "enter" in keys:
        assert proxy.loaded.wait(TIMEOUT)
        for thread in threading.enumerate():
            if thread.name == "nbproxy-live-model":
                thread.join(TIMEOUT)
        assert view.notice == ("none serves now" if model is None else "n cannot be served: ConfigError: no such model")
        for _ in range(11):
            view.look()
        assert view.notice == ""
    assert proxy.model == model


def test_q_ends_it_wherever_it_is(view: View) -> None:
    assert pressed(view, "m", "q").ended


def test_a_terminal_that_has_gone_ends_it(view: View) -> None:
    assert pressed(view, "/", "gone").ended


def test_rates_are_by_what_became_of_exchanges() -> None:
    pulse = Pulse()
    for seconds, reranked in ((1.0, 10), (2.0, 30), (3.0, 50)):
        counts = {"route": {"search": reranked + 5, "pass": int(seconds), "own": 99}, "reason": {"sorted": 5}}
        pulse.add(snapshot(seconds, status={"counts": counts}))
    assert pulse.rates == {"reranked": 20.0, "left alone": 0.0, "passed on": 1.0}
    assert pulse.rate == 21.0
    pulse.add(snapshot(0.5, search=1))
    assert len(pulse.history) == 2
    assert pulse.rates == {"reranked": 20.0, "left alone": 0.0, "passed on": 1.0}


def test_each_exchange_is_timed_once() -> None:
    pulse = Pulse()
    seen = [line(exchange_id=str(n), started=n, model="a", rerank_ms=float(n)) for n in range(1, 101)]
    pulse.add(Snapshot(status={}, lines=tuple(reversed(seen[:60]))))
    pulse.add(Snapshot(status={}, lines=tuple(reversed(seen[40:]))))
    assert pulse.took == {"a": (51.0, 95.0)}
