"""Collects the layers of a model while its graph is interpreted."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import msgspec
import numpy as np

from grurt.errors import UnsupportedError
from grurt.functions import Affine
from grurt.layers import (
    GRU,
    Activation,
    AnyLayer,
    BatchNorm,
    Concat,
    FirstStep,
    LastStep,
    Linear,
)

from .axes import Axis, Role
from .graph import Array, Node
from .values import Row, Tensor

_LONGEST_NAME = 80
_EXACT_ONE = 1e-30
"""An epsilon that vanishes beside a variance of 1: the normalization is then exactly a scale and an offset."""


@dataclass(frozen=True)
class StateSource:
    """Where the initial state of a GRU comes from: a graph input, and the position on its state axis if it has one."""

    input: str
    position: int
    axis: Axis | None


class Builder:
    """The layers found so far, their weights, and what is known of their values.

    Parameters
    ----------
    taken
        Names that layers must not have: those of the graph's inputs.
    elements
        How many numbers the weights may hold in all.
    """

    def __init__(self, taken: Iterable[str], elements: int) -> None:
        self.layers: dict[str, AnyLayer] = {}
        self.weights: dict[str, Array] = {}
        self.state_sources: dict[str, StateSource] = {}
        self.vocabulary_sizes: dict[str, int] = {}
        self.value_inputs: set[str] = set()
        self._taken = set(taken)
        self._numbers: Counter[str] = Counter()
        self._remaining = elements
        self._single: set[str] = set()
        self._timeless: set[str] = set()
        self._shifts: dict[str, Array] = {}
        self._steps: dict[tuple[str, type], str] = {}

    def name(self, node: Node, kind: str) -> str:
        """Return a new layer name: that of the node's PyTorch module, else the layer's kind."""
        base = re.sub(r"[^\w.]+", "_", node.module)[:_LONGEST_NAME].strip("._") or kind
        return self.unique(base)

    def unique(self, base: str) -> str:
        """Return a name that nothing has yet: ``base``, or ``base_1`` and so on."""
        name = base
        while name in self._taken:
            self._numbers[base] += 1
            name = f"{base}_{self._numbers[base]}"
        self._taken.add(name)
        return name

    def add(self, layer: AnyLayer, weights: Mapping[str, Array] | None = None) -> str:
        """Add a layer and return its name, which is also that of its value."""
        for parameter, array in (weights or {}).items():
            self._remaining -= array.size
            if self._remaining < 0:
                raise UnsupportedError(f"layer {layer.name!r}: its weights are used too often")
            self.weights[f"{layer.name}.{parameter}"] = array
        for source in layer.inputs:
            self._note_input(source)
        if isinstance(layer, LastStep | FirstStep) or any(source in self._single for source in layer.inputs):
            self._single.add(layer.name)
        self.layers[layer.name] = layer
        return layer.name

    def add_gru(self, layer: GRU, weights: Mapping[str, Array], *, timeless: bool) -> str:
        """Add a GRU. ``timeless``: the graph has no time axis, it is a single timestep."""
        if timeless:
            self._timeless.add(layer.name)
        return self.add(layer, weights)

    def is_single(self, value: str) -> bool:
        """Say whether a value is one vector for the whole sequence."""
        return value in self._single

    def take(self, row: Row, node: Node) -> str:
        """Return the name of the value that a row shows, with its first or last timestep picked where it says so."""
        value = row.value
        layer = self.layers.get(value)
        if row.final and isinstance(layer, GRU) and value not in self._timeless:
            value = self.step(value, last=layer.direction == "forward")
        for axis, position in row.picked:
            axis.require(Role.TIME, node)
            if position not in (0, axis.size - 1):
                raise node.unsupported(
                    f"it picks position {position} of {axis.size} on {axis.where}",
                    "only the last or first timestep can be picked",
                )
            value = self.step(value, last=position == axis.size - 1)
        self._note_input(value)
        return value

    def step(self, value: str, *, last: bool) -> str:
        """Return the value's last or first timestep, made once."""
        kind = LastStep if last else FirstStep
        if (value, kind) not in self._steps:
            name = self.unique(f"{value}_{'last' if last else 'first'}")
            self._steps[value, kind] = self.add(kind(name=name, inputs=(value,)))
        return self._steps[value, kind]

    def single(self, tensor: Tensor, node: Node) -> Tensor:
        """Return the tensor with one row that is a value: rows stacked along the features are concatenated."""
        if tensor.integer:
            raise node.unsupported("it computes with integers", "token inputs must go to an embedding")
        if tensor.stack is None:
            return tensor.with_row(Row(self.take(tensor.rows[0], node)))
        for index, dim in enumerate(tensor.dims):
            if dim and dim[0] is tensor.stack and len(dim) == 2 and dim[1].role is Role.FEATURE:
                values = tuple(self.take(row, node) for row in tensor.rows)
                name = self.add(Concat(name=self.unique(f"{self._stem(values)}_concat"), inputs=values))
                feature = Axis(len(values) * dim[1].size, f"the feature axis of {name!r}", Role.FEATURE)
                merged = replace(tensor, rows=(Row(name),), stack=None)
                return merged.with_dim(index, (feature,))
        selected = tensor.rows[0].picked
        if selected:
            axis = selected[0][0]
            raise node.unsupported(
                f"it works on {len(tensor.rows)} selected positions of {axis.where}, of size {axis.size}",
                "a layer must read whole sequences, in order, and all features of a timestep",
            )
        raise node.unsupported(
            f"it works on {len(tensor.rows)} values stacked along an axis of their own",
            "pick one of them, or merge them into the features",
        )

    def scale_and_shift(self, node: Node, value: str, scale: Array, shift: Array) -> str:
        """Add ``scale * x + shift``, with numbers ``()`` or ``(size,)`` each."""
        if scale.ndim == 0 and shift.ndim == 0:
            function = Affine(scale=float(scale), offset=float(shift))
            name = self.add(Activation(name=self.name(node, "affine"), inputs=(value,), function=function))
            return self._note_shift(name, scale, shift)
        size = max(scale.size, shift.size)
        weights = {
            "mean": np.zeros(size, np.float32),
            "variance": np.ones(size, np.float32),
            "weight": np.broadcast_to(scale, (size,)),
            "bias": np.broadcast_to(shift, (size,)),
        }
        layer = BatchNorm(name=self.name(node, "scale"), inputs=(value,), size=size, epsilon=_EXACT_ONE)
        return self._note_shift(self.add(layer, weights), scale, shift)

    def fuse_biases(self, shown: Iterable[str]) -> dict[str, str]:
        """Make offsets that follow a Linear layer its bias; return the new names of the values that vanish.

        ``shown`` are the values that the model's outputs show.
        """
        readers = Counter(source for layer in self.layers.values() for source in layer.inputs)
        readers.update(shown)
        renamed: dict[str, str] = {}
        for name, bias in self._shifts.items():
            linear = self.layers.get(self.layers[name].inputs[0])
            if not isinstance(linear, Linear) or linear.bias or readers[linear.name] != 1:
                continue
            self.layers[linear.name] = msgspec.structs.replace(linear, bias=True)
            self.weights[f"{linear.name}.bias"] = np.broadcast_to(bias, (linear.output_size,))
            renamed[name] = linear.name
            for parameter in self.layers.pop(name).weight_shapes():
                del self.weights[f"{name}.{parameter}"]
        for name, layer in self.layers.items():
            inputs = tuple(renamed.get(source, source) for source in layer.inputs)
            self.layers[name] = msgspec.structs.replace(layer, inputs=inputs)
        return renamed

    def prune(self, wanted: Iterable[str]) -> None:
        """Remove the layers that none of the wanted values needs."""
        needed = set(wanted)
        for name, layer in reversed(self.layers.items()):
            if name in needed:
                needed.update(layer.inputs)
        for name in [name for name in self.layers if name not in needed]:
            for parameter in self.layers.pop(name).weight_shapes():
                del self.weights[f"{name}.{parameter}"]

    def _note_shift(self, name: str, scale: Array, shift: Array) -> str:
        if np.all(scale == 1):
            self._shifts[name] = shift
        return name

    def _note_input(self, value: str) -> None:
        if value not in self.layers:
            self.value_inputs.add(value)

    def _stem(self, values: tuple[str, ...]) -> str:
        stem = values[0]
        return stem[: -len("_last")] if stem.endswith("_last") else stem
