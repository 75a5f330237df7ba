"""Makes a program smaller: what nothing reads is dropped, scales and shifts go into the weights before them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import suppress

import msgspec
import numpy as np

from grurt.array_types import Array
from grurt.converters.literal.builder import ProgramBuilder
from grurt.errors import UnsupportedError
from grurt.network import operators
from grurt.network.operators.base import Operator


def live_operators(found: Sequence[Operator], wanted: Iterable[str]) -> list[Operator]:
    """Return the operators that some values need, without names for what nobody reads."""
    needed = set(wanted)
    kept = []
    for operator in reversed(found):
        if needed.isdisjoint(operator.outputs):
            continue
        outputs = tuple(name if name in needed else "" for name in operator.outputs)
        needed.update(operator.inputs)
        kept.append(operator if outputs == operator.outputs else msgspec.structs.replace(operator, outputs=outputs))
    return kept[::-1]


def with_scales_in_weights(build: ProgramBuilder, found: Sequence[Operator], wanted: Iterable[str]) -> list[Operator]:
    """Return operators without products and sums that the weights before them can hold, worked out in float64.

    So a BatchNormalization behind a convolution costs nothing. ``wanted`` are values that are read besides.
    """
    reads = Counter([*wanted, *(name for operator in found for name in operator.inputs)])
    places = {name: place for place, operator in enumerate(found) for name in operator.outputs}
    result: list[Operator | None] = list(found)
    for place, operator in enumerate(found):
        if not isinstance(operator, operators.Combine) or operator.operation not in ("add", "mul"):
            continue
        for value, other in (operator.inputs, operator.inputs[::-1]):
            before = places.get(value)
            if other not in build.constants or before is None or reads[value] > 1:
                continue
            product = result[before]
            merged = None
            with suppress(UnsupportedError):  # of weights that would be written out too often
                merged = None if product is None else _merged(build, product, operator, other)
            if merged is not None:
                result[before], result[place] = None, None
                result[before] = merged
                places[operator.outputs[0]] = before
                break
    return [operator for operator in result if operator is not None]


def _merged(build: ProgramBuilder, product: Operator, combine: operators.Combine, factor: str) -> Operator | None:
    """Return a product that does what is combined with it too; None if it cannot."""
    out = build.shapes[combine.outputs[0]]
    if out != build.shapes[product.outputs[0]] or not isinstance(
        product, operators.Conv | operators.ConvTranspose | operators.MatMul
    ):
        return None
    axis = len(out) - 1 if isinstance(product, operators.MatMul) else 1
    each = _along(build.constants[factor], out, axis)
    if each is None or product.inputs[1] not in build.constants:
        return None
    build.folder.budget.create(8 * build.constants[product.inputs[1]].size, build.node)
    weight = build.constants[product.inputs[1]].astype(np.float64)
    bias = build.constants[product.inputs[2]].astype(np.float64) if len(product.inputs) > 2 else np.zeros(out[axis])
    if combine.operation == "add":
        names = (product.inputs[1], build.name_of(bias + each))
    else:
        names = (build.name_of(weight * _beside(each, product, weight)), build.name_of(bias * each))
    return msgspec.structs.replace(product, inputs=(product.inputs[0], *names), outputs=combine.outputs)


def _along(array: Array, shape: tuple[int, ...], axis: int) -> Array | None:
    """Return the number that a constant has for each place of an axis of a shape; None if it varies along others."""
    aligned = array.reshape((1,) * (len(shape) - array.ndim) + array.shape)
    if any(size > 1 for place, size in enumerate(aligned.shape) if place != axis):
        return None
    return np.broadcast_to(aligned.reshape(-1).astype(np.float64), (shape[axis],))


def _beside(each: Array, product: operators.Conv | operators.ConvTranspose | operators.MatMul, weight: Array) -> Array:
    """Return the factors of outputs as they stand beside the weights of a product."""
    if isinstance(product, operators.MatMul):
        return each
    if isinstance(product, operators.Conv):
        return each.reshape(-1, *(1,) * (weight.ndim - 1))
    inputs, per_group = weight.shape[:2]
    by_group = np.repeat(each.reshape(product.groups, per_group), inputs // product.groups, axis=0)
    return by_group.reshape(inputs, per_group, *(1,) * (weight.ndim - 2))
