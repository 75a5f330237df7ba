"""A reference run: what the source framework answered to a test input, kept in a model for `verify`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal, get_args

import msgspec
import numpy as np
from msgspec.structs import force_setattr

from grurt.errors import InputShapeError, ModelError
from grurt.escaping import listed
from grurt.network.axes import port_shape, shared_sizes
from grurt.network.frozen import all_frozen
from grurt.network.signature import AnyPort, Axis, Signature, StatePort, ValuePort, is_context
from grurt.network.text import printable

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from grurt.network.inputs import Output
    from grurt.network.value import Value

Precision = Literal["float64", "float32", "float16", "bfloat16"]

PRECISIONS: tuple[Precision, ...] = get_args(Precision)
"""From the finest to the coarsest."""

Arrays = Mapping[str, "NDArray[np.generic]"]


class ReferenceRun(msgspec.Struct, frozen=True):
    """Inputs, and the outputs that the source framework gave for them, by port name and in the source's shapes.

    The arrays are copied, and read-only. A state port may be left out of the inputs: the run then began at the model's
    initial state. A port may be left out of the outputs: it is not compared.
    """

    inputs: Arrays
    outputs: Arrays
    produced_by: str
    """The framework and its version, e.g. ``"onnxruntime 1.31.1"``."""
    precision: Precision | None = None
    """The coarsest precision that the source computed in; None where that is the coarsest of its inputs and outputs.

    What `verify` allows follows from it.
    """

    def __post_init__(self) -> None:
        force_setattr(self, "inputs", all_frozen(self.inputs))
        force_setattr(self, "outputs", all_frozen(self.outputs))
        force_setattr(self, "produced_by", printable(self.produced_by))


def declared_precision(signature: Signature) -> Precision:
    """Return the coarsest precision of a source's inputs and outputs: that of grurt itself if they are integers."""
    dtypes = {port.dtype for port in signature.inputs + signature.outputs}
    return max((each for each in PRECISIONS if each in dtypes), key=PRECISIONS.index, default="float32")


def run_size(run: ReferenceRun, signature: Signature, values: Mapping[str, Value]) -> tuple[int, int]:
    """Return how many sequences a reference run has, and how many timesteps at most all of them together."""
    sequences = timesteps = 1
    for port in signature.inputs:
        array = run.inputs.get(port.name)
        if array is None or array.ndim != len(port.axes):
            continue
        batch = shared_sizes(port, array.shape).get("batch", 1)
        sequences = max(sequences, batch)
        if isinstance(port, ValuePort):
            value = values[port.value]
            timesteps = max(timesteps, array.size // (1 if value.tokens else value.size))
    return sequences, max(timesteps, sequences)


def check_reference_run(
    run: ReferenceRun,
    signature: Signature,
    outputs: Sequence[Output],
    values: Mapping[str, Value],
    state_shapes: Mapping[str, tuple[int, ...]],
    contexts: Mapping[str, int | None] = MappingProxyType({}),
) -> None:
    """Raise ModelError unless the arrays are what the signature's ports take and give.

    ``contexts`` are the names of those among the ``state_shapes`` that have no initial value, with the axis along which
    they may be shorter, if there is one.
    """
    given = {port.name: _shortened(port, run.inputs.get(port.name), contexts) for port in signature.inputs}
    answered = {port.name: port for port in signature.outputs}
    required = {port.name for port in signature.inputs if isinstance(port, ValuePort) or is_context(port, contexts)}
    if missing := sorted(required - run.inputs.keys()):
        raise ModelError(f"reference run: inputs are missing: {listed(missing)}")
    if not run.outputs:
        raise ModelError("reference run: expected at least one output, got none")
    if unknown := sorted((run.inputs.keys() - given.keys()) | (run.outputs.keys() - answered.keys())):
        raise ModelError(f"reference run: the signature has no such inputs or outputs: {listed(unknown)}")
    shown = {output.name: values[output.value] for output in outputs}
    lengths: dict[tuple[Axis, int], int] = {}
    for name, array in run.inputs.items():
        _check_array(f"reference run: input {name!r}", array, given[name], values, state_shapes, lengths)
    for name, array in run.outputs.items():
        _check_array(f"reference run: output {name!r}", array, answered[name], shown, state_shapes, lengths)


def _shortened(port: AnyPort, array: NDArray[np.generic] | None, contexts: Mapping[str, int | None]) -> AnyPort:
    """Return the port of a context as it is where that is shorter than the largest; others as they are."""
    axis = contexts.get(port.states[0]) if isinstance(port, StatePort) else None
    if axis is None or array is None or array.ndim != len(port.axes) or not isinstance(port, StatePort):
        return port
    size = min(max(1, array.shape[len(port.axes) - len(port.shape) + axis]), port.shape[axis])
    return msgspec.structs.replace(port, shape=(*port.shape[:axis], size, *port.shape[axis + 1 :]))


def _check_array(
    where: str,
    array: NDArray[np.generic],
    port: AnyPort,
    values: Mapping[str, Value],
    state_shapes: Mapping[str, tuple[int, ...]],
    lengths: dict[tuple[Axis, int], int],
) -> None:
    """Check one array.

    ``lengths`` are the sizes of the batch axis, and of each stage's time axis: the first array to have one fixes it.
    """
    if array.dtype != np.dtype(port.dtype):
        raise ModelError(f"{where}: expected dtype {port.dtype}, got {array.dtype}")
    if array.ndim != len(port.axes):
        raise ModelError(f"{where}: expected the axes {port.axes}, got shape {array.shape}")
    expected = port_shape(port, values, state_shapes)
    for name, size, length in zip(port.axes, expected, array.shape, strict=True):
        if length == 0 or (isinstance(size, int) and length != size):
            wanted = size if isinstance(size, int) else "at least 1"
            raise ModelError(f"{where}: expected {wanted} along its {name} axis, got {length}")
    for axis, length in _shared_sizes(where, port, array.shape).items():
        stage = values[port.value].stage if isinstance(port, ValuePort) and axis == "time" else 0
        if length != lengths.setdefault((axis, stage), length):
            raise ModelError(f"{where}: expected {lengths[axis, stage]} along its {axis} axis, got {length}")
    if array.dtype.kind == "f":
        if not np.isfinite(array).all():
            raise ModelError(f"{where}: expected finite numbers, got a NaN or an infinity")
    elif isinstance(port, ValuePort) and not _fits(array, values[port.value]):
        raise ModelError(f"{where}: expected tokens in [0, {values[port.value].size}), got others")


def _fits(integers: NDArray[np.generic], value: Value) -> bool:
    return not value.tokens or bool(integers.min() >= 0 and integers.max() < value.size)


def _shared_sizes(where: str, port: AnyPort, shape: tuple[int, ...]) -> Mapping[Axis, int]:
    try:
        return shared_sizes(port, shape)
    except InputShapeError as error:
        raise ModelError(f"{where}: {error}") from error
