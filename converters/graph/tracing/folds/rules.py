"""What a rule of folding is: a function of constants, and how many bytes it creates, said before it does."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from grurt.array_types import Array
from grurt.converters.graph.nodes import Node
from grurt.converters.graph.tracing import parameters
from grurt.converters.graph.tracing.features import without_repeats
from grurt.converters.graph.tracing.parameters import constant, required
from grurt.converters.graph.tracing.values import Arguments

Fold = Callable[[Node, Arguments], tuple[Array, ...]]
Count = Callable[[Node, Arguments], int]

WIDEST = 8
"""Bytes of an element, at most."""


@dataclass(frozen=True)
class Rule:
    """How an operator is evaluated.

    Parameters
    ----------
    fold
        Returns what it writes.
    bytes_created
        Returns how many bytes that creates at most.
    bytes_read
        Returns how many bytes it looks through, where that is more than it reads and creates.
    is_late
        Whether it is evaluated where the graph is interpreted, and not before: a loop that was unrolled is found by the
        products of its first state, which may be a constant.
    """

    fold: Fold
    bytes_created: Count
    bytes_read: Count = lambda node, args: 0
    is_late: bool = False


Rules = Mapping[str, Rule]


def arrays_of(node: Node, args: Arguments) -> list[Array]:
    """Return all inputs, which are constants."""
    return [constant(node, value, "inputs") for value in args if value is not None]


def first_of(node: Node, args: Arguments) -> Array:
    """Return the first input, which is a constant."""
    return constant(node, required(node, args, 0), "input")


def nothing(node: Node, args: Arguments) -> int:
    """Of operators that return a view."""
    return 0


def all_inputs(node: Node, args: Arguments) -> int:
    """Of operators that copy their inputs, and whatever these repeat."""
    return sum(array.nbytes for array in arrays_of(node, args))


def of_elements(node: Node, args: Arguments) -> int:
    """Of operators that compute element by element: what the inputs repeat is computed once."""
    arrays, _ = compact(node, arrays_of(node, args))
    return n_bytes_computed(arrays)


def of_first(node: Node, args: Arguments) -> int:
    """Of operators that write as many elements as their first input has."""
    return WIDEST * int(first_of(node, args).size)


def compact(node: Node, arrays: Sequence[Array]) -> tuple[list[Array], tuple[int, ...]]:
    """Return arrays without what they repeat, and the shape that they have together."""
    try:
        shape = common_shape(arrays)
    except ValueError as error:
        raise node.invalid("the shapes of its inputs do not fit together") from error
    return [without_repeats(array) for array in arrays], shape


def n_bytes_computed(arrays: Sequence[Array]) -> int:
    """Return how many bytes a function of arrays creates."""
    return WIDEST * math.prod(common_shape(arrays))


def common_shape(arrays: Sequence[Array]) -> tuple[int, ...]:
    """Return the shape that arrays are brought to beside each other."""
    shapes = {array.shape for array in arrays}
    return shapes.pop() if len(shapes) == 1 else np.broadcast_shapes(*shapes)


def expanded(array: Array, shape: tuple[int, ...]) -> Array:
    """Return an array repeated to a shape, without taking memory for that."""
    return array if array.shape == shape else np.broadcast_to(array, shape)


def elementwise(function: Callable[..., Array]) -> Fold:
    """Return the evaluation of a function of all inputs, element by element."""
    return elementwise_of(lambda node, arrays: function(*arrays))


def elementwise_of(function: Callable[[Node, list[Array]], Array]) -> Fold:
    """Return the evaluation of a function of a node and its inputs, element by element."""

    def fold(node: Node, args: Arguments) -> tuple[Array, ...]:
        arrays, shape = compact(node, arrays_of(node, args))
        return (expanded(np.asarray(function(node, arrays)), shape),)

    return fold


def axis_of(node: Node, array: Array, default: int) -> int:
    """Return the attribute ``axis`` as a number that is not negative."""
    return parameters.axis_index(node, node.integer("axis", default), array.ndim)
