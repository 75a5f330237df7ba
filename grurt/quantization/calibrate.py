"""What calibration data is used for: the inputs of matrices are rescaled, and their weights rounded together."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from grurt.array_types import Array, Doubles, Floats
from grurt.errors import QuantizationError
from grurt.network.layers import BatchNorm, MatrixLayer
from grurt.network.network import N, Network
from grurt.quantization.observe import answers, exposed, unused_name
from grurt.quantization.rounding import round_features

if TYPE_CHECKING:
    from grurt.network.layers import AnyLayer
    from grurt.quantization.recordings import Recordings


LEAST_GAIN = 6.0
"""Decibels by which a layer's products must get better for its inputs to be rescaled, which takes an operation more."""

LEAST_ROWS = 100
"""Samples from which on their range is one that can be relied on."""

MAX_ROWS = 4096
"""Timesteps that statistics are made of; of longer data, as many that lie evenly."""

_NO_VARIANCE = {"variance": 1.0, "bias": 0.0}


@dataclass(frozen=True)
class Samples:
    """Vectors that a layer's matrices were multiplied with, ``(n, size)``, by the matrix's name."""

    by_matrix: dict[str, Doubles]

    def second_moments(self, matrix: str) -> Doubles:
        """Return ``(size, size)``: the mean of x x^T."""
        x = self.by_matrix[matrix]
        moments: Doubles = x.T @ x / len(x)
        return moments


def collect(model: Network, data: Recordings, layers: Collection[str]) -> dict[str, Samples]:
    """Run the float32 model, and return samples of those layers whose matrices multiply values as they are."""
    chosen = [
        layer
        for layer in model.layers
        if isinstance(layer, MatrixLayer) and layer.name in layers and layer.matrix_inputs()
    ]
    names = {layer.name for layer in model.layers}
    wanted = {value for layer in chosen for value in layer.matrix_inputs().values()}
    probe = exposed(model, sorted(wanted & names)) if wanted & names else None
    parts: dict[str, list[Floats]] = {name: [] for name in wanted}
    for sequence in data.sequences:
        written = {**sequence, **(answers(probe, sequence) if probe else {})}
        for name in wanted:
            parts[name].append(_sampled(written[name], len(written[name]) / data.steps))
    rows = {name: _rows(found, model.values[name].size) for name, found in parts.items()}
    for layer in chosen:
        if not all(np.isfinite(rows[value]).all() for value in layer.matrix_inputs().values()):
            raise QuantizationError(
                f"calibration: layer {layer.name!r}: expected finite numbers to multiply its weights with, got a NaN "
                "or an infinity, which layers make of the data; give data like those that the model was trained on"
            )
    return {
        layer.name: Samples({matrix: rows[value] for matrix, value in layer.matrix_inputs().items()})
        for layer in chosen
    }


def rescaled(model: N, samples: dict[str, Samples]) -> tuple[N, dict[str, Samples]]:
    """Return the same function, with a `BatchNorm` before layers whose inputs differ in scale or are far from zero.

    int8 rounds all features of a timestep with one scale. Where one of them is a pressure of 1013 and another an
    acceleration of 0.1, nothing would be left of the second. The BatchNorm maps each feature to [-1, 1] of what was
    seen, and the matrix and bias of the layer behind it undo that exactly but for rounding. Returned with the model are
    the samples as they are then.
    """
    layers: list[AnyLayer] = []
    weights: dict[str, Array] = dict(model.weights)
    samples = dict(samples)
    for layer in model.layers:
        own = samples.get(layer.name)
        if own is None or not isinstance(layer, MatrixLayer):
            layers.append(layer)
            continue
        matrix = layer.matrices[0]
        x = own.by_matrix[matrix]
        mean, spread = _range(x)
        weight = weights[f"{layer.name}.{matrix}"].astype(np.float64)
        if len(x) < LEAST_ROWS or _gain(weight, x, mean, spread) < LEAST_GAIN:
            layers.append(layer)
            continue
        norm = BatchNorm(
            name=unused_name(model, f"{layer.name}_range"),
            inputs=layer.inputs[:1],
            size=weight.shape[1],
            epsilon=1e-30,
        )
        biased = msgspec.structs.replace(layer, inputs=(norm.name, *layer.inputs[1:]), bias=True)
        layers += [norm, biased]
        weights |= {f"{norm.name}.mean": mean, f"{norm.name}.weight": 1 / spread}
        weights |= {f"{norm.name}.{name}": np.full(norm.size, number) for name, number in _NO_VARIANCE.items()}
        weights |= _absorbed(biased, weights, mean, spread)
        samples[layer.name] = Samples(own.by_matrix | {matrix: (x - mean) / spread})
    return model.replaced(layers=layers, weights=weights), samples


def _sampled(written: Floats, share: float) -> Floats:
    """Return timesteps that lie evenly: all, or this share of `MAX_ROWS` and one more."""
    count = min(len(written), int(share * MAX_ROWS) + 1)
    chosen: Floats = written[np.linspace(0, len(written) - 1, count).astype(int)]
    return chosen


def _rows(parts: list[Floats], size: int) -> Doubles:
    """Join samples; the positions of a grid are samples each."""
    return np.concatenate(parts).reshape(-1, size).astype(np.float64)


def _range(x: Doubles) -> tuple[Doubles, Doubles]:
    """Return the centre of each feature's values, and half their span: 1 where a feature is constant."""
    lowest, highest = x.min(axis=0), x.max(axis=0)
    spread = (highest - lowest) / 2
    # In float32, as they will be applied: the matrix has to undo just that.
    centre = ((highest + lowest) / 2).astype(np.float32).astype(np.float64)
    return centre, np.where(spread > 1e-6 * np.abs(centre) + 1e-20, spread, 1.0).astype(np.float32).astype(np.float64)


def _gain(weight: Doubles, x: Doubles, mean: Doubles, spread: Doubles) -> float:
    """Return the decibels by which rounding the features costs the products less if they are mapped to [-1, 1]."""
    mapped = (x - mean) / spread
    before = float((((x - round_features(x)) @ weight.T) ** 2).sum())
    after = float((((mapped - round_features(mapped)) * spread @ weight.T) ** 2).sum())
    return 10 * float(np.log10((before + 1e-300) / (after + 1e-300)))


def _absorbed(layer: MatrixLayer, weights: dict[str, Array], mean: Doubles, spread: Doubles) -> dict[str, Array]:
    """Return the weights of a layer, with biases, that undo ``(x - mean) / spread`` before it."""
    matrix, bias = (f"{layer.name}.{name}" for name in (layer.matrices[0], layer.input_bias))
    shapes = {f"{layer.name}.{name}": shape for name, shape in layer.weight_shapes().items()}
    new = {name: np.zeros(shape) for name, shape in shapes.items() if name not in weights}
    weight = weights[matrix].astype(np.float64)
    return new | {matrix: weight * spread, bias: (weights | new)[bias] + weight @ mean}
