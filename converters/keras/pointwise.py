"""Layers that work on each timestep by itself: Dense, Embedding, normalizations, activations, and those that vanish."""

from __future__ import annotations

import numpy as np

from grurt.network import layers

from .activations import LAYERS, recipe
from .builder import Builder
from .hdf5 import Array
from .values import Arguments, Kind, Layer, Tensor

_VECTORS = (Kind.SEQUENCE, Kind.SINGLE)
_FEATURES_ONLY = "only the features of a timestep can be normalized"


def dense(layer: Layer, args: Arguments, build: Builder) -> tuple[Tensor, ...]:
    """``Dense``, also with an activation."""
    config = layer.config
    args.check_named(layer)
    tensor = build.value(layer, args.only(layer), *_VECTORS)
    units = config.integer("output_dim" if "output_dim" in config else "units")
    bias = config.boolean("bias" if "bias" in config else "use_bias", True)
    activation = recipe(layer, "activation", config.get("activation"))
    config.skip("init", "input_dim")
    config.policy()
    config.check_all_read()
    weights = layer.weights.take(layer.where, *(("kernel", "bias") if bias else ("kernel",)))
    if weights[0].shape != (tensor.size, units) or (bias and weights[1].shape != (units,)):
        raise layer.invalid(f"expected a kernel of shape ({tensor.size}, {units}), got {weights[0].shape}")
    made = layers.Linear(
        name=build.unique(layer.name), inputs=(tensor.value,), input_size=tensor.size, output_size=units, bias=bias
    )
    arrays = {"weight": weights[0].T} | ({"bias": weights[1]} if bias else {})
    return (tensor.with_value(build.activate(build.add(made, arrays), activation), units),)


def embedding(layer: Layer, args: Arguments, build: Builder) -> tuple[Tensor, ...]:
    """``Embedding``; with ``mask_zero``, token 0 is skipped by the layers behind it."""
    config = layer.config
    args.check_named(layer)
    tensor = args.only(layer)
    vocabulary, size = config.integer("input_dim"), config.integer("output_dim")
    config.skip("init", "W_regularizer", "input_length", "sparse")
    config.require("dropout", (0.0, 0, None), "it is for training only")
    mask_zero = config.boolean("mask_zero")
    config.policy()
    config.check_all_read()
    if tensor.kind is not Kind.FLAT or build.inputs[tensor.value].states or build.inputs[tensor.value].timed:
        raise layer.unsupported(
            f"{tensor.kind.value} as its input", "tokens must be an input of the model (batch, time)"
        )
    (weight,) = layer.weights.take(layer.where, "embeddings")
    if weight.shape != (vocabulary, size):
        raise layer.invalid(f"expected a matrix of shape ({vocabulary}, {size}), got {weight.shape}")
    build.tokens(layer, tensor.value, vocabulary)
    made = layers.Embedding(
        name=build.unique(layer.name), inputs=(tensor.value,), vocabulary_size=vocabulary, size=size
    )
    value = build.add(made, {"weight": weight})
    mask = build.mask(tensor.value, 0, tokens=True) if mask_zero else None
    return (Tensor(value, size, Kind.SEQUENCE, mask=mask),)


def masking(layer: Layer, args: Arguments, build: Builder) -> tuple[Tensor, ...]:
    """``Masking``: timesteps whose features all equal ``mask_value`` become zero, and are skipped by later layers."""
    tensor = build.value(layer, args.only(layer), Kind.SEQUENCE)
    value = layer.config.number("mask_value", 0.0)
    layer.config.policy()
    layer.config.check_all_read()
    mask = build.mask(tensor.value, value, tokens=False)
    masked = tensor.value if value == 0 else build.masked(tensor.value, tensor.size, mask)
    return (Tensor(masked, tensor.size, Kind.SEQUENCE, tensor.backwards, mask),)


