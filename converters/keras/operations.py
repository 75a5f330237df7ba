"""Functions of ``keras.ops`` in functional models of Keras 3: what ``x + y`` and ``x[:, -1]`` become, and masks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from grurt.converters.keras.builder import Builder
from grurt.converters.keras.config import as_float
from grurt.converters.keras.merging import either_mask, join
from grurt.converters.keras.values import EVERYWHERE, NOWHERE, VECTORS, Arguments, Kind, Layer, Tensor
from grurt.network import layers
from grurt.network.functions import Affine

_ARITHMETIC = ("Add", "Subtract", "Multiply", "TrueDivide", "Divide")
_FUNCTIONS = ("NotEqual", "Any", "LogicalOr", "GetItem", "Negative", "ExpandDims", "ZerosLike", "OnesLike")
_SUPPORTED = "supported are sums, differences, products, scaling by a number, [:, -1], [:, 0] and [..., a:b]"


def is_unmarked(layer: Layer, args: Arguments) -> bool:
    """Tell a function from a layer in ``.h5`` files, which do not name the module: layers merge a list of tensors."""
    if layer.module:
        return False
    if layer.kind in _ARITHMETIC and len(args.positional) == 2:
        return True
    return layer.kind in _FUNCTIONS or bool(_masks(args.positional))


def convert(layer: Layer, args: Arguments, build: Builder) -> tuple[Tensor, ...]:
    """Convert a function of ``keras.ops``."""
    positional = list(args.positional)
    if layer.kind == "NotEqual":
        return (_not_equal(layer, positional, build),)
    if layer.kind in ("ZerosLike", "OnesLike"):
        return (Tensor(NOWHERE if layer.kind == "ZerosLike" else EVERYWHERE, 1, Kind.MASK),)
    if masks := _masks(positional):
        return (_joined(layer, masks, build),)
    args.check_named(layer)
    if layer.kind == "GetItem":
        return (_item(layer, positional, build),)
    if layer.kind == "Negative" and len(positional) == 1:
        positional = [-1, *positional]
        layer = replace(layer, kind="Multiply")
    if layer.kind not in _ARITHMETIC or len(positional) != 2:
        raise layer.unsupported("a function of keras.ops", _SUPPORTED)
    layer.config.skip("dtype")
    layer.config.check_all_read()
    return (_arithmetic(layer, positional[0], positional[1], build),)


def _masks(positional: Sequence[Any]) -> list[Tensor]:
    """Return the masks among the arguments, also those in a list."""
    items = [item for value in positional for item in (value if isinstance(value, list) else [value])]
    return [item for item in items if isinstance(item, Tensor) and item.kind is Kind.MASK]


def _joined(layer: Layer, masks: Sequence[Tensor], build: Builder) -> Tensor:
    """Return what the merging layers of Keras make of masks: true where any of them is."""
    if layer.kind not in ("Any", "LogicalOr", "ExpandDims", "Concatenate"):
        raise layer.unsupported("a function of truth values", "masks are made by Masking and mask_zero only")
    values = tuple(dict.fromkeys(mask.value for mask in masks))
    named = tuple(value for value in values if value not in (NOWHERE, EVERYWHERE))
    if EVERYWHERE in values or not named:
        return Tensor(EVERYWHERE if EVERYWHERE in values else NOWHERE, 1, Kind.MASK)
    return Tensor(either_mask(layer, named, build), 1, Kind.MASK)


def _arithmetic(layer: Layer, left: Any, right: Any, build: Builder) -> Tensor:
    tensors = [build.value(layer, item, *VECTORS) for item in (left, right) if isinstance(item, Tensor)]
    if len(tensors) == 2 and layer.kind in ("Add", "Subtract", "Multiply"):
        return join(layer, layer.kind, tensors, build)
    numbers = [item for item in (left, right) if isinstance(item, int | float) and not isinstance(item, bool)]
    if len(tensors) != 1 or len(numbers) != 1:
        raise layer.unsupported("arithmetic of something else than tensors and a number", _SUPPORTED)
    number = as_float(numbers[0], lambda: layer.unsupported("a number beyond floating point", _SUPPORTED))
    scale, offset = 1.0, 0.0
    if layer.kind == "Add":
        offset = number
    elif layer.kind == "Multiply":
        scale = number
    elif layer.kind == "Subtract":
        scale, offset = (1.0, -number) if isinstance(left, Tensor) else (-1.0, number)
    elif isinstance(left, Tensor) and number:
        scale = 1 / number
    else:
        raise layer.unsupported("a division by a tensor, or by zero", _SUPPORTED)
    return tensors[0].with_value(build.function(tensors[0].value, Affine(scale, offset)))


def _item(layer: Layer, positional: list[Any], build: Builder) -> Tensor:
    """``x[:, -1]`` and ``x[:, 0]`` of a sequence, ``x[..., a:b]`` or ``x[:, :, a:b]``, and both together."""
    if len(positional) != 2 or not isinstance(positional[0], Tensor):
        raise layer.unsupported("an index that is no constant", _SUPPORTED)
    tensor, key = build.value(layer, positional[0], *VECTORS), positional[1]
    parts = key if isinstance(key, list) else [key]
    rank = 3 if tensor.kind is Kind.SEQUENCE else 2
    if parts and _is(parts[0], "__ellipsis__"):
        parts = [{"class_name": "__slice__", "config": {}}] * (rank - len(parts) + 1) + parts[1:]
    whole = [_bounds(part) == (None, None) for part in parts]
    if rank == 3 and len(parts) in (2, 3) and whole[0] and parts[1] in (0, -1) and parts[1] is not False:
        step = build.timestep(tensor, last=parts[1] == -1)
        return step if all(whole[2:]) else _item(layer, [step, [parts[0], parts[2]]], build)
    bounds = _bounds(parts[-1]) if len(parts) == rank and all(whole[:-1]) else None
    if bounds is None:
        raise layer.unsupported(f"the index {str(key)[:200]}", _SUPPORTED)
    start, stop, _ = slice(*bounds).indices(tensor.size)
    made = layers.Slice(name=build.unique(layer.name), inputs=(tensor.value,), start=start, stop=stop)
    return tensor.with_value(build.add(made), stop - start)


def _bounds(part: Any) -> tuple[int | None, int | None] | None:
    """Return start and stop of a slice with step 1, or None for anything else."""
    config = part.get("config") if _is(part, "__slice__") else None
    if not isinstance(config, Mapping) or config.get("step") not in (None, 1):
        return None
    start, stop = config.get("start"), config.get("stop")
    if not all(bound is None or (isinstance(bound, int) and not isinstance(bound, bool)) for bound in (start, stop)):
        return None
    return start, stop


def _is(part: Any, kind: str) -> bool:
    return isinstance(part, Mapping) and part.get("class_name") == kind


def _not_equal(layer: Layer, positional: list[Any], build: Builder) -> Tensor:
    """Return the mask that Embedding and Masking compute of their inputs; of features it is not joined by Any yet."""
    if len(positional) != 2 or not isinstance(positional[0], Tensor) or isinstance(positional[1], bool):
        raise layer.unsupported("a comparison that is no mask", "masks are made by Masking and mask_zero only")
    tensor, number = positional
    if not isinstance(number, int | float):
        raise layer.unsupported("a comparison that is no mask", "masks are made by Masking and mask_zero only")
    tokens = tensor.kind is Kind.FLAT and not build.inputs[tensor.value].timed
    source = tensor if tokens else build.value(layer, tensor, Kind.SEQUENCE)
    value = as_float(number, lambda: layer.unsupported("a number beyond floating point", _SUPPORTED))
    return Tensor(build.mask(source.value, value, tokens=tokens), 1, Kind.MASK)
