"""Ways into a service beside its port of HTTP and WebSocket."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from grurt.serving.access import Access
    from grurt.serving.service import Service


class Way(Protocol):
    """A way into a service."""

    async def start(self) -> str:
        """Let clients in, and return what to say of it. Raises GrurtError if that cannot be done."""

    async def stop(self) -> None:
        """Tell clients the last word, and let go: the service has answered what waited."""


MakeWay = Callable[["Service", "Access"], Way]
"""Returns a way into a service, on a loop that runs."""
