"""Values at other places: repeated, or in between.

Source: operators ``Resize`` and ``Upsample`` of the ONNX specification.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from grurt.array_types import Array
from grurt.converters.graph.nodes import Node
from grurt.converters.graph.tracing import parameters
from grurt.converters.literal.builder import ProgramBuilder
from grurt.converters.literal.registry import handler
from grurt.converters.literal.values import Arguments, Value, given

_ROUNDED: Mapping[str, Callable[[Array], Array]] = {
    "floor": lambda x: np.floor(x),
    "ceil": lambda x: np.ceil(x),
    "round_prefer_floor": lambda x: np.ceil(x - 0.5),
    "round_prefer_ceil": lambda x: np.floor(x + 0.5),
}


@handler("Resize", "Upsample")
def resize(node: Node, args: Arguments, build: ProgramBuilder) -> Value:
    """Resize to the nearest place."""
    node.ignore("antialias", "cubic_coeff_a", "exclude_outside", "extrapolation_value")
    value, mode = given(node, args), node.text("mode", "nearest")
    if mode != "nearest":
        raise node.unsupported(f"it resizes in the mode {mode[:50]!r}", "supported is nearest")
    for axis, (size, scale) in enumerate(_sizes(node, args, value)):
        if size == value.shape[axis]:
            continue
        build.mixes(node, 0, axis)
        places = _places(node, value.shape[axis], size, scale).tolist()
        value = build.gather(value, axis, places)
    return value


def _sizes(node: Node, args: Arguments, value: Value) -> list[tuple[int, float]]:
    """Return the new size of each axis, and its scale."""
    axes = [parameters.axis_index(node, axis, value.ndim) for axis in node.integers("axes") or range(value.ndim)]
    found = [(size, 1.0) for size in value.shape]
    sizes = args[3] if len(args) > 3 else None
    given_scales = args[1] if node.op == "Upsample" else args[2] if len(args) > 2 else None
    if sizes is not None:
        numbers = parameters.integers(node, sizes, "sizes")
    elif node.has("scales"):
        numbers = node.numbers("scales")  # type: ignore[assignment]
    else:
        numbers = tuple(parameters.constant(node, given_scales, "scales").reshape(-1).tolist())
    if len(numbers) != len(axes) or min(numbers, default=1) <= 0:
        raise node.invalid("its sizes or scales do not fit its input")
    for axis, number in zip(axes, numbers, strict=True):
        old = value.shape[axis]
        found[axis] = (int(number), number / old) if sizes is not None else (int(np.floor(old * number)), float(number))
    return found


def _places(node: Node, old: int, new: int, scale: float) -> Array:
    """Return for each new place the old one that it shows."""
    usual = "asymmetric" if node.op == "Upsample" else "half_pixel"
    transformation = node.text("coordinate_transformation_mode", usual)
    rounding = _ROUNDED.get(node.text("nearest_mode", "floor" if node.op == "Upsample" else "round_prefer_floor"))
    at = np.arange(new, dtype=np.float64)
    if transformation in ("half_pixel", "pytorch_half_pixel", "half_pixel_symmetric"):
        at = (at + 0.5) / scale - 0.5
        if transformation == "pytorch_half_pixel" and new == 1:
            at = np.zeros(1)
    elif transformation == "asymmetric":
        at = at / scale
    elif transformation == "align_corners":
        at = at * (old - 1) / max(new - 1, 1)
    else:
        raise node.unsupported(f"its places are transformed by {transformation[:50]!r}")
    if rounding is None:
        raise node.invalid("its nearest_mode is unknown")
    return np.asarray(np.clip(rounding(at), 0, old - 1), np.int64)
