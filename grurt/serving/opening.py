"""What a client asks for when it opens a WebSocket: which session of which model, and how."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import parse_qsl

from grurt.escaping import described, listed
from grurt.serving.errors import ServingError
from grurt.serving.names import key_of_name

_FLAGS = ("takeover", "reset", "replay")
_NAMES = ("session", "model", "token", *_FLAGS)


@dataclass(frozen=True, kw_only=True)
class Opening:
    """What stands behind the question mark of the address.

    Parameters
    ----------
    session
        Its key; None for a session without a name, which ends with the connection.
    model
        The model's name; None for the only one.
    token
        For those who cannot send headers.
    takeover
        Whether to close another connection that has the session.
    reset
        Whether to begin at the model's initial state.
    replay
        Whether the client keeps its samples, and sends them again.
    """

    session: str | None = None
    model: str | None = None
    token: str | None = None
    takeover: bool = False
    reset: bool = False
    replay: bool = False


def read_opening(query: str, *, by_key: bool = False) -> Opening:
    """Read the query of an address, whose session is told by its name, or by the key that names and numbers have.

    Raises ServingError if something else stands there.
    """
    try:
        given = parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query), max_num_fields=len(_NAMES))
    except ValueError as error:
        raise ServingError(f"query: expected name=value, joined by &, at most {len(_NAMES)} of them: {error}") from None
    named = dict(given)
    unknown = named.keys() - set(_NAMES)
    if unknown or len(named) < len(given):
        found = described(sorted(unknown)) if unknown else "one twice"
        raise ServingError(f"query: expected some of {listed(_NAMES)}, each once, got {found}")
    flags = {name: _flag(name, named.pop(name)) for name in _FLAGS if name in named}
    if named.get("session") and not by_key:
        key_of_name(named["session"])
    texts = {name: value or None for name, value in named.items()}
    opening = Opening(**texts, **flags)  # type: ignore[arg-type]
    if opening.replay and opening.session is None:
        raise ServingError("replay: expected a session with a name, which a client can come back to")
    return opening


def _flag(name: str, value: str) -> bool:
    if value not in ("0", "1"):
        raise ServingError(f"{name}: expected 0 or 1, got {described(value)}")
    return value == "1"
