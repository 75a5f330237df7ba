"""What each layer writes, in the un-rearranged form of its paper or ONNX operator, one timestep at a time.

A value is ``(n_steps, size)`` for a sequence, ``(n_steps, positions, size)`` for one of grids, and without the first
axis for one vector or grid. Each function is called as its layer, whose docstring has the equation in words.
"""

import functools
import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from grurt.array_types import Doubles
from grurt.network import layers
from grurt.network.layers import AnyLayer
from grurt.reference.cells import gru_cell
from grurt.reference.functions import BINARY, function

Weights = Mapping[str, Doubles]
States = dict[str, Doubles]

_REDUCE: dict[str, Callable[[Doubles], Doubles]] = {
    "sum": lambda x: x.sum(axis=-1),
    "mean": lambda x: x.mean(axis=-1),
    "prod": lambda x: x.prod(axis=-1),
    "max": lambda x: x.max(axis=-1),
    "min": lambda x: x.min(axis=-1),
    "l1": lambda x: np.abs(x).sum(axis=-1),
    "l2": lambda x: np.sqrt((x**2).sum(axis=-1)),
    "log_sum_exp": lambda x: np.logaddexp.reduce(x, axis=-1),
    "argmax": lambda x: x.argmax(axis=-1),
    "argmin": lambda x: x.argmin(axis=-1),
}

_SCORE_MARGIN = 8.0
"""How far scores may exceed the one that others are compared with, before they take its place."""


def gru(layer: layers.GRU, weights: Weights, xs: Doubles, *others: Any) -> tuple[Doubles, States]:
    """Scan the time: of a grid, every position by itself. The others: mask and factor, where there are, and states."""
    *beside, states = others
    start = states[layer.name]
    if xs.ndim == 2:
        ys, h = sequence_gru(layer, weights, xs, start, *beside)
        return ys, {layer.name: h}
    scanned = [
        sequence_gru(layer, weights, xs[:, p], start[p], *(each[:, p] for each in beside)) for p in range(xs.shape[1])
    ]
    return np.stack([ys for ys, _ in scanned], axis=1), {layer.name: np.stack([h for _, h in scanned])}


def gru_over_positions(layer: layers.GRU, weights: Weights, xs: Doubles, *masks: Doubles) -> Doubles:
    start = weights.get("initial_state", np.zeros(layer.hidden_size))
    if xs.ndim == 2:
        return gru_over_positions(layer, weights, xs[:, None], *(mask[:, None] for mask in masks))[:, 0]
    return np.stack([sequence_gru(layer, weights, x, start, *(mask[t] for mask in masks))[0] for t, x in enumerate(xs)])


def sequence_gru(
    layer: layers.GRU, weights: Weights, xs: Doubles, h: Doubles, *beside: Doubles
) -> tuple[Doubles, Doubles]:
    """ONNX GRU: direction, linear_before_reset, activations, clip (of the activations' arguments).

    ``beside`` are the mask and the factor of the state, where the layer has them.
    """
    mask = beside[0] if layer.masked else None
    factor = beside[-1] if layer.scaled_state else None
    no_bias = np.zeros(3 * layer.hidden_size)
    biases = weights.get("bias_ih", no_bias), weights.get("bias_hh", no_bias)
    parameters = (weights["weight_ih"], weights["weight_hh"], *biases)
    limit = math.inf if layer.clip is None else layer.clip

    def f(x: Doubles) -> Doubles:
        return function(layer.gate_activation, np.clip(x, -limit, limit))

    def g(x: Doubles) -> Doubles:
        return function(layer.candidate_activation, np.clip(x, -limit, limit))

    ys = np.empty((len(xs), layer.hidden_size))
    order = range(len(xs)) if layer.direction == "forward" else range(len(xs) - 1, -1, -1)
    for t in order:
        h = h if factor is None else factor[t] * h
        if mask is not None and mask[t] == 0:
            ys[t] = h
            continue
        (h,) = gru_cell(f, g, parameters, xs[t], h, linear_before_reset=layer.linear_before_reset)
        ys[t] = h
    return ys, h


