"""Normalizations of the features of a timestep."""

from __future__ import annotations

import numpy as np

from grurt.array_types import Array
from grurt.converters.keras.builder import Builder
from grurt.converters.keras.handlers import converts, refuses
from grurt.converters.keras.values import VECTORS, Arguments, Kind, Layer, Tensor
from grurt.network import layers

_FEATURES_ONLY = "only the features of a timestep can be normalized"

refuses(
    *("GroupNormalization", "UnitNormalization"),
    because="grurt has batch, layer and RMS normalization; use one of them",
)
refuses(
    *("Normalization", "Rescaling"),
    because="scale the inputs before the model, or with a BatchNormalization layer",
)


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


@converts("RMSNormalization")
def rms_normalization(layer: Layer, args: Arguments, build: Builder) -> tuple[Tensor, ...]:
    """``RMSNormalization`` over the features of a timestep."""
    config = layer.config
    tensor = build.value(layer, args.only(layer), *VECTORS)
    _require_last_axis(layer, tensor)
    epsilon = config.number("epsilon", 1e-6)
    config.policy()
    config.check_all_read()
    (scale,) = layer.weights.take(layer.where, "scale")
    _check_vectors(layer, tensor.size, {"scale": scale})
    made = layers.RMSNorm(name=build.unique(layer.name), inputs=(tensor.value,), size=tensor.size, epsilon=epsilon)
    return (tensor.with_value(build.add(made, {"weight": scale})),)


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
