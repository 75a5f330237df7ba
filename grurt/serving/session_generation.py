"""What a session generates: from where it is, and what it is afterwards."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from time import perf_counter
from typing import TYPE_CHECKING

from grurt.serving.errors import SessionEndedError
from grurt.serving.generating import Block, Generation
from grurt.serving.session import GENERATES

if TYPE_CHECKING:
    from grurt.serving.generation_requests import GenerationRequest
    from grurt.serving.service import Service
    from grurt.serving.sessions import OneSession


class SessionGeneration:
    """Holds a session back in its turn, until `release`, and generates from its state.

    Parameters
    ----------
    service, session
        Whose.
    asked
        What is wanted.

    Raises
    ------
    BusyError
        If as much is generated as may be at once.
    """

    def __init__(self, service: Service, session: OneSession, asked: GenerationRequest) -> None:
        service.generators.expect_room()
        self._generators = service.generators
        self._session = session
        self._room = session.room
        self._steps = session.room.steps(session)
        self._asked = asked
        self._generation = Generation(session.room.model, asked, session.room.snapshot(session))
        session.held_back |= GENERATES

    async def blocks(self) -> AsyncGenerator[Block, None]:
        """Yield blocks; the session has read all tokens but the last one when the last of them comes.

        Raises
        ------
        GrurtError
            As `Generators.blocks`; SessionEndedError if the session is not there any more. It is as it was.
        """
        room = self._room
        async with aclosing(self._generators.blocks(room.name, room.model, self._asked, self._generation)) as blocks:
            async for block in blocks:
                if block.done is not None:
                    self._keep()
                yield block

    def _keep(self) -> None:
        session, room = self._session, self._room
        if not session.is_live or session.room is not room or room.steps(session) != self._steps:
            raise SessionEndedError("the session has ended, or was reset, while it generated")
        room.restore(session, self._generation.snapshot())
        session.touched = perf_counter()

    def release(self) -> None:
        """Let the session go on with what waits in it."""
        self._session.room.turns.go_on(self._session, GENERATES)
