"""What a file leaves open: sizes, which are 1 in one timestep, and inputs that the caller fixes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from grurt.array_types import Array
from grurt.converters.graph.nodes import Declaration, Graph
from grurt.errors import ConversionError, UnsupportedError
from grurt.escaping import listed


def with_open_sizes(graph: Graph, size: int, name: str | None = None) -> Graph:
    """Return a graph whose inputs have a size wherever it leaves one open; others than that of a name are 1 then."""

    def sized(port: Declaration) -> Declaration:
        shape = _fixed(port, size)
        if name is not None:
            shape = tuple(
                given if open_as == name else 1 if given != open_as else given
                for given, open_as in zip(shape, port.shape or (), strict=True)
            )
        return replace(port, shape=shape)

    return replace(graph, inputs=tuple(map(sized, graph.inputs)))


def with_sizes(graph: Graph, sizes: Mapping[str, int]) -> Graph:
    """Return a graph whose inputs have given sizes where it leaves ones of these names open."""

    def sized(port: Declaration) -> Declaration:
        shape = port.shape and tuple(sizes.get(size, size) if isinstance(size, str) else size for size in port.shape)
        return replace(port, shape=shape)

    return replace(graph, inputs=tuple(map(sized, graph.inputs)))


def open_axis(graph: Graph, port: str, name: str) -> int | None:
    """Return the axis of an input whose size is open, under a name; None if it has none, or several."""
    shapes = (each.shape or () for each in graph.inputs if each.name == port)
    axes = [axis for shape in shapes for axis, size in enumerate(shape) if size == name]
    return axes[0] if len(axes) == 1 else None


def open_names(graph: Graph) -> list[str]:
    """Return the names of the sizes that a graph's inputs leave open."""
    return list(dict.fromkeys(size for port in graph.inputs for size in port.shape or () if isinstance(size, str)))


def has_open_sizes(graph: Graph) -> bool:
    """Say whether an input of a graph has a size that is open."""
    return any(not isinstance(size, int) or size < 1 for port in graph.inputs for size in port.shape or ())


def _fixed(port: Declaration, size: int) -> tuple[int, ...]:
    if port.shape is None:
        raise UnsupportedError(f"input {port.name[:100]!r}: the file does not say how many axes it has")
    return tuple(given if isinstance(given, int) and given > 0 else size for given in port.shape)


def bound(graph: Graph, values: Mapping[str, object]) -> tuple[Graph, dict[str, Array]]:
    """Return a graph without the inputs that the caller fixes, and their values, repeated to their shapes.

    Raises
    ------
    ConversionError
        If there is no such input, or a value does not fit.
    """
    ports = {port.name: port for port in graph.inputs}
    fixed: dict[str, Array] = {}
    for name, value in values.items():
        if name not in ports:
            raise ConversionError(f"bind: the graph has no input {name!r}; it has {listed(ports)}")
        port = ports[name]
        try:
            array = np.asarray(value)
            typed = array.astype(port.dtype)
            fixed[name] = np.ascontiguousarray(np.broadcast_to(typed, _fixed(port, 1)))
        except (ValueError, TypeError, OverflowError) as error:
            raise ConversionError(
                f"bind: expected {port.dtype} of the shape {_fixed(port, 1)} for the input {name!r}: {error}"
            ) from error
        if not np.array_equal(typed, array):
            raise ConversionError(f"bind: the value of the input {name!r} is none of the dtype {port.dtype}")
    return replace(graph, inputs=tuple(port for port in graph.inputs if port.name not in fixed)), fixed
