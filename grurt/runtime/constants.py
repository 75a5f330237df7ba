"""What all contexts of a plan have in common: the numbers of their arrays, and what these point at."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from grurt.kernels import codes, fields
from grurt.kernels.sizes import F32_BYTES, I64_BYTES
from grurt.lowering.lower import plan_of
from grurt.network.costs import FUNCTION_WORK
from grurt.network.frames import frames_of
from grurt.network.network import once_per_network
from grurt.network.streaming import streaming_error
from grurt.runtime import arrays

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from grurt.lowering.plan import Plan
    from grurt.network.frames import Frame
    from grurt.network.network import Network


class Constants(msgspec.Struct, frozen=True):
    """What all contexts of a plan have in their arrays, and what keeps the memory that it points at where it is."""

    array: NDArray[np.int64]
    held: tuple[object, ...]


@once_per_network
def sequence_constants(network: Network) -> Constants:
    """Return what all contexts of whole sequences have in common: vectors are in the model's own order."""
    return constants_of(plan_of(network))


@once_per_network
def streaming_constants(network: Network) -> Constants:
    """Return what all contexts of streams and pools have in common; raise StreamingError if the model cannot stream."""
    if network.unstreamable_reason is not None:
        raise streaming_error(network)
    frames = frames_of(network)
    return constants_of(plan_of(network), (*frames.inputs.values(), *frames.outputs.values()))


def constants_of(plan: Plan, frames: Sequence[Frame] = ()) -> Constants:
    """Return what all contexts of a plan have in common: see `codes`.

    ``frames`` are those of the callers' inputs and outputs; without them, these are the model's vectors.
    """
    ports = plan.inputs + plan.outputs
    array = np.zeros(codes.CONTEXT_PORTS + codes.PORT_SLOTS * len(ports), np.int64)
    array[codes.CONTEXT_OPS] = plan.operations.ctypes.data
    array[codes.CONTEXT_N_OPS] = len(plan.operations)
    array[codes.CONTEXT_WEIGHTS] = plan.weights.ctypes.data
    array[codes.CONTEXT_STEP_WORK] = plan.weights.size + FUNCTION_WORK * plan.row_size
    array[codes.CONTEXT_STATE_STRIDE] = plan.initial_state.nbytes
    array[codes.CONTEXT_N_INPUTS] = len(plan.inputs)
    array[codes.CONTEXT_N_OUTPUTS] = len(plan.outputs)
    array[codes.CONTEXT_REMEMBERS] = plan.max_steps > 0
    array[codes.CONTEXT_BY_ADDRESS] = id(fields.BY_ADDRESS)
    array[codes.CONTEXT_NONE] = id(None)
    if fields.layout_is_known():
        array[codes.CONTEXT_ARRAY_TYPE] = fields.ARRAY_TYPE_ADDRESS
        array[codes.CONTEXT_FLOAT32] = fields.FLOAT32_ADDRESS
        array[codes.CONTEXT_FLOAT64] = fields.FLOAT64_ADDRESS
        array[codes.CONTEXT_INT64] = fields.INT64_ADDRESS
        array[codes.CONTEXT_INTEGER] = fields.INTEGER_ADDRESS
        array[codes.CONTEXT_FLOAT] = fields.FLOAT_ADDRESS
        array[codes.CONTEXT_LIST] = fields.LIST_ADDRESS
        array[codes.CONTEXT_TUPLE] = fields.TUPLE_ADDRESS
        array[codes.CONTEXT_TUPLE_ITEMS] = fields.TUPLE_ITEMS
    of_ports = array[codes.CONTEXT_PORTS :].reshape(-1, codes.PORT_SLOTS)
    for slots, port in zip(of_ports, ports, strict=True):
        slots[codes.PORT_SIZE] = port.size
        slots[codes.PORT_IS_TOKENS] = port.tokens
        slots[codes.PORT_VALUE] = port.offset
        slots[codes.PORT_STRIDE] = port.stride
        slots[codes.PORT_SINGLE] = port.single
        slots[codes.PORT_AXES] = not port.tokens
    for slots, room in zip(of_ports, plan.rooms[:-1], strict=False):
        slots[codes.PORT_ROOM] = F32_BYTES * room
    sizes = _set_frames(of_ports, frames)
    return Constants(array, (arrays.hold(plan.operations), arrays.hold(plan.weights), sizes, arrays.hold(sizes)))


def _set_frames(of_ports: NDArray[np.int64], frames: Iterable[Frame]) -> NDArray[np.int64]:
    """Say of ports what grids the callers' frames are; return the sizes of their axes, whose addresses they have."""
    grids = [(slots, frame) for slots, frame in zip(of_ports, frames, strict=False) if frame.is_grid]
    sizes = np.array([size for _, frame in grids for size in frame.shape], np.int64)
    address = fields.data_address(sizes)
    for slots, frame in grids:
        slots[codes.PORT_AXES] = len(frame.shape)
        slots[codes.PORT_SHAPE] = address
        slots[codes.PORT_TRANSPOSED] = frame.transposed
        slots[codes.PORT_ROWS] = frame.shape[0] if frame.transposed else 0
        address += I64_BYTES * len(frame.shape)
    return sizes
