"""OpenVINO's own ways to fail, said plainly."""

from __future__ import annotations

import gc

import numpy as np
import pytest

from nbproxy.errors import ConfigError
from nbproxy.rerankers.openvino import convert


def test_what_cannot_be_converted_is_said():
    import torch

    class Odd(torch.nn.Module):
        def forward(self, input_ids, attention_mask):
            raise RuntimeError("no graph")

    sample = {name: torch.zeros(1, 2, dtype=torch.long) for name in ("input_ids", "attention_mask")}
    with pytest.raises(ConfigError, match="OpenVINO cannot convert this model: "):
        convert(Odd(), sample)


def test_converting_tells_nobody(tiny, monkeypatch):
    """openvino.convert_model sends an event for each conversion."""
    import openvino_telemetry

    import nbproxy

    def told(*arguments, **more):
        raise AssertionError(f"sent {arguments}")

    monkeypatch.setattr(openvino_telemetry.Telemetry, "send_event", told)
    monkeypatch.setattr(openvino_telemetry.Telemetry, "start_session", told)
    assert nbproxy.CrossEncoder(tiny("bert", 1), backend="openvino", device="cpu")("w1", ["w2"])


@pytest.mark.parametrize("width", [128, 384])
def test_int8_reaches_the_runtime_as_integers(width):
    """Rounded numbers that are multiplied in float would cost the order and bring nothing."""
    import torch

    from nbproxy.rerankers.openvino import OpenVinoBackend
    from nbproxy.rerankers.quantized import quantized

    class Two(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.embeddings, self.up = torch.nn.Embedding(50, width), torch.nn.Linear(width, 32)

        def forward(self, input_ids, attention_mask):
            return self.up(self.embeddings(input_ids)).mean(1)

    torch.manual_seed(0)
    sample = {name: torch.arange(8).view(2, 4) for name in ("input_ids", "attention_mask")}
    plain = Two().eval()
    backend = OpenVinoBackend(quantized(plain, lambda module: module(**sample)), sample, "int8")
    products = [
        op
        for op in backend._compiled.get_runtime_model().get_ops()
        if op.get_rt_info()["layerType"].astype(str) == "FullyConnected"
    ]
    assert [op.get_input_element_type(1).get_type_name() for op in products] == ["i8"]
    with torch.inference_mode():
        np.testing.assert_allclose(backend.run({k: v.numpy() for k, v in sample.items()}), plain(**sample), atol=0.05)


def test_weights_that_torch_has_freed_are_still_the_runtimes():
    """It shared bfloat16 weights without holding them, and read them when they were first used."""
    import torch

    from nbproxy.rerankers.modules import NarrowLinear
    from nbproxy.rerankers.openvino import OpenVinoBackend

    class Narrow(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.embeddings, self.up = torch.nn.Embedding(50, 512), NarrowLinear(torch.nn.Linear(512, 256))

        def forward(self, input_ids, attention_mask):
            return self.up(self.embeddings(input_ids)).float().mean(1)

    torch.manual_seed(0)
    sample = {name: torch.arange(8).view(2, 4) for name in ("input_ids", "attention_mask")}
    module = Narrow().eval()
    with torch.inference_mode():
        wanted = module(**sample).numpy()
    backend = OpenVinoBackend(module, sample, "float32")
    del module
    gc.collect()
    others = [torch.full((256, 512), torch.nan, dtype=torch.bfloat16) for _ in range(64)]  # where the weights were
    np.testing.assert_allclose(backend.run({k: v.numpy() for k, v in sample.items()}), wanted, atol=0.05)
    del others
