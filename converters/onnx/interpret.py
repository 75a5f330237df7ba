"""Interprets a graph: node by node, either numbers are computed or layers are collected."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from grurt.errors import UnsupportedError

from . import combining, convolution, dense, elementwise, movement, normalization, recurrent, selection
from .axes import Axis
from .builder import Builder
from .folding import Folder
from .graph import Array, Declaration, Graph, Node
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


def interpret(graph: Graph, nodes: list[Node], open_sizes: Callable[[str], int]) -> Interpretation:
    """Return the layers that a graph computes with.

    Parameters
    ----------
    graph
        The graph.
    nodes
        Its live nodes, each after those that it reads.
    open_sizes
        Gives a number for each size that the file leaves open, by its name.

    Raises
    ------
    ConversionError
        If the graph contradicts itself, or holds something that is not supported.
    """
    held = sum(array.size for array in graph.constants.values())
    build = Builder([port.name for port in graph.inputs], 4 * held + SPARE_ELEMENTS)
    folder = Folder(4 * held + SPARE_ELEMENTS)
    inputs = {port.name: _input(port, open_sizes) for port in graph.inputs}
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
        results = handlers[node.op](node, args, build)
    if unread := node.unread():
        raise node.unsupported(f"its attribute {unread[0][:50]!r} is not understood")
    return results


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
    if value.padding or value.integer:
        raise UnsupportedError(f"output {port.name[:100]!r}: it is not computed by any layer")
    return value


def is_weight(array: Array) -> bool:
    """Say whether a constant holds weights, rather than shapes and positions."""
    return array.dtype.kind == "f" and array.size > 1


def _handlers(opset: int) -> dict[str, Handler]:
    softmax = elementwise.softmax(opset)
    return {**_HANDLERS, "Softmax": softmax, "LogSoftmax": softmax}


_READ_PADDING = frozenset({"Conv", "Pad", "Identity", "Transpose"})

_HANDLERS: dict[str, Handler] = {
    "Add": dense.add,
    "BatchNormalization": normalization.batch_normalization,
    "Cast": movement.cast,
    "Clip": elementwise.clip,
    "Concat": combining.concat,
    "Conv": convolution.conv,
    "Div": dense.divide,
    "Dropout": movement.identity,
    "Expand": movement.expand,
    "Flatten": movement.flatten,
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
    "Reshape": movement.reshape,
    "Shape": movement.shape,
    "Slice": selection.slice_,
    "Split": selection.split,
    "Squeeze": movement.squeeze,
    "Sub": dense.subtract,
    "Sum": dense.add,
    "Transpose": movement.transpose,
    "Unsqueeze": movement.unsqueeze,
    **dict.fromkeys(elementwise.OPERATORS, elementwise.simple),
}
