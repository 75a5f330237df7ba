"""Turns the tensors of one PyTorch module into grurt layers and their weights."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np

from grurt.errors import ConversionError, DescriptionError
from grurt.network import layers
from grurt.network.functions import LeakyRelu, Sigmoid, Tanh
from grurt.network.layers import AnyLayer

from ..description import Kind, LayerDescription
from .tensors import Array

Weighted = tuple[AnyLayer, Mapping[str, Array]]
"""A layer and its weights by parameter name."""

EPSILON = 1e-5
"""PyTorch's default, of every normalization."""


@dataclass(frozen=True)
class Module:
    """A module's tensors, and where its layers stand in the model.

    ``path`` is its name in the checkpoint, ``name`` that of its layer in the model, ``initial_state`` a learned one of
    a GRU, or the name of the value that gives it; ``used`` collects the names of the tensors that were asked for.
    """

    path: str
    name: str
    inputs: tuple[str, ...]
    options: LayerDescription
    tensors: Mapping[str, Array]
    initial_state: Array | str | None = None
    used: set[str] = field(default_factory=set)

    def get(self, name: str, axes: int) -> Array:
        """Return the tensor of that name, which has to be finite and of floating point, with so many axes."""
        if name not in self.tensors:
            raise DescriptionError(
                f"module {self.path!r}: expected a tensor {name!r}, got only {', '.join(self.tensors) or 'none'}"
            )
        array = self.tensors[name]
        if array.dtype != np.float32 or array.ndim != axes:
            raise DescriptionError(
                f"module {self.path!r}: expected {name!r} to be of floating point with {axes} axes, "
                f"got {array.dtype} of shape {array.shape}"
            )
        if not np.isfinite(array).all():
            raise ConversionError(
                f"module {self.path!r}: expected finite numbers in {name!r}, got NaN, infinity or a number beyond "
                "float32; the training has diverged, or the file is damaged"
            )
        self.used.add(name)
        return array

    def weight_and_bias(self, axes: int) -> dict[str, Array]:
        weights = {"weight": self.get("weight", axes)}
        return weights | {"bias": self.get("bias", 1)} if "bias" in self.tensors else weights

    @property
    def epsilon(self) -> float:
        return EPSILON if self.options.epsilon is None else self.options.epsilon


def zrn_from_rzn(blocks: Array) -> Array:
    """Return the gate blocks r, z, n of PyTorch in grurt's order z, r, n.

    The row of the table in `grurt.network.layers`: "PyTorch ``nn.GRU``: r, z, n; rows of ``(3 * hidden, k)``; a bias
    r, z, n".
    """
    r, z, n = np.split(blocks, 3)
    return np.concatenate([z, r, n])


def _gru(module: Module) -> Iterator[Weighted]:
    """Convert nn.GRU, with any number of layers and directions, or nn.GRUCell; both are ``linear_before_reset``."""
    cell = "weight_ih" in module.tensors
    depth = 1 if cell else sum(f"weight_ih_l{index}" in module.tensors for index in range(len(module.tensors)))
    bidirectional = "weight_ih_l0_reverse" in module.tensors
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
            yield _gru_layer(module, both[0], inputs, suffix, next(states))
            yield _gru_layer(module, both[1], inputs, f"{suffix}_reverse", next(states))
            yield layers.Concat(name=name, inputs=both), {}
        else:
            yield _gru_layer(module, name, inputs, suffix, next(states))
        inputs = (name,)


def _gru_layer(module: Module, name: str, inputs: tuple[str, ...], suffix: str, state: Array | None) -> Weighted:
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
    layer = layers.GRU(
        name=name,
        inputs=(*inputs, *handed),
        input_size=blocks["weight_ih"].shape[1],
        hidden_size=hidden_size,
        direction="reverse" if suffix.endswith("_reverse") else "forward",
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


def _linear(module: Module) -> Iterator[Weighted]:
    weights = module.weight_and_bias(axes=2)
    rows, columns = weights["weight"].shape
    bias = "bias" in weights
    yield (
        layers.Linear(name=module.name, inputs=module.inputs, input_size=columns, output_size=rows, bias=bias),
        weights,
    )


def _embedding(module: Module) -> Iterator[Weighted]:
    weight = module.get("weight", 2)
    rows, columns = weight.shape
    yield (
        layers.Embedding(name=module.name, inputs=module.inputs, vocabulary_size=rows, size=columns),
        {"weight": weight},
    )


def _layer_norm(module: Module) -> Iterator[Weighted]:
    weights = module.weight_and_bias(axes=1)
    layer = layers.LayerNorm(
        name=module.name,
        inputs=module.inputs,
        size=len(weights["weight"]),
        epsilon=module.epsilon,
        bias="bias" in weights,
    )
    yield layer, weights


def _batch_norm(module: Module) -> Iterator[Weighted]:
    mean = module.get("running_mean", 1)
    weights = {
        "mean": mean,
        "variance": module.get("running_var", 1),
        "weight": module.get("weight", 1) if "weight" in module.tensors else np.ones_like(mean),
        "bias": module.get("bias", 1) if "bias" in module.tensors else np.zeros_like(mean),
    }
    yield layers.BatchNorm(name=module.name, inputs=module.inputs, size=len(mean), epsilon=module.epsilon), weights


def _conv1d(module: Module) -> Iterator[Weighted]:
    weights = module.weight_and_bias(axes=3)
    output_size, inputs_per_group, kernel_size = weights["weight"].shape
    groups = module.options.groups or 1
    layer = layers.Conv1d(
        name=module.name,
        inputs=module.inputs,
        input_size=inputs_per_group * groups,
        output_size=output_size,
        kernel_size=kernel_size,
        dilation=module.options.dilation or 1,
        groups=groups,
        bias="bias" in weights,
    )
    yield layer, weights


def _prelu(module: Module) -> Iterator[Weighted]:
    """Convert nn.PReLU; with one weight for all features, as by default, it is a leaky relu."""
    weight = module.get("weight", 1)
    if len(weight) == 1:
        yield layers.Activation(name=module.name, inputs=module.inputs, function=LeakyRelu(float(weight[0]))), {}
    else:
        yield layers.PRelu(name=module.name, inputs=module.inputs, size=len(weight)), {"weight": weight}


CONVERTERS: Mapping[Kind, Callable[[Module], Iterator[Weighted]]] = {
    "gru": _gru,
    "linear": _linear,
    "embedding": _embedding,
    "layer_norm": _layer_norm,
    "batch_norm": _batch_norm,
    "conv1d": _conv1d,
    "prelu": _prelu,
}
"""The layers of a module of each kind; the last of them has the module's name, or ends a stack of GRUs."""
