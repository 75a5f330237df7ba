"""Layers that do the same to each timestep: activations, masks, and those that vanish."""

from __future__ import annotations

from grurt.converters.keras.activations import LAYERS, composite
from grurt.converters.keras.builder import Builder
from grurt.converters.keras.features import require_features
from grurt.converters.keras.handlers import converts
from grurt.converters.keras.values import VECTORS, Arguments, Kind, Layer, Tensor
from grurt.network import layers


@converts("Masking")
def masking(layer: Layer, args: Arguments, build: Builder) -> tuple[Tensor, ...]:
    """``Masking``: timesteps whose features all equal ``mask_value`` become zero, and are skipped by later layers."""
    tensor = build.value(layer, args.only(layer), Kind.SEQUENCE)
    value = layer.config.number("mask_value", 0.0)
    layer.config.policy()
    layer.config.check_all_read()
    mask = build.mask(tensor.value, value, tokens=False)
    masked = tensor.value if value == 0 else build.masked(tensor.value, tensor.size, mask)
    return (Tensor(masked, tensor.size, Kind.SEQUENCE, tensor.backwards, mask),)


@converts("Activation", *LAYERS)
def activation(layer: Layer, args: Arguments, build: Builder) -> tuple[Tensor, ...]:
    """``Activation``, and the activations that are layers of their own."""
    args.check_named(layer)
    tensor = build.value(layer, args.only(layer), *VECTORS, Kind.TURNED)
    layer.config.policy()
    if layer.kind == "Softmax":
        tensor = build.value(layer, tensor, *VECTORS)
        require_features(layer, tensor)
    if layer.kind == "Softmax" and tensor.mask is not None:
        raise layer.unsupported("a masked sequence as its input", "use Activation('softmax'), which ignores the mask")
    if layer.kind in LAYERS:
        found = LAYERS[layer.kind](layer.config)
    else:
        found = composite(layer, "activation", layer.config.get("activation"))
    if tensor.kind is Kind.TURNED and not found.is_elementwise:
        raise layer.unsupported("features before timesteps as its input", "swap them back before it")
    layer.config.check_all_read()
    return (tensor.with_value(build.activate(tensor.value, found)),)


@converts("PReLU")
def prelu(layer: Layer, args: Arguments, build: Builder) -> tuple[Tensor, ...]:
    """``PReLU`` with one slope for each feature: ``shared_axes=[1]`` for a sequence."""
    tensor = build.value(layer, args.only(layer), *VECTORS)
    layer.config.skip("shared_axes", "init", "weights")
    layer.config.policy()
    layer.config.check_all_read()
    (slopes,) = layer.weights.take(layer.where, "alpha")
    if slopes.size != tensor.size or slopes.shape[-1:] != (tensor.size,):
        raise layer.unsupported(
            f"slopes of shape {slopes.shape}", "use shared_axes=[1], so that all timesteps have the same slopes"
        )
    made = layers.PRelu(name=build.unique(layer.name), inputs=(tensor.value,), size=tensor.size)
    return (tensor.with_value(build.add(made, {"weight": slopes.reshape(-1)})),)


@converts("Dropout", "SpatialDropout1D", "AlphaDropout", "GaussianDropout", "GaussianNoise")
@converts("ActivityRegularization", "Identity")
def vanish(layer: Layer, args: Arguments, build: Builder) -> tuple[Tensor, ...]:
    """Layers that do nothing in inference: Dropout and its kin."""
    args.check_named(layer)
    layer.config.skip("rate", "p", "noise_shape", "stddev", "sigma", "data_format", "l1", "l2")
    layer.config.policy()
    layer.config.check_all_read()
    return (args.only(layer),)
