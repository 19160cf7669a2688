"""OpenVINO's own ways to fail, said plainly."""

from __future__ import annotations

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
