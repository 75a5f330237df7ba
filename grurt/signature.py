"""How a model's inputs, outputs and states appear in the framework that it came from.

grurt itself knows vectors per timestep. The source of a model has tensors, with a batch axis, in an axis order of its
own, and often the recurrent state as one more input and output. A `Signature` records that, so that `Model.run` can be
called like the source: by names, in the source's shapes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal

import msgspec

from grurt.errors import ModelError
from grurt.text import check_name

if TYPE_CHECKING:
    from grurt.graph import Value
    from grurt.layers import AnyInput, Output

Axis = Literal["batch", "time", "feature", "state", "one"]
"""An axis of a port: ``"state"`` runs over states of one size, stacked in a tensor such as ONNX ``initial_h``;
``"one"`` is an axis of size 1 without a meaning, such as the direction axis of a GRU's output."""

DType = Literal["float32", "float64", "float16", "int64", "int32"]


class ValuePort(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="value", tag_field="port"):
    """A tensor of the source that is a model input or output.

    Parameters
    ----------
    name
        The source's name of the tensor.
    value
        Name of the model's input or output.
    dtype
        The source's dtype: outputs are returned in it, inputs are converted from it.
    axes
        Meaning of the tensor's axes, outermost first, e.g. ``("time", "batch", "feature")``. ``"batch"`` may be absent
        (unbatched), ``"time"`` is absent from one timestep's or one sequence's result, ``"feature"`` from tokens, and
        from a value of size 1 whose feature axis the source squeezed away. ``"one"`` may occur any number of times.
    """

    name: str
    value: str
    dtype: DType
    axes: tuple[Axis, ...]


class StatePort(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="state", tag_field="port"):
    """A tensor of the source that is recurrent state: at the start as an input, after the last timestep as an output.

    Parameters
    ----------
    name
        The source's name of the tensor.
    states
        Names of the layers whose states it holds, in order along its ``"state"`` axis; just one where there is none.
    dtype
        The source's dtype.
    axes
        Meaning of the tensor's axes, e.g. ``("state", "batch", "feature")``.
    """

    name: str
    states: tuple[str, ...]
    dtype: DType
    axes: tuple[Axis, ...]


Port = ValuePort | StatePort


class Signature(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The source's inputs and outputs, in the source's order."""

    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]


def default_signature(inputs: Sequence[AnyInput], outputs: Sequence[Output], values: Mapping[str, Value]) -> Signature:
    """Return the signature of a model that has no source: batch-first, float32 features, int64 tokens, no states."""
    sequence: tuple[Axis, ...] = ("batch", "time", "feature")
    return Signature(
        tuple(
            ValuePort(
                name=port.name,
                value=port.name,
                dtype="int64" if values[port.name].tokens else "float32",
                axes=("batch", "time") if values[port.name].tokens else sequence,
            )
            for port in inputs
        ),
        tuple(
            ValuePort(
                name=output.name,
                value=output.name,
                dtype="float32",
                axes=sequence if values[output.value].per_step else ("batch", "feature"),
            )
            for output in outputs
        ),
    )


def check_signature(
    signature: Signature,
    inputs: Sequence[AnyInput],
    outputs: Sequence[Output],
    values: Mapping[str, Value],
    state_shapes: Mapping[str, tuple[int, ...]],
) -> None:
    """Raise ModelError unless the signature fits the model's inputs, outputs and states."""
    _check_ports("inputs", signature.inputs)
    _check_ports("outputs", signature.outputs)
    given = sorted(port.value for port in signature.inputs if isinstance(port, ValuePort))
    if given != sorted(port.name for port in inputs):
        raise ModelError(f"signature: expected each model input once, got {given}")
    states = [name for port in signature.inputs if isinstance(port, StatePort) for name in port.states]
    if len(set(states)) != len(states):
        raise ModelError(f"signature: expected each state in one input at most, got {sorted(states)}")
    shown = {output.name: values[output.value] for output in outputs}
    for ports, by_name in ((signature.inputs, values), (signature.outputs, shown)):
        for port in ports:
            if isinstance(port, StatePort):
                _check_state_port(port, state_shapes)
            else:
                _check_value_port(port, by_name.get(port.value))


def _check_ports(where: str, ports: Sequence[Port]) -> None:
    for port in ports:
        check_name(port.name)
    names = [port.name for port in ports]
    if len(set(names)) != len(names):
        raise ModelError(f"signature: two {where} have the same name: {sorted(names)}")


def _check_value_port(port: ValuePort, value: Value | None) -> None:
    if value is None:
        raise ModelError(f"port {port.name!r}: the model has no such input or output: {port.value!r}")
    required = set() if value.tokens or value.size == 1 else {"feature"}
    allowed = {"batch"} | ({"time"} if value.per_step else set()) | (set() if value.tokens else {"feature"})
    named = [axis for axis in port.axes if axis != "one"]
    if len(set(named)) != len(named) or not required <= set(named) <= allowed:
        raise ModelError(f"port {port.name!r}: the axes {port.axes} do not fit the value {port.value!r}")
    if value.tokens != port.dtype.startswith("int"):
        raise ModelError(f"port {port.name!r}: the dtype {port.dtype} does not fit the value {port.value!r}")


def _check_state_port(port: StatePort, state_shapes: Mapping[str, tuple[int, ...]]) -> None:
    shapes = {state_shapes.get(name) for name in port.states}
    if len(shapes) != 1 or None in shapes or any(len(shape or ()) != 1 for shape in shapes):
        raise ModelError(f"port {port.name!r}: expected GRU layers of one hidden size, got {port.states}")
    axes = set(port.axes)
    required = {"feature"} if len(port.states) == 1 else {"feature", "state"}
    if len(axes) != len(port.axes) or not required <= axes <= {"feature", "state", "batch"}:
        raise ModelError(f"port {port.name!r}: the axes {port.axes} do not fit {len(port.states)} states")
    if port.dtype.startswith("int"):
        raise ModelError(f"port {port.name!r}: a state is of floating point, got {port.dtype}")
