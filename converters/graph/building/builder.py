"""Collects the layers of a network while its graph is interpreted."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

import msgspec
import numpy as np

from grurt.array_types import Array
from grurt.converters.graph.building.arrangement import in_order_of, merged_feature, single_features
from grurt.converters.graph.nodes import MisfitError, Node
from grurt.converters.graph.tracing.axes import Axis, Dim, NotTimeError, Role
from grurt.converters.graph.tracing.features import is_same_array
from grurt.converters.graph.tracing.folding import Folder
from grurt.converters.graph.tracing.states import Lengths, Loop, StateSource
from grurt.converters.graph.tracing.values import Every, Row, Tensor
from grurt.converters.layer_builder import LayerBuilder
from grurt.converters.windows import Window
from grurt.errors import DesignReason, UnsupportedError
from grurt.network.functions import Affine
from grurt.network.layers import (
    GRU,
    AnyLayer,
    BatchNorm,
    Constant,
    Flatten,
    PastEnd,
    Slice,
    TimePooling,
    Unflatten,
)
from grurt.network.values import MAX_LAYERS

MAX_LAYERS_FOUND = 4 * MAX_LAYERS
"""How many layers a graph may be found to have, of which some vanish again: offsets become biases of others."""

_LONGEST_MODULE = 80
_EXACT_ONE = 1e-30
"""An epsilon that vanishes beside a variance of 1: the normalization is then exactly a scale and an offset."""


class Builder(LayerBuilder):
    """The layers found so far, their weights, and what is known of their values.

    Parameters
    ----------
    taken
        Names that layers must not have: those of the graph's inputs.
    elements
        How many numbers the weights may hold in all.
    folder
        Computes with constants.
    unrolled
        Whether the graph holds the timesteps of a loop: then the same layer on the same value is added once.
    grid
        Whether GRUs scan other axes than time: then values may be grids of positions.
    token_inputs
        Names of the inputs that hold tokens.
    convolved
        Names of the tensors that convolutions and pools read.
    measures
        Whether the sizes are those of a run, of which is found out what it takes: then they do not stand for others.
    """

    used_too_often = "its weights are used too often"

    def __init__(
        self,
        taken: Iterable[str],
        elements: int,
        folder: Folder,
        *,
        unrolled: bool = False,
        grid: bool = False,
        token_inputs: frozenset[str] = frozenset(),
        convolved: frozenset[str] = frozenset(),
        measures: bool = False,
    ) -> None:
        super().__init__(elements, taken)
        self.folder = folder
        self.unrolled = unrolled
        self.grid = grid
        self.token_inputs = token_inputs
        self.convolved = convolved
        self.measures = measures
        self.lengths: Lengths = ()
        self.masked_by = ""
        self.loops: dict[str, Loop] = {}
        self.written_out: set[int] = set()
        self.lengthened: dict[str, Callable[[], str]] = {}
        self.merged_batches: set[Axis] = set()
        self.positions: dict[str, int] = {}
        self.projected: set[str] = set()
        self.shifts: dict[str, Array] = {}
        self.refused: dict[str, UnsupportedError] = {}
        """Why layers are refused that something reads in the end."""
        self.state_sources: dict[str, StateSource] = {}
        self.value_inputs: set[str] = set()
        self.vocabulary_sizes: dict[str, int] = {}
        self.input_axes: list[tuple[str, Axis]] = []
        """The axes of inputs, with the inputs' names."""
        self._gru_nodes = 0
        self._single: set[str] = set()
        self._timeless: set[str] = set()
        self._alike: dict[AnyLayer, str] = {}

    def name(self, node: Node, kind: str) -> str:
        """Return a new layer name: that of the node's PyTorch module, else the layer's kind."""
        base = re.sub(r"[^\w.]+", "_", node.module)[:_LONGEST_MODULE].strip("._") or kind
        return self.unique(base)

    def add(self, layer: AnyLayer, weights: Mapping[str, Array] | None = None) -> str:
        if len(self.layers) >= MAX_LAYERS_FOUND:
            raise UnsupportedError(
                f"layer {layer.name!r}: expected at most {MAX_LAYERS} layers, got more than {MAX_LAYERS_FOUND}; "
                "convert a part of the model",
                reason=DesignReason.SIZE,
            )
        _, most = layer.input_counts()
        if len(layer.inputs) > most:
            raise UnsupportedError(f"layer {layer.name!r}: it combines {len(layer.inputs)} values, of which {most} fit")
        if self.unrolled and (same := self._same(layer, weights or {})) is not None:
            return same
        for source in layer.inputs:
            self._note_input(source)
        is_single = layer.selects_timestep or all(source in self._single for source in layer.inputs)
        if is_single and not layer.begins_sequence:
            self._single.add(layer.name)
        positions = {self.positions.get(source, 1) for source in layer.inputs}
        if not layer.rearranges and max(positions) > 1:
            self.positions[layer.name] = max(positions)
        return super().add(layer, weights)

    def _same(self, layer: AnyLayer, weights: Mapping[str, Array]) -> str | None:
        """Return the name of the layer that computes the same from the same value; None if there is none so far."""
        name = self._alike.setdefault(msgspec.structs.replace(layer, name=""), layer.name)
        known = {parameter: self.weights.get(f"{name}.{parameter}") for parameter in weights}
        alike = all(array is not None and is_same_array(array, weights[key]) for key, array in known.items())
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

    def note_masked_by(self, node: Node, lengths: str) -> None:
        """Take note of the input that tells where sequences end, for masks and picks: the same for all of a graph."""
        if self.masked_by not in ("", lengths):
            raise node.unsupported(
                f"it reads lengths of sequences from {lengths!r}, and another node from {self.masked_by!r}",
                "give the lengths as one input",
            )
        self.masked_by = lengths

    def with_positions(self, value: str, positions: int) -> str:
        """Return a value as a grid of so many positions, or, for 1, as one vector; made once."""
        known = self.positions.get(value, 1)
        if known == positions:
            return value
        if known > 1 and positions > 1:
            value = self.with_positions(value, 1)
            return self.with_positions(value, positions)
        if positions > 1:
            return self.once(("grid", value, positions), lambda: self._grid(value, positions))
        layer = self.layers.get(value)
        if layer is not None and layer.rearranges:  # made of the vector that is asked for
            return layer.inputs[0]
        return self.once(("flat", value), lambda: self.add(Flatten(name=self.unique(f"{value}.flat"), inputs=(value,))))

    def _grid(self, value: str, positions: int) -> str:
        name = self.unique(f"{value}.grid")
        self.positions[name] = positions
        return self.add(Unflatten(name=name, inputs=(value,), positions=positions))

    def sequence_of(self, n_steps: int) -> str | None:
        """Return a value of a sequence among the inputs that has so many timesteps."""
        for name, axis in self.input_axes:
            if axis.size == n_steps and axis.role is Role.TIME:
                readers = (layer.name for layer in self.layers.values() if name in layer.inputs)
                return next(readers, None) if name in self.vocabulary_sizes else name
        return None

    def is_single(self, value: str) -> bool:
        """Say whether a value is one vector for the whole sequence."""
        return value in self._single

    def is_computed(self, tensor: Tensor) -> bool:
        """Say whether layers have computed all that a tensor holds."""
        return all(row.value in self.layers for row in tensor.rows)

    def take(self, row: Row, node: Node) -> str:
        """Return the name of the value that a row shows, with its first or last timestep picked where it says so."""
        value = row.value
        if value in (self.lengths, self.masked_by):
            return self.steps_before_ends()
        if row.factor is not None:
            raise node.unsupported(
                f"it reads the state {value!r} times {row.factor.value!r}, which a GRU reads too",
                "let nothing but the GRU read a state that is multiplied by a mask",
            )
        if row.softmax_over is not None or row.weighted_by is not None:
            raise node.unsupported(
                "it reads weights that a softmax over timesteps has made, which are known at the end of the sequence",
                "multiply them with a sequence, and sum over time",
                DesignReason.WHOLE_SEQUENCE,
            )
        if row.final:
            final_at = self.layers[value].final_state_at
            if final_at is None:
                raise NotTimeError
            if value not in self._timeless:
                value = self.timestep_of(value, last=final_at == "last")
        for axis, position in row.picked:
            if axis.role is Role.FEATURE and not isinstance(
                position, Every
            ):  # as was learned after the node that picks
                value = self.slice(value, position, position + 1)
                continue
            axis.require(Role.TIME, node)
            if self.is_single(value):  # repeated along that axis
                continue
            if isinstance(position, Every):
                raise node.unsupported(
                    f"it reads one timestep of a loop over {axis.where} together with others",
                    "inside of a loop, each timestep is computed from the input at its own position",
                )
            if position not in (0, axis.size - 1):
                picked = f"it picks position {position} of {axis.size} on {axis.where}"
                if self.unrolled and axis.dynamic:
                    raise node.misfit(picked)
                raise node.unsupported(picked, "only the last or first timestep can be picked")
            if self.lengths and position == axis.size - 1:
                raise node.unsupported(
                    f"it picks the last timestep of {axis.where}, where shorter sequences are padded with zeros",
                    "read the state at the end of each sequence, Y_h of the GRU, instead",
                )
            value = self.timestep_of(value, last=position == axis.size - 1)
        if row.part is not None:
            axis, start, stop = row.part
            axis.require(Role.FEATURE, node)
            value = self.slice(value, start, stop)
        self._note_input(value)
        return value

    def steps_before_ends(self) -> str:
        """Return how many timesteps each sequence has, as a value: the sum of a 1 for each; made once.

        A stream counts those so far, and a run of padded sequences those before the ends.
        """
        read = (name for layer in reversed(self.layers.values()) for name in (layer.name, *layer.inputs))
        sequence = next(name for name in read if not self.is_single(name))

        def make() -> str:
            weights = {"weight": np.ones(1, np.float32)}
            one = self.add(Constant(name=self.unique("one"), inputs=(sequence,), size=1), weights)
            before = self.add(PastEnd(name=self.unique("before_end"), inputs=(one,)))
            return self.add(TimePooling(name=self.unique("n_steps"), inputs=(before,), size=1, operation="sum"))

        return self.once(("steps before ends",), make)

    def slice(self, value: str, start: int, stop: int) -> str:
        """Return some of a value's features, made once."""

        def make() -> str:
            name = self.unique(f"{value}.{start}_{stop}")
            return self.add(Slice(name=name, inputs=(value,), start=start, stop=stop))

        return self.once(("slice", value, start, stop), make)

    def single(self, tensor: Tensor, node: Node) -> Tensor:
        """Return the tensor with one row that is a value: rows stacked along the features are concatenated."""
        self._refuse_integers(tensor, node)
        if not tensor.stacks:
            return replace(tensor.with_row(Row(self.take(tensor.rows[0], node))), integer=False, boolean=False)
        for index, dim in enumerate(tensor.dims):
            if (feature := merged_feature(tensor, index)) is not None:
                feature.require(Role.FEATURE, node)
                name = self.joined(in_order_of(tensor, dim, feature, node), node)
                merged = replace(tensor, rows=(Row(name),), stacks=(), integer=False, boolean=False)
                size = len(tensor.rows) * feature.size
                return merged.with_dim(index, (Axis(size, f"the feature axis of {name!r}", Role.FEATURE),))
        if not (sequence := self.as_sequence(tensor, node)).stacks:
            return self.single(sequence, node)
        if (single := single_features(tensor)) is not None:
            name = self.joined(tensor.rows, node)
            feature = Axis(len(tensor.rows), f"the feature axis of {name!r}", Role.FEATURE)
            return single.with_row(Row(name)).with_dim(single.dims.index(tensor.stacks), (feature,))
        selected = tensor.rows[0].picked
        if selected:
            axis = selected[0][0]
            are_timesteps = _timesteps_of(tensor) is not None
            error = node.unsupported(
                f"it works on {len(tensor.rows)} selected positions of {axis.where}, of size {axis.size}",
                "a layer must read whole sequences, in order, and all features of a timestep: leave the number of "
                "timesteps open in the export, or cut them off at the end, as in x[:, :-1]",
                DesignReason.SEQUENCE_LENGTH if are_timesteps else None,
            )
            raise MisfitError(*error.args, reason=error.reason) if are_timesteps else error
        repeats = any(
            any(axis.role is Role.TIME for axis in dim) and any(axis in tensor.stacks for axis in dim)
            for dim in tensor.dims
        )
        if repeats:
            raise node.unsupported(
                f"it works on a sequence of {len(tensor.rows)} values for each timestep",
                "a stream gives one output for each input",
                DesignReason.SEQUENCE_LENGTH,
            )
        raise node.unsupported(
            f"it works on {len(tensor.rows)} values stacked along an axis of their own",
            "pick one of them, or merge them into the features",
        )

    def as_sequence(self, tensor: Tensor, node: Node) -> Tensor:
        """Return a tensor of rows that are timesteps of one value as the sequence of these; others as they are."""
        kept = _timesteps_of(tensor)
        window = None if kept is None else self._window_of(tensor, *kept)
        if kept is None or window is None:
            return tensor
        axis, positions = kept
        axis.require(Role.TIME, node)
        (stack,) = tensor.stacks
        value, part = tensor.rows[0].value, tensor.rows[0].part
        if positions == range(axis.size):
            self.written_out.add(axis.size)
            return replace(tensor, rows=(Row(value, part=part),), dims=_with_axis(tensor.dims, stack, axis), stacks=())
        layer = window.layer(self.unique(f"{value}.timesteps"), value)
        time = Axis(len(positions), f"the time axis of {layer.name!r}", Role.TIME)
        self._note_input(value)
        rows = (Row(self.add(layer), part=part),)
        return replace(tensor, rows=rows, dims=_with_axis(tensor.dims, stack, time), stacks=())

    def _window_of(self, tensor: Tensor, axis: Axis, positions: range) -> Window | None:
        """Return the window by which rows are timesteps of sequences of any length; None if they are of this one's."""
        if tensor.window is not None and tensor.stacks == tensor.window[:1]:
            return tensor.window[1]
        if self.measures:
            return Window(stride=positions.step, padding=(-positions.start, min(0, positions.stop - axis.size)))
        return Window() if positions == range(axis.size) else None

    def map(self, node: Node, tensor: Tensor, function: Callable[[str], str]) -> Tensor:
        """Return the tensor with each of its values replaced by what ``function`` makes of it: numbers."""
        self._refuse_integers(tensor, node)
        tensor = self.as_sequence(tensor, node)
        rows = tuple(Row(function(self.take(row, node))) for row in tensor.rows)
        return replace(tensor, rows=rows, integer=False, boolean=False)

    def _refuse_integers(self, tensor: Tensor, node: Node) -> None:
        """Raise UnsupportedError for integers that no layer has found, and for masks that are made of lengths."""
        if tensor.ends is not None or not self.is_computed(tensor):
            refuse_integers(node, tensor)

    def negated(self, node: Node, condition: Tensor) -> Tensor:
        """Return a condition that holds where another does not."""
        not_ = Affine(scale=-1.0, offset=1.0)
        result = self.map(node, condition, lambda value: self.function(value, not_, self.name(node, "not")))
        return replace(result, boolean=True)

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
        return self.concatenated(values, lambda: self.unique(f"{_stem(values[0])}.concat"))

    def scale_and_shift(self, node: Node, value: str, scale: Array, shift: Array) -> str:
        """Add ``scale * x + shift``, with numbers ``()`` or ``(size,)`` each."""
        if scale.ndim == 0 and shift.ndim == 0:
            function = Affine(scale=float(scale), offset=float(shift))
            return self._note_shift(self.function(value, function, self.name(node, "affine")), scale, shift)
        size = max(scale.size, shift.size)
        weights = {
            "mean": np.broadcast_to(np.float32(0), (size,)),
            "variance": np.broadcast_to(np.float32(1), (size,)),
            "weight": np.broadcast_to(scale, (size,)),
            "bias": np.broadcast_to(shift, (size,)),
        }
        layer = BatchNorm(name=self.name(node, "scale"), inputs=(value,), size=size, epsilon=_EXACT_ONE)
        return self._note_shift(self.add(layer, weights), scale, shift)

    def _note_shift(self, name: str, scale: Array, shift: Array) -> str:
        if np.all(scale == 1):
            self.shifts[name] = shift
        return name

    def _note_input(self, value: str) -> None:
        if value not in self.layers:
            self.value_inputs.add(value)


