"""Parameters of ONNX operators, wherever a version keeps them: as attributes (earlier) or as constant inputs (later).

Each function takes the node and what it reads, and returns plain integers: the movement of known numbers
(`folding`) and of layer values (`movement`) share them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from grurt.array_types import Array
from grurt.converters.graph.elements import MAX_RANK
from grurt.converters.graph.nodes import Node
from grurt.converters.graph.tracing.values import Arguments, Tensor, Value

_OPEN_END = 2**31 - 1


def required(node: Node, args: Arguments, index: int) -> Value:
    """Return an input that may not be left out."""
    value = args[index] if index < len(args) else None
    if value is None:
        raise node.invalid(f"its input {index} is missing")
    return value


def tensor_input(node: Node, args: Arguments, index: int = 0) -> Tensor:
    """Return an input that depends on the model's inputs."""
    value = required(node, args, index)
    if not isinstance(value, Tensor):
        raise node.unsupported(f"its input {index} is a constant where the features of a timestep are expected")
    return value


def optional(args: Arguments, index: int) -> Value | None:
    """Return an input, or None if it is left out."""
    return args[index] if index < len(args) else None


def constant(node: Node, value: object, what: str) -> Array:
    """Return a value that has to be known numbers; UnsupportedError if it depends on the model's inputs."""
    if not isinstance(value, np.ndarray):
        raise node.unsupported(f"its {what} must be a constant, but depends on the model's inputs")
    return value


def integers(node: Node, value: object, what: str) -> tuple[int, ...]:
    """Return the integers in a constant of at most one axis."""
    array = constant(node, value, what)
    if array.dtype.kind not in "iu" or array.ndim > 1 or array.size > MAX_RANK:
        raise node.invalid(f"expected a short list of integers as its {what}")
    return tuple(int(number) for number in array.reshape(-1))


def number(node: Node, value: object, what: str) -> float:
    """Return the number in a constant of one element."""
    array = constant(node, value, what)
    if array.size != 1 or array.dtype.kind not in "fiu":
        raise node.invalid(f"expected one number as its {what}")
    return float(array.reshape(-1)[0])


def small_integer(value: Value | None) -> int | None:
    """Return the integer in a constant of one element, also where it is written as a floating-point number."""
    if not isinstance(value, np.ndarray) or value.size != 1 or value.dtype.kind not in "fiu":
        return None
    number = float(value.reshape(-1)[0]) if value.dtype.kind == "f" else int(value.reshape(-1)[0])
    return int(number) if number == number // 1 else None


def axis_index(node: Node, axis: int, rank: int) -> int:
    """Return an axis as a number that is not negative."""
    if not -rank <= axis < rank:
        raise node.invalid(f"the axis {axis} is none of the {rank} of its input")
    return axis % rank


def listed_axes(node: Node, args: Sequence[object], index: int, rank: int) -> tuple[int, ...] | None:
    """Return ``axes`` (Squeeze, Unsqueeze, ReduceL2, ...) in ascending order; None if they are left out."""
    if node.has("axes"):
        axes = node.integers("axes")
    elif (value := _given(args, index)) is not None:
        axes = integers(node, value, "axes")
    else:
        return None
    normal = sorted({axis_index(node, axis, rank) for axis in axes})
    if len(normal) != len(axes):
        raise node.invalid(f"the axes {axes} repeat themselves")
    return tuple(normal)


def squeezed_axes(node: Node, args: Sequence[object], shape: Sequence[int]) -> tuple[int, ...]:
    """Return the axes that Squeeze removes, by default all of size 1."""
    axes = listed_axes(node, args, 1, len(shape))
    if axes is None:
        return tuple(axis for axis, size in enumerate(shape) if size == 1)
    if any(shape[axis] != 1 for axis in axes):
        raise node.misfit(f"it squeezes the axes {axes} of the shape {tuple(shape)}, which are not of size 1")
    return axes


def unsqueezed_axes(node: Node, args: Sequence[object], rank: int) -> tuple[int, ...]:
    """Return where Unsqueeze inserts axes, counted in its output."""
    count = len(node.integers("axes")) if node.has("axes") else len(integers(node, _given(args, 1), "axes"))
    return listed_axes(node, args, 1, rank + count) or ()


def permutation(node: Node, rank: int) -> tuple[int, ...]:
    """Return ``perm`` of Transpose, by default all axes reversed."""
    perm = node.integers("perm") or tuple(reversed(range(rank)))
    if sorted(perm) != list(range(rank)):
        raise node.invalid(f"{perm} is not a permutation of its {rank} axes")
    return perm


