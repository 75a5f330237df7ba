"""One sequence in the source's own names and shapes, states included: the quick way of `Model.run` with a mapping.

Of a batch of 1, a tensor with its axes in the order (time, position, feature) lies in memory as the kernels read it,
wherever its axes of size 1 are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from grurt.kernels import codes
from grurt.network.axes import feature_size, fixed_sizes
from grurt.network.network import once_per_network
from grurt.network.signature import MERGED_TIME, Axis, StatePort, ValuePort
from grurt.network.value import Value
from grurt.runtime.context import Context
from grurt.runtime.stream_memory import Image, sequence_image
from grurt.runtime.windows import MAX_SPARE, MAX_STEPS

if TYPE_CHECKING:
    from grurt.array_types import Array, Floats
    from grurt.network.network import Network

_FLOAT32, _INT64 = np.dtype(np.float32), np.dtype(np.int64)
_empty = np.empty
_isfinite = np.isfinite
_count_nonzero = np.count_nonzero


@dataclass(frozen=True)
class _Tensor:
    """A port's tensor of one sequence: ``before`` and ``after`` are the sizes of its axes beside that of time.

    ``vector`` is the shape of a timestep in the plan's order, ``()`` of tokens.
    """

    name: str
    before: tuple[int, ...]
    after: tuple[int, ...]
    has_time: bool
    is_single: bool
    """Whether there is one of it in a whole sequence."""
    vector: tuple[int, ...]
    dtype: np.dtype[Any]

    def steps(self, shape: tuple[int, ...]) -> int:
        """Return how many timesteps a tensor of a shape has; -1 if it does not fit."""
        if not self.has_time:
            return 1 if shape == self.before else -1
        place = len(self.before)
        fits = len(shape) == place + 1 + len(self.after) and shape[:place] == self.before
        return shape[place] if fits and shape[place + 1 :] == self.after else -1

    def shape(self, n_steps: int) -> tuple[int, ...]:
        """Return the shape of the tensor of so many timesteps."""
        return (*self.before, n_steps, *self.after) if self.has_time else self.before


@dataclass(frozen=True)
class _State:
    """A port's tensor of states of one sequence: those of the layers, one after the other."""

    name: str
    shape: tuple[int, ...]
    layers: tuple[str, ...]
    rows: tuple[int, int, int]
    """The same as ``(layers, positions, hidden_size)``."""


@dataclass
class _Memory:
    context: Context
    whole: Floats
    states: dict[str, Floats]
    """Of each layer ``(positions, hidden_size)``, in the memory that the kernels write."""


@dataclass(frozen=True)
class _Feeds:
    """What a model needs for one sequence by names; ``spare`` is memory that no run uses now."""

    image: Image
    inputs: tuple[_Tensor, ...]
    answers: tuple[_Tensor, ...]
    """Inputs and outputs in the plan's order."""
    states: tuple[_State, ...]
    final_states: tuple[_State, ...]
    names: tuple[str, ...]
    """Of the outputs, in the source's order."""
    most_steps: int
    spare: list[_Memory] = field(default_factory=list)

    def answer(self, feed: Mapping[str, Any]) -> dict[str, Array] | None:
        xs, n_steps = self._taken(feed)
        if not 0 < n_steps <= self.most_steps:
            return None
        memory = self._take_spare()
        memory.whole[:] = self.image.whole
        answers = self._answered(memory, xs, n_steps) if self._set_states(memory, feed, len(xs)) else None
        if len(self.spare) < MAX_SPARE:
            self.spare.append(memory)
        return answers

    def _taken(self, feed: Mapping[str, Any]) -> tuple[tuple[Array, ...], int]:
        """Return the inputs as the kernels read them, and how many timesteps each has; 0 if one does not fit."""
        n_steps = 0
        found = []
        for tensor in self.inputs:
            x = feed.get(tensor.name)
            if type(x) is not np.ndarray or x.dtype is not tensor.dtype:
                return (), 0
            steps = tensor.steps(x.shape)
            if steps < 1 or n_steps not in (0, steps):
                return (), 0
            n_steps = steps
            found.append(x.reshape((steps, *tensor.vector)))
        return tuple(found), n_steps

    def _set_states(self, memory: _Memory, feed: Mapping[str, Any], n_known: int) -> bool:
        """Set the states that are given; return whether they fit, are finite, and the feed holds nothing else."""
        for state in self.states:
            h = feed.get(state.name)
            if h is None:
                continue
            n_known += 1
            if type(h) is not np.ndarray or h.dtype is not _FLOAT32 or h.shape != state.shape:
                return False
            if _count_nonzero(_isfinite(h)) < h.size:
                return False
            for layer, rows in zip(state.layers, h.reshape(state.rows), strict=True):
                memory.states[layer][...] = rows
        return n_known == len(feed)

    def _answered(self, memory: _Memory, xs: tuple[Array, ...], n_steps: int) -> dict[str, Array] | None:
        context = memory.context
        if n_steps > context.slots[codes.CONTEXT_CAPACITY]:
            context.reserve_block(n_steps)
        ys = tuple([_empty(t.vector if t.is_single else (n_steps, *t.vector), _FLOAT32) for t in self.answers])
        if context.advance(context.array, xs, ys, None) != codes.OK:
            return None
        found = {t.name: y.reshape(t.shape(n_steps)) for t, y in zip(self.answers, ys, strict=True)}
        for state in self.final_states:
            parts = [memory.states[name] for name in state.layers]
            whole = parts[0].copy() if len(parts) == 1 else np.concatenate(parts)
            found[state.name] = whole.reshape(state.shape)
        return {name: found[name] for name in self.names}

    def _take_spare(self) -> _Memory:
        try:
            return self.spare.pop()
        except IndexError:
            context, states, whole = self.image.placed(refuse_nonfinite=True)
            context.slots[codes.CONTEXT_WHOLE_SEQUENCE] = True
            names = {name for state in (*self.states, *self.final_states) for name in state.layers}
            return _Memory(context, whole, {name: states.rows_of(0, name) for name in names})


