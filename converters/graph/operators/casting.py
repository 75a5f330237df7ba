"""Cast: numbers, integers that layers have found, tokens and conditions."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np

from grurt.converters.graph.building.builder import Builder
from grurt.converters.graph.elements import dtype_of
from grurt.converters.graph.nodes import Node
from grurt.converters.graph.operators.mathematics import is_not_zero
from grurt.converters.graph.operators.registry import operator
from grurt.converters.graph.tracing.parameters import tensor_input
from grurt.converters.graph.tracing.values import Arguments, Value
from grurt.converters.mathematics import Formula, truncated

_BOOL = np.dtype(np.bool_)
_INTEGERS = (np.dtype(np.int32), np.dtype(np.int64))
_FLOATS = (np.dtype(np.float16), np.dtype(np.float32), np.dtype(np.float64))
_OF_CONDITIONS = (*_INTEGERS, *_FLOATS, _BOOL)


@operator("Cast", moves_axes=True)
def cast(node: Node, args: Arguments, build: Builder) -> tuple[Value, ...]:
    """Cast between floating-point types (grurt computes in float32), or between integer types of tokens.

    Conditions, and integers that layers have found, are numbers too. Numbers become integers towards zero, and
    conditions where they are not 0.
    """
    target = dtype_of(node.integer("to", 0), str(node))
    tensor = tensor_input(node, args)
    found = tensor.integer and build.is_computed(tensor)
    if (tensor.boolean and target in _OF_CONDITIONS) or (found and target in _FLOATS):
        return (replace(tensor, integer=target in _INTEGERS, boolean=target == _BOOL),)
    if target == _BOOL and (found or not tensor.integer):
        return (is_not_zero(node, replace(tensor, integer=False), build),)
    if target in _INTEGERS and not tensor.integer:
        rows = Formula(build, partial(build.name, node))
        return (replace(build.map(node, tensor, partial(truncated, rows)), integer=True),)
    if target not in (_INTEGERS if tensor.integer else _FLOATS):
        raise node.unsupported(f"it casts {'integers' if tensor.integer else 'features'} to {target.name}")
    return (tensor,)
