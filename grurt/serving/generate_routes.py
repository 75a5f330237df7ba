"""Generating over HTTP: Triton's generate extension, as a whole or as server-sent events."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from typing import TYPE_CHECKING, Any

import orjson
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.routing import Route

from grurt.errors import GrurtError
from grurt.serving import inference_protocol as protocol
from grurt.serving.bodies import read_body
from grurt.serving.errors import ServingError, WholeSequencesError
from grurt.serving.generating import Block, Generation
from grurt.serving.generation_requests import read_generation
from grurt.serving.inference import served_of
from grurt.serving.session_generation import SessionGeneration
from grurt.serving.whole import WholeModel

if TYPE_CHECKING:
    from starlette.requests import Request

    from grurt.serving.access import Permit
    from grurt.serving.generation_requests import GenerationRequest
    from grurt.serving.guard import Message, Receive, Send
    from grurt.serving.service import Service
    from grurt.serving.sessions import OneSession, Sessions

_SEQUENCE = ("sequence_id", "sequence_start", "sequence_end")
Blocks = AsyncGenerator[Block, None]


class GenerateRoutes:
    """Answers to requests to generate.

    Parameters
    ----------
    service
        Whose models.
    """

    def __init__(self, service: Service) -> None:
        self._service = service

    def routes(self) -> list[Route]:
        """Return all addresses."""
        found = []
        for prefix in ("/v2/models/{model}", "/v2/models/{model}/versions/{version}"):
            found += [
                Route(f"{prefix}/generate", self.generate, methods=["POST"]),
                Route(f"{prefix}/generate_stream", self.generate_stream, methods=["POST"]),
            ]
        return found

    async def generate(self, request: Request) -> Response:
        """Answer with all that is generated."""
        label, blocks = await self._begin(request)
        found = [block async for block in _while_connected(request, blocks)]
        whole: dict[str, Any] = label | {"tokens": [token for block in found for token in block.tokens.tolist()]}
        if found[0].text is not None:
            whole["text_output"] = "".join(block.text or "" for block in found)
        return Response(orjson.dumps(whole | {"done": found[-1].done}), media_type="application/json")

    async def generate_stream(self, request: Request) -> Response:
        """Answer with one event for each block."""
        label, blocks = await self._begin(request)
        return _Events(request, label, blocks)

    async def _begin(self, request: Request) -> tuple[dict[str, Any], Blocks]:
        """Return what stands in each answer to a request, and the blocks."""
        served_of(self._service, **request.path_params)
        head, parameters = protocol.read_head(await read_body(request, self._service.limits))
        served = served_of(self._service, **request.path_params)
        if isinstance(served, WholeModel):
            raise WholeSequencesError(f"generate: {served.name} needs whole sequences: {served.reason}")
        key, start, end = protocol.sequence_of(parameters)
        label = {"model_name": served.name, "model_version": str(served.version)}
        if request_id := protocol.id_of(head):
            label["id"] = request_id
        given = _given(head, parameters)
        self._service.expect_to_go_on()
        if key is None:
            return label, self._blocks(served, read_generation(given, served.model, self._service.limits))
        permit: Permit = request.state.permit
        permit.expect(key)
        known = None if start else self._service.find(served.name, key)
        room = served if known is None else known.room
        asked = read_generation(given, room.model, self._service.limits)
        session = await self._service.open(served, key, None, reset=start, begin=start)
        if session.room is not room:
            asked = read_generation(given, session.room.model, self._service.limits)
        label["model_version"] = str(session.room.version)
        return label, self._session_blocks(session, asked, end=end)

    async def _blocks(self, served: Sessions, asked: GenerationRequest) -> Blocks:
        generation = Generation(served.model, asked, None)
        async with aclosing(self._service.generators.blocks(served.name, served.model, asked, generation)) as blocks:
            async for block in blocks:
                yield block

    async def _session_blocks(self, session: OneSession, asked: GenerationRequest, *, end: bool) -> Blocks:
        """Yield blocks from when the session has its turn."""
        turn = _Turn(self._service, session, asked)
        session.room.turns.submit(session, (b"", 0, turn))
        generation = await turn.begun()
        try:
            async with aclosing(generation.blocks()) as blocks:
                async for block in blocks:
                    yield block
        finally:
            generation.release()
            if end:
                self._service.end(session)


class _Turn:
    """A receiver that begins to generate in its turn."""

    def __init__(self, service: Service, session: OneSession, asked: GenerationRequest) -> None:
        self._service = service
        self._session = session
        self._asked = asked
        self._future: asyncio.Future[SessionGeneration] = asyncio.get_running_loop().create_future()

    async def begun(self) -> SessionGeneration:
        return await self._future

    def answer(self, answers: bytes) -> None:
        if self._future.done():
            return  # nobody waits any more
        try:
            self._future.set_result(SessionGeneration(self._service, self._session, self._asked))
        except GrurtError as error:
            self._future.set_exception(error)

    def refuse(self, error: GrurtError) -> None:
        if not self._future.done():
            self._future.set_exception(error)


def _given(head: dict[str, Any], parameters: dict[str, Any]) -> dict[str, Any]:
    """Return a prompt and options, of which those that are no parameters may stand beside the prompt."""
    options = {name: value for name, value in head.items() if name not in ("id", "text_input", "tokens", "parameters")}
    options |= {name: value for name, value in parameters.items() if name not in _SEQUENCE}
    if ("text_input" in head) == ("tokens" in head):
        raise ServingError("generate: expected text_input, a text, or tokens, a list of token ids, and not both")
    return options | {"prompt": head.get("text_input", head.get("tokens"))}


async def _while_connected(request: Request, blocks: Blocks) -> Blocks:
    """Yield blocks until the client has gone, which raises ClientDisconnect."""
    gone: asyncio.Task[Message] = asyncio.create_task(request.receive())  # type: ignore[arg-type]
    try:
        async with aclosing(blocks):
            async for block in blocks:
                if gone.done():
                    raise ClientDisconnect
                yield block
    finally:
        gone.cancel()
        with suppress(asyncio.CancelledError):
            await gone


class _Events(Response):
    """Sends a block when it comes, as a server-sent event."""

    media_type = "text/event-stream"

    def __init__(self, request: Request, label: dict[str, Any], blocks: Blocks) -> None:
        super().__init__(headers={"cache-control": "no-store"})
        del self.headers["content-length"]
        self._request = request
        self._label = label
        self._blocks = blocks

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Send all blocks; what goes wrong with the first one is an answer of its own."""
        has_begun = False
        try:
            async with aclosing(_while_connected(self._request, self._blocks)) as blocks:
                async for block in blocks:
                    if not has_begun:
                        await self._begin(send)
                        has_begun = True
                    await _send_event(send, self._label | _content(block))
        except GrurtError as error:
            if not has_begun:
                raise
            await _send_event(send, {"error": str(error)})
        await send({"type": "http.response.body", "body": b""})

    async def _begin(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})


def _content(block: Block) -> dict[str, Any]:
    found: dict[str, Any] = {"tokens": block.tokens}
    if block.text is not None:
        found["text_output"] = block.text
    return found if block.done is None else found | {"done": block.done}


async def _send_event(send: Send, value: dict[str, Any]) -> None:
    content = orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY)
    await send({"type": "http.response.body", "body": b"data: " + content + b"\n\n", "more_body": True})
