"""The addresses of HTTP."""

from __future__ import annotations

import math
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route, Router

from grurt.regular_files import open_regular_file
from grurt.serving.errors import ServingError
from grurt.serving.generate_routes import GenerateRoutes
from grurt.serving.guard import OPEN, Guard
from grurt.serving.metrics import exposed
from grurt.serving.v2 import InferenceRoutes

if TYPE_CHECKING:
    from starlette.requests import Request

    from grurt.serving.access import Access, Permit
    from grurt.serving.guard import App, Message, Receive, Send
    from grurt.serving.service import Service
    from grurt.serving.sessions import OneSession, Sessions

_FOLDER = Path(__file__).parent / "page"
PAGE = {"/": "page.html"} | {f"/{name}": name for name in ("page.css", "page.js", "chart.js", "streaming.js")}
"""Files of the page, by address."""
_TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript"}
_SAFE = {
    "content-security-policy": "default-src 'self'; img-src data:; frame-ancestors 'none'; base-uri 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-cache",
}
_SHOWN = 200
"""Sessions on the page."""


class NoAddressError(ServingError):
    """There is nothing at an address."""

    status = 404
    kind = "address"


def application(service: Service, access: Access) -> App:
    """Return what answers to HTTP."""
    page = [Route(path, _file(name)) for path, name in PAGE.items()]
    own = ServiceRoutes(service)
    api = [*InferenceRoutes(service).routes(), *GenerateRoutes(service).routes(), *own.routes()]
    router = Router([*api, *page], default=_nothing, redirect_slashes=False)
    return Guard(router, service, access, without_token=PAGE.keys() | OPEN)


async def _nothing(scope: Message, receive: Receive, send: Send) -> None:
    raise NoAddressError(f"{scope['path']}: there is nothing here; docs/serving.md lists the addresses")


def _file(name: str) -> Any:
    """Return what answers with a file of the page."""
    with open_regular_file(_FOLDER / name) as file:
        content = file.read()
    media_type = _TYPES[Path(name).suffix]

    async def answer(request: Request) -> Response:
        return Response(content, media_type=media_type, headers=_SAFE)

    return answer


class ServiceRoutes:
    """Answers about the service itself.

    Parameters
    ----------
    service
        Which.
    """

    def __init__(self, service: Service) -> None:
        self._service = service

    def routes(self) -> list[Route]:
        """Return all addresses."""
        return [
            Route("/livez", self.live),
            Route("/readyz", self.ready),
            Route("/metrics", self.metrics),
            Route("/api/sessions", self.sessions),
            Route("/api/recordings", self.recordings),
        ]

    async def live(self, request: Request) -> Response:
        """Tell that the service lives."""
        return PlainTextResponse("live\n")

    async def ready(self, request: Request) -> Response:
        """Tell whether the service should get requests, and why not."""
        reason = self._service.unready_reason
        return PlainTextResponse(f"{reason or 'ready'}\n", status_code=503 if reason else 200)

    async def metrics(self, request: Request) -> Response:
        """Tell Prometheus everything."""
        request.state.permit.expect_all()
        return Response(exposed(self._service), media_type="text/plain; version=0.0.4")

    async def sessions(self, request: Request) -> Response:
        """Tell the page of the sessions that were used last, and of what was refused."""
        permit: Permit = request.state.permit
        now = perf_counter()
        found = [
            session
            for room in self._service.all_rooms
            for session in room.by_key.values()
            if session.key.startswith(permit.prefix)
        ]
        found.sort(key=lambda session: -session.touched)
        content = {
            "models": [_described_model(room) for room in self._service.rooms.values()],
            "whole": [
                {"name": model.name, "version": model.version, "requests": model.counts.requests}
                for model in self._service.whole.values()
            ],
            "replaced": [
                {"name": room.name, "version": room.version, "sessions": len(room)}
                for room in self._service.replaced.rooms
            ],
            "n_sessions": len(found),
            "sessions": [_described(session, now) for session in found[:_SHOWN]],
            "refused": {} if permit.prefix else dict(self._service.refused),
            "refusals": [] if permit.prefix else [*reversed(self._service.refusals)],
            "ready": self._service.unready_reason,
            "lag": self._service.lag,
            "up": now - self._service.began,
        }
        return Response(orjson.dumps(content, option=orjson.OPT_SERIALIZE_NUMPY), media_type="application/json")

    async def recordings(self, request: Request) -> Response:
        """Give the demo's recordings, for the page to stream: four of different activities."""
        from grurt.demo import load_recordings

        recordings = load_recordings()
        first = [int(np.flatnonzero(recordings.labels == label)[0]) for label in range(len(recordings.classes))]
        content = {
            "sample_rate": recordings.sample_rate,
            "recordings": [
                {"name": name, "samples": recordings.samples[index]}
                for name, index in zip(recordings.classes, first, strict=True)
            ],
        }
        return Response(orjson.dumps(content, option=orjson.OPT_SERIALIZE_NUMPY), media_type="application/json")


def _described_model(sessions: Sessions) -> dict[str, Any]:
    return {
        "name": sessions.name,
        "version": sessions.version,
        "fingerprint": sessions.model.fingerprint.hex(),
        "inputs": [port.described() for port in sessions.layout.inputs],
        "outputs": [port.described() for port in sessions.layout.outputs],
        "sessions": len(sessions),
        "samples": sessions.turns.counts.samples,
    }


def _described(session: OneSession, now: float) -> dict[str, Any]:
    last = {}
    layout = session.room.layout
    if session.last_answer:
        answer = session.last_answer[-layout.answer_bytes :]
        last = {name: _short(array[0]) for name, array in layout.outputs_of(answer).items()}
    return {
        "session": session.key,
        "model": session.room.name,
        "version": session.room.version,
        "samples": session.n_samples,
        "connected": session.holder is not None,
        "idle": now - session.touched,
        "waiting": session.n_waiting,
        "last": last,
    }


def _short(answer: Any) -> list[float | None]:
    """Return the first numbers of an answer."""
    return [number if math.isfinite(number) else None for number in answer.ravel()[:16].tolist()]
