"""Functions of ``keras.ops`` that put features in other places: joined, split, picked, repeated, padded, turned."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from grurt.converters.keras.builder import Builder
from grurt.converters.keras.features import require_features, with_features
from grurt.converters.keras.handlers import converts_function
from grurt.converters.keras.mathematics import given
from grurt.converters.keras.merging import join
from grurt.converters.keras.repetition import repeated
from grurt.converters.keras.reshaping import turned, with_feature_axis, without_feature_axis
from grurt.converters.keras.values import VECTORS, Arguments, Kind, Layer, Tensor
from grurt.network import layers

MAX_FEATURES = 4096
"""The most features that are picked one by one, or repeated."""


@converts_function("Concatenate", "Hstack", "Dstack")
def concatenate(layer: Layer, args: Arguments, build: Builder) -> tuple[Tensor, ...]:
    """``concatenate`` of features."""
    tensors = [build.value(layer, tensor, *VECTORS) for tensor in args.tensors(layer)]
    rank = tensors[0].rank
    if layer.kind == "Concatenate":
        require_features(layer, tensors[0])
    elif rank != {"Hstack": 2, "Dstack": 3}[layer.kind]:
        raise layer.unsupported(f"tensors of {rank} axes", "use concatenate with axis=-1")
    return (join(layer, "Concatenate", tensors, build),)


@converts_function("Split", "ArraySplit")
def split(layer: Layer, args: Arguments, build: Builder) -> tuple[Tensor, ...]:
    """Return parts of the features: as many, or between the places that are given."""
    tensor = with_features(layer, args, build)
    found = layer.config.get("indices_or_sections")
    if type(found) is int and 0 < found <= min(tensor.size, MAX_FEATURES) and _divides(layer, found, tensor.size):
        places = [min(tensor.size % found, part) + part * (tensor.size // found) for part in range(found + 1)]
    elif isinstance(found, list) and all(type(place) is int for place in found):
        places = [0, *found, tensor.size]
    else:
        places = [0, 0]
    if any(start >= stop for start, stop in pairwise(places)):
        raise layer.config.invalid("indices_or_sections", f"parts of {tensor.size} features", found)
    return tuple(build.part(layer, tensor, start, stop) for start, stop in pairwise(places))


def _divides(layer: Layer, count: int, size: int) -> bool:
    return layer.kind == "ArraySplit" or size % count == 0


@converts_function("Flip")
def flip(layer: Layer, args: Arguments, build: Builder) -> tuple[Tensor, ...]:
    """``flip`` of the features."""
    tensor = with_features(layer, args, build)
    return (picked(layer, tensor, range(tensor.size)[::-1], build),)


@converts_function("Roll")
def roll(layer: Layer, args: Arguments, build: Builder) -> tuple[Tensor, ...]:
    """``roll`` of the features."""
    tensor, shift = with_features(layer, args, build), layer.config.get("shift")
    if type(shift) is not int:
        raise layer.config.invalid("shift", "a whole number", shift)
    return (picked(layer, tensor, np.roll(np.arange(tensor.size), shift % tensor.size).tolist(), build),)


@converts_function("Take")
def take(layer: Layer, args: Arguments, build: Builder) -> tuple[Tensor, ...]:
    """``take`` of features at constant places."""
    tensor = with_features(layer, args, build)
    places = given(layer, args.positional[1]) if len(args.positional) > 1 else None
    if places is None or places.ndim != 1 or not all(-tensor.size <= place < tensor.size for place in places):
        raise layer.unsupported("places that are no list of features", "give a list of numbers")
    return (picked(layer, tensor, [int(place) % tensor.size for place in places], build),)


@converts_function("Repeat")
def repeat(layer: Layer, args: Arguments, build: Builder) -> tuple[Tensor, ...]:
    """``repeat`` of each feature."""
    tensor, count = with_features(layer, args, build), layer.config.integer("repeats")
    _check_size(layer, tensor.size * count)
    return (picked(layer, tensor, np.repeat(np.arange(tensor.size), count).tolist(), build),)


@converts_function("Tile")
def tile(layer: Layer, args: Arguments, build: Builder) -> tuple[Tensor, ...]:
    """``tile`` of the features."""
    tensor = build.value(layer, args.only(layer), *VECTORS)
    repeats = layer.config.get("repeats")
    counts = repeats if isinstance(repeats, list) else [repeats]
    if not all(type(count) is int and count > 0 for count in counts) or not 0 < len(counts) <= tensor.rank:
        raise layer.config.invalid("repeats", "a whole number for each axis", repeats)
    if any(count != 1 for count in counts[:-1]):
        raise layer.unsupported(f"repeats={counts[:10]}", "only features can be repeated")
    _check_size(layer, tensor.size * counts[-1])
    return (picked(layer, tensor, list(range(tensor.size)) * counts[-1], build),)


@converts_function("Pad")
def pad(layer: Layer, args: Arguments, build: Builder) -> tuple[Tensor, ...]:
    """``pad`` of the features with a number."""
    tensor = build.value(layer, args.positional[0], *VECTORS)
    layer.config.require("mode", ("constant",), "pad with a number")
    fills = (*args.positional[1:], 0)
    fill = given(layer, next(value for value in fills if value is not None))
    width = layer.config.get("pad_width")
    sides = width if isinstance(width, list) else []
    sides = sides * tensor.rank if len(sides) == 1 else sides
    if len(sides) != tensor.rank or not all(_are_counts(pair) for pair in sides) or fill is None or fill.size != 1:
        raise layer.config.invalid("pad_width", "two numbers for each axis", width)
    if any(any(pair) for pair in sides[:-1]):
        raise layer.unsupported(f"pad_width={str(width)[:100]}", "only features can be padded")
    before, after = sides[-1]
    _check_size(layer, before + tensor.size + after)
    parts = [_constant(layer, tensor, count, float(fill), build) if count else "" for count in (before, after)]
    values = [value for value in (parts[0], tensor.value, parts[1]) if value]
    joined = build.concatenated(values, lambda: build.unique(layer.name))
    return (tensor.with_value(joined, before + tensor.size + after),)


def _are_counts(pair: Any) -> bool:
    return isinstance(pair, list) and len(pair) == 2 and all(type(side) is int and side >= 0 for side in pair)


def _constant(layer: Layer, beside: Tensor, size: int, number: float, build: Builder) -> str:
    weight = build.filled(layer, (size,), number)
    name = build.unique(f"{layer.name}.constant")
    return build.add(layers.Constant(name=name, inputs=(beside.value,), size=size), {"weight": weight})


@converts_function("ExpandDims")
def expand_dims(layer: Layer, args: Arguments, build: Builder) -> tuple[Tensor, ...]:
    """Return numbers as vectors of one feature, or a vector as one that is the same at every timestep."""
    tensor = args.only(layer)
    axis = layer.config.get("axis")
    if axis in (1, -2) and axis is not True and tensor.kind in (Kind.SINGLE, Kind.FLAT):
        return (repeated(build.value(layer, tensor, Kind.SINGLE), build, 1),)
    found = with_feature_axis(tensor, build) if axis in (-1, tensor.rank) else None
    if found is None:
        raise layer.unsupported("a new axis elsewhere than behind (batch, time)", "use axis=-1")
    return (found,)


@converts_function("Squeeze")
def squeeze(layer: Layer, args: Arguments, build: Builder) -> tuple[Tensor, ...]:
    """Return vectors of one feature as numbers, or a vector that is repeated once as it is."""
    if (tensor := args.only(layer)).repeats == 1 and layer.config.get("axis") in (1, -2):
        return (tensor.once,)
    return (without_feature_axis(layer, with_features(layer, args, build), build),)


@converts_function("Transpose", "Swapaxes", "Moveaxis")
def transpose(layer: Layer, args: Arguments, build: Builder) -> tuple[Tensor, ...]:
    """``transpose`` of time and features, and back."""
    tensor = args.only(layer)
    order = list(range(tensor.rank))
    if layer.kind == "Transpose":
        axes = layer.config.get("axes")
        order = order[::-1] if axes is None else axes
    else:
        names = ("axis1", "axis2") if layer.kind == "Swapaxes" else ("source", "destination")
        places = [layer.config.get(name) for name in names]
        if not all(type(place) is int and -tensor.rank <= place < tensor.rank for place in places):
            raise layer.unsupported(f"axes {str(places)[:50]}", "swap time and features, and back")
        first, second = (place % tensor.rank for place in places)
        if layer.kind == "Swapaxes":
            order[first], order[second] = order[second], order[first]
        else:
            order.insert(second, order.pop(first))
    return (turned(layer, tensor, order, build),)


def picked(layer: Layer, tensor: Tensor, places: Sequence[int], build: Builder) -> Tensor:
    """Return features in another order."""
    _check_size(layer, len(places))
    value = build.picked(tensor.value, places, lambda kind: build.unique(f"{layer.name}.{kind}"))
    return tensor.with_value(value, len(places))


def _check_size(layer: Layer, size: int) -> None:
    if not 0 < size <= MAX_FEATURES:
        raise layer.unsupported(f"{size} features", f"at most {MAX_FEATURES} can be put in other places")
