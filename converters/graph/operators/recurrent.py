"""The GRU operator: one grurt layer for each direction, and where its initial state comes from.

Source: operator ``GRU`` of the ONNX specification. Its rows are in grurt's own gate order, z, r, h.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import msgspec
import numpy as np

from grurt.array_types import Array
from grurt.converters.graph.building import grids
from grurt.converters.graph.building.builder import Builder
from grurt.converters.graph.nodes import Node
from grurt.converters.graph.operators.activations import gru_activations
from grurt.converters.graph.operators.combining import check_rows_along, rows_along
from grurt.converters.graph.operators.lengths import lengths_of_sequences
from grurt.converters.graph.operators.registry import operator
from grurt.converters.graph.tracing.axes import Axis, Dim, NotTimeError, Role
from grurt.converters.graph.tracing.features import require_features, without_repeats
from grurt.converters.graph.tracing.parameters import constant, optional, required, tensor_input
from grurt.converters.graph.tracing.states import StateSource
from grurt.converters.graph.tracing.values import Arguments, Every, Factor, Row, Tensor, Value, stacked
from grurt.errors import DesignReason
from grurt.network.layers import GRU, RepeatVector


@dataclass(frozen=True)
class Initial:
    """Where the initial state of a GRU comes from; zeros if from nowhere.

    Parameters
    ----------
    constant
        A learned state that is not zero.
    source
        An input of the model.
    value
        A value that other layers compute before the GRU begins, as an encoder does for its decoder.
    factor
        What the source multiplies the input of the model by.
    """

    constant: Array | None = None
    source: StateSource | None = None
    value: str | None = None
    factor: Factor | None = None


Direction = Literal["forward", "reverse"]
Scan = Literal["time", "positions"]

_DIRECTIONS: dict[str, tuple[Direction, ...]] = {
    "forward": ("forward",),
    "reverse": ("reverse",),
    "bidirectional": ("forward", "reverse"),
}
_OPPOSITE: dict[Direction, Direction] = {"forward": "reverse", "reverse": "forward"}
"""What a GRU does to a sequence that was reversed before it."""


@operator("GRU", in_loops="single", moves_axes=True, reads_repeats=True)
def gru(node: Node, args: Arguments, build: Builder) -> tuple[Value, ...]:
    """GRU: Y (time, direction, batch, features) and Y_h (direction, batch, features), or batch first for layout 1."""
    batch_first = bool(node.integer("layout", 0))
    source = build.single(tensor_input(node, args), node)
    if len(source.dims) != 3:
        raise node.invalid(f"expected an input of 3 axes, got the shape {source.shape}")
    time, batch = (source.dims[1], source.dims[0]) if batch_first else source.dims[:2]
    if build.is_single(source.rows[0].value) and source.rows[0].value in build.layers:
        source = source.with_row(Row(_repeated(node, source.rows[0].value, time, build)))
    scan = _learn_scan_axes(node, time, batch, build)
    if build.grid:
        grids.learn_features(node, source.dims[2])
        source = grids.formed(node, source, build)
    lengths = lengths_of_sequences(node, optional(args, 4), source.shape[int(batch_first)], batch, build)
    build.note_lengths(node, lengths)
    directions = _directions(node, time, padded=bool(lengths))
    w, r, b = gru_weights(node, args, len(directions))
    require_features(node, source, 2, w.shape[2])
    initials = _initial_states(node, optional(args, 5), r.shape[2], len(directions), batch_first, build)
    if scan == "positions" and any(initial.source or initial.value for initial in initials):
        raise NotTimeError
    if any(initial.factor for initial in initials):
        check_one_timestep(node, time)
    layers = _layers(node, w, directions, source, b, build, scan)
    names = []
    for index, (layer, initial) in enumerate(zip(layers, initials, strict=True)):
        weights = (w[index], r[index], None if b is None else b[index])
        names.append(add_gru(node, layer, weights, initial, build, timeless=not time))
    return _results(node, names, r.shape[2], source, batch_first)


def _repeated(node: Node, vector: str, time: Dim, build: Builder) -> str:
    """Return a vector that is the same at every timestep as a sequence of its own."""
    if len(time) != 1:
        raise node.unsupported(
            f"it reads one vector, {vector!r}, in place of a sequence",
            "give it as the GRU's initial state, or repeat it along the time axis",
        )
    n_steps = time[0].size
    like = build.sequence_of(n_steps)
    layer = RepeatVector(
        name=build.unique(f"{vector}.repeated"),
        inputs=(vector,) if like is None else (vector, like),
        n_steps=n_steps if like is None else 0,
    )
    return build.once(("repeated", vector, n_steps), lambda: build.add(layer))


def _directions(node: Node, time: Dim, *, padded: bool) -> tuple[Direction, ...]:
    """Return the directions in which a GRU scans the timesteps, which may have been reversed before it."""
    directions = _DIRECTIONS.get(node.text("direction", "forward"))
    if directions is None:
        raise node.invalid("its direction is none of forward, reverse, bidirectional")
    if not time or not time[0].is_reversed:
        return directions
    if padded:
        raise node.unsupported("it reads padded sequences that were reversed", "use a bidirectional GRU instead")
    return tuple(_OPPOSITE[direction] for direction in directions)


def add_gru(
    node: Node,
    layer: GRU,
    arrays: tuple[Array, Array, Array | None],
    initial: Initial,
    build: Builder,
    *,
    timeless: bool,
) -> str:
    """Add a GRU layer with its W, R and B, and return its name.

    ``timeless``: the graph has no time axis, it is a single timestep.
    """
    w, r, b = arrays
    weights = {"weight_ih": w, "weight_hh": r}
    if b is not None:
        weights["bias_ih"], weights["bias_hh"] = np.split(b, 2)
    if initial.constant is not None:
        layer = msgspec.structs.replace(layer, initial_state="learned")
        weights["initial_state"] = initial.constant
    elif initial.value is not None:
        if timeless:
            raise node.unsupported(
                "its state is computed by other layers in the same timestep",
                "a GRU's state must be that of the timestep before: an input of the model",
                DesignReason.FED_BACK_STATE,
            )
        layer = msgspec.structs.replace(layer, inputs=(*layer.inputs, initial.value), initial_state="value")
    if initial.factor is not None:
        layer = msgspec.structs.replace(layer, inputs=(*layer.inputs, initial.factor.value), scaled_state=True)
    name = build.add_gru(layer, weights, timeless=timeless)
    if initial.source is not None:
        build.state_sources[name] = initial.source
    return name


def check_one_timestep(node: Node, time: Dim) -> None:
    """Raise UnsupportedError if a GRU whose state is multiplied at its beginning runs over more than one timestep."""
    if any(axis.size > 1 and not axis.dynamic for axis in time):
        raise node.unsupported(
            f"its state is multiplied before the first of {time[0].size} timesteps, where a stream does so before each",
            "export the model with inputs of one timestep",
        )


def _learn_scan_axes(node: Node, time: Dim, batch: Dim, build: Builder) -> Scan:
    """Learn what the axes of a GRU's input mean, and return which one it scans."""
    if len(time) > 1 or (len(batch) > 1 and not build.grid):
        merged = " and ".join(axis.where for axis in (time if len(time) > 1 else batch))
        raise node.unsupported(f"it scans sequences that are made of several axes ({merged})")
    if build.grid:
        return _learn_grid_axes(node, time, batch)
    for axis in time:
        axis.require(Role.TIME, node)
    for axis in batch:
        axis.require(Role.BATCH, node)
    return "time"