def reshape_target(node: Node, args: Sequence[object], shape: Sequence[int]) -> tuple[int, ...]:
    """Return the shape that Reshape gives: 0 copies a size (unless ``allowzero``), -1 is what remains."""
    target = list(integers(node, _given(args, 1), "shape"))
    if not node.integer("allowzero", 0):
        target = [shape[i] if size == 0 and i < len(shape) else size for i, size in enumerate(target)]
    known = math.prod(size for size in target if size != -1)
    whole = [math.prod(shape) // known if size == -1 and known > 0 else size for size in target]
    if target.count(-1) > 1 or any(size < 0 for size in whole) or math.prod(whole) != math.prod(shape):
        raise node.misfit(f"it reshapes {tuple(shape)} to {tuple(target)}, which has not as many elements")
    return tuple(whole)


def flattened(node: Node, shape: Sequence[int]) -> tuple[int, int]:
    """Return the shape that Flatten gives."""
    axis = node.integer("axis", 1)
    if not -len(shape) <= axis <= len(shape):
        raise node.invalid(f"the axis {axis} is none of the {len(shape)} of its input")
    axis = axis % len(shape) if axis < 0 else axis
    return math.prod(shape[:axis]), math.prod(shape[axis:])


def split_sizes(node: Node, args: Sequence[object], size: int) -> tuple[int, ...]:
    """Return the sizes of the parts that Split gives: listed, or as equal as possible with a smaller last one."""
    if node.has("split"):
        sizes = node.integers("split")
    elif (value := _given(args, 1)) is not None:
        sizes = integers(node, value, "split")
    else:
        count = node.integer("num_outputs", len(node.outputs))
        if count != len(node.outputs):
            raise node.invalid(f"it has {len(node.outputs)} outputs and splits into {count} parts")
        step = -(-size // max(count, 1))
        sizes = tuple(min(step, size - start) for start in range(0, size, max(step, 1)))
    if sum(sizes) != size or len(sizes) != len(node.outputs) or any(part <= 0 for part in sizes):
        raise node.misfit(f"it splits an axis of size {size} into {len(node.outputs)} parts of sizes {sizes[:20]}")
    return sizes


def slice_ranges(node: Node, args: Sequence[object], shape: Sequence[int], dynamic: Sequence[bool]) -> dict[int, range]:
    """Return the positions that Slice keeps, by axis.

    ``dynamic`` says which axes are of open size. A number that reaches past the end of such an axis cuts longer inputs,
    and is refused.
    """
    starts, ends, axes, steps = _slice_lists(node, args)
    if not len(starts) == len(ends) == len(axes) == len(steps) or 0 in steps:
        raise node.invalid("its starts, ends, axes and steps do not fit together")
    ranges = {}
    for start, end, axis_given, step in zip(starts, ends, axes, steps, strict=True):
        axis = axis_index(node, axis_given, len(shape))
        if dynamic[axis] and any(shape[axis] < abs(bound) < _OPEN_END for bound in (start, end)):
            raise node.unsupported(f"it cuts an axis of open size at {start}:{end}", "whole axes must be kept")
        ranges[axis] = range(shape[axis])[start:end:step]
    return ranges


def slices_written(node: Node, args: Sequence[object], rank: int) -> dict[int, tuple[int, int, int]]:
    """Return the start, end and step of Slice as the file says them, by axis: several keep the same positions."""
    starts, ends, axes, steps = _slice_lists(node, args)
    return {
        axis_index(node, axis, rank): (start, end, step)
        for start, end, axis, step in zip(starts, ends, axes, steps, strict=False)
    }


def _slice_lists(node: Node, args: Sequence[object]) -> tuple[tuple[int, ...], ...]:
    if node.has("starts"):
        starts, ends, axes = node.integers("starts"), node.integers("ends"), node.integers("axes")
        return starts, ends, axes or tuple(range(len(starts))), (1,) * len(starts)
    starts = integers(node, _given(args, 1), "starts")
    ends = integers(node, _given(args, 2), "ends")
    axes_given, steps_given = _given(args, 3), _given(args, 4)
    axes = tuple(range(len(starts))) if axes_given is None else integers(node, axes_given, "axes")
    steps = (1,) * len(starts) if steps_given is None else integers(node, steps_given, "steps")
    return starts, ends, axes, steps


def _given(args: Sequence[object], index: int) -> object:
    return args[index] if index < len(args) else None
