"""Normalizations of the features of a timestep."""

from __future__ import annotations

import numpy as np

from grurt.array_types import Array
from grurt.converters.keras.builder import NOTHING, Builder
from grurt.converters.keras.handlers import converts
from grurt.converters.keras.values import VECTORS, Arguments, Kind, Layer, Tensor
from grurt.errors import DesignReason
from grurt.network import layers

_FEATURES_ONLY = "only the features of a timestep can be normalized"
_LEAST_DEVIATION = 1e-7
"""The least standard deviation that Keras divides by in ``Normalization``."""


@converts("BatchNormalization")
def batch_normalization(layer: Layer, args: Arguments, build: Builder) -> tuple[Tensor, ...]:
    """``BatchNormalization`` with its stored statistics."""
    config = layer.config
    tensor = build.value(layer, args.only(layer), *VECTORS)
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
    arrays = _vectors(layer, tensor.size, names)
    weights = {
        "mean": arrays["moving_mean"],
        "variance": arrays["moving_variance"],
        "weight": arrays.get("gamma", np.ones(tensor.size, np.float32)),
        "bias": arrays.get("beta", np.zeros(tensor.size, np.float32)),
    }
    return (tensor.with_value(build.normalized(layer, tensor, weights, epsilon)),)


@converts("LayerNormalization")
def layer_normalization(layer: Layer, args: Arguments, build: Builder) -> tuple[Tensor, ...]:
    """``LayerNormalization`` over the features of a timestep."""
    config = layer.config
    tensor = build.value(layer, args.only(layer), *VECTORS)
    _require_last_axis(layer, tensor)
    config.require(
        "rms_scaling", (False, None), "it divides by the deviation of what it does not center; use RMSNormalization"
    )
    scale, center = config.boolean("scale", True), config.boolean("center", True)
    epsilon = config.number("epsilon", 1e-3)
    config.policy()
    config.check_all_read()
    names = ["gamma"] * scale + ["beta"] * center
    arrays = _vectors(layer, tensor.size, names)
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


@converts("RMSNormalization")
def rms_normalization(layer: Layer, args: Arguments, build: Builder) -> tuple[Tensor, ...]:
    """``RMSNormalization`` over the features of a timestep."""
    config = layer.config
    tensor = build.value(layer, args.only(layer), *VECTORS)
    _require_last_axis(layer, tensor)
    epsilon = config.number("epsilon", 1e-6)
    config.policy()
    config.check_all_read()
    scale = _vectors(layer, tensor.size, ["scale"])["scale"]
    made = layers.RMSNorm(name=build.unique(layer.name), inputs=(tensor.value,), size=tensor.size, epsilon=epsilon)
    return (tensor.with_value(build.add(made, {"weight": scale})),)


@converts("UnitNormalization")
def unit_normalization(layer: Layer, args: Arguments, build: Builder) -> tuple[Tensor, ...]:
    """``UnitNormalization`` of the vector of a timestep: ``x / sqrt(sum(x * x))``, and 0 of zeros.

    Keras multiplies with 1e12 at most (1e6 before Keras 3), and the epsilon makes that the limit for short vectors.
    """
    tensor = build.value(layer, args.only(layer), *VECTORS)
    _require_last_axis(layer, tensor)
    layer.config.policy()
    layer.config.check_all_read()
    if layer.version.major < 3:
        build.note(f"{layer.where}: vectors shorter than 1e-6 come out longer than in Keras {layer.version.major}")
    name, epsilon = build.unique(layer.name), 1e-24 / tensor.size
    made = layers.RMSNorm(name=name, inputs=(tensor.value,), size=tensor.size, epsilon=epsilon)
    weight = build.filled(layer, (tensor.size,), tensor.size**-0.5)
    return (tensor.with_value(build.add(made, {"weight": weight})),)


