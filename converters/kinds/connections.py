"""What stands between modules: sums, products, features side by side, and one timestep of a sequence."""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from grurt.converters.kinds.kind import Kind, Module, Weighted
from grurt.network.layers import Add, AnyLayer, Concat, FirstStep, LastStep, Mul

if TYPE_CHECKING:
    from torch import Tensor


def _convert(layer: Callable[..., AnyLayer]) -> Callable[[Module], Iterator[Weighted]]:
    return lambda module: iter([(layer(name=module.name, inputs=module.inputs), {})])


def _concatenated(layer: Concat, weights: object, *xs: Tensor) -> Tensor:
    import torch

    return torch.cat(xs, dim=-1)


KINDS = (
    Kind("add", _convert(Add), lambda layer, weights, *xs: functools.reduce(operator.add, xs)),
    Kind("mul", _convert(Mul), lambda layer, weights, *xs: functools.reduce(operator.mul, xs)),
    Kind("concat", _convert(Concat), _concatenated),
    Kind("last_step", _convert(LastStep), lambda layer, weights, x: x[:, -1]),
    Kind("first_step", _convert(FirstStep), lambda layer, weights, x: x[:, 0]),
)
