"""The source's tensors in ONNX: their axes brought into the layout that the layers have, and back.

The layout is that of `layers`: ``(time, batch, features)``, a grid's positions one after the other in the features.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from grurt.converters.onnx.writing.graph import GraphWriter
from grurt.network.axes import port_shape
from grurt.network.signature import MERGED_TIME, AnyPort, LengthsPort, StatePort, ValuePort, parts_of_axes
from grurt.network.value import Value

_VALUE = ("time", "batch", "position", "feature")
_STATES = ("state", "batch", "position", "feature")


def declared_shape(
    port: AnyPort, values: Mapping[str, Value], state_shapes: Mapping[str, tuple[int, ...]]
) -> list[int | str]:
    """Return the shape of a port's tensor, with names for the axes that are open: see `port_shape`."""
    positions = "" if isinstance(port, LengthsPort) else f"{port.positions} * "
    names = {"batch_position": f"{positions}batch", **dict.fromkeys(MERGED_TIME, "batch * time")}
    sizes = port_shape(port, values, state_shapes)
    return [size if isinstance(size, int) else names.get(size, size) for size in sizes]


def read_value(graph: GraphWriter, port: ValuePort, *, tokens: bool) -> str:
    """Return an input as a value: ``(time, batch, features)``, or tokens ``(time, batch)``."""
    dtype = "int64" if tokens else "float32"
    value = port.name if port.dtype == dtype else graph.cast(port.name, dtype)
    value = _arranged(graph, port, value, _VALUE[:2] if tokens else _VALUE)
    if not tokens:
        value = graph.reshape(value, 0, 0, -1) if port.positions > 1 else graph.squeeze(value, 2)
    return _reversed(graph, value) if port.backwards else value


def read_lengths(graph: GraphWriter, port: LengthsPort) -> str:
    """Return an input of lengths, int32 ``(batch,)``."""
    value = graph.squeeze(port.name, *(place for place, axis in enumerate(port.axes) if axis == "one"))
    return graph.cast(value, "int32")


def read_states(graph: GraphWriter, port: StatePort, size: int) -> Mapping[str, str]:
    """Return the states ``(1, batch * positions, size)`` that an input holds, by layer."""
    value = port.name if port.dtype == "float32" else graph.cast(port.name, "float32")
    value = _arranged(graph, port, value, _STATES)
    if port.groups > 1:
        apart = graph.unsqueeze(graph.reshape(value, 0, 0, 0, -1, size), 0)
        grouped = graph.squeeze(graph.transpose(apart, 0, 1, 4, 2, 3, 5), 0)
        value = graph.reshape(grouped, len(port.states), -1, size)
    else:
        value = graph.reshape(value, len(port.states), -1, size)
    if len(port.states) == 1:
        return {port.states[0]: value}
    parts = graph.ops("Split", value, outputs=len(port.states), axis=0, num_outputs=len(port.states))
    return dict(zip(port.states, parts, strict=True))


def write_value(graph: GraphWriter, port: ValuePort, value: str) -> None:
    """Make a value ``(time, batch, features)`` an output."""
    if port.backwards:
        value = _reversed(graph, value)
    value = graph.reshape(value, 0, 0, port.positions, -1) if port.positions > 1 else graph.unsqueeze(value, 2)
    _write(graph, port, value, _VALUE)


def write_states(graph: GraphWriter, port: StatePort, states: Sequence[str], size: int) -> None:
    """Make states ``(1, batch * positions, size)`` an output."""
    value = states[0] if len(states) == 1 else graph.op("Concat", *states, axis=0)
    places = len(port.states) // port.groups
    value = graph.reshape(value, places, port.groups, -1, port.positions, size)
    value = graph.reshape(graph.transpose(value, 0, 2, 3, 1, 4), places, -1, port.positions, port.groups * size)
    _write(graph, port, value, _STATES)


def _reversed(graph: GraphWriter, value: str) -> str:
    return graph.slice(value, 0, -1, -(2**63), -1)


def _arranged(graph: GraphWriter, port: ValuePort | StatePort, value: str, order: Sequence[str]) -> str:
    """Return a tensor with just the axes of ``order``."""
    value = graph.squeeze(value, *(place for place, axis in enumerate(port.axes) if axis == "one"))
    names: list[str] = [axis for axis in port.axes if axis != "one"]
    if "batch_position" in names:
        place = names.index("batch_position")
        names.insert(0, names.pop(place))
        value = graph.transpose(value, place, *(other for other in range(len(names)) if other != place))
        value = graph.reshape(value, -1, port.positions, graph.sizes(value, 1))
        names[:1] = ["batch", "position"]
    kept = [axis for axis in order if axis in names]
    value = graph.transpose(value, *(names.index(axis) for axis in kept))
    return graph.unsqueeze(value, *(place for place, axis in enumerate(order) if axis not in kept))


def _write(graph: GraphWriter, port: ValuePort | StatePort, value: str, order: Sequence[str]) -> None:
    """Make a tensor with the axes of ``order`` an output, in the port's axes and dtype."""
    wanted: list[str] = []
    for axis in port.axes:
        wanted += ["batch", "position"] if axis == "batch_position" else parts_of_axes([axis])
    value = graph.squeeze(value, *(place for place, axis in enumerate(order) if axis not in wanted))
    kept = [axis for axis in order if axis in wanted]
    value = graph.transpose(value, *(kept.index(axis) for axis in wanted))
    merged = [axis for axis in port.axes if axis == "batch_position" or axis in MERGED_TIME]
    if merged:
        place = wanted.index("time" if merged[0] == "time_batch" else "batch")
        value = graph.reshape(value, graph.sizes(value, 0, place), -1, graph.sizes(value, place + 2))
    value = graph.unsqueeze(value, *(place for place, axis in enumerate(port.axes) if axis == "one"))
    if port.dtype != "float32":
        value = graph.cast(value, port.dtype)
    graph.rename(value, port.name)
