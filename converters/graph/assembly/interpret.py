"""Interprets a graph: node by node, either numbers are computed or layers are collected."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from grurt.converters.graph.budget import Budget
from grurt.converters.graph.building import grids
from grurt.converters.graph.building.alignment import in_one_step
from grurt.converters.graph.building.builder import Builder
from grurt.converters.graph.building.grids import TimeAxis
from grurt.converters.graph.building.integers import token_inputs
from grurt.converters.graph.elements import MAX_RANK
from grurt.converters.graph.nodes import Body, Declaration, Graph, Node
from grurt.converters.graph.operators import OPERATORS
from grurt.converters.graph.operators.refusals import reason_against
from grurt.converters.graph.operators.windows import as_it_is, read
from grurt.converters.graph.rewriting.cells import CELL
from grurt.converters.graph.tracing.axes import Axis, Role
from grurt.converters.graph.tracing.features import without_repeats
from grurt.converters.graph.tracing.folding import Folder
from grurt.converters.graph.tracing.states import StateSource
from grurt.converters.graph.tracing.values import MAX_STACK, ROW_BYTES, SEQUENCE_RANK, Arguments, Row, Tensor, Value
from grurt.errors import DesignReason, GrurtError, UnsupportedError

SPARE_ELEMENTS = 1 << 24
"""How many numbers a network's weights may have beside a small multiple of those that the file holds."""

_SMALLEST_WEIGHT = 2
"""Bytes of a number in the narrowest type of weights."""

_OVER_TIME = ("Conv", "AveragePool", "MaxPool")

MAX_INPUTS = 1 << 14
"""The most tensors that a node reads: as many as a loop of so many timesteps puts together again."""

MAX_SIZE = 2**31 - 1
"""The largest size of an axis of an input."""


@dataclass(frozen=True)
class Interpretation:
    """A graph as layers: what `network.assemble` makes a network of."""

    build: Builder
    inputs: Mapping[str, Tensor]
    outputs: Mapping[str, Tensor]
    values: Mapping[str, Value]
    """Everything that the graph computes, by name."""

    @cached_property
    def state_sources(self) -> Mapping[str, Mapping[str, StateSource]]:
        """Where the states of GRUs come from, by the inputs that give them and the GRUs."""
        found: dict[str, dict[str, StateSource]] = defaultdict(dict)
        for gru, source in self.build.state_sources.items():
            found[source.input][gru] = source
        return found

    def elements(self) -> int:
        """Return how many numbers a run of the source writes, for the sizes of this interpretation."""
        executions = (value.executions if isinstance(value, Tensor) else 1 for value in self.values.values())
        return sum(math.prod(value.shape) * n for value, n in zip(self.values.values(), executions, strict=True))


