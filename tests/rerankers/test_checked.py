"""What a model may return, and what is said about the rest."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import numpy as np
import pandas as pd
import pytest

from nbproxy.errors import RerankFault
from nbproxy.rerankers import checked_scores


@pytest.mark.parametrize(
    "scores",
    [
        [3, 1, 2],
        (3.0, 1.0, 2.0),
        iter([3, 1, 2]),
        (score for score in (3, 1, 2)),
        range(3, 0, -1),
        np.array([3, 1, 2]),
        np.array([3, 1, 2], dtype=np.float16),
        np.array([[3], [1], [2]]),
        [np.float32(3), np.int8(1), np.array(2.0)],
        [[3], (1,), np.array([2])],
        [True + 2, True, 2],
        [Fraction(3), 1, 2],
        pd.Series([3, 1, 2], index=[2, 0, 1]),
        pd.Series([3, 1, 2], dtype="Int64"),
        pd.DataFrame({"score": [3.0, 1.0, 2.0]}),
        {"a": 3, "b": 1, "c": 2}.values(),
    ],
    ids=lambda scores: type(scores).__name__,
)
def test_accepted(scores):
    expected = [3.0, 2.0, 1.0] if isinstance(scores, range) else [3.0, 1.0, 2.0]
    checked = checked_scores(scores, 3)
    assert checked == expected
    assert {type(score) for score in checked} == {float}


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16", "int64", "bool"])
def test_tensors(dtype):
    torch = pytest.importorskip("torch")
    ones = torch.ones(2, dtype=getattr(torch, dtype))
    assert checked_scores(ones, 2) == [1.0, 1.0]
    assert checked_scores(ones.unsqueeze(1), 2) == [1.0, 1.0]
    assert checked_scores([*ones], 2) == [1.0, 1.0]


def test_tensors_that_want_gradients():
    torch = pytest.importorskip("torch")
    assert checked_scores(torch.zeros(2, requires_grad=True), 2) == [0.0, 0.0]


def test_none_for_none():
    assert checked_scores([], 0) == []
    assert checked_scores(np.array([]), 0) == []


@pytest.mark.parametrize(
    ("scores", "message"),
    [
        (None, "the model returned None instead of 2 scores"),
        ("ab", "the model returned str 'ab' instead of 2 scores"),
        ({0: 1.0, 1: 2.0}, "the model returned an object of type dict instead of 2 scores"),
        ({1.0, 2.0}, "the model returned an object of type set instead of 2 scores"),
        (0.5, "the model returned an object of type float instead of 2 scores"),
        (np.array(0.5), "the model returned an object of type ndarray instead of 2 scores"),
        ([1.0], "the model returned 1 score for 2 texts"),
        ([1.0, 2.0, 3.0], "the model returned 3 scores for 2 texts"),
        ([1.0, float("nan")], r"score 1 \(counted from 0\) is nan; scores have to be finite"),
        ([float("-inf"), 1.0], r"score 0 \(counted from 0\) is -inf; scores have to be finite"),
        ([10**400, 1.0], r"score 0 \(counted from 0\) is inf"),
        ([None, 1.0], r"score 0 \(counted from 0\) is None, not a real number"),
        (["high", 1.0], r"score 0 \(counted from 0\) is str 'high', not a real number"),
        ([1.0, 1j], r"score 1 \(counted from 0\) is complex 1j, not a real number"),
        ([1.0, Decimal(1)], r"score 1 \(counted from 0\) is an object of type Decimal, not a real number"),
        (pd.Series([1, None], dtype="Int64"), r"score 1 \(counted from 0\) is nan"),
        (np.ones((2, 3)), "a row of 3 values for a text instead of one score; of a classifier's labels"),
        ([[], []], "a row of 0 values"),
    ],
)
def test_refused(scores, message):
    with pytest.raises(RerankFault, match=message) as caught:
        checked_scores(scores, 2)
    assert caught.value.why == "model-error"
