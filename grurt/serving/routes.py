"""What there is beside sessions on WebSocket: the addresses of HTTP."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

if TYPE_CHECKING:
    from collections.abc import Callable

    from picows import WSListener, WSUpgradeRequest
    from starlette.requests import Request
    from starlette.responses import Response

    from grurt.serving.access import Access
    from grurt.serving.service import Service


def application(
    service: Service, access: Access
) -> tuple[Starlette, dict[str, Callable[[WSUpgradeRequest], WSListener]]]:
    """Return what answers to HTTP, and further WebSockets by path."""

    async def live(request: Request) -> Response:
        return PlainTextResponse("live\n")

    return Starlette(routes=[Route("/livez", live)]), {}
