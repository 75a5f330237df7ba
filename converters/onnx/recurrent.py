"""The GRU operator: one grurt layer for each direction, and where its initial state comes from.

Source: operator ``GRU`` of the ONNX specification. Its rows are in grurt's own gate order, z, r, h.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import msgspec
import numpy as np

from grurt.layers import GRU

from .axes import Axis, Dim, Role
from .builder import Builder, StateSource
from .combining import rows_along
from .dense import require_features, without_repeats
from .elementwise import gru_activations
from .graph import Array, Node
from .movement import tensor_input
from .parameters import constant, optional, required
from .values import Arguments, Row, Tensor, Value, stacked

Direction = Literal["forward", "reverse"]

_DIRECTIONS: dict[str, tuple[Direction, ...]] = {
    "forward": ("forward",),
    "reverse": ("reverse",),
    "bidirectional": ("forward", "reverse"),
}


def gru(node: Node, args: Arguments, build: Builder) -> tuple[Value, ...]:
    """GRU: Y (time, direction, batch, features) and Y_h (direction, batch, features), or batch first for layout 1."""
    directions = _DIRECTIONS.get(node.text("direction", "forward"))
    if directions is None:
        raise node.invalid("its direction is none of forward, reverse, bidirectional")
    if optional(args, 4) is not None:
        raise node.unsupported(
            "sequence_lens, the lengths of padded sequences, is not supported",
            "export the model without packed sequences; grurt's own run takes lengths",
        )
    batch_first = bool(node.integer("layout", 0))
    source = build.single(tensor_input(node, args), node)
    if len(source.dims) != 3:
        raise node.invalid(f"expected an input of 3 axes, got the shape {source.shape}")
    time, batch = (source.dims[1], source.dims[0]) if batch_first else source.dims[:2]
    _learn_scan_axes(node, time, batch)
    layers = list(_layers(node, args, directions, source, build))
    require_features(node, source, 2, layers[0][0].input_size)
    states = _initial_states(node, optional(args, 5), layers[0][0], len(directions), batch_first)
    names = []
    for (layer, weights), (initial, state_source) in zip(layers, states, strict=True):
        name = _add(layer, weights, initial, build, timeless=not time)
        if state_source is not None:
            build.state_sources[name] = state_source
        names.append(name)
    return _results(node, names, layers[0][0].hidden_size, time, batch, batch_first)


def _add(layer: GRU, weights: dict[str, Array], initial: Array | None, build: Builder, *, timeless: bool) -> str:
    if initial is None:
        return build.add_gru(layer, weights, timeless=timeless)
    learned = msgspec.structs.replace(layer, initial_state=True)
    return build.add_gru(learned, weights | {"initial_state": initial}, timeless=timeless)


def _learn_scan_axes(node: Node, time: Dim, batch: Dim) -> None:
    if len(time) > 1 or len(batch) > 1:
        merged = " and ".join(axis.where for axis in (time if len(time) > 1 else batch))
        raise node.unsupported(f"it scans sequences that are made of several axes ({merged})")
    for axis in time:
        axis.require(Role.TIME, node)
    for axis in batch:
        axis.require(Role.BATCH, node)


def _layers(
    node: Node, args: Arguments, directions: tuple[Direction, ...], source: Tensor, build: Builder
) -> Iterator[tuple[GRU, dict[str, Array]]]:
    w, r, b = _weights(node, args, len(directions))
    name = build.name(node, "gru")
    clip = node.number("clip", 0.0)
    linear_before_reset = bool(node.integer("linear_before_reset", 0))
    for index, (direction, functions) in enumerate(
        zip(directions, gru_activations(node, len(directions)), strict=True)
    ):
        weights = {"weight_ih": w[index], "weight_hh": r[index]}
        if b is not None:
            weights["bias_ih"], weights["bias_hh"] = np.split(b[index], 2)
        layer = GRU(
            name=name if index == 0 else build.unique(f"{name}_reverse"),
            inputs=(source.rows[0].value,),
            input_size=w.shape[2],
            hidden_size=r.shape[2],
            direction=direction,
            linear_before_reset=linear_before_reset,
            bias=b is not None,
            gate_activation=functions[0],
            candidate_activation=functions[1],
            clip=clip if node.has("clip") else None,
        )
        yield layer, weights


def _weights(node: Node, args: Arguments, directions: int) -> tuple[Array, Array, Array | None]:
    """Return W (directions, 3 * hidden, input), R (directions, 3 * hidden, hidden), B (directions, 6 * hidden)."""
    w = constant(node, required(node, args, 1), "weights W")
    r = constant(node, required(node, args, 2), "weights R")
    given = optional(args, 3)
    b = None if given is None else constant(node, given, "bias B")
    hidden_size = r.shape[2] if r.ndim == 3 else 0
    expected: list[tuple[str, Array | None, tuple[int, ...]]] = [
        ("W", w, (directions, 3 * hidden_size, w.shape[-1] if w.ndim else 0)),
        ("R", r, (directions, 3 * hidden_size, hidden_size)),
        ("B", b, (directions, 6 * hidden_size)),
    ]
    for name, array, shape in expected:
        if array is not None and (array.shape != shape or array.dtype.kind != "f"):
            raise node.invalid(f"expected {name} of shape {shape}, got {array.dtype} {array.shape}")
    if node.integer("hidden_size", hidden_size) != hidden_size:
        raise node.invalid(f"its hidden_size is not the {hidden_size} of its weights")
    return w, r, b


def _initial_states(
    node: Node, value: Value | None, layer: GRU, directions: int, batch_first: bool
) -> Iterator[tuple[Array | None, StateSource | None]]:
    """Yield for each direction the learned initial state, if it is not zero, or the graph input that gives it."""
    if value is None:
        yield from [(None, None)] * directions
    elif isinstance(value, np.ndarray):
        array = value.swapaxes(0, 1) if batch_first and value.ndim == 3 else value
        yield from ((state, None) for state in _constant_states(node, array, layer.hidden_size, directions))
    else:
        yield from ((None, source) for source in _given_states(node, value, directions, batch_first))


def _constant_states(node: Node, array: Array, hidden_size: int, directions: int) -> Iterator[Array | None]:
    if array.ndim != 3 or (array.shape[0], array.shape[2]) != (directions, hidden_size) or array.shape[1] < 1:
        expected = f"({directions}, batch, {hidden_size})"
        raise node.invalid(f"expected an initial state of shape {expected}, got {array.shape}")
    array = without_repeats(array)
    if not np.array_equal(array, np.broadcast_to(array[:, :1], array.shape)):
        raise node.unsupported(
            "its constant initial state differs between the sequences of the batch",
            "give it as an input of the model instead",
        )
    for state in np.broadcast_to(array[:, 0], (directions, hidden_size)):
        yield state if state.any() else None


def _given_states(node: Node, tensor: Tensor, directions: int, batch_first: bool) -> Iterator[StateSource]:
    if len(tensor.dims) != 3:
        raise node.invalid(f"expected an initial state of 3 axes, got the shape {tensor.shape}")
    position, batch = (1, 0) if batch_first else (0, 1)
    rows = rows_along(tensor, position)
    if len(rows) != directions or len(tensor.dims[batch]) > 1 or len(tensor.dims[2]) > 1:
        raise node.unsupported(f"its initial state, of shape {tensor.shape}, is made of merged axes or too many states")
    for axis in tensor.dims[batch]:
        axis.require(Role.BATCH, node)
    for axis in tensor.dims[2]:
        axis.require(Role.FEATURE, node)
    for row in rows:
        yield _state_source(node, row)


def _state_source(node: Node, row: Row) -> StateSource:
    if row.final or len(row.picked) > 1:
        raise node.unsupported(
            "its initial state is computed by other layers, as in an encoder-decoder",
            "supported are zeros, constants, and inputs of the model",
        )
    if not row.picked:
        return StateSource(row.value, 0, None)
    axis, position = row.picked[0]
    axis.require(Role.STATE, node)
    return StateSource(row.value, position, axis)


def _results(
    node: Node, names: list[str], hidden_size: int, time: Dim, batch: Dim, batch_first: bool
) -> tuple[Tensor, Tensor]:
    stack, direction = stacked(tuple(Row(name) for name in names), node)
    feature = (Axis(hidden_size, f"the feature axis of {names[0]!r}", Role.FEATURE),)
    every = (batch, time, direction, feature) if batch_first else (time, direction, batch, feature)
    last = (batch, direction, feature) if batch_first else (direction, batch, feature)
    return (
        Tensor(tuple(Row(name) for name in names), every, stack),
        Tensor(tuple(Row(name, final=True) for name in names), last, stack),
    )
