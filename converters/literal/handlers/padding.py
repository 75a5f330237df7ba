"""Places before and behind those of a value."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from grurt.converters.graph.nodes import Node
from grurt.converters.graph.tracing import parameters
from grurt.converters.literal.builder import ProgramBuilder
from grurt.converters.literal.registry import handler
from grurt.converters.literal.values import Arguments, Value, given, optional, scalar
from grurt.network import operators

_MODES = ("constant", "edge", "reflect", "wrap")


@handler("Pad")
def pad(node: Node, args: Arguments, build: ProgramBuilder) -> Value:
    """Pad: with one number, or with what lies near the edge. Below zero, places are cut off."""
    value, mode = given(node, args), node.text("mode", "constant")
    if mode not in _MODES:
        raise node.invalid(f"unknown mode {mode[:50]!r}")
    sides = _sides(node, args, value.ndim)
    time = build.time_axis(node)
    if time is not None and mode == "constant" and not _fill(node, args) and sides[time][0] > 0 == sides[time][1]:
        value = build.with_history(node, value, time, sides[time][0])
        sides[time] = (0, 0)
    kept = {
        axis: range(max(-before, 0), size - max(-after, 0))
        for axis, ((before, after), size) in enumerate(zip(sides, value.shape, strict=True))
    }
    value = build.slice(value, kept)
    build.mixes(node, 0, *(axis for axis, side in enumerate(sides) if any(side)))
    added = [(max(before, 0), max(after, 0)) for before, after in sides]
    if mode == "constant":
        return padded(build, value, added, _fill(node, args))
    for axis, (before, after) in enumerate(added):
        if before or after:
            places = np.pad(np.arange(value.shape[axis]), (before, after), mode=mode)  # type: ignore[call-overload]
            value = build.gather(value, axis, places.tolist())
    return value


def padded(build: ProgramBuilder, value: Value, sides: Sequence[tuple[int, int]], fill: float = 0.0) -> Value:
    """Return a value with one number before and behind it along each axis."""
    if not any(map(any, sides)):
        return value
    before, after = (tuple(side[end] for side in sides) for end in (0, 1))
    return build.emit(operators.Pad, value, before=before, after=after, value=fill)


def _fill(node: Node, args: Arguments) -> float:
    if len(args) < 3 or args[2] is None:
        return node.number("value", 0.0)
    fill = scalar(args[2])
    if fill is None or not np.isfinite(np.float32(fill)):
        raise node.unsupported("it pads with a number that is not known, or not finite")
    return fill


def _sides(node: Node, args: Arguments, rank: int) -> list[tuple[int, int]]:
    """Return how many places come before and behind each axis."""
    listed = (
        node.integers("pads")
        if node.has("pads")
        else tuple(parameters.constant(node, optional(args, 1), "pads").reshape(-1).tolist())
    )
    given_axes = optional(args, 3)
    axes = (
        range(rank)
        if given_axes is None
        else [parameters.axis_index(node, axis, rank) for axis in parameters.integers(node, given_axes, "axes")]
    )
    if len(listed) != 2 * len(axes):
        raise node.invalid("its pads and axes do not fit together")
    sides = [(0, 0)] * rank
    for place, axis in enumerate(axes):
        sides[axis] = int(listed[place]), int(listed[len(axes) + place])
    return sides
