"""Requests of the Open Inference Protocol for models of whole sequences: tensors in the source's shapes and dtypes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from grurt.errors import InputShapeError, InputTypeError
from grurt.escaping import described, listed
from grurt.serving import inference_protocol as protocol
from grurt.serving.errors import ServingError
from grurt.serving.numbers import array_of_numbers, flat_numbers

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from grurt.array_types import Array
    from grurt.serving.whole import WholeModel
    from grurt.session.ports import NodeArg

_DATATYPES: dict[str, tuple[str, np.dtype[Any]]] = {
    "tensor(float)": ("FP32", np.dtype("<f4")),
    "tensor(double)": ("FP64", np.dtype("<f8")),
    "tensor(float16)": ("FP16", np.dtype("<f2")),
    "tensor(int64)": ("INT64", np.dtype("<i8")),
    "tensor(int32)": ("INT32", np.dtype("<i4")),
    "tensor(bool)": ("BOOL", np.dtype("?")),
}


@dataclass(frozen=True)
class WholeRequest:
    """What a client asks for.

    Parameters
    ----------
    id
        The client's own name of the request.
    feed
        The inputs by name.
    outputs
        Which outputs it wants, and whether each as bytes.
    """

    id: str
    feed: Mapping[str, Array]
    outputs: tuple[tuple[NodeArg, bool], ...]


def tensor_metadata(port: NodeArg) -> dict[str, Any]:
    """Return what the metadata of a model say of an input or output."""
    return {"name": port.name, "datatype": _DATATYPES[port.type][0], "shape": _sizes(port)}


def tensor_configuration(port: NodeArg) -> dict[str, Any]:
    """Return what the configuration of a model says of an input or output."""
    return {"name": port.name, "data_type": f"TYPE_{_DATATYPES[port.type][0]}", "dims": _sizes(port)}


def _sizes(port: NodeArg) -> list[int]:
    return [size if isinstance(size, int) else -1 for size in port.shape]


def read_request(body: bytes, header_length: bytes | None, model: WholeModel) -> WholeRequest:
    """Read a request.

    Raises
    ------
    ServingError, InputShapeError, InputTypeError, InputValueError
        If it is none, its tensors are not those of the model, or it names a sequence.
    """
    head, binary = protocol.split(body, header_length)
    return request_of(*protocol.read_head(head), binary, model)


def request_of(request: dict[str, Any], parameters: dict[str, Any], binary: bytes, model: WholeModel) -> WholeRequest:
    """Return what a request asks for, in the form of JSON, with the bytes of its binary tensors one after the other.

    Raises
    ------
    ServingError, InputShapeError, InputTypeError, InputValueError
        As `read_request`.
    """
    if protocol.key_of(parameters) is not None:
        raise ServingError(
            f"sequence_id: expected none, as {model.name!r} answers to whole sequences only: {model.reason}"
        )
    ports = {port.name: port for port in model.session.get_inputs()}
    feed: dict[str, Array] = {}
    for tensor, content in protocol.with_contents(protocol.tensors_of(request, "inputs"), binary):
        name = tensor["name"]
        if name not in ports or name in feed:
            raise InputShapeError(f"inputs: expected each of {listed(ports)} once, got {described(name)}")
        feed[name] = _array(ports[name], tensor, content)
    outputs = protocol.wanted_outputs(request, parameters, model.session.get_outputs())
    return WholeRequest(protocol.id_of(request), feed, outputs)


def _array(port: NodeArg, tensor: Mapping[str, Any], content: bytes | None) -> Array:
    where = f"input {described(port.name)}"
    datatype, dtype = _DATATYPES[port.type]
    if tensor.get("datatype") != datatype:
        raise InputTypeError(f"{where}: expected datatype {datatype}, got {described(tensor.get('datatype'))}")
    shape = protocol.shape_of(where, tensor)
    if any(size < 0 for size in shape) or len(shape) > 64:
        raise InputShapeError(f"{where}: expected shape {_sizes(port)}, got {described(shape)}")
    count = math.prod(shape)
    if content is None:
        numbers = flat_numbers(where, tensor.get("data"))
        if len(numbers) != count:
            raise InputShapeError(protocol.other_number(where, shape, len(numbers)))
        return array_of_numbers(where, numbers, dtype).reshape(shape)
    if len(content) != count * dtype.itemsize:
        raise InputShapeError(f"{where}: expected {count * dtype.itemsize} bytes for shape {shape}, got {len(content)}")
    return np.frombuffer(content, np.uint8 if dtype.kind == "b" else dtype).astype(dtype, copy=False).reshape(shape)


def write_response(model: WholeModel, request: WholeRequest, answers: Sequence[Array]) -> tuple[bytes, int | None]:
    """Return the body of a response, and how long its JSON is, if there are bytes behind it."""
    return protocol.joined_response(*response_of(model, request, answers))


def response_of(
    model: WholeModel, request: WholeRequest, answers: Sequence[Array]
) -> tuple[dict[str, Any], list[bytes]]:
    """Return a response in the form of JSON, and the bytes of its binary tensors."""
    tensors: list[dict[str, Any]] = []
    binary: list[bytes] = []
    for (port, is_binary), answer in zip(request.outputs, answers, strict=True):
        datatype, dtype = _DATATYPES[port.type]
        tensor: dict[str, Any] = {"name": port.name, "datatype": datatype, "shape": list(answer.shape)}
        content = np.ascontiguousarray(answer, dtype)
        if is_binary:
            binary.append(content.tobytes())
            tensor["parameters"] = {"binary_data_size": len(binary[-1])}
        else:
            tensor["data"] = content.ravel().astype(np.float32) if datatype == "FP16" else content.ravel()
        tensors.append(tensor)
    return protocol.described_response(model.name, model.version, request.id, tensors), binary
