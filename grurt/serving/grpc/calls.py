"""The methods of the Open Inference Protocol over gRPC: who may, what they answer, and how refusals look."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import grpc
from google.protobuf.json_format import ParseDict

from grurt.errors import GrurtError
from grurt.serving import descriptions
from grurt.serving.errors import status_of
from grurt.serving.grpc.schema import SERVICE, message_class
from grurt.serving.grpc.stream import RequestStream
from grurt.serving.grpc.tensors import parsed, read_request, response_to, whole_response_to
from grurt.serving.inference import layout_for, served_of, submit
from grurt.serving.whole import WholeModel

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from grurt.serving.access import Access, Permit
    from grurt.serving.service import Service
    from grurt.serving.sessions import Sessions

Context = Any
"""A `grpc.aio.ServicerContext`."""
Method = Callable[[Any, Any], Awaitable[Any]]
"""Takes a message, and the `Permit` of its client, and returns what the response says: fields, or a message."""

METHODS = {
    "ServerLive": ("Nothing", "Live"),
    "ServerReady": ("Nothing", "Ready"),
    "ModelReady": ("ModelName", "Ready"),
    "ServerMetadata": ("Nothing", "ServerMetadata"),
    "ModelMetadata": ("ModelName", "ModelMetadata"),
    "ModelConfig": ("ModelName", "ModelConfigResponse"),
    "ModelStatistics": ("ModelName", "ModelStatisticsResponse"),
    "RepositoryIndex": ("RepositoryIndexRequest", "RepositoryIndexResponse"),
    "ModelInfer": ("ModelInferRequest", "ModelInferResponse"),
    "ModelStreamInfer": ("ModelInferRequest", "ModelStreamInferResponse"),
}
"""The methods, with the messages that they take and return: see `grurt.serving.grpc.schema`."""
_OPEN = ("ServerLive", "ServerReady")
"""Those that need no token: they tell nothing of sessions."""
_CODES = {
    401: grpc.StatusCode.UNAUTHENTICATED,
    403: grpc.StatusCode.PERMISSION_DENIED,
    404: grpc.StatusCode.NOT_FOUND,
    409: grpc.StatusCode.ABORTED,
    410: grpc.StatusCode.ABORTED,
    503: grpc.StatusCode.UNAVAILABLE,
}
"""What gRPC calls the statuses of HTTP."""


def code_of(error: GrurtError) -> grpc.StatusCode:
    """Return the status with which a method ends."""
    return _CODES.get(status_of(error), grpc.StatusCode.INVALID_ARGUMENT)


class Calls:
    """Answers to the methods of the protocol.

    Parameters
    ----------
    service
        Whose models.
    access
        Who may.
    """

    def __init__(self, service: Service, access: Access) -> None:
        self._service = service
        self._access = access
        self.streams: set[RequestStream] = set()
        """Those that are open."""

    def handler(self) -> grpc.GenericRpcHandler:
        """Return what gRPC asks for its methods; messages go to and fro as bytes."""
        methods = {
            "ServerLive": self._live,
            "ServerReady": self._ready,
            "ModelReady": self._model_ready,
            "ServerMetadata": self._server,
            "ModelMetadata": self._model,
            "ModelConfig": self._configuration,
            "ModelStatistics": self._statistics,
            "RepositoryIndex": self._index,
            "ModelInfer": self._infer,
        }
        handlers = {name: self._unary(name, method) for name, method in methods.items()}
        handlers["ModelStreamInfer"] = grpc.stream_stream_rpc_method_handler(self._stream)
        return grpc.method_handlers_generic_handler(SERVICE, handlers)

    def _unary(self, name: str, method: Method) -> grpc.RpcMethodHandler:
        request_class, response_class = map(message_class, METHODS[name])

        async def answer(content: bytes, context: Context) -> bytes:
            try:
                permit = None if name in _OPEN else self._permit(context)
                response = await method(parsed(request_class, content), permit)
            except GrurtError as error:
                self._service.note_refusal(error)
                await context.abort(code_of(error), str(error))
            if isinstance(response, dict):
                response = ParseDict(response, response_class())
            return response.SerializeToString()  # type: ignore[no-any-return]

        return grpc.unary_unary_rpc_method_handler(answer)

    def _permit(self, context: Context) -> Permit:
        found = [value for name, value in context.invocation_metadata() or () if name == "authorization"]
        return self._access.permit(found[0] if len(found) == 1 else None)

    async def _live(self, request: Any, permit: Permit) -> dict[str, Any]:
        return {"live": True}

    async def _ready(self, request: Any, permit: Permit) -> dict[str, Any]:
        return {"ready": self._service.unready_reason is None}

    async def _model_ready(self, request: Any, permit: Permit) -> dict[str, Any]:
        served = self._service.served(request.name)
        is_there = served is not None and request.version in ("", str(served.version))
        return {"ready": is_there and self._service.unready_reason is None}

    async def _server(self, request: Any, permit: Permit) -> dict[str, Any]:
        return descriptions.server()

    async def _model(self, request: Any, permit: Permit) -> dict[str, Any]:
        return descriptions.model(self._served(request))

    async def _configuration(self, request: Any, permit: Permit) -> dict[str, Any]:
        return {"config": descriptions.configuration(self._served(request), self._service.limits)}

    async def _statistics(self, request: Any, permit: Permit) -> dict[str, Any]:
        return descriptions.statistics([self._served(request)] if request.name else self._service.all_served)

    async def _index(self, request: Any, permit: Permit) -> dict[str, Any]:
        return {"models": descriptions.index(self._service)}

    def _served(self, request: Any) -> Sessions | WholeModel:
        return served_of(self._service, request.name, request.version or None)

    async def _infer(self, message: Any, permit: Permit) -> Message:
        served = served_of(self._service, message.model_name, message.model_version or None)
        if isinstance(served, WholeModel):
            return await whole_response_to(message, served, self._service)
        request = read_request(message, partial(layout_for, self._service, served))
        return await response_to(message, await submit(self._service, served, request, permit))

    async def _stream(self, contents: AsyncIterator[bytes], context: Context) -> None:
        try:
            permit = self._permit(context)
        except GrurtError as error:
            self._service.note_refusal(error)
            await context.abort(code_of(error), str(error))
        stream = RequestStream(self._service, permit, context)
        self.streams.add(stream)
        try:
            await stream.run(contents)
        finally:
            self.streams.discard(stream)
