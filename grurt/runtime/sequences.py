"""Whole sequences: what `Model.run` does, from plain arrays or in the source framework's own names and shapes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from grurt.errors import InputShapeError, InputTypeError, InputValueError
from grurt.escaping import described, listed
from grurt.network.axes import batch_first, port_shape, shared_sizes, source_order
from grurt.network.frames import frames_of
from grurt.network.signature import AnyPort, LengthsPort, Port, StatePort, ValuePort, is_context, is_integer
from grurt.runtime import arrays
from grurt.runtime.batch import Batch
from grurt.runtime.binding import present
from grurt.runtime.context import refuses
from grurt.runtime.making_contexts import context_for
from grurt.runtime.replayed import states_of_port
from grurt.runtime.stages import run_stages, time_of
from grurt.runtime.states import expect_finite_state
from grurt.runtime.tensors import open_axis

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from grurt.array_types import Array
    from grurt.network.network import Network
    from grurt.runtime.context import Nonfinite
    from grurt.runtime.stream_context import ContextLike

_EXACT = 1 << 24
"""Below that, float32 has all whole numbers."""


def run_arrays(
    network: Network,
    xs: ArrayLike,
    *,
    lengths: ArrayLike | None,
    nonfinite: Nonfinite,
    context: ContextLike | None = None,
) -> Array | dict[str, Array]:
    """Run one sequence, or a batch of them, from one array: see `Model.run`."""
    if len(network.inputs) != 1:
        names = [port.name for port in network.inputs]
        raise InputTypeError(f"Model.run: expected a mapping with the inputs {names}, got {type(xs).__name__}")
    port = network.inputs[0]
    frames = frames_of(network)
    frame = frames.inputs[port.name]
    held: arrays.Held = []
    array = (arrays.tokens if port.tokens else arrays.features)("Model.run", xs, held)
    sequence: tuple[int | str, ...] = ("n_steps", *frame.shape_in(array))
    is_batch = array.ndim == len(sequence) + 1
    arrays.expect_shape("Model.run", array, ("batch", *sequence) if is_batch else sequence)
    if lengths is not None and not is_batch:
        raise InputShapeError("Model.run: lengths are for a batch of sequences, got one sequence")
    batched = frame.to_vectors(array if is_batch else array[np.newaxis])
    states = _context_states(network, context, len(batched), nonfinite)
    if network.costs.n_stages > 1:
        sizes = {"batch": len(batched), "time": batched.shape[1]}
        by_name, _ = run_stages(network, sizes, {port.name: batched}, states, lengths, (), nonfinite)
        found = [by_name[output.name] for output in network.outputs]
    else:
        batch = Batch(network, nonfinite, len(batched), batched.shape[1], lengths)
        batch.run([batched], states)
        found = batch.outputs
    answers = (own.from_vectors(ys) for own, ys in zip(frames.outputs.values(), found, strict=True))
    return present(network, [answer if is_batch else answer[0] for answer in answers])


def _context_states(
    network: Network, context: ContextLike | None, batch: int, nonfinite: Nonfinite
) -> dict[str, Array]:
    """Return the context of all sequences of a batch, as what each begins with."""
    given = context_for("Model.run", network, context, nonfinite)
    values = {} if given is None else given.values
    return {name: np.broadcast_to(array, (batch, *array.shape)) for name, array in values.items()}


def run_mapping(
    network: Network,
    xs: Mapping[str, ArrayLike],
    *,
    lengths: ArrayLike | None,
    nonfinite: Nonfinite,
    context: ContextLike | None = None,
) -> dict[str, Array]:
    """Run from and to tensors as the model's source has them: see `Model.run`."""
    refuses(nonfinite)
    ports = {port.name: port for port in network.signature.inputs}
    given = dict(xs)
    if unknown := [name for name in given if name not in ports]:
        raise InputShapeError(f"Model.run: expected inputs among {list(ports)}, got {listed(map(described, unknown))}")
    held: arrays.Held = []
    tensors = {name: _input_tensor(network, ports[name], value, held) for name, value in given.items()}
    sizes = _common_sizes(network, tensors)
    values: dict[str, Array] = {}
    states: dict[str, Array] = {}
    for name, tensor in tensors.items():
        port = ports[name]
        if isinstance(port, ValuePort):
            values[port.value] = batch_first(port, tensor, tokens=network.values[port.value].tokens)
        elif isinstance(port, LengthsPort):
            lengths = _only_lengths(name, lengths, batch_first(port, tensor))
        else:
            own = states_of_port(network, port, tensor)
            for state, rows in own.items():
                expect_finite_state(f"Model.run: state {name!r}", network, state, rows, nonfinite)
            states |= own
    required = [port.name for port in ports.values() if isinstance(port, ValuePort)]
    given_contexts = network.context_shapes.keys() & states.keys()
    if given_contexts and context is not None:
        raise InputShapeError(
            f"Model.run: expected a context once, got the argument and the input {given_contexts.pop()!r}"
        )
    if given_contexts:
        required += [port.name for port in ports.values() if is_context(port, network.context_shapes)]
    else:
        states |= _context_states(network, context, sizes.get("batch", 1), nonfinite)
    if missing := [name for name in required if name not in tensors]:
        raise InputShapeError(f"Model.run: expected the inputs {list(ports)}, got no {', '.join(map(repr, missing))}")
    wanted = [name for port in network.signature.outputs if isinstance(port, StatePort) for name in port.states]
    if lengths is None and network.signature.lengths:
        lengths = network.signature.lengths
    by_name, final_states = run_stages(network, sizes, values, states, lengths, wanted, nonfinite)
    return {port.name: _output_tensor(port, by_name, final_states) for port in network.signature.outputs}


