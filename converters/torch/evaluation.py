"""Computes a model with torch's own operators, for a reference run of what is only a state dict and a description."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.nn.functional as nnf
from torch import Tensor

from grurt.model import Model
from grurt.network import functions, layers
from grurt.network.functions import AnyFunction
from grurt.network.layers import AnyLayer
from grurt.network.reference_run import ReferenceRun

from ..sampling import sample_input

Weights = Mapping[str, Tensor]


def reference_run(model: Model) -> ReferenceRun:
    """Return what torch computes for the model's layers, on a seeded batch of sequences."""
    values: dict[str, Tensor] = {}
    inputs = {port.name: sample_input(port, index) for index, port in enumerate(model.inputs)}
    with torch.no_grad():
        values |= {name: torch.from_numpy(array) for name, array in inputs.items()}
        for layer in model.layers:
            weights = {
                name: torch.from_numpy(model.weights[f"{layer.name}.{name}"].copy()) for name in layer.weight_shapes()
            }
            values[layer.name] = _LAYERS[type(layer)](layer, weights, *(values[name] for name in layer.inputs))
    outputs = {output.name: values[output.value].numpy() for output in model.outputs}
    return ReferenceRun(inputs, outputs, f"torch {torch.__version__}, from the description of the layers")


def rzn_from_zrn(blocks: Tensor) -> Tensor:
    """Return the gate blocks z, r, n of grurt in PyTorch's order r, z, n (see the table in `grurt.network.layers`)."""
    z, r, n = blocks.chunk(3)
    return torch.cat([r, z, n])


def _gru(layer: layers.GRU, weights: Weights, x: Tensor, state: Tensor | None = None) -> Tensor:
    if state is None:
        state = weights.get("initial_state", torch.zeros(layer.hidden_size)).expand(len(x), -1)
    backward = layer.direction == "reverse"
    given = x.flip(1) if backward else x
    plain = layer.linear_before_reset and layer.clip is None
    plain = plain and (layer.gate_activation, layer.candidate_activation) == (functions.Sigmoid(), functions.Tanh())
    hidden = _torch_gru(layer, weights, given, state) if plain else _gru_by_equations(layer, weights, given, state)
    return hidden.flip(1) if backward else hidden


def _torch_gru(layer: layers.GRU, weights: Weights, x: Tensor, state: Tensor) -> Tensor:
    names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh") if layer.bias else ("weight_ih", "weight_hh")
    blocks = [rzn_from_zrn(weights[name]) for name in names]
    hidden: Tensor = torch.gru(x, state[None].contiguous(), blocks, layer.bias, 1, 0.0, False, False, True)[0]
    return hidden


def _gru_by_equations(layer: layers.GRU, weights: Weights, x: Tensor, h: Tensor) -> Tensor:
    """Compute the equations of `grurt.network.layers.GRU`, of which torch has one variant only."""

    def activate(function: AnyFunction, argument: Tensor) -> Tensor:
        limited = argument if layer.clip is None else argument.clamp(-layer.clip, layer.clip)
        return _FUNCTIONS[type(function)](function, limited)

    size = layer.hidden_size
    recurrent, offset = weights["weight_hh"], weights.get("bias_hh")
    states = []
    for given in nnf.linear(x, weights["weight_ih"], weights.get("bias_ih")).unbind(1):
        kept = nnf.linear(h, recurrent, offset)
        z, r = activate(layer.gate_activation, given[:, : 2 * size] + kept[:, : 2 * size]).chunk(2, dim=1)
        if layer.linear_before_reset:
            memory = r * kept[:, 2 * size :]
        else:
            memory = nnf.linear(r * h, recurrent[2 * size :], None if offset is None else offset[2 * size :])
        n = activate(layer.candidate_activation, given[:, 2 * size :] + memory)
        h = (1 - z) * n + z * h
        states.append(h)
    return torch.stack(states, dim=1)


def _linear(layer: layers.Linear, weights: Weights, x: Tensor) -> Tensor:
    return nnf.linear(x, weights["weight"], weights.get("bias"))


def _embedding(layer: layers.Embedding, weights: Weights, tokens: Tensor) -> Tensor:
    return nnf.embedding(tokens, weights["weight"])


def _layer_norm(layer: layers.LayerNorm, weights: Weights, x: Tensor) -> Tensor:
    return nnf.layer_norm(x, (layer.size,), weights.get("weight"), weights.get("bias"), layer.epsilon)


def _batch_norm(layer: layers.BatchNorm, weights: Weights, x: Tensor) -> Tensor:
    rows = x.reshape(-1, layer.size)
    normal = nnf.batch_norm(
        rows, weights["mean"], weights["variance"], weights["weight"], weights["bias"], eps=layer.epsilon
    )
    return normal.reshape(x.shape)


def _conv1d(layer: layers.Conv1d, weights: Weights, x: Tensor) -> Tensor:
    padded = nnf.pad(x.transpose(1, 2), ((layer.kernel_size - 1) * layer.dilation, 0))
    convolved = nnf.conv1d(padded, weights["weight"], weights.get("bias"), dilation=layer.dilation, groups=layer.groups)
    return convolved.transpose(1, 2)


def _prelu(layer: layers.PRelu, weights: Weights, x: Tensor) -> Tensor:
    return torch.where(x >= 0, x, weights["weight"] * x)


def _activation(layer: layers.Activation, weights: Weights, x: Tensor) -> Tensor:
    return _FUNCTIONS[type(layer.function)](layer.function, x)


_LAYERS: Mapping[type[AnyLayer], Callable[..., Tensor]] = {
    layers.GRU: _gru,
    layers.Linear: _linear,
    layers.Embedding: _embedding,
    layers.LayerNorm: _layer_norm,
    layers.BatchNorm: _batch_norm,
    layers.Conv1d: _conv1d,
    layers.PRelu: _prelu,
    layers.Activation: _activation,
    layers.Add: lambda layer, weights, *xs: functools.reduce(torch.add, xs),
    layers.Mul: lambda layer, weights, *xs: functools.reduce(torch.mul, xs),
    layers.Concat: lambda layer, weights, *xs: torch.cat(xs, dim=-1),
    layers.LastStep: lambda layer, weights, x: x[:, -1],
    layers.FirstStep: lambda layer, weights, x: x[:, 0],
}

_FUNCTIONS: Mapping[type[AnyFunction], Callable[[Any, Tensor], Tensor]] = {
    functions.Relu: lambda f, x: nnf.relu(x),
    functions.LeakyRelu: lambda f, x: nnf.leaky_relu(x, f.negative_slope),
    functions.ThresholdedRelu: lambda f, x: nnf.threshold(x, f.threshold, 0.0),
    functions.Elu: lambda f, x: nnf.elu(x, f.alpha),
    functions.Gelu: lambda f, x: nnf.gelu(x, approximate=f.approximate),
    functions.Sigmoid: lambda f, x: torch.sigmoid(x),
    functions.HardSigmoid: lambda f, x: torch.clamp(f.slope * x + f.offset, 0, 1),
    functions.Tanh: lambda f, x: torch.tanh(x),
    functions.ScaledTanh: lambda f, x: f.alpha * torch.tanh(f.beta * x),
    functions.Softsign: lambda f, x: nnf.softsign(x),
    functions.Softplus: lambda f, x: nnf.softplus(x),
    functions.Affine: lambda f, x: f.scale * x + f.offset,
    functions.Clip: lambda f, x: torch.clamp(x, f.minimum, f.maximum),
    functions.Softmax: lambda f, x: torch.softmax(x, dim=-1),
    functions.LogSoftmax: lambda f, x: torch.log_softmax(x, dim=-1),
}
