"""Interprets a graph: node by node, either numbers are computed or layers are collected."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from grurt.errors import UnsupportedError

from . import (
    combining,
    composites,
    convolution,
    dense,
    elementwise,
    grids,
    lengths,
    movement,
    normalization,
    recurrent,
    reduction,
    reshaping,
    selection,
    steps,
)
from .axes import Axis, Role
from .builder import Builder
from .cells import CELL
from .folding import Folder
from .graph import Array, Declaration, Graph, Node
from .grids import TimeAxis
from .refusals import reason_against
from .values import Arguments, Row, Tensor, Value

Handler = Callable[[Node, Arguments, Builder], tuple[Value, ...]]

SPARE_ELEMENTS = 1 << 24
"""How many numbers a conversion may compute or copy beside a small multiple of those that the file holds."""


MAX_SIZE = 2**31 - 1
"""The largest size of an axis of an input."""


@dataclass(frozen=True)
class Interpretation:
    """A graph as layers: what `ports.assemble` makes a Model of."""

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
    handlers = _handlers(graph.opset)
    for node in nodes:
        args = tuple(values[name] if name else None for name in node.inputs)
        results = _evaluate(node, args, handlers, build, folder)
        if len(results) < len([name for name in node.outputs if name]):
            raise node.unsupported(f"it has {len(node.outputs)} outputs, of which {len(results)} are supported")
        values.update((name, result) for name, result in zip(node.outputs, results, strict=False) if name)
    return Interpretation(build, inputs, {port.name: _output(port, values[port.name]) for port in graph.outputs})


def _evaluate(
    node: Node, args: Arguments, handlers: Mapping[str, Handler], build: Builder, folder: Folder
) -> tuple[Value, ...]:
    results: tuple[Value, ...]
    if all(not isinstance(value, Tensor) for value in args):
        results = folder.fold(node, args)
    else:
        if node.op not in handlers:
            raise node.unsupported(*reason_against(node.op))
        if node.op not in _READ_PADDING:
            convolution.refuse_padding(node, args)
        if node.op not in _MANY_POSITIONS and (node.op not in _AT_ONE_POSITION or not _at_one_position(args)):
            args = tuple(value.settled() if isinstance(value, Tensor) else value for value in args)
        if build.grid and node.op not in _MOVEMENT:
            args = _formed(node, args, build)
        results = handlers[node.op](node, args, build)
    if unread := node.unread():
        raise node.unsupported(f"its attribute {unread[0][:50]!r} is not understood")
    return results


def _formed(node: Node, args: Arguments, build: Builder) -> Arguments:
    """Return the values that a node reads, on a grid, as grids or vectors, whichever their axes tell."""
    for value in args[:1]:
        place = _feature_place(node, len(value.dims)) if isinstance(value, Tensor) else None
        if isinstance(value, Tensor) and place is not None:
            grids.learn_positions(node, value, place)
    return tuple(grids.formed(node, value, build) if isinstance(value, Tensor) else value for value in args)


def _feature_place(node: Node, rank: int) -> int | None:
    """Return which dimension of a node's input holds features; None if the operator does not tell."""
    if node.op in ("Conv", "BatchNormalization"):
        return 1 if rank > 1 else None
    norm = node.op == "LayerNormalization" and node.attributes.get("axis", -1) in (-1, rank - 1)
    return rank - 1 if rank and (norm or node.op in ("MatMul", "Gemm")) else None


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


def _output(port: Declaration, value: Value) -> Tensor:
    if isinstance(value, np.ndarray):
        raise UnsupportedError(f"output {port.name[:100]!r}: it is a constant, which does not depend on any input")
    if value.padding or value.surplus or value.integer:
        raise UnsupportedError(f"output {port.name[:100]!r}: it is not computed by any layer")
    return value


def is_weight(array: Array) -> bool:
    """Say whether a constant holds weights, rather than shapes and positions."""
    return array.dtype.kind == "f" and array.size > 1


def _handlers(opset: int) -> dict[str, Handler]:
    softmax = elementwise.softmax(opset)
    return {**_HANDLERS, "Softmax": softmax, "LogSoftmax": softmax}


_READ_PADDING = frozenset({"Conv", "Pad", "Identity", "Transpose", "Slice", "Shape"})

_AT_ONE_POSITION = frozenset(
    {"Add", "BatchNormalization", "Cast", "Clip", "Div", "Dropout", "Flatten", "Gather", "Gelu", "Gemm", "Identity"}
    | {"LayerNormalization", "LogSoftmax", "MatMul", "Mul", "Neg", "PRelu", "Reshape", "Shape", "Slice", "Softmax"}
    | {"Split", "Squeeze", "Sub", "Sum", "Transpose", "Unsqueeze", *elementwise.OPERATORS}
    | {"Pow", "ReduceMean", "ReduceSum", *composites.COMPOSITES}
)
"""Operators that do to all timesteps of an unrolled loop what they do to one."""

_MANY_POSITIONS = frozenset({CELL, "Concat"})
"""Operators that see for themselves which timesteps they read."""

_MOVEMENT = frozenset(
    {"Cast", "Expand", "Flatten", "GRU", "Gather", "Tile", "Identity", "Reshape", "Shape", "Slice", "Split", "Squeeze"}
    | {"Transpose", "Unsqueeze"}
)
"""Operators that move axes only, and GRU, which sees for itself which of them it scans."""

_HANDLERS: dict[str, Handler] = {
    CELL: steps.cell,
    "Add": dense.add,
    "BatchNormalization": normalization.batch_normalization,
    "Cast": movement.cast,
    "Clip": elementwise.clip,
    "Concat": combining.concat,
    "Conv": convolution.conv,
    "Div": dense.divide,
    "Dropout": movement.identity,
    "Einsum": dense.einsum,
    "Expand": movement.expand,
    "Flatten": reshaping.flatten,
    "GRU": recurrent.gru,
    "Gather": selection.gather,
    "Gelu": elementwise.gelu,
    "Gemm": dense.gemm,
    "Identity": movement.identity,
    "LayerNormalization": normalization.layer_normalization,
    "MatMul": dense.matmul,
    "Mul": dense.multiply,
    "Neg": dense.negate,
    "PRelu": elementwise.prelu,
    "Pad": convolution.pad,
    "Pow": composites.power,
    "ReduceMean": reduction.reduce,
    "ReduceSum": reduction.reduce,
    "Reshape": reshaping.reshape,
    "Shape": movement.shape,
    "ScatterElements": lengths.scatter_elements,
    "Slice": selection.slice_,
    "Split": selection.split,
    "Squeeze": movement.squeeze,
    "Sub": dense.subtract,
    "Sum": dense.add,
    "Tile": movement.tile,
    "TopK": lengths.top_k,
    "Transpose": movement.transpose,
    "Unsqueeze": movement.unsqueeze,
    **dict.fromkeys(elementwise.OPERATORS, elementwise.simple),
    **dict.fromkeys(composites.COMPOSITES, composites.composite),
}
