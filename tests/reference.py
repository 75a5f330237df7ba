"""What a model computes, in slow float64 NumPy: the truth that the engine is compared with.

Every layer stands here in the un-rearranged form of its paper or ONNX operator, one timestep at a time, and shares no
code with the engine. A value is ``(n_steps, size)`` for a sequence, ``(n_steps, positions, size)`` for one of grids,
and without the first axis for one vector or grid.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from grurt.network import functions, layers
from grurt.network.layers import AnyLayer

if TYPE_CHECKING:
    from grurt import Model

Array = np.ndarray[Any, np.dtype[np.float64]]
States = dict[str, Array]


def run(
    model: Model, inputs: Mapping[str, Any], states: Mapping[str, Any] | None = None
) -> tuple[dict[str, Array], States]:
    """Run a whole sequence: features ``(n_steps, size)`` or tokens ``(n_steps,)`` by the model's input names.

    ``states`` replaces the initial state of the layers that it names. Returns the outputs by name, ``(n_steps, size)``
    or, behind LastStep and FirstStep, ``(size,)``; and the states after the last timestep by layer name.
    """
    return _evaluate(
        model, inputs, states or {}, {layers.LastStep: lambda xs: xs[-1], layers.FirstStep: lambda xs: xs[0]}
    )


def step_outputs(model: Model, inputs: Mapping[str, Any], states: Mapping[str, Any] | None = None) -> dict[str, Array]:
    """Return the outputs ``(n_steps, size)`` as a stream gives them: LastStep is the latest step, the answer so far."""
    return _evaluate(model, inputs, states or {}, {layers.LastStep: lambda xs: xs})[0]


def _evaluate(
    model: Model,
    inputs: Mapping[str, Any],
    states: Mapping[str, Any],
    pick: Mapping[type[AnyLayer], Callable[[Array], Array]],
) -> tuple[dict[str, Array], States]:
    values = {
        port.name: np.asarray(inputs[port.name], np.float64 if not port.tokens else np.int64) for port in model.inputs
    }
    final: States = {}
    for layer in model.layers:
        sources = _side_by_side(model, layer, [values[name] for name in layer.inputs])
        weights = {name: model.weights[f"{layer.name}.{name}"].astype(np.float64) for name in layer.weight_shapes()}
        shape = model.state_shapes.get(layer.name)
        if isinstance(layer, layers.Flatten) and model.values[layer.inputs[0]].positions == 1:
            values[layer.name] = sources[0]
        elif type(layer) in pick:
            values[layer.name] = pick[type(layer)](sources[0])
        elif shape is None:
            values[layer.name] = _LAYERS[type(layer)](layer, weights, *sources)
        else:
            initial = weights.get("initial_state", np.zeros(shape))
            if isinstance(layer, layers.GRU) and layer.initial_state == "value":
                initial = sources.pop()
            start = np.asarray(states.get(layer.name, np.broadcast_to(initial, shape)), np.float64)
            assert start.shape == shape
            values[layer.name], final[layer.name] = _RECURRENT[type(layer)](layer, weights, *sources, start)
    return {output.name: values[output.value] for output in model.outputs}, final


def _side_by_side(model: Model, layer: AnyLayer, sources: list[Array]) -> list[Array]:
    """Repeat the vectors of other sequences at every timestep of the layer's own; but not a GRU's initial state."""
    if not model.values[layer.name].per_step:
        return sources
    n_steps = len(sources[[model.values[name].per_step for name in layer.inputs].index(True)])
    return [
        source
        if model.values[name].per_step or isinstance(layer, layers.GRU)
        else np.broadcast_to(source, (n_steps, *source.shape))
        for name, source in zip(layer.inputs, sources, strict=True)
    ]


def gru(layer: layers.GRU, weights: Mapping[str, Array], xs: Array, *mask_and_state: Array) -> tuple[Array, Array]:
    """A GRU over time: of a grid, every position by itself."""
    *masks, start = mask_and_state
    if xs.ndim == 2:
        return sequence_gru(layer, weights, xs, start, *masks)
    scanned = [
        sequence_gru(layer, weights, xs[:, p], start[p], *(mask[:, p] for mask in masks)) for p in range(xs.shape[1])
    ]
    return np.stack([ys for ys, _ in scanned], axis=1), np.stack([h for _, h in scanned])


def gru_over_positions(layer: layers.GRU, weights: Mapping[str, Array], xs: Array, *masks: Array) -> Array:
    start = weights.get("initial_state", np.zeros(layer.hidden_size))
    if xs.ndim == 2:
        return gru_over_positions(layer, weights, xs[:, None], *(mask[:, None] for mask in masks))[:, 0]
    return np.stack([sequence_gru(layer, weights, x, start, *(mask[t] for mask in masks))[0] for t, x in enumerate(xs)])


def sequence_gru(
    layer: layers.GRU, weights: Mapping[str, Array], xs: Array, h: Array, mask: Array | None = None
) -> tuple[Array, Array]:
    """Cho et al. 2014; ONNX GRU: direction, linear_before_reset, activations, clip (of the activations' arguments)."""
    rows = 3 * layer.hidden_size
    w_z, w_r, w_n = np.split(weights["weight_ih"], 3)
    r_z, r_r, r_n = np.split(weights["weight_hh"], 3)
    b_z, b_r, b_n = np.split(weights.get("bias_ih", np.zeros(rows)), 3)
    c_z, c_r, c_n = np.split(weights.get("bias_hh", np.zeros(rows)), 3)
    limit = math.inf if layer.clip is None else layer.clip

    def f(x: Array) -> Array:
        return function(layer.gate_activation, np.clip(x, -limit, limit))

    def g(x: Array) -> Array:
        return function(layer.candidate_activation, np.clip(x, -limit, limit))

    ys = np.empty((len(xs), layer.hidden_size))
    order = range(len(xs)) if layer.direction == "forward" else range(len(xs) - 1, -1, -1)
    for t in order:
        if mask is not None and mask[t] == 0:
            ys[t] = h
            continue
        x = xs[t]
        z = f(w_z @ x + b_z + r_z @ h + c_z)
        r = f(w_r @ x + b_r + r_r @ h + c_r)
        if layer.linear_before_reset:
            n = g(w_n @ x + b_n + r * (r_n @ h + c_n))
        else:
            n = g(w_n @ x + b_n + r_n @ (r * h) + c_n)
        h = (1 - z) * n + z * h
        ys[t] = h
    return ys, h


def conv1d(layer: layers.Conv1d, weights: Mapping[str, Array], xs: Array, history: Array) -> tuple[Array, Array]:
    """ONNX Conv over the timesteps, padded with the history on the left only."""
    padded = np.concatenate([history, xs])
    ys = np.tile(weights.get("bias", np.zeros(layer.output_size)), (len(xs), 1))
    inputs_per_group = layer.input_size // layer.groups
    outputs_per_group = layer.output_size // layer.groups
    for t in range(len(xs)):
        for output in range(layer.output_size):
            first = output // outputs_per_group * inputs_per_group
            for k in range(layer.kernel_size):
                x = padded[t + k * layer.dilation, first : first + inputs_per_group]
                ys[t, output] += weights["weight"][output, :, k] @ x
    return ys, padded[len(padded) - len(history) :]


def linear(layer: layers.Linear, weights: Mapping[str, Array], x: Array) -> Array:
    return x @ weights["weight"].T + weights.get("bias", np.zeros(layer.output_size))


def embedding(layer: layers.Embedding, weights: Mapping[str, Array], tokens: Array) -> Array:
    return weights["weight"][tokens]


def layer_norm(layer: layers.LayerNorm, weights: Mapping[str, Array], x: Array) -> Array:
    centred = x - x.mean(axis=-1, keepdims=True)
    variance = (centred**2).mean(axis=-1, keepdims=True)
    return centred / np.sqrt(variance + layer.epsilon) * weights.get("weight", 1.0) + weights.get("bias", 0.0)


def batch_norm(layer: layers.BatchNorm, weights: Mapping[str, Array], x: Array) -> Array:
    normalized = (x - weights["mean"]) / np.sqrt(weights["variance"] + layer.epsilon)
    return normalized * weights["weight"] + weights["bias"]


def add(layer: layers.Add, weights: Mapping[str, Array], *sources: Array) -> Array:
    return functools.reduce(np.add, sources)


def mul(layer: layers.Mul, weights: Mapping[str, Array], *sources: Array) -> Array:
    return functools.reduce(np.multiply, sources)


def concat(layer: layers.Concat, weights: Mapping[str, Array], *sources: Array) -> Array:
    return np.concatenate(sources, axis=-1)


def slice_(layer: layers.Slice, weights: Mapping[str, Array], x: Array) -> Array:
    return x[..., layer.start : layer.stop]


def unflatten(layer: layers.Unflatten, weights: Mapping[str, Array], x: Array) -> Array:
    return x.reshape(*x.shape[:-1], layer.positions, -1) if layer.positions > 1 else x


def flatten(layer: layers.Flatten, weights: Mapping[str, Array], x: Array) -> Array:
    return x.reshape(*x.shape[:-2], -1)


def feature_mask(layer: layers.FeatureMask, weights: Mapping[str, Array], x: Array) -> Array:
    return np.any(x != np.float32(layer.mask_value), axis=-1, keepdims=True).astype(np.float64)


def token_mask(layer: layers.TokenMask, weights: Mapping[str, Array], tokens: Array) -> Array:
    return (tokens != layer.token).astype(np.float64)[:, None]


def activation(layer: layers.Activation, weights: Mapping[str, Array], x: Array) -> Array:
    return function(layer.function, x)


def prelu(layer: layers.PRelu, weights: Mapping[str, Array], x: Array) -> Array:
    return np.where(x >= 0, x, weights["weight"] * x)


def function(f: functions.AnyFunction, x: Array) -> Array:
    """Apply a function of `grurt.network.functions`; softmax and log_softmax over the last axis."""
    match f:
        case functions.Relu():
            return np.maximum(x, 0)
        case functions.LeakyRelu():
            return np.where(x >= 0, x, f.negative_slope * x)
        case functions.ThresholdedRelu():
            return np.where(x <= f.threshold, 0, x)
        case functions.Elu():
            return np.where(x >= 0, x, f.alpha * np.expm1(np.minimum(x, 0)))
        case functions.Gelu(approximate="none"):
            return x * 0.5 * (1 + np.vectorize(math.erf, otypes=[np.float64])(x / math.sqrt(2)))
        case functions.Gelu():
            return x / 2 * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
        case functions.Sigmoid():
            return np.exp(-np.logaddexp(0, -x))
        case functions.HardSigmoid():
            return np.clip(f.slope * x + f.offset, 0, 1)
        case functions.Tanh():
            return np.tanh(x)
        case functions.ScaledTanh():
            return f.alpha * np.tanh(f.beta * x)
        case functions.Softsign():
            return x / (1 + np.abs(x))
        case functions.Softplus():
            return np.logaddexp(0, x)
        case functions.Affine():
            return f.scale * x + f.offset
        case functions.Clip():
            return np.clip(x, f.minimum, f.maximum)
        case functions.Softmax():
            exponentials = np.exp(x - x.max(axis=-1, keepdims=True))
            return exponentials / exponentials.sum(axis=-1, keepdims=True)
        case functions.LogSoftmax():
            shifted = x - x.max(axis=-1, keepdims=True)
            return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    raise NotImplementedError(f)


_LAYERS: dict[type[AnyLayer], Callable[..., Array]] = {
    layers.Linear: linear,
    layers.Embedding: embedding,
    layers.LayerNorm: layer_norm,
    layers.BatchNorm: batch_norm,
    layers.Conv1d: lambda layer, weights, xs: conv1d(layer, weights, xs, np.zeros((0, layer.input_size)))[0],
    layers.Add: add,
    layers.Mul: mul,
    layers.Concat: concat,
    layers.Slice: slice_,
    layers.Unflatten: unflatten,
    layers.Flatten: flatten,
    layers.FeatureMask: feature_mask,
    layers.TokenMask: token_mask,
    layers.GRU: gru_over_positions,
    layers.Activation: activation,
    layers.PRelu: prelu,
}

_RECURRENT: dict[type[AnyLayer], Callable[..., tuple[Array, Array]]] = {layers.GRU: gru, layers.Conv1d: conv1d}
