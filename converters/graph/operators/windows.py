"""Sequences of other lengths: padded, cut, and windows of timesteps along one of a tensor's axes.

Zeros before a sequence, a sequence without its last timesteps, and the surplus of a convolution that pads on both sides
are kept in mind until it shows what they are for: together with what follows, they may be causal. What reads them as
they are gets an `Unfold`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from grurt.converters.graph.building.builder import Builder
from grurt.converters.graph.nodes import Node
from grurt.converters.graph.tracing.axes import Axis, Dim, Role
from grurt.converters.graph.tracing.values import Arguments, Row, Tensor
from grurt.converters.windows import Padding, Window
from grurt.errors import DesignReason, UnsupportedError
from grurt.network.layers import Unfold


@dataclass(frozen=True)
class Spatial:
    """What an operator does along each of the axes behind batch and features."""

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    before: tuple[int, ...]
    after: tuple[int, ...]
    automatic: str

    def window(self, place: int) -> Window:
        """Return what it does along one of them."""
        padding: Padding = self.before[place], self.after[place]
        if self.automatic.startswith("SAME"):
            padding = "same" if self.automatic == "SAME_UPPER" else "same_lower"
        return Window(self.kernel[place], self.strides[place], self.dilations[place], padding)

    def keeps(self, place: int) -> bool:
        """Say whether it does nothing along one of them."""
        own = self.kernel[place], self.strides[place], self.before[place], self.after[place]
        return own == (1, 1, 0, 0)


def spatial(node: Node, kernel: Sequence[int]) -> Spatial:
    """Return what a convolution's or pool's attributes say, for a kernel of this shape."""
    count = len(kernel)
    automatic = node.text("auto_pad", "NOTSET")
    strides, dilations = (node.integers(name) or (1,) * count for name in ("strides", "dilations"))
    pads = node.integers("pads") or (0,) * 2 * count
    fits = len(strides) == len(dilations) == count and len(pads) == 2 * count
    if not fits or min((*kernel, *strides, *dilations)) < 1 or min(pads) < 0:
        raise node.invalid("its attributes do not fit together")
    if automatic not in ("NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER"):
        raise node.invalid(f"its auto_pad is {automatic[:50]!r}")
    if automatic != "NOTSET":
        pads = (0,) * 2 * count
    return Spatial(tuple(kernel), strides, dilations, pads[:count], pads[count:], automatic)


def images(node: Node) -> UnsupportedError:
    """Return the error for an operator that works over more axes than time."""
    return node.unsupported(
        "it works over more axes than time, of which grurt knows one",
        "supported are kernels over time, with one that covers all features at most beside it",
        DesignReason.IMAGES,
    )


def is_time(dim: Dim) -> bool:
    """Say whether a dimension is known to be time, or of open size, as time mostly is."""
    return any(axis.role is Role.TIME or axis.dynamic for axis in dim)


def over_time(node: Node, tensor: Tensor, index: int, window: Window, name: str) -> Dim:
    """Return the axis of time behind an operator, whose dimension ``index`` it runs over, and learn what that means."""
    dim = tensor.dims[index]
    if len(dim) > 1:
        raise node.unsupported(
            "it runs over several merged axes", "each sequence must have an axis of its own", DesignReason.ACROSS_BATCH
        )
    for axis in dim:
        if axis.role is Role.FEATURE:
            raise node.unsupported(
                f"it runs over {axis.where}",
                "it has to run over time; instead of a history that is an input, pad on the left: a stream keeps it",
            )
        axis.require(Role.TIME, node)
        if axis.is_reversed and window != Window():
            raise node.unsupported("it reads a sequence that was reversed", "reverse what it gives instead")
    return _new_time(node, dim, tensor.shape[index], window.layer(name, ""), name)


def _new_time(node: Node, dim: Dim, size: int, layer: Unfold, name: str) -> Dim:
    """Return the axis of the windows of another axis, or that itself, where there is a window for each timestep."""
    if layer.stride == 1 and layer.surplus == -1:
        return dim or (Axis(1, f"the timestep of {name!r}", Role.TIME),)
    if size < layer.least_steps:
        raise node.invalid(f"it reads {size} timesteps, of which it needs {layer.least_steps} at least")
    is_open = any(axis.dynamic for axis in dim)
    return (Axis(layer.window_count(size), f"the time axis of {name!r}", Role.TIME, dynamic=is_open),)


def resampled(node: Node, tensor: Tensor, index: int, window: Window, build: Builder, fill: float = 0.0) -> Tensor:
    """Return a sequence whose timesteps are windows of one: it is padded or cut, or every so many are kept."""
    tensor = build.single(tensor, node)
    value = tensor.rows[0].value
    name = build.unique(f"{value}.timesteps")
    time = over_time(node, tensor, index, window, name)
    layer = window.layer(name, value, fill)
    return tensor.with_row(Row(build.add(layer))).with_dim(index, time)


def read(node: Node, args: Arguments, build: Builder) -> Arguments:
    """Return what a node reads that knows nothing of padding: sequences as they are."""
    return tuple(as_it_is(node, value, build) if isinstance(value, Tensor) else value for value in args)


def as_it_is(node: Node, tensor: Tensor, build: Builder) -> Tensor:
    """Return a tensor with its padding among its timesteps, or without those that were cut off."""
    if tensor.padding:
        index = tensor.dims.index(tensor.padded)
        return resampled(node, replace(tensor, padding=0, padded=()), index, Window(padding=(tensor.padding, 0)), build)
    if tensor.surplus:
        longer = build.lengthened[tensor.rows[0].value]()
        return replace(tensor.with_row(Row(longer)), surplus=0, uncut=(), padded=())
    if tensor.is_cut and tensor.whole is not None:
        uncut = {id(dim) for dim in tensor.whole.dims}
        index = next(place for place, dim in enumerate(tensor.dims) if id(dim) not in uncut)
        (long,) = (dim for dim in tensor.whole.dims if id(dim) not in set(map(id, tensor.dims)))
        removed = long[0].size - tensor.shape[index]
        if long[0].dynamic and removed > long[0].size // 2:  # of an open size, which is a large number here
            raise node.unsupported(
                f"it keeps no more than {tensor.shape[index]} timesteps of {long[0].where}, which is of open size",
                "whole sequences must be kept, in order, or one timestep",
                DesignReason.SEQUENCE_LENGTH,
            )
        if not tensor.at_the_end:
            raise node.unsupported(
                f"it reads the first {tensor.shape[index]} of {long[0].size} timesteps",
                "cut them off from the end, as in x[:, :-1], or leave the number of timesteps open in the export",
                DesignReason.SEQUENCE_LENGTH,
            )
        tensor = replace(tensor.with_dim(index, long), whole=None, is_cut=False)
        return resampled(node, tensor, index, Window(padding=(0, -removed)), build)
    return tensor


def of_positions(tensor: Tensor, index: int, kept: range, start: int, end: int, build: Builder) -> Window | None:
    """Return the window by which a Slice keeps timesteps: all but some at both ends, or every so many; else None.

    Of an axis of open size, whose size is a large number here, it has to say what it cuts off at either end; so it has
    where the file says ``start`` and ``end`` for the one length that it was written with.
    """
    dim, size = tensor.dims[index], tensor.shape[index]
    if len(dim) != 1 or dim[0].role not in (None, Role.TIME) or tensor.integer or not kept or kept.step < 1:
        return None
    joins = any(each[:-1] == tensor.stacks and each[-1].role is Role.FEATURE for each in tensor.dims if each)
    if (tensor.stacks and not joins) or tensor.rows[0].picked or tensor.rows[0].final or tensor.at is not None:
        return None
    cut = size - kept.stop
    if dim[0].dynamic:
        is_clear = max(kept.start, cut, kept.step) < size // 2
    else:
        is_clear = build.measures or (start >= 0 and (end < 0 or end >= size))
    return Window(stride=kept.step, padding=(-kept.start, -cut)) if is_clear else None
