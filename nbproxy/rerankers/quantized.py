"""A module whose linear layers compute in int8. Imports torch.

Weights get a scale for each output, inputs one scale for all, taken from the ranges seen on calibration texts. Channels
that are far larger than the rest would spoil an input's one scale: part of their size is moved into the weights
(SmoothQuant, Xiao et al., arXiv:2211.10438, equation 4). The layers that int8 gets most wrong, one in six, are left in
float: for BERT's shape the last product of each layer's feed-forward part. The int8 layers are written with torch's
fake quantisation, which a runtime turns into products of integers.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn import functional

_SHARE = 0.7  # of a channel's size that moves; the paper's 0.5 ranks worse (tests/benchmarks/models.py)
_LEFT = 6  # one layer in that many stays in float
_LEVELS = 127  # a weight's, on either side of 0


@dataclass
class Seen:
    """The least and the greatest input of each channel."""

    least: Any
    most: Any

    def add(self, inputs: Any) -> None:
        flat = inputs.reshape(-1, inputs.shape[-1])
        self.least = torch.minimum(self.least, flat.amin(0))
        self.most = torch.maximum(self.most, flat.amax(0))


class Int8Linear(torch.nn.Module):  # type: ignore[misc]
    """A linear layer in int8, by the ranges of its inputs."""

    def __init__(self, linear: Any, seen: Seen) -> None:
        super().__init__()
        size = torch.maximum(seen.least.abs(), seen.most.abs()).clamp(min=1e-5)
        moved = _moved(size, linear.weight.detach().abs().amax(0))
        low, high = min(0.0, float((seen.least / moved).min())), max(0.0, float((seen.most / moved).max()))
        self.scale = max(high - low, 1e-8) / 255
        self.zero = round(-low / self.scale)
        weight = linear.weight.detach() * moved
        self.register_buffer("shrink", 1.0 / moved)
        self.register_buffer("weight", weight)
        self.register_buffer("scales", weight.abs().amax(1).clamp(min=1e-8) / _LEVELS)
        self.register_buffer("zeros", torch.zeros(len(weight), dtype=torch.int32))
        self.bias = linear.bias

    def forward(self, inputs: Any) -> Any:
        rounded = torch.fake_quantize_per_tensor_affine(inputs * self.shrink, self.scale, self.zero, 0, 255)
        weight = torch.fake_quantize_per_channel_affine(self.weight, self.scales, self.zeros, 0, -_LEVELS - 1, _LEVELS)
        return functional.linear(rounded, weight, self.bias)


def _moved(size: Any, weights: Any) -> Any:
    """What each channel's inputs are divided by, and its weights multiplied."""
    return (size**_SHARE / weights.clamp(min=1e-5) ** (1 - _SHARE)).clamp(min=1e-4)


def quantized(module: Any, run: Callable[[Any], None], keep: Iterable[str] = ("head", "pooler", "classifier")) -> Any:
    """A copy of a module with linear layers in int8.

    :param run: calls what it is given on the calibration texts.
    :param keep: parts that stay in float32, by a name in their path: what makes the score of few numbers.
    """
    kept = frozenset(keep)
    linears = {
        name: each
        for name, each in module.named_modules()
        if isinstance(each, torch.nn.Linear) and not kept & set(name.split("."))
    }
    seen = _ranges(module, linears, run)
    own = copy.deepcopy(module)
    for name, found in seen.items():
        _put(own, name, Int8Linear(linears[name], found))
    errors = _errors(own, linears, run)
    for name in sorted(errors, key=lambda name: -errors[name])[: len(errors) // _LEFT]:
        _put(own, name, copy.deepcopy(linears[name]))
    return own.eval()


def _put(module: Any, name: str, part: Any) -> None:
    above, _, last = name.rpartition(".")
    setattr(module.get_submodule(above), last, part)


def _errors(own: Any, linears: dict[str, Any], run: Callable[[Any], None]) -> dict[str, float]:
    """How wrong each int8 layer is on the calibration texts: squared, relative to the layer's own output."""
    wrong: dict[str, list[float]] = {}

    def look(name: str) -> Callable[[Any, Any, Any], None]:
        def note(_layer: Any, inputs: Any, output: Any) -> None:
            exact = linears[name](inputs[0])
            sums = wrong.setdefault(name, [0.0, 0.0])
            sums[0] += float((output - exact).square().sum())
            sums[1] += float(exact.square().sum())

        return note

    layers = {name: each for name, each in own.named_modules() if isinstance(each, Int8Linear)}
    _hooked([layer.register_forward_hook(look(name)) for name, layer in layers.items()], own, run)
    return {name: off / max(whole, 1e-30) for name, (off, whole) in wrong.items()}


def _hooked(hooks: list[Any], module: Any, run: Callable[[Any], None]) -> None:
    """Run, then take the hooks away."""
    try:
        with torch.inference_mode():
            run(module)
    finally:
        for hook in hooks:
            hook.remove()


def _ranges(module: Any, linears: dict[str, Any], run: Callable[[Any], None]) -> dict[str, Seen]:
    """What the layers' inputs are on the calibration texts; a layer that is never called has none."""
    seen: dict[str, Seen] = {}

    def look(name: str) -> Callable[[Any, Any], None]:
        def note(layer: Any, inputs: Any) -> None:
            nothing = torch.zeros(layer.in_features)
            seen.setdefault(name, Seen(nothing, nothing)).add(inputs[0].detach().float())

        return note

    _hooked([linear.register_forward_pre_hook(look(name)) for name, linear in linears.items()], module, run)
    return seen
