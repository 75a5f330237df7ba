"""What is no graph of one timestep, and operators that no program computes: why, and what to do."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set

from grurt.converters.graph.nodes import Node
from grurt.converters.graph.operators.refusals import reason_against
from grurt.converters.literal.builder import Scan
from grurt.converters.literal.values import Value, is_constant
from grurt.errors import DesignReason, UnsupportedError

_DATA = ("Compress", "NonZero", "NonMaxSuppression", "TopK", "Unique")
_LOOPS = ("Scan", "SequenceAt", "SequenceConstruct", "SequenceEmpty", "SequenceInsert", "SplitToSequence")


def refusal(node: Node) -> UnsupportedError:
    """Return the error that says why a step program has nothing for an operator."""
    if node.op in _DATA:
        what, advice = "what it gives, or how much, depends on the data", "do this outside of the model"
        return node.unsupported(what, advice, DesignReason.DATA_DEPENDENT)
    if node.op in _LOOPS:
        what, advice = "a loop, or a list of tensors", "export one step of the network, without loops"
        return node.unsupported(what, advice, DesignReason.DATA_DEPENDENT)
    found, advice, reason = reason_against(node.op)
    if reason in (None, DesignReason.WHOLE_SEQUENCE, DesignReason.SEQUENCE_LENGTH):
        return node.unsupported("no step program has such an operator", "compute it before the model or behind it")
    return node.unsupported(found, advice, reason)


def refuse_offline(scans: Iterable[Scan], live: Set[str]) -> None:
    """Raise UnsupportedError for a recurrent operator of one place that starts from a constant, each time anew.

    Such a graph is one of whole sequences, cut to one timestep: what it answers is not what it answers to the sequence.
    """
    for scan in scans:
        is_live = any(result.name in live for result in scan.results)
        if scan.length == 1 and is_live and all(map(is_constant, scan.states)):
            raise scan.node.unsupported(
                "it runs for one timestep, and begins at the same state each time",
                "this is a graph of whole sequences: export one step of the network, with its states as inputs and "
                "outputs",
                DesignReason.WHOLE_SEQUENCE,
            )


def refuse_mixed(
    mixed: Iterable[tuple[Node, str, int]], tensors: Mapping[str, Value], wider: Mapping[str, Value]
) -> None:
    """Raise UnsupportedError for a node that mixes what lies along an axis of open size.

    Parameters
    ----------
    mixed
        Nodes, each with a tensor and an axis of it along which it mixes.
    tensors, wider
        What tensors are where open sizes are 1, and where they are 2.
    """
    for node, name, axis in mixed:
        if name in tensors and name in wider and tensors[name].shape[axis] != wider[name].shape[axis]:
            raise node.unsupported(
                f"it works along an axis of open size, axis {axis} of {name[:100]!r}",
                "a step graph is of one timestep: export the network with sizes that are fixed, or with its states",
                DesignReason.WHOLE_SEQUENCE,
            )
