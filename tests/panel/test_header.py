"""The state and its colour, sign and words."""

from __future__ import annotations

from typing import Any

import pytest

from nbproxy.controls import Snapshot
from nbproxy.panel import header
from nbproxy.panel.header import Pulse

from ..test_views import line


def snapshot(uptime: float = 1.0, errors: int = 0, state: str = "running", n: int = 0, **more: Any) -> Snapshot:
    status = {"uptime_s": uptime, "state": state, "errors": errors, "counts": {"route": {"search": n}}, "upstream": "u"}
    return Snapshot(status=status, **more)


def pulse(*snapshots: Snapshot) -> Pulse:
    made = Pulse()
    for one in snapshots:
        made.add(one)
    return made


@pytest.mark.parametrize(
    ("now", "known", "said", "health"),
    [
        (snapshot(), {}, (), ("good", "running")),
        (snapshot(state="starting"), {}, (), ("warn", "starting")),
        (snapshot(state="failed"), {}, (), ("bad", "failed")),
        (snapshot(state="stopped"), {}, (), ("bad", "stopped")),
        (snapshot(), {"loading": True}, (), ("warn", "running, loading a model")),
        (snapshot(), {"trouble": "gone"}, (), ("bad", "cannot be seen")),
        (snapshot(2, 1), {}, (snapshot(1, 0), snapshot(2, 1)), ("warn", "running, errors")),
        (snapshot(40, 1), {}, (snapshot(1, 0), snapshot(2, 1)), ("good", "running")),
        (snapshot(2, 1), {}, (snapshot(2, 1),), ("good", "running")),
        (snapshot(lines=(line(status=502, error="nobody"),)), {}, (), ("bad", "running, upstream fails")),
        (snapshot(lines=(line(), line(status=502, error="nobody"))), {}, (), ("good", "running")),
    ],
)
def test_health(now: Snapshot, known: dict[str, Any], said: tuple[Snapshot, ...], health: tuple[str, str]) -> None:
    assert header.health(now, pulse(*said), **known) == health


def test_the_last_error_stands_there_while_it_matters() -> None:
    status = {"uptime_s": 2.0, "state": "running", "errors": 1}
    now = Snapshot(status=status, errors=("old", "model: <b>"))
    shown = header.header(now, pulse(snapshot(1, 0), now))
    assert "model: &lt;b&gt;" in shown
    assert "▲" in shown
    assert "model: &lt;b&gt;" not in header.header(now, pulse(now))


def test_the_lines_stand_still_while_nothing_comes() -> None:
    made = pulse(*(snapshot(float(t), n=5) for t in range(10)))
    assert list(made.rates) == [None, 0.0]
    made.add(snapshot(10.0, n=50))
    assert len(made.rates) == 3


def test_the_address_has_a_button_that_copies_it() -> None:
    shown = header.address("http://127.0.0.1:1", "a<b")
    assert 'aria-label="copy the address"' in shown
    assert "a&lt;b" in shown
