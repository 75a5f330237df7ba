"""Turns the entries of RTNeural's list of layers into grurt layers and their weights.

An entry's weights are those of the Keras layer, ``layer.get_weights()``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from grurt.array_types import Array
from grurt.converters.rtneural.reading import Fields, items, numbers, short, weights
from grurt.errors import ConversionError, DesignReason, UnsupportedError
from grurt.network import functions, layers
from grurt.network.functions import AnyFunction
from grurt.network.layers import AnyLayer

Weighted = tuple[AnyLayer, Mapping[str, Array]]

_FUNCTIONS: Mapping[str, AnyFunction] = {
    "tanh": functions.Tanh(),
    "relu": functions.Relu(),
    "sigmoid": functions.Sigmoid(),
    "softmax": functions.Softmax(),
    "elu": functions.Elu(),
}
"""The activations that RTNeural's loader knows."""

_REFUSED = {
    "lstm": ("an LSTM", "grurt runs GRU networks: train one", DesignReason.OTHER_RECURRENCE),
    "conv2d": ("a two-dimensional convolution", "grurt runs layers on one vector a timestep", DesignReason.IMAGES),
    "batchnorm2d": (
        "a two-dimensional normalization",
        "grurt runs layers on one vector a timestep",
        DesignReason.IMAGES,
    ),
    "unknown": (
        "a layer that RTNeural's exporter did not know, and that its loader leaves out",
        "if the network does not need it, as a Dropout, delete the entry; else convert the network's own file",
        DesignReason.NOT_SAID,
    ),
}
_MAX_WEIGHTS = 16
_MAX_EPSILON = 1e6
_EVERYWHERE = {"type", "name", "shape", "weights", "activation"}


@dataclass(frozen=True)
class Entry:
    """One entry of the list of layers, and what it is called in errors and in the model."""

    fields: Fields
    name: str
    input_size: int

    @property
    def where(self) -> str:
        return f"layer {self.name!r}"

    def get(self, field: str, default: object = None) -> Any:
        """Return the value of a field that is no weight."""
        return short(self.fields[field], f"{self.where}: {field}") if field in self.fields else default

    @property
    def kind(self) -> object:
        return self.get("type")

    @property
    def size(self) -> int:
        """Features of the layer's output: the last number of its shape."""
        return last_integer(self.get("shape"), f"{self.where}: shape")

    @cached_property
    def weights(self) -> list[bytes]:
        """The texts of the weights."""
        return (items(self.fields["weights"], _MAX_WEIGHTS) or []) if "weights" in self.fields else []

    def weight(self, index: int, axes: int, shape: tuple[int, ...]) -> Array:
        """Return one of the weights, checked to be of a shape."""
        array = weights(self.weights[index], axes, f"{self.where}, weight {index}")
        if array.shape != shape:
            raise ConversionError(
                f"{self.where}: expected weight {index} of shape {shape}, got {array.shape}; RTNeural reads it so "
                "too: write the file with its exporter for Keras, or convert the network's own file"
            )
        return array

    def count(self, *allowed: int) -> int:
        """Return how many weights there are, which has to be one of these numbers."""
        count = len(self.weights)
        if count not in allowed:
            raise ConversionError(
                f"{self.where}: expected {' or '.join(map(str, allowed))} weights, got {count}; "
                "the file was not written by RTNeural's exporter"
            )
        return count


