"""Conv1D and its kin, of any padding and stride."""

from __future__ import annotations

from collections.abc import Mapping

from grurt.array_types import Array
from grurt.converters import windows
from grurt.converters.activations import Composite
from grurt.converters.keras.activations import composite
from grurt.converters.keras.builder import Builder
from grurt.converters.keras.handlers import converts, refuses
from grurt.converters.keras.values import Arguments, Layer, Tensor
from grurt.converters.keras.windows import behind, read_window
from grurt.converters.windows import Window
from grurt.network import layers

refuses(
    "Convolution1D",
    because="a convolution of Keras 1 cannot be causal; train the layer as Conv1D with padding='causal'",
)


@converts("Conv1D")
def conv1d(layer: Layer, args: Arguments, build: Builder) -> tuple[Tensor, ...]:
    """``Conv1D``. The mask ends here, as in Keras."""
    config = layer.config
    tensor, window = _input(layer, args, build)
    filters, groups = config.integer("filters"), config.integer("groups", 1)
    bias, activation = _bias_and_activation(layer)
    arrays = _weights(layer, "kernel", bias=bias)
    _check_shape(layer, "kernel", arrays, (window.kernel_size, tensor.size // groups, filters))
    made = layers.Conv1d(
        name=build.unique(layer.name),
        inputs=(tensor.value,),
        input_size=tensor.size,
        output_size=filters,
        kernel_size=window.kernel_size,
        dilation=window.dilation,
        groups=groups,
        bias=bias,
    )
    weights = {"weight": arrays["kernel"].transpose(2, 1, 0)} | _bias(layer, arrays, filters)
    value = windows.convolution(build, made, weights, window)
    return (behind(tensor, build.activate(value, activation), filters),)


@converts("DepthwiseConv1D")
def depthwise_conv1d(layer: Layer, args: Arguments, build: Builder) -> tuple[Tensor, ...]:
    """``DepthwiseConv1D``: ``depth_multiplier`` convolutions of every feature by itself."""
    config = layer.config
    tensor, window = _input(layer, args, build)
    multiplier = config.integer("depth_multiplier", 1)
    config.require("groups", (1,), "a depthwise convolution has a group for each feature")
    bias, activation = _bias_and_activation(layer)
    arrays = _weights(layer, "kernel", bias=bias)
    _check_shape(layer, "kernel", arrays, (window.kernel_size, tensor.size, multiplier))
    size = tensor.size * multiplier
    made = _depthwise(build.unique(layer.name), tensor, size, window, bias=bias)
    weights = {"weight": _depthwise_weight(arrays["kernel"])} | _bias(layer, arrays, size)
    value = windows.convolution(build, made, weights, window)
    return (behind(tensor, build.activate(value, activation), size),)


@converts("SeparableConv1D")
def separable_conv1d(layer: Layer, args: Arguments, build: Builder) -> tuple[Tensor, ...]:
    """``SeparableConv1D``: a depthwise convolution, and a product with a matrix behind it."""
    config = layer.config
    tensor, window = _input(layer, args, build)
    filters, multiplier = config.integer("filters"), config.integer("depth_multiplier", 1)
    config.require("groups", (1,), "a separable convolution has a group for each feature")
    bias, activation = _bias_and_activation(layer)
    arrays = _weights(layer, "depthwise_kernel", "pointwise_kernel", bias=bias)
    size = tensor.size * multiplier
    _check_shape(layer, "depthwise_kernel", arrays, (window.kernel_size, tensor.size, multiplier))
    _check_shape(layer, "pointwise_kernel", arrays, (1, size, filters))
    name = build.unique(f"{layer.name}.depthwise")
    depthwise = _depthwise(name, tensor, size, window, bias=False)
    weight = _depthwise_weight(arrays["depthwise_kernel"])
    mixed = layers.Linear(
        name=build.unique(layer.name),
        inputs=(windows.convolution(build, depthwise, {"weight": weight}, window),),
        input_size=size,
        output_size=filters,
        bias=bias,
    )
    value = build.add(mixed, {"weight": arrays["pointwise_kernel"][0].T} | _bias(layer, arrays, filters))
    return (behind(tensor, build.activate(value, activation), filters),)


def _input(layer: Layer, args: Arguments, build: Builder) -> tuple[Tensor, Window]:
    """Return the input of a convolution, and what it reads of that."""
    config = layer.config
    dilation = config.integer("dilation_rate", 1)
    return read_window(layer, args, build, config.integer("kernel_size"), config.integer("strides", 1), dilation)


def _bias_and_activation(layer: Layer) -> tuple[bool, Composite]:
    """Read the last of a convolution's arguments."""
    bias = layer.config.boolean("use_bias", True)
    activation = composite(layer, "activation", layer.config.get("activation"))
    layer.config.policy()
    layer.config.check_all_read()
    return bias, activation


def _weights(layer: Layer, *kernels: str, bias: bool) -> Mapping[str, Array]:
    names = (*kernels, "bias") if bias else kernels
    return dict(zip(names, layer.weights.take(layer.where, *names), strict=True))


def _check_shape(layer: Layer, name: str, arrays: Mapping[str, Array], expected: tuple[int, ...]) -> None:
    if arrays[name].shape != expected:
        raise layer.invalid(f"expected a {name} of shape {expected}, got {arrays[name].shape}")


def _bias(layer: Layer, arrays: Mapping[str, Array], size: int) -> dict[str, Array]:
    if "bias" not in arrays:
        return {}
    _check_shape(layer, "bias", arrays, (size,))
    return {"bias": arrays["bias"]}


def _depthwise(name: str, tensor: Tensor, output_size: int, window: Window, *, bias: bool) -> layers.Conv1d:
    return layers.Conv1d(
        name=name,
        inputs=(tensor.value,),
        input_size=tensor.size,
        output_size=output_size,
        kernel_size=window.kernel_size,
        dilation=window.dilation,
        groups=tensor.size,
        bias=bias,
    )


def _depthwise_weight(kernel: Array) -> Array:
    """Return a kernel ``(kernel_size, features, depth_multiplier)`` as a convolution with a group for each feature."""
    return kernel.transpose(1, 2, 0).reshape(-1, 1, len(kernel))
