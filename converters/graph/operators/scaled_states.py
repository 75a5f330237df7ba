"""States that are multiplied before a GRU reads them, as where the mask of a new episode resets them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from grurt.converters.graph.building.builder import Builder
from grurt.converters.graph.building.integers import with_numbers
from grurt.converters.graph.nodes import Node
from grurt.converters.graph.operators.registry import OPERATORS, operator
from grurt.converters.graph.rewriting.scaled_states import SCALED_STATE
from grurt.converters.graph.tracing.axes import Axis, Dim, dim_size
from grurt.converters.graph.tracing.values import Arguments, Factor, Tensor, Value


@operator(SCALED_STATE, moves_axes=True, reads_repeats=True)
def scaled_state(node: Node, args: Arguments, build: Builder) -> tuple[Value, ...]:
    """Return an input of the model, a state, with what each GRU multiplies it by; else what Mul or Where gives."""
    of = node.text("of", "Mul")
    node = replace(node, op=of)
    found = _of_product(node, args, build) if of == "Mul" else _of_choice(node, args, build)
    if found is None:
        return OPERATORS[of].convert(node, args, build)
    state, factor = found
    return (_scaled(node, state, factor, build),)


def _of_product(node: Node, args: Arguments, build: Builder) -> tuple[Tensor, Tensor] | None:
    """Return the state and its factor in a product of the two; None if it is none of an input of the model."""
    if len(args) != 2:
        return None
    one, other = (with_numbers(node, arg, build) if isinstance(arg, Tensor) else arg for arg in args)
    if not isinstance(one, Tensor) or not isinstance(other, Tensor):
        return None
    pairs = [pair for pair in ((one, other), (other, one)) if _is_given(pair[0], build) and _covers(*pair)]
    if len(pairs) == 2:
        raise node.unsupported(
            f"it multiplies two inputs of one shape, {one.shape}, and nothing tells which of them is the state",
            "give the factor with one number for each sequence, (batch, 1)",
        )
    return pairs[0] if pairs else None


def _of_choice(node: Node, args: Arguments, build: Builder) -> tuple[Tensor, Tensor] | None:
    """Return the state and its factor, 1 or 0, where a condition chooses between the state and zeros."""
    condition, then, otherwise = args
    state, zeros = (then, otherwise) if isinstance(then, Tensor) else (otherwise, then)
    if not isinstance(condition, Tensor) or not isinstance(state, Tensor) or not isinstance(zeros, np.ndarray):
        return None
    if not _is_given(state, build) or not _covers(state, condition) or zeros.any():
        return None
    return state, condition if state is then else build.negated(node, condition)


def _is_given(tensor: Tensor, build: Builder) -> bool:
    """Say whether a tensor is an input of the model, moved at most."""
    return not tensor.integer and all(row.value not in build.layers and row.factor is None for row in tensor.rows)


def _covers(state: Tensor, factor: Tensor) -> bool:
    """Say whether the product has the state's shape."""
    rank = max(len(state.dims), len(factor.dims))
    dims = zip(_with_rank(state, rank).dims, _with_rank(factor, rank).dims, strict=True)
    return all(dim_size(other) == 1 or _may_be_same(own, other) for own, other in dims)


def _may_be_same(own: Dim, other: Dim) -> bool:
    """Say whether two dimensions may be the same: of one size, or both of sizes that the file leaves open."""
    are_open = len(own) == len(other) == 1 and own[0].dynamic and other[0].dynamic
    return are_open or dim_size(own) == dim_size(other)


def _scaled(node: Node, state: Tensor, factor: Tensor, build: Builder) -> Tensor:
    rank = max(len(state.dims), len(factor.dims))
    state, factor = _with_rank(state, rank), build.single(_with_rank(factor, rank), node)
    axes: list[Axis] = []
    units: list[tuple[Axis, Axis]] = []
    for own, other in zip(state.dims, factor.dims, strict=True):
        if len(own) == len(other) == 1 and own[0].size == other[0].size == 1:
            units.append((other[0], own[0]))
        elif len(own) == len(other) == 1 and _may_be_same(own, other):
            other[0].unify(own[0], node)
            axes += other
        elif dim_size(other) > 1:
            raise node.unsupported(f"it multiplies a state of the shape {state.shape} by one of {factor.shape}")
    if build.is_single(factor.rows[0].value):
        raise node.unsupported(
            "it multiplies a state by what is computed at the end of a sequence",
            "a factor of the state must be computed from the inputs of its timestep",
        )
    found = Factor(factor.rows[0].value, tuple(axes), tuple(units))
    return replace(state, rows=tuple(replace(row, factor=found) for row in state.rows))


def _with_rank(tensor: Tensor, rank: int) -> Tensor:
    none: tuple[Dim, ...] = ((),) * (rank - len(tensor.dims))
    return replace(tensor, dims=(*none, *tensor.dims))
