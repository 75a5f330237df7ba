"""Shapes: those of the inputs, and the few layers that change shapes without moving numbers between timesteps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from grurt.converters.keras.builder import Builder
from grurt.converters.keras.handlers import converts, reason_against
from grurt.converters.keras.values import Arguments, Kind, Layer, Tensor

_SHAPE_KEYS = ("batch_shape", "batch_input_shape")


def input_shape(model: Layer, described: Mapping[str, Any], name: str) -> tuple[tuple[int | None, ...], str]:
    """Return the shape of an input behind the batch axis, with None for sizes that are open, and its dtype.

    Parameters
    ----------
    model
        The model.
    described
        The input layer; or, in a Sequential model without one, the first layer.
    name
        What the input is called.
    """
    config = described.get("config")
    values: Mapping[str, Any] = config if isinstance(config, Mapping) else {}
    shape = next((values[key] for key in _SHAPE_KEYS if values.get(key) is not None), None)
    for source in (model.config.get("build_input_shape"), _built(described)):
        shape = source if shape is None else shape
    if shape is None:
        raise model.unsupported(
            f"no shape of the input {name!r}", "give the model an Input layer, or call it once, and save it again"
        )
    sizes = shape[1:] if isinstance(shape, list) else [0.0]
    if len(sizes) not in (1, 2) or not all(size is None or (isinstance(size, int) and size > 0) for size in sizes):
        raise model.unsupported(
            f"an input {name!r} of shape {str(shape)[:100]}", "inputs are (batch, time, features) or (batch, time)"
        )
    if values.get("sparse") or values.get("ragged"):
        raise model.unsupported(
            f"a sparse or ragged input {name!r}", "use a dense one, with Masking for sequences' ends"
        )
    dtype = values.get("dtype")
    return tuple(sizes), dtype if isinstance(dtype, str) else "float32"


@converts("Reshape")
def reshape(layer: Layer, args: Arguments, build: Builder) -> tuple[Tensor, ...]:
    """``Reshape`` of an input ``(batch, time)`` to ``(batch, time, 1)``, one number for each timestep."""
    tensor = args.only(layer)
    target = layer.config.get("target_shape")
    layer.config.policy()
    layer.config.check_all_read()
    if tensor.kind is Kind.FLAT and isinstance(target, list) and len(target) == 2 and target[1] == 1:
        found = build.inputs[tensor.value]
        if target[0] in (-1, found.size) and found.tokens is None and not found.states:
            build.inputs[tensor.value] = replace(found, timed=True)
            return (Tensor(tensor.value, 1, Kind.SEQUENCE),)
    if (
        isinstance(target, list)
        and target in ([-1, tensor.size], [tensor.size])
        and (len(target) == 2) == (tensor.kind is Kind.SEQUENCE)
    ):
        return (tensor,)
    raise layer.unsupported(f"target_shape={str(target)[:100]}", reason_against("Reshape"))


@converts("Flatten")
def flatten(layer: Layer, args: Arguments, build: Builder) -> tuple[Tensor, ...]:
    """``Flatten`` of a single vector, which it leaves as it is."""
    tensor = build.value(layer, args.only(layer), Kind.SINGLE, Kind.SEQUENCE)
    layer.config.skip("data_format")
    layer.config.policy()
    layer.config.check_all_read()
    if tensor.kind is Kind.SEQUENCE:
        raise layer.unsupported("a sequence as its input", reason_against("Flatten"))
    return (tensor,)


def _built(described: Mapping[str, Any]) -> Any:
    config = described.get("build_config")
    return config.get("input_shape") if isinstance(config, Mapping) else None
