"""Convolutions and pooling over time, of any padding and stride, as the layers that compute them.

What looks back only is a causal `Conv1d`, or consists of delays, and streams. All else has an `Unfold`, behind which
another sequence begins: a convolution of stride 1 is the causal one on a sequence that is padded behind its end, of
whose outputs the first are left out; one that strides is a product with windows of timesteps.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import msgspec
import numpy as np

from grurt.array_types import Array
from grurt.converters.layer_builder import LayerBuilder
from grurt.network.delay_lines import finite_delay
from grurt.network.functions import Affine
from grurt.network.layers import Add, AnyLayer, Binary, Constant, Conv1d, Linear, Reduce, Slice, Unfold

Padding = tuple[int, int] | Literal["same", "same_lower"]

Combine = Callable[[str, tuple[str, ...]], AnyLayer]
"""Makes an operation, from its name and the values that it reads."""

MAX_TAPS = 1024
"""The most timesteps of a window whose timesteps are combined one by one: each takes a layer of its own."""

MAX_INPUTS = Add.max_inputs

LOWEST = -float(np.finfo(np.float32).max)


@dataclass(frozen=True)
class Window:
    """What a convolution or a pool reads of a sequence: see `grurt.Unfold`."""

    kernel_size: int = 1
    stride: int = 1
    dilation: int = 1
    padding: Padding = (0, 0)

    @property
    def history(self) -> int:
        """How many timesteps lie between the first and the last one of a window."""
        return (self.kernel_size - 1) * self.dilation

    @property
    def is_causal(self) -> bool:
        """Whether there is a window for each timestep, of that and earlier ones."""
        return self.stride == 1 and self.fixed == (self.history, 0)

    @property
    def fixed(self) -> tuple[int, int] | None:
        """The padding in numbers of timesteps; None where they depend on how many there are."""
        if not isinstance(self.padding, str):
            return self.padding
        if self.stride > 1:
            return None
        less, more = self.history // 2, -(-self.history // 2)
        return (less, more) if self.padding == "same" else (more, less)

    def layer(self, name: str, source: str, fill: float = 0.0) -> Unfold:
        """Return the layer that gives such windows of a value side by side."""
        return Unfold(
            name=name,
            inputs=(source,),
            kernel_size=self.kernel_size,
            stride=self.stride,
            dilation=self.dilation,
            padding=self.fixed or self.padding,
            fill=fill,
        )

    def of(self, build: LayerBuilder, value: str, name: str, fill: float = 0.0) -> str:
        """Return the windows of a value side by side."""
        return build.add(self.layer(build.unique(f"{name}.windows"), value, fill))


def padded(build: LayerBuilder, value: str, before: int, after: int, name: str) -> str:
    """Return a value with timesteps of zeros before the first one and behind the last; negative numbers cut off."""
    if not before and not after:
        return value
    return build.add(Unfold(name=build.unique(name), inputs=(value,), padding=(before, after)))


def convolution(build: LayerBuilder, layer: Conv1d, weights: dict[str, Array], window: Window) -> str:
    """Return the value of a convolution.

    Parameters
    ----------
    build
        Where layers are added.
    layer
        The convolution as if it were causal: its sizes, groups, kernel size and dilation.
    weights
        Its weights.
    window
        What it reads.
    """
    (source,) = layer.inputs
    padding = window.fixed
    if window.stride > 1 and layer.groups > 1:
        return _in_taps(build, layer, weights, window)
    if window.stride > 1 or padding is None:
        weight = weights["weight"].transpose(0, 2, 1).reshape(layer.output_size, -1)
        product = Linear(
            name=layer.name,
            inputs=(window.of(build, source, layer.name),),
            input_size=weight.shape[1],
            output_size=layer.output_size,
            bias=layer.bias,
        )
        return build.add(product, weights | {"weight": weight})
    before, after = padding
    source = padded(build, source, max(0, before - window.history), after, f"{layer.name}.padded")
    value = build.add(msgspec.structs.replace(layer, inputs=(source,)), weights)
    return padded(build, value, min(0, before - window.history), 0, f"{layer.name}.ahead")


def _in_taps(build: LayerBuilder, layer: Conv1d, weights: dict[str, Array], window: Window) -> str:
    """Return the value of a convolution in groups as the sum of one for each timestep of its windows."""
    (source,) = layer.inputs
    windows = window.of(build, source, layer.name)
    values = []
    for tap, part in enumerate(taps(build, windows, layer.input_size, window.kernel_size)):
        one = Conv1d(
            name=build.unique(f"{layer.name}.tap{tap}") if window.kernel_size > 1 else layer.name,
            inputs=(part,),
            input_size=layer.input_size,
            output_size=layer.output_size,
            kernel_size=1,
            groups=layer.groups,
            bias=layer.bias and tap == 0,
        )
        own = {"weight": weights["weight"][:, :, tap : tap + 1]}
        values.append(build.add(one, own | ({"bias": weights["bias"]} if one.bias else {})))
    return combined(build, values, layer.name, lambda name, inputs: Add(name=name, inputs=inputs))


def maximum(build: LayerBuilder, value: str, size: int, window: Window, name: str) -> str:
    """Return the largest of each feature in every window; timesteps outside of the sequence are not looked at."""
    windows = window.of(build, value, name, fill=LOWEST)
    parts = taps(build, windows, size, window.kernel_size)
    return combined(build, parts, name, lambda made, inputs: Binary(name=made, inputs=inputs, operation="max"))


def running_maximum(build: LayerBuilder, value: str, size: int, window: Window, name: str) -> str:
    """Return the largest of each feature in the latest timesteps, zeros before the first among them, which streams."""
    parts = [value]
    for _ in range(window.kernel_size - 1):
        parts.append(delayed(build, parts[-1], size, window.dilation, build.unique(f"{name}.delay")))
    return combined(build, parts, name, lambda made, inputs: Binary(name=made, inputs=inputs, operation="max"))


def delayed(build: LayerBuilder, value: str, size: int, steps: int, name: str) -> str:
    """Return a value as it was some timesteps before, zeros at first."""
    layer, weight = finite_delay(name, value, size, steps)
    return build.add(layer, {"weight": weight})


def average(
    build: LayerBuilder,
    value: str,
    size: int,
    window: Window,
    name: str,
    *,
    beyond: int = 0,
    count_padding: bool = True,
) -> str:
    """Return the mean of each feature in every window.

    Parameters
    ----------
    build, value, size
        Where layers are added; what is read, and how many features it has.
    window
        The windows.
    name
        Of the last of the layers.
    beyond
        Of how many timesteps behind the last one of ``window.padding`` windows may hold some, which never count.
    count_padding
        Whether timesteps of the padding count as zeros; otherwise a mean is that of the timesteps that there are.
    """
    if window.is_causal and count_padding and not beyond:
        return _moving_average(build, value, size, window, name)
    is_padded = window.padding != (0, 0) or beyond
    if not is_padded or (count_padding and not beyond):
        total = _total(build, value, size, window, build.unique(f"{name}.sum"))
        return build.function(total, Affine(1 / window.kernel_size, 0.0), name)
    total = _total(build, value, size, longer(window, beyond), build.unique(f"{name}.sum"))
    layer = Constant(name=build.unique(f"{name}.one"), inputs=(value,), size=1)
    ones = build.add(layer, {"weight": np.ones(1, np.float32)})
    if count_padding:
        fill = Unfold(name=build.unique(f"{name}.ones"), inputs=(ones,), padding=window.fixed or (0, 0), fill=1.0)
        ones, window = build.add(fill), replace(window, padding=(0, 0))
    counted = longer(window, beyond).of(build, ones, f"{name}.count")
    count = build.add(Reduce(name=build.unique(f"{name}.count"), inputs=(counted,), operation="sum"))
    return build.add(Binary(name=name, inputs=(total, build.repeated(count, size)), operation="div"))


def longer(window: Window, beyond: int) -> Window:
    """Return a window that may reach so many timesteps further behind the last one."""
    if not beyond or window.fixed is None:
        return window
    before, after = window.fixed
    return replace(window, padding=(before, after + beyond))


def _moving_average(build: LayerBuilder, value: str, size: int, window: Window, name: str) -> str:
    """Return the mean of the latest timesteps, zeros before the first among them: a depthwise convolution."""
    layer = Conv1d(
        name=name,
        inputs=(value,),
        input_size=size,
        output_size=size,
        kernel_size=window.kernel_size,
        dilation=window.dilation,
        groups=size,
        bias=False,
    )
    weight = np.broadcast_to(np.float32(1 / window.kernel_size), (size, 1, window.kernel_size))
    return build.add(layer, {"weight": weight})


def _total(build: LayerBuilder, value: str, size: int, window: Window, name: str) -> str:
    parts = taps(build, window.of(build, value, name), size, window.kernel_size)
    return combined(build, parts, name, lambda made, inputs: Add(name=made, inputs=inputs))


def taps(build: LayerBuilder, windows: str, size: int, kernel_size: int) -> list[str]:
    """Return the timesteps that windows hold side by side, each of so many features."""
    if kernel_size == 1:
        return [windows]
    return [
        build.add(
            Slice(name=build.unique(f"{windows}.{tap}"), inputs=(windows,), start=tap * size, stop=(tap + 1) * size)
        )
        for tap in range(kernel_size)
    ]


def combined(build: LayerBuilder, values: Sequence[str], name: str, make: Combine) -> str:
    """Return what an operation, of two values or more up to its limit, makes of all values, first to last."""
    first, *rest = values
    for start in range(0, len(rest), MAX_INPUTS - 1):
        part = rest[start : start + MAX_INPUTS - 1]
        is_last = start + len(part) == len(rest)
        first = build.add(make(name if is_last else build.unique(f"{name}.part"), (first, *part)))
    return first
