"""Weights are rounded for the outputs' sake: what one channel loses, others that come with it make up for."""

from __future__ import annotations

import pytest


def layer(channels: int = 256, outputs: int = 40, rows: int = 2_000):
    """Weights, and inputs whose channels are mixed from fewer sources, as a model's are."""
    import torch

    generator = torch.Generator().manual_seed(0)
    sources = torch.randn(rows, channels // 4, generator=generator)
    mixed = sources @ torch.randn(channels // 4, channels, generator=generator)
    inputs = mixed + torch.randn(rows, channels, generator=generator)
    return torch.randn(outputs, channels, generator=generator), inputs


def nearest(weight, group):
    groups = weight.view(len(weight), -1, group)
    scales = groups.abs().amax(2, keepdim=True) / 127
    return (groups / scales).round().to(groups.dtype), scales


def off(weight, levels, scales, inputs):
    return float((inputs @ ((levels * scales).reshape(weight.shape) - weight).T).square().mean())


@pytest.mark.parametrize("group", [64, 256])
def test_outputs_lose_less_than_with_the_nearest_levels(group):
    import torch

    from nbproxy.rerankers.rounding import rounded

    weight, inputs = layer()
    seen, unseen = inputs[:1_000], inputs[1_000:]
    levels, scales = rounded(weight, seen.T @ seen, group)
    assert (levels.dtype, levels.shape, scales.shape) == (torch.int8, (40, 256 // group, group), (40, 256 // group, 1))
    assert 0 < off(weight, levels, scales, unseen) < 0.5 * off(weight, *nearest(weight, group), unseen)


def test_where_channels_do_not_come_together_each_weight_takes_the_nearest_level():
    import torch

    from nbproxy.rerankers.rounding import rounded

    weight, _ = layer()
    for products in (torch.eye(256), torch.zeros(256, 256)):  # zeros: a layer that saw nothing but zeros
        levels, scales = rounded(weight, products, 128)
        wanted, same = nearest(weight, 128)
        torch.testing.assert_close(scales, same)
        assert torch.equal(levels.to(wanted.dtype), wanted)


def test_fewer_inputs_than_channels_are_enough():
    from nbproxy.rerankers.rounding import rounded

    weight, inputs = layer()
    few = inputs[:3]
    levels, scales = rounded(weight, few.T @ few, 128)
    assert off(weight, levels, scales, few) < off(weight, *nearest(weight, 128), few)


def test_the_weights_themselves_stay_as_they_are():
    from nbproxy.rerankers.rounding import rounded

    weight, inputs = layer()
    before = weight.clone()
    rounded(weight, inputs.T @ inputs, 128)
    assert weight.equal(before)
