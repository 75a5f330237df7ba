"""A client that gets one answer to each sample, over restarts of the service and breaks of the connection."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Self, TypeAlias
from urllib.parse import urlencode, urlsplit

import numpy as np
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus

from grurt.errors import GrurtError, InputShapeError, InputTypeError
from grurt.escaping import described
from grurt.serving.errors import ServingError
from grurt.serving.journal import Journal, SessionLostError, error_of
from grurt.serving.layout import Layout, layout_of_hello

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from grurt.array_types import Array, Floats

Answers: TypeAlias = "Floats | dict[str, Floats]"
Samples: TypeAlias = "ArrayLike | Mapping[str, ArrayLike]"

_FINAL = (1000, 1002, 1003, 1007, 1008, 1009, 4001, 4002, 4003, 4004)
"""Close codes after which it is no use to come back."""
_REPLACED = "session: the service has another model now: begin another session, or reset this one"
_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 2.0


class UnreachableError(ServingError):
    """The service was not there for as long as the client waits."""

    kind = "unreachable"


class Client:
    """A session of a service, for asyncio.

    It keeps each sample until the service says that the state behind it is durable, reconnects when the connection
    breaks, and sends again what the service has not: each sample has its answer exactly once, with the bits that it
    has anyway. That holds over restarts and crashes of a service with ``--state``; without it, over breaks of the
    connection.

    Parameters
    ----------
    address
        Of the service: ``http://HOST:PORT`` or ``https://``, also as ``ws://`` or ``wss://``.
    session
        The session's name.
    model
        The model's name; None for the only one.
    token
        If the service needs one.
    takeover
        Whether to take the session from another client.
    reset
        Whether to begin at the model's initial state.
    patience
        Seconds for which the service may be away, also at first.
    options
        For `websockets.asyncio.client.connect`, such as ``ssl``.

    Raises
    ------
    UnreachableError
        From any call, if the service is away for longer.
    SessionLostError
        If the service has another state than the client can go on from.
    ServingError
        If it refuses the session, or has ended it.

    Examples
    --------
    >>> async def main():
    ...     async with Client("http://127.0.0.1:8000", session="ann") as client:
    ...         return await client.step([0.1, 0.2, 0.3, 0.4, 0.5, 0.6])
    >>> asyncio.run(main())  # doctest: +SKIP
    array([0.21, 0.05, 0.62, 0.12], dtype=float32)
    """

    def __init__(
        self,
        address: str,
        session: str,
        *,
        model: str | None = None,
        token: str | None = None,
        takeover: bool = False,
        reset: bool = False,
        patience: float = 60.0,
        **options: Any,
    ) -> None:
        self._address = _websocket_address(address)
        self._query = {"session": session, "replay": "1"} | ({"model": model} if model else {})
        self._first_query = ({"takeover": "1"} if takeover else {}) | ({"reset": "1"} if reset else {})
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._patience = patience
        self._options = {"compression": None, "max_queue": 1024} | options
        self._journal: Journal[asyncio.Future[bytes]] | None = None
        self._layout: Layout | None = None
        self._fingerprint: str | None = None
        self._connection: ClientConnection | None = None
        self._sending = asyncio.Lock()
        self._failure: GrurtError | None = None
        self._task: asyncio.Task[None] | None = None
        self._ready: asyncio.Future[None] | None = None
        self.reconnects = 0
        """How often the connection was made anew."""

    async def __aenter__(self) -> Self:
        """Connect."""
        self._ready = asyncio.get_running_loop().create_future()
        self._task = asyncio.create_task(self._stay_connected())
        try:
            await asyncio.shield(self._ready)
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close the connection."""
        await self.close()

    async def close(self) -> None:
        """Close the connection; the session stays. What still waits for an answer gets a SessionLostError."""
        if self._task is not None:
            if self._failure is None:  # else it ends by itself, and closes the connection first
                self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
        self._fail(SessionLostError("client: it was closed before the answer came"))

    @property
    def steps(self) -> int:
        """How many timesteps the session has made, by what the client has received."""
        return (self._journal.received if self._journal else None) or 0

    @property
    def layout(self) -> Layout:
        """The inputs and outputs of the model."""
        if self._layout is None:
            raise ServingError("client: it is not connected yet: use 'async with'")
        return self._layout

    async def step(self, sample: Samples) -> Answers:
        """Advance the session by one timestep.

        Parameters
        ----------
        sample
            A frame, of the shape that the hello tells; of several inputs a mapping by name.

        Returns
        -------
        The answer, float32; of several outputs a dictionary by name.

        Raises
        ------
        InputShapeError, InputTypeError, InputValueError
            If the sample does not fit, or the service refuses it. The session is as it was.
        """
        answers = await self._asked(sample, lead=0)
        named = {name: array[0] for name, array in answers.items()}
        return named if len(named) > 1 else next(iter(named.values()))

    async def run(self, samples: Samples) -> Answers:
        """Advance the session by a block of timesteps, ``(n, *frame)``, in one message; errors as in `step`."""
        answers = await self._asked(samples, lead=1)
        return answers if len(answers) > 1 else next(iter(answers.values()))

    async def _asked(self, samples: Samples, *, lead: int) -> dict[str, Array]:
        payload = _packed(self.layout, samples, lead)
        if self._failure is not None:
            raise self._failure
        reply: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        async with self._sending:
            assert self._journal is not None  # noqa: S101 - it is there as soon as the layout is
            self._journal.add(payload, reply)
            if self._connection is not None:
                with suppress(ConnectionClosed):  # then it is sent again
                    await self._connection.send(payload)
        return self.layout.outputs_of(await reply)

    # The connection.

    async def _stay_connected(self) -> None:
        try:
            while self._failure is None:
                connection = await self._connect()
                try:
                    await self._talk(connection)
                except ConnectionClosed:
                    pass
                finally:
                    self._connection = None
                    await connection.close()
                if self._failure is None:
                    _expect_to_come_back(connection)
                self.reconnects += 1
        except GrurtError as error:
            self._fail(error)
        except Exception as error:  # nobody who waits for an answer may wait for ever
            self._fail(ServingError(f"service: expected a message of grurt serve, got something else: {error!r}"))

    async def _connect(self) -> ClientConnection:
        """Return a connection; try until the patience is over."""
        loop = asyncio.get_running_loop()
        deadline, pause = loop.time() + self._patience, _FIRST_PAUSE
        query = self._query | (self._first_query if self._journal is None else {"takeover": "1"})
        address = f"{self._address}?{urlencode(query)}"
        while True:
            try:
                return await connect(address, additional_headers=self._headers, **self._options)
            except InvalidStatus as error:
                if error.response.status_code < 500:
                    reason = (error.response.body or b"").decode(errors="replace")
                    raise ServingError(f"service: {error.response.status_code}: {reason}") from error
                last: Exception = error
            except (OSError, InvalidHandshake, TimeoutError) as error:
                last = error
            if loop.time() + pause > deadline:
                raise UnreachableError(f"service: it could not be reached for {self._patience:g} s: {last}") from last
            await asyncio.sleep(pause * random.uniform(0.5, 1))  # noqa: S311 - so that not all come at once
            pause = min(2 * pause, _LONGEST_PAUSE)

    async def _talk(self, connection: ClientConnection) -> None:
        hello = json.loads(await connection.recv())["hello"]
        if self._journal is None:
            self._layout = layout_of_hello(hello)
            self._fingerprint = hello["fingerprint"]
            self._journal = Journal(hello["sample_bytes"], hello["answer_bytes"], hello["max_message_bytes"])
        elif hello["fingerprint"] != self._fingerprint:
            raise SessionLostError(_REPLACED)
        sender = asyncio.create_task(self._send_again(connection, self._journal, hello["steps"]))
        try:
            async for message in connection:
                self._take(self._journal, message)
                steps = self._journal.reached()
                if steps is not None:
                    await connection.send(json.dumps({"command": "received", "steps": steps}))
        finally:
            sender.cancel()
            with suppress(asyncio.CancelledError, ConnectionClosed):
                await sender

    async def _send_again(self, connection: ClientConnection, journal: Journal[Any], steps: int) -> None:
        try:
            async with self._sending:
                for message in journal.begin(steps):
                    await connection.send(message)
                self._connection = connection
        except GrurtError as error:
            self._fail(error)
            await connection.close()
        if self._ready is not None and not self._ready.done():
            self._ready.set_result(None)

    def _take(self, journal: Journal[asyncio.Future[bytes]], message: str | bytes) -> None:
        """Take a message of the service."""
        if isinstance(message, bytes):
            reply = journal.answer(message)
            if reply is not None and not reply.done():
                reply.set_result(message)
            return
        told = json.loads(message)
        if "hello" in told:
            raise SessionLostError(_REPLACED)
        if "checkpoint" in told:
            journal.checkpoint(told["checkpoint"])
        elif "durable" in told:
            journal.durable(told["durable"])
        elif "error" in told:
            reply = journal.refuse()
            if not reply.done():
                reply.set_exception(error_of(told["error"]["kind"], told["error"]["message"]))

    def _fail(self, error: GrurtError) -> None:
        self._failure = self._failure or error
        if self._ready is not None and not self._ready.done():
            self._ready.set_exception(error)
        for reply in self._journal.tickets if self._journal is not None else []:
            if not reply.done():
                reply.set_exception(error)


