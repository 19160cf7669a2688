"""The lean classifier gives transformers' logits, or is not used."""

from __future__ import annotations

import numpy as np
import pytest

from nbproxy.rerankers import as_reranker

from .conftest import sentence


@pytest.mark.parametrize("labels", [1, 2])
@pytest.mark.parametrize("shape", ["bert", "roberta"])
def test_lean_equals_plain(tiny, rng, shape, labels):
    import torch

    from nbproxy.rerankers.modules import Lean, Logits, classifier

    reranker = as_reranker(tiny(shape, labels))
    lean, plain = classifier(reranker.model), Logits(reranker.model)
    assert isinstance(lean, Lean)
    encoded = reranker.reader.pairs("w1 w2", [sentence(rng, n) for n in (0, 4, 30, 90)])
    for _, arrays in reranker.reader.batches(encoded, 256):
        inputs = {key: torch.from_numpy(value) for key, value in arrays.items()}
        with torch.inference_mode():
            np.testing.assert_allclose(lean(**inputs).numpy(), plain(**inputs).numpy(), atol=2e-5, rtol=0)


def test_other_shapes_are_computed_as_transformers_does(tiny):
    from nbproxy.rerankers.modules import Logits, classifier

    for shape in ("deberta", "modernbert"):
        assert isinstance(classifier(as_reranker(tiny(shape, 1)).model), Logits)


def test_a_model_that_computes_otherwise_is_not_taken_for_bert(tiny):
    """A class of the same name whose layers do more: the comparison sees it."""
    from nbproxy.rerankers.modules import Logits, classifier

    model = as_reranker((as_reranker(tiny("bert", 1)).model, as_reranker(tiny("bert", 1)).tokenizer)).model
    hook = model.bert.encoder.register_forward_hook(
        lambda module, inputs, output: type(output)(last_hidden_state=output.last_hidden_state * 1.5)
    )
    assert isinstance(classifier(model), Logits)
    hook.remove()
    assert not isinstance(classifier(model), Logits)