def _learn_grid_axes(node: Node, time: Dim, batch: Dim) -> Scan:
    over_time = not time or time[0].role is Role.TIME
    for axis in time if not over_time else ():
        axis.require(Role.POSITION, node)
    for axis in batch:
        if axis.role is None and axis.size > 1:
            axis.require(Role.POSITION if over_time else Role.BATCH, node)
        allowed = {Role.BATCH, Role.POSITION if over_time else Role.TIME, None}
        if axis.role not in allowed:
            raise NotTimeError
    return "time" if over_time else "positions"


def _layers(
    node: Node, w: Array, directions: tuple[Direction, ...], source: Tensor, b: Array | None, build: Builder, scan: Scan
) -> Iterator[GRU]:
    name = build.name(node, "gru")
    clip = node.number("clip", 0.0)
    linear_before_reset = bool(node.integer("linear_before_reset", 0))
    for direction, functions in zip(directions, gru_activations(node, len(directions)), strict=True):
        yield GRU(
            name=name if len(directions) == 1 else build.unique(f"{name}.{direction}"),
            inputs=(source.rows[0].value,),
            input_size=w.shape[2],
            hidden_size=w.shape[1] // 3,
            direction=direction,
            linear_before_reset=linear_before_reset,
            bias=b is not None,
            gate_activation=functions[0],
            candidate_activation=functions[1],
            clip=clip if node.has("clip") else None,
            scan=scan,
        )


