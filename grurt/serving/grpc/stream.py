"""A stream of requests (``ModelStreamInfer``): each gets one reply, in the order of the requests."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias

import grpc
from google.protobuf.message import Message

from grurt.errors import GrurtError
from grurt.serving.errors import SlowReaderError
from grurt.serving.grpc.schema import message_class
from grurt.serving.grpc.tensors import parsed, read_request, response_to, whole_response_to
from grurt.serving.inference import Pending, layout_for, served_of, submit
from grurt.serving.whole import WholeModel

if TYPE_CHECKING:
    from grurt.serving.access import Permit
    from grurt.serving.service import Service

Outcome: TypeAlias = Pending | GrurtError | Message
"""What has become of a request: samples that wait, a refusal, or the response."""
_Request = message_class("ModelInferRequest")
_Response = message_class("ModelStreamInferResponse")


class RequestStream:
    """One stream; a refused request is told so in its place, and the stream goes on.

    Parameters
    ----------
    service
        Whose.
    permit
        What its client may.
    context
        What gRPC has for it.
    """

    def __init__(self, service: Service, permit: Permit, context: Any) -> None:
        self._service = service
        self._permit = permit
        self._context = context
        self._replies: asyncio.Queue[tuple[Any, Outcome] | None] = asyncio.Queue()
        self._latest: dict[tuple[str, str | None], Pending] = {}
        """Of each sequence of a model, the latest request that is not answered."""
        self._n_waiting = 0
        """Samples; what has none counts as one."""
        self._room = asyncio.Event()
        self._is_cut_off = False

    def cut_off(self) -> None:
        """Answer what was asked so far, and tell the client to come back: the service ends."""
        self._is_cut_off = True
        self._replies.put_nowait(None)

    async def run(self, contents: AsyncIterator[bytes]) -> None:
        """Answer until the client says no more."""
        reading = asyncio.get_running_loop().create_task(self._read(contents))
        try:
            while (waiting := await self._replies.get()) is not None:
                await self._send(await self._reply(*waiting))
            if self._is_cut_off:
                await self._context.abort(grpc.StatusCode.UNAVAILABLE, "the service restarts: come back")
            await reading
        finally:
            reading.cancel()
            while not self._replies.empty():
                _, outcome = self._replies.get_nowait() or (None, None)
                if isinstance(outcome, Pending):
                    outcome.close()

    async def _read(self, contents: AsyncIterator[bytes]) -> None:
        """Let requests wait for their turn, not too many at once."""
        try:
            async for content in contents:
                await self._take(content)
                while self._n_waiting >= self._service.limits.waiting:
                    self._room.clear()
                    await self._room.wait()
        finally:
            self._replies.put_nowait(None)

    async def _take(self, content: bytes) -> None:
        message: Any = _Request()
        try:
            message = parsed(_Request, content)
            outcome = await self._begun(message)
        except GrurtError as error:
            outcome = error
        self._n_waiting += _weight(outcome)
        self._replies.put_nowait((message, outcome))

    async def _begun(self, message: Any) -> Outcome:
        """Let samples wait for their turn; whole sequences are answered before anything else is read."""
        served = served_of(self._service, message.model_name, message.model_version or None)
        if isinstance(served, WholeModel):
            return await whole_response_to(message, served, self._service)
        request = read_request(message, partial(layout_for, self._service, served))
        place = (served.name, request.key)
        earlier = self._latest.get(place)
        if earlier is not None and (request.start or earlier.request.end):
            await earlier.settled()
            request = read_request(message, partial(layout_for, self._service, served))
        pending = await submit(self._service, served, request, self._permit)
        if request.key is not None:
            self._latest[place] = pending
        return pending

    async def _reply(self, message: Any, outcome: Outcome) -> Any:
        """Return the reply to a request, once there is one."""
        try:
            if isinstance(outcome, GrurtError):
                raise outcome
            found = await response_to(message, outcome) if isinstance(outcome, Pending) else outcome
            return _Response(infer_response=found)
        except GrurtError as error:
            self._service.note_refusal(error)
            about = {"model_name": message.model_name, "id": message.id}
            return _Response(error_message=str(error), infer_response=about)
        finally:
            self._forget(outcome)

    def _forget(self, outcome: Outcome) -> None:
        if isinstance(outcome, Pending):
            place = (outcome.model, outcome.request.key)
            if self._latest.get(place) is outcome:
                del self._latest[place]
        self._n_waiting -= _weight(outcome)
        self._room.set()

    async def _send(self, response: Any) -> None:
        limit = self._service.limits.slow_reader
        try:
            await asyncio.wait_for(self._context.write(response.SerializeToString()), limit)
        except TimeoutError:
            error = SlowReaderError("the client did not read its answers")
            self._service.note_refusal(error)
            await self._context.abort(grpc.StatusCode.ABORTED, str(error))


def _weight(outcome: Outcome) -> int:
    """Return as how many samples something waits."""
    return outcome.request.n_samples if isinstance(outcome, Pending) else 1
