"""int8 layers stay close to the layers they stand for; parts that make the score stay as they are."""

from __future__ import annotations

import numpy as np
import pytest

from nbproxy.rerankers import as_reranker


@pytest.mark.parametrize("backend", ["onnx", "openvino"])
def test_a_linear_layer_in_int8_is_close_even_with_channels_far_larger_than_others(backend):
    import torch

    from nbproxy.rerankers.quantized import quantized

    torch.manual_seed(0)
    plain = torch.nn.Sequential(torch.nn.Linear(32, 16)).eval()  # too few layers to leave one in float
    inputs = torch.randn(200, 32) * torch.logspace(-1, 1.5, 32)
    int8 = quantized(plain, lambda module: module(inputs), backend)
    with torch.inference_mode():
        wanted, found = plain(inputs), int8(inputs)
    error = (wanted - found).pow(2).mean().sqrt() / wanted.std()
    assert 0 < float(error) < 0.02


@pytest.mark.parametrize("backend", ["onnx", "openvino"])
def test_what_makes_the_score_and_the_model_itself_stay_as_they_are(tiny, backend):
    import torch

    from nbproxy.rerankers.modules import classifier
    from nbproxy.rerankers.quantized import Grouped, Int8Linear, quantized

    reranker = as_reranker(tiny("bert", 1))
    before = reranker("w1", ["w2 w3"])
    batch = next(reranker.reader.batches(reranker.reader.pairs("w1", ["w2 w3"]), 64))[1]
    inputs = {key: torch.from_numpy(value) for key, value in batch.items()}
    kind, count = {"onnx": (Int8Linear, 2 * 6 - 2), "openvino": (Grouped, 2 * 6)}[backend]  # one in six stays in float
    int8 = quantized(classifier(reranker.model), lambda module: module(**inputs), backend)
    assert sum(isinstance(each, kind) for each in int8.modules()) == count
    assert type(int8.head) is torch.nn.Linear
    assert as_reranker((reranker.model, reranker.tokenizer))("w1", ["w2 w3"]) == before
    with torch.inference_mode():
        np.testing.assert_allclose(int8(**inputs), classifier(reranker.model)(**inputs), atol=0.1)
