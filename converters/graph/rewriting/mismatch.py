"""Which part of a cell does not fit, where something that looks like a GRU cell is none."""

from __future__ import annotations

from collections.abc import Iterable

from grurt.converters.graph.budget import Budget
from grurt.converters.graph.nodes import Graph, Node
from grurt.converters.graph.rewriting.cells import CELL
from grurt.converters.graph.rewriting.functions import function_of
from grurt.converters.graph.rewriting.handwritten import LAST_OPERATORS, MIXED, gate_of
from grurt.converters.graph.rewriting.loops import EACH_TIMESTEP
from grurt.converters.graph.rewriting.matching import Bindings, Matcher

_NEW_STATE = "the new state is not (1 - z) * n + z * h"
_UPDATE = "the update gate z is not a sigmoid of one linear layer of the input and one of the state"
_CANDIDATE = (
    "the candidate n is not tanh(W x + b + r * (R h + c)) or tanh(W x + b + R (r * h)), with a reset gate r, of the "
    "input and the state that z is computed from"
)

_SHOWN = {EACH_TIMESTEP: "a timestep", CELL: "a GRU cell"}


def mismatch(node: Node | None, matcher: Matcher) -> str:
    """Return which part of a GRU cell the node that should write its new state does not compute."""
    if node is None or not node.outputs:
        return f"{_NEW_STATE}: no node writes it"
    found = list(matcher.match(MIXED, node.outputs[0])) if node.op in LAST_OPERATORS else []
    if not found:
        return f"{_NEW_STATE}: found {_described(node, matcher)}"
    gated = [bindings for bindings in found if _is_gate(bindings, matcher)]
    if not gated:
        return f"{_UPDATE}: found {_described(matcher.producers.get(found[0]['z']), matcher)}"
    candidates = (gated[0][name] for name in ("b", "a"))
    activated = next((name for name in candidates if function_of(name, matcher) is not None), gated[0]["b"])
    return f"{_CANDIDATE}: found {_described(matcher.producers.get(activated), matcher)}"


def nearest_mismatch(graph: Graph, nodes: Iterable[Node]) -> tuple[Node, str] | None:
    """Return a node that writes something like the new state of a cell, and what does not fit; None if none does."""
    matcher = Matcher(graph, Budget(graph.size))
    for node in nodes:
        matches = matcher.match(MIXED, node.outputs[0]) if node.op in LAST_OPERATORS and node.outputs else ()
        if any(function_of(bindings["z"], matcher) is not None for bindings in matches):
            return node, mismatch(node, matcher)
    return None


def _is_gate(bindings: Bindings, matcher: Matcher) -> bool:
    found = gate_of(bindings["z"], matcher)
    return found is not None and found.inner.size > 0


def _described(node: Node | None, matcher: Matcher) -> str:
    if node is None:
        return "no node that computes it"
    sources = [matcher.producers.get(name) for name in node.inputs if name]
    listed = [_SHOWN.get(source.op, source.op[:50]) if source is not None else "a tensor" for source in sources[:4]]
    return f"{node} of {' and '.join(listed)}" if listed else str(node)
