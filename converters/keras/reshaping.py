"""Shapes: those of the inputs, and the few layers that change shapes without moving numbers between timesteps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from grurt.converters.keras.builder import TEXT, Builder
from grurt.converters.keras.handlers import converts, converts_function, reason_against
from grurt.converters.keras.repetition import repeated
from grurt.converters.keras.values import VECTORS, Arguments, Kind, Layer, Tensor
from grurt.errors import DesignReason

_SHAPE_KEYS = ("batch_shape", "batch_input_shape")
_TEXT_LAYERS = ("TextVectorization", "StringLookup")


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
            f"no shape of the input {name!r}",
            "give the model an Input layer, or call it once, and save it again",
            DesignReason.NOT_SAID,
        )
    dtype = TEXT if described.get("class_name") in _TEXT_LAYERS else values.get("dtype")
    sizes = shape[1:] if isinstance(shape, list) else [0.0]
    if len(sizes) not in ((0, 1, 2) if dtype == TEXT else (1, 2)) or not all(
        size is None or (isinstance(size, int) and size > 0) for size in sizes
    ):
        raise model.unsupported(
            f"an input {name!r} of shape {str(shape)[:100]}",
            "inputs are (batch, time, features) or (batch, time)",
            DesignReason.IMAGES if len(sizes) > 2 else None,
        )
    if values.get("sparse") or values.get("ragged"):
        raise model.unsupported(
            f"a sparse or ragged input {name!r}", "use a dense one, with Masking for sequences' ends"
        )
    return tuple(sizes), dtype if isinstance(dtype, str) else "float32"


@converts("Reshape")
def reshape(layer: Layer, args: Arguments, build: Builder) -> tuple[Tensor, ...]:
    """``Reshape`` of one number for each timestep to vectors of one feature, or to the shape that there is."""
    tensor = args.only(layer)
    target = layer.config.get("target_shape")
    layer.config.policy()
    layer.config.check_all_read()
    sizes = target if isinstance(target, list) else []
    to_vectors = len(sizes) == 2 and sizes[1] == 1 and sizes[0] in (-1, _timesteps(tensor, build) or sizes[0])
    if to_vectors and (found := with_feature_axis(tensor, build)) is not None:
        return (found,)
    if tensor.repeats == 1 and sizes in ([tensor.size], [-1]):
        return (tensor.once,)
    if tensor.kind is Kind.SINGLE and sizes == [1, tensor.size]:
        return (repeated(build.value(layer, tensor, Kind.SINGLE), build, 1),)
    if sizes and sizes[-1] == tensor.size and len(sizes) == tensor.rank - 1 and tensor.kind is not Kind.NUMBERS:
        return (tensor,)  # numbers do not move, as there are as many timesteps as before
    raise layer.unsupported(f"target_shape={str(target)[:100]}", *reason_against("Reshape"))


@converts_function("Reshape")
def reshape_function(layer: Layer, args: Arguments, build: Builder) -> tuple[Tensor, ...]:
    """``reshape`` to the shape that there is."""
    tensor, target = args.only(layer), layer.config.get("newshape")
    if not isinstance(target, list) or len(target) != tensor.rank or target[-1] != tensor.size or tensor.stacked:
        raise layer.unsupported(f"newshape={str(target)[:100]}", "grurt keeps timesteps and features where they are")
    return (build.value(layer, tensor, *VECTORS),)


def with_feature_axis(tensor: Tensor, build: Builder) -> Tensor | None:
    """Return numbers as vectors of one feature; None for anything else. An input of two axes is read as numbers."""
    if tensor.kind is Kind.FLAT and build.inputs[tensor.value].may_be_numbers:
        build.inputs[tensor.value] = replace(build.inputs[tensor.value], timed=True)
        return Tensor(tensor.value, 1, Kind.SEQUENCE)
    kinds = {Kind.NUMBERS: Kind.SEQUENCE, Kind.NUMBER: Kind.SINGLE}
    return replace(tensor, kind=kinds[tensor.kind]) if tensor.kind in kinds else None


def without_feature_axis(layer: Layer, tensor: Tensor, build: Builder) -> Tensor:
    """Return vectors of one feature as numbers."""
    kinds = {Kind.SEQUENCE: Kind.NUMBERS, Kind.SINGLE: Kind.NUMBER}
    found = build.value(layer, tensor, *kinds)
    if found.size != 1:
        raise layer.invalid(f"expected one feature, got {found.size}")
    return replace(found, kind=kinds[found.kind])


def _timesteps(tensor: Tensor, build: Builder) -> int:
    """Return the number of timesteps that an input of two axes has, or 0 if it is open."""
    return build.inputs[tensor.value].size if tensor.kind is Kind.FLAT else 0


@converts("Permute")
def permute(layer: Layer, args: Arguments, build: Builder) -> tuple[Tensor, ...]:
    """``Permute`` that leaves all axes where they are, or swaps time and features."""
    tensor = args.only(layer)
    dims = layer.config.get("dims")
    layer.config.policy()
    layer.config.check_all_read()
    return (turned(layer, tensor, [0, *dims] if isinstance(dims, list) else dims, build),)


def turned(layer: Layer, tensor: Tensor, order: object, build: Builder) -> Tensor:
    """Return a tensor with its axes in another order: as it is, or with time and features in each other's place."""
    if order == list(range(tensor.rank)):
        return tensor
    kinds = {Kind.SEQUENCE: Kind.TURNED, Kind.TURNED: Kind.SEQUENCE}
    if order != [0, 2, 1] or tensor.kind not in kinds:
        raise layer.unsupported(f"the order of axes {str(order)[:100]}", "swap time and features, and back")
    return replace(build.value(layer, tensor, *kinds), kind=kinds[tensor.kind], mask=None)


@converts("Flatten")
def flatten(layer: Layer, args: Arguments, build: Builder) -> tuple[Tensor, ...]:
    """``Flatten`` of a single vector, which it leaves as it is, as it does of one that is repeated once."""
    tensor = build.value(layer, args.only(layer).once, Kind.SINGLE, Kind.SEQUENCE)
    layer.config.skip("data_format")
    layer.config.policy()
    layer.config.check_all_read()
    if tensor.kind is Kind.SEQUENCE:
        raise layer.unsupported("a sequence as its input", *reason_against("Flatten"))
    return (tensor,)


def _built(described: Mapping[str, Any]) -> Any:
    config = described.get("build_config")
    return config.get("input_shape") if isinstance(config, Mapping) else None
