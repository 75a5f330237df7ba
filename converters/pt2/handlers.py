"""The ATen operators that are understood, each registered where it is translated."""

from __future__ import annotations

from collections.abc import Callable

from grurt.converters.pt2.emitter import Emitter
from grurt.converters.pt2.program import Call

Handler = Callable[[Call, Emitter], None]

HANDLERS: dict[str, Handler] = {}
"""By the operator's name, without its overload and the underscore of its in-place form."""


def translates(*names: str) -> Callable[[Handler], Handler]:
    """Register what translates operators of these names."""

    def register(handler: Handler) -> Handler:
        HANDLERS.update(dict.fromkeys(names, handler))
        return handler

    return register
