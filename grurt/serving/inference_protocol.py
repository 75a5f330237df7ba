"""The Open Inference Protocol (KServe v2): requests and responses as HTTP has them, with Triton's extensions.

A tensor's first axis are timesteps: ``[n, *frame]``, and ``[*frame]`` stands for one. Tensors are JSON, or binary
behind the JSON (Triton's binary tensor data extension). ``sequence_id``, ``sequence_start`` and ``sequence_end`` name a
session (its sequence extension); a request without begins at the model's initial state, and leaves nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import numpy as np
import orjson

from grurt.errors import InputShapeError, InputTypeError
from grurt.escaping import described, listed
from grurt.serving.errors import ServingError
from grurt.serving.names import key_of_name, key_of_number
from grurt.serving.numbers import array_of_numbers, flat_numbers

if TYPE_CHECKING:
    from grurt.serving.layout import Layout, Port

EXTENSIONS = ("binary_tensor_data", "sequence", "sequence(string_id)", "model_configuration", "model_repository")
HEADER_LENGTH = "Inference-Header-Content-Length"


@dataclass(frozen=True)
class InferenceRequest:
    """What a client asks for.

    Parameters
    ----------
    id
        The client's own name of the request.
    samples
        As `Layout` has them,
    n_samples
        so many.
    key
        Of the session; None for none.
    start, end
        Whether the session begins and ends with this request.
    layout
        Of samples and answers.
    outputs
        Which outputs it wants, and whether each as bytes.
    """

    id: str
    samples: bytes
    n_samples: int
    key: str | None
    start: bool
    end: bool
    layout: Layout
    outputs: tuple[tuple[Port, bool], ...]


def datatype(port: Port) -> str:
    """Return what the protocol calls the dtype of an input or output."""
    return "FP32" if port.dtype.kind == "f" else "INT64"


def tensor_metadata(port: Port) -> dict[str, Any]:
    """Return what the metadata of a model say of an input or output."""
    return {"name": port.name, "datatype": datatype(port), "shape": [-1, *port.shape]}


def tensor_configuration(port: Port) -> dict[str, Any]:
    """Return what the configuration of a model says of an input or output."""
    return {"name": port.name, "data_type": f"TYPE_{datatype(port)}", "dims": [-1, *port.shape]}


def read_request(
    body: bytes, header_length: bytes | None, layout_for: Callable[[str | None], Layout]
) -> InferenceRequest:
    """Read a request.

    Parameters
    ----------
    body, header_length
        What came; and how long its JSON is, by its header.
    layout_for
        Returns the layout of a model's samples for a session's key, of what begins for None.

    Raises
    ------
    ServingError, InputShapeError, InputTypeError
        If it is none, or its tensors are not those of the model.
    """
    head, binary = split(body, header_length)
    return request_of(*read_head(head), binary, layout_for)


def request_of(
    request: dict[str, Any], parameters: dict[str, Any], binary: bytes, layout_for: Callable[[str | None], Layout]
) -> InferenceRequest:
    """Return what a request asks for, in the form of JSON, with the bytes of its binary tensors one after the other.

    Raises
    ------
    ServingError, InputShapeError, InputTypeError
        As `read_request`.
    """
    key, start, end = sequence_of(parameters)
    layout = layout_for(None if start else key)
    samples, n_samples = _samples(tensors_of(request, "inputs"), binary, layout)
    return InferenceRequest(
        id_of(request),
        samples,
        n_samples,
        key,
        start,
        end,
        layout,
        wanted_outputs(request, parameters, layout.outputs),
    )


def split(body: bytes, header_length: bytes | None) -> tuple[bytes, bytes]:
    """Return the JSON of a body, and the bytes behind it."""
    if header_length is None:
        return body, b""
    if not header_length.isdigit() or int(header_length[:9]) > len(body):
        raise ServingError(f"{HEADER_LENGTH}: expected at most {len(body)} bytes, got {described(header_length)}")
    return body[: int(header_length)], body[int(header_length) :]


def read_head(head: bytes) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the JSON of a request, and its parameters."""
    try:
        found = orjson.loads(head)
    except orjson.JSONDecodeError as error:
        raise ServingError(f"request: expected JSON, with finite numbers: {error}") from None
    request = _mapping("request", found)
    return request, _mapping("parameters", request.get("parameters", {}))


