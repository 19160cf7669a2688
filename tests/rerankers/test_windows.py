"""Texts as token ids: cut at the end, or read through overlapping windows; batches within a budget."""

from __future__ import annotations

import random

import numpy as np
import pytest

from nbproxy.errors import ConfigError
from nbproxy.rerankers import as_reranker
from nbproxy.rerankers.windows import Reader, batches

from .conftest import WORDS, sentence, tiny_tokenizer


@pytest.fixture(scope="module")
def tokenizer():
    return tiny_tokenizer(pairs_have_types=True, max_length=64)


def test_batches_keep_every_position_within_the_budget():
    rng = random.Random(0)
    lengths = [rng.randint(1, 60) for _ in range(200)]
    cut = list(batches(lengths, 128))
    assert sorted(position for batch in cut for position in batch) == list(range(200))
    assert all(len(batch) == 1 or max(lengths[i] for i in batch) * len(batch) <= 128 for batch in cut)
    assert list(batches([], 8)) == []
    assert list(batches([3, 3], 0)) == [[0], [1]]


def words_of(tokenizer, ids):
    return [word for word in tokenizer.convert_ids_to_tokens(ids) if word in WORDS]


def test_windows_overlap_and_hold_every_word_of_the_text(tokenizer, rng):
    reader = Reader(tokenizer, 64, "max")
    query, texts = sentence(rng, 7), [sentence(rng, n) for n in (0, 3, 54, 55, 400)]
    encoded = reader.pairs(query, texts)
    assert encoded.owners[:4] == [0, 1, 2, 3]
    assert len(encoded.owners) > 8
    assert max(encoded.lengths) == 64
    for owner, text in enumerate(texts):
        windows = [
            words_of(tokenizer, ids)[7:]
            for ids, o in zip(encoded.ids["input_ids"], encoded.owners, strict=True)
            if o == owner
        ]
        whole = list(windows[0])
        for window in windows[1:]:
            overlap = 13  # a quarter of the 54 tokens that the text has beside query and special tokens
            assert window[:overlap] == whole[-overlap:]
            whole += window[overlap:]
        assert whole == text.split()


def test_one_window_is_what_the_first_passage_is(tokenizer, rng):
    query, texts = sentence(rng, 30), [sentence(rng, n) for n in (0, 5, 20)]
    assert Reader(tokenizer, 64, "max").pairs(query, texts) == Reader(tokenizer, 64, "first").pairs(query, texts)
    assert Reader(tokenizer, 64, "max").singles(texts) == Reader(tokenizer, 64, "first").singles(texts)


def test_a_query_never_fills_the_window(tokenizer, rng):
    encoded = Reader(tokenizer, 64, "max").pairs(sentence(rng, 500), [sentence(rng, 100)])
    assert set(encoded.lengths) == {64} or max(encoded.lengths) == 64
    assert all(len(words_of(tokenizer, ids)) > 32 for ids in encoded.ids["input_ids"])


@pytest.mark.parametrize("side", ["left", "right"])
def test_batches_are_padded_on_the_tokenizers_side(tokenizer, rng, side):
    tokenizer.padding_side = side
    encoded = Reader(tokenizer, 64, "first").pairs("w1", [sentence(rng, n) for n in (2, 9, 4)])
    for positions, arrays in Reader(tokenizer, 64, "first").batches(encoded, 64):
        rows = {key: [values[i] for i in positions] for key, values in encoded.ids.items()}
        wanted = tokenizer.pad(rows, return_tensors="np")
        assert set(arrays) == set(wanted)
        for key, array in arrays.items():
            np.testing.assert_array_equal(array, wanted[key])
    tokenizer.padding_side = "right"


def test_other_passages_are_refused(tokenizer):
    with pytest.raises(ConfigError, match="passages must be 'first' or 'max', not 'mean'"):
        Reader(tokenizer, 64, "mean")


@pytest.mark.parametrize("labels", [1, None])
def test_half_a_character_is_read_as_an_unknown_one(tiny, labels):
    """JSON can write it, UTF-8 cannot: a search that holds one is scored like any other."""
    model = as_reranker(tiny("bert", labels))
    broken, whole = model("w1 \ud800", ["w2 \udfff", "w3"]), model("w1 \ufffd", ["w2 \ufffd", "w3"])
    assert broken == pytest.approx(whole, abs=1e-6)
