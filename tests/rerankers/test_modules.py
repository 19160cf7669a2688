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


def test_in_bfloat16_the_sums_between_layers_keep_their_digits(tiny):
    """Nearer to float32 than a module that is bfloat16 throughout; and the module itself is left as it was."""
    import copy

    import torch

    from nbproxy.rerankers.modules import classifier, narrowed, sample_inputs

    model = as_reranker(tiny("bert", 1)).model
    plain, inputs = classifier(model), sample_inputs(model, rows=64, tokens=30)
    with torch.inference_mode():
        wanted = plain(**inputs)
        own = narrowed(plain)
        apart = [float((each(**inputs).float() - wanted).std()) for each in (own, copy.deepcopy(plain).bfloat16())]
        assert torch.equal(plain(**inputs), wanted)
    assert 0 < apart[0] < apart[1]
    assert {each.dtype for each in own.parameters()} == {torch.float32, torch.bfloat16}
    assert narrowed(copy.deepcopy(plain).bfloat16()) is None
