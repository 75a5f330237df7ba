"""What a service refuses, and why: each with the codes by which HTTP and WebSocket say so."""

from __future__ import annotations

from typing import ClassVar

from grurt.errors import GrurtError


class ServingError(GrurtError, RuntimeError):
    """A service cannot do what it was asked for."""

    status: ClassVar[int] = 400
    """Of HTTP."""
    close_code: ClassVar[int] = 1008
    """Of WebSocket, where the connection ends by it."""
    kind: ClassVar[str] = "refused"
    """In metrics and on the page."""


class SessionNameError(ServingError, ValueError):
    """A session cannot have such a name."""

    kind = "name"


class UnknownModelError(ServingError):
    """There is no such model."""

    status = 404
    kind = "model"


class ModelReplacedError(ServingError):
    """What waited was for a model that was replaced."""

    status = 409
    kind = "model"


class NoSessionError(ServingError):
    """There is no such session, and the request does not begin one."""

    kind = "no session"


class SessionInUseError(ServingError):
    """Somebody else holds the session."""

    status = 409
    kind = "in use"


class ForbiddenError(ServingError):
    """The token, the origin or the host is not one of those that may."""

    status = 403
    kind = "forbidden"


class UnauthorizedError(ServingError):
    """There is no token, or a wrong one."""

    status = 401
    kind = "unauthorized"


class TooManySessionsError(ServingError):
    """The service holds as many sessions as it may."""

    status = 503
    close_code = 1013
    kind = "too many sessions"


class BusyError(ServingError):
    """As much waits already as may."""

    status = 503
    close_code = 1013
    kind = "busy"


class TooLargeError(ServingError):
    """A body or payload is larger than it may be, as it came or decompressed."""

    status = 413
    kind = "too large"


class WholeSequencesError(ServingError):
    """A model answers to whole sequences, and has no sessions."""

    kind = "whole sequences"


class StoreError(ServingError):
    """The store of states cannot be read or written, or holds something else."""

    status = 503
    close_code = 1011
    kind = "store"


class SessionEndedError(ServingError):
    """The session has ended while something waited in it."""

    status = 410
    kind = "ended"


class SlowReaderError(ServingError):
    """A client does not read what it is sent."""

    kind = "slow reader"


def status_of(error: GrurtError) -> int:
    """Return the status of HTTP for an error of any kind."""
    return error.status if isinstance(error, ServingError) else 400