def gru_weights(node: Node, args: Arguments, directions: int) -> tuple[Array, Array, Array | None]:
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
    node: Node, value: Value | None, hidden_size: int, directions: int, batch_first: bool, build: Builder
) -> list[Initial]:
    """Return for each direction where its initial state comes from."""
    if value is None:
        return [Initial()] * directions
    if isinstance(value, np.ndarray):
        array = value.swapaxes(0, 1) if batch_first and value.ndim == 3 else value
        return [Initial(constant=state) for state in constant_states(node, array, hidden_size, directions, build)]
    return list(_given_states(node, value, directions, batch_first, build))


def constant_states(
    node: Node, array: Array, hidden_size: int, directions: int, build: Builder
) -> Iterator[Array | None]:
    """Yield the initial state of each direction ``(hidden_size,)`` from a constant; None if it is zero."""
    if array.ndim != 3 or (array.shape[0], array.shape[2]) != (directions, hidden_size) or array.shape[1] < 1:
        expected = f"({directions}, batch, {hidden_size})"
        raise node.invalid(f"expected an initial state of shape {expected}, got {array.shape}")
    array = without_repeats(array)
    build.folder.budget.read(array.nbytes, node)
    if not np.array_equal(array, np.broadcast_to(array[:, :1], array.shape)):
        raise node.unsupported(
            "its constant initial state differs between the sequences of the batch",
            "give it as an input of the model instead",
            DesignReason.ACROSS_BATCH,
        )
    for state in np.broadcast_to(array[:, 0], (directions, hidden_size)):
        yield state if state.any() else None


def _given_states(node: Node, tensor: Tensor, directions: int, batch_first: bool, build: Builder) -> Iterator[Initial]:
    if len(tensor.dims) != 3:
        raise node.invalid(f"expected an initial state of 3 axes, got the shape {tensor.shape}")
    position, batch = (1, 0) if batch_first else (0, 1)
    check_rows_along(tensor, position)
    if tensor.shape[position] != directions or len(tensor.dims[batch]) > 1 or len(tensor.dims[2]) > 1:
        raise node.unsupported(f"its initial state, of shape {tensor.shape}, is made of merged axes or too many states")
    rows = rows_along(tensor, position)
    for axis in tensor.dims[batch]:
        if not build.grid:
            axis.require(Role.BATCH, node)
        elif axis.role is None:
            build.merged_batches.add(axis.root)
    for axis in tensor.dims[2]:
        axis.require(Role.FEATURE, node)
    for row in rows:
        yield given_state(node, row, build)


def given_state(node: Node, row: Row, build: Builder) -> Initial:
    """Return the initial state that a row gives: an input of the model, or what other layers compute beforehand."""
    if row.value in build.layers:
        value = build.take(row, node)
        return Initial(value=value if build.is_single(value) else build.timestep_of(value, last=True))
    if len(row.picked) > 1:
        raise node.unsupported("its initial state is selected along several axes of an input")
    start = 0 if row.part is None else row.part[1]
    for axis, own in row.factor.units if row.factor is not None else ():
        if own.role is Role.BATCH and axis.role is None:
            axis.unify(own, node)
    if not row.picked:
        return Initial(source=StateSource(row.value, 0, None, start), factor=row.factor)
    axis, position = row.picked[0]
    if isinstance(position, Every):
        raise node.unsupported(
            "its state differs between the timesteps of a loop, and is not what the loop carries",
            "a cell reads the state that it gave at the timestep before",
        )
    axis.require(Role.STATE, node)
    if row.factor is not None and axis.size > 1 and any(each.root is axis.root for each in row.factor.axes):
        raise node.unsupported(
            f"each of the states along {axis.where} is multiplied by a number of its own",
            "multiply all states of a sequence by one number",
        )
    return Initial(source=StateSource(row.value, position, axis, start), factor=row.factor)


def _results(
    node: Node, names: list[str], hidden_size: int, source: Tensor, batch_first: bool
) -> tuple[Tensor, Tensor]:
    time, batch = (source.dims[1], source.dims[0]) if batch_first else source.dims[:2]
    direction = stacked(len(names), node)
    feature = (Axis(hidden_size, f"the feature axis of {names[0]!r}", Role.FEATURE),)
    every = (batch, time, direction, feature) if batch_first else (time, direction, batch, feature)
    last = (batch, direction, feature) if batch_first else (direction, batch, feature)
    return (
        Tensor(tuple(Row(name) for name in names), every, direction, source.dropped),
        Tensor(tuple(Row(name, final=True) for name in names), last, direction, source.dropped),
    )
