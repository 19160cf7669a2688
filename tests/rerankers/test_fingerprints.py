"""Equal in every process, different where the model differs."""

from __future__ import annotations

import functools
import itertools
import re
import subprocess
import sys
import textwrap

import numpy as np
import pytest

from nbproxy.rerankers.fingerprints import callable_fingerprint

# Each of these is another model, though many share a name and bytecode.
MODELS = """
    import functools
    import numpy as np

    def closing_over(value):
        def model(query, texts):
            return [value for _ in texts]
        return model

    class Scorer:
        limit = 3
        def __init__(self, weight, other=None):
            self.weight, self.other = weight, other
        def __call__(self, query, texts):
            return self.helper(texts)
        def helper(self, texts):
            return [self.weight] * len(texts)
        def method(self, query, texts):
            return self.helper(texts)

    class Child(Scorer):
        def helper(self, texts):
            return [0] * len(texts)

    class Slotted:
        __slots__ = ("weight",)
        def __init__(self, weight):
            self.weight = weight
        def __call__(self, query, texts):
            return [self.weight] * len(texts)

    def recursive():
        def model(query, texts):
            return [1] + model(query, texts[1:]) if texts else []
        return model

    def nested(query, texts):
        return [(lambda text: text in {"a", "b", "c", "d"})(text) for text in texts]

    def defaults(query, texts, *, weight={"b": 1, "a": {2, 3}}):
        return []

    @functools.lru_cache
    def cached(query, texts):
        return [1]

    @functools.lru_cache
    def also_cached(query, texts):
        return [2]

    MODELS = [
        lambda query, texts: [len(text) for text in texts],
        lambda query, texts: [abs(text) for text in texts],
        lambda query, texts: [0 for text in texts],
        lambda query, texts: [0.0 for text in texts],
        lambda query, texts: [-0.0 for text in texts],
        lambda query, texts: [False for text in texts],
        lambda query, texts, weight=1: [],
        lambda query, texts, weight=2: [],
        *map(closing_over, (1, 2, 1.0, "1", b"1", (1,), [1], {1}, {1: 2}, {2: 1}, None, len, Scorer, np.arange(3))),
        closing_over(np.arange(4)), closing_over(np.arange(3.0)), closing_over(closing_over(1)),
        closing_over(object()), closing_over(np.array(["a", None], dtype=object)),
        closing_over(Scorer(1)), closing_over(Scorer(2)), closing_over(Scorer(2, other=object())),
        Scorer(1), Scorer(2), Child(1), Scorer(1).method, Scorer(2).method, Slotted(1), Slotted(2),
        recursive(), nested, defaults, cached, also_cached,
        functools.partial(Scorer.method, Scorer(1)), functools.partial(nested, texts=[]), functools.partial(nested),
        sorted, map,
    ]
"""
space: dict[str, object] = {}
exec(compile(textwrap.dedent(MODELS), "models", "exec"), space)


def digits(models):
    return [callable_fingerprint(model) for model in models]


def test_sixteen_hex_digits_each_another():
    found = digits(space["MODELS"])
    assert all(re.fullmatch("[0-9a-f]{16}", digit) for digit in found)
    same = [(a, b) for a, b in itertools.combinations(range(len(found)), 2) if found[a] == found[b]]
    assert same == []


def test_the_same_in_another_process():
    """Another seed for hashes, so that sets come in another order, and other addresses."""
    code = textwrap.dedent(MODELS) + (
        "from nbproxy.rerankers.fingerprints import callable_fingerprint\nprint(*map(callable_fingerprint, MODELS))\n"
    )
    for seed in ("1", "2"):
        run = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment(seed)
        )
        assert run.stdout.split() == digits(space["MODELS"])


def environment(seed: str) -> dict[str, str]:
    import os

    return os.environ | {"PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}


def test_an_own_fingerprint_wins():
    class Mine:
        fingerprint = "version 7"

        def __call__(self, query, texts):
            return []

    def model(query, texts):
        return []

    assert callable_fingerprint(Mine()) == "version 7"
    before = callable_fingerprint(lambda query, texts: model(query, texts))
    model.fingerprint = "mine"
    assert callable_fingerprint(model) == "mine"
    assert callable_fingerprint(lambda query, texts: model(query, texts)) != before
    model.fingerprint = 3  # says nothing
    assert re.fullmatch("[0-9a-f]{16}", callable_fingerprint(model))


def test_a_cell_that_was_never_assigned():
    def model(query, texts):
        return later

    if model is None:
        later = 1
    assert re.fullmatch("[0-9a-f]{16}", callable_fingerprint(model))


@pytest.mark.parametrize("weight", [np.float64(1.5), "é\ud800", float("nan"), 1j, ..., range(3), slice(1, None)])
def test_odd_values(weight):
    function = functools.partial(space["nested"], weight=weight)
    assert callable_fingerprint(function) == callable_fingerprint(functools.partial(space["nested"], weight=weight))
