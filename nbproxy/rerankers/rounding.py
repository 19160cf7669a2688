"""Weights rounded to int8 so that a layer's outputs change little, not the weights themselves. Imports torch.

Input channels are rounded one after another, and the ones still to come make up for what was lost, as far as they occur
together on the calibration texts (GPTQ, Frantar et al., arXiv:2210.17323). That halves the outputs' error beside
rounding each weight to the nearest level, and costs nothing later.
"""

from __future__ import annotations

from typing import Any

import torch

LEVELS = 127  # a weight's, on either side of 0
_DAMPING = 0.01  # of the channels' mean square: keeps channels that never occurred, or only together, solvable


def rounded(weight: Any, products: Any, group: int) -> tuple[Any, Any]:
    """Levels of shape ``(outputs, groups, group)``, and their scales, of shape ``(outputs, groups, 1)``.

    :param products: of each two input channels, summed over what the layer was given.
    :param group: how many inputs of an output share a scale.
    """
    left = weight.clone()
    levels, scales, passes = torch.empty_like(left), [], _passes(products).to(left.dtype)
    for start in range(0, left.shape[1], group):
        own = slice(start, start + group)
        scale = left[:, own].abs().amax(1, keepdim=True).clamp(min=1e-8) / LEVELS
        levels[:, own], lost = _group(left[:, own], scale, passes[own, own])
        left[:, start + group :] -= lost @ passes[own, start + group :]
        scales.append(scale)
    return levels.view(len(left), -1, group).to(torch.int8), torch.stack(scales, 1)


def _group(left: Any, scale: Any, passes: Any) -> tuple[Any, Any]:
    """The levels of one group, and what each of its channels passes on."""
    levels, lost = torch.empty_like(left), torch.empty_like(left)
    for place in range(left.shape[1]):
        column = left[:, place : place + 1]
        level = torch.round(column / scale).clamp(-LEVELS, LEVELS)
        passed = (column - level * scale) / passes[place, place]
        left[:, place:] -= passed * passes[place, place:]
        levels[:, place : place + 1], lost[:, place : place + 1] = level, passed
    return levels, lost


def _passes(products: Any) -> Any:
    """How much of a channel's loss each later one takes: the upper Cholesky factor of the products' inverse."""
    whole = products.double()
    damping = max(_DAMPING * float(whole.diagonal().mean()), 1e-12)
    factor = torch.linalg.cholesky(whole + damping * torch.eye(len(whole), dtype=whole.dtype))
    return torch.linalg.cholesky(torch.cholesky_inverse(factor), upper=True)