def conv1d(layer: layers.Conv1d, weights: Weights, xs: Doubles, states: States) -> tuple[Doubles, States]:
    """ONNX Conv over the timesteps, padded with the history on the left only."""
    padded = np.concatenate([states[layer.name], xs])
    ys = np.tile(weights.get("bias", np.zeros(layer.output_size)), (len(xs), 1))
    inputs_per_group = layer.input_size // layer.groups
    outputs_per_group = layer.output_size // layer.groups
    for t in range(len(xs)):
        for output in range(layer.output_size):
            first = output // outputs_per_group * inputs_per_group
            for k in range(layer.kernel_size):
                x = padded[t + k * layer.dilation, first : first + inputs_per_group]
                ys[t, output] += weights["weight"][output, :, k] @ x
    return ys, {layer.name: padded[len(xs) :]}


def time_pooling(layer: layers.TimePooling, weights: Weights, xs: Doubles, *others: Any) -> tuple[Doubles, States]:
    """Pool the timesteps up to each. The others: scores and mask, where there are, and states."""
    *beside, states = others
    is_counted = beside[-1][:, 0] != 0 if layer.masked else np.ones(len(xs), bool)
    if layer.has_scores:
        return _softmax_pooling(layer, xs, beside[0], is_counted, states)
    total, count = states[layer.name], states[f"{layer.name}.count"]
    ys = np.empty_like(xs)
    for t, x in enumerate(xs):
        if is_counted[t]:
            if layer.operation == "max":
                total = x[np.newaxis] if count[0] == 0 else np.maximum(total, x)
            else:
                total = total + np.stack([x, np.zeros_like(x)])
            count = count + np.array([1, 0])
        is_mean = layer.operation == "mean" and count.sum() > 0
        ys[t] = total.sum(axis=0) / (count.sum() if is_mean else 1.0)
    return ys, {layer.name: total, f"{layer.name}.count": count}


def _softmax_pooling(
    layer: layers.TimePooling, xs: Doubles, scores: Doubles, is_counted: Any, states: States
) -> tuple[Doubles, States]:
    total, (reference, *weight_rows) = states[layer.name], states[f"{layer.name}.scores"]
    weight = np.stack(weight_rows)
    ys = np.empty_like(xs)
    for t, (x, score) in enumerate(zip(xs, scores, strict=True)):
        if is_counted[t]:
            is_empty = weight[0] == 0
            new = np.where(is_empty | (score > reference + _SCORE_MARGIN), score, reference)
            factor = np.where(is_empty, 0.0, np.exp(np.where(is_empty, 0.0, reference - new)))
            added = np.where(np.isneginf(score), 0.0, np.exp(np.where(np.isneginf(score), 0.0, score - new)))
            total = factor * total + np.stack([added * x, np.zeros_like(x)])
            weight = factor * weight + np.stack([added, np.zeros_like(added)])
            reference = new
        ys[t] = total.sum(axis=0) / np.where(weight.sum(axis=0) == 0, 1.0, weight.sum(axis=0))
    return ys, {layer.name: total, f"{layer.name}.scores": np.stack([reference, *weight])}


def attention(layer: layers.Attention, weights: Weights, query: Doubles, *memory: Doubles) -> Doubles:
    """Attend to whole sequences: for a query ``(key_size,)`` once, for queries ``(n_steps, key_size)`` at each."""
    if query.ndim == 1:
        return _attend(layer, weights, query, *memory)
    ends = range(1, len(query) + 1) if layer.causal else [len(query)] * len(query)
    return np.array(
        [_attend(layer, weights, q, *(rows[:end] for rows in memory)) for q, end in zip(query, ends, strict=True)]
    )


