"""Windows of timesteps: what convolutions and pooling read, and padding and cropping before them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from grurt.converters import windows
from grurt.converters.keras.builder import Builder
from grurt.converters.keras.handlers import converts
from grurt.converters.keras.values import Arguments, Kind, Layer, Tensor
from grurt.converters.windows import Padding, Window


@converts("ZeroPadding1D")
def zero_padding1d(layer: Layer, args: Arguments, build: Builder) -> tuple[Tensor, ...]:
    """``ZeroPadding1D``: before the first timestep, it may make what follows causal. The mask ends here."""
    tensor, before, after = _at_both_ends(layer, args, build, "padding")
    if after or tensor.backwards:
        return (_longer(layer, build, tensor, tensor.padding + before, after),)
    return (replace(tensor, padding=tensor.padding + before, mask=None),)


@converts("Cropping1D")
def cropping1d(layer: Layer, args: Arguments, build: Builder) -> tuple[Tensor, ...]:
    """``Cropping1D``: timesteps are left out at both ends. The mask ends here."""
    tensor, before, after = _at_both_ends(layer, args, build, "cropping")
    return (_longer(layer, build, tensor, tensor.padding - before, -after),)


@converts("MaxPooling1D", "MaxPool1D")
def max_pooling1d(layer: Layer, args: Arguments, build: Builder) -> tuple[Tensor, ...]:
    """``MaxPooling1D``. The mask ends here, as in Keras."""
    size, is_valid = layer.config.integer("pool_size", 2), layer.config.get("padding", "valid") == "valid"
    looks_back = is_valid and args.only(layer).padding == size - 1 > 0 and layer.config.get("strides") in (1, [1])
    tensor, window = _pool(layer, args, build, zeros_count=looks_back)
    if window == Window():  # which changes nothing
        return (behind(tensor, tensor.value, tensor.size),)
    maximum = windows.running_maximum if looks_back else windows.maximum
    value = maximum(build, tensor.value, tensor.size, window, build.unique(layer.name))
    return (behind(tensor, value, tensor.size),)


@converts("AveragePooling1D", "AvgPool1D")
def average_pooling1d(layer: Layer, args: Arguments, build: Builder) -> tuple[Tensor, ...]:
    """``AveragePooling1D``, of the timesteps that there are. The mask ends here, as in Keras."""
    tensor, window = _pool(layer, args, build, zeros_count=layer.config.get("padding", "valid") == "valid")
    size = window.kernel_size
    if isinstance(window.padding, str) and size > 2 and (window.stride > 1 or size % 2 == 0):
        raise layer.unsupported(
            f"padding='same' with pool_size={size} and strides={window.stride}, of which Keras's backends compute "
            "different means at the end",
            "use padding='valid'",
        )
    counts = not isinstance(window.padding, str)
    name = build.unique(layer.name)
    value = windows.average(build, tensor.value, tensor.size, window, name, count_padding=counts)
    return (behind(tensor, value, tensor.size),)


def read_window(
    layer: Layer,
    args: Arguments,
    build: Builder,
    kernel_size: int,
    stride: int,
    dilation: int,
    *,
    zeros_count: bool = True,
) -> tuple[Tensor, Window]:
    """Return the input of a layer, and what it reads of that.

    The zeros before the input are a part of its windows, where its own padding counts as zeros, too.
    """
    config = layer.config
    args.check_named(layer)
    tensor = build.value(layer, args.only(layer), Kind.SEQUENCE, padded=True)
    config.require("data_format", ("channels_last", None), "use data_format='channels_last'")
    given = config.get("padding", "valid")
    explicit: dict[object, Padding] = {"valid": (0, 0), "same": "same", "causal": ((kernel_size - 1) * dilation, 0)}
    if not isinstance(given, str) or given not in explicit:
        raise config.invalid("padding", "'valid', 'same' or 'causal'", given)
    window = Window(kernel_size, stride, dilation, explicit[given])
    if tensor.backwards and window != Window():
        raise layer.unsupported(
            "a sequence that go_backwards=True has reversed as its input", "reverse the sequence back first"
        )
    if not tensor.padding:
        return tensor, window
    if window.fixed is None or not zeros_count:
        return build.value(layer, tensor, Kind.SEQUENCE), window
    before, after = window.fixed
    return replace(tensor, padding=0), replace(window, padding=(tensor.padding + before, after))


def slice_of_timesteps(bounds: object) -> Window | None:
    """Return the window by which a slice keeps timesteps; None where it depends on how many there are."""
    values = [bounds.get(key) for key in ("start", "stop", "step")] if isinstance(bounds, Mapping) else [True]
    if not all(value is None or type(value) is int for value in values):
        return None
    start, stop, step = values[0] or 0, values[1] or 0, 1 if values[2] is None else values[2]
    if start < 0 or stop > 0 or step < 1 or values[1] == 0:
        return None
    return Window(stride=step, padding=(-start, stop))


def resampled(tensor: Tensor, window: Window, build: Builder) -> Tensor:
    """Return some of a sequence's timesteps, in Keras's order."""
    before, after = window.fixed or (0, 0)
    if tensor.backwards:
        window = replace(window, padding=(after, before))
    layer = window.layer(build.unique(f"{tensor.value}.timesteps"), tensor.value)
    return replace(tensor, value=build.add(layer), mask=None, state_of=None)


def behind(tensor: Tensor, value: str, size: int) -> Tensor:
    """Return what a layer makes of windows of a tensor: the mask ends at it."""
    return Tensor(value, size, Kind.SEQUENCE, tensor.backwards)


def _pool(layer: Layer, args: Arguments, build: Builder, *, zeros_count: bool) -> tuple[Tensor, Window]:
    size = layer.config.integer("pool_size", 2)
    stride = layer.config.integer("strides", size) if layer.config.get("strides") is not None else size
    found = read_window(layer, args, build, size, stride, 1, zeros_count=zeros_count)
    layer.config.policy()
    layer.config.check_all_read()
    return found


def _at_both_ends(layer: Layer, args: Arguments, build: Builder, key: str) -> tuple[Tensor, int, int]:
    """Return the input of a layer, and numbers of timesteps before its first one and behind its last one."""
    tensor = build.value(layer, args.only(layer), Kind.SEQUENCE, padded=True)
    given = layer.config.get(key, 1)
    layer.config.require("data_format", ("channels_last", None), "use data_format='channels_last'")
    layer.config.policy()
    layer.config.check_all_read()
    sides = given if isinstance(given, list) else [given, given]
    if len(sides) != 2 or not all(type(side) is int and side >= 0 for side in sides):
        raise layer.config.invalid(key, "two numbers of timesteps", given)
    return tensor, sides[0], sides[1]


def _longer(layer: Layer, build: Builder, tensor: Tensor, before: int, after: int) -> Tensor:
    """Return a tensor with timesteps put before and behind it, or left out, in Keras's order of the timesteps."""
    ends = (after, before) if tensor.backwards else (before, after)
    value = windows.padded(build, tensor.value, *ends, layer.name)
    return behind(tensor, value, tensor.size)
