"""The addresses of the Open Inference Protocol."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any

import orjson
from starlette.responses import Response
from starlette.routing import Route

from grurt.serving import inference_protocol as protocol
from grurt.serving import whole_requests
from grurt.serving.bodies import compressed, read_body
from grurt.serving.errors import ModelReplacedError, UnknownModelError
from grurt.serving.whole import WholeModel
from grurt.version import VERSION

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.requests import Request

    from grurt.errors import GrurtError
    from grurt.serving.access import Permit
    from grurt.serving.layout import Layout, Port
    from grurt.serving.service import Service
    from grurt.serving.sessions import OneSession, Sessions
    from grurt.session.ports import NodeArg

_HEADER_LENGTH = protocol.HEADER_LENGTH.lower().encode()
_JSON = "application/json"
_BINARY = "application/octet-stream"


class Reply:
    """Receives the answers to a message for who awaits them.

    Parameters
    ----------
    session
        Of the message.
    """

    def __init__(self, session: OneSession) -> None:
        self.future: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._session = session
        self.version = 0
        """Of the model that has answered."""
        self.is_renewed = False
        """Whether that was the first answer after the session has begun anew on another model."""

    def answer(self, answers: bytes) -> None:
        session = self._session
        self.version = session.room.version
        self.is_renewed, session.is_renewed = session.is_renewed, False
        if not self.future.done():
            self.future.set_result(answers)

    def refuse(self, error: GrurtError) -> None:
        if not self.future.done():
            self.future.set_exception(error)


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
        self._served(request)
        body = await read_body(request, self._service.limits)
        header_length = request.state.headers.get(_HEADER_LENGTH)
        served = self._served(request)  # of now: a body may take a while
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
        asked = protocol.read_request(body, header_length, partial(self._layout_for, sessions))
        if asked.key is not None:
            permit: Permit = request.state.permit
            permit.expect(asked.key)
        if asked.n_samples > 1:
            self._service.expect_room_for(asked.layout, asked.n_samples)
            asked.layout.expect_sound(asked.samples)
        self._service.expect_to_go_on()
        session = self._session_at_hand(sessions, asked) or await self._open(sessions, asked)
        if session.room.layout is not asked.layout and not session.room.layout.is_like(asked.layout):
            raise ModelReplacedError("the model was replaced while this waited, and the samples do not fit the new one")
        reply = Reply(session)
        try:
            session.room.turns.submit(session, (asked.samples, asked.n_samples, reply))
            answers = await reply.future
        finally:
            if asked.key is None or asked.end:
                self._service.end(session)
        content, head = protocol.write_response(
            sessions.name, reply.version, asked, answers, is_renewed=reply.is_renewed
        )
        return _inference_response(request, content, head)

    def _session_at_hand(self, sessions: Sessions, asked: protocol.InferenceRequest) -> OneSession | None:
        """Return the session of a request, if nothing has to be awaited for it: the usual case."""
        if asked.key is None:
            return self._service.begin_nameless(sessions)
        session = None if asked.start else self._service.find(sessions.name, asked.key)
        is_free = session is not None and session.holder is None and session.opening is None and session.safe is None
        return session if is_free else None

    def _layout_for(self, sessions: Sessions, key: str | None) -> Layout:
        """Return the layout for what begins, or for a session, which may be on a model that was replaced."""
        session = None if key is None else self._service.find(sessions.name, key)
        return sessions.layout if session is None else session.room.layout

    async def _open(self, sessions: Sessions, asked: protocol.InferenceRequest) -> OneSession:
        return await self._service.open(sessions, asked.key, None, reset=asked.start, begin=asked.start)

    def _served(self, request: Request) -> Sessions | WholeModel:
        return served_of(self._service, request)

    async def server(self, request: Request) -> Response:
        """Tell what kind of service it is."""
        return _json({"name": "grurt", "version": VERSION, "extensions": list(protocol.EXTENSIONS)})

    async def live(self, request: Request) -> Response:
        """Tell that the service lives."""
        return Response()

    async def ready(self, request: Request) -> Response:
        """Tell whether the service can take requests."""
        return Response(status_code=503 if self._service.unready_reason else 200)

    async def model_ready(self, request: Request) -> Response:
        """Tell that a model is there."""
        self._served(request)
        return Response()

    async def metadata(self, request: Request) -> Response:
        """Tell the inputs and outputs of a model."""
        served = self._served(request)
        inputs, outputs = _tensors(served, protocol.tensor_metadata, whole_requests.tensor_metadata)
        return _json(
            {
                "name": served.name,
                "versions": [str(served.version)],
                "platform": "grurt",
                "inputs": inputs,
                "outputs": outputs,
            }
        )

    async def configuration(self, request: Request) -> Response:
        """Tell the configuration of a model, as far as Triton's has a word for it."""
        served = self._served(request)
        inputs, outputs = _tensors(served, protocol.tensor_configuration, whole_requests.tensor_configuration)
        found = {
            "name": served.name,
            "platform": "grurt",
            "backend": "grurt",
            "max_batch_size": 0,
            "input": inputs,
            "output": outputs,
            "parameters": {"fingerprint": {"string_value": served.model.fingerprint.hex()}},
        }
        if not isinstance(served, WholeModel):
            idle = int(1e6 * self._service.limits.idle)
            found["sequence_batching"] = {"max_sequence_idle_microseconds": idle}
        return _json(found)

    async def statistics(self, request: Request) -> Response:
        """Tell how much a model has done."""
        return _json({"model_stats": [_statistics(self._served(request))]})

    async def all_statistics(self, request: Request) -> Response:
        """Tell how much each model has done."""
        return _json({"model_stats": [_statistics(served) for served in self._service.all_served]})

    async def index(self, request: Request) -> Response:
        """List the models."""
        await read_body(request, self._service.limits)
        models = [
            {"name": served.name, "version": str(served.version), "state": "READY", "reason": ""}
            for served in self._service.all_served
        ]
        return _json(models)


def served_of(service: Service, request: Request) -> Sessions | WholeModel:
    """Return the model that a request's address names. Raises UnknownModelError."""
    name, version = request.path_params["model"], request.path_params.get("version")
    served = service.served(name)
    if served is None:
        raise UnknownModelError(f"Request for unknown model: {name!r} is not found")
    if version is not None and version != str(served.version):
        raise UnknownModelError(
            f"Request for unknown model: {name!r} version {version!r} is not found: expected {served.version}"
        )
    return served


def _statistics(served: Sessions | WholeModel) -> dict[str, Any]:
    if isinstance(served, WholeModel):
        n_inferences = n_calls = served.counts.requests
        seconds = served.counts.seconds
    else:
        counts = served.turns.counts
        n_inferences, n_calls, seconds = counts.samples, counts.calls, counts.call_seconds
    return {
        "name": served.name,
        "version": str(served.version),
        "inference_count": n_inferences,
        "execution_count": n_calls,
        "inference_stats": {"compute_infer": {"count": n_calls, "ns": int(1e9 * seconds)}},
    }


def _tensors(
    served: Sessions | WholeModel, of_frames: Callable[[Port], Any], of_sequences: Callable[[NodeArg], Any]
) -> tuple[list[Any], list[Any]]:
    """Return what is said of the inputs and outputs of a model."""
    if isinstance(served, WholeModel):
        session = served.session
        return [*map(of_sequences, session.get_inputs())], [*map(of_sequences, session.get_outputs())]
    return [*map(of_frames, served.layout.inputs)], [*map(of_frames, served.layout.outputs)]


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