def convert_entry(entry: Entry) -> Iterator[Weighted]:
    """Yield the layers of an entry: one, and the activation behind it."""
    if isinstance(entry.kind, str) and entry.kind in _REFUSED:
        found, advice, reason = _REFUSED[entry.kind]
        raise UnsupportedError(
            f"{entry.where}: expected one of {', '.join(_KINDS)}, got {found}; {advice}", reason=reason
        )
    if not isinstance(entry.kind, str) or entry.kind not in _KINDS:
        raise UnsupportedError(
            f"{entry.where}: expected a type among {', '.join(_KINDS)}, got {str(entry.kind)[:50]!r}; "
            "RTNeural would leave the layer out",
            reason=DesignReason.FAULTY_SOURCE,
        )
    convert, understood = _KINDS[entry.kind]
    if unknown := sorted(entry.fields.keys() - _EVERYWHERE - understood):
        raise UnsupportedError(
            f"{entry.where}: expected only {', '.join(sorted(_EVERYWHERE | understood))}, got {unknown[0][:50]!r}, "
            "which RTNeural would ignore; delete it if it changes nothing",
            reason=DesignReason.NOT_SAID,
        )
    yield from convert(entry)


def _with_activation(entry: Entry, layer: AnyLayer, arrays: Mapping[str, Array]) -> Iterator[Weighted]:
    yield layer, arrays
    if entry.get("activation", ""):
        function = _function(entry)
        yield layers.Activation(name=f"{entry.name}.{function.name}", function=function), {}


def _function(entry: Entry) -> AnyFunction:
    name = entry.get("activation")
    if not isinstance(name, str) or name not in _FUNCTIONS:
        raise UnsupportedError(
            f"{entry.where}: expected an activation among {', '.join(_FUNCTIONS)}, got {str(name)[:50]!r}"
        )
    return _FUNCTIONS[name]


def _activation(entry: Entry) -> Iterator[Weighted]:
    entry.count(0)
    if entry.get("activation", ""):
        yield layers.Activation(name=entry.name, function=_function(entry)), {}
        return
    raise UnsupportedError(
        f"{entry.where}: expected an activation among {', '.join(_FUNCTIONS)}, got none; RTNeural's exporter writes "
        "none for those that it does not know",
        reason=DesignReason.NOT_SAID,
    )


def _dense(entry: Entry) -> Iterator[Weighted]:
    """Dense: a kernel ``(input_size, output_size)``, transposed against grurt, and a bias ``(output_size,)``."""
    bias = entry.count(1, 2) == 2
    arrays = {"weight": entry.weight(0, 2, (entry.input_size, entry.size)).T}
    if bias:
        arrays["bias"] = entry.weight(1, 1, (entry.size,))
    layer = layers.Linear(name=entry.name, input_size=entry.input_size, output_size=entry.size, bias=bias)
    yield from _with_activation(entry, layer, arrays)


