"""Layers that join several tensors at each timestep."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from grurt.converters.keras.builder import Builder, check_mask_order, same_time
from grurt.converters.keras.handlers import converts
from grurt.converters.keras.values import VECTORS, Arguments, Kind, Layer, Tensor
from grurt.errors import DesignReason
from grurt.network import layers
from grurt.network.functions import Affine, Clip
from grurt.network.layers import AnyLayer

_KERAS_1_MODES = {"sum": "Add", "mul": "Multiply", "ave": "Average", "concat": "Concatenate"}


@converts("Add", "Subtract", "Multiply", "Average", "Maximum", "Minimum", "Concatenate")
def merge(layer: Layer, args: Arguments, build: Builder) -> tuple[Tensor, ...]:
    """``Add`` and its kin, and ``Concatenate``."""
    args.check_named(layer)
    layer.config.policy()
    kind = layer.kind
    tensors = [build.value(layer, tensor, *VECTORS) for tensor in args.tensors(layer)]
    if kind == "Concatenate":
        rank = 3 if tensors[0].kind is Kind.SEQUENCE else 2
        layer.config.require("axis", (-1, rank - 1), "only features can be joined")
    layer.config.check_all_read()
    if (3, 0) <= (layer.version.major, layer.version.minor) < (3, 4) and any(tensor.mask for tensor in tensors):
        raise layer.unsupported(
            "masked sequences that Keras before 3.4 merges without regard to all of their masks",
            "load the model with a newer Keras, and save it again",
            DesignReason.NOT_SAID,
        )
    return (_multiply(layer, tensors, build) if kind == "Multiply" else join(layer, kind, tensors, build),)


def _multiply(layer: Layer, tensors: Sequence[Tensor], build: Builder) -> Tensor:
    """Return the product, in which since Keras 3 a masked timestep counts as 1, and as 0 where all are masked."""
    if layer.version.major < 3 or len(tensors) == 1:
        return join(layer, "Multiply", tensors, build)
    for tensor in tensors:
        check_mask_order(layer, tensor)
    if len({tensor.mask for tensor in tensors}) > 1:
        tensors = [_one_where_masked(tensor, build) for tensor in tensors]
    product = join(layer, "Multiply", tensors, build)
    if product.mask is None:
        return product
    return replace(product, value=build.masked(product.value, product.size, product.mask))


def _one_where_masked(tensor: Tensor, build: Builder) -> Tensor:
    if tensor.mask is None:
        return tensor
    ones = build.widened(build.function(tensor.mask, Affine(-1.0, 1.0)), tensor.size, 1)
    inputs = (build.masked(tensor.value, tensor.size, tensor.mask), ones)
    return replace(tensor, value=build.add(layers.Add(name=build.unique(f"{tensor.value}.kept"), inputs=inputs)))


@converts("Merge")
def merge_of_keras_1(layer: Layer, args: Arguments, build: Builder) -> tuple[Tensor, ...]:
    """``Merge`` of Keras 1, in a functional model."""
    config = layer.config
    mode = config.get("mode", "sum")
    if not isinstance(mode, str) or mode not in _KERAS_1_MODES or config.get("layers"):
        raise layer.unsupported(f"mode={str(mode)[:100]!r}", f"supported are {', '.join(_KERAS_1_MODES)} of tensors")
    tensors = [build.value(layer, tensor, *VECTORS) for tensor in args.tensors(layer)]
    if mode == "concat":
        rank = 3 if tensors[0].kind is Kind.SEQUENCE else 2
        config.require("concat_axis", (-1, rank - 1), "only features can be joined")
    config.skip(
        "concat_axis", "dot_axes", "mode_type", "output_shape_type", "output_mask_type", "arguments", "node_indices"
    )
    config.skip("tensor_indices", "output_shape", "output_mask")
    config.check_all_read()
    return (join(layer, _KERAS_1_MODES[mode], tensors, build),)


def join(layer: Layer, kind: str, tensors: Sequence[Tensor], build: Builder) -> Tensor:
    """Return the tensor that a merging layer of this kind makes; values of one feature are repeated to fit."""
    tensors = beside_sequences(layer, tensors)
    same_time(layer, tensors)
    if len(tensors) == 1:
        return tensors[0]
    mask = _joined_mask(layer, kind, tensors, build)
    if kind == "Concatenate":
        value = build.add(layers.Concat(name=build.unique(layer.name), inputs=tuple(t.value for t in tensors)))
        size = sum(tensor.size for tensor in tensors)
        return replace(tensors[0], value=value, size=size, mask=mask, state_of=None)
    size = max(tensor.size for tensor in tensors)
    if any(tensor.size not in (1, size) for tensor in tensors):
        raise layer.invalid(f"expected tensors of one size, got {[tensor.size for tensor in tensors]}")
    values = [build.widened(tensor.value, size, tensor.size) for tensor in tensors]
    if kind == "Subtract":
        if len(values) != 2:
            raise layer.invalid(f"expected two tensors, got {len(values)}")
        values[1] = build.function(values[1], Affine(-1.0, 0.0))
    value = build.add(_merging(kind, build.unique(layer.name), tuple(values)))
    if kind == "Average":
        value = build.function(value, Affine(1 / len(values), 0.0))
    return replace(tensors[0], value=value, size=size, mask=mask, state_of=None)


def _merging(kind: str, name: str, values: tuple[str, ...]) -> AnyLayer:
    if kind in ("Maximum", "Minimum"):
        return layers.Binary(name=name, inputs=values, operation="max" if kind == "Maximum" else "min")
    return (layers.Mul if kind == "Multiply" else layers.Add)(name=name, inputs=values)


def beside_sequences(layer: Layer, tensors: Sequence[Tensor]) -> list[Tensor]:
    """Return tensors of one kind: a vector that was repeated is the same at every timestep of a sequence beside it."""
    if any(tensor.kind is Kind.SEQUENCE for tensor in tensors):
        tensors = [replace(t, kind=Kind.SEQUENCE, repeats=0) if t.kind is Kind.REPEATED else t for t in tensors]
    if len({tensor.kind for tensor in tensors}) > 1:
        raise layer.unsupported("sequences and single vectors together", "merge tensors of the same axes")
    return list(tensors)


def _joined_mask(layer: Layer, kind: str, tensors: Sequence[Tensor], build: Builder) -> str | None:
    """Return the mask of the result: in Keras 3 a timestep is skipped where all tensors skip it, before where any does.

    ``Add`` and its kin of Keras 3 have no mask unless all tensors do; so has ``Concatenate``, by the same rule.
    """
    present = tuple(dict.fromkeys(tensor.mask for tensor in tensors if tensor.mask is not None))
    unmasked = any(tensor.mask is None for tensor in tensors)
    if not present or (unmasked and layer.version.major >= 3):
        return None
    if len(present) == 1:
        return present[0]
    return (
        either_mask(layer, present, build)
        if layer.version.major >= 3
        else build.add(layers.Mul(name=build.unique(f"{layer.name}.mask"), inputs=present))
    )


def either_mask(layer: Layer, masks: tuple[str, ...], build: Builder) -> str:
    """Return the mask that skips a timestep only where all of the masks do."""
    if len(masks) == 1:
        return masks[0]
    total = build.add(layers.Add(name=build.unique(f"{layer.name}.mask"), inputs=masks))
    return build.function(total, Clip(0.0, 1.0))


MODES: Mapping[object, str] = {"concat": "Concatenate", "sum": "Add", "ave": "Average", "mul": "Multiply"}
"""Bidirectional's ``merge_mode`` as layers."""