def id_of(request: dict[str, Any]) -> str:
    """Return the client's own name of a request."""
    found = request.get("id", "")
    if not isinstance(found, str):
        raise ServingError(f"id: expected a text, got {described(found)}")
    return found


def _mapping(where: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ServingError(f"{where}: expected an object, got {type(value).__name__}")
    return value


def _flag(parameters: dict[str, Any], name: str) -> bool:
    value = parameters.get(name, False)
    if not isinstance(value, bool):
        raise ServingError(f"{name}: expected true or false, got {described(value)}")
    return value


def sequence_of(parameters: dict[str, Any]) -> tuple[str | None, bool, bool]:
    """Return the key of the session that a request names, and whether it begins and ends with it."""
    return key_of(parameters), _flag(parameters, "sequence_start"), _flag(parameters, "sequence_end")


def key_of(parameters: dict[str, Any]) -> str | None:
    """Return the key of the session that a request names; None if it names none."""
    sequence_id = parameters.get("sequence_id", 0)
    if sequence_id in (0, "") and not isinstance(sequence_id, bool | float):
        return None
    if isinstance(sequence_id, str):
        return key_of_name(sequence_id)
    if type(sequence_id) is int:
        return key_of_number(sequence_id)
    raise ServingError(f"sequence_id: expected an integer or a text, got {described(sequence_id)}")


def tensors_of(request: dict[str, Any], name: str) -> list[dict[str, Any]]:
    """Return the inputs or outputs of a request, each of which has a name."""
    tensors = request.get(name)
    if not isinstance(tensors, list) or not tensors:
        raise ServingError(f"{name}: expected a list of tensors, got {described(tensors)}")
    for tensor in tensors:
        if not isinstance(_mapping(name, tensor).get("name"), str):
            raise ServingError(f"{name}: expected a name in each tensor")
    return tensors


def _samples(tensors: list[dict[str, Any]], binary: bytes, layout: Layout) -> tuple[bytes, int]:
    """Return the inputs as samples, and how many; a binary tensor of the only input is that already."""
    ports = {port.name: port for port in layout.inputs}
    contents: dict[str, bytes] = {}
    counts = set()
    for tensor, content in with_contents(tensors, binary):
        name = tensor["name"]
        port = ports.get(name)
        if port is None or name in contents:
            raise InputShapeError(f"inputs: expected each of {listed(ports)} once, got {described(name)}")
        contents[name], count = _content(port, tensor, content)
        counts.add(count)
    if len(contents) < len(ports) or len(counts) > 1:
        raise InputShapeError(f"inputs: expected {listed(ports)}, of as many timesteps each")
    n_samples = counts.pop()
    if len(contents) == 1:
        return contents[layout.inputs[0].name], n_samples
    arrays = {
        port.name: np.frombuffer(contents[port.name], port.dtype).reshape(-1, *port.shape) for port in layout.inputs
    }
    return layout.joined(arrays, n_samples), n_samples


def with_contents(tensors: list[dict[str, Any]], binary: bytes) -> Iterator[tuple[dict[str, Any], bytes | None]]:
    """Yield tensors, each with its bytes behind the JSON, if it has some; all of these are somebody's."""
    start = 0
    for tensor in tensors:
        size = _mapping("parameters", tensor.get("parameters", {})).get("binary_data_size")
        if size is None:
            yield tensor, None
            continue
        if type(size) is not int or not 0 <= size <= len(binary) - start:
            raise ServingError(f"binary_data_size: expected at most {len(binary) - start} bytes, got {described(size)}")
        yield tensor, binary[start : start + size]
        start += size
    if start < len(binary):
        raise ServingError(f"body: expected {start} bytes behind the JSON, got {len(binary)}")


def shape_of(where: str, tensor: Mapping[str, Any]) -> list[int]:
    """Return the shape that a tensor says it has."""
    shape = tensor.get("shape")
    if not isinstance(shape, list) or not all(type(size) is int for size in shape):
        raise InputShapeError(f"{where}: expected a shape, a list of integers, got {described(shape)}")
    return shape


def other_number(where: str, shape: Sequence[int], found: int) -> str:
    """Return what is said of a tensor with another number of numbers than its shape has."""
    return f"{where}: expected as many numbers in data as shape {list(shape)} has, got {found}"


def _content(port: Port, tensor: dict[str, Any], content: bytes | None) -> tuple[bytes, int]:
    """Return the bytes of a tensor ``(n, *frame)``, and n."""
    where = f"input {described(port.name)}"
    if tensor.get("datatype") != datatype(port):
        raise InputTypeError(f"{where}: expected datatype {datatype(port)}, got {described(tensor.get('datatype'))}")
    shape = shape_of(where, tensor)
    if tuple(shape) == port.shape:
        shape = [1, *shape]
    if tuple(shape[1:]) != port.shape or not shape or not 0 < shape[0] < 1 << 40:
        raise InputShapeError(f"{where}: expected shape [{', '.join(['n', *map(str, port.shape)])}], got {shape}")
    if content is None:
        numbers = flat_numbers(where, tensor.get("data"))
        if len(numbers) != math.prod(shape):
            raise InputShapeError(other_number(where, shape, len(numbers)))
        return array_of_numbers(where, numbers, port.dtype).tobytes(), shape[0]
    n_bytes = shape[0] * port.n_bytes
    if len(content) != n_bytes:
        raise InputShapeError(f"{where}: expected {n_bytes} bytes for shape {shape}, got {len(content)}")
    return content, shape[0]


class Named(Protocol):
    """An output of a model."""

    @property
    def name(self) -> str:
        """Its name."""


P = TypeVar("P", bound=Named)


def wanted_outputs(
    request: dict[str, Any], parameters: dict[str, Any], outputs: Sequence[P]
) -> tuple[tuple[P, bool], ...]:
    """Return which outputs a request wants, and whether each as bytes."""
    are_binary = _flag(parameters, "binary_data_output")
    if request.get("outputs") is None:
        return tuple((port, are_binary) for port in outputs)
    ports = {port.name: port for port in outputs}
    wanted = []
    for output in tensors_of(request, "outputs"):
        parameters = _mapping("parameters", output.get("parameters", {}))
        if output["name"] not in ports:
            raise ServingError(f"outputs: expected some of {listed(ports)}, got {described(output['name'])}")
        if unknown := parameters.keys() - {"binary_data"}:
            raise ServingError(f"outputs: expected the parameter binary_data at most, got {described(sorted(unknown))}")
        is_binary = _flag(parameters, "binary_data") if "binary_data" in parameters else are_binary
        wanted.append((ports[output["name"]], is_binary))
    return tuple(wanted)


def write_response(
    model: str, version: int, request: InferenceRequest, answers: bytes, *, is_renewed: bool
) -> tuple[bytes, int | None]:
    """Return the body of a response, and how long its JSON is, if there are bytes behind it."""
    return joined_response(*response_of(model, version, request, answers, is_renewed=is_renewed))


def response_of(
    model: str, version: int, request: InferenceRequest, answers: bytes, *, is_renewed: bool
) -> tuple[dict[str, Any], list[bytes]]:
    """Return a response in the form of JSON, and the bytes of its binary tensors."""
    contents = request.layout.contents_of(answers)
    binary: list[bytes] = []
    tensors: list[dict[str, Any]] = []
    for port, is_binary in request.outputs:
        content = contents[port.name]
        tensor: dict[str, Any] = {
            "name": port.name,
            "datatype": datatype(port),
            "shape": [request.n_samples, *port.shape],
        }
        if is_binary:
            binary.append(content)
            tensor["parameters"] = {"binary_data_size": len(content)}
        else:
            tensor["data"] = np.frombuffer(content, port.dtype)
        tensors.append(tensor)
    parameters = {"renewed": True} if is_renewed else {}
    return described_response(model, version, request.id, tensors, parameters), binary


def described_response(
    model: str,
    version: int,
    request_id: str,
    tensors: list[dict[str, Any]],
    parameters: Mapping[str, Any] = MappingProxyType({}),
) -> dict[str, Any]:
    """Return a response with some outputs in the form of JSON."""
    response: dict[str, Any] = {"model_name": model, "model_version": str(version), "outputs": tensors}
    if request_id:
        response["id"] = request_id
    if parameters:
        response["parameters"] = parameters
    return response


def joined_response(response: dict[str, Any], binary: list[bytes]) -> tuple[bytes, int | None]:
    """Return the body of a response, and how long its JSON is, if there are bytes behind it."""
    head = orjson.dumps(response, option=orjson.OPT_SERIALIZE_NUMPY)
    return (b"".join([head, *binary]), len(head)) if binary else (head, None)
