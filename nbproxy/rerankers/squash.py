"""From logits to scores, without losing the logits' order.

A sigmoid in float32 is 1.0 from a logit of 17 on: hits that the model told apart would tie. Here it is taken in
float64, which holds out to 37, and what still ties is set apart by the smallest step that a float can show: scores
stay equal to ``CrossEncoder.predict``'s to 1e-5 and the order is the logits' (contract §2).
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np

Floats = np.ndarray[Any, np.dtype[np.float64]]


def scores_of(logits: Floats, activation: str | None) -> Floats:
    """One score for each row of logits.

    :param logits: shape ``(n, 1)`` or ``(n, 2)``.
    :param activation: the dotted name in the model's configuration; None: the default of
        ``CrossEncoder.predict``, a sigmoid for one label.
    :returns: shape ``(n,)``. One label: what ``predict`` returns. Two: the probability of the second label, which
        is ``predict(…, apply_softmax=True)[:, 1]``: the sigmoid of the difference, whatever the configuration
        says, because the two logits rank only together.
    """
    if logits.shape[1] == 2:
        return _in_order(_sigmoid, logits[:, 1] - logits[:, 0])
    name = (activation or "").rpartition(".")[2] if (activation or "").startswith("torch.") else "Sigmoid"
    squash = _SQUASHES.get(name)
    return logits[:, 0] if name == "Identity" else _in_order(squash or _sigmoid, logits[:, 0])


def _sigmoid(logits: Floats) -> Floats:
    """1 / (1 + exp(-x)) without overflow: exp is only ever taken of what is not positive."""
    small = np.exp(-np.abs(logits))
    return np.where(logits >= 0, 1.0, small) / (1.0 + small)


_SQUASHES: dict[str, Callable[[Floats], Floats]] = {"Sigmoid": _sigmoid, "Tanh": np.tanh}


def _in_order(squash: Callable[[Floats], Floats], logits: Floats) -> Floats:
    """The squashed logits, distinct wherever the logits are; equal ones stay equal."""
    scores = np.array(squash(logits))
    for above, here in pairwise(np.argsort(-logits, kind="stable")):
        if logits[here] == logits[above]:
            scores[here] = scores[above]
        elif scores[here] >= scores[above]:
            scores[here] = np.nextafter(scores[above], -np.inf)
    return scores