def attention_so_far(layer: layers.Attention, weights: Weights, query: Doubles, *others: Any) -> tuple[Doubles, States]:
    """Attend to the timesteps that are remembered, and those up to each; of a query ``(key_size,)``, to all, once."""
    *new, states = others
    (count,) = states[f"{layer.name}.count"].astype(int)
    names = [layer.name if layer.shares_memory else f"{layer.name}.keys", layer.name, f"{layer.name}.bias"]
    memory = [
        np.concatenate([states[name][:count].reshape(count, rows.shape[1]), rows])
        for name, rows in zip(names, new, strict=False)
    ]
    final = {f"{layer.name}.count": np.array([count + len(new[0])], np.float64)}
    for name, rows in zip(names, memory, strict=False):
        final[name] = np.concatenate([rows.reshape(len(rows), *states[name].shape[1:]), states[name][len(rows) :]])
    if query.ndim == 1:
        return _attend(layer, weights, query, *memory), final
    ends = range(count + 1, count + len(query) + 1)
    ys = [_attend(layer, weights, q, *(rows[:end] for rows in memory)) for q, end in zip(query, ends, strict=True)]
    return np.array(ys), final


def _attend(
    layer: layers.Attention, weights: Weights, query: Doubles, keys: Doubles, values: Doubles, *biases: Doubles
) -> Doubles:
    heads = (np.split(each, layer.heads, axis=-1) for each in (query, keys, values))
    weight = np.split(weights.get("weight", np.zeros(layer.key_size)), layer.heads)
    answers = []
    for q, k, v, w in zip(*heads, weight, strict=True):
        scores = k @ q * layer.scale if layer.score == "dot" else np.tanh(q + k) @ w
        for bias in biases:
            scores = scores + bias[:, 0]
        is_counted = scores > -math.inf
        shares = np.exp(scores[is_counted] - scores[is_counted].max(initial=-math.inf))
        answers.append(shares @ v[is_counted] / max(shares.sum(), float(len(shares) == 0)))
    return np.concatenate(answers)


def linear(layer: layers.Linear, weights: Weights, x: Doubles) -> Doubles:
    return x @ weights["weight"].T + weights.get("bias", np.zeros(layer.output_size))


def embedding(layer: layers.Embedding, weights: Weights, tokens: Doubles) -> Doubles:
    return weights["weight"][tokens]


def layer_norm(layer: layers.LayerNorm, weights: Weights, x: Doubles) -> Doubles:
    centred = x - x.mean(axis=-1, keepdims=True)
    variance = (centred**2).mean(axis=-1, keepdims=True)
    return centred / np.sqrt(variance + layer.epsilon) * weights.get("weight", 1.0) + weights.get("bias", 0.0)


def rms_norm(layer: layers.RMSNorm, weights: Weights, x: Doubles) -> Doubles:
    mean_square = (x**2).mean(axis=-1, keepdims=True)
    return x / np.sqrt(mean_square + layer.epsilon) * weights.get("weight", 1.0)


def batch_norm(layer: layers.BatchNorm, weights: Weights, x: Doubles) -> Doubles:
    normalized = (x - weights["mean"]) / np.sqrt(weights["variance"] + layer.epsilon)
    return normalized * weights["weight"] + weights["bias"]


def add(layer: layers.Add, weights: Weights, *sources: Doubles) -> Doubles:
    return functools.reduce(np.add, sources)


def mul(layer: layers.Mul, weights: Weights, *sources: Doubles) -> Doubles:
    return functools.reduce(np.multiply, sources)


def binary(layer: layers.Binary, weights: Weights, *sources: Doubles) -> Doubles:
    return functools.reduce(BINARY[layer.operation], sources)


def where(layer: layers.Where, weights: Weights, condition: Doubles, then: Doubles, otherwise: Doubles) -> Doubles:
    return np.where(condition != 0, then, otherwise)


def constant(layer: layers.Constant, weights: Weights, x: Doubles) -> Doubles:
    return np.broadcast_to(weights["weight"], (*x.shape[:-1], layer.size))


def reduce(layer: layers.Reduce, weights: Weights, x: Doubles) -> Doubles:
    return np.expand_dims(_REDUCE[layer.operation](x), -1).astype(np.float64)


