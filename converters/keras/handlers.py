"""The layers that are understood, each registered where it is converted, and why others are not."""

from __future__ import annotations

from collections.abc import Callable

from grurt.converters.keras.builder import Convert
from grurt.errors import DesignReason

HANDLERS: dict[str, Convert] = {}
"""By the class of the layer."""

FUNCTIONS: dict[str, Convert] = {}
"""By the class of the operation, for functions of ``keras.ops``."""

_REASONS: dict[str, tuple[str, DesignReason | None]] = {}


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


def refuses(*kinds: str, because: str, reason: DesignReason | None = None) -> None:
    """Register why layers of these classes, or variants of them, have no counterpart, what to do, and why it stays."""
    _REASONS.update(dict.fromkeys(kinds, (because, reason)))


def reason_against(kind: str) -> tuple[str, DesignReason | None]:
    """Return why a layer of this class has no counterpart, and what to do; and why it stays so."""
    return _REASONS.get(
        kind, ("the layer is not supported: grurt knows Keras's own layers for GRU networks, see the docs", None)
    )
