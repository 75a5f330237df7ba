"""Puts a plan together: memory for values and states, packed weights, the table of operations."""

from __future__ import annotations

from collections.abc import Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from grurt.errors import ModelError
from grurt.kernels import codes
from grurt.kernels.sizes import F32_BYTES
from grurt.lowering.packing import Matrix, pack_rows
from grurt.lowering.plan import Plan, PlanPort, PlanState, aligned_zeros
from grurt.network.layers import Layer, MatrixLayer
from grurt.network.network import Network
from grurt.network.vectors import padded, row_bytes

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from grurt.array_types import Bytes, Floats

_CACHE_LINE = 64


class PlanBuilder:
    """A plan in the making: what is reserved and packed so far, and the operations."""

    def __init__(self, network: Network) -> None:
        self.network = network
        n_operations = sum(layer.operation_count() for layer in network.layers)
        self._operations = np.zeros((n_operations, codes.OP_SLOTS), np.int64)
        self._n_operations = 0
        self._weights = aligned_zeros(network.costs.packed_weights // F32_BYTES)
        self._weights_bytes = 0
        self._row_bytes = 0
        self.offsets: dict[str, int] = {}
        self.input_numbers = {port.name: number for number, port in enumerate(network.inputs)}
        self._states: dict[str, PlanState] = {}
        self._initial_state: list[Floats] = []
        self._state_size = 0

    def plan(self) -> Plan:
        """Return the plan, when all layers are lowered."""
        weights = self._weights[: self._weights_bytes // F32_BYTES]
        initial_state = np.concatenate([*self._initial_state, np.zeros(0, np.float32)])
        operations = self._operations[: self._n_operations]
        for array in (weights, initial_state, operations):
            array.flags.writeable = False
        return Plan(
            operations=operations,
            weights=weights,
            initial_state=initial_state,
            row_size=self._row_bytes // F32_BYTES,
            inputs=tuple(self._port(port.name, port.name) for port in self.network.inputs),
            outputs=tuple(self._port(output.name, output.value) for output in self.network.outputs),
            states=MappingProxyType({name: self._states[name] for name in self.network.state_shapes}),
            reads_context=bool(self.network.context_shapes),
        )

    def _port(self, name: str, value: str) -> PlanPort:
        info = self.network.values[value]
        return PlanPort(
            name=name,
            size=info.size,
            tokens=info.tokens,
            offset=self.offsets.get(value, 0),
            stride=0 if info.tokens else self.stride(value),
            single=not info.per_step,
        )

    def stride(self, value: str) -> int:
        """Return the bytes of a row of a value, which is padded to whole vectors."""
        return F32_BYTES * padded(self.network.values[value].size)

    def timestep_stride(self, value: str) -> int:
        """Return what a timestep of a value takes: the rows of all its positions."""
        return self.network.values[value].positions * self.stride(value)

    def reserve(self, timestep_stride: int) -> int:
        """Reserve scratch memory for a value, and return its offset."""
        offset = self._row_bytes
        self._row_bytes += timestep_stride
        return offset

    def weight(self, layer: Layer, name: str) -> Floats:
        """Return a weight of a layer."""
        return self.network.weights[f"{layer.name}.{name}"]

    def matrix(self, layer: MatrixLayer, name: str, inputs: int = 0) -> Matrix:
        """Return a matrix; the number of its inputs is needed for int4, which is unpacked."""
        values = self.network.weights[f"{layer.name}.{name}"]
        if layer.weight_format == "int4":
            from grurt.network.nibbles import unpack_nibbles

            values = unpack_nibbles(values, inputs)
        return Matrix(values, layer.weight_format, self.scale(layer, name))

    def scale(self, layer: Layer, name: str) -> Floats | None:
        """Return the factors of a matrix of integers; None of one of floating point."""
        return self.network.weights.get(f"{layer.name}.{name}_scale")

    def bias(self, layer: Layer, name: str, size: int) -> Floats:
        """Return a bias, or zeros where the layer has none."""
        return self.network.weights.get(f"{layer.name}.{name}", np.zeros(size, np.float32))

    def reserve_weights(self, size: int) -> tuple[int, Bytes]:
        """Reserve memory for so many bytes of packed weights, from a cache line on: return its offset, and itself."""
        offset = self._weights_bytes
        self._weights_bytes += -(-size // _CACHE_LINE) * _CACHE_LINE
        if self._weights_bytes > self._weights.nbytes:  # kernels would read beyond them
            raise ModelError("a layer has more packed weights than its packed_bytes() says")
        return offset, self._weights.view(np.uint8)[offset : offset + size]

    def add_rows(self, *rows: NDArray[np.floating] | Sequence[float]) -> int:
        """Add vectors ``(size,)`` or matrices ``(n, size)`` to the packed weights, and return their offset."""
        arrays = [np.atleast_2d(np.asarray(row)) for row in rows]
        offset, out = self.reserve_weights(sum(len(array) * row_bytes(array.shape[1]) for array in arrays))
        pack_rows(out, *arrays)
        return offset

    def add_state(self, name: str, rows: int, size: int, initial: Floats | None, *, is_ring: bool) -> int:
        """Reserve a state of rows that are padded to whole vectors, and return its offset."""
        buffer = np.zeros((rows, padded(size)), np.float32)
        if initial is not None:
            buffer[:, :size] = initial
        block = self.reserve_states(buffer.ravel())
        self.add_state_view(name, block, (buffer.shape[1], 1)[-len(self.network.state_shapes[name]) :], is_ring=is_ring)
        return block

    def reserve_states(self, initial: Floats) -> int:
        """Reserve a block of memory for states, a multiple of whole vectors, and return its offset.

        ``initial``, float32 ``(n,)``, is what it holds before the first timestep.
        """
        offset = F32_BYTES * self._state_size
        self._initial_state.append(initial)
        self._state_size += initial.size
        return offset

    def add_state_view(
        self, name: str, block: int, strides: tuple[int, ...], start: int = 0, *, is_ring: bool = False
    ) -> None:
        """Say where a state of a layer lies in a block that `reserve_states` has returned.

        Parameters
        ----------
        name
            Its name, as in `Layer.state_shapes`.
        block
            The block's offset.
        strides
            How far apart two numbers are along each axis of the state's shape, in float32, none of them negative.
        start
            Where its first number is in the block, in float32.
        is_ring
            See `PlanState`.
        """
        shape = self.network.state_shapes[name]
        last = start + sum((size - 1) * stride for size, stride in zip(shape, strides, strict=True))
        offset = block // F32_BYTES
        if start < 0 or min(strides, default=0) < 0 or offset + last >= self._state_size:
            raise ModelError(f"state {name!r}: it reaches beyond the memory that is reserved for it")
        self._states[name] = PlanState(shape, strides, offset + start, is_ring)

    def add_operation(self, kind: int, layer: Layer, source: str | None, slots: dict[int, int]) -> None:
        """Add an operation that reads the value ``source`` and writes the value of ``layer``."""
        operation = {
            codes.OP_KIND: kind,
            codes.OP_SINGLE: int(not self.network.values[layer.name].per_step),
            codes.OP_OUT: self.offsets[layer.name],
            codes.OP_OUT_STRIDE: self.stride(layer.name),
            codes.OP_OUT_TIMESTEP_STRIDE: self.timestep_stride(layer.name),
            codes.OP_OUT_SIZE: self.network.values[layer.name].size,
            codes.OP_POSITIONS: self.network.values[layer.name].positions,
        }
        if source is not None:
            operation |= {
                codes.OP_IN: self.offsets[source],
                codes.OP_IN_STRIDE: self.stride(source),
                codes.OP_IN_TIMESTEP_STRIDE: self.timestep_stride(source),
                codes.OP_IN_SIZE: self.network.values[source].size,
            }
        row = self._operations[self._n_operations]
        for slot, number in (operation | slots).items():
            row[slot] = number
        self._n_operations += 1
