"""How convolutions, products and recurrent operators of a random step program are drawn."""

from __future__ import annotations

from typing import Any

import models
import numpy as np
from step_values import LIMIT, MAX_NUMBERS, Values, broadcast_shape

import grurt
from grurt import operators
from grurt.network.operators.base import Shape


def _grid(values: Values) -> tuple[str, Shape]:
    """Return a value ``(1, channels, *sizes)``, and its shape, of one to three sizes."""
    name = values.squashed(values.pick(), 4.0)
    shape = values.shape(name)
    if not 3 <= len(shape) <= 5 or shape[0] != 1:
        rank = int(values.rng.integers(2, 5))
        shape = (1, *values.factored(int(np.prod(shape)), rank))
    return values.reshaped(name, shape), shape


def _groups(values: Values, channels: int) -> int:
    return values.any_of([groups for groups in range(1, channels + 1) if channels % groups == 0])


def _biased(values: Values, out_channels: int) -> tuple[str, ...]:
    return (values.normal((out_channels,), 0.3),) if values.coin() else ()


def draw_conv(values: Values) -> None:
    name, (_, channels, *sizes) = _grid(values)
    axes = len(sizes)
    groups = _groups(values, channels)
    out_channels = groups * int(values.rng.integers(1, max(2, 9 // groups)))
    kernel = values.rng.integers(1, 4, axes)
    strides, dilations = values.rng.integers(1, 4, axes), values.rng.integers(1, 3, axes)
    before, after = values.rng.integers(0, 3, axes), values.rng.integers(0, 3, axes)
    after += np.maximum(0, (kernel - 1) * dilations + 1 - (before + sizes + after))
    out_sizes = (before + sizes + after - (kernel - 1) * dilations - 1) // strides + 1
    if out_channels * np.prod(out_sizes) > MAX_NUMBERS:
        return
    fan_in = channels // groups * int(np.prod(kernel))
    weight = values.normal((out_channels, channels // groups, *kernel), 1 / np.sqrt(fan_in))
    inputs = (name, weight, *_biased(values, out_channels))
    numbers = {"strides": strides, "dilations": dilations, "before": before, "after": after}
    fields: dict[str, Any] = {name: tuple(each.tolist()) for name, each in numbers.items()}
    values.write(operators.Conv, *inputs, groups=groups, bound=2 * LIMIT, **fields)


def draw_conv_transpose(values: Values) -> None:
    name, (_, channels, *sizes) = _grid(values)
    axes = len(sizes)
    groups = _groups(values, channels)
    out_each = int(values.rng.integers(1, 4))
    kernel = values.rng.integers(1, 4, axes)
    strides, dilations = values.rng.integers(1, 4, axes), values.rng.integers(1, 3, axes)
    wholes = (np.array(sizes) - 1) * strides + (kernel - 1) * dilations + 1
    before, after = values.rng.integers(0, 3, axes), values.rng.integers(-2, 3, axes)
    before = np.minimum(before, wholes - 1)
    after = np.minimum(after, wholes - before - 1)
    if groups * out_each * np.prod(wholes - before - after) > MAX_NUMBERS:
        return
    fan_in = channels // groups * int(np.prod(kernel))
    weight = values.normal((channels, out_each, *kernel), 1 / np.sqrt(fan_in))
    inputs = (name, weight, *_biased(values, groups * out_each))
    numbers = {"strides": strides, "dilations": dilations, "before": before, "after": after}
    fields: dict[str, Any] = {name: tuple(each.tolist()) for name, each in numbers.items()}
    values.write(operators.ConvTranspose, *inputs, groups=groups, bound=2 * LIMIT, **fields)


def draw_matmul(values: Values) -> None:
    """Draw a product with a constant on either side, or of two values, as of queries and keys."""
    a = values.squashed(values.pick(), 4.0)
    shape = values.shape(a)
    if len(shape) < 2:
        shape = values.factored(int(np.prod(shape)), int(values.rng.integers(2, 5)))
        a = values.reshaped(a, shape)
    size, scale = int(values.rng.integers(1, 10)), 1 / np.sqrt(shape[-1])
    way = int(values.rng.integers(4))
    if way == 0:
        b = values.normal((shape[-1], size), scale)
    elif way == 1:
        b = values.normal((*broadcast_shape(values, shape[:-2]), shape[-1], size), scale)
    elif way == 2:
        a, b = values.normal((size, shape[-2]), 1 / np.sqrt(shape[-2])), a
    else:
        perm = (*range(len(shape) - 2), len(shape) - 1, len(shape) - 2)
        a = values.squashed(a, 1.0)
        other = values.any_of([name for name, its in values.shapes.items() if its == shape] or [a])
        b = values.moved(operators.Transpose, values.squashed(other, 1.0), perm=perm)
    if _product_size(values.shape(a), values.shape(b)) <= MAX_NUMBERS:
        bias = [values.normal((values.shape(b)[-1],), 0.1)] if values.rng.random() < 0.4 else []
        values.write(operators.MatMul, a, b, *bias, bound=2 * LIMIT)


def _product_size(a: Shape, b: Shape) -> int:
    return int(np.prod(np.broadcast_shapes(a[:-2], b[:-2]))) * a[-2] * b[-1]


def draw_gru(values: Values) -> None:
    gate = values.any_of(models.GATE_FUNCTIONS)
    candidate = values.any_of((grurt.Tanh(), grurt.ScaledTanh(1.2, 0.6), grurt.Softsign(), grurt.Clip(-1.0, 1.0)))
    linear_before_reset = values.coin()
    _draw_recurrent(
        values,
        operators.GRU,
        gate_activation=gate,
        candidate_activation=candidate,
        linear_before_reset=linear_before_reset,
    )


def draw_lstm(values: Values) -> None:
    _draw_recurrent(values, operators.LSTM)


def draw_rnn(values: Values) -> None:
    _draw_recurrent(values, operators.RNN, activation=values.any_of((grurt.Tanh(), grurt.Softsign())))


def _draw_recurrent(
    values: Values, kind: type[operators.GRU] | type[operators.LSTM] | type[operators.RNN], **fields: Any
) -> None:
    """Draw a scan of a sequence; its initial states are kept from one timestep to the next, or are other values."""
    name = values.squashed(values.pick(), 2.0)
    x = values.shape(name)
    if len(x) != 3:
        x = values.factored(int(np.prod(x)), 3)
        name = values.reshaped(name, x)
    direction = values.any_of(("forward", "reverse", "bidirectional"))
    directions = 2 if direction == "bidirectional" else 1
    hidden_size = int(values.rng.integers(1, 9))
    if x[0] * x[1] * directions * hidden_size > MAX_NUMBERS:
        return
    rows = kind.gates * hidden_size
    weights = [
        values.normal((directions, rows, x[2]), 1 / np.sqrt(x[2])),
        values.normal((directions, rows, hidden_size), 0.5 / np.sqrt(hidden_size)),
        values.normal((directions, 2 * rows), 0.2),
    ]
    shape = (directions, x[1], hidden_size)
    number = len(values.states)
    initial = []
    keeps = values.rng.random() < 0.7
    for i in range(kind.n_outputs - 1):
        if keeps:
            result = f"v{values.n_written + 1 + i}"
            initial.append(values.add_state(f"h{number + i}", shape, result))
        elif values.coin():
            initial.append(values.constant(np.zeros(shape)))
        else:
            initial.append(values.sized(values.squashed(values.pick(), 1.5), shape))
    fields |= {"hidden_size": hidden_size, "direction": direction}
    values.write_several(kind, name, *weights, *initial, outputs=kind.n_outputs, bound=3.0, fields=fields)
