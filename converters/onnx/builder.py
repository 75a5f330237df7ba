"""Collects the layers of a model while its graph is interpreted."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace

import msgspec
import numpy as np

from grurt.errors import UnsupportedError
from grurt.network.functions import Affine
from grurt.network.layers import (
    GRU,
    Activation,
    AnyLayer,
    BatchNorm,
    Concat,
    FirstStep,
    Flatten,
    LastStep,
    Slice,
    Unflatten,
)

from .axes import Axis, Role
from .graph import Array, Node
from .states import Lengths, Loop, StateSource
from .values import Row, Tensor

_LONGEST_NAME = 80
_EXACT_ONE = 1e-30
"""An epsilon that vanishes beside a variance of 1: the normalization is then exactly a scale and an offset."""


class Builder:
    """The layers found so far, their weights, and what is known of their values.

    Parameters
    ----------
    taken
        Names that layers must not have: those of the graph's inputs.
    elements
        How many numbers the weights may hold in all.
    unrolled
        Whether the graph holds the timesteps of a loop: then the same layer on the same value is added once.
    grid
        Whether GRUs scan other axes than time: then values may be grids of positions.
    """

    def __init__(self, taken: Iterable[str], elements: int, *, unrolled: bool = False, grid: bool = False) -> None:
        self.layers: dict[str, AnyLayer] = {}
        self.weights: dict[str, Array] = {}
        self.state_sources: dict[str, StateSource] = {}
        self.vocabulary_sizes: dict[str, int] = {}
        self.value_inputs: set[str] = set()
        self.unrolled = unrolled
        self.grid = grid
        self.positions: dict[str, int] = {}
        self.merged_batches: set[Axis] = set()
        self.loops: dict[str, Loop] = {}
        self.projected: set[str] = set()
        self.lengths: Lengths = ()
        self._gru_nodes = 0
        self._taken = set(taken)
        self._numbers: Counter[str] = Counter()
        self._remaining = elements
        self._single: set[str] = set()
        self._timeless: set[str] = set()
        self.shifts: dict[str, Array] = {}
        self._steps: dict[tuple[str, type], str] = {}
        self._forms: dict[tuple[str, int], str] = {}
        self._slices: dict[tuple[str, int, int], str] = {}
        self._alike: dict[AnyLayer, str] = {}

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
        if self.unrolled and (same := self._same(layer, weights or {})) is not None:
            return same
        for parameter, array in (weights or {}).items():
            self._remaining -= array.size
            if self._remaining < 0:
                raise UnsupportedError(f"layer {layer.name!r}: its weights are used too often")
            self.weights[f"{layer.name}.{parameter}"] = array
        for source in layer.inputs:
            self._note_input(source)
        if isinstance(layer, LastStep | FirstStep) or all(source in self._single for source in layer.inputs):
            self._single.add(layer.name)
        positions = {self.positions.get(source, 1) for source in layer.inputs}
        if not isinstance(layer, Flatten | Unflatten) and max(positions) > 1:
            self.positions[layer.name] = max(positions)
        self.layers[layer.name] = layer
        return layer.name

    def _same(self, layer: AnyLayer, weights: Mapping[str, Array]) -> str | None:
        """Return the name of the layer that computes the same from the same value; None if there is none so far."""
        name = self._alike.setdefault(msgspec.structs.replace(layer, name=""), layer.name)
        known = {parameter: self.weights.get(f"{name}.{parameter}") for parameter in weights}
        alike = all(array is not None and np.array_equal(array, weights[key]) for key, array in known.items())
        return name if name != layer.name and alike else None

    def add_gru(self, layer: GRU, weights: Mapping[str, Array], *, timeless: bool) -> str:
        """Add a GRU. ``timeless``: the graph has no time axis, it is a single timestep."""
        if timeless:
            self._timeless.add(layer.name)
        return self.add(layer, weights)

    def note_lengths(self, node: Node, lengths: Lengths) -> None:
        """Take note of what a GRU knows of the lengths of its sequences: the same for all GRUs of a graph."""
        if self._gru_nodes and lengths != self.lengths:
            raise node.unsupported(
                "its sequence_lens are not those of the GRUs before it",
                "give the same lengths of padded sequences to every GRU, or to none",
            )
        self._gru_nodes += 1
        self.lengths = lengths

    def with_positions(self, value: str, positions: int) -> str:
        """Return a value as a grid of so many positions, or, for 1, as one vector; made once."""
        found = self.positions.get(value, 1)
        if found == positions:
            return value
        if found > 1:
            layer = self.layers.get(value)
            vector = layer.inputs[0] if isinstance(layer, Unflatten) else self._once(value, 1)
            return self.with_positions(vector, positions)
        return self._once(value, positions)

    def _once(self, value: str, positions: int) -> str:
        if (value, positions) not in self._forms:
            name = self.unique(f"{value}_{'flat' if positions == 1 else 'grid'}")
            one = positions == 1
            layer = (
                Flatten(name=name, inputs=(value,))
                if one
                else Unflatten(name=name, inputs=(value,), positions=positions)
            )
            self._forms[value, positions] = self.add(layer)
            self.positions[name] = positions
        return self._forms[value, positions]

    def is_single(self, value: str) -> bool:
        """Say whether a value is one vector for the whole sequence."""
        return value in self._single

    def take(self, row: Row, node: Node) -> str:
        """Return the name of the value that a row shows, with its first or last timestep picked where it says so."""
        value = row.value
        layer = self.layers.get(value)
        if row.final and isinstance(layer, GRU) and layer.scan == "positions":
            raise node.unsupported(
                f"it reads the state of {value!r} at the end of a scan over positions", "only its outputs can be read"
            )
        if row.final and isinstance(layer, GRU) and value not in self._timeless:
            value = self.step(value, last=layer.direction == "forward")
        for axis, position in row.picked:
            if axis.role is Role.FEATURE:  # as was learned after the node that picks
                value = self.slice(value, position, position + 1)
                continue
            axis.require(Role.TIME, node)
            if self.is_single(value):  # repeated along that axis
                continue
            if position not in (0, axis.size - 1):
                raise node.unsupported(
                    f"it picks position {position} of {axis.size} on {axis.where}",
                    "only the last or first timestep can be picked",
                )
            if self.lengths and position == axis.size - 1:
                raise node.unsupported(
                    f"it picks the last timestep of {axis.where}, where shorter sequences are padded with zeros",
                    "read the state at the end of each sequence, Y_h of the GRU, instead",
                )
            value = self.step(value, last=position == axis.size - 1)
        if row.part is not None:
            axis, start, stop = row.part
            axis.require(Role.FEATURE, node)
            value = self.slice(value, start, stop)
        self._note_input(value)
        return value

    def step(self, value: str, *, last: bool) -> str:
        """Return the value's last or first timestep, made once."""
        kind = LastStep if last else FirstStep
        if (value, kind) not in self._steps:
            name = self.unique(f"{value}_{'last' if last else 'first'}")
            self._steps[value, kind] = self.add(kind(name=name, inputs=(value,)))
        return self._steps[value, kind]

    def slice(self, value: str, start: int, stop: int) -> str:
        """Return some of a value's features, made once."""
        if (value, start, stop) not in self._slices:
            layer = Slice(name=self.unique(f"{value}_{start}_{stop}"), inputs=(value,), start=start, stop=stop)
            self._slices[value, start, stop] = self.add(layer)
        return self._slices[value, start, stop]

    def single(self, tensor: Tensor, node: Node) -> Tensor:
        """Return the tensor with one row that is a value: rows stacked along the features are concatenated."""
        if tensor.integer:
            raise node.unsupported("it computes with integers", "token inputs must go to an embedding")
        if not tensor.stacks:
            return tensor.with_row(Row(self.take(tensor.rows[0], node)))
        for index, dim in enumerate(tensor.dims):
            if dim[:-1] == tensor.stacks and dim[-1].role is Role.FEATURE:
                name = self.joined(tensor.rows, node)
                feature = Axis(len(tensor.rows) * dim[-1].size, f"the feature axis of {name!r}", Role.FEATURE)
                merged = replace(tensor, rows=(Row(name),), stacks=())
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

    def joined(self, rows: Iterable[Row], node: Node) -> str:
        """Return rows concatenated; parts of one value that adjoin are not taken apart for that."""
        whole: list[Row] = []
        for row in rows:
            if whole and (longer := _adjoined(whole[-1], row)) is not None:
                whole[-1] = longer
            else:
                whole.append(row)
        values = tuple(self.take(row, node) for row in whole)
        if len(values) == 1:
            return values[0]
        return self.add(Concat(name=self.unique(f"{self._stem(values)}_concat"), inputs=values))

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
            self.shifts[name] = shift
        return name

    def _note_input(self, value: str) -> None:
        if value not in self.layers:
            self.value_inputs.add(value)

    def _stem(self, values: tuple[str, ...]) -> str:
        stem = values[0]
        return stem[: -len("_last")] if stem.endswith("_last") else stem


def _adjoined(row: Row, following: Row) -> Row | None:
    """Return two parts of one value as one, where the second follows the first; None if it does not."""
    if row.part is None or following.part is None or replace(row, part=None) != replace(following, part=None):
        return None
    (axis, start, end), (other, follows, stop) = row.part, following.part
    if axis is not other or follows != end:
        return None
    return replace(row, part=None if (start, stop) == (0, axis.size) else (axis, start, stop))