def _timesteps_of(tensor: Tensor) -> tuple[Axis, range] | None:
    """Return which timesteps of one value a tensor's rows are, if they are in order, and at even distances."""
    first = tensor.rows[0]
    if len(tensor.stacks) != 1 or first.final or len(first.picked) != 1:
        return None
    axis = first.picked[0][0]
    if axis.role not in (None, Role.TIME) or axis.is_reversed or any(len(row.picked) != 1 for row in tensor.rows):
        return None
    positions = [place for row in tensor.rows if isinstance(place := row.picked[0][1], int)]
    if len(positions) < len(tensor.rows):
        return None
    step = positions[1] - positions[0]
    # Unless a Slice says where it ends, as far as there is no room for another one.
    kept = range(positions[0], positions[-1] + max(step, 1), step) if step > 0 else range(0)
    if (said := tensor.stacks[0].kept) is not None and said == kept:
        kept = said
    alike = all(
        row == replace(first, picked=((axis, position),)) for row, position in zip(tensor.rows, kept, strict=False)
    )
    return (axis, kept) if alike and len(kept) == len(positions) else None


def _with_axis(dims: Iterable[Dim], before: Axis, after: Axis) -> tuple[Dim, ...]:
    """Return dimensions with an axis in place of another."""
    return tuple(tuple(after if axis is before else axis for axis in dim) for dim in dims)


def refuse_integers(node: Node, tensor: Tensor) -> None:
    """Raise UnsupportedError for integers that no layer reads, and for masks that are made of lengths."""
    if tensor.ends is not None:
        raise node.unsupported(
            "it computes with a mask of the timesteps before the ends of sequences",
            "multiply values by the mask, or choose by where and masked_fill between a value and one number",
        )
    if tensor.integer:
        raise node.unsupported("it computes with integers", "token inputs must go to an embedding")


def _stem(value: str) -> str:
    """Return the name of what a value is a direction, or the last timestep, of."""
    return value.removesuffix(".last").removesuffix(".forward")


def _adjoined(row: Row, following: Row) -> Row | None:
    """Return two parts of one value as one, where the second follows the first; None if it does not."""
    if row.part is None or following.part is None or replace(row, part=None) != replace(following, part=None):
        return None
    (axis, start, end), (other, follows, stop) = row.part, following.part
    if axis is not other or follows != end:
        return None
    return replace(row, part=None if (start, stop) == (0, axis.size) else (axis, start, stop))
