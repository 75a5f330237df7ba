"""Convolutions over time: Conv, and the Pad before it."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import numpy as np

from grurt.array_types import Array
from grurt.converters import windows
from grurt.converters.graph.building.builder import Builder
from grurt.converters.graph.nodes import Node
from grurt.converters.graph.operators import delays, padding
from grurt.converters.graph.operators.linear import linear
from grurt.converters.graph.operators.registry import operator, second
from grurt.converters.graph.operators.windows import (
    Spatial,
    as_it_is,
    images,
    is_time,
    over_time,
    resampled,
    spatial,
)
from grurt.converters.graph.tracing.axes import Axis, Role
from grurt.converters.graph.tracing.features import require_features
from grurt.converters.graph.tracing.parameters import (
    axis_index,
    constant,
    integers,
    number,
    optional,
    required,
    slice_ranges,
    tensor_input,
)
from grurt.converters.graph.tracing.values import Arguments, Row, Tensor, Value
from grurt.converters.windows import Window
from grurt.errors import DesignReason
from grurt.network.layers import Conv1d


@operator("Pad", in_loops="single", reads_padding=True)
def pad(node: Node, args: Arguments, build: Builder) -> tuple[Value, ...]:
    """Pad: zeros before the first timestep are kept in mind until a Conv reads them, or a Slice makes them a delay."""
    tensor = tensor_input(node, args)
    changed, fill = _pads(node, args, len(tensor.dims))
    if (wider := padding.of_features(node, tensor, changed, fill, build)) is not None:
        return (wider,)
    if not changed:
        return (tensor,)
    if len(changed) > 1:
        raise images(node)
    ((index, before, after),) = changed
    if not fill and before == -after > 0:
        return (delays.delayed(node, as_it_is(node, tensor, build), index, before, build),)
    only_before = not fill and not after and before > 0
    if only_before and (whole := delays.uncut(node, tensor, index, before, build)) is not None:
        return (delays.delayed(node, whole, index, before, build),)
    tensor = as_it_is(node, tensor, build)
    if not only_before or len(tensor.dims[index]) != 1:
        return (resampled(node, tensor, index, Window(padding=(before, after)), build, fill),)
    tensor.dims[index][0].require(Role.TIME, node)
    return (replace(tensor, padding=before, padded=tensor.dims[index]),)


def _pads(node: Node, args: Arguments, rank: int) -> tuple[list[tuple[int, int, int]], float]:
    """Return which axes are padded, how much before and behind, and with what."""
    pads = node.integers("pads") if node.has("pads") else integers(node, optional(args, 1), "pads")
    given, listed = optional(args, 2), optional(args, 3)
    axes = range(rank) if listed is None else [axis_index(node, each, rank) for each in integers(node, listed, "axes")]
    fill = node.number("value", 0.0) if given is None else number(node, given, "value")
    if (mode := node.text("mode", "constant")) != "constant" or not np.isfinite(np.float32(fill)):
        raise node.unsupported(f"it pads in the mode {mode[:50]!r}", "only padding with a finite number is supported")
    if len(pads) != 2 * len(axes):
        raise node.invalid("its pads and axes do not fit together")
    sides = zip(axes, pads[: len(axes)], pads[len(axes) :], strict=True)
    return [(axis, before, after) for axis, before, after in sides if before or after], fill


@operator("Conv", in_loops="single", reads_padding=True, features_at=second)
def conv(node: Node, args: Arguments, build: Builder) -> tuple[Value, ...]:
    """Conv over (batch, features, time), or over one more axis that it covers whole."""
    tensor = tensor_input(node, args)
    weight = constant(node, required(node, args, 1), "weights")
    if weight.ndim not in (3, 4) or len(tensor.dims) != weight.ndim or weight.dtype.kind != "f":
        raise node.unsupported(
            f"only convolutions over time are supported, got weights {weight.dtype} {weight.shape}",
            reason=DesignReason.IMAGES if weight.ndim > 3 and weight.dtype.kind == "f" else None,
        )
    group = node.integer("group", 1)
    if group < 1 or (node.integers("kernel_shape") or weight.shape[2:]) != weight.shape[2:] or 0 in weight.shape:
        raise node.invalid("its attributes do not fit its weights")
    over = spatial(node, weight.shape[2:])
    if (
        weight.ndim == 4
        and group == 1
        and over.keeps(0)
        and over.keeps(1)
        and (build.grid or 1 not in tensor.shape[2:])
    ):
        return (_at_each_place(node, as_it_is(node, tensor, build), args, weight[:, :, 0, 0], build),)
    weight, window, time, features = _over_time(node, tensor, weight, over, group)
    tensor, window = _with_padding(node, tensor, time, window, build)
    is_reversed = any(axis.is_reversed for axis in tensor.dims[time])
    if is_reversed:
        tensor, weight, window = _mirrored(tensor, weight, window, time)
    tensor = build.single(tensor, node)
    output_size, inputs_per_group, kernel_size = weight.shape
    require_features(node, tensor, features, inputs_per_group * group)
    weights = {"weight": weight}
    if (bias := optional(args, 2)) is not None:
        weights["bias"] = constant(node, bias, "bias")
    layer = Conv1d(
        name=build.name(node, "conv"),
        inputs=(tensor.rows[0].value,),
        input_size=inputs_per_group * group,
        output_size=output_size,
        kernel_size=kernel_size,
        dilation=window.dilation,
        groups=group,
        bias="bias" in weights,
    )
    result = _convolved(node, tensor, (time, features), layer, weights, window, build)
    if is_reversed:
        result = as_it_is(node, result, build)
        result = result.with_dim(time, (result.dims[time][0].reversed(),))
    return (result,)


def _at_each_place(node: Node, tensor: Tensor, args: Arguments, weight: Array, build: Builder) -> Tensor:
    """Return a convolution that reads one place at a time: a product with the features of each."""
    bias = None if (given := optional(args, 2)) is None else constant(node, given, "bias")
    batch, features, *others = tensor.dims
    product = linear(node, replace(tensor, dims=(batch, *others, features)), weight, bias, build)
    batch, *others, features = product.dims
    return replace(product, dims=(batch, features, *others))


def _over_time(node: Node, tensor: Tensor, weight: Array, over: Spatial, group: int) -> tuple[Array, Window, int, int]:
    """Return a convolution as one over time, and the dimensions of time and features.

    Its weights are ``(outputs, features, taps)``. Of two axes, one has to be of size 1, or to be the features of a
    single channel, which the kernel covers.
    """
    if weight.ndim == 3:
        return weight, over.window(0), 2, 1
    places = sorted((0, 1), key=lambda place: not is_time(tensor.dims[2 + place]))
    for place in places:
        other = 1 - place
        size, taps, before, after = (
            tensor.shape[2 + other],
            weight.shape[2 + other],
            over.before[other],
            over.after[other],
        )
        is_explicit = taps == 1 or not over.automatic.startswith("SAME")
        if size == 1 and is_explicit and before + after == taps - 1:
            return weight.take(before, axis=2 + other), over.window(place), 2 + place, 1
        if size == taps and is_explicit and before == after == 0 and tensor.shape[1] == group == 1:
            covered = weight[:, 0] if other == 0 else weight[:, 0].swapaxes(1, 2)
            return covered, over.window(place), 2 + place, 2 + other
    raise images(node)


def _mirrored(tensor: Tensor, weight: Array, window: Window, time: int) -> tuple[Tensor, Array, Window]:
    """Return what gives the outputs of a convolution of a reversed sequence in the order of that sequence's own time.

    One of another stride, whose windows begin at the end of the sequence, stays as it is.
    """
    if window.stride > 1 or window.fixed is None:
        return tensor, weight, window
    before, after = window.fixed
    own = tensor.dims[time][0].reversed()
    return tensor.with_dim(time, (own,)), weight[:, :, ::-1], replace(window, padding=(after, before))


def _with_padding(node: Node, tensor: Tensor, index: int, window: Window, build: Builder) -> tuple[Tensor, Window]:
    """Return a tensor, and what is read of it together with the zeros that it has before its first timestep."""
    if tensor.padding and tensor.padded is tensor.dims[index] and window.fixed is not None:
        before, after = window.fixed
        window = replace(window, padding=(before + tensor.padding, after))
        return replace(tensor, padding=0, padded=()), window
    return as_it_is(node, tensor, build), window


def _convolved(
    node: Node,
    tensor: Tensor,
    places: tuple[int, int],
    layer: Conv1d,
    weights: dict[str, Array],
    window: Window,
    build: Builder,
) -> Tensor:
    """Return what a convolution makes of a tensor, whose dimensions of time and features are ``places``."""
    time, features = places
    feature = Axis(layer.output_size, f"the feature axis of {layer.name!r}", Role.FEATURE)
    result = tensor.with_dim(features, ()).with_dim(1, (feature,))
    before, after = window.fixed or (0, 0)
    surplus = after if window.stride == 1 and before == window.history and 0 < after <= window.history else 0
    causal = replace(window, padding=(before, 0)) if surplus else window
    if not causal.is_causal:
        result = result.with_dim(time, over_time(node, tensor, time, window, layer.name))
        return result.with_row(Row(windows.convolution(build, layer, weights, window)))
    (axis,) = over_time(node, tensor, time, causal, layer.name)
    name = build.add(layer, weights)
    result = result.with_row(Row(name)).with_dim(time, (axis,))
    if not surplus:
        return result
    build.lengthened[name] = lambda: windows.convolution(
        build, msgspec.structs.replace(layer, name=build.unique(f"{name}.longer")), weights, window
    )
    longer = (Axis(axis.size + surplus, f"{axis.where}, padded", Role.TIME, part_of=axis, dynamic=axis.dynamic),)
    return replace(result.with_dim(time, longer), surplus=surplus, uncut=(axis,), padded=longer)


def without_surplus(node: Node, args: Arguments, tensor: Tensor) -> Tensor | None:
    """Return what a Slice leaves of a Conv that padded on both sides: the timesteps that no later ones changed.

    None if it leaves others.
    """
    index = tensor.dims.index(tensor.padded)
    kept = slice_ranges(node, args, tensor.shape, [False] * len(tensor.dims))
    if kept != {index: range(tensor.shape[index] - tensor.surplus)}:
        return None
    return replace(tensor.with_dim(index, tensor.uncut), surplus=0, uncut=(), padded=())
