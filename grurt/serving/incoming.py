"""What a client sends in a session: samples, as bytes or as JSON, and commands. Each gets one reply, in its turn."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable
from contextlib import aclosing
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

import orjson

from grurt.errors import GrurtError, InputTypeError
from grurt.escaping import described
from grurt.serving.errors import ServingError
from grurt.serving.generation_requests import GenerationRequest, read_generation
from grurt.serving.session_generation import SessionGeneration

if TYPE_CHECKING:
    from grurt.serving.service import Service
    from grurt.serving.session import Receiver
    from grurt.serving.sessions import OneSession


class Client(Protocol):
    """Who has sent it, and gets the replies."""

    replays: bool

    def answer(self, answers: bytes) -> None:
        """Send answers as bytes."""

    def refuse(self, error: GrurtError) -> None:
        """Say why a message was refused."""

    def say(self, value: dict[str, Any]) -> None:
        """Send a message in JSON."""

    def close(self, code: int, reason: str) -> None:
        """End the connection."""

    def end(self) -> None:
        """End the session."""


class Incoming:
    """Takes the messages of a client whose session is open.

    Parameters
    ----------
    client
        Whose.
    service
        Whose sessions.
    session
        What it holds.
    """

    def __init__(self, client: Client, service: Service, session: OneSession) -> None:
        self._client = client
        self._service = service
        self._session = session
        self._generation: asyncio.Task[None] | None = None

    def take(self, payload: bytes, *, is_text: bool) -> None:
        """Take a message."""
        if is_text:
            self._take_text(payload)
        else:
            self.take_block(payload)

    def take_block(self, payload: bytes) -> None:
        """Take samples as bytes, any number of them; those that come when the service ends change nothing."""
        if self._service.is_ending:
            return
        layout = self._session.room.layout
        try:
            count = layout.n_samples(payload)
            self._service.expect_room_for(layout, count)
            layout.expect_sound(payload)
        except GrurtError as error:
            self._in_turn(partial(self._client.refuse, error))
        else:
            self._submit(payload, count, self._client)

    def _submit(self, payload: bytes, count: int, receiver: Receiver) -> None:
        self._session.room.turns.submit(self._session, (payload, count, receiver))

    def _in_turn(self, work: Callable[[], None]) -> None:
        """Do something when everything before it was answered."""
        self._submit(b"", 0, _InTurn(work))

    def _take_text(self, payload: bytes) -> None:
        try:
            payload.decode()
        except UnicodeDecodeError:
            self._client.close(1007, "expected text in UTF-8")
            return
        try:
            value = _parsed(payload)
            if isinstance(value, dict) and isinstance(value.get("command"), str):
                self._take_command(value)
            elif not self._service.is_ending:
                self._take_json(value)
        except GrurtError as error:
            self._in_turn(partial(self._client.refuse, error))

    def _take_json(self, value: Any) -> None:
        layout = self._session.room.layout
        samples = layout.from_json(value)
        count = layout.n_samples(samples)
        self._service.expect_room_for(layout, count)
        layout.expect_sound(samples)
        self._submit(samples, count, _JsonReceiver(self, self._client, is_single=layout.is_single(value)))

    def answer_json(self, answers: bytes, *, is_single: bool) -> None:
        """Send answers to samples that came as JSON."""
        self._client.say(
            {"outputs": self._session.room.layout.to_json(answers, single=is_single), "steps": self._steps()}
        )

    def _steps(self) -> int:
        return self._session.room.steps(self._session)

    # Commands.

    def _take_command(self, value: dict[str, Any]) -> None:
        command = value["command"]
        if command == "received":
            self._take_received(value)
            return
        if command == "generate":
            self._take_generate({name: each for name, each in value.items() if name != "command"})
            return
        work = _COMMANDS.get(command)
        if work is None or len(value) > 1:
            expected = ", ".join(_COMMANDS)
            raise ServingError(
                f"command: expected one of {expected}, alone, or generate with a prompt, got {described(value)}"
            )
        self._in_turn(partial(work, self))

    def _take_received(self, value: dict[str, Any]) -> None:
        steps = value.get("steps")
        if type(steps) is not int or len(value) != 2:
            raise ServingError(f"received: expected steps, an integer, got {described(value)}")
        self._service.received(self._session, steps)

    def _take_generate(self, given: dict[str, Any]) -> None:
        if self._service.is_ending:
            return
        if self._client.replays:
            raise ServingError("generate: a session that replays counts on from sample to sample: begin another one")
        asked = read_generation(given, self._session.room.model, self._service.limits)
        self._in_turn(partial(self._begin_generation, asked))

    def _begin_generation(self, asked: GenerationRequest) -> None:
        """Generate, in the session's turn: what comes meanwhile waits."""
        try:
            generation = SessionGeneration(self._service, self._session, asked)
        except GrurtError as error:
            self._client.refuse(error)
            return
        self._generation = asyncio.get_running_loop().create_task(self._generate(generation))
        self._generation.add_done_callback(lambda _: generation.release())

    async def _generate(self, generation: SessionGeneration) -> None:
        """Send blocks as they come."""
        try:
            async with aclosing(generation.blocks()) as blocks:
                async for block in blocks:
                    found: dict[str, Any] = {"tokens": block.tokens}
                    if block.text is not None:
                        found["text"] = block.text
                    end = {} if block.done is None else {"done": block.done, "steps": self._steps()}
                    self._client.say({"generated": found} | end)
        except GrurtError as error:
            self._client.refuse(error)

    def leave(self) -> None:
        """Generate no more: the client has gone."""
        if self._generation is not None:
            self._generation.cancel()

    def _reset(self) -> None:
        if self._client.replays:
            error = ServingError("reset: a session that replays counts on from step to step: begin another one")
            self._client.refuse(error)
        else:
            self._session.room.reset(self._session)
            self._client.say({"reset": True, "steps": 0})

    def _snapshot(self) -> None:
        saved = base64.b64encode(self._session.room.snapshot(self._session)).decode()
        self._client.say({"snapshot": saved, "steps": self._steps()})

    def _state(self) -> None:
        states = self._session.room.pool.state(self._session.slot)
        self._client.say({"state": states, "steps": self._steps()})

    def _end(self) -> None:
        self._client.end()


_COMMANDS = {
    "reset": Incoming._reset,
    "snapshot": Incoming._snapshot,
    "state": Incoming._state,
    "end": Incoming._end,
}


class _InTurn:
    """A receiver that does something in its turn."""

    def __init__(self, work: Callable[[], None]) -> None:
        self._work = work

    def answer(self, answers: bytes) -> None:
        self._work()

    def refuse(self, error: GrurtError) -> None:
        pass


class _JsonReceiver:
    """A receiver of answers that go out as JSON."""

    def __init__(self, incoming: Incoming, client: Client, *, is_single: bool) -> None:
        self._incoming = incoming
        self._client = client
        self._is_single = is_single

    def answer(self, answers: bytes) -> None:
        self._incoming.answer_json(answers, is_single=self._is_single)

    def refuse(self, error: GrurtError) -> None:
        self._client.refuse(error)


def _parsed(payload: bytes) -> Any:
    try:
        return orjson.loads(payload)
    except orjson.JSONDecodeError as error:
        raise InputTypeError(f"message: expected JSON, with finite numbers: {error}") from None
