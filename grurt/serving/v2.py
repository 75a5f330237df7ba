"""The addresses of the Open Inference Protocol."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any

import orjson
from starlette.responses import Response
from starlette.routing import Route

from grurt.serving import inference_protocol as protocol
from grurt.serving.bodies import compressed, read_body
from grurt.serving.errors import ModelReplacedError, UnknownModelError
from grurt.version import VERSION

if TYPE_CHECKING:
    from starlette.requests import Request

    from grurt.errors import GrurtError
    from grurt.serving.access import Permit
    from grurt.serving.layout import Layout
    from grurt.serving.service import Service
    from grurt.serving.sessions import OneSession, Sessions

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
        self._sessions(request)
        body = await read_body(request, self._service.limits)
        header_length = request.state.headers.get(_HEADER_LENGTH)
        sessions = self._sessions(request)  # of now: a body may take a while
        asked = protocol.read_request(body, header_length, partial(self._layout_for, sessions))
        if asked.key is not None:
            permit: Permit = request.state.permit
            permit.expect(asked.key)
        if asked.n_samples > 1:
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
        headers = {} if head is None else {protocol.HEADER_LENGTH: str(head)}
        return _response(request, content, headers, _JSON if head is None else _BINARY)

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

    def _sessions(self, request: Request) -> Sessions:
        name, version = request.path_params["model"], request.path_params.get("version")
        sessions = self._service.rooms.get(name)
        if sessions is None:
            raise UnknownModelError(f"Request for unknown model: {name!r} is not found")
        if version is not None and version != str(sessions.version):
            raise UnknownModelError(
                f"Request for unknown model: {name!r} version {version} is not found: expected {sessions.version}"
            )
        return sessions

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
        self._sessions(request)
        return Response()

    async def metadata(self, request: Request) -> Response:
        """Tell the inputs and outputs of a model."""
        sessions = self._sessions(request)
        return _json(
            {
                "name": sessions.name,
                "versions": [str(sessions.version)],
                "platform": "grurt",
                "inputs": [protocol.tensor_metadata(port) for port in sessions.layout.inputs],
                "outputs": [protocol.tensor_metadata(port) for port in sessions.layout.outputs],
            }
        )

    async def configuration(self, request: Request) -> Response:
        """Tell the configuration of a model, as far as Triton's has a word for it."""
        sessions = self._sessions(request)
        idle = int(1e6 * self._service.limits.idle)
        return _json(
            {
                "name": sessions.name,
                "platform": "grurt",
                "backend": "grurt",
                "max_batch_size": 0,
                "input": [protocol.tensor_configuration(port) for port in sessions.layout.inputs],
                "output": [protocol.tensor_configuration(port) for port in sessions.layout.outputs],
                "parameters": {"fingerprint": {"string_value": sessions.model.fingerprint.hex()}},
                "sequence_batching": {"max_sequence_idle_microseconds": idle},
            }
        )

    async def statistics(self, request: Request) -> Response:
        """Tell how much a model has done."""
        return _json({"model_stats": [_statistics(self._sessions(request))]})

    async def all_statistics(self, request: Request) -> Response:
        """Tell how much each model has done."""
        return _json({"model_stats": [_statistics(sessions) for sessions in self._service.rooms.values()]})

    async def index(self, request: Request) -> Response:
        """List the models."""
        await read_body(request, self._service.limits)
        models = [
            {"name": name, "version": str(sessions.version), "state": "READY", "reason": ""}
            for name, sessions in self._service.rooms.items()
        ]
        return _json(models)


def _statistics(sessions: Sessions) -> dict[str, Any]:
    counts = sessions.turns.counts
    return {
        "name": sessions.name,
        "version": str(sessions.version),
        "inference_count": counts.samples,
        "execution_count": counts.calls,
        "inference_stats": {"compute_infer": {"count": counts.calls, "ns": int(1e9 * counts.call_seconds)}},
    }


def _json(value: Any) -> Response:
    return Response(orjson.dumps(value), media_type=_JSON)


def _response(request: Request, content: bytes, headers: dict[str, str], media_type: str) -> Response:
    accepted = request.state.headers.get(b"accept-encoding")
    if accepted is not None:
        content, encoding = compressed(content, accepted.decode("latin-1"))
        if encoding is not None:
            headers["content-encoding"] = encoding
    return Response(content, headers=headers, media_type=media_type)
