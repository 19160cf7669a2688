"""The exported file: made once, found again, never left half written."""

from __future__ import annotations

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
