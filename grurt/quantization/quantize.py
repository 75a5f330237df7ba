"""Makes a model with quantized weights out of one with float32 weights."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import get_args

import msgspec

from grurt.array_types import Array, Doubles, Floats
from grurt.errors import QuantizationError
from grurt.escaping import described, listed
from grurt.network.layers import MatrixLayer
from grurt.network.layers.base import QuantizedFormat, WeightFormat
from grurt.network.network import N, Network
from grurt.network.nibbles import pack_nibbles
from grurt.network.reference_run import ReferenceRun
from grurt.quantization.calibrate import Samples, collect, rescaled
from grurt.quantization.observe import matrix_layers
from grurt.quantization.recordings import Data, Recordings, recordings
from grurt.quantization.rounding import to_float16, to_int4, to_int8
from grurt.runtime.foreign import was_raised_below
from grurt.runtime.sequences import run_mapping


def quantize(
    model: N,
    weight_format: QuantizedFormat,
    *,
    keep: Collection[str] = (),
    calibration: Data | Recordings | None = None,
) -> N:
    """Return a model with the matrices of all layers but those of ``keep`` in fewer bits: see `Model.quantize`.

    If the model has a reference run, the new one has a run with the same inputs and its own answers to them, so that
    `verify` shows whether it computes elsewhere what it computes here.
    """
    kept = check_arguments(model, weight_format, keep)
    chosen = {layer.name for layer in quantizable(model)} - kept
    if not chosen:
        raise QuantizationError("no layer is left to be quantized: GRU, Linear, Embedding and Conv1d layers can be")
    samples: dict[str, Samples] = {}
    if calibration is not None and weight_format != "float16":
        samples = collect(model, recordings(model, calibration), chosen)
        model, samples = rescaled(model, samples)
    arrays: dict[str, Array] = dict(model.weights)
    formats: dict[str, WeightFormat] = {}
    for layer in quantizable(model):
        if layer.name in chosen:
            formats[layer.name] = layer.nearest_format(weight_format)
            for matrix in layer.matrices:
                name = f"{layer.name}.{matrix}"
                moments = samples[layer.name].second_moments(matrix) if layer.name in samples else None
                arrays |= _rounded(name, arrays[name], formats[layer.name], moments)
    layers = [
        msgspec.structs.replace(layer, weight_format=formats[layer.name]) if layer.name in formats else layer
        for layer in model.layers
    ]
    return _with_own_reference_run(
        model, model.replaced(layers=layers, weights=arrays, reference_run=None), weight_format
    )


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
    if unknown := kept - {layer.name for layer in model.layers}:
        first = min(map(described, unknown))
        raise QuantizationError(f"keep: the model has no layer {first}: {_names(model)}")
    if any(layer.weight_format != "float32" for layer in matrix_layers(model)):
        raise QuantizationError("the model is quantized already: quantize the float32 model that it was made from")
    return kept


def quantizable(model: Network) -> Iterator[MatrixLayer]:
    """Return the layers whose matrices can be quantized, in order."""
    return (layer for layer in matrix_layers(model) if layer.is_quantizable)


def _names(model: Network) -> str:
    return "its layers are " + listed(layer.name for layer in model.layers)


def _rounded(
    name: str, matrix: Floats, weight_format: WeightFormat, second_moments: Doubles | None
) -> dict[str, Array]:
    if weight_format == "float16":
        return {name: to_float16(name, matrix)}
    if weight_format == "int4":
        halves, scale = to_int4(matrix, second_moments)
        return {name: pack_nibbles(halves), f"{name}_scale": scale}
    rounded, scale = to_int8(matrix, second_moments)
    return {name: rounded, f"{name}_scale": scale}


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
