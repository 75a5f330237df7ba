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
from collections.abc import Callable, Container, Iterator, Sequence
from dataclasses import dataclass
from heapq import heappop, heappush
from typing import TYPE_CHECKING

from grurt.cli.report import MAX_CELL, cell, folding

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
MAX_LANES = 24
"""Lanes that are drawn; those beside them are an ellipsis, or a symbol for what is in one of them."""

_ASCII = str.maketrans("─│╭╮╰╯├┤┬┴┼○●▼→…", "-|+++++++++o*v>.")


@dataclass(frozen=True)
class _Node:
    """One line of the picture: what reads some values and writes another one."""

    symbol: str
    name: str
    text: str
    reads: tuple[str, ...]
    writes: str | None


def draw(summary: Summary, *, width: int | None = None, ascii_only: bool = False, hint: str | None = None) -> list[str]:
    """Return the lines of the picture, in time and width that many lanes do not increase.

    Parameters
    ----------
    summary
        The model.
    width
        The most characters in a line; longer lines are cut. None cuts names and texts only.
    ascii_only
        Whether to draw with ASCII characters only.
    hint
        Fold a picture of many layers, and say with these words what shows all of them. None shows all.
    """
    nodes = list(_nodes(summary))
    first, last = (len(nodes), 0) if hint is None else folding(len(nodes))
    left = len(nodes) - first - last
    rows = list(_rows(nodes, range(first, first + left)))
    lanes = max(len(lane) for lane, _ in rows)
    shown = [cell(node.name) for _, node in rows if node is not None]
    names = max(map(len, shown))
    lines = [
        lane if node is None else f"{lane:{lanes}}  {cell(node.name):{names}}  {cell(node.text, 2 * MAX_CELL)}".rstrip()
        for lane, node in rows
    ]
    if left:
        end = next(index for index, (_, node) in enumerate(rows) if node is nodes[first - 1])
        lines.insert(end + 1, f"... {left:,} more: {hint}")
    if width is not None:
        lines = [line if len(line) <= width else line[: max(width - 1, 0)] + "…" for line in lines]
    return [line.translate(_ASCII) for line in lines] if ascii_only else lines


def _nodes(summary: Summary) -> Iterator[_Node]:
    for port in summary.inputs:
        yield _Node("○", port.name, f"a token of {port.size}" if port.tokens else _numbers(port.size), (), port.name)
    sizes = {port.name: port.size for port in summary.inputs}
    for layer in summary.layers:
        yield from _program(layer, sizes)
        reads = tuple(map(_inner(layer, sizes), layer.results)) if layer.program else layer.inputs
        yield _Node("●", layer.name, _describe(layer, sizes, summary.streams), reads, layer.name)
        sizes[layer.name] = layer.output_size
    for output in summary.outputs:
        when = "after every timestep" if output.per_step else "once a sequence"
        yield _Node("▼", output.name, f"{_numbers(output.size)} {when}", (output.value,), None)


def _program(layer: LayerSummary, values: Container[str]) -> Iterator[_Node]:
    """Yield what a step program consists of: its states, and the operators that compute."""
    inner = _inner(layer, values)
    for name, shape in layer.state_shapes.items() if layer.program else ():
        yield _Node("○", name, f"{_shape(shape)}, as the timestep before has left it", (), inner(name))
    for name, shape in layer.context_shapes.items():
        yield _Node("○", name, f"{_shape(shape)}, given once", (), inner(name))
    for operator in layer.program:
        work = [f"{operator.multiply_adds:,} multiply-adds"] if operator.multiply_adds else []
        text = ", ".join([f"{operator.kind} {_shape(operator.shape)}", *work, *filter(None, [operator.note])])
        yield _Node("●", operator.name, text, tuple(map(inner, operator.inputs)), inner(operator.name))


def _inner(layer: LayerSummary, values: Container[str]) -> Callable[[str], str]:
    """Return what names the values of a program in the picture, where layers have names of their own."""
    return lambda name: name if name in layer.inputs and name in values else f"{layer.name}: {name}"


def _shape(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape)) or "1"