def _only_lengths(name: str, given: ArrayLike | None, lengths: Array) -> Array:
    if given is not None:
        raise InputShapeError(f"Model.run: expected lengths once, got the argument and the input {name!r}")
    return lengths


def _input_tensor(network: Network, port: AnyPort, value: ArrayLike, held: arrays.Held) -> Array:
    """Convert a source's tensor to the engine's dtype, and check its shape but for batch and time."""
    where = f"Model.run: input {port.name!r}"
    if isinstance(port, LengthsPort):
        tokens = False
        tensor: Array = arrays.integers(where, value, "integer lengths")
    else:
        tokens = isinstance(port, ValuePort) and network.values[port.value].tokens
        own = isinstance(port, StatePort)  # which nothing looks at again, once it has been checked
        tensor = (arrays.tokens if tokens else arrays.features)(where, value, None if own else held)
    if isinstance(port, ValuePort) and is_integer(port.dtype) and not tokens and (np.abs(tensor) >= _EXACT).any():
        raise InputValueError(f"{where}: expected whole numbers below 2**24, as float32 has them, got others")
    shape: tuple[int | str, ...] = port_shape(port, network.values, network.initial_shapes)
    if isinstance(port, StatePort) and (axis := open_axis(network, port)) is not None:
        shape = (*shape[:axis], "places", *shape[axis + 1 :])  # as many as a context may have: see `make_context`
    arrays.expect_shape(where, tensor, shape)
    return tensor


def _common_sizes(network: Network, tensors: Mapping[str, Array]) -> dict[str, int]:
    """Return the sizes of the batch and time axes, on which all tensors must agree; a lacking axis has size 1.

    Each stage of the model has a time of its own.
    """
    ports = {port.name: port for port in network.signature.inputs}
    times = {
        name: time_of(network.values[port.value].stage) if isinstance(port, ValuePort) else None
        for name, port in ports.items()
    }
    shared = {
        name: {times[name] or axis if axis == "time" else axis: size for axis, size in found.items()}
        for name, tensor in tensors.items()
        for found in [shared_sizes(ports[name], tensor.shape)]
    }
    sizes: dict[str, int] = {}
    owners: dict[str, str] = {}
    for name, own in shared.items():
        for axis, size in own.items():
            if sizes.setdefault(axis, size) != size:
                raise InputShapeError(
                    f"Model.run: input {name!r}: expected a {axis} size of {sizes[axis]}, "
                    f"as {owners[axis]!r} has, got {size}"
                )
            owners.setdefault(axis, name)
    for name, own in shared.items():
        for lacking, size in sizes.items():
            if size != 1 and lacking not in own and lacking in ("batch", times[name]):
                raise InputShapeError(
                    f"Model.run: input {name!r} has no {lacking} axis in the source, "
                    f"but {owners[lacking]!r} has a {lacking} size of {size}"
                )
    return sizes


def _output_tensor(port: Port, values: Mapping[str, Array], states: Mapping[str, Array]) -> Array:
    """Bring a result into the source's axis order and dtype."""
    if isinstance(port, StatePort):
        return source_order(port, np.stack([states[name] for name in port.states]), ("state", "batch", "feature"))
    array = values[port.value]
    return source_order(port, array, ("batch", "time", "feature") if array.ndim == 3 else ("batch", "feature"))
