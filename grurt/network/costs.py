"""What a network costs, worked out from its layers before anything is allocated, and how much it may.

What the engine allocates is never more than this says: `tests/network/test_costs.py` compares the two.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from grurt.errors import ModelError
from grurt.network.lengths import find_lengths
from grurt.network.signature import AnyPort, StatePort, ValuePort
from grurt.network.stages import handed_over
from grurt.network.vectors import F32_BYTES, context_numbers, row_bytes

if TYPE_CHECKING:
    from grurt.network.inputs import Output
    from grurt.network.layers import AnyLayer
    from grurt.network.signature import Signature
    from grurt.network.value import Value

BLOCK_BYTES = 1 << 20
"""Scratch memory of a block of rows: about half of today's level-2 caches."""

MAX_BLOCK_ROWS = 64
"""Rows of a block: enough that reading the weights once for all of them costs little."""

MIN_BLOCK_ROWS = 4
"""As many as share a read of the weights."""

FUNCTION_WORK = 16
"""Multiplications that take as long as what is done to one number of a timestep besides: functions, copies."""

SPARE_BYTES = 1 << 28
WEIGHTS_SHARE = 4
"""What a model may take unless it is said: 256 MiB, and four times its weights."""

MAX_OPERATIONS = 1 << 30
"""What a timestep may take unless it is said."""

REPLAYED_TIMESTEPS = 256
"""A reference run may take as long as so many of the longest timesteps that are allowed."""

_ENTRY_BYTES = 512
"""Of an operation, an input or an output in tables, and of the array of an answer beside its numbers."""

_PACKING_SHARE = 8
_PACKING_BYTES = 1 << 21
"""While weights are packed, a chunk at a time: for all numbers of a small layer, or for a chunk of a large one."""

_ALIGNMENT = 64
_LAYER_PIECES = 4
"""Pieces of packed weights that a layer has at most, each of which begins on a cache line."""

_STATES = 3
"""Of the initial state, in the plan and in the memory that new streams are copies of, and of a stream's own."""

_COPIES = 4
"""Of inputs and answers while a whole run is arranged in the source's axis order and compared."""


class Costs(msgspec.Struct, frozen=True):
    """Memory in bytes, at most, and work.

    Parameters
    ----------
    weights
        Of the weights as the file has them, which a network keeps.
    packed_weights
        Of the weights as the kernels read them.
    packing
        Of the largest layer, while its weights are brought into that order.
    tables
        Of the tables that say where what lies: of operations, inputs and outputs.
    states
        Of the states of one stream.
    contexts
        Of a context, of which streams may share one.
    values
        Of one timestep: every value, inputs as they come, and what layers need beside.
    n_stages
        How many sequences run one after the other, each in a block of its own.
    arrays
        Of one timestep: inputs and outputs, as the engine takes and gives them and as the source does.
    state_arrays
        Of the states as the source takes and gives them.
    multiply_adds
        Of a timestep with matrices, as its equations have them.
    operations
        Multiplications of a timestep as the engine makes them, on whole vectors, and what takes as long: functions,
        copies.
    in_blocks
        Whether a sequence of any length is run in blocks. Otherwise all its timesteps are in memory at once.
    added_timesteps
        By how many timesteps, at most, layers make a sequence longer.
    """

    weights: int
    packed_weights: int
    packing: int
    tables: int
    states: int
    contexts: int
    values: int
    n_stages: int
    arrays: int
    state_arrays: int
    multiply_adds: int
    operations: int
    in_blocks: bool
    added_timesteps: int

    @property
    def bytes(self) -> int:
        """What the model and one stream take, with the arrays of a step."""
        own = self.weights + self.packed_weights + self.packing + self.tables + _STATES * self.states + self.contexts
        return own + self.block_bytes + 2 * self.arrays + self.added_timesteps * self.timestep_bytes

    @property
    def block_bytes(self) -> int:
        """Scratch memory of a block of timesteps, of each stage."""
        return MIN_BLOCK_ROWS * self.values + min(MAX_BLOCK_ROWS * self.values, self.n_stages * BLOCK_BYTES)

    def run_bytes(self, sequences: int, timesteps: int) -> int:
        """Return what the model and a run of whole sequences take, of so many timesteps of all of them together."""
        per_sequence = self.states + self.contexts + _COPIES * (self.states + self.state_arrays)
        longest = timesteps + sequences * self.added_timesteps
        return self.bytes + sequences * per_sequence + longest * self.timestep_bytes

    @property
    def timestep_bytes(self) -> int:
        """What each timestep of a run takes beside a block."""
        return _COPIES * self.arrays + (0 if self.in_blocks else self.values)


