"""A model as a picture of characters: layers from top to bottom, and the values that flow between them as lanes.

::

    ○     x    24 numbers
    ├─╮
    │ ●   gru  GRU 24 → 24, 3,600 weights, keeps 24 numbers
    ├─╯
    ●     sum  add 24
    ▼     y    24 numbers after every timestep
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from grurt.summary import LayerSummary, Summary

_LEFT, _RIGHT, _UP, _DOWN = 1, 2, 4, 8
_BOXES = {
    0: " ",
    _LEFT | _RIGHT: "─",
    _UP | _DOWN: "│",
    _DOWN | _RIGHT: "╭",
    _DOWN | _LEFT: "╮",
    _UP | _RIGHT: "╰",
    _UP | _LEFT: "╯",
    _UP | _DOWN | _RIGHT: "├",
    _UP | _DOWN | _LEFT: "┤",
    _LEFT | _RIGHT | _DOWN: "┬",
    _LEFT | _RIGHT | _UP: "┴",
    _LEFT | _RIGHT | _UP | _DOWN: "┼",
}
_ASCII = str.maketrans("─│╭╮╰╯├┤┬┴┼○●▼→…", "-|+++++++++o*v>.")


@dataclass(frozen=True)
class _Node:
    """One line of the picture: what reads some values and writes another one."""

    symbol: str
    name: str
    text: str
    reads: tuple[str, ...]
    writes: str | None


def draw(summary: Summary, *, width: int | None = None, ascii_only: bool = False) -> list[str]:
    """Return the lines of the picture.

    Parameters
    ----------
    summary
        The model.
    width
        The most characters in a line; longer lines are cut. None does not cut.
    ascii_only
        Whether to draw with ASCII characters only.
    """
    nodes = list(_nodes(summary))
    rows = list(_rows(nodes))
    lanes = max(len(lane) for lane, _ in rows)
    names = max(len(node.name) for node in nodes)
    lines = [
        lane if node is None else f"{lane:{lanes}}  {node.name:{names}}  {node.text}".rstrip() for lane, node in rows
    ]
    if width is not None:
        lines = [line if len(line) <= width else line[: max(width - 1, 0)] + "…" for line in lines]
    return [line.translate(_ASCII) for line in lines] if ascii_only else lines


def _nodes(summary: Summary) -> Iterator[_Node]:
    for port in summary.inputs:
        yield _Node("○", port.name, f"a token of {port.size}" if port.tokens else _numbers(port.size), (), port.name)
    sizes = {port.name: port.size for port in summary.inputs}
    for layer in summary.layers:
        yield _Node("●", layer.name, _describe(layer, sizes, summary.streams), layer.inputs, layer.name)
        sizes[layer.name] = layer.output_size
    for output in summary.outputs:
        when = "after every timestep" if output.per_step else "once a sequence"
        yield _Node("▼", output.name, f"{_numbers(output.size)} {when}", (output.value,), None)


def _describe(layer: LayerSummary, sizes: dict[str, int], streams: bool) -> str:
    """Return what a layer is; a state is kept from one call to the next where the model streams."""
    read = sizes[layer.inputs[0]]
    grown = "" if read == layer.output_size else f"{read} → "
    parts = [f"{layer.kind} {grown}{layer.output_size}"]
    if layer.parameters:
        parts.append(f"{layer.parameters:,} weights")
    if layer.state_shape:
        parts.append(f"{'keeps' if streams else 'a state of'} {_numbers(math.prod(layer.state_shape))}")
    if layer.note:
        parts.append(layer.note)
    return ", ".join(parts)


def _numbers(count: int) -> str:
    return "1 number" if count == 1 else f"{count:,} numbers"


def _rows(nodes: Sequence[_Node]) -> Iterator[tuple[str, _Node | None]]:
    """Yield the lanes of each line; beside those of layers also lines where lanes part or meet."""
    last_read = {name: index for index, node in enumerate(nodes) for name in node.reads}
    lanes: list[str | None] = []
    for index, node in enumerate(nodes):
        sources = list(dict.fromkeys(lanes.index(name) for name in node.reads))
        closing = [lane for lane in sources if last_read[str(lanes[lane])] == index]
        target = closing[0] if closing else _free_lane(lanes)
        before = list(lanes)
        for lane in closing:
            lanes[lane] = None
        if sources not in ([], [target]):
            yield _connections(before, lanes, sources, target), None
        alive = node.writes is not None and node.writes in last_read
        if target == len(lanes):
            lanes.append(None)
        lanes[target] = node.writes if alive else None
        yield _lane_text(lanes, target, node.symbol), node
        while lanes and lanes[-1] is None:
            lanes.pop()


def _free_lane(lanes: Sequence[str | None]) -> int:
    return lanes.index(None) if None in lanes else len(lanes)


def _connections(before: Sequence[str | None], after: Sequence[str | None], sources: list[int], target: int) -> str:
    """Return a line that leads the sources' lanes to the target's, across those between."""
    ends = [*sources, target]
    first, last = min(ends), max(ends)
    cells = []
    for lane in range(max(len(before), last + 1)):
        goes_up = lane < len(before) and before[lane] is not None
        goes_down = (lane < len(after) and after[lane] is not None) or lane == target
        directions = _UP * goes_up | _DOWN * goes_down
        if lane in ends:
            directions |= _LEFT * (lane > first) | _RIGHT * (lane < last)
        elif first < lane < last:
            directions = directions or _LEFT | _RIGHT
        between = first <= lane < last
        cells.append(_BOXES[directions] + ("─" if between else " "))
    return "".join(cells).rstrip()


def _lane_text(lanes: Sequence[str | None], target: int, symbol: str) -> str:
    return " ".join(symbol if lane == target else "│" if name else " " for lane, name in enumerate(lanes)).rstrip()
