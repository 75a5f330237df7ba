"""How each operator of a random step program is drawn.

What jumps reads only what float32 holds exactly, what has a pole stays away from it, and sums of many numbers are made
smaller: then rounding errors stay small.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, get_args, get_type_hints

import models
import numpy as np
import step_products
from step_values import LIMIT, MAX_NUMBERS, Values, broadcast_shape, can_be_broadcast

import grurt
from grurt import operators
from grurt.network.operators.base import Shape

OPERATIONS = get_args(get_type_hints(operators.Combine)["operation"])
REDUCTIONS = get_args(get_type_hints(operators.Reduce)["operation"])

_JUMPS = (grurt.Round(), grurt.Floor(), grurt.Ceil(), grurt.Sign(), grurt.ThresholdedRelu(0.4))
_EXACT = (*_JUMPS, grurt.Relu(), grurt.Abs(), grurt.Clip(-0.5, 0.8))
"""Functions whose values float32 holds exactly, of numbers that it does."""

_OF_POSITIVE = (grurt.Log(), grurt.Sqrt(), grurt.Reciprocal(), grurt.Pow(1.7), grurt.Pow(-2.0))
_SMOOTH = (
    *(function for function in models.ELEMENTWISE_FUNCTIONS if function not in _JUMPS),
    grurt.Abs(),
    grurt.Sin(),
    grurt.Cos(),
    grurt.Erf(),
)


def draw_apply(values: Values) -> None:
    name = values.pick()
    if values.is_exact(name) and values.coin():
        values.write(operators.Apply, name, function=values.any_of(_EXACT), bound=LIMIT, exact=True)
    elif values.rng.random() < 0.7:
        values.write(operators.Apply, name, function=values.any_of(_SMOOTH), bound=1.7 * values.bound(name) + 1)
    elif values.coin():
        values.write(operators.Apply, values.positive(name), function=values.any_of(_OF_POSITIVE), bound=4.0)
    else:
        values.write(operators.Apply, values.squashed(name, 1.0), function=grurt.Exp(), bound=2.8)


def draw_combine(values: Values) -> None:
    a = values.pick()
    b = _beside(values, a)
    operation = values.any_of(OPERATIONS)
    both_exact = values.is_exact(a) and values.is_exact(b)
    bound = values.bound(a) + values.bound(b)
    if operation in ("less", "less_or_equal", "equal"):
        if not both_exact:
            operation = "sub"
        else:
            bound = 1.0
            a = _rounded(values, a)
            b = _rounded(values, b)
    if operation == "mul":
        a, b = values.squashed(a, 2.0), values.squashed(b, 2.0)
        bound = 4.0
    elif operation == "div":
        a, b = values.squashed(a, 4.0), values.positive(b)
        bound = 8.0
    elif operation == "pow":
        a, b = values.positive(a), values.squashed(b, 2.0)
        bound = 4.0
    elif values.rng.random() < 0.3 and values.constants:
        a, b = b, a
    exact = both_exact and operation not in ("add", "sub", "mul", "div", "pow")
    values.write(operators.Combine, a, b, operation=operation, bound=bound, exact=exact)


def _rounded(values: Values, name: str) -> str:
    """Return whole numbers half of the time, some of which are equal."""
    if values.coin():
        return name
    return values.write(operators.Apply, name, function=grurt.Round(), bound=values.bound(name), exact=True)


def _beside(values: Values, name: str) -> str:
    """Return a value, or a constant, that can be broadcast together with a value."""
    shape = values.shape(name)
    others = [other for other in values.shapes if can_be_broadcast(shape, values.shape(other))]
    if len(others) > 1 and values.coin():
        return values.any_of(others)
    return values.normal(broadcast_shape(values, shape))


def draw_where(values: Values) -> None:
    name = values.pick(exact=True)
    condition = values.write(operators.Combine, name, values.normal(()), operation="less", bound=1.0, exact=True)
    then, otherwise = _beside(values, condition), _beside(values, condition)
    if not can_be_broadcast(np.broadcast_shapes(values.shape(condition), values.shape(then)), values.shape(otherwise)):
        otherwise = values.normal(())
    bound = max(values.bound(then), values.bound(otherwise))
    exact = values.is_exact(then) and values.is_exact(otherwise)
    values.write(operators.Where, condition, then, otherwise, bound=bound, exact=exact)


def draw_prelu(values: Values) -> None:
    x = values.pick()
    slope = values.squashed(_beside(values, x), 1.0)
    values.write(operators.PRelu, x, slope, bound=values.bound(x))


def draw_transpose(values: Values) -> None:
    name = values.pick()
    perm = values.rng.permutation(len(values.shape(name))).tolist()
    values.moved(operators.Transpose, name, perm=tuple(perm))


def draw_reshape(values: Values) -> None:
    name = values.pick()
    shape = values.factored(int(np.prod(values.shape(name))), int(values.rng.integers(1, 6)))
    values.moved(operators.Reshape, name, shape=shape)


def draw_expand(values: Values) -> None:
    name = values.pick()
    shape = list(values.shape(name))
    for place, size in enumerate(shape):
        if size == 1 and values.coin():
            shape[place] = int(values.rng.integers(1, 4))
    if len(shape) < 5 and values.coin():
        shape.insert(0, int(values.rng.integers(1, 4)))
    if np.prod(shape) <= MAX_NUMBERS:
        values.moved(operators.Expand, name, shape=tuple(shape))


def draw_slice(values: Values) -> None:
    name = values.pick()
    starts, sizes, steps = [], [], []
    for whole in values.shape(name):
        size = whole if values.coin() else int(values.rng.integers(1, whole + 1))
        step = int(values.rng.integers(1, (whole - 1) // max(1, size - 1) + 1)) if size > 1 else 1
        start = int(values.rng.integers(0, whole - (size - 1) * step))
        if values.rng.random() < 0.3:
            start, step = start + (size - 1) * step, -step
        starts.append(start)
        sizes.append(size)
        steps.append(step)
    values.moved(operators.Slice, name, starts=tuple(starts), sizes=tuple(sizes), steps=tuple(steps))


def draw_gather(values: Values) -> None:
    name = values.pick()
    shape = values.shape(name)
    axis = int(values.rng.integers(len(shape)))
    most = max(1, min(8, MAX_NUMBERS * shape[axis] // int(np.prod(shape))))
    places = values.rng.integers(0, shape[axis], int(values.rng.integers(1, most + 1))).tolist()
    values.moved(operators.Gather, name, axis=axis, places=tuple(places))


def draw_concat(values: Values) -> None:
    name = values.pick()
    shape = values.shape(name)
    axis = int(values.rng.integers(len(shape)))
    pieces = [name]
    for _ in range(int(values.rng.integers(1, 4))):
        fitting = [
            other
            for other, its in values.shapes.items()
            if len(its) == len(shape)
            and all(a == b or i == axis for i, (a, b) in enumerate(zip(its, shape, strict=True)))
        ]
        own = (*shape[:axis], int(values.rng.integers(1, 4)), *shape[axis + 1 :])
        pieces.append(values.any_of(fitting) if values.rng.random() < 0.7 else values.normal(own))
    if sum(int(np.prod(values.shape(piece))) for piece in pieces) <= MAX_NUMBERS:
        order = values.rng.permutation(len(pieces)).tolist()
        values.moved(operators.Concat, *(pieces[i] for i in order), axis=axis)


def _without(shape: Shape, axis: int) -> Shape:
    return (*shape[:axis], *shape[axis + 1 :], len(shape))


def draw_pad(values: Values) -> None:
    name = values.pick()
    shape = values.shape(name)
    before, after = (values.rng.integers(0, 3, len(shape)) * values.rng.integers(0, 2, len(shape)) for _ in range(2))
    if np.prod(before + shape + after) > MAX_NUMBERS:
        return
    value = values.any_of((0.0, 0.0, -1.25))
    widths: dict[str, Any] = {"before": tuple(before.tolist()), "after": tuple(after.tolist())}
    bound = max(values.bound(name), 1.25)
    values.write(operators.Pad, name, value=value, bound=bound, exact=values.is_exact(name), **widths)


def draw_update(values: Values) -> None:
    name = values.pick()
    shape = values.shape(name)
    sizes = tuple(int(values.rng.integers(1, size + 1)) for size in shape)
    starts = tuple(int(values.rng.integers(0, whole - size + 1)) for whole, size in zip(shape, sizes, strict=True))
    base = values.normal(shape) if values.rng.random() < 0.3 else name
    values.moved(operators.Update, base, values.sized(values.pick(), sizes), starts=starts)


def draw_reduce(values: Values) -> None:
    name = values.pick()
    axes = _axes(values, name)
    count = int(np.prod([values.shape(name)[axis] for axis in axes]))
    operation = values.any_of(REDUCTIONS)
    if operation in ("sum", "l1", "sum_square"):
        name = values.squashed(name, 2.0)
    if operation == "l2":
        name = values.positive(name)
    bound = {"mean": values.bound(name), "max": values.bound(name), "min": values.bound(name)}
    exact = operation in ("max", "min") and values.is_exact(name)
    largest = bound.get(operation, count * max(1.0, values.bound(name)) ** 2)
    values.write(operators.Reduce, name, axes=axes, operation=operation, bound=largest, exact=exact)


def draw_softmax(values: Values) -> None:
    name = values.pick()
    axis = int(values.rng.integers(len(values.shape(name))))
    values.write(operators.Softmax, name, axis=axis, log=values.coin(), bound=2 * LIMIT)


def draw_masked_softmax(values: Values) -> None:
    """Draw one over numbers with minus infinity between them, as attention has it; some number is left everywhere."""
    name = values.pick()
    shape = values.shape(name)
    axis = int(values.rng.integers(len(shape)))
    if shape[axis] == 1:
        return
    mask = np.where(values.rng.random(shape) < 0.4, -np.inf, 0.0)
    np.moveaxis(mask, axis, 0)[0] = 0.0
    masked = values.write(operators.Combine, name, values.constant(mask), operation="add", bound=0.0)
    values.write(operators.Softmax, masked, axis=axis, bound=1.0)
    values.forget(masked)


def draw_normalize(values: Values) -> None:
    name = values.pick()
    epsilon = values.any_of((0.01, 0.1, 0.5))
    values.write(
        operators.Normalize, name, axes=_axes(values, name), epsilon=epsilon, centered=values.coin(), bound=2 * LIMIT
    )


def _axes(values: Values, name: str) -> tuple[int, ...]:
    rank = len(values.shape(name))
    axes = values.rng.permutation(rank)[: int(values.rng.integers(1, rank + 1))]
    return tuple(axes.tolist())


MAKERS: dict[str, Callable[[Values], None]] = {
    "apply": draw_apply,
    "combine": draw_combine,
    "where": draw_where,
    "p_relu": draw_prelu,
    "transpose": draw_transpose,
    "reshape": draw_reshape,
    "expand": draw_expand,
    "slice": draw_slice,
    "gather": draw_gather,
    "concat": draw_concat,
    "pad": draw_pad,
    "update": draw_update,
    "conv": step_products.draw_conv,
    "conv_transpose": step_products.draw_conv_transpose,
    "mat_mul": step_products.draw_matmul,
    "gru": step_products.draw_gru,
    "lstm": step_products.draw_lstm,
    "rnn": step_products.draw_rnn,
    "reduce": draw_reduce,
    "softmax": draw_softmax,
    "masked softmax": draw_masked_softmax,
    "normalize": draw_normalize,
}
