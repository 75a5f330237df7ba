"""Causal convolution over time: Conv, and the Pad before it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from grurt.converters.graph.building.builder import Builder
from grurt.converters.graph.nodes import Node
from grurt.converters.graph.operators import delays, padding
from grurt.converters.graph.operators.registry import operator, second
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
from grurt.errors import DesignReason
from grurt.network.layers import Conv1d


@operator("Pad", in_loops="single", reads_padding=True)
def pad(node: Node, args: Arguments, build: Builder) -> tuple[Value, ...]:
    """Pad with zeros before the first timestep: kept in mind until a Conv reads it, or a Slice makes it a delay."""
    tensor = tensor_input(node, args)
    rank = len(tensor.dims)
    pads = node.integers("pads") if node.has("pads") else integers(node, optional(args, 1), "pads")
    axes = optional(args, 3)
    numbers = range(rank) if axes is None else [axis_index(node, axis, rank) for axis in integers(node, axes, "axes")]
    fill = optional(args, 2)
    value = node.number("value", 0.0) if fill is None else number(node, fill, "value")
    fills_zeros = value == 0
    if (wider := padding.of_features(node, tensor, numbers, pads, value, build)) is not None:
        return (wider,)
    if node.text("mode", "constant") != "constant" or not fills_zeros or len(pads) != 2 * len(numbers):
        raise node.unsupported("only padding with zeros is supported")
    if (shifted := _shifted(numbers, pads[: len(numbers)], pads[len(numbers) :])) is not None:
        return (delays.delayed(node, tensor, *shifted, build),)
    padded = [(axis, before) for axis, before in zip(numbers, pads[: len(numbers)], strict=True) if before]
    if any(pads[len(numbers) :]) or len(padded) > 1 or any(before < 0 for _, before in padded) or tensor.padding:
        raise node.unsupported(
            f"the padding {pads} is not causal", "only zeros before the first timestep of a Conv are supported"
        )
    if not padded:
        return (tensor,)
    index, before = padded[0]
    if (whole := delays.uncut(node, tensor, index, before, build)) is not None:
        return (delays.delayed(node, whole, index, before, build),)
    refuse_cut(node, tensor)
    if len(tensor.dims[index]) != 1:
        raise node.unsupported("it pads an axis that is not time")
    tensor.dims[index][0].require(Role.TIME, node)
    return (replace(tensor, padding=before, padded=tensor.dims[index]),)


def _shifted(axes: Iterable[int], before: Iterable[int], after: Iterable[int]) -> tuple[int, int] | None:
    """Return the axis that is padded before as much as it is cut behind, and how much; None if there is no such one."""
    changed = [each for each in zip(axes, before, after, strict=True) if any(each[1:])]
    if len(changed) != 1:
        return None
    ((axis, added, removed),) = changed
    return (axis, added) if added > 0 and added == -removed else None


@operator("Conv", in_loops="single", reads_padding=True, features_at=second)
def conv(node: Node, args: Arguments, build: Builder) -> tuple[Value, ...]:
    """Conv over (batch, features, time) with stride 1, padded so that no output depends on later timesteps."""
    tensor = tensor_input(node, args)
    refuse_cut(node, tensor)
    padding = tensor.padding
    tensor = build.single(replace(tensor, padding=0, padded=()), node)
    weight = constant(node, required(node, args, 1), "weights")
    if weight.ndim != 3 or len(tensor.dims) != 3 or weight.dtype.kind != "f":
        raise node.unsupported(
            f"only 1-D convolutions are supported, got weights {weight.dtype} {weight.shape}",
            reason=DesignReason.IMAGES if weight.ndim > 3 and max(weight.shape[2:]) > 1 else None,
        )
    output_size, inputs_per_group, kernel_size = weight.shape
    group = node.integer("group", 1)
    dilation = (node.integers("dilations") or (1,))[0]
    if (node.integers("strides") or (1,))[0] != 1:
        raise node.unsupported("its stride is not 1", "a stream gives one output for each input")
    if (node.integers("kernel_shape") or (kernel_size,))[0] != kernel_size or group < 1 or dilation < 1:
        raise node.invalid("its attributes do not fit its weights")
    surplus = _surplus(node, padding, (kernel_size - 1) * dilation)
    require_features(node, tensor, 1, inputs_per_group * group)
    for axis in tensor.dims[2]:
        axis.require(Role.TIME, node)
        if axis.is_reversed:
            raise node.unsupported("it reads a sequence that was reversed", "a convolution cannot look ahead")
    weights = {"weight": weight}
    if (bias := optional(args, 2)) is not None:
        weights["bias"] = constant(node, bias, "bias")
    layer = Conv1d(
        name=build.name(node, "conv"),
        inputs=(tensor.rows[0].value,),
        input_size=inputs_per_group * group,
        output_size=output_size,
        kernel_size=kernel_size,
        dilation=dilation,
        groups=group,
        bias="bias" in weights,
    )
    name = build.add(layer, weights)
    feature = Axis(output_size, f"the feature axis of {name!r}", Role.FEATURE)
    result = tensor.with_row(Row(name)).with_dim(1, (feature,))
    if not surplus:
        return (result,)
    (time,) = tensor.dims[2] or (Axis(1, f"the timestep of {name!r}", Role.TIME),)
    longer = Axis(time.size + surplus, f"{time.where}, padded", Role.TIME, part_of=time)
    return (replace(result.with_dim(2, (longer,)), surplus=surplus, uncut=(time,)),)


def without_surplus(node: Node, args: Arguments, tensor: Tensor) -> Tensor:
    """Return what a Slice leaves of a Conv that padded on both sides: the timesteps that no later ones changed."""
    ((index, kept),) = slice_ranges(node, args, tensor.shape, [False] * len(tensor.dims)).items() or ((0, range(0)),)
    length = tensor.shape[index] - tensor.surplus
    if tensor.dims[index][:1] != tensor.dims[2][:1] or kept != range(length):
        raise node.unsupported(
            f"it keeps {kept} of a convolution that looks {tensor.surplus} timesteps ahead",
            "cut the last timesteps off, as many as the convolution pads, or pad on the left only",
        )
    return replace(tensor.with_dim(index, tensor.uncut), surplus=0, uncut=())


def _surplus(node: Node, padding: int, history: int) -> int:
    """Return how many timesteps a Conv writes behind the last one of its input; refuse one that looks ahead."""
    automatic = node.text("auto_pad", "NOTSET")
    before, after = (*node.integers("pads"), 0, 0)[:2]
    if automatic == "SAME_UPPER" and history == 0:
        automatic = "NOTSET"
    if automatic not in ("NOTSET", "VALID") or not 0 <= after <= history or padding + before != history:
        raise node.unsupported(
            f"expected padding by {history} timesteps before the first and none after the last, got {padding + before} "
            f"and {after}",
            "a convolution that looks ahead, or shortens the sequence, cannot run in a stream: pad on the left only, "
            "also instead of a history that is an input: the stream keeps it",
        )
    return after


def refuse_padding(node: Node, args: Arguments) -> None:
    """Raise UnsupportedError if a node reads a sequence that is padded before or behind."""
    if any(isinstance(value, Tensor) and value.padding for value in args):
        raise node.unsupported("it reads a padded sequence", "only a Conv may follow a Pad, or a Slice that delays")
    for value in args:
        refuse_cut(node, value)
    if any(isinstance(value, Tensor) and value.surplus for value in args):
        raise node.unsupported(
            "it reads a convolution that looks ahead, because it pads behind the last timestep",
            "cut the padding off the end of its output first, or pad on the left only",
        )


def refuse_cut(node: Node, value: Value | None) -> None:
    """Raise UnsupportedError if a sequence lacks its last timesteps."""
    if isinstance(value, Tensor) and value.is_cut:
        raise node.unsupported(
            "it reads a sequence without its last timesteps",
            "a stream gives one output for each input: put as many timesteps of zeros before it, or cut the output",
        )
