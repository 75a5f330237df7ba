"""Makes a model with quantized weights out of one with float32 weights."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING, Any, Literal, get_args

import msgspec
import numpy as np
from numpy.typing import NDArray

from grurt.errors import QuantizationError
from grurt.layers import GRU, Conv1d, MatrixLayer, WeightFormat
from grurt.model import Model
from grurt.nibbles import pack_nibbles
from grurt.quantization.calibrate import Samples, collect, rescaled
from grurt.quantization.recordings import Data, Recordings, recordings
from grurt.quantization.rounding import Doubles, to_float16, to_int4, to_int8
from grurt.reference_run import ReferenceRun

if TYPE_CHECKING:
    from grurt.layers import AnyLayer

Weights = Literal["int8", "int4", "float16"]


def quantize(
    model: Model, weights: Weights, *, keep: Collection[str] = (), calibration: Data | Recordings | None = None
) -> Model:
    """Return a model with the matrices of all layers but those of ``keep`` in fewer bits: see `Model.quantize`.

    If the model has a reference run, the new one has a run with the same inputs and its own answers to them, so that
    `verify` shows whether it computes elsewhere what it computes here.
    """
    check_arguments(model, weights, keep)
    chosen = {layer.name for layer in quantizable(model)} - set(keep)
    if not chosen:
        raise QuantizationError("no layer is left to be quantized: GRU, Linear, Embedding and Conv1d layers can be")
    samples: dict[str, Samples] = {}
    if calibration is not None and weights != "float16":
        samples = collect(model, recordings(model, calibration), chosen)
        model, samples = rescaled(model, samples)
    arrays: dict[str, NDArray[Any]] = dict(model.weights)
    formats: dict[str, WeightFormat] = {}
    for layer in quantizable(model):
        if layer.name in chosen:
            formats[layer.name] = "int8" if weights == "int4" and not isinstance(layer, GRU) else weights
            for matrix in layer.matrices:
                name = f"{layer.name}.{matrix}"
                moments = samples[layer.name].second_moments(matrix) if layer.name in samples else None
                arrays |= _rounded(name, arrays[name], formats[layer.name], moments)
    layers = [
        msgspec.structs.replace(layer, weight_format=formats[layer.name]) if layer.name in formats else layer
        for layer in model.layers
    ]
    return _with_own_reference_run(model, _rebuilt(model, layers, arrays), weights)


def check_arguments(model: Model, weights: str, keep: Collection[str]) -> None:
    """Raise QuantizationError unless the model can be quantized so."""
    if weights not in get_args(Weights):
        raise QuantizationError(f'weights: expected "int8", "int4" or "float16", got {weights!r}')
    if unknown := sorted(set(keep) - {layer.name for layer in model.layers}):
        raise QuantizationError(f"keep: the model has no layer {unknown[0]!r}: {_names(model)}")
    if any(layer.weight_format != "float32" for layer in _matrix_layers(model)):
        raise QuantizationError("the model is quantized already: quantize the float32 model that it was made from")


def quantizable(model: Model) -> Iterator[MatrixLayer]:
    """Return the layers whose matrices can be quantized, in order."""
    return (layer for layer in _matrix_layers(model) if not (isinstance(layer, Conv1d) and layer.is_depthwise))


def _matrix_layers(model: Model) -> Iterator[MatrixLayer]:
    return (layer for layer in model.layers if isinstance(layer, MatrixLayer))


def _names(model: Model) -> str:
    return "its layers are " + ", ".join(layer.name for layer in model.layers)


def _rounded(
    name: str, matrix: NDArray[np.float32], weight_format: WeightFormat, second_moments: Doubles | None
) -> dict[str, NDArray[Any]]:
    if weight_format == "float16":
        return {name: to_float16(name, matrix)}
    if weight_format == "int4":
        halves, scale = to_int4(matrix, second_moments)
        return {name: pack_nibbles(halves), f"{name}_scale": scale}
    rounded, scale = to_int8(matrix, second_moments)
    return {name: rounded, f"{name}_scale": scale}


def _rebuilt(
    model: Model, layers: list[AnyLayer], arrays: dict[str, NDArray[Any]], run: ReferenceRun | None = None
) -> Model:
    return Model(
        inputs=model.inputs,
        layers=layers,
        outputs=model.outputs,
        weights=arrays,
        signature=model.signature,
        source=model.source,
        reference_run=run,
    )


def _with_own_reference_run(model: Model, quantized: Model, weights: str) -> Model:
    from grurt.sequences import run_mapping

    source_run = model.reference_run
    if source_run is None:
        return quantized
    answers = run_mapping(quantized, source_run.inputs, lengths=None, nonfinite="refuse")
    run = ReferenceRun(
        source_run.inputs,
        {name: answers[name] for name in source_run.outputs},
        produced_by=f"grurt, with {weights} weights",
    )
    return _rebuilt(quantized, list(quantized.layers), dict(quantized.weights), run)
