"""Pooling over time: the largest or the mean of each feature in windows of timesteps."""

from __future__ import annotations

from dataclasses import replace

from grurt.converters import windows
from grurt.converters.graph.building.builder import Builder
from grurt.converters.graph.nodes import OF_ANY_LENGTH, Node
from grurt.converters.graph.operators.refusals import OTHER_AXES
from grurt.converters.graph.operators.registry import operator, second
from grurt.converters.graph.operators.time_pooling import pooled
from grurt.converters.graph.operators.windows import Spatial, as_it_is, images, is_time, over_time, spatial
from grurt.converters.graph.tracing.features import require_features
from grurt.converters.graph.tracing.parameters import tensor_input
from grurt.converters.graph.tracing.values import Arguments, Row, Tensor, Value
from grurt.converters.windows import Window
from grurt.errors import DesignReason


@operator("MaxPool", in_loops="single", reads_padding=True, features_at=second)
def max_pool(node: Node, args: Arguments, build: Builder) -> tuple[Value, ...]:
    """MaxPool over time: timesteps outside of the sequence are not looked at."""
    node.ignore("storage_order")
    tensor = tensor_input(node, args)
    index, others, window, beyond = _over_time(node, tensor, build)
    if _joins_all(node, tensor, index, window, build):
        return (_of_all(node, tensor, index, build),)
    window = windows.longer(window, beyond)
    behind_zeros = _behind_zeros(tensor, index, window)
    maximum = windows.maximum if behind_zeros is None else windows.running_maximum
    tensor, window = _with_padding(node, tensor, window, behind_zeros, build)
    tensor, size = _features(node, tensor, others, build)
    name = build.name(node, "max_pool")
    time = over_time(node, tensor, index, window, name)
    value = maximum(build, tensor.rows[0].value, size, window, name)
    return (tensor.with_row(Row(value)).with_dim(index, time),)


@operator("AveragePool", in_loops="single", reads_padding=True, features_at=second)
def average_pool(node: Node, args: Arguments, build: Builder) -> tuple[Value, ...]:
    """AveragePool over time: timesteps outside of the sequence count as zeros, or not at all."""
    tensor = tensor_input(node, args)
    index, others, window, beyond = _over_time(node, tensor, build)
    if _joins_all(node, tensor, index, window, build):
        return (_of_all(node, tensor, index, build),)
    counts = bool(node.integer("count_include_pad", 0))
    behind_zeros = None if beyond else _behind_zeros(tensor, index, window)
    counts = counts or behind_zeros is not None
    tensor, window = _with_padding(node, tensor, window, behind_zeros, build)
    tensor, size = _features(node, tensor, others, build)
    name = build.name(node, "average_pool")
    time = over_time(node, tensor, index, windows.longer(window, beyond), name)
    source = tensor.rows[0].value
    value = windows.average(build, source, size, window, name, beyond=beyond, count_padding=counts)
    return (tensor.with_row(Row(value)).with_dim(index, time),)


def _behind_zeros(tensor: Tensor, index: int, window: Window) -> Window | None:
    """Return what a pool reads of the sequence and the zeros before it, where it looks back only; None if it does not.

    These are timesteps for it, and no padding of its own.
    """
    window_with = replace(window, padding=(tensor.padding, 0))
    looks_back = tensor.padding > 0 and window.padding == (0, 0) and window_with.is_causal
    return window_with if looks_back and tensor.padded == tensor.dims[index] else None


def _with_padding(
    node: Node, tensor: Tensor, window: Window, behind_zeros: Window | None, build: Builder
) -> tuple[Tensor, Window]:
    """Return a tensor without the zeros that windows read by themselves, and these windows; else both as they are."""
    if behind_zeros is None:
        return as_it_is(node, tensor, build), window
    return replace(tensor, padding=0, padded=()), behind_zeros


