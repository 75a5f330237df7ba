"""Makes a model with quantized weights out of one with float32 weights."""

from __future__ import annotations

from collections.abc import Collection
from typing import get_args

import numpy as np

from grurt.array_types import Array, Doubles, Floats
from grurt.errors import QuantizationError
from grurt.escaping import described, listed
from grurt.network.layers import AnyLayer
from grurt.network.layers.base import Part, QuantizedFormat, WeightFormat
from grurt.network.network import N, Network
from grurt.network.nibbles import pack_nibbles
from grurt.network.reference_run import ReferenceRun
from grurt.quantization.calibrate import Samples, collect, rescaled
from grurt.quantization.recordings import Data, Recordings, recordings
from grurt.quantization.rounding import to_float16, to_int4, to_int8_along
from grurt.runtime.foreign import was_raised_below
from grurt.runtime.sequences import run_mapping


def quantize(
    model: N,
    weight_format: QuantizedFormat,
    *,
    keep: Collection[str] = (),
    calibration: Data | Recordings | None = None,
) -> N:
    """Return a model with all weight matrices but those of ``keep`` in fewer bits: see `Model.quantize`.

    If the model has a reference run, the new one has a run with the same inputs and its own answers to them, so that
    `verify` shows whether it computes elsewhere what it computes here.
    """
    chosen = parts_but(model, check_arguments(model, weight_format, keep))
    if not chosen:
        raise QuantizationError(
            "no layer is left to be quantized: GRU, Linear, Embedding, Conv1d and Program layers can be"
        )
    samples: dict[str, Samples] = {}
    if calibration is not None and weight_format != "float16":
        samples = collect(model, recordings(model, calibration), {layer.name for layer, _ in chosen})
        model, samples = rescaled(model, samples)
    layers = {layer.name: layer for layer in model.layers}
    arrays: dict[str, Array] = dict(model.weights)
    for old, part in chosen:
        nearest = old.nearest_format(weight_format)
        layers[old.name] = layers[old.name].in_format(part.matrices, nearest)
        for matrix in part.matrices:
            moments = samples[old.name].second_moments(matrix) if old.name in samples else None
            arrays |= _rounded(layers[old.name], matrix, arrays[f"{old.name}.{matrix}"], nearest, moments)
    quantized = model.replaced(layers=layers.values(), weights=arrays, reference_run=None)
    return _with_own_reference_run(model, quantized, weight_format)


def check_arguments(model: Network, weight_format: str, keep: Collection[str]) -> frozenset[str]:
    """Return the names of the layers to keep; raise QuantizationError unless the model can be quantized so."""
    if not isinstance(weight_format, str) or weight_format not in get_args(QuantizedFormat):
        raise QuantizationError(f'weight_format: expected "int8", "int4" or "float16", got {described(weight_format)}')
    try:
        kept = frozenset(keep)
    except TypeError as error:
        if was_raised_below(error):
            raise
        raise QuantizationError(f"keep: expected names of layers, got {described(keep)}: {_names(model)}") from None
    names = {name for layer in model.layers for part in layer.parts() for name in part.names}
    if unknown := kept - names - {layer.name for layer in model.layers}:
        first = min(map(described, unknown))
        raise QuantizationError(f"keep: the model has no layer {first}: {_names(model)}")
    if any(layer.matrix_formats() for layer in model.layers):
        raise QuantizationError("the model is quantized already: quantize the float32 model that it was made from")
    return kept


def parts_but(model: Network, kept: Collection[str]) -> list[tuple[AnyLayer, Part]]:
    """Return what can be quantized, with its layer, in order, but for what has one of some names, or its layer has."""
    return [
        (layer, part)
        for layer in model.layers
        if layer.name not in kept
        for part in layer.parts()
        if not {*part.names} & {*kept}
    ]


def _names(model: Network) -> str:
    several = [part.name for layer in model.layers for part in layer.parts() if part.name != layer.name]
    beside = f", and their matrices {listed(several)}" if several else ""
    return f"its layers are {listed(layer.name for layer in model.layers)}{beside}"


def _rounded(
    layer: AnyLayer, matrix: str, numbers: Floats, weight_format: WeightFormat, second_moments: Doubles | None
) -> dict[str, Array]:
    name = f"{layer.name}.{matrix}"
    if not np.isfinite(numbers).all():
        raise QuantizationError(f"weight {name}: expected finite numbers to be quantized, got an infinity: keep it")
    if weight_format == "float16":
        return {name: to_float16(name, numbers)}
    if weight_format == "int4":
        halves, scale = to_int4(numbers, second_moments)
        return {name: pack_nibbles(halves), f"{name}_scale": scale}
    rounded, scale = to_int8_along(numbers, layer.summed_axes(matrix), second_moments)
    return {name: rounded, f"{name}_scale": scale.reshape(layer.weight_shapes()[f"{matrix}_scale"])}


def _with_own_reference_run(model: Network, quantized: N, weight_format: str) -> N:
    source_run = model.reference_run
    if source_run is None:
        return quantized
    answers = run_mapping(quantized, source_run.inputs, lengths=None, nonfinite="refuse")
    run = ReferenceRun(
        source_run.inputs,
        {name: answers[name] for name in source_run.outputs},
        produced_by=f"grurt, with {weight_format} weights",
    )
    return quantized.replaced(reference_run=run)
