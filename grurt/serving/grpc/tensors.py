"""Requests and responses of gRPC, in the form that those of HTTP have: the rules for both are the same."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from google.protobuf.message import DecodeError

from grurt.errors import InputShapeError
from grurt.escaping import described
from grurt.serving import inference_protocol as protocol
from grurt.serving import whole_requests
from grurt.serving.errors import ServingError
from grurt.serving.grpc.schema import choice_of, message_class

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from grurt.serving.inference import Pending
    from grurt.serving.inference_protocol import InferenceRequest
    from grurt.serving.layout import Layout
    from grurt.serving.service import Service
    from grurt.serving.whole import WholeModel

_Response = message_class("ModelInferResponse")
_CONTENTS = {
    "BOOL": "bool_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "INT32": "int_contents",
    "INT64": "int64_contents",
}
_FINAL_WANTED = "triton_enable_empty_final_response"
_FINAL = "triton_final_response"


def parsed(message_type: type[Message], content: bytes) -> Any:
    """Return the message that bytes are. Raises ServingError if they are none."""
    try:
        return message_type.FromString(content)
    except DecodeError as error:
        raise ServingError(f"request: expected a message of the protocol, got something else: {error}") from None


def read_request(message: Any, layout_for: Callable[[str | None], Layout]) -> InferenceRequest:
    """Read a ``ModelInferRequest``, as `inference_protocol.read_request`; all outputs are wanted as bytes.

    Raises
    ------
    ServingError, InputShapeError, InputTypeError
        If it is none, or its tensors are not those of the model.
    """
    asked = protocol.request_of(*_as_json(message), layout_for)
    return replace(asked, outputs=tuple((port, True) for port, _ in asked.outputs))


def _as_json(message: Any) -> tuple[dict[str, Any], dict[str, Any], bytes]:
    """Return a request in the form of JSON, its parameters, and the bytes of its tensors."""
    raw = [*message.raw_input_contents]
    if raw and len(raw) != len(message.inputs):
        raise InputShapeError(
            f"raw_input_contents: expected one for each of {len(message.inputs)} inputs, got {len(raw)}"
        )
    request: dict[str, Any] = {
        "id": message.id,
        "inputs": [_tensor(tensor, raw[i] if raw else None) for i, tensor in enumerate(message.inputs)],
    }
    if message.outputs:
        request["outputs"] = [
            {"name": output.name, "parameters": _values(output.parameters)} for output in message.outputs
        ]
    return request, _values(message.parameters), b"".join(raw)


def _values(parameters: Mapping[str, Any]) -> dict[str, Any]:
    return {name: choice_of(parameter) for name, parameter in parameters.items()}


def _tensor(tensor: Any, raw: bytes | None) -> dict[str, Any]:
    """Return a tensor in the form of JSON, with its numbers, or how many bytes they are."""
    if "shared_memory_region" in tensor.parameters:
        raise ServingError(f"input {described(tensor.name)}: expected contents in the request, got shared memory")
    found: dict[str, Any] = {"name": tensor.name, "datatype": tensor.datatype, "shape": [*tensor.shape]}
    if raw is not None:
        if tensor.HasField("contents"):
            raise ServingError(f"input {described(tensor.name)}: expected contents or raw_input_contents, got both")
        return found | {"parameters": {"binary_data_size": len(raw)}}
    return found | {"data": [*getattr(tensor.contents, _CONTENTS.get(tensor.datatype, "fp32_contents"))]}


async def response_to(message: Any, pending: Pending) -> Message:
    """Wait for the answers to the samples of a ``ModelInferRequest``, and return the ``ModelInferResponse``.

    Raises GrurtError if the samples were refused.
    """
    answers, reply = await pending.answers(), pending.reply
    content, raw = protocol.response_of(
        pending.model, reply.version, pending.request, answers, is_renewed=reply.is_renewed
    )
    return _response(message, content, raw)


async def whole_response_to(message: Any, model: WholeModel, service: Service) -> Message:
    """Return the ``ModelInferResponse`` to whole sequences. Raises GrurtError if they are refused."""
    asked = whole_requests.request_of(*_as_json(message), model)
    asked = replace(asked, outputs=tuple((port, True) for port, _ in asked.outputs))
    service.expect_to_go_on()
    answers = await model.run(dict(asked.feed), [port.name for port, _ in asked.outputs], service.threads)
    return _response(message, *whole_requests.response_of(model, asked, answers))


def _response(message: Any, content: dict[str, Any], raw: list[bytes]) -> Message:
    response: Any = _Response(
        model_name=content["model_name"],
        model_version=content["model_version"],
        id=message.id,
        outputs=[
            {"name": tensor["name"], "datatype": tensor["datatype"], "shape": tensor["shape"]}
            for tensor in content["outputs"]
        ],
        raw_output_contents=raw,
    )
    for name, value in content.get("parameters", {}).items():
        response.parameters[name].bool_param = value
    if _FINAL_WANTED in message.parameters and message.parameters[_FINAL_WANTED].bool_param:
        response.parameters[_FINAL].bool_param = True
    return response
