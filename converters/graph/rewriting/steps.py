"""Timesteps that an exporter has written out one by one, though no cell hands anything on between them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping

from grurt.array_types import Array
from grurt.converters.graph.nodes import Node
from grurt.converters.graph.tracing.parameters import small_integer

_FEWEST = 2


def is_written_out(nodes: Iterable[Node], constants: Mapping[str, Array]) -> bool:
    """Say whether each position of an axis is picked by itself, or in parts, and as many tensors are joined again.

    So tf2onnx writes ``TimeDistributed``.
    """
    positions: dict[tuple[str, int], set[int]] = defaultdict(set)
    joined: set[int] = set()
    numbers = {name: small_integer(array) for name, array in constants.items() if array.size == 1}
    for node in nodes:
        match node.op:
            case "Constant" if node.outputs:
                numbers[node.outputs[0]] = small_integer(node.attributes.get("value"))  # type: ignore[arg-type]
            case "Gather" | "Slice" if node.inputs:
                place = _place(node, [numbers.get(name) for name in node.inputs[1:]])
                if place is not None:
                    positions[node.inputs[0], place[0]].add(place[1])
            case "Split" if node.inputs and isinstance(axis := node.attributes.get("axis", 0), int):
                positions[node.inputs[0], axis].update(range(len(node.outputs)))
            case "Concat":
                joined.add(len(node.inputs))
    counts = {len(found) for found in positions.values() if found == set(range(len(found)))}
    return any(count >= _FEWEST for count in counts & joined)


def _place(node: Node, numbers: list[int | None]) -> tuple[int, int] | None:
    """Return the axis and the position that a node picks; None if it picks more than one."""
    axis = node.attributes.get("axis", 0)
    match node.op, numbers:
        case "Gather", [int() as position] if isinstance(axis, int):
            return axis, position
        case "Slice", [int() as start, int() as end, int() as axis, *steps] if end == start + 1 and steps in ([], [1]):
            return axis, start
    return None