@once_per_network
def _feeds_of(network: Network) -> _Feeds | None:
    """Return what a model needs for one sequence by names; None where its source's tensors lie otherwise in memory."""
    signature = network.signature
    if network.unstreamable_reason or signature.takes_lengths:
        return None
    values = network.values
    shown = {output.name: values[output.value] for output in network.outputs}
    inputs = {port.value: _tensor(port, values[port.value]) for port in signature.inputs if isinstance(port, ValuePort)}
    answers = {
        port.value: _tensor(port, shown[port.value]) for port in signature.outputs if isinstance(port, ValuePort)
    }
    if any(tensor is None or tensor.is_single for tensor in inputs.values()):
        return None
    states = [_state(network, port) for port in signature.inputs if isinstance(port, StatePort)]
    final_states = [_state(network, port) for port in signature.outputs if isinstance(port, StatePort)]
    tensors = [*inputs.values(), *answers.values(), *states, *final_states]
    if None in tensors or len(answers) + len(final_states) < len(signature.outputs):
        return None
    if answers.keys() != {output.name for output in network.outputs}:
        return None
    return _Feeds(
        sequence_image(network),
        tuple(inputs[port.name] for port in network.inputs),  # type: ignore[misc]
        tuple(answers[port.name] for port in network.outputs),  # type: ignore[misc]
        tuple(states),  # type: ignore[arg-type]
        tuple(final_states),  # type: ignore[arg-type]
        tuple(port.name for port in signature.outputs),
        MAX_STEPS if all(t.has_time or t.is_single for t in answers.values() if t) else 1,
    )


def _tensor(port: ValuePort, value: Value) -> _Tensor | None:
    sizes = {**fixed_sizes(port, value.size), "batch": 1, "batch_position": port.positions}
    if port.backwards or port.dtype != ("int64" if value.tokens else "float32"):
        return None
    if not MERGED_TIME.keys().isdisjoint(port.axes):
        return None
    if not _in_order(port.axes, sizes):
        return None
    has_time = "time" in port.axes
    place = port.axes.index("time") if has_time else len(port.axes)
    before, after = port.axes[:place], port.axes[place + 1 :]
    return _Tensor(
        port.name,
        tuple(sizes[axis] for axis in before),
        tuple(sizes[axis] for axis in after),
        has_time,
        not value.per_step,
        () if value.tokens else (value.size,),
        _INT64 if value.tokens else _FLOAT32,
    )


def _state(network: Network, port: StatePort) -> _State | None:
    size = feature_size(port, network.values, network.state_shapes)
    sizes = {**fixed_sizes(port, size), "batch": 1, "batch_position": port.positions}
    if port.dtype != "float32" or port.groups > 1 or not _in_order(port.axes, sizes):
        return None
    shape = tuple(sizes[axis] for axis in port.axes)
    return _State(port.name, shape, port.states, (len(port.states), port.positions, size))


def _in_order(axes: tuple[Axis, ...], sizes: Mapping[Axis, int]) -> bool:
    """Whether the axes that have more than one element are in the order in which the engine has them."""
    order: tuple[Axis, ...] = ("state", "time", "position", "batch_position", "feature")
    if not set(axes) <= {*order, "batch", "one"}:
        return False
    places = [order.index(axis) for axis in axes if axis == "time" or sizes[axis] > 1]
    return places == sorted(places)


def run_feed(network: Network, feed: Mapping[str, Any]) -> dict[str, Array] | None:
    """Return what a model answers to one sequence, if it lies in memory as the kernels read it, else None.

    None also stands for what is refused: whoever looks closer says why.
    """
    feeds = _feeds_of(network)
    return None if feeds is None else feeds.answer(feed)