def _expect_to_come_back(connection: ClientConnection) -> None:
    """Raise ServingError if the service has ended the connection for good."""
    if connection.close_code in _FINAL:
        raise ServingError(
            f"service: {connection.close_reason or 'it has closed the session'} ({connection.close_code})"
        )


def _websocket_address(address: str) -> str:
    parts = urlsplit(address)
    scheme = {"http": "ws", "https": "wss", "ws": "ws", "wss": "wss"}.get(parts.scheme)
    if scheme is None or not parts.netloc or parts.query:
        raise ServingError(f"address: expected http://HOST:PORT, https:// or ws://, got {described(address)}")
    return f"{scheme}://{parts.netloc}{parts.path.rstrip('/') or '/ws'}"


def _packed(layout: Layout, samples: Samples, lead: int) -> bytes:
    """Return samples as a message holds them."""
    names = [port.name for port in layout.inputs]
    named: dict[str, ArrayLike] = dict(samples) if isinstance(samples, Mapping) else {names[0]: samples}
    if set(named) != set(names):
        raise InputShapeError(f"sample: expected inputs by name, {names}, got {described(list(named))}")
    arrays = {}
    for port in layout.inputs:
        array = np.asarray(named[port.name])
        kinds = "iu" if port.vocabulary_size is not None else "iufb"
        if array.dtype.kind not in kinds:
            raise InputTypeError(f"input {port.name!r}: expected {port.dtype.name}, got {array.dtype}")
        if array.ndim != lead + len(port.shape) or array.shape[lead:] != port.shape:
            expected = (("n",) if lead else ()) + tuple(map(str, port.shape))
            raise InputShapeError(f"input {port.name!r}: expected shape ({', '.join(expected)}), got {array.shape}")
        arrays[port.name] = array if lead else array[np.newaxis]
    counts = {len(array) for array in arrays.values()}
    if len(counts) > 1 or 0 in counts:
        raise InputShapeError(f"samples: expected as many of each input, and not none, got {sorted(counts)}")
    return layout.joined(arrays, counts.pop())
