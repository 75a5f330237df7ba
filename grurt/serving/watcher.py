"""A WebSocket that shows a session live: its samples and answers, some twenty times a second."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import numpy as np
import orjson
from picows import WSFrame, WSListener, WSMsgType, WSTransport

from grurt.serving.errors import UnknownModelError

if TYPE_CHECKING:
    from grurt.array_types import Array
    from grurt.serving.layout import Layout
    from grurt.serving.opening import Opening
    from grurt.serving.service import Service
    from grurt.serving.sessions import Sessions

_PAUSE = 0.05
_MOST = 200
"""Samples that are shown of one pause; more is nothing to see."""


class Watcher(WSListener):
    """Somebody who looks at a session.

    Parameters
    ----------
    service
        Whose.
    opening
        Which session of which model.
    """

    def __init__(self, service: Service, opening: Opening) -> None:
        self._service = service
        self._opening = opening
        self._seen: list[tuple[bytes, bytes]] = []
        self._n_seen = 0
        self._is_read_slowly = False
        self._sessions: Sessions | None = None
        self._layout: Layout | None = None
        self._task: asyncio.Task[None] | None = None

    def on_ws_connected(self, transport: WSTransport) -> None:
        self._transport = transport
        self._service.watchers.add(self)
        loop = asyncio.get_running_loop()
        try:
            self._sessions = self._service.sessions_of(self._opening.model)
        except UnknownModelError as error:
            transport.send_close(error.close_code, str(error))  # type: ignore[arg-type]
            loop.call_soon(transport.disconnect)
            return
        self._service.watch(self._sessions, self._key, self._take)
        self._task = loop.create_task(self._show())

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type == WSMsgType.CLOSE:
            transport.send_close()
            transport.disconnect()

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        self._service.watchers.discard(self)
        if self._sessions is not None:
            self._service.unwatch(self._sessions, self._key, self._take)
        if self._task is not None:
            self._task.cancel()

    def pause_writing(self) -> None:
        self._is_read_slowly = True

    def resume_writing(self) -> None:
        self._is_read_slowly = False

    @property
    def _key(self) -> str:
        return self._opening.session or ""

    def _take(self, layout: Layout, samples: bytes, answers: bytes) -> None:
        if layout is not self._layout:
            self._layout, self._seen = layout, []
        self._n_seen += 1
        if len(self._seen) < _MOST:
            self._seen.append((samples, answers))

    async def _show(self) -> None:
        while True:
            await asyncio.sleep(_PAUSE)
            if self._seen and self._layout is not None and not self._is_read_slowly:
                self._send(self._layout)

    def _send(self, layout: Layout) -> None:
        seen, self._seen = self._seen, []
        shown = {
            "n": self._n_seen,
            "inputs": _rows(layout.inputs_of(b"".join(samples for samples, _ in seen))),
            "outputs": _rows(layout.outputs_of(b"".join(answers for _, answers in seen))),
        }
        self._transport.send(WSMsgType.TEXT, orjson.dumps(shown, option=orjson.OPT_SERIALIZE_NUMPY))


def _rows(arrays: dict[str, Array]) -> dict[str, Array]:
    """Return arrays ``(n, ...)`` as ``(n, size)``, each in memory of its own."""
    return {name: np.ascontiguousarray(array.reshape(len(array), -1)) for name, array in arrays.items()}
