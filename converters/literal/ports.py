"""What the inputs and outputs of a step graph are called, and how they look: as in the source, axis for axis."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import msgspec

from grurt.converters.graph.assembly.axis_names import dtype_name
from grurt.converters.graph.nodes import Declaration
from grurt.converters.literal.pairs import Port
from grurt.network.signature import Axis, Signature, StatePort, ValuePort


def signature_of(
    inputs: Sequence[Port],
    outputs: Sequence[Port],
    pairs: Mapping[str, str],
    shown: Collection[str],
    tokens: Collection[str],
    contexts: Collection[str] = (),
) -> Signature:
    """Return the signature of a step graph.

    Parameters
    ----------
    inputs, outputs
        Of the graph.
    pairs
        The outputs that go back, by the inputs that they go back into: these name the states.
    shown
        The outputs that are the network's.
    tokens
        The inputs that are one token each.
    contexts
        The inputs that are given once.
    """
    states = {result: name for name, result in pairs.items() if result not in shown}
    return Signature(
        tuple(
            _state(port, port.name)
            if port.name in pairs or port.name in contexts
            else _value(port, is_token=port.name in tokens)
            for port in inputs
        ),
        tuple(_state(port, states[port.name]) if port.name in states else _value(port) for port in outputs),
    )


def sequence_signature(
    inputs: Sequence[Port], outputs: Sequence[Port], axes: Mapping[str, int], tokens: Collection[str]
) -> Signature:
    """Return the signature of a graph of whole sequences, along whose axes by name time runs; see `signature_of`."""

    def value(port: Port) -> ValuePort:
        found = _value(port, is_token=port.name in tokens)
        time = axes[port.name]
        names = tuple("time" if axis == time else name for axis, name in enumerate(found.axes))
        shape = tuple(size for axis, size in enumerate(found.shape) if axis != time)
        return msgspec.structs.replace(found, axes=names, shape=shape)

    return Signature(tuple(map(value, inputs)), tuple(map(value, outputs)))


def _value(port: Port, *, is_token: bool = False) -> ValuePort:
    axis: Axis = "one" if is_token else "index"
    shape = () if is_token else port.shape
    axes, dtype = (axis,) * len(port.shape), dtype_name(_declared(port))
    return ValuePort(name=port.name, value=port.name, dtype=dtype, axes=axes, shape=shape)


def _state(port: Port, state: str) -> StatePort:
    axis: Axis = "index"
    axes, dtype = (axis,) * len(port.shape), dtype_name(_declared(port))
    return StatePort(name=port.name, states=(state,), dtype=dtype, axes=axes, shape=port.shape)


def _declared(port: Port) -> Declaration:
    return Declaration(port.name, port.dtype.name, port.shape)
