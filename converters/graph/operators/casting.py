"""Cast and CastLike: numbers, integers that layers have found, tokens and conditions."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from grurt.converters.graph.building.builder import Builder
from grurt.converters.graph.building.integers import with_numbers
from grurt.converters.graph.elements import dtype_of
from grurt.converters.graph.nodes import Node
from grurt.converters.graph.operators.mathematics import equal
from grurt.converters.graph.operators.registry import operator
from grurt.converters.graph.tracing.parameters import required, tensor_input
from grurt.converters.graph.tracing.values import Arguments, Tensor, Value
from grurt.converters.mathematics import Formula, truncated

_BOOL = np.dtype(np.bool_)
_INTEGERS = (np.dtype(np.int32), np.dtype(np.int64))
_FLOATS = (np.dtype(np.float16), np.dtype(np.float32), np.dtype(np.float64))
_OF_CONDITIONS = (*_INTEGERS, *_FLOATS, _BOOL)


@operator("Cast", moves_axes=True)
def cast(node: Node, args: Arguments, build: Builder) -> tuple[Value, ...]:
    """Cast between floating-point types (grurt computes in float32), or between integer types of tokens.

    Conditions, and integers that are no tokens, are numbers too; and an input of numbers may be one of tokens. Numbers
    become integers towards zero, and conditions where they are not 0.
    """
    return (_cast_to(node, tensor_input(node, args), dtype_of(node.integer("to", 0), str(node)), build),)


@operator("CastLike", moves_axes=True)
def cast_like(node: Node, args: Arguments, build: Builder) -> tuple[Value, ...]:
    """CastLike: of a value to the type of another one, or of a constant to that of a value."""
    node.ignore("saturate", "round_mode")
    given, like = required(node, args, 0), required(node, args, 1)
    target = like.dtype if isinstance(like, np.ndarray) else _dtype_of_value(like)
    if isinstance(given, np.ndarray):
        return (build.folder.computed(node, lambda array: array.astype(target), given),)
    return (_cast_to(node, given, target, build),)


def _dtype_of_value(tensor: Tensor) -> np.dtype[Any]:
    return np.dtype(np.int64 if tensor.integer else np.bool_ if tensor.boolean else np.float32)


def _cast_to(node: Node, tensor: Tensor, target: np.dtype[Any], build: Builder) -> Tensor:
    if tensor.ends is not None and target in _OF_CONDITIONS:
        return tensor
    if target in _FLOATS:
        tensor = with_numbers(node, tensor, build)
    if tensor.boolean and target in _OF_CONDITIONS:
        return replace(tensor, integer=target in _INTEGERS, boolean=target == _BOOL)
    if target == _BOOL:
        return build.negated(node, equal(node, [tensor, np.zeros((), np.float32)], build))
    if target in _INTEGERS and not tensor.integer:
        if all(row.value in build.token_inputs for row in tensor.rows):
            return replace(tensor, integer=True)  # as Keras casts the tokens of an Embedding
        rows = Formula(build, partial(build.name, node))
        return replace(build.map(node, tensor, partial(truncated, rows)), integer=True)
    if target not in (_INTEGERS if tensor.integer else _FLOATS):
        raise node.unsupported(f"it casts {'integers' if tensor.integer else 'features'} to {target.name}")
    return tensor
