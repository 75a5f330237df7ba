"""The layers that are understood, each registered where it is converted, and why others are not."""

from __future__ import annotations

from collections.abc import Callable

from grurt.converters.keras.builder import Convert

HANDLERS: dict[str, Convert] = {}
"""By the class of the layer."""

FUNCTIONS: dict[str, Convert] = {}
"""By the class of the operation, for functions of ``keras.ops``."""

_REASONS: dict[str, str] = {}


def converts(*kinds: str) -> Callable[[Convert], Convert]:
    """Register what converts layers of these classes."""

    def register(handler: Convert) -> Convert:
        HANDLERS.update(dict.fromkeys(kinds, handler))
        return handler

    return register


def converts_function(*kinds: str) -> Callable[[Convert], Convert]:
    """Register what converts functions of ``keras.ops`` of these classes."""

    def register(handler: Convert) -> Convert:
        FUNCTIONS.update(dict.fromkeys(kinds, handler))
        return handler

    return register


def refuses(*kinds: str, because: str) -> None:
    """Register why layers of these classes, or variants of them, have no counterpart, and what to do."""
    _REASONS.update(dict.fromkeys(kinds, because))


def reason_against(kind: str) -> str:
    """Return why a layer of this class has no counterpart, and what to do."""
    return _REASONS.get(
        kind, "the layer is not supported: grurt knows Keras's own layers for GRU networks, see the docs"
    )