class Limits(msgspec.Struct, frozen=True):
    """What a model may cost: see `grurt.load`.

    Parameters
    ----------
    max_bytes
        Of memory for the model and one stream; by default 256 MiB, and four times the weights.
    max_operations
        Of a timestep: multiplications, of which a function or a copy of a number counts 16.
    """

    max_bytes: int | None = None
    max_operations: int = MAX_OPERATIONS

    def check(self, costs: Costs) -> None:
        """Raise ModelError if a model may not cost that much."""
        self._check_bytes("the model and a stream of it take", costs.bytes, costs)
        operations = (1 + costs.added_timesteps) * costs.operations
        if operations > self.max_operations:
            raise ModelError(
                f"a timestep takes {operations:,} operations, expected at most {self.max_operations:,}: "
                f"allow more with max_operations={operations}"
            )

    def check_run(self, costs: Costs, sequences: int, timesteps: int) -> None:
        """Raise ModelError if a reference run of so many timesteps, of all sequences together, may not be replayed."""
        self._check_bytes("replaying the reference run takes", costs.run_bytes(sequences, timesteps), costs)
        operations = (timesteps + sequences * costs.added_timesteps) * costs.operations
        if operations > REPLAYED_TIMESTEPS * self.max_operations:
            raise ModelError(
                f"replaying the reference run takes {operations:,} operations, expected at most "
                f"{REPLAYED_TIMESTEPS * self.max_operations:,}: "
                f"allow more with max_operations={-(-operations // REPLAYED_TIMESTEPS)}"
            )

    def _check_bytes(self, what: str, needed: int, costs: Costs) -> None:
        allowed = SPARE_BYTES + WEIGHTS_SHARE * costs.weights if self.max_bytes is None else self.max_bytes
        if needed > allowed:
            raise ModelError(
                f"{what} {needed:,} bytes of memory, expected at most {allowed:,}: allow more with max_bytes={needed}"
            )


NO_LIMITS = Limits(sys.maxsize, sys.maxsize)
"""For parts of a model that has been found to be within its own."""


def block_rows(timestep_bytes: int) -> int:
    """Return of how many timesteps a block is, from what a timestep takes in scratch memory."""
    fitting = min(MAX_BLOCK_ROWS, BLOCK_BYTES // max(1, timestep_bytes))
    return max(MIN_BLOCK_ROWS, fitting // MIN_BLOCK_ROWS * MIN_BLOCK_ROWS)


def costs(
    layers: Sequence[AnyLayer],
    values: Mapping[str, Value],
    states: Mapping[str, tuple[int, ...]],
    outputs: Sequence[Output],
    signature: Signature,
) -> Costs:
    """Return what a network of these layers, values, shapes of states, outputs and ports costs."""
    positions = {layer.name: values[layer.name].positions for layer in layers}
    rows = {name: 0 if value.tokens else value.positions * row_bytes(value.size) for name, value in values.items()}
    scratch = {layer.name: layer.scratch_bytes(positions[layer.name]) for layer in layers}
    inputs = values.keys() - positions.keys()
    shown = {output.name: values[output.value] for output in outputs}
    handed = handed_over(layers, values)  # outputs of the one stage, and inputs of the other
    numbers = sum(_bytes_worked_on(layer, rows) + scratch[layer.name] for layer in layers) // F32_BYTES
    room = sum(rows[name] for name in inputs)  # for inputs as they come
    arrays = [8 if values[name].tokens else rows[name] for name in inputs]
    arrays += [rows[output.value] for output in outputs]
    arrays += [4 * rows[name] for name, _ in handed]
    arrays += [4 * rows[layer.name] for layer in layers if layer.resamples]
    arrays += [_value_bytes(port, values) for port in signature.inputs]
    arrays += [_value_bytes(port, shown) for port in signature.outputs]
    entries = sum(layer.operation_count() for layer in layers) + len(inputs) + len(outputs) + 2 * len(handed)
    return Costs(
        weights=sum(map(_weight_bytes, layers)),
        packed_weights=sum(layer.packed_bytes() + _LAYER_PIECES * _ALIGNMENT for layer in layers),
        packing=max(map(_packing_bytes, layers)),
        tables=_ENTRY_BYTES * entries,
        states=sum(layer.state_bytes(positions[layer.name]) for layer in layers),
        contexts=F32_BYTES * sum(context_numbers(layer.context_size()) for layer in layers if layer.context_shapes()),
        values=sum(rows.values()) + room + sum(scratch.values()) + sum(2 * rows[name] for name, _ in handed),
        n_stages=1 + max(value.stage for value in values.values()),
        arrays=sum(arrays),
        state_arrays=sum(_state_bytes(port, states) for port in signature.inputs + signature.outputs),
        multiply_adds=sum(layer.multiply_adds(positions[layer.name]) for layer in layers),
        operations=sum(layer.products(positions[layer.name]) for layer in layers) + FUNCTION_WORK * numbers,
        in_blocks=not signature.takes_lengths and not any(layer.reads_whole_sequences for layer in layers),
        added_timesteps=max(length.most_added for length in find_lengths(layers, values).values()),
    )


def _bytes_worked_on(layer: AnyLayer, rows: Mapping[str, int]) -> int:
    """Return the bytes of the numbers of a timestep, each as often as the layer does something to it."""
    read = sum(rows[name] for name in layer.inputs) if layer.reads_all else 0
    return layer.passes() * max(rows[layer.name], read)


def _value_bytes(port: AnyPort, values: Mapping[str, Value]) -> int:
    """Return the bytes of a timestep of a source's tensor."""
    if not isinstance(port, ValuePort):
        return 0
    value = values[port.value]
    return np.dtype(port.dtype).itemsize * (1 if value.tokens else value.size)


def _state_bytes(port: AnyPort, states: Mapping[str, tuple[int, ...]]) -> int:
    """Return the bytes of one sequence's states in a source's tensor."""
    if not isinstance(port, StatePort):
        return 0
    return np.dtype(port.dtype).itemsize * sum(math.prod(states[name]) for name in port.states)


def _packing_bytes(layer: AnyLayer) -> int:
    return 4 * layer.parameter_count + min(_PACKING_SHARE * layer.packed_bytes(), _PACKING_BYTES)


def _weight_bytes(layer: AnyLayer) -> int:
    dtypes = layer.weight_dtypes()
    return sum(
        np.dtype(dtypes.get(name, "float32")).itemsize * math.prod(shape)
        for name, shape in layer.weight_shapes().items()
    )
