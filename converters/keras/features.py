"""What functions of ``keras.ops`` work on: the features of a timestep, their last axis."""

from __future__ import annotations

from grurt.converters.keras.builder import Builder
from grurt.converters.keras.values import VECTORS, Arguments, Kind, Layer, Tensor
from grurt.errors import DesignReason


def with_features(layer: Layer, args: Arguments, build: Builder, key: str = "axis") -> Tensor:
    """Return the first argument of a function that works on its features, which ``key`` of its configuration says."""
    if not args.positional or not isinstance(args.positional[0], Tensor):
        raise layer.unsupported("arguments that are no tensors", "only tensors can be given to a layer")
    tensor = build.value(layer, args.positional[0], *VECTORS)
    require_features(layer, tensor, key)
    return tensor


def require_features(layer: Layer, tensor: Tensor, key: str = "axis") -> None:
    """Raise UnsupportedError if a function works on another axis than the features."""
    axis = layer.config.get(key, -1)
    if not tensor.is_last_axis(axis[0] if isinstance(axis, list) and len(axis) == 1 else axis):
        joins = tensor.kind is Kind.SEQUENCE and axis in (1, -2, [1], [-2])
        raise layer.config.unsupported(
            f"{key}={str(axis)[:100]}{', which is that of the time' if joins else ''}",
            f"a function can work on the features of a timestep: use {key}=-1",
            DesignReason.WHOLE_SEQUENCE if joins else None,
        )
