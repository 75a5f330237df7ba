"""The addresses of the Open Inference Protocol."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import orjson
from starlette.responses import Response
from starlette.routing import Route

from grurt.serving import descriptions, whole_requests
from grurt.serving import inference_protocol as protocol
from grurt.serving.bodies import compressed, read_body
from grurt.serving.inference import layout_for, served_of, submit
from grurt.serving.whole import WholeModel

if TYPE_CHECKING:
    from starlette.requests import Request

    from grurt.serving.service import Service
    from grurt.serving.sessions import Sessions

_HEADER_LENGTH = protocol.HEADER_LENGTH.lower().encode()
_JSON = "application/json"
_BINARY = "application/octet-stream"


class InferenceRoutes:
    """Answers to the requests of the protocol.

    Parameters
    ----------
    service
        Whose models.
    """

    def __init__(self, service: Service) -> None:
        self._service = service

    def routes(self) -> list[Route]:
        """Return all addresses."""
        found = [Route("/v2/models/stats", self.all_statistics)]
        for prefix in ("/v2/models/{model}", "/v2/models/{model}/versions/{version}"):
            found += [
                Route(f"{prefix}/infer", self.infer, methods=["POST"]),
                Route(f"{prefix}/ready", self.model_ready),
                Route(f"{prefix}/config", self.configuration),
                Route(f"{prefix}/stats", self.statistics),
                Route(prefix, self.metadata),
            ]
        return [
            *found,
            Route("/v2/health/live", self.live),
            Route("/v2/health/ready", self.ready),
            Route("/v2/repository/index", self.index, methods=["POST"]),
            Route("/v2", self.server),
        ]

    async def infer(self, request: Request) -> Response:
        """Advance a session, or a sequence that leaves nothing behind."""
        served_of(self._service, **request.path_params)
        body = await read_body(request, self._service.limits)
        header_length = request.state.headers.get(_HEADER_LENGTH)
        served = served_of(self._service, **request.path_params)  # of now: a body may take a while
        if isinstance(served, WholeModel):
            return await self._infer_whole(request, served, body, header_length)
        return await self._infer_sessions(request, served, body, header_length)

    async def _infer_whole(
        self, request: Request, model: WholeModel, body: bytes, header_length: bytes | None
    ) -> Response:
        asked = whole_requests.read_request(body, header_length, model)
        self._service.expect_to_go_on()
        names = [port.name for port, _ in asked.outputs]
        answers = await model.run(dict(asked.feed), names, self._service.threads)
        return _inference_response(request, *whole_requests.write_response(model, asked, answers))

    async def _infer_sessions(
        self, request: Request, sessions: Sessions, body: bytes, header_length: bytes | None
    ) -> Response:
        asked = protocol.read_request(body, header_length, partial(layout_for, self._service, sessions))
        pending = await submit(self._service, sessions, asked, request.state.permit)
        answers, reply = await pending.answers(), pending.reply
        content, head = protocol.write_response(
            sessions.name, reply.version, asked, answers, is_renewed=reply.is_renewed
        )
        return _inference_response(request, content, head)

    async def server(self, request: Request) -> Response:
        """Tell what kind of service it is."""
        return _json(descriptions.server())

    async def live(self, request: Request) -> Response:
        """Tell that the service lives."""
        return Response()

    async def ready(self, request: Request) -> Response:
        """Tell whether the service can take requests."""
        return Response(status_code=503 if self._service.unready_reason else 200)

    async def model_ready(self, request: Request) -> Response:
        """Tell that a model is there."""
        served_of(self._service, **request.path_params)
        return Response()

    async def metadata(self, request: Request) -> Response:
        """Tell the inputs and outputs of a model."""
        return _json(descriptions.model(served_of(self._service, **request.path_params)))

    async def configuration(self, request: Request) -> Response:
        """Tell the configuration of a model, as far as Triton's has a word for it."""
        return _json(descriptions.configuration(served_of(self._service, **request.path_params), self._service.limits))

    async def statistics(self, request: Request) -> Response:
        """Tell how much a model has done."""
        return _json(descriptions.statistics([served_of(self._service, **request.path_params)]))

    async def all_statistics(self, request: Request) -> Response:
        """Tell how much each model has done."""
        return _json(descriptions.statistics(self._service.all_served))

    async def index(self, request: Request) -> Response:
        """List the models."""
        await read_body(request, self._service.limits)
        return _json(descriptions.index(self._service))


def _json(value: Any) -> Response:
    return Response(orjson.dumps(value), media_type=_JSON)


def _inference_response(request: Request, content: bytes, head: int | None) -> Response:
    """Return a response, whose JSON ends where the bytes begin, if there are some."""
    headers = {} if head is None else {protocol.HEADER_LENGTH: str(head)}
    accepted = request.state.headers.get(b"accept-encoding")
    if accepted is not None:
        content, encoding = compressed(content, accepted.decode("latin-1"))
        if encoding is not None:
            headers["content-encoding"] = encoding
    return Response(content, headers=headers, media_type=_JSON if head is None else _BINARY)
