"""Interprets a graph node by node: what is known is computed, of the rest a program is built."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Iterable, Iterator, Mapping, MutableMapping, Sequence
from dataclasses import replace

import numpy as np

from grurt.converters.graph.nodes import Body, Node, live_order
from grurt.converters.graph.tracing.folding import is_foldable
from grurt.converters.literal import handlers  # noqa: F401 - they fill the table
from grurt.converters.literal.builder import ProgramBuilder
from grurt.converters.literal.refusals import refusal
from grurt.converters.literal.registry import HANDLERS
from grurt.converters.literal.values import Arguments, Value, given, is_constant, optional, scalar
from grurt.errors import ConversionError, DesignReason, UnsupportedError

Values = MutableMapping[str, Value]

_DEEPEST = 16
"""Graphs inside of graphs."""

_MOST_ROUNDS = 1 << 12
"""Of a loop that is written out."""


def interpret(nodes: Iterable[Node], values: Values, outputs: Sequence[str], build: ProgramBuilder) -> list[Value]:
    """Return what the outputs of a graph are, and add to a program what computes it.

    Parameters
    ----------
    nodes
        Those of the graph, in any order.
    values
        What is given: constants and inputs. The values of all that is computed are added.
    outputs
        Names of the outputs.
    build
        The program.
    """
    return _interpreted(nodes, values, outputs, build, depth=0)


def _interpreted(
    nodes: Iterable[Node], values: Values, outputs: Sequence[str], build: ProgramBuilder, depth: int
) -> list[Value]:
    nodes = list(nodes)
    if depth:
        build.look_at(len(nodes))
    for node in _in_order(nodes, values, outputs, build):
        args = tuple(values[name] if name else None for name in node.inputs)
        build.node = node
        for name, value in zip(node.outputs, _results(node, args, values, build, depth), strict=False):
            if name and value is not None:
                values[name] = value
                build.note_name(name, value)
    missing = [name for name in outputs if name not in values]
    if missing:
        raise ConversionError(f"tensor {missing[0][:100]!r}: nothing writes it: the file is damaged")
    return [values[name] for name in outputs]


def _in_order(
    nodes: Iterable[Node], known: Mapping[str, Value], outputs: Sequence[str], build: ProgramBuilder
) -> Iterator[Node]:
    """Yield the nodes that the outputs need, each after what it reads: what graphs inside of it read, too."""
    own: dict[int, Node] = {}
    seen = []
    for node in nodes:
        captured = tuple(name for body in _bodies(node) for name in _free_names(body, build))
        reader = replace(node, inputs=(*node.inputs, *captured)) if captured else node
        own[id(reader)] = node
        seen.append(reader)
    return (own[id(node)] for node in live_order(seen, known, outputs))


def _bodies(node: Node) -> list[Body]:
    return [value for value in node.attributes.values() if isinstance(value, Body)]


def _free_names(body: Body, build: ProgramBuilder, depth: int = 0) -> list[str]:
    """Return what a graph inside of a node reads of the graph around it."""
    build.look_at(len(body.nodes))
    if depth > _DEEPEST:
        raise build.node.unsupported("the graphs inside of it are nested too deeply")
    own = {*body.inputs, *body.constants, *(name for node in body.nodes for name in node.outputs)}
    read = [name for node in body.nodes for name in node.inputs]
    read += [name for node in body.nodes for inner in _bodies(node) for name in _free_names(inner, build, depth + 1)]
    return list(dict.fromkeys(name for name in (*read, *body.outputs) if name and name not in own))


def _results(node: Node, args: Arguments, values: Values, build: ProgramBuilder, depth: int) -> Sequence[Value | None]:
    """Return what a node writes."""
    if node.op in ("If", "Loop"):
        if depth >= _DEEPEST:
            raise node.unsupported("the graphs inside of it are nested too deeply")
        return (_branch if node.op == "If" else _loop)(node, args, values, build, depth)
    known = tuple(value for value in args if value is None or is_constant(value))
    results: Value | tuple[Value | None, ...]
    if len(known) == len(args) and is_foldable(node):
        results = build.folder.fold(node, known)
    else:
        results = _handled(node, args, build)
    if unread := node.unread():
        raise node.unsupported(f"its attribute {unread[0][:50]!r} is not understood")
    return results if isinstance(results, tuple) else (results,)


def _handled(node: Node, args: Arguments, build: ProgramBuilder) -> Value | tuple[Value | None, ...]:
    handler = HANDLERS.get(node.op)
    if handler is None:
        raise refusal(node)
    build.folder.budget.read(sum(value.nbytes for value in args if is_constant(value)), node)
    try:
        return handler(node, args, build)
    except (ValueError, IndexError, TypeError, ArithmeticError) as error:
        if isinstance(error, ConversionError):
            raise
        raise node.misfit("its inputs do not fit together") from error


def _branch(node: Node, args: Arguments, values: Values, build: ProgramBuilder, depth: int) -> Sequence[Value]:
    """Return what the branch of an If computes that its condition chooses, which has to be known."""
    condition = scalar(given(node, args))
    if condition is None:
        raise node.unsupported(
            "which of its branches is taken depends on the data",
            "fix the input that it depends on with --bind NAME=VALUE, or compute both and choose by a mask",
            DesignReason.DATA_DEPENDENT,
        )
    body = node.attributes.get("then_branch" if condition else "else_branch")
    if not isinstance(body, Body) or len(body.outputs) != len(node.outputs):
        raise node.invalid("it has no such branch")
    return _interpreted(body.nodes, _scope(body, values), body.outputs, build, depth + 1)


def _loop(node: Node, args: Arguments, values: Values, build: ProgramBuilder, depth: int) -> Sequence[Value]:
    """Return what a Loop computes, written out round by round, as many as are known before."""
    body = node.attributes.get("body")
    count, start = optional(args, 0), optional(args, 1)
    rounds, goes_on = scalar(count), True if start is None else scalar(start)
    if not isinstance(body, Body) or len(body.inputs) != len(args) or len(body.outputs) != len(node.outputs) + 1:
        raise node.invalid("its body does not fit its inputs and outputs")
    if (count is not None and rounds is None) or goes_on is None:
        raise _endless(node)
    carried = [value for value in args[2:] if value is not None]
    if len(carried) != len(args) - 2:
        raise node.invalid("what it carries is missing")
    scanned: list[list[Value]] = [[] for _ in node.outputs[len(carried) :]]
    at = 0
    while goes_on and (rounds is None or at < rounds):
        if at >= _MOST_ROUNDS:
            raise _endless(node)
        inner = _scope(body, values)
        first: list[Value] = [np.array(at, np.int64), np.array(True)]
        inner.update(zip(body.inputs, (*first, *carried), strict=True))
        condition, *found = _interpreted(body.nodes, inner, body.outputs, build, depth + 1)
        if (goes_on := scalar(condition)) is None:
            raise _endless(node)
        carried, rows = found[: len(carried)], found[len(carried) :]
        for stack, row in zip(scanned, rows, strict=True):
            stack.append(build.reshape(row, (1, *row.shape)))
        at += 1
        build.node = node
    if not at and scanned:
        raise node.unsupported("it collects what it computes in no round at all")
    return [*carried, *(build.concat(stack, 0) for stack in scanned)]


def _endless(node: Node) -> UnsupportedError:
    return node.unsupported(
        "how often it goes round depends on the data, or is too often",
        "export one step of the network, without loops",
        DesignReason.DATA_DEPENDENT,
    )


def _scope(body: Body, values: Values) -> ChainMap[str, Value]:
    own: dict[str, Value] = dict(body.constants)
    return ChainMap(own, values)
