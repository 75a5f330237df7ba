"""Inputs and outputs as onnxruntime describes them: names, shapes and types of the source's tensors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from grurt.network.axes import port_shape
from grurt.network.signature import AnyPort, DType, ValuePort
from grurt.runtime.stages import time_of

if TYPE_CHECKING:
    from grurt.converters.graph.nodes import Declaration
    from grurt.network.network import Network
    from grurt.network.value import Value

Size = int | str | None
"""Of an axis: a number, the name of a size that is left open, or None."""

ELEMENTS: Mapping[DType, str] = {
    "float32": "float",
    "float64": "double",
    "float16": "float16",
    "int64": "int64",
    "int32": "int32",
    "bool": "bool",
}
"""ONNX's names of dtypes."""

_MERGED = ("batch_position", "batch_time", "time_batch")
"""Axes that are of another size at each port that has them."""


@dataclass(frozen=True)
class NodeArg:
    """An input or output of an `InferenceSession`.

    Attributes
    ----------
    name
        The source's name of the tensor.
    shape
        The size of each axis: an integer, the name of a size that is left open, or None.
    type
        The kind of its elements, as in ``"tensor(float)"``.
    """

    name: str
    shape: list[Size]
    type: str


@dataclass(frozen=True)
class ModelMetadata:
    """What an ONNX file says of itself; of other models, what grurt knows."""

    producer_name: str = ""
    graph_name: str = ""
    domain: str = ""
    description: str = ""
    graph_description: str = ""
    version: int = (1 << 63) - 1
    custom_metadata_map: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Declarations:
    """What a source declares of its tensors, by name."""

    inputs: Mapping[str, Declaration] = field(default_factory=dict)
    outputs: Mapping[str, Declaration] = field(default_factory=dict)


class Ports:
    """The inputs and outputs of a network, as its source declares them.

    Parameters
    ----------
    network
        The network.
    declared
        What the source declares; where it declares nothing, the signature says what is known.

    Attributes
    ----------
    inputs, outputs
        In the source's order.
    dtypes
        Of the inputs, which may differ from what the network reads: a source can have tokens as floating point.
    """

    def __init__(self, network: Network, declared: Declarations) -> None:
        self._network = network
        signature, values = network.signature, network.values
        shown = {output.name: values[output.value] for output in network.outputs}
        self._fixed: dict[Size, int] = {"batch": len(signature.lengths)} if signature.lengths else {}
        for port in signature.inputs:
            axes = self._axes(port, values)
            said = zip(axes, _shape(declared.inputs, port) or axes, strict=True)
            self._fixed |= {axis: size for axis, size in said if isinstance(size, int) and axis not in _MERGED}
        self.dtypes = [_dtype(declared.inputs, port) for port in signature.inputs]
        self.inputs = [
            NodeArg(port.name, self._sizes(port, declared.inputs, values), f"tensor({ELEMENTS[dtype]})")
            for port, dtype in zip(signature.inputs, self.dtypes, strict=True)
        ]
        self.outputs = [
            NodeArg(port.name, self._sizes(port, declared.outputs, shown), f"tensor({ELEMENTS[port.dtype]})")
            for port in signature.outputs
        ]

    def admit(self, shapes: Mapping[str, Sequence[int]]) -> bool:
        """Return whether inputs may be of these shapes."""
        return all(
            not isinstance(size, int) or size == own
            for port in self.inputs
            if port.name in shapes
            for size, own in zip(port.shape, shapes[port.name], strict=True)
        )

    def _sizes(self, port: AnyPort, declared: Mapping[str, Declaration], values: Mapping[str, Value]) -> list[Size]:
        own = [self._fixed.get(axis, axis) for axis in self._axes(port, values)]
        said = _shape(declared, port) or own
        return [known if isinstance(known, int) else size for known, size in zip(own, said, strict=True)]

    def _axes(self, port: AnyPort, values: Mapping[str, Value]) -> list[Size]:
        """Return the size of each axis of a port's tensor, or the name of what gives it."""
        time = time_of(values[port.value].stage) if isinstance(port, ValuePort) else "time"
        return [time if size == "time" else size for size in port_shape(port, values, self._network.initial_shapes)]


def _shape(declared: Mapping[str, Declaration], port: AnyPort) -> tuple[Size, ...] | None:
    return declared[port.name].shape if port.name in declared else None


def _dtype(declared: Mapping[str, Declaration], port: AnyPort) -> DType:
    said = declared[port.name].dtype if port.name in declared else port.dtype
    return next((dtype for dtype in ELEMENTS if dtype == said), port.dtype)