def _conv1d(entry: Entry) -> Iterator[Weighted]:
    """Conv1D: a kernel ``(kernel_size, input_size / groups, output_size)``, oldest timestep first, run causally."""
    kernel_size = last_integer(entry.get("kernel_size"), f"{entry.where}: kernel_size")
    dilation = last_integer(entry.get("dilation"), f"{entry.where}: dilation")
    groups = last_integer(entry.get("groups", 1), f"{entry.where}: groups")
    bias = entry.count(1, 2) == 2
    kernel = entry.weight(0, 3, (kernel_size, entry.input_size // groups, entry.size))
    if "name" in entry.fields and (kernel_size > 1 or min(kernel[0].shape) > 1):
        raise UnsupportedError(
            f"{entry.where}: expected a kernel of RTNeural's exporter for Keras, which names no layers, got one of "
            "model_utils_torch.py, which writes the numbers in a wrong order; save the state dict as JSON instead, and "
            "describe its layers",
            reason=DesignReason.FAULTY_SOURCE,
        )
    arrays = {"weight": kernel.transpose(2, 1, 0)}
    if bias:
        arrays["bias"] = entry.weight(1, 1, (entry.size,))
    layer = layers.Conv1d(
        name=entry.name,
        input_size=entry.input_size,
        output_size=entry.size,
        kernel_size=kernel_size,
        dilation=dilation,
        groups=groups,
        bias=bias,
    )
    yield from _with_activation(entry, layer, arrays)


def _gru(entry: Entry) -> Iterator[Weighted]:
    """GRU: kernels ``(k, 3 * hidden_size)`` and a bias ``(2, 3 * hidden_size)``, the reset gate after the product.

    The row of the table in `grurt.network.layers`: "Keras ``GRU``: z, r, n; columns of ``(k, 3 * hidden)``; a bias
    z, r, n". RTNeural computes with sigmoid and tanh, whatever the entry says.
    """
    if entry.get("activation", "") not in ("", "tanh"):
        raise UnsupportedError(
            f"{entry.where}: expected the activation 'tanh', got {str(entry.get('activation'))[:50]!r}, which "
            "RTNeural ignores; convert the Keras model's own file",
            reason=DesignReason.FAULTY_SOURCE,
        )
    entry.count(3)
    rows, hidden_size = 3 * entry.size, entry.size
    if numbers(entry.weights[2], axes=1) is not None:
        raise UnsupportedError(
            f"{entry.where}: expected a bias of shape (2, {rows}), got one of a Keras GRU with reset_after=False, "
            "which RTNeural cannot read; convert the Keras model's own file",
            reason=DesignReason.FAULTY_SOURCE,
        )
    bias = entry.weight(2, 2, (2, rows))
    yield (
        layers.GRU(name=entry.name, input_size=entry.input_size, hidden_size=hidden_size),
        {
            "weight_ih": entry.weight(0, 2, (entry.input_size, rows)).T,
            "weight_hh": entry.weight(1, 2, (hidden_size, rows)).T,
            "bias_ih": bias[0],
            "bias_hh": bias[1],
        },
    )


def _batch_norm(entry: Entry) -> Iterator[Weighted]:
    """BatchNormalization: gamma, beta, mean and variance; or, without gamma and beta, mean and variance."""
    size, affine = entry.input_size, entry.count(2, 4) == 4
    vectors = [entry.weight(index, 1, (size,)) for index in range(4 if affine else 2)]
    gamma, beta = vectors[:2] if affine else (np.ones(size, np.float32), np.zeros(size, np.float32))
    epsilon = entry.get("epsilon")
    if not isinstance(epsilon, float | int) or not abs(epsilon) < _MAX_EPSILON:
        raise ConversionError(f"{entry.where}: expected a number as its epsilon, got {str(epsilon)[:50]!r}")
    arrays = {"mean": vectors[-2], "variance": vectors[-1], "weight": gamma, "bias": beta}
    yield layers.BatchNorm(name=entry.name, size=size, epsilon=float(epsilon)), arrays


def _prelu(entry: Entry) -> Iterator[Weighted]:
    """PReLU: slopes ``(1, size)``, or one for all features ``(1, 1)``."""
    entry.count(1)
    slopes = weights(entry.weights[0], 2, f"{entry.where}, weight 0")
    if slopes.shape == (1, 1):
        yield layers.Activation(name=entry.name, function=functions.LeakyRelu(float(slopes[0, 0]))), {}
    else:
        yield (
            layers.PRelu(name=entry.name, size=entry.input_size),
            {"weight": entry.weight(0, 2, (1, entry.input_size))[0]},
        )


def last_integer(value: object, where: str) -> int:
    """Return an integer, or the last one of a list, as the exporters write sizes; ConversionError for anything else."""
    last = value[-1] if isinstance(value, list) and value else value
    if type(last) is not int or not 1 <= last <= 1 << 20:
        raise ConversionError(f"{where}: expected a size from 1 to {1 << 20}, got {str(last)[:50]!r}")
    return last


_KINDS: Mapping[str, tuple[Callable[[Entry], Iterator[Weighted]], set[str]]] = {
    "gru": (_gru, set()),
    "dense": (_dense, set()),
    "time-distributed-dense": (_dense, set()),
    "conv1d": (_conv1d, {"kernel_size", "dilation", "groups"}),
    "batchnorm": (_batch_norm, {"epsilon"}),
    "prelu": (_prelu, set()),
    "activation": (_activation, set()),
}
"""How each type of entry is converted, and the fields that it has beside those of all."""
