"""The exported file: made once, found again, never left half written."""

from __future__ import annotations

import collections

import numpy as np
import pytest

import nbproxy
from nbproxy.errors import ConfigError
from nbproxy.rerankers.onnx import cache_folder, export


def test_a_model_is_exported_once(tiny, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    folder = tiny("bert", 1)
    first = nbproxy.CrossEncoder(folder, backend="onnx")
    kept = [path for path in cache_folder().iterdir() if path.name.startswith(nbproxy.CrossEncoder(folder).fingerprint)]
    assert len(kept) == 1
    monkeypatch.setattr("nbproxy.rerankers.onnx.export", None)  # would raise
    assert nbproxy.CrossEncoder(folder, backend="onnx")("w1", ["w2 w3"]) == first("w1", ["w2 w3"])


def test_what_cannot_be_exported_leaves_nothing(tmp_path):
    import torch

    class Odd(torch.nn.Module):
        def forward(self, input_ids, attention_mask):
            raise RuntimeError("no graph")

    sample = {name: torch.zeros(1, 2, dtype=torch.long) for name in ("input_ids", "attention_mask")}
    with pytest.raises(ConfigError, match="torch cannot export this model to ONNX: RuntimeError: no graph"):
        export(Odd(), sample, tmp_path / "odd.onnx")
    assert list(tmp_path.iterdir()) == []


def test_int8_reaches_the_runtime_as_integers(tiny, tmp_path):
    """Rounded numbers that are multiplied in float would cost the order and bring nothing."""
    import onnx
    import onnxruntime
    import torch

    from nbproxy.rerankers.modules import classifier, sample_inputs
    from nbproxy.rerankers.quantized import Int8Linear, quantized

    model = nbproxy.CrossEncoder(tiny("bert", 1)).model
    plain, sample = classifier(model), sample_inputs(model)
    int8 = quantized(plain, lambda module: module(**sample), "onnx")
    export(int8, sample, tmp_path / "int8.onnx")
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimized.onnx")  # the graph as it is computed
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(tmp_path / "int8.onnx"), options, providers=["CPUExecutionProvider"])
    nodes = collections.Counter(node.op_type for node in onnx.load(tmp_path / "optimized.onnx").graph.node)
    assert nodes["MatMulIntegerToFloat"] == sum(isinstance(each, Int8Linear) for each in int8.modules()) > 0
    assert nodes["DequantizeLinear"] == 0
    found = session.run(None, {each.name: sample[each.name].numpy() for each in session.get_inputs()})[0]
    with torch.inference_mode():
        np.testing.assert_allclose(found, plain(**sample), atol=0.1)
