"""What each operator of a step program writes, in the un-rearranged form of its ONNX operator.

Each function is called with its operator, whose docstring has the equation in words, and the values that it reads.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from grurt.array_types import Doubles
from grurt.network import functions, operators
from grurt.network.operators import AnyOperator
from grurt.network.operators.products import Convolution
from grurt.network.operators.recurrent import Recurrent
from grurt.reference.cells import gru_cell, lstm_cell, rnn_cell
from grurt.reference.functions import BINARY, function

_REDUCE: dict[str, Callable[[Doubles, tuple[int, ...]], Doubles]] = {
    "sum": lambda x, axes: x.sum(axes, keepdims=True),
    "mean": lambda x, axes: x.mean(axes, keepdims=True),
    "max": lambda x, axes: x.max(axes, keepdims=True),
    "min": lambda x, axes: x.min(axes, keepdims=True),
    "l1": lambda x, axes: np.abs(x).sum(axes, keepdims=True),
    "l2": lambda x, axes: np.sqrt((x**2).sum(axes, keepdims=True)),
    "sum_square": lambda x, axes: (x**2).sum(axes, keepdims=True),
}


def apply(operator: operators.Apply, x: Doubles) -> Doubles:
    return function(operator.function, x)


def combine(operator: operators.Combine, a: Doubles, b: Doubles) -> Doubles:
    return BINARY[operator.operation](a, b)


def where(operator: operators.Where, condition: Doubles, then: Doubles, otherwise: Doubles) -> Doubles:
    return np.where(condition != 0, then, otherwise)


def prelu(operator: operators.PRelu, x: Doubles, slope: Doubles) -> Doubles:
    return np.where(x >= 0, x, slope * x)


def transpose(operator: operators.Transpose, x: Doubles) -> Doubles:
    return x.transpose(operator.perm)


def reshape(operator: operators.Reshape, x: Doubles) -> Doubles:
    return x.reshape(operator.shape)


def expand(operator: operators.Expand, x: Doubles) -> Doubles:
    return np.broadcast_to(x, operator.shape)


def slice_(operator: operators.Slice, x: Doubles) -> Doubles:
    columns = zip(operator.starts, operator.sizes, operator.steps, strict=True)
    return x[np.ix_(*(start + step * np.arange(size) for start, size, step in columns))]


def gather(operator: operators.Gather, x: Doubles) -> Doubles:
    return np.take(x, operator.places, operator.axis)


def concat(operator: operators.Concat, *values: Doubles) -> Doubles:
    return np.concatenate(values, operator.axis)


def pad(operator: operators.Pad, x: Doubles) -> Doubles:
    widths = list(zip(operator.before, operator.after, strict=True))
    return np.pad(x, widths, constant_values=float(np.float32(operator.value)))


def update(operator: operators.Update, base: Doubles, new: Doubles) -> Doubles:
    y = base.copy()
    y[tuple(slice(start, start + size) for start, size in zip(operator.starts, new.shape, strict=True))] = new
    return y


def conv(operator: operators.Conv, x: Doubles, weight: Doubles, bias: Doubles | None = None) -> Doubles:
    """Each place of the kernel weighs what it lies on, everywhere that the kernel comes to lie."""
    padded = np.pad(x[0], [(0, 0), *zip(operator.before, operator.after, strict=True)])
    x, weight = (_in_groups(each, operator.groups) for each in (padded, weight))
    taps = [1 + (size - 1) * dilation for size, dilation in zip(weight.shape[3:], operator.dilations, strict=True)]
    sizes = [(size - tap) // stride + 1 for size, tap, stride in zip(x.shape[2:], taps, operator.strides, strict=True)]
    y = np.zeros((*weight.shape[:2], *sizes))
    for kernel in np.ndindex(*weight.shape[3:]):
        reached = x[_reached(operator, kernel, sizes)]
        y += np.einsum("goi,gi...->go...", weight[(..., *kernel)], reached)
    return _with_bias(y, bias)


def conv_transpose(
    operator: operators.ConvTranspose, x: Doubles, weight: Doubles, bias: Doubles | None = None
) -> Doubles:
    """Each number of x adds the kernel, times itself, to where the kernel comes to lie; the ends are cut off."""
    x, weight = (_in_groups(each, operator.groups) for each in (x[0], weight))
    sizes = x.shape[2:]
    wholes = [
        (size - 1) * stride + (kernel - 1) * dilation + 1
        for size, stride, kernel, dilation in zip(
            sizes, operator.strides, weight.shape[3:], operator.dilations, strict=True
        )
    ]
    added = [max(0, -after) for after in operator.after]
    y = np.zeros((len(x), weight.shape[2], *map(sum, zip(wholes, added, strict=True))))
    for kernel in np.ndindex(*weight.shape[3:]):
        scattered = np.einsum("gio,gi...->go...", weight[(..., *kernel)], x)
        y[_reached(operator, kernel, sizes)] += scattered
    ends = [size - max(0, after) for size, after in zip(y.shape[2:], operator.after, strict=True)]
    kept: tuple[Any, ...] = (..., *map(slice, operator.before, ends))
    return _with_bias(y[kept], bias)


def _in_groups(array: Doubles, groups: int) -> Doubles:
    return array.reshape(groups, len(array) // groups, *array.shape[1:])


def _reached(operator: Convolution, kernel: tuple[int, ...], sizes: Sequence[int]) -> tuple[Any, ...]:
    """Return where a place of the kernel lies for each of so many strides along every axis, of all channels."""
    starts = [place * dilation for place, dilation in zip(kernel, operator.dilations, strict=True)]
    columns = zip(starts, sizes, operator.strides, strict=True)
    return (..., *(slice(start, start + (size - 1) * stride + 1, stride) for start, size, stride in columns))


def _with_bias(y: Doubles, bias: Doubles | None) -> Doubles:
    channels = y.reshape(1, -1, *y.shape[2:])
    return channels if bias is None else channels + bias.reshape(-1, *[1] * (y.ndim - 2))


def matmul(operator: operators.MatMul, a: Doubles, b: Doubles, bias: Doubles | float = 0.0) -> Doubles:
    return np.matmul(a, b) + bias


def gru(operator: operators.GRU, *values: Doubles) -> tuple[Doubles, ...]:
    f, g = partial(function, operator.gate_activation), partial(function, operator.candidate_activation)
    return _scanned(operator, partial(gru_cell, f, g, linear_before_reset=operator.linear_before_reset), *values)


def lstm(operator: operators.LSTM, *values: Doubles) -> tuple[Doubles, ...]:
    f, g = partial(function, functions.Sigmoid()), partial(function, functions.Tanh())
    return _scanned(operator, partial(lstm_cell, f, g), *values)


def rnn(operator: operators.RNN, *values: Doubles) -> tuple[Doubles, ...]:
    return _scanned(operator, partial(rnn_cell, partial(function, operator.activation)), *values)


def _scanned(
    operator: Recurrent,
    cell: Callable[..., tuple[Doubles, ...]],
    xs: Doubles,
    weight_ih: Doubles,
    weight_hh: Doubles,
    biases: Doubles,
    *initial: Doubles,
) -> tuple[Doubles, ...]:
    """Run a cell over x, from its end where the direction is reverse; of both directions, the second one is."""
    n_directions = len(weight_ih)
    ys = np.empty((len(xs), n_directions, *initial[0].shape[1:]))
    final = tuple(map(np.empty_like, initial))
    for d in range(n_directions):
        parameters = (weight_ih[d], weight_hh[d], *np.split(biases[d], 2))
        states = tuple(state[d] for state in initial)
        is_reverse = operator.direction == "reverse" or d == 1
        for t in reversed(range(len(xs))) if is_reverse else range(len(xs)):
            states = cell(parameters, xs[t], *states)
            ys[t, d] = states[0]
        for each, state in zip(final, states, strict=True):
            each[d] = state
    return ys, *final


def reduce(operator: operators.Reduce, x: Doubles) -> Doubles:
    return _REDUCE[operator.operation](x, operator.axes)


def softmax(operator: operators.Softmax, x: Doubles) -> Doubles:
    shifted = x - x.max(operator.axis, keepdims=True)
    total = np.exp(shifted).sum(operator.axis, keepdims=True)
    return shifted - np.log(total) if operator.log else np.exp(shifted) / total


def normalize(operator: operators.Normalize, x: Doubles) -> Doubles:
    centred = x - x.mean(operator.axes, keepdims=True) if operator.centered else x
    return centred / np.sqrt((centred**2).mean(operator.axes, keepdims=True) + operator.epsilon)


OPERATORS: dict[type[AnyOperator], Callable[..., Doubles | tuple[Doubles, ...]]] = {
    operators.Apply: apply,
    operators.Combine: combine,
    operators.Where: where,
    operators.PRelu: prelu,
    operators.Transpose: transpose,
    operators.Reshape: reshape,
    operators.Expand: expand,
    operators.Slice: slice_,
    operators.Gather: gather,
    operators.Concat: concat,
    operators.Pad: pad,
    operators.Update: update,
    operators.Conv: conv,
    operators.ConvTranspose: conv_transpose,
    operators.MatMul: matmul,
    operators.GRU: gru,
    operators.LSTM: lstm,
    operators.RNN: rnn,
    operators.Reduce: reduce,
    operators.Softmax: softmax,
    operators.Normalize: normalize,
}
