"""Integers among a graph's inputs: tokens, lengths of sequences, or numbers, told apart by what reads them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from typing import overload

import numpy as np

from grurt.array_types import Array
from grurt.converters.graph.building.builder import Builder
from grurt.converters.graph.nodes import Node
from grurt.converters.graph.tracing.values import Tensor, Value
from grurt.network.layers import TokenMask

_MOVES = frozenset(("Cast", "Flatten", "Gather", "Identity", "Reshape", "Slice", "Squeeze", "Transpose", "Unsqueeze"))
_MOST = 1 << 24
"""Whole numbers below it are exact in float32."""


def token_inputs(nodes: Iterable[Node], constants: Mapping[str, Array], inputs: Collection[str]) -> frozenset[str]:
    """Return the inputs that select rows of a constant, as an embedding does, or become one-hot vectors."""
    origins = {name: name for name in inputs}  # nodes stand behind those that they read
    found: set[str] = set()
    for node in nodes:
        if node.op in _MOVES and node.inputs[:1] and (origin := origins.get(node.inputs[0])) is not None:
            origins.update(dict.fromkeys(node.outputs, origin))
        elif node.op == "Gather" and len(node.inputs) > 1 and node.inputs[0] in constants:
            found.add(origins.get(node.inputs[1], ""))
        elif node.op == "OneHot" and node.inputs:
            found.add(origins.get(node.inputs[0], ""))
    return frozenset(found & set(inputs))


def is_given(tensor: Tensor, build: Builder) -> bool:
    """Say whether a tensor is an input of integers, moved at most, and multiplied or added to."""
    is_input = tensor.integer and tensor.order is None and not build.is_computed(tensor)
    return is_input and tensor.ends is None and not tensor.places and not tensor.repeats


def is_plain(tensor: Tensor) -> bool:
    """Say whether integers are those of an input as they are."""
    return tensor.scale == 1 and tensor.shift == 0 and tensor.shifts is None and not tensor.clamped


def is_token(tensor: Tensor, build: Builder) -> bool:
    """Say whether a tensor is an input of tokens."""
    return is_given(tensor, build) and tensor.rows[0].value in build.token_inputs


@overload
def with_numbers(node: Node, value: Tensor, build: Builder) -> Tensor: ...


@overload
def with_numbers(node: Node, value: Value, build: Builder) -> Value: ...


def with_numbers(node: Node, value: Value, build: Builder) -> Value:
    """Return integers as the numbers that they are; other values as they are, and so tokens, which are none."""
    if not isinstance(value, Tensor) or not value.integer or is_token(value, build):
        return value
    if value.shifts is not None or value.clamped:
        return value
    if not build.is_computed(value) and not is_given(value, build):
        return value
    tensor = replace(value, integer=False, scale=1, shift=0)
    if value.scale == 1 and not value.shift:
        return tensor
    scale, shift = np.full((), value.scale, np.float32), np.full((), value.shift, np.float32)
    return build.map(node, tensor, lambda each: build.scale_and_shift(node, each, scale, shift))


def shifted(tensor: Value | None, array: Value | None, sign: int, build: Builder) -> Tensor | None:
    """Return ``tensor + sign * array`` of an input of integers and whole numbers; None if they are not that."""
    if not isinstance(tensor, Tensor) or not isinstance(array, np.ndarray):
        return None
    if not is_given(tensor, build) or is_token(tensor, build) or tensor.shifts is not None:
        return None
    if (number := _whole(tensor, array)) is not None:
        return replace(tensor, shift=tensor.shift + sign * number)
    is_list = array.dtype.kind in "iu" and array.ndim == len(tensor.dims) == 1
    is_open = is_list and any(axis.dynamic for axis in tensor.dims[0])  # as many as the array has, by another name
    return replace(tensor, shifts=sign * array) if is_list and (is_open or array.shape == tensor.shape) else None


def multiplied(tensor: Value | None, array: Value | None, build: Builder) -> Tensor | None:
    """Return ``tensor * array`` of an input of integers and a whole number; None if they are not that."""
    if not isinstance(tensor, Tensor) or not isinstance(array, np.ndarray):
        return None
    if not is_given(tensor, build) or is_token(tensor, build) or tensor.shifts is not None:
        return None
    number = _whole(tensor, array)
    return None if number is None else replace(tensor, scale=tensor.scale * number, shift=tensor.shift * number)


def _whole(tensor: Tensor, array: Array) -> int | None:
    if array.size != 1 or array.ndim > len(tensor.dims) or array.dtype.kind not in "fiu":
        return None
    number = float(array.reshape(()))
    return int(number) if number == round(number) and abs(number) < _MOST else None


def equals_token(node: Node, tensor: Tensor, array: Array, build: Builder) -> Tensor:
    """Return the condition that an input of tokens is some token."""
    if array.size != 1 or array.ndim > len(tensor.dims) or not is_plain(tensor) or len(tensor.rows) != 1:
        raise node.unsupported("it compares tokens with several numbers", "compare tokens with one token at a time")
    token = float(array.reshape(()))
    if not 0 <= token < _MOST or token != int(token):
        raise node.unsupported(f"it compares tokens with {token:g}, which is none")
    mask = TokenMask(name=build.name(node, "token_mask"), inputs=(tensor.rows[0].value,), token=int(token))
    result = replace(tensor.with_row(replace(tensor.rows[0], value=build.add(mask))), integer=False, boolean=True)
    return build.negated(node, result)
