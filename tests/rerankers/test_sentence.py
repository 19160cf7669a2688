"""Loaded models of sentence-transformers as models here, against what the library itself says."""

from __future__ import annotations

import numpy as np
import pytest

from nbproxy.errors import ConfigError
from nbproxy.rerankers import as_reranker
from nbproxy.rerankers.sentence import SentenceCrossEncoder, SentenceEncoder
from nbproxy.rerankers.transformer import CrossEncoder

QUERY = "w1 w2 w3"


@pytest.fixture
def texts(rng):
    return [" ".join(f"w{rng.randrange(200)}" for _ in range(rng.randrange(1, 90))) for _ in range(20)]


def predicted(encoder, query, texts, **options):
    return encoder.predict([(query, text) for text in texts], show_progress_bar=False, **options)


@pytest.mark.parametrize("labels", [1, 2])
def test_cross_encoders(tiny, sentence_transformers, texts, labels):
    folder = tiny("bert", labels)
    encoder = sentence_transformers.CrossEncoder(str(folder))
    reranker = as_reranker(encoder)
    assert type(reranker) is CrossEncoder
    assert (reranker.name, reranker.source) == (folder.name, encoder)
    wanted = predicted(encoder, QUERY, texts) if labels == 1 else predicted(encoder, QUERY, texts, apply_softmax=True)
    assert reranker(QUERY, texts) == pytest.approx(wanted if labels == 1 else wanted[:, 1], abs=1e-5)
    assert reranker(QUERY, []) == []
    assert as_reranker(encoder, name="mine").name == "mine"


@pytest.mark.parametrize("options", [{"max_length": 24}, {}])
def test_a_cross_encoders_own_length_and_activation(tiny, sentence_transformers, texts, options):
    import torch

    folder = str(tiny("bert", 1))
    encoder = sentence_transformers.CrossEncoder(folder, activation_fn=torch.nn.Identity(), **options)
    reranker = as_reranker(encoder)
    assert type(reranker) is CrossEncoder
    assert reranker(QUERY, texts) == pytest.approx(predicted(encoder, QUERY, texts), abs=1e-5)
    assert reranker.fingerprint != as_reranker(sentence_transformers.CrossEncoder(folder)).fingerprint


@pytest.mark.parametrize("labels", [1, 2])
def test_cross_encoders_with_prompts(tiny, sentence_transformers, texts, labels):
    encoder = sentence_transformers.CrossEncoder(
        str(tiny("bert", labels)), prompts={"ask": "w7 w8 "}, default_prompt_name="ask"
    )
    reranker = as_reranker(encoder)
    assert type(reranker) is SentenceCrossEncoder
    wanted = predicted(encoder, QUERY, texts) if labels == 1 else predicted(encoder, QUERY, texts, apply_softmax=True)
    assert reranker(QUERY, texts) == pytest.approx(wanted if labels == 1 else wanted[:, 1], abs=1e-5)
    assert reranker(QUERY, [*texts, texts[0]])[-1] == reranker(QUERY, texts)[0]
    assert reranker(QUERY, []) == []
    plain = as_reranker(sentence_transformers.CrossEncoder(str(tiny("bert", labels))))
    assert reranker.fingerprint != plain.fingerprint


def test_an_activation_of_the_users_own(tiny, sentence_transformers, texts):
    import torch

    encoder = sentence_transformers.CrossEncoder(str(tiny("bert", 1)), activation_fn=torch.nn.Softplus())
    encoder.prompts = {"ask": "w7 "}
    assert as_reranker(encoder)(QUERY, texts) == pytest.approx(predicted(encoder, QUERY, texts), abs=1e-5)


def test_the_order_is_that_of_the_logits(tiny, sentence_transformers, texts):
    import torch

    encoder = sentence_transformers.CrossEncoder(
        str(tiny("bert", 1, spread=400.0)), prompts={"ask": "w7 "}, default_prompt_name="ask"
    )
    scores = as_reranker(encoder)(QUERY, texts)
    logits = predicted(encoder, QUERY, texts, activation_fn=torch.nn.Identity())
    assert len(set(predicted(encoder, QUERY, texts).tolist())) < len(texts) == len(set(scores))
    assert np.argsort(scores).tolist() == np.argsort(logits).tolist()


def test_a_cross_encoder_of_a_causal_model(tmp_path, sentence_transformers):
    from tests.rerankers.test_causal import QUERY, TEXTS, save

    encoder = sentence_transformers.CrossEncoder(str(save(tmp_path, pad=True)))
    reranker = as_reranker(encoder)
    assert type(reranker) is SentenceCrossEncoder
    assert reranker(QUERY, TEXTS) == pytest.approx(predicted(encoder, QUERY, TEXTS), abs=1e-5)


def test_three_labels(tiny, sentence_transformers):
    with pytest.raises(ConfigError, match="1 or 2 labels, this one 3"):
        as_reranker(sentence_transformers.CrossEncoder(str(tiny("bert", 3))))


@pytest.mark.parametrize("similarity", ["cosine", "dot", "euclidean"])
def test_encoders_with_their_prompts(tiny, sentence_transformers, texts, similarity):
    folder = tiny("bert", None)
    prompts = {"query": "w7 w8 ", "document": "w9 "}
    encoder = sentence_transformers.SentenceTransformer(str(folder), prompts=prompts, similarity_fn_name=similarity)
    reranker = as_reranker(encoder)
    assert type(reranker) is SentenceEncoder
    assert (reranker.name, reranker.source) == (folder.name, encoder)
    asked = encoder.encode([QUERY], prompt_name="query")
    wanted = encoder.similarity(asked, encoder.encode(texts, prompt_name="document"))[0].tolist()
    for _ in range(2):
        assert reranker(QUERY, texts) == pytest.approx(wanted, abs=1e-5)
    assert (reranker.cache.misses, reranker.cache.hits) == (len(texts), len(texts))
    plain = as_reranker(sentence_transformers.SentenceTransformer(str(folder)))
    assert plain(QUERY, texts) != reranker(QUERY, texts)
    assert plain.fingerprint != reranker.fingerprint
    assert plain(QUERY, []) == []


@pytest.mark.filterwarnings("ignore:Sparse CSR tensor support is in beta state")  # torch's, of the library's doing
def test_sparse_encoders(tiny, sentence_transformers, texts):
    from sentence_transformers.sparse_encoder.modules import SparseAutoEncoder

    dense = sentence_transformers.SentenceTransformer(str(tiny("bert", None)))
    modules = [dense[0], dense[1], SparseAutoEncoder(32, 64, k=16)]
    encoder = sentence_transformers.SparseEncoder(modules=modules)
    wanted = encoder.similarity(encoder.encode_query([QUERY]), encoder.encode_document(texts))[0].tolist()
    assert len(set(wanted)) > 1
    assert as_reranker(encoder)(QUERY, texts) == pytest.approx(wanted, abs=1e-5)


def test_encoders_of_several_vectors(tiny, sentence_transformers, texts):
    encoder = sentence_transformers.MultiVectorEncoder(str(tiny("bert", None)))
    wanted = encoder.similarity(encoder.encode_query([QUERY]), encoder.encode_document(texts))[0].tolist()
    assert as_reranker(encoder)(QUERY, texts) == pytest.approx(wanted, abs=1e-5)
