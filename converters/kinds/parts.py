"""Layers that kinds consist of, and that no description names: how torch computes them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

    from grurt.network.layers import Binary, Unfold


def _unfold(layer: Unfold, weights: object, x: Tensor) -> Tensor:
    import torch
    from torch.nn import functional

    if isinstance(layer.padding, str):
        count = -(-x.shape[1] // layer.stride)
        total = max(0, (count - 1) * layer.stride + layer.span - x.shape[1])
        before, after = total // 2, total - total // 2
    else:
        before, after = layer.padding
    padded = functional.pad(x, (0, 0, before, after), value=layer.fill)
    last = padded.shape[1] - layer.span + 1
    taps = [padded[:, k * layer.dilation : k * layer.dilation + last : layer.stride] for k in range(layer.kernel_size)]
    return torch.cat(taps, dim=-1)


def _largest(layer: Binary, weights: object, *xs: Tensor) -> Tensor:
    import torch

    return torch.stack(xs).amax(0)


EVALUATED: Mapping[str, Callable[..., Any]] = {
    "unfold": _unfold,
    "slice": lambda layer, weights, x: x[..., layer.start : layer.stop],
    "binary": _largest,
}
"""By the layer's kind."""