@converts("GroupNormalization")
def group_normalization(layer: Layer, args: Arguments, build: Builder) -> tuple[Tensor, ...]:
    """``GroupNormalization`` of single vectors, also of each timestep's, inside of ``TimeDistributed``."""
    config = layer.config
    tensor = build.value(layer, args.only(layer), *VECTORS)
    _require_last_axis(layer, tensor)
    if tensor.kind is Kind.SEQUENCE:
        raise layer.unsupported(
            "a sequence as its input, over whose timesteps it takes the mean",
            "put it inside of TimeDistributed",
            DesignReason.WHOLE_SEQUENCE,
        )
    groups = config.get("groups", 32)
    groups = tensor.size if groups == -1 else config.integer("groups", 32)
    scale, center = config.boolean("scale", True), config.boolean("center", True)
    epsilon = config.number("epsilon", 1e-3)
    config.policy()
    config.check_all_read()
    if tensor.size % groups:
        raise layer.invalid(f"expected groups that divide {tensor.size} features, got {groups}")
    arrays = _vectors(layer, tensor.size, ["gamma"] * scale + ["beta"] * center)
    norm = layers.LayerNorm(
        name=build.unique(f"{layer.name}.norm"),
        inputs=(tensor.value,),
        size=tensor.size // groups,
        epsilon=epsilon,
        weight=False,
        bias=False,
    )
    value = build.in_groups(norm, groups)
    if not arrays:
        return (tensor.with_value(value),)
    gamma, beta = arrays.get("gamma", np.ones(1, np.float32)), arrays.get("beta", np.zeros(1, np.float32))
    return (build.scale_and_shift(layer, tensor.with_value(value), gamma, beta),)


@converts("Normalization")
def normalization(layer: Layer, args: Arguments, build: Builder) -> tuple[Tensor, ...]:
    """Take the mean of each feature off and divide by its deviation, adapted or given; or, inverted, the reverse."""
    config = layer.config
    tensor = build.value(layer, args.only(layer), *VECTORS)
    axis = config.get("axis", -1)
    axes = [] if axis is None else axis if isinstance(axis, list) else [axis]
    if len(axes) > 1 or not all(map(tensor.is_last_axis, axes)):
        raise layer.unsupported(f"axis={str(axis)[:100]}", _FEATURES_ONLY)
    inverted = config.boolean("invert")
    given = [config.numbers(key) for key in ("mean", "variance") if config.get(key) is not None]
    if len(given) == 1:
        raise layer.invalid("expected a mean and a variance, or neither, got one of them")
    config.policy()
    config.check_all_read()
    mean, variance, *_ = given or layer.weights.take(layer.where, "mean", "variance", "count")
    mean, variance = (_for_each_feature(layer, tensor, array, build) for array in (mean, variance))
    if (variance < 0).any():
        raise layer.invalid("expected a variance that is not negative")
    variance = np.maximum(variance, _LEAST_DEVIATION**2)
    if inverted:
        return (build.scale_and_shift(layer, tensor, np.sqrt(variance), mean),)
    ones, zeros = np.ones_like(mean), np.zeros_like(mean)
    weights = {"mean": mean, "variance": variance, "weight": ones, "bias": zeros}
    return (tensor.with_value(build.normalized(layer, tensor, weights, NOTHING)),)


@converts("Rescaling")
def rescaling(layer: Layer, args: Arguments, build: Builder) -> tuple[Tensor, ...]:
    """``Rescaling``: ``x * scale + offset``, with numbers for all features or for each."""
    tensor = build.value(layer, args.only(layer), *VECTORS)
    scale, offset = (layer.config.numbers(key, default) for key, default in (("scale", None), ("offset", 0.0)))
    layer.config.policy()
    layer.config.check_all_read()
    if scale.ndim or offset.ndim:
        scale, offset = (_for_each_feature(layer, tensor, array, build) for array in (scale, offset))
    return (build.scale_and_shift(layer, tensor, scale, offset),)


def _for_each_feature(layer: Layer, tensor: Tensor, array: Array, build: Builder) -> Array:
    if array.size not in (1, tensor.size) or array.shape[-1:] not in ((), (1,), (tensor.size,)):
        raise layer.invalid(f"expected numbers of shape ({tensor.size},), got {array.shape}")
    return build.filled(layer, (tensor.size,), array.reshape(-1))


def _require_last_axis(layer: Layer, tensor: Tensor) -> None:
    axis = layer.config.get("axis", -1)
    if not tensor.is_last_axis(axis[0] if isinstance(axis, list) and len(axis) == 1 else axis):
        raise layer.unsupported(f"axis={str(axis)[:100]}", _FEATURES_ONLY)


def _vectors(layer: Layer, size: int, names: list[str]) -> dict[str, Array]:
    """Return the weights of these names, a number for each feature."""
    arrays = dict(zip(names, layer.weights.take(layer.where, *names), strict=True)) if names else {}
    for name, array in arrays.items():
        if array.shape != (size,):
            raise layer.invalid(f"expected {name} of shape ({size},), got {array.shape}")
    return arrays
