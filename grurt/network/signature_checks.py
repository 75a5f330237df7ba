"""Checks a signature against the inputs, outputs and states that it shows."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence, Set
from typing import TYPE_CHECKING

from grurt.errors import ModelError
from grurt.escaping import listed
from grurt.network.signature import (
    MAX_AXES,
    MAX_LENGTH,
    MAX_POSITIONS,
    MERGED_TIME,
    AnyPort,
    Axis,
    LengthsPort,
    Signature,
    StatePort,
    ValuePort,
    is_float,
    is_integer,
    parts_of_axes,
)
from grurt.network.text import check_name

if TYPE_CHECKING:
    from grurt.network.inputs import AnyInput, Output
    from grurt.network.value import Value


def check_signature(
    signature: Signature,
    inputs: Sequence[AnyInput],
    outputs: Sequence[Output],
    values: Mapping[str, Value],
    state_shapes: Mapping[str, tuple[int, ...]],
    contexts: Mapping[str, tuple[int, ...]],
) -> None:
    """Raise ModelError unless the signature fits the model's inputs, outputs, states and contexts."""
    _check_ports("inputs", signature.inputs)
    _check_ports("outputs", signature.outputs)
    given = sorted(port.value for port in signature.inputs if isinstance(port, ValuePort))
    if given != sorted(port.name for port in inputs):
        raise ModelError(f"signature: expected each model input once, got {listed(given)}")
    states = [name for port in signature.inputs if isinstance(port, StatePort) for name in port.states]
    if len(set(states)) != len(states):
        raise ModelError(f"signature: expected each state in one input at most, got {listed(_repeated(states))} twice")
    if missing := contexts.keys() - set(states):
        raise ModelError(f"signature: expected each context in an input, got none of {listed(sorted(missing))}")
    shown = {output.name: values[output.value] for output in outputs}
    kept = (signature.inputs, values, {**state_shapes, **contexts}), (signature.outputs, shown, state_shapes)
    for ports, by_name, shapes in kept:
        for port in ports:
            if isinstance(port, StatePort):
                _check_state_port(port, shapes, contexts.keys())
            elif isinstance(port, ValuePort):
                _check_value_port(port, by_name.get(port.value), is_output=ports is signature.outputs)
    _check_lengths(signature)


def _check_lengths(signature: Signature) -> None:
    ports = [port for port in signature.inputs if isinstance(port, LengthsPort)]
    if len(ports) > 1 or (ports and signature.lengths):
        raise ModelError("signature: expected the lengths of sequences once at most, as an input or as constants")
    for port in ports:
        if [axis for axis in port.axes if axis != "one"] != ["batch"] or not is_integer(port.dtype):
            raise ModelError(f"port {port.name!r}: expected lengths of integers along a batch axis, got {port.axes}")
    backwards = [port.name for port in signature.inputs + signature.outputs if getattr(port, "backwards", False)]
    if backwards and signature.takes_lengths:
        raise ModelError(f"port {backwards[0]!r}: expected timesteps in order where sequences have lengths")
    for length in signature.lengths:
        if not 0 <= length <= MAX_LENGTH:
            raise ModelError(f"signature: expected lengths in [0, {MAX_LENGTH}], got {length}")


def _check_ports(where: str, ports: Sequence[AnyPort]) -> None:
    for port in ports:
        check_name(port.name)
        if len(port.axes) > MAX_AXES:
            raise ModelError(f"port {port.name!r}: expected at most {MAX_AXES} axes, got {len(port.axes)}")
    names = [port.name for port in ports]
    if len(set(names)) != len(names):
        raise ModelError(f"signature: two {where} have the same name: {listed(_repeated(names))}")


def _repeated(names: Sequence[str]) -> list[str]:
    """Return the names that are there more than once."""
    return sorted(name for name, count in Counter(names).items() if count > 1)


