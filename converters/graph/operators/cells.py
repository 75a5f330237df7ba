"""Cells at one timestep: a GRU over a single timestep, or, from the copies of an unrolled loop, one over a sequence."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import numpy as np

from grurt.converters.graph.building.builder import Builder
from grurt.converters.graph.nodes import Node
from grurt.converters.graph.operators.activations import gru_activations
from grurt.converters.graph.operators.recurrent import (
    Initial,
    add_gru,
    check_one_timestep,
    constant_states,
    given_state,
    gru_weights,
)
from grurt.converters.graph.operators.registry import operator
from grurt.converters.graph.rewriting.cells import CELL
from grurt.converters.graph.tracing.axes import Axis, Dim, Role
from grurt.converters.graph.tracing.features import require_features
from grurt.converters.graph.tracing.parameters import required, tensor_input
from grurt.converters.graph.tracing.states import Loop
from grurt.converters.graph.tracing.values import Arguments, Every, Row, Tensor, Value
from grurt.errors import DesignReason, UnsupportedError
from grurt.network.layers import GRU


@operator(CELL, in_loops="aware", reads_repeats=True)
def cell(node: Node, args: Arguments, build: Builder) -> tuple[Value, ...]:
    """Add the GRU of a cell, or, where its state is that of the timestep before, take the GRU that is there."""
    node.ignore("unrolled", "linear_before_reset", "activations", "activation_alpha", "activation_beta")
    projected = bool(node.integer("projected", 0))
    x, h = tensor_input(node, args), required(node, args, 4)
    given = x
    x = x if x.at is not None else build.single(x, node)
    weights = tuple(id(value) for value in args[1:4])
    loop = None if _is_whole_loop(x) else _loop_of(h, build)
    inputs = (x.rows[0].value, *_mask(node, args, x, build))
    if loop is None or loop.inputs != inputs or loop.weights != weights:
        first = _first(node, args, x, inputs, weights, build, projected=projected)
        if x.at is None and (refusal := _refusal_of_vector(node, given, inputs[0], build)) is not None:
            build.refused[first.rows[0].value] = refusal
        return (first,)
    if x.at is None or x.at[0].root is not loop.time.root:
        raise node.unsupported(
            "its input is no further timestep of what the steps before it read", "a GRU reads a sequence"
        )
    if not isinstance(h, Tensor) or h.at is None or not loop.follows(x.at[1], h.at[1]):
        raise node.unsupported(
            f"its state is not that of the timestep before (position {x.at[1]} of {loop.time.where})",
            "each timestep must read the input at its own position and the state of the one before",
        )
    if x.at[1] == loop.last:
        build.written_out.add(loop.time.size)
    return (replace(x, rows=(Row(loop.gru),), dims=_state_dims(node, x, h, h.dims[-1])),)


def final_state(tensor: Tensor, build: Builder) -> Tensor:
    """Return the tensor with states behind the last timestep of unrolled loops as the final states that they are."""
    settled = tensor.settled()
    rows = []
    for row in settled.rows:
        loop = build.loops.get(row.value)
        is_last = loop is not None and len(row.picked) == 1 and row.picked[0] == (loop.time, loop.last)
        rows.append(Row(row.value, final=True) if is_last else row)
    return replace(settled, rows=tuple(rows))


def _refusal_of_vector(node: Node, x: Tensor, value: str, build: Builder) -> UnsupportedError | None:
    """Return why a cell in no loop is no GRU: its input is picked from a sequence, or is the same for all of it."""
    frozen = [axis for row in x.rows for axis, _ in row.picked if axis.dynamic]
    if frozen:
        return node.unsupported(
            f"it reads one timestep of {frozen[0].where}, which is of open size: the exporter has frozen its loop",
            "export the model again with sequences of a fixed length, or convert the file of the framework",
            DesignReason.FAULTY_SOURCE,
        )
    if build.is_single(value) and value in build.layers:
        return node.unsupported(f"its input is one vector, {value!r}, for a whole sequence", "a GRU reads a sequence")
    return None


def _is_whole_loop(x: Tensor) -> bool:
    return x.at is not None and isinstance(x.at[1], Every)


def _loop_of(h: Value, build: Builder) -> Loop | None:
    return build.loops.get(h.rows[0].value) if isinstance(h, Tensor) else None


def _first(
    node: Node,
    args: Arguments,
    x: Tensor,
    inputs: tuple[str, ...],
    weights: tuple[int, ...],
    build: Builder,
    *,
    projected: bool,
) -> Tensor:
    """Add the GRU of a loop's first timestep, or of the only one."""
    w, r, b = gru_weights(node, args, 1)
    direction: Literal["forward", "reverse"] = "forward"
    if x.at is not None:
        time, position = x.at
        time.require(Role.TIME, node)
        if not isinstance(position, Every) and position not in (0, time.size - 1):
            found = f"it begins at position {position} of {time.where}"
            if time.dynamic:
                raise node.misfit(found)
            raise node.unsupported(found, "a loop must run over whole sequences")
        direction = "forward" if position in (0, Every.FORWARD) else "reverse"
    require_features(node, x, len(x.dims) - 1, w.shape[2])
    ((gate, candidate),) = gru_activations(node, 1)
    layer = GRU(
        name=build.name(node, "gru"),
        linear_before_reset=bool(node.integer("linear_before_reset", 1)),
        inputs=inputs,
        input_size=w.shape[2],
        hidden_size=r.shape[2],
        direction=direction,
        bias=b is not None,
        masked=len(inputs) > 1,
        gate_activation=gate,
        candidate_activation=candidate,
    )
    h = required(node, args, 4)
    initial = _initial(node, h, r.shape[2], build)
    if initial.factor is not None and x.at is not None:
        check_one_timestep(node, x.at[:1])
    name = add_gru(node, layer, (w[0], r[0], None if b is None else b[0]), initial, build, timeless=x.at is None)
    if projected:
        build.projected.add(name)
    feature = (Axis(r.shape[2], f"the feature axis of {name!r}", Role.FEATURE),)
    if x.at is None:
        return replace(x, rows=(Row(name, final=True),), dims=_state_dims(node, x, h, feature))
    build.loops[name] = Loop(name, inputs, weights, x.at[0], direction)
    return replace(x, rows=(Row(name),), dims=_state_dims(node, x, h, feature))


