"""Scores keep the logits' order."""

from __future__ import annotations

import numpy as np
import pytest

from nbproxy.rerankers.squash import scores_of

SIGMOID, TANH = "torch.nn.modules.activation.Sigmoid", "torch.nn.modules.activation.Tanh"


def column(*logits: float) -> np.ndarray:
    return np.array(logits, dtype=np.float64).reshape(-1, 1)


@pytest.mark.parametrize("activation", [None, SIGMOID, TANH])
def test_distinct_logits_stay_distinct_and_in_order(activation):
    logits = np.float64(np.float32([*np.linspace(-2000, 2000, 41), 1e-30, -1e-30, 36.9, 37.0, 40.0, 40.00001]))
    scores = scores_of(logits.reshape(-1, 1), activation)
    assert len(set(scores)) == len(set(logits))
    np.testing.assert_array_equal(np.argsort(scores), np.argsort(logits))
    assert np.isfinite(scores).all()


def test_equal_logits_stay_equal():
    scores = scores_of(column(50.0, 3.0, 50.0, 60.0, 3.0), None)
    assert scores[0] == scores[2]
    assert scores[1] == scores[4]
    assert scores[3] > scores[0]


@pytest.mark.parametrize(
    ("activation", "expected"),
    [
        (None, [0.5, 0.7310585786300049]),
        (SIGMOID, [0.5, 0.7310585786300049]),
        (TANH, [0.0, 0.7615941559557649]),
        ("torch.nn.modules.linear.Identity", [0.0, 1.0]),
        ("torch.nn.Identity", [0.0, 1.0]),
        ("somewhere.else.Identity", [0.5, 0.7310585786300049]),  # predict does not trust it either
    ],
)
def test_activations(activation, expected):
    np.testing.assert_allclose(scores_of(column(0.0, 1.0), activation), expected, atol=1e-15)


def test_two_labels_rank_by_their_difference():
    logits = np.array([[5.0, 6.0], [0.0, 3.0], [100.0, 101.0]])
    np.testing.assert_allclose(scores_of(logits, None), [0.7310585786300049, 0.9525741268224334, 0.7310585786300049])


def test_nan_is_kept_for_the_check_that_names_it():
    assert np.isnan(scores_of(column(1.0, np.nan), None)).tolist() == [False, True]