def interpret(
    graph: Graph,
    nodes: list[Node],
    open_sizes: Callable[[str], int],
    budget: Budget,
    time_axis: TimeAxis | None = None,
    *,
    measures: bool = False,
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
    budget
        What may be created.
    time_axis
        For graphs whose GRUs scan different axes, the one that is time; see `grids`.
    measures
        Whether the sizes are those of a run; see `Builder`.

    Raises
    ------
    ConversionError
        If the graph contradicts itself, or holds something that is not supported.
    """
    held = min(sum(array.size for array in graph.constants.values()), graph.size // _SMALLEST_WEIGHT)
    unrolled = any(node.op == CELL and node.attributes.get("unrolled") for node in nodes) or graph.written_out
    build = Builder(
        [port.name for port in graph.inputs],
        4 * held + SPARE_ELEMENTS,
        Folder(budget),
        unrolled=unrolled,
        grid=time_axis is not None,
        measures=measures,
        convolved=frozenset(node.inputs[0] for node in nodes if node.op in _OVER_TIME and node.inputs),
        token_inputs=token_inputs(nodes, graph.constants, [port.name for port in graph.inputs]),
    )
    inputs = {port.name: _input(port, open_sizes) for port in graph.inputs}
    build.input_axes = [(name, axis) for name, tensor in inputs.items() for dim in tensor.dims for axis in dim]
    if time_axis is not None:
        name, index = time_axis
        inputs[name].dims[index][0].require(Role.TIME, Node("", "input", (), (name,)))
        if index > 0:
            inputs[name].dims[0][0].require(Role.BATCH, Node("", "input", (), (name,)))
    for port in graph.inputs:
        if graph.features_last and len(inputs[port.name].dims) == SEQUENCE_RANK and port.dtype.startswith("float"):
            inputs[port.name].dims[-1][0].require(Role.FEATURE, Node("", "input", (), (port.name,)))
    values: dict[str, Value] = {**graph.constants, **inputs}
    for node in nodes:
        args = tuple(values[name] if name else None for name in node.inputs)
        results = _evaluate(node, args, build)
        if len(results) < len([name for name in node.outputs if name]):
            raise node.unsupported(f"it has {len(node.outputs)} outputs, of which {len(results)} are supported")
        values.update((name, result) for name, result in zip(node.outputs, results, strict=False) if name)
    outputs = {port.name: _output(port, values[port.name], build) for port in graph.outputs}
    return Interpretation(build, inputs, outputs, values)


def _evaluate(node: Node, args: Arguments, build: Builder) -> tuple[Value, ...]:
    results: tuple[Value, ...]
    reads_around = any(isinstance(value, Body) for value in node.attributes.values())
    if not reads_around and all(not isinstance(value, Tensor) for value in args):
        results = build.folder.fold(node, args)
    else:
        results = _converted(node, args, build)
        for result in results:
            _check_extent(node, result, build)
    if unread := node.unread():
        raise node.unsupported(f"its attribute {unread[0][:50]!r} is not understood")
    return results


def _converted(node: Node, args: Arguments, build: Builder) -> tuple[Value, ...]:
    known = OPERATORS.get(node.op)
    if known is None:
        raise node.unsupported(*reason_against(node.op))
    if len(args) > MAX_INPUTS:
        raise node.unsupported(
            f"it reads {len(args)} tensors", f"at most {MAX_INPUTS} are supported", DesignReason.SIZE
        )
    if not known.reads_padding:
        args = read(node, args, build)
    if not known.reads_repeats:
        for array in (value for value in args if isinstance(value, np.ndarray)):
            build.folder.budget.create(array.nbytes - without_repeats(array).nbytes, node)
    at = None
    if known.in_loops == "single":
        args = tuple(value.settled() if isinstance(value, Tensor) else value for value in args)
    elif known.in_loops == "alike":
        args, at = in_one_step(node, args, build)
    if build.grid and not known.moves_axes:
        first = args[0] if args else None
        place = known.features_at(node, len(first.dims)) if isinstance(first, Tensor) else None
        if isinstance(first, Tensor) and place is not None:
            grids.learn_positions(node, first, place)
        args = tuple(grids.formed(node, value, build) if isinstance(value, Tensor) else value for value in args)
    try:
        results = known.convert(node, args, build)
        return tuple(replace(each, at=at) if isinstance(each, Tensor) and at else each for each in results)
    except GrurtError:
        raise
    except (ValueError, IndexError, KeyError, TypeError, ArithmeticError) as error:
        raise node.invalid("its inputs and attributes do not fit together") from error


def _check_extent(node: Node, result: Value, build: Builder) -> None:
    """Refuse tensors of more axes or stacked values than there may be: each node after it would take that much time."""
    if len(result.shape if isinstance(result, np.ndarray) else result.dims) > MAX_RANK:
        raise node.unsupported(f"it gives a tensor of more than {MAX_RANK} axes", reason=DesignReason.SIZE)
    if isinstance(result, Tensor) and len(result.rows) > 1:
        if len(result.rows) > MAX_STACK:
            raise node.unsupported(
                f"it stacks {len(result.rows)} values", f"at most {MAX_STACK} are supported", DesignReason.SIZE
            )
        build.folder.budget.create(ROW_BYTES * len(result.rows), node)


def axis_place(port: Declaration, index: int) -> str:
    """Return which axis of which input this is."""
    return f"axis {index} of input {port.name[:100]!r}"


def _input(port: Declaration, open_sizes: Callable[[str], int]) -> Tensor:
    if port.shape is None:
        raise UnsupportedError(
            f"input {port.name[:100]!r}: the file does not say its shape; export with a shape",
            reason=DesignReason.NOT_SAID,
        )
    integer, boolean = port.dtype in ("int64", "int32"), port.dtype == "bool"
    if not integer and not boolean and not port.dtype.startswith("float"):
        raise UnsupportedError(
            f"input {port.name[:100]!r}: the type {port.dtype} is not supported", reason=_against_type(port.dtype)
        )
    axes = []
    for index, size in enumerate(port.shape):
        where = axis_place(port, index)
        if isinstance(size, int):
            if not 1 <= size <= MAX_SIZE:
                raise UnsupportedError(
                    f"{where}: expected a size from 1 to {MAX_SIZE}, got {size}", reason=DesignReason.SIZE
                )
            axes.append(Axis(size, where))
        else:
            axes.append(Axis(open_sizes(size or where), where, dynamic=True))
    return Tensor((Row(port.name),), tuple((axis,) for axis in axes), integer=integer, boolean=boolean)


def _against_type(dtype: str) -> DesignReason | None:
    """Return why no input has elements of a type; None for those that are numbers."""
    return None if dtype.startswith(("int", "uint", "bool", "bfloat", "double")) else DesignReason.ELEMENT_TYPE


def _output(port: Declaration, value: Value, build: Builder) -> Tensor:
    if isinstance(value, np.ndarray):
        raise UnsupportedError(f"output {port.name[:100]!r}: it is a constant, which does not depend on any input")
    value = as_it_is(Node("", "output", (), (port.name,)), value, build)
    if value.integer and not build.is_computed(value):
        raise UnsupportedError(f"output {port.name[:100]!r}: it is not computed by any layer")
    if port.dtype == "bool" and not value.boolean:
        raise UnsupportedError(
            f"output {port.name[:100]!r}: it is declared to be of the type bool, and computed as numbers; "
            "cast it to float32"
        )
    return replace(value, integer=False)
