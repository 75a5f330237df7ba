"""Functions of ``keras.ops`` in functional models of Keras 3: what ``x + y`` and ``x[:, -1]`` become, and masks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from grurt.array_types import Array
from grurt.converters.keras.arrangement import picked
from grurt.converters.keras.builder import Builder
from grurt.converters.keras.config import as_float
from grurt.converters.keras.handlers import FUNCTIONS, HANDLERS
from grurt.converters.keras.mathematics import given, unequal
from grurt.converters.keras.merging import either_mask, join
from grurt.converters.keras.reshaping import with_feature_axis, without_feature_axis
from grurt.converters.keras.values import ANY, EVERYWHERE, NOWHERE, VECTORS, Arguments, Kind, Layer, Tensor
from grurt.converters.keras.windows import resampled, slice_of_timesteps

_ARITHMETIC = ("Add", "Subtract", "Multiply", "TrueDivide", "Divide")
_OF_TENSORFLOW = ("TFOpLambda", "SlicingOpLambda")
_MAKE_MASKS = ("NotEqual", "ZerosLike", "OnesLike")
_JOIN_MASKS = ("Any", "LogicalOr", "ExpandDims", "Concatenate", "ConvertToTensor")
_OTHERS = (*_MAKE_MASKS, *_JOIN_MASKS[:2], "GetItem", "Negative")
_PARAMETERS: Mapping[str, tuple[str, ...]] = {
    "Average": ("x", "weights"),
    "BatchNorm": ("x", "mean", "variance", "offset", "scale"),
    "FullLike": ("x", "fill_value"),
    "LayerNorm": ("x", "gamma", "beta"),
    "Pad": ("x", "constant_values"),
    "RMSNorm": ("x", "scale"),
    "Take": ("x", "indices"),
    "Where": ("condition", "x1", "x2"),
}
"""The parameters of functions that may be given by name, other than ``x``, or ``x1`` and ``x2``."""
_SUPPORTED = "supported are functions of the numbers or the features of a timestep, see the docs"
_NUMBERS = "supported are sums, differences and products, and scaling by numbers"
_INDICES = "supported are [:, -1], [:, 0], [:, a:-b:c], [..., a:b], [..., a] and [..., None] of one number a timestep"


def is_unmarked(layer: Layer, args: Arguments) -> bool:
    """Tell a function from a layer in ``.h5`` files, which do not name the module: layers merge a list of tensors."""
    if layer.module or layer.kind in _OF_TENSORFLOW:
        return False
    if layer.kind in (*_ARITHMETIC, *FUNCTIONS) and len(args.positional) == 2:
        return True
    if layer.kind == "Average" and isinstance(args.positional[0], Tensor):
        return True
    is_function = layer.kind in _OTHERS or (layer.kind in FUNCTIONS and layer.kind not in HANDLERS)
    return is_function or bool(_masks(args.positional))


def convert(layer: Layer, args: Arguments, build: Builder) -> tuple[Tensor, ...]:
    """Convert a function of ``keras.ops``."""
    args = _in_order(layer, args)
    if layer.kind in _MAKE_MASKS and (mask := _mask(layer, args, build)) is not None:
        return (mask,)
    masks = _masks(args.positional)
    if masks and layer.kind in _JOIN_MASKS and len(masks) == len(_tensors(args.positional)):
        return (_joined(layer, masks, build),)
    if masks:
        args = replace(args, positional=tuple(_truths(layer, item) for item in args.positional))
    results = _results(layer, args, build)
    layer.config.skip("dtype")
    layer.config.check_all_read()
    return tuple(replace(result, mask=None) for result in results)  # Keras hands no mask on from a function


def _in_order(layer: Layer, args: Arguments) -> Arguments:
    """Return the arguments with those given by name behind the others, where the function has such."""
    known = _PARAMETERS.get(layer.kind, ("x1", "x2") if "x1" in args.named or "x2" in args.named else ("x",))
    further = [args.named.get(name) for name in known[len(args.positional) :]]
    while further and further[-1] is None:
        further.pop()
    rest = {name: value for name, value in args.named.items() if name not in known}
    Arguments((), rest).check_named(layer)
    return Arguments((*args.positional, *further), {})


def _results(layer: Layer, args: Arguments, build: Builder) -> tuple[Tensor, ...]:
    positional = list(args.positional)
    if layer.kind == "GetItem":
        return (_item(layer, positional, build),)
    if layer.kind in _ARITHMETIC and len(positional) == 2:
        return (_arithmetic(layer, positional[0], positional[1], build),)
    if layer.kind in FUNCTIONS:
        return FUNCTIONS[layer.kind](layer, args, build)
    raise layer.unsupported("a function of keras.ops", _SUPPORTED)


def _mask(layer: Layer, args: Arguments, build: Builder) -> Tensor | None:
    """Return the mask that a function makes, and what it is for each number; None where it makes none."""
    tensor = args.positional[0] if args.positional else None
    if layer.kind != "NotEqual":
        name = NOWHERE if layer.kind == "ZerosLike" else EVERYWHERE
        is_read = isinstance(tensor, Tensor) and tensor.kind not in (Kind.MASK, Kind.FLAT)
        truth = FUNCTIONS[layer.kind](layer, args, build)[0] if is_read else None
        return Tensor(name, 1, Kind.MASK, truth=truth)
    if isinstance(tensor, Tensor) and tensor.kind in (Kind.SEQUENCE, Kind.FLAT) and _is_number(args.positional[1:]):
        return _not_equal(layer, list(args.positional), build)
    return None


def _is_number(further: Sequence[Any]) -> bool:
    return len(further) == 1 and isinstance(further[0], int | float) and not isinstance(further[0], bool)


def _truths(layer: Layer, item: Any) -> Any:
    """Return an argument with what masks are for each number in place of them."""
    if isinstance(item, list):
        return [_truths(layer, each) for each in item]
    if not isinstance(item, Tensor) or item.kind is not Kind.MASK:
        return item
    if item.truth is None:
        raise layer.unsupported("a function of truth values", "masks are made by Masking and mask_zero only")
    return item.truth


def _tensors(positional: Sequence[Any]) -> list[Tensor]:
    items = [item for value in positional for item in (value if isinstance(value, list) else [value])]
    return [item for item in items if isinstance(item, Tensor)]


def _masks(positional: Sequence[Any]) -> list[Tensor]:
    """Return the masks among the arguments, also those in a list."""
    return [tensor for tensor in _tensors(positional) if tensor.kind is Kind.MASK]


def _joined(layer: Layer, masks: Sequence[Tensor], build: Builder) -> Tensor:
    """Return what the merging layers of Keras make of masks: true where any of them is."""
    values = tuple(dict.fromkeys(mask.value for mask in masks))
    named = tuple(value for value in values if value not in (NOWHERE, EVERYWHERE))
    truths = [mask.truth for mask in masks]
    truth = None
    if layer.kind in FUNCTIONS and all(each is not None for each in truths) and len(masks) == 2:
        truth = FUNCTIONS[layer.kind](layer, Arguments(tuple(truths), {}), build)[0]
    if EVERYWHERE in values or not named:
        return Tensor(EVERYWHERE if EVERYWHERE in values else NOWHERE, 1, Kind.MASK, truth=truth)
    return Tensor(either_mask(layer, named, build), 1, Kind.MASK, truth=truth)


def _arithmetic(layer: Layer, left: Any, right: Any, build: Builder) -> Tensor:
    tensors = [build.value(layer, item, *ANY) for item in (left, right) if isinstance(item, Tensor)]
    if len(tensors) == 2 and layer.kind in ("Add", "Subtract", "Multiply"):
        return join(layer, layer.kind, [replace(tensor, mask=None) for tensor in tensors], build)
    constants = [given(layer, item) for item in (left, right) if not isinstance(item, Tensor)]
    divides = layer.kind in ("TrueDivide", "Divide")
    if divides and (len(tensors) == 2 or isinstance(right, Tensor)):
        return FUNCTIONS[layer.kind](layer, Arguments((left, right), {}), build)[0]
    if len(tensors) != 1 or constants[0] is None:
        raise layer.unsupported("arithmetic of something else than tensors and a number", _NUMBERS)
    number = _fitted(layer, tensors[0], constants[0])
    one, zero = np.ones_like(number), np.zeros_like(number)
    if layer.kind == "Add":
        return build.scale_and_shift(layer, tensors[0], one, number)
    if layer.kind == "Multiply":
        return build.scale_and_shift(layer, tensors[0], number, zero)
    if layer.kind == "Subtract" and isinstance(left, Tensor):
        return build.scale_and_shift(layer, tensors[0], one, -number)
    if layer.kind == "Subtract":
        return build.scale_and_shift(layer, tensors[0], -one, number)
    if number.all():
        return build.scale_and_shift(layer, tensors[0], 1 / number, zero)
    raise layer.unsupported("a division by zero", _NUMBERS)


def _fitted(layer: Layer, tensor: Tensor, number: Array) -> Array:
    """Return a number, or numbers for each feature, in float64."""
    fits = tensor.kind in VECTORS and number.shape[-1:] == (tensor.size,) and number.ndim <= tensor.rank
    if number.size != 1 and not (fits and number.size == tensor.size):
        raise layer.unsupported(
            f"a constant of shape {number.shape}",
            f"supported are one number, and one for each of {tensor.size} features",
        )
    return number.reshape(() if number.size == 1 else -1).astype(np.float64)


def _item(layer: Layer, positional: list[Any], build: Builder) -> Tensor:
    """Return ``x[:, -1]``, ``x[:, a:-b:c]``, ``x[..., a:b]``, ``x[..., a]`` or ``x[:, :, a:b]``, or two of them."""
    if len(positional) != 2 or not isinstance(positional[0], Tensor):
        raise layer.unsupported("an index that is no constant", _INDICES)
    key = positional[1]
    parts = key if isinstance(key, list) else [key]
    if len(parts) > 1 and parts[-1] is None and (found := _new_axis(positional[0], parts[:-1], build)) is not None:
        return found
    tensor = build.value(layer, positional[0], *VECTORS)
    rank = tensor.rank
    if parts and _is(parts[0], "__ellipsis__"):
        parts = [{"class_name": "__slice__", "config": {}}] * (rank - len(parts) + 1) + parts[1:]
    whole = [_bounds(part) == (None, None) for part in parts]
    if rank == 3 and len(parts) in (2, 3) and whole[0] and parts[1] in (0, -1) and parts[1] is not False:
        is_repeated = tensor.kind is Kind.REPEATED
        step = (
            replace(tensor, kind=Kind.SINGLE, repeats=0) if is_repeated else build.timestep(tensor, last=parts[1] == -1)
        )
        return step if all(whole[2:]) else _item(layer, [step, [parts[0], parts[2]]], build)
    if rank == 3 and len(parts) in (2, 3) and whole[0] and all(whole[2:]) and not all(whole):
        window = slice_of_timesteps(parts[1].get("config")) if _is(parts[1], "__slice__") else None
        if window is None or (tensor.backwards and window.stride > 1):
            raise layer.unsupported(f"the index {str(key)[:200]}", _INDICES)
        return resampled(tensor, window, build)
    if len(parts) != rank or not all(whole[:-1]):
        raise layer.unsupported(f"the index {str(key)[:200]}", _INDICES)
    place = parts[-1]
    if type(place) is int and -tensor.size <= place < tensor.size:
        feature = build.part(layer, tensor, place % tensor.size, place % tensor.size + 1)
        return without_feature_axis(layer, feature, build)
    if (bounds := _bounds(place, stepped=True)) is None:
        raise layer.unsupported(f"the index {str(key)[:200]}", _INDICES)
    places = range(tensor.size)[slice(*bounds)]
    if places.step != 1:
        return picked(layer, tensor, places, build)
    return build.part(layer, tensor, places.start, places.stop)


def _new_axis(tensor: Tensor, parts: Sequence[Any], build: Builder) -> Tensor | None:
    """Return numbers as vectors of one feature, if the parts of an index before the new axis take all of them."""
    everything = len(parts) == tensor.rank and all(_bounds(part) == (None, None) for part in parts)
    if not everything and (len(parts) != 1 or not _is(parts[0], "__ellipsis__")):
        return None
    return with_feature_axis(tensor, build)


def _bounds(part: Any, *, stepped: bool = False) -> tuple[int | None, ...] | None:
    """Return start and stop of a slice with step 1, and with ``stepped`` also the step; None for anything else."""
    config = part.get("config") if _is(part, "__slice__") else None
    if not isinstance(config, Mapping):
        return None
    bounds = tuple(config.get(key) for key in ("start", "stop", "step"))
    if not all(bound is None or (isinstance(bound, int) and not isinstance(bound, bool)) for bound in bounds):
        return None
    if stepped:
        return None if bounds[2] == 0 else bounds
    return bounds[:2] if bounds[2] in (None, 1) else None


def _is(part: Any, kind: str) -> bool:
    return isinstance(part, Mapping) and part.get("class_name") == kind


def _not_equal(layer: Layer, positional: list[Any], build: Builder) -> Tensor:
    """Return the mask that Embedding and Masking compute of their inputs; of features it is not joined by Any yet."""
    tensor, number = positional
    tokens = tensor.kind is Kind.FLAT and not build.inputs[tensor.value].timed
    source = tensor if tokens else build.value(layer, tensor, Kind.SEQUENCE)
    value = as_float(number, lambda: layer.unsupported("a number beyond floating point", _NUMBERS))
    mask = build.mask(source.value, value, tokens=tokens)
    truth = Tensor(mask, 1, Kind.NUMBERS) if tokens else unequal(layer, Arguments((source, number), {}), build)[0]
    return Tensor(mask, 1, Kind.MASK, truth=truth)
