"""A module whose linear layers compute in int8. Imports torch.

Channels that are far larger than the rest would spoil the scale that they share with others: part of their size, as it
was seen on calibration texts, is moved into the weights (SmoothQuant, Xiao et al., arXiv:2211.10438, equation 4). Then
the weights are rounded by what these texts make of them (:mod:`.rounding`).

For OpenVINO (:class:`Grouped`) 128 neighbours share a scale, among the weights and among the inputs, whose scales are
taken anew for each token as it is computed. For ONNX Runtime (:class:`Int8Linear`) weights get a scale for each output
and inputs one for all, from the ranges seen; the layers that int8 then gets most wrong, one in six, are left in float:
for BERT's shape the last product of each layer's feed-forward part. These are written with torch's fake quantisation,
which that runtime turns into products of integers; OpenVINO does not (its scales are no constants to it), and would
compute rounded numbers in float.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn import functional

from .backends import has_bfloat16
from .modules import Lean, put
from .openvino import GROUP
from .rounding import LEVELS, rounded

_SHARE = 0.7  # of a channel's size that moves; the paper's 0.5 ranks worse (tests/benchmarks/models.py)
_ROWS = 64  # of one batch, about that many count among the products
_LEFT = 6  # one layer in that many stays in float
_KEPT = frozenset(("head", "pooler", "classifier"))  # stay in float32: what makes the score of few numbers


@dataclass
class Seen:
    """The least and the greatest input of each channel, and the sums of products of each two."""

    least: Any
    most: Any
    products: Any

    @classmethod
    def nothing(cls, width: int) -> Seen:
        return cls(torch.zeros(width), torch.zeros(width), torch.zeros(width, width))

    def add(self, inputs: Any) -> None:
        flat = inputs.reshape(-1, inputs.shape[-1])
        self.least = torch.minimum(self.least, flat.amin(0))
        self.most = torch.maximum(self.most, flat.amax(0))
        some = flat[:: max(1, len(flat) // _ROWS)]
        self.products += some.T @ some

    @property
    def size(self) -> Any:
        """How large each channel gets, either side of 0."""
        return torch.maximum(self.least.abs(), self.most.abs()).clamp(min=1e-5)


class Int8Linear(torch.nn.Module):  # type: ignore[misc]
    """A linear layer in int8, by the ranges of its inputs."""

    def __init__(self, linear: Any, seen: Seen) -> None:
        super().__init__()
        moved = _moved(seen.size, linear.weight.detach().abs().amax(0))
        low, high = min(0.0, float((seen.least / moved).min())), max(0.0, float((seen.most / moved).max()))
        self.scale = max(high - low, 1e-8) / 255
        self.zero = round(-low / self.scale)
        levels, scales = _rounded(linear.weight.detach(), seen, moved, linear.in_features)
        weight = (levels * scales)[:, 0]
        self.register_buffer("shrink", 1.0 / moved)
        self.register_buffer("weight", weight)
        self.register_buffer("scales", scales[:, 0, 0])
        self.register_buffer("zeros", torch.zeros(len(weight), dtype=torch.int32))
        self.bias = linear.bias

    def forward(self, inputs: Any) -> Any:
        rounded = torch.fake_quantize_per_tensor_affine(inputs * self.shrink, self.scale, self.zero, 0, 255)
        weight = torch.fake_quantize_per_channel_affine(self.weight, self.scales, self.zeros, 0, -LEVELS - 1, LEVELS)
        return functional.linear(rounded, weight, self.bias)


class Grouped(torch.nn.Module):  # type: ignore[misc]
    """A linear layer with weights in int8; its runtime rounds the inputs too."""

    def __init__(self, linear: Any, seen: Seen) -> None:
        super().__init__()
        weight = linear.weight.detach()
        moved = _moved(seen.size, weight.abs().amax(0))
        self.shape = weight.shape
        levels, scales = _rounded(weight, seen, moved, GROUP if self.shape[1] % GROUP == 0 else self.shape[1])
        self.register_buffer("shrink", 1.0 / moved)
        self.register_buffer("scales", scales)
        self.register_buffer("levels", levels)
        self.bias = linear.bias

    def forward(self, inputs: Any) -> Any:
        weight = (self.levels.to(inputs.dtype) * self.scales).reshape(self.shape)
        return functional.linear(inputs * self.shrink, weight, self.bias)


def _moved(size: Any, weights: Any) -> Any:
    """What each channel's inputs are divided by, and its weights multiplied."""
    return (size**_SHARE / weights.clamp(min=1e-5) ** (1 - _SHARE)).clamp(min=1e-4)


def _rounded(weight: Any, seen: Seen, moved: Any, group: int) -> tuple[Any, Any]:
    """Levels and scales of weights that have taken their share, for inputs that have given theirs."""
    return rounded(weight * moved, seen.products / torch.outer(moved, moved), group)


def quantized(module: Any, run: Callable[[Any], None], backend: str = "openvino") -> Any:
    """A copy of a module with linear layers in int8, as a backend computes them.

    :param run: calls what it is given on the calibration texts.
    """
    linears = {
        name: each
        for name, each in module.named_modules()
        if isinstance(each, torch.nn.Linear) and not _KEPT & set(name.split("."))
    }
    seen = _ranges(module, linears, run)
    own = copy.deepcopy(module)
    if backend == "onnx":
        return _with_ranges(own, linears, seen, run)
    for name, found in seen.items():
        put(own, name, Grouped(linears[name], found))
    if isinstance(own, Lean) and has_bfloat16():
        own.attends = torch.bfloat16
    return own.eval()


def _with_ranges(own: Any, linears: dict[str, Any], seen: dict[str, Seen], run: Callable[[Any], None]) -> Any:
    for name, found in seen.items():
        put(own, name, Int8Linear(linears[name], found))
    errors = _errors(own, linears, run)
    for name in sorted(errors, key=lambda name: -errors[name])[: len(errors) // _LEFT]:
        put(own, name, copy.deepcopy(linears[name]))
    return own.eval()


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
            if name not in seen:
                seen[name] = Seen.nothing(layer.in_features)
            seen[name].add(inputs[0].detach().float())

        return note

    _hooked([linear.register_forward_pre_hook(look(name)) for name, linear in linears.items()], module, run)
    return seen
