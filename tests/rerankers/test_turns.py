"""No object is called twice at once, whatever names and fusions it has."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

from nbproxy.rerankers import as_reranker, fuse
from nbproxy.rerankers.base import hits_of
from nbproxy.rerankers.turns import called, turn


class Counting:
    """A model that notes how many are in it at once; the first waits for company that must not come."""

    def __init__(self) -> None:
        self.inside = self.most = 0
        self.lock = threading.Lock()

    def __call__(self, query: str, texts: list[str]) -> list[float]:
        with self.lock:
            self.inside += 1
            self.most = max(self.most, self.inside)
        threading.Event().wait(0.01)  # long enough for another thread to come in, if it could
        with self.lock:
            self.inside -= 1
        return [float(n) for n in range(len(texts))]


def test_what_is_called_in_the_end() -> None:
    model = Counting()
    one, other = as_reranker(model, name="one"), as_reranker(model, name="other")
    assert called(one) is called(other) is model
    assert turn(one) is turn(other)
    assert turn(one) is not turn(as_reranker(Counting()))


def test_a_part_of_a_fusion_is_not_called_beside_its_own_turn() -> None:
    model = Counting()
    alone, fused = as_reranker(model), fuse(model, "words")
    hits = hits_of(["a", "b"])

    def serve() -> None:
        with turn(alone):
            alone.score("a", hits)

    with ThreadPoolExecutor(8) as pool:
        jobs = [pool.submit(serve if n % 2 else lambda: fused.score("a", hits)) for n in range(16)]
        for job in jobs:
            job.result()
    assert model.most == 1


class Slotted:
    """Nothing can refer to it weakly."""

    __slots__ = ()

    def score(self, query: str, texts: list[str]) -> list[float]:
        return [0.0] * len(texts)


def test_what_cannot_be_referred_to_weakly_is_called_all_the_same() -> None:
    model = as_reranker(Slotted().score)
    with turn(model):
        assert list(model.score("a", hits_of(["b"]))) == [0.0]
