"""``nn.GRU`` and ``nn.GRUCell``: one layer for each layer and direction of a stack."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np

from grurt.array_types import Array
from grurt.converters.gates import rzn_from_zrn, zrn_from_rzn
from grurt.converters.kinds.activations import evaluate_function
from grurt.converters.kinds.kind import Kind, Module, Reading, Tensors, Weighted
from grurt.errors import DescriptionError
from grurt.network.functions import ElementwiseFunction, Sigmoid, Tanh
from grurt.network.layers import GRU, Concat

if TYPE_CHECKING:
    from torch import Tensor


_PARAMETERS = ("weight_ih", "weight_hh", "bias_ih", "bias_hh", "weight", "bias")
"""Those of `nn.GRUCell`, and the weight and bias of a hand-written cell that joins input and state."""


def _convert(module: Module) -> Iterator[Weighted]:
    """Convert nn.GRU, with any number of layers and directions, or nn.GRUCell; both are ``linear_before_reset``."""
    cell = "weight_ih_l0" not in module.tensors
    depth = 1 if cell else sum(f"weight_ih_l{index}" in module.tensors for index in range(len(module.tensors)))
    bidirectional = any(name in module.tensors for name in ("weight_ih_l0_reverse", "weight_ih_reverse"))
    if module.options.direction is not None and (depth > 1 or bidirectional):
        raise DescriptionError(
            f"module {module.path!r}: expected a GRU of one layer and direction beside the option direction, got more; "
            "leave it out: the weights of a bidirectional GRU show that it is one"
        )
    states = _initial_states(module, depth * (2 if bidirectional else 1))
    if isinstance(module.initial_state, str) and (depth > 1 or bidirectional):
        raise DescriptionError(
            f"module {module.path!r}: expected a GRU of one layer and direction to begin with a value, "
            f"{module.initial_state!r}, got more; only one state can be handed over"
        )
    inputs = module.inputs
    for index in range(depth):
        name = f"{module.name}.l{index}" if depth > 1 else module.name
        suffix = "" if cell else f"_l{index}"
        if bidirectional:
            both = (f"{name}.forward", f"{name}.reverse")
            yield _layer(module, both[0], inputs, suffix, next(states))
            yield _layer(module, both[1], inputs, f"{suffix}_reverse", next(states))
            yield Concat(name=name, inputs=both), {}
        else:
            yield _layer(module, name, inputs, suffix, next(states))
        inputs = (name,)


def _layer(module: Module, name: str, inputs: tuple[str, ...], suffix: str, state: Array | None) -> Weighted:
    blocks = {f"weight_{part}": module.get(f"weight_{part}{suffix}", 2) for part in ("ih", "hh")}
    bias = any(f"bias_{part}{suffix}" in module.tensors for part in ("ih", "hh"))
    if bias:
        blocks |= {f"bias_{part}": module.get(f"bias_{part}{suffix}", 1) for part in ("ih", "hh")}
    hidden_size = blocks["weight_hh"].shape[1]
    for parameter, array in blocks.items():
        if len(array) != 3 * hidden_size:
            raise DescriptionError(
                f"module {module.path!r}: expected 3 * {hidden_size} rows in {parameter}{suffix}, got {array.shape}"
            )
    options = module.options
    handed = (module.initial_state,) if isinstance(module.initial_state, str) else ()
    layer = GRU(
        name=name,
        inputs=(*inputs, *handed),
        input_size=blocks["weight_ih"].shape[1],
        hidden_size=hidden_size,
        direction="reverse" if suffix.endswith("_reverse") else options.direction or "forward",
        linear_before_reset=options.reset != "before",
        bias=bias,
        gate_activation=options.gate_activation or Sigmoid(),
        candidate_activation=options.candidate_activation or Tanh(),
        initial_state="value" if handed else "zeros" if state is None else "learned",
    )
    weights = {parameter: zrn_from_rzn(array) for parameter, array in blocks.items()}
    return layer, weights if state is None else weights | {"initial_state": state}


def _initial_states(module: Module, count: int) -> Iterator[Array | None]:
    """Return the learned initial state of each layer and direction, in the order of PyTorch's ``h_0``, or None."""
    learned = module.initial_state
    if learned is None or isinstance(learned, str):
        return iter([None] * count)
    if learned.size % count or learned.dtype != np.float32:
        raise DescriptionError(
            f"module {module.path!r}: expected the initial states of {count} GRU layers, "
            f"got {learned.dtype} of shape {learned.shape}"
        )
    return iter(learned.reshape(count, -1))


