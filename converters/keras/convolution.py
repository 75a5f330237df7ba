"""Conv1D and its kin, and moving averages: causal ones, which look back in time only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from grurt.array_types import Array
from grurt.converters.activations import Composite
from grurt.converters.keras.activations import composite
from grurt.converters.keras.builder import Builder
from grurt.converters.keras.handlers import converts, refuses
from grurt.converters.keras.values import Arguments, Kind, Layer, Tensor
from grurt.network import layers

refuses(
    "Convolution1D",
    because="a convolution of Keras 1 cannot be causal; train the layer as Conv1D with padding='causal'",
)


@converts("Conv1D")
def conv1d(layer: Layer, args: Arguments, build: Builder) -> tuple[Tensor, ...]:
    """``Conv1D`` that looks back only, or at one timestep. The mask ends here, as in Keras."""
    config = layer.config
    kernel_size, dilation = config.integer("kernel_size"), config.integer("dilation_rate", 1)
    tensor = _causal_input(layer, args, build, kernel_size, dilation)
    filters, groups = config.integer("filters"), config.integer("groups", 1)
    bias, activation = _bias_and_activation(layer)
    arrays = _weights(layer, "kernel", bias=bias)
    _check_shape(layer, "kernel", arrays, (kernel_size, tensor.size // groups, filters))
    made = layers.Conv1d(
        name=build.unique(layer.name),
        inputs=(tensor.value,),
        input_size=tensor.size,
        output_size=filters,
        kernel_size=kernel_size,
        dilation=dilation,
        groups=groups,
        bias=bias,
    )
    value = build.add(made, {"weight": arrays["kernel"].transpose(2, 1, 0)} | _bias(layer, arrays, filters))
    return (_behind(tensor, build.activate(value, activation), filters),)


@converts("DepthwiseConv1D")
def depthwise_conv1d(layer: Layer, args: Arguments, build: Builder) -> tuple[Tensor, ...]:
    """``DepthwiseConv1D``: ``depth_multiplier`` convolutions of every feature by itself."""
    config = layer.config
    kernel_size, dilation = config.integer("kernel_size"), config.integer("dilation_rate", 1)
    tensor = _causal_input(layer, args, build, kernel_size, dilation)
    multiplier = config.integer("depth_multiplier", 1)
    config.require("groups", (1,), "a depthwise convolution has a group for each feature")
    bias, activation = _bias_and_activation(layer)
    arrays = _weights(layer, "kernel", bias=bias)
    _check_shape(layer, "kernel", arrays, (kernel_size, tensor.size, multiplier))
    size = tensor.size * multiplier
    made = _depthwise(build.unique(layer.name), tensor, size, kernel_size, dilation, bias=bias)
    value = build.add(made, {"weight": _depthwise_weight(arrays["kernel"])} | _bias(layer, arrays, size))
    return (_behind(tensor, build.activate(value, activation), size),)


@converts("SeparableConv1D")
def separable_conv1d(layer: Layer, args: Arguments, build: Builder) -> tuple[Tensor, ...]:
    """``SeparableConv1D``: a depthwise convolution, and a product with a matrix behind it."""
    config = layer.config
    kernel_size, dilation = config.integer("kernel_size"), config.integer("dilation_rate", 1)
    tensor = _causal_input(layer, args, build, kernel_size, dilation)
    filters, multiplier = config.integer("filters"), config.integer("depth_multiplier", 1)
    config.require("groups", (1,), "a separable convolution has a group for each feature")
    bias, activation = _bias_and_activation(layer)
    arrays = _weights(layer, "depthwise_kernel", "pointwise_kernel", bias=bias)
    size = tensor.size * multiplier
    _check_shape(layer, "depthwise_kernel", arrays, (kernel_size, tensor.size, multiplier))
    _check_shape(layer, "pointwise_kernel", arrays, (1, size, filters))
    name = build.unique(f"{layer.name}.depthwise")
    depthwise = _depthwise(name, tensor, size, kernel_size, dilation, bias=False)
    mixed = layers.Linear(
        name=build.unique(layer.name),
        inputs=(build.add(depthwise, {"weight": _depthwise_weight(arrays["depthwise_kernel"])}),),
        input_size=size,
        output_size=filters,
        bias=bias,
    )
    value = build.add(mixed, {"weight": arrays["pointwise_kernel"][0].T} | _bias(layer, arrays, filters))
    return (_behind(tensor, build.activate(value, activation), filters),)


@converts("ZeroPadding1D")
def zero_padding1d(layer: Layer, args: Arguments, build: Builder) -> tuple[Tensor, ...]:
    """``ZeroPadding1D((n, 0))``, which makes a convolution or an average behind it causal. The mask ends here."""
    tensor = build.value(layer, args.only(layer), Kind.SEQUENCE, padded=True)
    padding = layer.config.get("padding", 1)
    layer.config.require("data_format", ("channels_last", None), "use data_format='channels_last'")
    layer.config.policy()
    layer.config.check_all_read()
    sides = padding if isinstance(padding, list) else [padding, padding]
    if len(sides) != 2 or not all(type(side) is int and side >= 0 for side in sides):
        raise layer.config.invalid("padding", "two numbers of timesteps", padding)
    if sides[1] or tensor.backwards:
        raise layer.unsupported(
            f"padding={str(padding)[:100]}, zeros behind the last timestep",
            "pad with ((k - 1) * dilation, 0), so that what follows can stream",
        )
    return (replace(tensor, padding=tensor.padding + sides[0], mask=None),)


@converts("AveragePooling1D")
def average_pooling1d(layer: Layer, args: Arguments, build: Builder) -> tuple[Tensor, ...]:
    """``AveragePooling1D`` with ``strides=1``, behind a ``ZeroPadding1D`` that makes it causal: a moving average."""
    pool_size = layer.config.integer("pool_size", 2)
    if layer.config.get("strides") is None and pool_size > 1:
        raise layer.unsupported(f"strides={pool_size}, as many as its pool_size", _ONE_FOR_EACH)
    tensor = _causal_input(layer, args, build, pool_size, 1)
    layer.config.policy()
    layer.config.check_all_read()
    made = _depthwise(build.unique(layer.name), tensor, tensor.size, pool_size, 1, bias=False)
    weight = build.filled(layer, (tensor.size, 1, pool_size), 1 / pool_size)
    return (_behind(tensor, build.add(made, {"weight": weight}), tensor.size),)


_ONE_FOR_EACH = "a stream gives one output for each input: use strides=1"


def _causal_input(layer: Layer, args: Arguments, build: Builder, kernel_size: int, dilation: int) -> Tensor:
    """Return the input of a convolution that gives one timestep for each, from that and earlier ones."""
    config = layer.config
    args.check_named(layer)
    tensor = build.value(layer, args.only(layer), Kind.SEQUENCE, padded=True)
    config.require("strides", (1, [1], None), _ONE_FOR_EACH)
    config.require("data_format", ("channels_last", None), "use data_format='channels_last'")
    padding = config.get("padding", "valid")
    history = (kernel_size - 1) * dilation
    if padding == "same" and history and not tensor.padding:
        raise layer.unsupported("padding='same', which looks ahead", _CAUSAL)
    before = history if padding in ("causal", "same") else 0
    if padding not in ("causal", "same", "valid") or tensor.padding + before != history:
        given = f" behind {tensor.padding} timesteps of zeros" if tensor.padding else ""
        effect = "lengthens" if tensor.padding + before > history else "shortens"
        raise layer.unsupported(f"padding={str(padding)[:100]!r}{given}, which {effect} the sequence", _CAUSAL)
    if tensor.backwards and history:
        raise layer.unsupported(
            "a sequence that go_backwards=True has reversed as its input", "a convolution can only look back in time"
        )
    return replace(tensor, padding=0)


_CAUSAL = (
    "build the layer with padding='causal', so that it can stream, or put ZeroPadding1D(((k - 1) * dilation, 0)) "
    "before it and padding='valid'"
)


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


def _depthwise(
    name: str, tensor: Tensor, output_size: int, kernel_size: int, dilation: int, *, bias: bool
) -> layers.Conv1d:
    return layers.Conv1d(
        name=name,
        inputs=(tensor.value,),
        input_size=tensor.size,
        output_size=output_size,
        kernel_size=kernel_size,
        dilation=dilation,
        groups=tensor.size,
        bias=bias,
    )


def _depthwise_weight(kernel: Array) -> Array:
    """Return a kernel ``(kernel_size, features, depth_multiplier)`` as a convolution with a group for each feature."""
    return kernel.transpose(1, 2, 0).reshape(-1, 1, len(kernel))


def _behind(tensor: Tensor, value: str, size: int) -> Tensor:
    """Return what a convolution makes of a tensor: the mask ends at it."""
    return Tensor(value, size, Kind.SEQUENCE, tensor.backwards)
