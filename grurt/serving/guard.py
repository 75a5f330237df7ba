"""What every HTTP request goes through: who may, and how refusals look."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, MutableMapping
from typing import TYPE_CHECKING, Any

import orjson
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from grurt.errors import GrurtError
from grurt.serving.errors import status_of

if TYPE_CHECKING:
    from grurt.serving.access import Access
    from grurt.serving.service import Service

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]

OPEN = frozenset({"/livez", "/readyz", "/v2/health/live", "/v2/health/ready"})
"""What needs no token: it tells nothing of sessions."""
_JSON = (b"content-type", b"application/json")


class Guard:
    """Lets requests through to an application, and answers to what it refuses.

    Parameters
    ----------
    app
        What answers to requests; the state of a request has the ``permit`` of its client, and the ``headers``.
    service
        Which counts what is refused.
    access
        Who may.
    without_token
        Addresses that need no token.
    """

    def __init__(self, app: App, service: Service, access: Access, without_token: Collection[str]) -> None:
        self._app = app
        self._service = service
        self._access = access
        self._without_token = without_token

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer to a request."""
        scope["app"] = self  # by which Starlette raises what it refuses
        try:
            self._expect_allowed(scope)
            await self._app(scope, receive, send)
        except ClientDisconnect:
            pass
        except GrurtError as error:
            self._service.note_refusal(error)
            status = status_of(error)
            headers = [(b"www-authenticate", b"Bearer")] if status == 401 else []
            await _refuse(scope, receive, send, status, str(error), headers)
        except HTTPException as error:
            headers = [(name.lower().encode(), value.encode()) for name, value in (error.headers or {}).items()]
            await _refuse(scope, receive, send, error.status_code, error.detail, headers)

    def _expect_allowed(self, scope: Message) -> None:
        hosts = [value.decode("latin-1") for name, value in scope["headers"] if name == b"host"]
        origins = [value.decode("latin-1") for name, value in scope["headers"] if name == b"origin"]
        self._access.expect_host(hosts, origins)
        headers = scope["state"]["headers"] = dict(scope["headers"])
        if scope["path"] not in self._without_token:
            scope["state"]["permit"] = self._access.permit(headers.get(b"authorization", b"").decode("latin-1"))


async def _refuse(
    scope: Message, receive: Receive, send: Send, status: int, message: str, headers: list[tuple[bytes, bytes]]
) -> None:
    await _read_rest(scope, receive)
    content = orjson.dumps({"error": message})
    headers = [*headers, _JSON, (b"content-length", str(len(content)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": content})


async def _read_rest(scope: Message, receive: Receive) -> None:
    """Read what `read_body` has left of a refused request's body, and forget it.

    A connection that is closed with something unread is reset, and its client may never see the answer.
    `FrontProtocol` limits for how long a body may come.
    """
    is_whole = scope["state"].get("is_body_read", False)
    while not is_whole:
        is_whole = not (await receive()).get("more_body", False)
