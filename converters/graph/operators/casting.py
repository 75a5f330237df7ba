"""Cast: numbers, integers that layers have found, tokens and conditions."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from grurt.converters.graph.building.builder import Builder
from grurt.converters.graph.building.integers import with_numbers
from grurt.converters.graph.elements import dtype_of
from grurt.converters.graph.nodes import Node
from grurt.converters.graph.operators.mathematics import equal
from grurt.converters.graph.operators.registry import operator
from grurt.converters.graph.tracing.parameters import tensor_input
from grurt.converters.graph.tracing.values import Arguments, Value

_TOKENS = (np.dtype(np.int32), np.dtype(np.int64))
_FEATURES = (np.dtype(np.float16), np.dtype(np.float32), np.dtype(np.float64))
_OF_CONDITIONS = (*_TOKENS, *_FEATURES, np.dtype(np.bool_))


@operator("Cast", moves_axes=True)
def cast(node: Node, args: Arguments, build: Builder) -> tuple[Value, ...]:
    """Cast between floating-point types (grurt computes in float32), or between integer types of tokens.

    Conditions, and integers that are no tokens, are numbers too; and an input of numbers may be one of tokens.
    """
    target = dtype_of(node.integer("to", 0), str(node))
    tensor = tensor_input(node, args)
    if tensor.ends is not None and target in _OF_CONDITIONS:
        return (tensor,)
    if target in _FEATURES:
        tensor = with_numbers(node, tensor, build)
    integer = tensor.integer
    if target.kind == "b" and not tensor.boolean:
        return (build.negated(node, equal(node, [tensor, np.zeros((), np.float32)], build)),)
    if tensor.boolean and target in _OF_CONDITIONS:
        return (replace(tensor, integer=target in _TOKENS, boolean=target.kind == "b"),)
    if target in _TOKENS and all(row.value not in build.layers for row in tensor.rows):
        return (replace(tensor, integer=True),)  # as Keras casts the tokens of an Embedding
    if target not in (_TOKENS if integer else _FEATURES):
        raise node.unsupported(f"it casts {'integers' if integer else 'features'} to {target.name}")
    return (tensor,)
