"""Sums, extremes and norms over axes, and what is normalized by them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from grurt.array_types import Array
from grurt.converters.graph.nodes import ALL_AXES, Node
from grurt.converters.graph.tracing import parameters
from grurt.converters.graph.tracing.folds.rules import Fold, Rule, Rules, all_inputs, axis_of, first_of, of_first
from grurt.converters.graph.tracing.parameters import constant, number, optional, required
from grurt.converters.graph.tracing.values import Arguments

_Axes = tuple[int, ...] | None


def _reduction(function: Callable[..., Array]) -> Fold:
    def fold(node: Node, args: Arguments) -> tuple[Array, ...]:
        array = first_of(node, args)
        axes = parameters.listed_axes(node, args, 1, array.ndim) or None
        if node.integer("noop_with_empty_axes", 0) and axes is None:
            return (array,)
        kept = bool(node.integer("keepdims", 1))
        return (np.asarray(function(array, axis=axes, keepdims=kept), array.dtype),)

    return fold


def _l1(array: Array, **over: object) -> Array:
    return np.asarray(np.sum(np.abs(array), **over))  # type: ignore[call-overload]


def _l2(array: Array, **over: object) -> Array:
    return np.asarray(np.sqrt(_squares(array, **over)))


def _squares(array: Array, **over: object) -> Array:
    return np.asarray(np.sum(np.square(array), **over))  # type: ignore[call-overload]


def _log_sum(array: Array, **over: object) -> Array:
    return np.asarray(np.log(np.sum(array, **over)))  # type: ignore[call-overload]


def _log_sum_exp(array: Array, axis: _Axes, keepdims: bool) -> Array:
    largest = np.max(array, axis=axis, keepdims=True)
    found = np.log(np.sum(np.exp(array - largest), axis=axis, keepdims=True)) + largest
    return np.asarray(found if keepdims else np.squeeze(found, axis))


def _place(node: Node, args: Arguments) -> tuple[Array, ...]:
    """ArgMax and ArgMin: the first place of those that are alike, or the last."""
    array = first_of(node, args)
    axis, find = axis_of(node, array, 0), np.argmax if node.op == "ArgMax" else np.argmin
    if node.integer("select_last_index", 0):
        found = array.shape[axis] - 1 - find(np.flip(array, axis), axis=axis)
    else:
        found = find(array, axis=axis)
    return (np.asarray(np.expand_dims(found, axis) if node.integer("keepdims", 1) else found, np.int64),)


def _running_sum(node: Node, args: Arguments) -> tuple[Array, ...]:
    array = first_of(node, args)
    axis = parameters.axis_index(node, int(number(node, optional(args, 1), "axis")), array.ndim)
    backwards = bool(node.integer("reverse", 0))
    array = np.flip(array, axis) if backwards else array
    found = np.cumsum(array, axis=axis, dtype=array.dtype)
    if node.integer("exclusive", 0):
        found = found - array
    return (np.flip(found, axis) if backwards else found,)


def _softmax(node: Node, args: Arguments) -> tuple[Array, ...]:
    """Softmax and LogSoftmax over one axis; with `ALL_AXES`, over all from it on."""
    array = first_of(node, args)
    first = axis_of(node, array, -1)
    axes = tuple(range(first, array.ndim)) if node.integer(ALL_AXES, 0) else (first,)
    shifted = array - np.max(array, axis=axes, keepdims=True)
    total = np.sum(np.exp(shifted), axis=axes, keepdims=True)
    return (np.asarray(np.exp(shifted) / total if node.op == "Softmax" else shifted - np.log(total), array.dtype),)


def _norm(node: Node, args: Arguments) -> tuple[Array, ...]:
    """LpNormalization: over one axis, by the sum or the root of the sum of squares."""
    array = first_of(node, args)
    length = (_l1 if node.integer("p", 2) == 1 else _l2)(array, axis=axis_of(node, array, -1), keepdims=True)
    return (np.asarray(array / length, array.dtype),)


def _layer_norm(node: Node, args: Arguments) -> tuple[Array, ...]:
    """LayerNormalization, and RMSNormalization, which does not subtract the mean."""
    node.ignore("stash_type")
    array = first_of(node, args)
    axes = tuple(range(axis_of(node, array, -1), array.ndim))
    numbers = array.astype(np.float64)
    if node.op == "LayerNormalization":
        numbers = numbers - numbers.mean(axis=axes, keepdims=True)
    numbers = numbers / np.sqrt(np.square(numbers).mean(axis=axes, keepdims=True) + node.number("epsilon", 1e-5))
    weight, bias = required(node, args, 1), optional(args, 2)
    numbers = numbers * constant(node, weight, "weights")
    return (np.asarray(numbers if bias is None else numbers + constant(node, bias, "bias"), array.dtype),)


_FUNCTIONS: dict[str, Callable[..., Array]] = {
    "ReduceL1": _l1,
    "ReduceL2": _l2,
    "ReduceLogSum": _log_sum,
    "ReduceLogSumExp": _log_sum_exp,
    "ReduceMax": np.max,
    "ReduceMean": np.mean,
    "ReduceMin": np.min,
    "ReduceProd": np.prod,
    "ReduceSum": np.sum,
    "ReduceSumSquare": _squares,
}

RULES: Rules = {
    **{op: Rule(_reduction(function), all_inputs) for op, function in _FUNCTIONS.items()},
    "ArgMax": Rule(_place, of_first),
    "ArgMin": Rule(_place, of_first),
    "CumSum": Rule(_running_sum, of_first),
    "LayerNormalization": Rule(_layer_norm, of_first),
    "LogSoftmax": Rule(_softmax, of_first),
    "LpNormalization": Rule(_norm, of_first),
    "RMSNormalization": Rule(_layer_norm, of_first),
    "Softmax": Rule(_softmax, of_first),
}
