"""The servers that are measured: `grurt serve`, and what its stack does when there is no work.

    python -m benchmarks.serving.servers echo REPLY_BYTES     picows alone, which answers with so many bytes
    python -m benchmarks.serving.servers empty                uvicorn and Starlette, a handler that reads and answers

Each prints its port.
"""

from __future__ import annotations

import socket
import sys

import uvicorn
import uvloop
from picows import WSFrame, WSListener, WSMsgType, WSTransport, ws_create_server
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route, Router


class Echo(WSListener):
    """Reads each message, and answers with bytes of the size of an answer."""

    answer = b""

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        """Answer to a message."""
        if frame.msg_type == WSMsgType.BINARY:
            frame.get_payload_as_bytes()
            transport.send(WSMsgType.BINARY, self.answer)
        elif frame.msg_type == WSMsgType.CLOSE:
            transport.disconnect()


async def echo(reply_bytes: int) -> None:
    """Serve until somebody kills this."""
    Echo.answer = bytes(reply_bytes)
    server = await ws_create_server(lambda request: Echo(), "127.0.0.1", 0, max_frame_size=1 << 16)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


async def _empty(request: Request) -> Response:
    await request.body()
    return Response(b"{}", media_type="application/json")


def empty() -> None:
    """Serve until somebody kills this."""
    listener = socket.create_server(("127.0.0.1", 0))
    print(listener.getsockname()[1], flush=True)
    app = Router([Route("/v2/models/{model}/infer", _empty, methods=["POST"])])
    config = uvicorn.Config(app, log_config=None, access_log=False, lifespan="off", ws="none", timeout_keep_alive=60)
    uvloop.run(uvicorn.Server(config).serve(sockets=[listener]))


if __name__ == "__main__":
    if sys.argv[1] == "echo":
        uvloop.run(echo(int(sys.argv[2])))
    else:
        empty()