def concat(layer: layers.Concat, weights: Weights, *sources: Doubles) -> Doubles:
    return np.concatenate(sources, axis=-1)


def slice_(layer: layers.Slice, weights: Weights, x: Doubles) -> Doubles:
    return x[..., layer.start : layer.stop]


def unflatten(layer: layers.Unflatten, weights: Weights, x: Doubles) -> Doubles:
    return x.reshape(*x.shape[:-1], layer.positions, -1)


def flatten(layer: layers.Flatten, weights: Weights, x: Doubles) -> Doubles:
    return x.reshape(*x.shape[:-2], -1)


def unfold(layer: layers.Unfold, weights: Weights, xs: Doubles) -> Doubles:
    """Windows of `torch.nn.Unfold`, of a padded sequence; ``"same"`` is TensorFlow's padding."""
    n_steps, size = xs.shape
    if isinstance(layer.padding, str):
        count = math.ceil(n_steps / layer.stride)
        total = max(0, (count - 1) * layer.stride + (layer.kernel_size - 1) * layer.dilation + 1 - n_steps)
        before = total // 2 if layer.padding == "same" else math.ceil(total / 2)
        after = total - before
    else:
        before, after = layer.padding
    ends = [np.full((max(0, count), size), layer.fill) for count in (before, after)]
    padded = np.concatenate([ends[0], xs[max(0, -before) : n_steps + min(0, after)], ends[1]])
    last = len(padded) - (layer.kernel_size - 1) * layer.dilation
    starts = range(0, last, layer.stride)
    return np.array(
        [padded[s : s + (layer.kernel_size - 1) * layer.dilation + 1 : layer.dilation].ravel() for s in starts]
    )


def repeat_vector(layer: layers.RepeatVector, weights: Weights, x: Doubles, *like: Doubles) -> Doubles:
    return np.tile(x, (layer.n_steps or len(like[0]), 1))


def feature_mask(layer: layers.FeatureMask, weights: Weights, x: Doubles) -> Doubles:
    return np.any(x != np.float32(layer.mask_value), axis=-1, keepdims=True).astype(np.float64)


def token_mask(layer: layers.TokenMask, weights: Weights, tokens: Doubles) -> Doubles:
    return (tokens != layer.token).astype(np.float64)[:, None]


def activation(layer: layers.Activation, weights: Weights, x: Doubles) -> Doubles:
    return function(layer.function, x)


def prelu(layer: layers.PRelu, weights: Weights, x: Doubles) -> Doubles:
    return np.where(x >= 0, x, weights["weight"] * x)


LAYERS: dict[type[AnyLayer], Callable[..., Doubles]] = {
    layers.Attention: attention,
    layers.Linear: linear,
    layers.Embedding: embedding,
    layers.LayerNorm: layer_norm,
    layers.BatchNorm: batch_norm,
    layers.RMSNorm: rms_norm,
    layers.Conv1d: lambda layer, weights, xs: conv1d(layer, weights, xs, {layer.name: np.zeros((0, layer.input_size))})[
        0
    ],
    layers.Add: add,
    layers.Mul: mul,
    layers.Binary: binary,
    layers.Where: where,
    layers.Constant: constant,
    layers.Reduce: reduce,
    layers.Concat: concat,
    layers.Slice: slice_,
    layers.Unfold: unfold,
    layers.RepeatVector: repeat_vector,
    layers.Unflatten: unflatten,
    layers.Flatten: flatten,
    layers.FeatureMask: feature_mask,
    layers.PastEnd: lambda layer, weights, x: x,
    layers.TokenMask: token_mask,
    layers.GRU: gru_over_positions,
    layers.Activation: activation,
    layers.PRelu: prelu,
}

RECURRENT: dict[type[AnyLayer], Callable[..., tuple[Doubles, States]]] = {
    layers.GRU: gru,
    layers.Conv1d: conv1d,
    layers.TimePooling: time_pooling,
    layers.Attention: attention_so_far,
}
"""Layers with states: called with these last, by name, and returning the value and the states after it."""
