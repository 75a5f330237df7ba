"""The client for programs without asyncio: its event loop runs in a thread."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, Self, TypeVar

from grurt.serving.client import Client
from grurt.serving.errors import ServingError

if TYPE_CHECKING:
    from grurt.serving.client import Answers, Samples

T = TypeVar("T")


async def _settle() -> None:
    """End what else runs in the event loop."""
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
    await asyncio.sleep(0)


class SyncClient:
    """A session of a service: as `Client`, with the same parameters, whose methods wait for their answers.

    It may be shared between threads; each call is one message.

    Examples
    --------
    >>> with SyncClient("http://127.0.0.1:8000", session="ann") as client:  # doctest: +SKIP
    ...     answer = client.step([0.1, 0.2, 0.3, 0.4, 0.5, 0.6])
    """

    def __init__(self, address: str, session: str, **options: Any) -> None:
        self._client = Client(address, session, **options)
        self._loop: asyncio.AbstractEventLoop | None = None

    def __enter__(self) -> Self:
        """Connect."""
        loop = self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=loop.run_forever, name="grurt-client", daemon=True)
        self._thread.start()
        try:
            self._wait(self._client.__aenter__())
        except BaseException:
            self._stop(loop)
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """Close the connection."""
        self.close()

    def close(self) -> None:
        """Close the connection; the session stays."""
        if self._loop is not None:
            self._wait(self._client.close())
            self._stop(self._loop)

    def _stop(self, loop: asyncio.AbstractEventLoop) -> None:
        self._wait(_settle())
        self._loop = None
        loop.call_soon_threadsafe(loop.stop)
        self._thread.join()
        loop.close()

    def _wait(self, work: Coroutine[Any, Any, T]) -> T:
        if self._loop is None:
            work.close()
            raise ServingError("client: it is not connected: use 'with SyncClient(...) as client'")
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    @property
    def steps(self) -> int:
        """How many timesteps the session has made, by what the client has received."""
        return self._client.steps

    @property
    def reconnects(self) -> int:
        """How often the connection was made anew."""
        return self._client.reconnects

    def step(self, sample: Samples) -> Answers:
        """Advance the session by one timestep: see `Client.step`."""
        return self._wait(self._client.step(sample))

    def run(self, samples: Samples) -> Answers:
        """Advance the session by a block of timesteps: see `Client.run`."""
        return self._wait(self._client.run(samples))