def _over_time(node: Node, tensor: Tensor, build: Builder) -> tuple[int, list[int], Window, int]:
    """Return what a pool does over time, of several axes the only one along which it does anything.

    That is the dimension of time, those that may hold features, the windows, and how far the last of them may reach
    behind the padding.
    """
    over = spatial(node, node.integers("kernel_shape"))
    count = len(over.kernel)
    if max(over.kernel) > windows.MAX_TAPS:
        raise node.unsupported(
            f"it combines {max(over.kernel)} timesteps one by one",
            f"at most {windows.MAX_TAPS} are supported",
            DesignReason.SIZE,
        )
    if count + 2 != len(tensor.dims):
        raise node.invalid(f"it pools over {count} axes of a tensor of shape {tensor.shape}")
    for place in sorted(range(count), key=lambda place: not is_time(tensor.dims[2 + place])):
        others = [other for other in range(count) if other != place]
        if all(over.keeps(other) for other in others):
            if not (node.integer(OF_ANY_LENGTH, 0) or build.measures):
                _refuse_adaptive(node, tensor, 2 + place, over, place)
            return 2 + place, [1, *(2 + other for other in others)], over.window(place), _beyond(node, over, place)
    raise images(node)


def _joins_all(node: Node, tensor: Tensor, index: int, window: Window, build: Builder) -> bool:
    """Say whether a pool joins all timesteps that a file was exported with, as one of any length does."""
    if node.integer(OF_ANY_LENGTH, 0) or build.measures or any(axis.dynamic for axis in tensor.dims[index]):
        return False
    size = tensor.shape[index]
    return size > 1 and window.padding == (0, 0) and not tensor.padding and window.history + 1 >= size


def _of_all(node: Node, tensor: Tensor, index: int, build: Builder) -> Tensor:
    """Return what all timesteps come to."""
    node.ignore("ceil_mode", "count_include_pad")
    if len(tensor.dims[index]) != 1 or (result := pooled(node, tensor, index, build, keeps=True)) is None:
        raise node.unsupported(*OTHER_AXES)
    return result


def _refuse_adaptive(node: Node, tensor: Tensor, index: int, over: Spatial, place: int) -> None:
    """Refuse what is written for one number of timesteps: pools of as many parts of any sequence.

    PyTorch's adaptive pools are those without what says how the last window ends, or over one more axis, of size 1,
    in files where they are not operators of their own.
    """
    size, window = tensor.shape[index], over.window(place)
    if any(axis.dynamic for axis in tensor.dims[index]) or size < 2 or window.padding != (0, 0) or tensor.padding:
        return
    is_even = window.stride == window.kernel_size > 1 and size % window.stride == 0 and size > window.stride
    unsaid = not node.has("ceil_mode") and over.automatic == "NOTSET"
    beside = any(not dim for other, dim in enumerate(tensor.dims[2:]) if other != place)
    if is_even and (unsaid or beside):
        raise node.unsupported(
            f"it makes {size // window.stride} parts of the {size} timesteps that the file was exported with, as an "
            "adaptive pool does of any number",
            "use a pool with a kernel_size, and leave the number of timesteps open in the export",
            DesignReason.SEQUENCE_LENGTH,
        )


def _beyond(node: Node, over: Spatial, place: int) -> int:
    """Return how many timesteps behind the padding a window may hold that is rounded up to: none begins there."""
    if not node.integer("ceil_mode", 0) or over.automatic != "NOTSET":
        return 0
    span = (over.kernel[place] - 1) * over.dilations[place] + 1
    after = over.after[place]
    return max(0, min(over.strides[place] - 1, span - 1 - after))


def _features(node: Node, tensor: Tensor, places: list[int], build: Builder) -> tuple[Tensor, int]:
    """Return a tensor of one value, and how many features it has, along one of these dimensions."""
    tensor = build.single(tensor, node)
    wide = [place for place in places if tensor.shape[place] > 1]
    if len(wide) > 1:
        raise images(node)
    size = tensor.shape[wide[0]] if wide else 1
    require_features(node, tensor, wide[0] if wide else 1, size)
    return tensor, size