def batch_normalization(layer: Layer, args: Arguments, build: Builder) -> tuple[Tensor, ...]:
    """``BatchNormalization`` with its stored statistics."""
    config = layer.config
    tensor = build.value(layer, args.only(layer), *_VECTORS)
    _require_last_axis(layer, tensor)
    config.require("mode", (0, None), "only statistics of each feature are supported")
    config.require("renorm", (False, None), "train without renorm")
    config.require("virtual_batch_size", (None,), "train without virtual batches")
    config.skip("momentum", "fused", "synchronized", "adjustment", "beta_init", "gamma_init", "renorm_clipping")
    config.skip("renorm_momentum")
    scale, center = config.boolean("scale", True), config.boolean("center", True)
    epsilon = config.number("epsilon", 1e-3)
    config.policy()
    config.check_all_read()
    names = ["gamma"] * scale + ["beta"] * center + ["moving_mean", "moving_variance"]
    arrays = dict(zip(names, layer.weights.take(layer.where, *names), strict=True))
    _check_vectors(layer, tensor.size, arrays)
    weights = {
        "mean": arrays["moving_mean"],
        "variance": arrays["moving_variance"],
        "weight": arrays.get("gamma", np.ones(tensor.size, np.float32)),
        "bias": arrays.get("beta", np.zeros(tensor.size, np.float32)),
    }
    made = layers.BatchNorm(name=build.unique(layer.name), inputs=(tensor.value,), size=tensor.size, epsilon=epsilon)
    return (tensor.with_value(build.add(made, weights)),)


def layer_normalization(layer: Layer, args: Arguments, build: Builder) -> tuple[Tensor, ...]:
    """``LayerNormalization`` over the features of a timestep."""
    config = layer.config
    tensor = build.value(layer, args.only(layer), *_VECTORS)
    _require_last_axis(layer, tensor)
    config.require("rms_scaling", (False, None), "grurt has no root-mean-square normalization")
    scale, center = config.boolean("scale", True), config.boolean("center", True)
    epsilon = config.number("epsilon", 1e-3)
    config.policy()
    config.check_all_read()
    names = ["gamma"] * scale + ["beta"] * center
    arrays = dict(zip(names, layer.weights.take(layer.where, *names), strict=True)) if names else {}
    _check_vectors(layer, tensor.size, arrays)
    if center and not scale:
        arrays["gamma"] = np.ones(tensor.size, np.float32)
    made = layers.LayerNorm(
        name=build.unique(layer.name),
        inputs=(tensor.value,),
        size=tensor.size,
        epsilon=epsilon,
        weight="gamma" in arrays,
        bias=center,
    )
    grurt_names = {"gamma": "weight", "beta": "bias"}
    return (tensor.with_value(build.add(made, {grurt_names[name]: array for name, array in arrays.items()})),)


def activation(layer: Layer, args: Arguments, build: Builder) -> tuple[Tensor, ...]:
    """``Activation``, and the activations that are layers of their own."""
    args.check_named(layer)
    tensor = build.value(layer, args.only(layer), *_VECTORS)
    layer.config.policy()
    if layer.kind == "Softmax" and tensor.mask is not None:
        raise layer.unsupported("a masked sequence as its input", "use Activation('softmax'), which ignores the mask")
    if layer.kind in LAYERS:
        found = LAYERS[layer.kind](layer.config)
    else:
        found = recipe(layer, "activation", layer.config.get("activation"))
    layer.config.check_all_read()
    return (tensor.with_value(build.activate(tensor.value, found)),)


def prelu(layer: Layer, args: Arguments, build: Builder) -> tuple[Tensor, ...]:
    """``PReLU`` with one slope for each feature: ``shared_axes=[1]`` for a sequence."""
    tensor = build.value(layer, args.only(layer), *_VECTORS)
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


def vanish(layer: Layer, args: Arguments, build: Builder) -> tuple[Tensor, ...]:
    """Layers that do nothing in inference: Dropout and its kin."""
    args.check_named(layer)
    layer.config.skip("rate", "p", "noise_shape", "stddev", "sigma", "data_format", "l1", "l2")
    layer.config.policy()
    layer.config.check_all_read()
    return (args.only(layer),)


def _require_last_axis(layer: Layer, tensor: Tensor) -> None:
    axis = layer.config.get("axis", -1)
    if isinstance(axis, list) and len(axis) == 1:
        axis = axis[0]
    if axis not in ((-1, 2) if tensor.kind is Kind.SEQUENCE else (-1, 1)):
        raise layer.unsupported(f"axis={str(axis)[:100]}", _FEATURES_ONLY)


def _check_vectors(layer: Layer, size: int, arrays: dict[str, Array]) -> None:
    for name, array in arrays.items():
        if array.shape != (size,):
            raise layer.invalid(f"expected {name} of shape ({size},), got {array.shape}")