def _mask(node: Node, args: Arguments, x: Tensor, build: Builder) -> tuple[str, ...]:
    """Return the value that says which timesteps the cell of a loop reads; none if it reads all."""
    if len(args) < 6:
        return ()
    mask = tensor_input(node, args, 5)
    if mask.at is None or x.at is None or mask.at[1] != x.at[1] or mask.shape[-1:] != (1,):
        raise node.unsupported(
            f"its mask, of shape {mask.shape}, is not one number at each timestep", "expected (batch, 1)"
        )
    mask.at[0].unify(x.at[0], node)
    return (build.single(mask, node).rows[0].value,)


def _initial(node: Node, h: Value, hidden_size: int, build: Builder) -> Initial:
    if not isinstance(h, Tensor):
        (state,) = constant_states(node, h.reshape(1, -1, h.shape[-1]) if h.ndim else h, hidden_size, 1, build)
        return Initial(constant=state)
    h = h.settled()
    if len(h.rows) != 1 or len(h.dims) < 2 or any(len(dim) > 1 for dim in h.dims):
        raise node.unsupported(f"its initial state, of shape {h.shape}, is made of merged axes or several states")
    for axis in h.dims[-1]:
        axis.require(Role.FEATURE, node)
    for axis in h.dims[-2]:
        axis.require(Role.BATCH, node)
    return given_state(node, h.rows[0], build)


def _state_dims(node: Node, x: Tensor, h: Value, feature: Dim) -> tuple[Dim, ...]:
    """Return the axes of the new state: those of input and state, with axes of size 1 before the batch at most."""
    ranks = [len(x.dims), h.ndim if isinstance(h, np.ndarray) else len(h.dims)]
    leading = [*x.shape[:-2], *h.shape[:-2]]
    if min(ranks) < 1 or any(size != 1 for size in leading):
        raise node.unsupported(f"its input, of shape {x.shape}, is not one timestep", "expected (batch, features)")
    batches = [tensor.dims[-2] for tensor in (x, h) if isinstance(tensor, Tensor) and len(tensor.dims) > 1]
    for axis in (axis for dim in batches for axis in dim):
        axis.require(Role.BATCH, node)
    if any(len(dim) > 1 for dim in batches):
        raise node.unsupported("its batch is merged from several axes", "expected (batch, features)")
    if len(batches) == 2 and len(batches[0]) == len(batches[1]):
        for axis, other in zip(*batches, strict=True):
            axis.unify(other, node)
    batch = next((dim for dim in batches if dim), ())
    return (*((),) * (max(ranks) - 2), *((batch,) if max(ranks) > 1 else ()), feature)
