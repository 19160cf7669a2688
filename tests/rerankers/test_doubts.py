"""Ties and saturation are seen, and warned of once."""

from __future__ import annotations

import logging
import threading
import warnings

import numpy as np
import pytest

from nbproxy.rerankers.doubts import Doubts
from nbproxy.rerankers.squash import scores_of


def look(doubts: Doubts, logits: list[float]) -> None:
    raw = np.array(logits)
    doubts.look(raw, scores_of(raw[:, None], None))


def test_ties_are_warned_of_once() -> None:
    doubts = Doubts("m")
    with pytest.warns(UserWarning, match="m: 4 different texts have only 2 different scores"):
        look(doubts, [1.0, 1.0, 1.0, 2.0])
    look(doubts, [1.0, 1.0, 1.0, 1.0])
    assert set(doubts.said) == {"ties"}


def test_saturation_is_warned_of_once() -> None:
    doubts = Doubts("m")
    with pytest.warns(UserWarning, match=r"m: 2 of 3 scores are saturated \(logits from -2 to 40\)"):
        look(doubts, [30.0, 40.0, -2.0])
    look(doubts, [30.0, 40.0, -2.0])


@pytest.mark.parametrize("logits", [[0.1], [1.0, 1.0], [0.0, 0.0, 1.0, 2.0], [-3.0, 2.0, 5.0], [0.0, 1e-9, 20.0], []])
def test_what_is_usual_is_not_warned_of(logits: list[float]) -> None:
    doubts = Doubts("m")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        look(doubts, logits)
    assert not doubts.said


def test_in_another_thread_it_is_a_line_of_the_log(caplog: pytest.LogCaptureFixture) -> None:
    doubts = Doubts("m")
    with caplog.at_level(logging.WARNING, "nbproxy.rerankers.doubts"):
        thread = threading.Thread(target=look, args=(doubts, [1.0] * 4))
        thread.start()
        thread.join()
    assert [record.message[:4] for record in caplog.records] == ["m: 4"]
