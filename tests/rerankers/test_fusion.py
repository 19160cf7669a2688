"""Several models as one."""

from __future__ import annotations

import pytest

import nbproxy
from nbproxy.errors import ConfigError, RerankFault
from nbproxy.ranking import Hit, reorder
from nbproxy.rerankers import as_reranker, field, fuse, listwise

TEXTS = ["one", "three", "eleven", "at"]


def hits(scores=None, **more):
    given = scores or [None] * len(TEXTS)
    return [Hit("i", str(n), n, score=score, text=text, source=more.get("source", {}).get(text))
            for n, (text, score) in enumerate(zip(TEXTS, given, strict=True), 1)]  # fmt: skip


def long(query, texts):
    return [len(text) for text in texts]


def short(query, texts):
    return [-len(text) for text in texts]


def alike(query, texts):
    return [7.0 for _ in texts]


LONG, SHORT, ORIGINAL = [3, 2, 1, 4], [2, 3, 4, 1], [1, 2, 3, 4]  # ranks


def rrf(*weighted, k=60):
    return [sum(weight / (k + ranks[place]) for ranks, weight in weighted) for place in range(len(TEXTS))]


@pytest.mark.parametrize(
    ("models", "options", "wanted"),
    [
        ((long,), {}, rrf((LONG, 1))),
        ((long, short), {}, rrf((LONG, 1), (SHORT, 1))),
        ((long, short), {"original": 0.3}, rrf((LONG, 1), (SHORT, 1), (ORIGINAL, 0.3))),
        ((long, short), {"weights": [2, 0.5]}, rrf((LONG, 2), (SHORT, 0.5))),
        ((long,), {"original": 1, "k": 1}, rrf((LONG, 1), (ORIGINAL, 1), k=1)),
        ((long, "original"), {}, rrf((LONG, 1), (ORIGINAL, 1))),
        ((alike, long), {}, [1 / 62.5 + score for score in rrf((LONG, 1))]),
        ((listwise(lambda query, texts: [2, 1, 0, 3]),), {}, rrf((LONG, 1))),
    ],
)
def test_reciprocal_ranks(models, options, wanted):
    assert fuse(*models, **options).score("q", hits()) == pytest.approx(wanted, rel=1e-12)


def test_original_ranks_are_the_searchs_own():
    third = [Hit("i", "x", 3, text="a"), Hit("i", "y", 9, text="b")]
    assert fuse("original").score("q", third) == pytest.approx([1 / 63, 1 / 69])


@pytest.mark.parametrize(
    ("models", "options", "scores", "wanted"),
    [
        ((long,), {}, None, [0.25, 0.75, 1.0, 0.0]),
        ((long, short), {}, None, [0.5, 0.5, 0.5, 0.5]),
        ((long, short), {"weights": [3, 1]}, None, [0.375, 0.625, 0.75, 0.25]),
        ((long,), {"original": 1}, [9.0, 5.0, 3.0, 1.0], [0.625, 0.625, 0.625, 0.0]),
        ((long,), {"original": 1}, None, [0.625, (0.75 + 2 / 3) / 2, (1 + 1 / 3) / 2, 0.0]),
        ((long,), {"original": 1}, [1.0, 2.0, 3.0, 4.0], [0.625, (0.75 + 2 / 3) / 2, (1 + 1 / 3) / 2, 0.0]),
        ((long, alike), {}, None, [0.125, 0.375, 0.5, 0.0]),
        ((lambda query, texts: [1.7e308, -1.7e308, 0.0, 0.0],), {}, None, [1.0, 0.0, 0.5, 0.5]),
    ],
)
def test_weighted(models, options, scores, wanted):
    made = fuse(*models, method="weighted", **options)
    assert made.score("q", hits(scores)) == pytest.approx(wanted, rel=1e-12)


def test_a_documents_own_numbers():
    given = hits(source={"one": {"rating": 5}, "three": {"rating": 1}, "at": {"rating": 3}})
    rating = field("rating")
    assert fuse(rating).score("q", given) == pytest.approx([1 / 61, 1 / 63, 0.0, 1 / 62])
    assert fuse(rating, method="weighted").score("q", given) == [1.0, 0.0, 0.0, 0.5]
    assert fuse(as_reranker(rating, name="stars")).score("q", given) == fuse(rating).score("q", given)
    both = fuse(long, rating, method="weighted").score("q", given)
    assert reorder(both) == [0, 2, 1, 3]
    assert fuse(long, rating).reads_source
    assert not fuse(long).reads_source
    assert fuse(long, fuse(long, rating)).reads_source


def test_a_weight_of_nothing_asks_nothing():
    def broken(query, texts):
        raise RuntimeError("asked")

    assert fuse(long, broken, weights=[1, 0]).score("q", hits()) == pytest.approx(rrf((LONG, 1)))
    with pytest.raises(RuntimeError, match="asked"):
        fuse(long, broken).score("q", hits())


def test_its_models_are_warmed():
    class Cold(nbproxy.rerankers.BaseReranker):
        warmed = 0

        def score(self, query, hits):
            return [0.0] * len(hits)

        def warm(self):
            self.warmed += 1

    used, unused = Cold("used", "1", None), Cold("unused", "2", None)
    fuse(used, "bm25", unused, weights=[1, 1, 0]).warm()
    assert (used.warmed, unused.warmed) == (1, 0)


def test_a_model_that_fails_is_not_left_out():
    with pytest.raises(RerankFault, match="returned 0 scores"):
        fuse(long, lambda query, texts: [])("q", TEXTS)


def test_called_on_texts_and_none():
    assert nbproxy.fuse("bm25", "words", original=0.3)("three", TEXTS)[1] == pytest.approx(2 / 61 + 0.3 / 62)
    assert nbproxy.fuse("bm25", "words")("q", []) == []
    assert nbproxy.fuse("bm25", original=1, method="weighted")("q", ["a"]) == [0.0]


def test_its_name_source_and_fingerprint():
    made = fuse("bm25", long, original=0.3)
    assert as_reranker(made) is made
    assert made.name == "fuse(bm25, long, original)"
    assert [one.name for one in made.source] == ["bm25", "long", "original"]
    assert fuse("bm25", name="mine").name == "mine"
    variants = [
        made, fuse("bm25", long), fuse(long, "bm25", original=0.3), fuse("bm25", long, original=0.4),
        fuse("bm25", long, original=0.3, method="weighted"), fuse("bm25", long, original=0.3, k=10),
        fuse("bm25", long, original=0.3, weights=[1, 2]),
    ]  # fmt: skip
    assert len({one.fingerprint for one in variants}) == len(variants)
    assert made.fingerprint == fuse("bm25", long, original=0.3).fingerprint


@pytest.mark.parametrize(
    ("models", "options", "message"),
    [
        ((), {}, "at least one model"),
        (("bm25",), {"weights": [0]}, "at least one model"),
        (("bm25",), {"weights": [1, 2]}, "one weight of at least 0 for each of its 1 models"),
        (("bm25",), {"weights": [-1]}, "one weight of at least 0"),
        (("bm25",), {"original": float("nan")}, "one weight of at least 0"),
        (("bm25",), {"original": True}, "one weight of at least 0"),
        (("bm25",), {"method": "borda"}, 'method is "rrf" or "weighted"'),
        (("bm25",), {"k": 0}, "k above 0"),
        ((None,), {}, "fuse takes models, not None"),
        ((3,), {}, "cannot be a model"),
    ],
)
def test_wrong_arguments(models, options, message):
    with pytest.raises(ConfigError, match=message):
        fuse(*models, **options)
