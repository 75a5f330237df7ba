"""A WebSocket that shows a session live: its samples and answers, some twenty times a second."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import numpy as np
import orjson
from picows import WSFrame, WSListener, WSMsgType, WSTransport

if TYPE_CHECKING:
    from grurt.array_types import Array
    from grurt.serving.opening import Opening
    from grurt.serving.service import Service
    from grurt.serving.session import Session
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

    def on_ws_connected(self, transport: WSTransport) -> None:
        self._transport = transport
        self._task = asyncio.get_running_loop().create_task(self._show())

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type == WSMsgType.CLOSE:
            transport.send_close()
            transport.disconnect()

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        self._task.cancel()

    def pause_writing(self) -> None:
        self._is_read_slowly = True

    def resume_writing(self) -> None:
        self._is_read_slowly = False

    def _take(self, samples: bytes, answers: bytes) -> None:
        self._n_seen += 1
        if len(self._seen) < _MOST:
            self._seen.append((samples, answers))

    async def _show(self) -> None:
        """Look at the session, also at one that begins anew, until the connection ends."""
        sessions = self._service.rooms.get(self._opening.model or next(iter(self._service.rooms)))
        if sessions is None:
            self._transport.disconnect()
            return
        watched: Session | None = None
        try:
            while True:
                session = sessions.by_key.get(self._opening.session or "")
                if session is not watched and session is not None:
                    session.watchers = (*session.watchers, self._take)
                watched = session
                if self._seen and not self._is_read_slowly:
                    self._send(sessions)
                await asyncio.sleep(_PAUSE)
        finally:
            if watched is not None:
                watched.watchers = tuple(watcher for watcher in watched.watchers if watcher != self._take)

    def _send(self, sessions: Sessions) -> None:
        seen, self._seen = self._seen, []
        layout = sessions.layout
        shown = {
            "n": self._n_seen,
            "inputs": _rows(layout.inputs_of(b"".join(samples for samples, _ in seen))),
            "outputs": _rows(layout.outputs_of(b"".join(answers for _, answers in seen))),
        }
        self._transport.send(WSMsgType.TEXT, orjson.dumps(shown, option=orjson.OPT_SERIALIZE_NUMPY))


def _rows(arrays: dict[str, Array]) -> dict[str, Array]:
    """Return arrays ``(n, ...)`` as ``(n, size)``, each in memory of its own."""
    return {name: np.ascontiguousarray(array.reshape(len(array), -1)) for name, array in arrays.items()}
