"""The inputs, outputs and states of a model, in Keras's order, names and shapes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import msgspec

from grurt.converters.keras.builder import Builder, ModelInput
from grurt.converters.keras.values import ANY, Kind, Layer, Tensor
from grurt.errors import UnsupportedError
from grurt.network.inputs import AnyInput, Input, Output, TokenInput
from grurt.network.network import Network
from grurt.network.signature import Axis, DType, Port, Signature, StatePort, ValuePort

_AXES: dict[Kind, tuple[Axis, ...]] = {
    Kind.SEQUENCE: ("batch", "time", "feature"),
    Kind.SINGLE: ("batch", "feature"),
    Kind.NUMBERS: ("batch", "time"),
    Kind.NUMBER: ("batch",),
    Kind.TURNED: ("batch", "feature", "time"),
}
_FLOATS: dict[str, DType] = {"float32": "float32", "float64": "float64", "float16": "float16"}
_INTEGERS: dict[str, DType] = {"int32": "int32", "int64": "int64"}


def input_ports(model: Layer, build: Builder) -> tuple[list[AnyInput], list[Port]]:
    """Return the inputs of the grurt model, and the ports of the Keras model."""
    inputs: list[AnyInput] = []
    ports: list[Port] = []
    for found in build.inputs.values():
        if len(found.states) > 1:
            raise model.unsupported(
                f"the input {found.name!r} as the initial state of {len(found.states)} GRUs",
                "give each a state of its own",
            )
        if found.states:
            ports.append(
                StatePort(name=found.name, states=found.states, dtype=_float(found), axes=("batch", "feature"))
            )
            continue
        axes: tuple[Axis, ...] = ("batch", "time", "feature") if found.kind is Kind.SEQUENCE else ("batch", "time")
        if found.vocabulary is not None and found.tokens is None:
            raise model.unsupported(
                f"the tokens of {found.name!r}, which no Embedding reads", "use one behind the texts"
            )
        if found.tokens is not None:
            inputs.append(TokenInput(found.name, found.tokens))
        elif found.kind is Kind.SEQUENCE or found.timed:
            inputs.append(Input(found.name, found.size if found.kind is Kind.SEQUENCE else 1))
        elif found.vector:
            axes = ("batch", "feature")
            inputs.append(Input(found.name, found.size))
        else:
            raise model.unsupported(f"the input {found.name!r}, which no layer reads", "save the model without it")
        dtype = _float(found) if found.tokens is None else _INTEGERS.get(found.dtype, "int64")
        ports.append(ValuePort(name=found.name, value=found.name, dtype=dtype, axes=axes))
    return inputs, ports


def check_vectors(network: Network) -> None:
    """Raise UnsupportedError for a vector that would have to be given as often as the timesteps of a sequence."""
    ports = [port for port in network.signature.inputs if isinstance(port, ValuePort)]
    stages = {network.values[port.value].stage: port.name for port in ports if "time" in port.axes}
    for port in ports:
        sequence = stages.get(network.values[port.value].stage)
        if "time" not in port.axes and sequence is not None:
            raise UnsupportedError(
                f"input {port.name!r}: got a vector that meets no end of the sequence {sequence!r}; join it with the "
                "last timestep, begin a GRU with it, or make a model of its own for it"
            )


def output_ports(model: Layer, names: Sequence[str], tensors: Sequence[Tensor], build: Builder) -> list[Port]:
    """Return the ports of the outputs; the value that one shows is found by `shown_value`.

    The final state of a GRU is a state. Where a model gives nothing but states, they are its answers.
    """
    only_states = all(tensor.state_of for tensor in tensors)
    ports: list[Port] = []
    for name, tensor in zip(_unique(names), tensors, strict=True):
        if tensor.state_of and not only_states:
            states = (tensor.state_of,)
            ports.append(StatePort(name=name, states=states, dtype="float32", axes=("batch", "feature")))
            continue
        tensor = build.value(model, tensor, *(kind for kind in ANY if kind is not Kind.REPEATED))
        axes = _AXES[tensor.kind]
        backwards = tensor.backwards and "time" in axes
        if backwards:
            build.note(
                f"Model.run of a mapping gives the output {name!r} from the last timestep to the first, as Keras does"
            )
        ports.append(ValuePort(name=name, value=tensor.value, dtype="float32", axes=axes, backwards=backwards))
    return ports


def shown(ports: Sequence[Port]) -> tuple[list[Output], Signature]:
    """Return a model's outputs, and its signature's: an output has the name of its port."""
    outputs = [Output(port.name, port.value) for port in ports if isinstance(port, ValuePort)]
    return outputs, Signature((), tuple(_named(port) for port in ports))


def _named(port: Port) -> Port:
    if isinstance(port, StatePort):
        return port
    return msgspec.structs.replace(port, value=port.name)


def _unique(names: Sequence[str]) -> list[str]:
    """Return Keras's ``output_names``: those of the layers, numbered where one gives several outputs."""
    seen: Counter[str] = Counter()
    found = []
    for name in names:
        found.append(f"{name}_{seen[name]}" if seen[name] else name)
        seen[name] += 1
    return found


def _float(found: ModelInput) -> DType:
    return _FLOATS.get(found.dtype, "float32")