def _readings(tensors: Tensors) -> tuple[Reading, ...]:
    suffix = "" if "weight_ih" in tensors else "_l0"
    directions = 2 if f"weight_ih{suffix}_reverse" in tensors else 1
    writes = tensors[f"weight_hh{suffix}"].shape[1] * directions
    return (Reading("", tensors[f"weight_ih{suffix}"].shape[-1], writes),)


def _evaluate(layer: GRU, weights: Mapping[str, Tensor], x: Tensor, state: Tensor | None = None) -> Tensor:
    import torch

    if state is None:
        state = weights.get("initial_state", torch.zeros(layer.hidden_size)).expand(len(x), -1)
    backward = layer.direction == "reverse"
    given = x.flip(1) if backward else x
    plain = layer.linear_before_reset and layer.clip is None
    plain = plain and (layer.gate_activation, layer.candidate_activation) == (Sigmoid(), Tanh())
    hidden = _by_torch(layer, weights, given, state) if plain else _by_equations(layer, weights, given, state)
    return hidden.flip(1) if backward else hidden


def _by_torch(layer: GRU, weights: Mapping[str, Tensor], x: Tensor, state: Tensor) -> Tensor:
    import torch

    names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh") if layer.bias else ("weight_ih", "weight_hh")
    blocks = [torch.from_numpy(rzn_from_zrn(weights[name].numpy())) for name in names]
    hidden: Tensor = torch.gru(x, state[None].contiguous(), blocks, layer.bias, 1, 0.0, False, False, True)[0]
    return hidden


def _by_equations(layer: GRU, weights: Mapping[str, Tensor], x: Tensor, h: Tensor) -> Tensor:
    """Compute the equations of `grurt.network.layers.GRU`, of which torch has one variant only."""
    import torch
    from torch.nn import functional

    def activate(function: ElementwiseFunction, argument: Tensor) -> Tensor:
        limited = argument if layer.clip is None else argument.clamp(-layer.clip, layer.clip)
        return evaluate_function(function, limited)

    size = layer.hidden_size
    recurrent, offset = weights["weight_hh"], weights.get("bias_hh")
    states = []
    for given in functional.linear(x, weights["weight_ih"], weights.get("bias_ih")).unbind(1):
        kept = functional.linear(h, recurrent, offset)
        z, r = activate(layer.gate_activation, given[:, : 2 * size] + kept[:, : 2 * size]).chunk(2, dim=1)
        if layer.linear_before_reset:
            memory = r * kept[:, 2 * size :]
        else:
            memory = functional.linear(r * h, recurrent[2 * size :], None if offset is None else offset[2 * size :])
        n = activate(layer.candidate_activation, given[:, 2 * size :] + memory)
        h = (1 - z) * n + z * h
        states.append(h)
    return torch.stack(states, dim=1)


KINDS = (
    Kind(
        "gru",
        _convert,
        _evaluate,
        parameters=tuple(f"{name}{suffix}" for suffix in ("", "_reverse") for name in _PARAMETERS),
        options=(
            "initial_state",
            "direction",
            "gates",
            "layout",
            "reset",
            "update",
            "joined",
            "gate_activation",
            "candidate_activation",
        ),
        readings=_readings,
        classes=("GRU",),
    ),
)
