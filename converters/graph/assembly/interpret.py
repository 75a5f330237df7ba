"""Interprets a graph: node by node, either numbers are computed or layers are collected."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from grurt.converters.graph.building import grids
from grurt.converters.graph.building.builder import Builder
from grurt.converters.graph.building.grids import TimeAxis
from grurt.converters.graph.nodes import Declaration, Graph, Node
from grurt.converters.graph.operators import OPERATORS
from grurt.converters.graph.operators.convolution import refuse_cut, refuse_padding
from grurt.converters.graph.operators.refusals import reason_against
from grurt.converters.graph.rewriting.cells import CELL
from grurt.converters.graph.tracing.axes import Axis, Role
from grurt.converters.graph.tracing.folding import Folder
from grurt.converters.graph.tracing.values import Arguments, Row, Tensor, Value
from grurt.errors import UnsupportedError

SPARE_ELEMENTS = 1 << 24
"""How many numbers a conversion may compute or copy beside a small multiple of those that the file holds."""


MAX_SIZE = 2**31 - 1
"""The largest size of an axis of an input."""


@dataclass(frozen=True)
class Interpretation:
    """A graph as layers: what `network.assemble` makes a network of."""

    build: Builder
    inputs: Mapping[str, Tensor]
    outputs: Mapping[str, Tensor]


def interpret(
    graph: Graph, nodes: list[Node], open_sizes: Callable[[str], int], time_axis: TimeAxis | None = None
) -> Interpretation:
    """Return the layers that a graph computes with.

    Parameters
    ----------
    graph
        The graph.
    nodes
        Its live nodes, each after those that it reads.
    open_sizes
        Gives a number for each size that the file leaves open, by its name.
    time_axis
        For graphs whose GRUs scan different axes, the one that is time; see `grids`.

    Raises
    ------
    ConversionError
        If the graph contradicts itself, or holds something that is not supported.
    """
    held = sum(array.size for array in graph.constants.values())
    unrolled = any(node.op == CELL and node.attributes.get("unrolled") for node in nodes)
    build = Builder(
        [port.name for port in graph.inputs], 4 * held + SPARE_ELEMENTS, unrolled=unrolled, grid=time_axis is not None
    )
    folder = Folder(4 * held + SPARE_ELEMENTS)
    inputs = {port.name: _input(port, open_sizes) for port in graph.inputs}
    if time_axis is not None:
        name, index = time_axis
        inputs[name].dims[index][0].require(Role.TIME, Node("", "input", (), (name,)))
        if index > 0:
            inputs[name].dims[0][0].require(Role.BATCH, Node("", "input", (), (name,)))
    values: dict[str, Value] = {**graph.constants, **inputs}
    for node in nodes:
        args = tuple(values[name] if name else None for name in node.inputs)
        results = _evaluate(node, args, build, folder)
        if len(results) < len([name for name in node.outputs if name]):
            raise node.unsupported(f"it has {len(node.outputs)} outputs, of which {len(results)} are supported")
        values.update((name, result) for name, result in zip(node.outputs, results, strict=False) if name)
    return Interpretation(build, inputs, {port.name: _output(port, values[port.name], build) for port in graph.outputs})


def _evaluate(node: Node, args: Arguments, build: Builder, folder: Folder) -> tuple[Value, ...]:
    results: tuple[Value, ...]
    if all(not isinstance(value, Tensor) for value in args):
        results = folder.fold(node, args)
    else:
        results = _converted(node, args, build)
    if unread := node.unread():
        raise node.unsupported(f"its attribute {unread[0][:50]!r} is not understood")
    return results


def _converted(node: Node, args: Arguments, build: Builder) -> tuple[Value, ...]:
    known = OPERATORS.get(node.op)
    if known is None:
        raise node.unsupported(*reason_against(node.op))
    if not known.reads_padding:
        refuse_padding(node, args)
    if known.in_loops == "single" or (known.in_loops == "alike" and not _at_one_position(args)):
        args = tuple(value.settled() if isinstance(value, Tensor) else value for value in args)
    if build.grid and not known.moves_axes:
        first = args[0] if args else None
        place = known.features_at(node, len(first.dims)) if isinstance(first, Tensor) else None
        if isinstance(first, Tensor) and place is not None:
            grids.learn_positions(node, first, place)
        args = tuple(grids.formed(node, value, build) if isinstance(value, Tensor) else value for value in args)
    return known.convert(node, args, build)


def _at_one_position(args: Arguments) -> bool:
    """Say whether all values that a node reads are at the same position of the same axis."""
    places = [value.at for value in args if isinstance(value, Tensor)]
    return len({None if at is None else (at[0].root, at[1]) for at in places}) == 1


def _input(port: Declaration, open_sizes: Callable[[str], int]) -> Tensor:
    if port.shape is None:
        raise UnsupportedError(f"input {port.name[:100]!r}: the file does not say its shape; export with a shape")
    integer = port.dtype in ("int64", "int32")
    if not integer and not port.dtype.startswith("float"):
        raise UnsupportedError(f"input {port.name[:100]!r}: the type {port.dtype} is not supported")
    axes = []
    for index, size in enumerate(port.shape):
        where = f"axis {index} of input {port.name[:100]!r}"
        if isinstance(size, int):
            if not 1 <= size <= MAX_SIZE:
                raise UnsupportedError(f"{where}: expected a size from 1 to {MAX_SIZE}, got {size}")
            axes.append(Axis(size, where))
        else:
            axes.append(Axis(open_sizes(size or where), where, dynamic=True))
    return Tensor((Row(port.name),), tuple((axis,) for axis in axes), integer=integer)


def _output(port: Declaration, value: Value, build: Builder) -> Tensor:
    if isinstance(value, np.ndarray):
        raise UnsupportedError(f"output {port.name[:100]!r}: it is a constant, which does not depend on any input")
    refuse_cut(Node("", "output", (), (port.name,)), value)
    if value.padding or value.surplus or (value.integer and not build.is_computed(value)):
        raise UnsupportedError(f"output {port.name[:100]!r}: it is not computed by any layer")
    return replace(value, integer=False)