def _describe(layer: LayerSummary, sizes: dict[str, int], streams: bool) -> str:
    """Return what a layer is; a state is kept from one call to the next where the model streams."""
    read = sizes[layer.inputs[0]]
    grown = "" if read == layer.output_size else f"{read} → "
    parts = [f"{layer.kind} {grown}{layer.output_size}"]
    if layer.parameters:
        parts.append(f"{layer.parameters:,} weights")
    if layer.state_shapes:
        size = sum(map(math.prod, layer.state_shapes.values()))
        parts.append(f"{'keeps' if streams else 'a state of'} {_numbers(size)}")
    if layer.note:
        parts.append(layer.note)
    return ", ".join(parts)


def _numbers(count: int) -> str:
    return "1 number" if count == 1 else f"{count:,} numbers"


def _rows(nodes: Sequence[_Node], hidden: range) -> Iterator[tuple[str, _Node | None]]:
    """Yield the lanes of each line; beside those of layers also lines where lanes part or meet.

    Lines of the nodes that are hidden are passed over.
    """
    last_read = {name: index for index, node in enumerate(nodes) for name in node.reads}
    lanes = _Lanes()
    for index, node in enumerate(nodes):
        sources = list(dict.fromkeys(lanes.of[name] for name in node.reads))
        closing = [lanes.of[name] for name in dict.fromkeys(node.reads) if last_read[name] == index]
        target = closing[0] if closing else lanes.free()
        before = lanes.beginning()
        lanes.close(closing)
        if sources not in ([], [target]) and index not in hidden:
            yield _connections(before, lanes.beginning(), sources, target), None
        alive = node.writes is not None and node.writes in last_read
        lanes.set(target, node.writes if alive else None)
        if index not in hidden:
            yield _lane_text(lanes.beginning(), len(lanes), target, node.symbol), node
        lanes.trim()


class _Lanes:
    """Which value flows in which lane; no answer takes longer where there are more lanes."""

    def __init__(self) -> None:
        self._values: list[str | None] = []
        self._free: list[int] = []
        """A heap of lanes; some of them may have been taken or trimmed since."""
        self.of: dict[str, int] = {}
        """The lanes by their values."""

    def __len__(self) -> int:
        return len(self._values)

    def beginning(self) -> list[str | None]:
        """Return the values of the lanes that are drawn, and of one more."""
        return self._values[: MAX_LANES + 1]

    def free(self) -> int:
        """Return the first lane in which nothing flows, which may be a new one."""
        while self._free:
            lane = self._free[0]
            if lane < len(self._values) and self._values[lane] is None:
                return lane
            heappop(self._free)
        return len(self._values)

    def close(self, lanes: Sequence[int]) -> None:
        for lane in lanes:
            self.set(lane, None)

    def set(self, lane: int, value: str | None) -> None:
        if lane == len(self._values):
            self._values.append(None)
        self._values[lane] = value
        if value is None:
            heappush(self._free, lane)
        else:
            self.of[value] = lane

    def trim(self) -> None:
        """Forget the last lanes, as far as nothing flows in them."""
        while self._values and self._values[-1] is None:
            self._values.pop()


def _connections(before: Sequence[str | None], after: Sequence[str | None], sources: list[int], target: int) -> str:
    """Return a line that leads the sources' lanes to the target's, across those between."""
    ends = {*sources, target}
    first, last = min(ends), max(ends)
    count = max(len(before), last + 1)
    cells = []
    for lane in range(min(count, MAX_LANES)):
        goes_up = lane < len(before) and before[lane] is not None
        goes_down = (lane < len(after) and after[lane] is not None) or lane == target
        directions = _UP * goes_up | _DOWN * goes_down
        if lane in ends:
            directions |= _LEFT * (lane > first) | _RIGHT * (lane < last)
        elif first < lane < last:
            directions = directions or _LEFT | _RIGHT
        between = first <= lane < last
        cells.append(_BOXES[directions] + ("─" if between else " "))
    return "".join(cells).rstrip() if count <= MAX_LANES else "".join(cells) + "…"


def _lane_text(lanes: Sequence[str | None], count: int, target: int, symbol: str) -> str:
    cells = [symbol if lane == target else "│" if name else " " for lane, name in enumerate(lanes[:MAX_LANES])]
    if count > MAX_LANES:
        cells.append(symbol if target >= MAX_LANES else "…")
    return " ".join(cells).rstrip()
