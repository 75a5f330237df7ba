"""Checkpoints of clients that replay: a kept state is never ahead of what its client has received.

A client that replays keeps its samples, and sends them again, from the step that the hello announces. So that it gets
each answer once, whatever is lost on the way, the state from which it goes on must not be later than the last answer
that it has. Only the client knows that one: it is told of a *checkpoint*, a state that was saved at some step, and says
when it has received all answers up to there. Then the state is *safe*: a session goes on from it when the client comes
again, and it is what the store keeps.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from grurt.serving.sessions import OneSession


def replays(session: OneSession) -> bool:
    """Say whether a session's state is kept for a client that replays, which may be away."""
    return session.safe is not None


def begin(session: OneSession) -> int:
    """Take a session to the state from which its client goes on, and return the step: where it is, at first."""
    if session.safe is None:
        session.safe = (session.room.steps(session), session.room.snapshot(session))
    else:
        session.room.restore(session, session.safe[1])
    session.pending = None
    return session.safe[0]


def leave(session: OneSession) -> None:
    """Take note that a client has the session that does not replay: where it is, it is."""
    session.safe = session.pending = None


def propose(session: OneSession, now: float) -> None:
    """Save a session's state, and ask its client to say when it has the answers up to there."""
    if session.holder is None or session.pending is not None:
        return
    session.pending = (session.room.steps(session), session.room.snapshot(session))
    session.written = now
    session.holder.checkpoint(session.pending[0])


def received(session: OneSession, steps: int) -> bool:
    """Take note of what a client has received; return whether a later state is safe now."""
    if session.pending is None or steps < session.pending[0]:
        return False
    session.safe, session.pending = session.pending, None
    return True