def _check_value_port(port: ValuePort, value: Value | None, *, is_output: bool) -> None:
    if value is None:
        raise ModelError(f"port {port.name!r}: the model has no such input or output: {port.value!r}")
    _check_positions(port, value.size)
    features = set() if value.tokens else {"feature", "position", "batch_position"}
    required: set[str] = set() if value.tokens or value.size == port.positions else {"feature"}
    allowed = {"batch"} | ({"time"} if value.per_step else set()) | features
    if not is_output and not MERGED_TIME.keys().isdisjoint(port.axes):
        raise ModelError(f"port {port.name!r}: expected an input with axes of its own for batch and time")
    named = _with_features(parts_of_axes(port.axes))
    if len(set(named)) != len(named) or not required <= set(named) <= allowed:
        raise ModelError(f"port {port.name!r}: the axes {port.axes} do not fit the value {port.value!r}")
    if not _has_shape(port, value.size):
        raise ModelError(f"port {port.name!r}: the shape {port.shape} does not fit its axes, or the size {value.size}")
    if port.backwards and "time" not in port.axes:
        raise ModelError(f"port {port.name!r}: expected a time axis that goes backwards, got the axes {port.axes}")
    if value.tokens and not is_integer(port.dtype):
        raise ModelError(f"port {port.name!r}: the dtype {port.dtype} does not fit the value {port.value!r}")


def _check_state_port(port: StatePort, state_shapes: Mapping[str, tuple[int, ...]], contexts: Set[str]) -> None:
    shapes = {state_shapes.get(name) for name in port.states}
    shape = shapes.pop() if len(shapes) == 1 else None
    if shape is None or not ("index" in port.axes or _is_gru_state(shape, port.positions)):
        raise ModelError(f"port {port.name!r}: expected GRU layers of one hidden size, got {listed(port.states)}")
    if not _has_shape(port, math.prod(shape)) or port.shape not in ((), shape):
        raise ModelError(f"port {port.name!r}: the shape {port.shape} does not fit its axes, or the state's {shape}")
    _check_positions(port, math.prod(shape))
    named = _with_features(axis for axis in port.axes if axis != "one")
    required = {"state"} if len(port.states) > port.groups else set()
    required |= {"feature"} if math.prod(shape) > 1 or port.groups > 1 else set()
    allowed = {"feature", "state", "batch", "position", "batch_position"}
    fits = port.groups >= 1 and len(port.states) % port.groups == 0 and (port.groups == 1 or not port.shape)
    if not fits or len(set(named)) != len(named) or not required <= set(named) <= allowed:
        raise ModelError(f"port {port.name!r}: the axes {port.axes} do not fit {len(port.states)} states")
    if not is_float(port.dtype) and contexts.isdisjoint(port.states):
        raise ModelError(f"port {port.name!r}: a state is of floating point, got {port.dtype}")


def _is_gru_state(shape: tuple[int, ...], positions: int) -> bool:
    return math.prod(shape) == 1 or shape == (shape[-1:] if positions == 1 else (positions, *shape[-1:]))


def _with_features(axes: Iterable[Axis]) -> list[Axis]:
    """Return axes with ``"feature"`` in the place of those that stand for it."""
    found = list(axes)
    others: list[Axis] = [axis for axis in found if axis != "index"]
    return others if others == found else [*others, "feature"]


def _has_shape(port: ValuePort | StatePort, size: int) -> bool:
    """Whether a port has the sizes of its ``"index"`` axes, if it has any, which so many numbers run over."""
    if "index" not in port.axes:
        return not port.shape
    is_whole = port.positions == 1 and len(port.shape) == port.axes.count("index")
    return is_whole and min(port.shape) > 0 and math.prod(port.shape) == size


def _check_positions(port: ValuePort | StatePort, size: int) -> None:
    """Check that a port has an axis of positions just where its value or state falls into several."""
    axes = [axis for axis in port.axes if axis in ("position", "batch_position")]
    if not 1 <= port.positions <= MAX_POSITIONS or size % port.positions or len(axes) != (port.positions > 1):
        raise ModelError(f"port {port.name!r}: {port.positions} positions do not fit its axes {port.axes}, or its size")
    if "batch_position" in axes and "batch" in port.axes:
        raise ModelError(f"port {port.name!r}: the axes {port.axes} hold the batch twice")
