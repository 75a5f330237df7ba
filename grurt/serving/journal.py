"""What a client keeps of its samples, so that each has its answer once, whatever becomes of service and connection.

A message is *waiting* until it has its reply, and then *kept* until the service says that what led there is durable.
When the service announces from which step it goes on, the client sends again what it keeps from there, and everything
that waits. Answers to what was sent again are those that it has already, bit for bit; that is checked.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Generic, NamedTuple, TypeVar

from grurt.errors import GrurtError
from grurt.serving.errors import ServingError

T = TypeVar("T")


class SessionLostError(ServingError):
    """The service does not have the session's state any more, or another one."""

    kind = "lost"


class _Kept(NamedTuple):
    first: int
    payload: bytes
    answers: bytes


class _Waiting(NamedTuple, Generic[T]):
    payload: bytes
    n_samples: int
    ticket: T


class Journal(Generic[T]):
    """The messages of a client.

    Parameters
    ----------
    sample_bytes, answer_bytes
        Of one sample, and of its answer.
    max_message_bytes
        Of what is sent again at once.
    """

    def __init__(self, sample_bytes: int, answer_bytes: int, max_message_bytes: int) -> None:
        self._sample_bytes = sample_bytes
        self._answer_bytes = answer_bytes
        self._samples_at_once = max(1, max_message_bytes // sample_bytes)
        self._kept: deque[_Kept] = deque()
        self._waiting: deque[_Waiting[T]] = deque()
        self._repeated: deque[bytes] = deque()
        self.received: int | None = None
        """Up to which step the client has all answers; None before the first hello."""
        self._checkpoint: int | None = None

    @property
    def tickets(self) -> list[T]:
        """The tickets of what waits."""
        return [message.ticket for message in self._waiting]

    @property
    def n_kept(self) -> int:
        """How many samples are kept that have their answers."""
        return sum(len(kept.payload) for kept in self._kept) // self._sample_bytes

    def add(self, payload: bytes, ticket: T) -> None:
        """Take note of a message that is sent, or will be as soon as there is a connection."""
        self._waiting.append(_Waiting(payload, len(payload) // self._sample_bytes, ticket))

    def begin(self, steps: int) -> Iterator[bytes]:
        """Return what is to be sent to a service that goes on from a step, in this order.

        Raises
        ------
        SessionLostError
            If that step is not one to which the client can take the service back.
        """
        if self.received is None:
            self.received = steps
        oldest = self._kept[0].first if self._kept else self.received
        if not oldest <= steps <= self.received:
            raise SessionLostError(
                f"session: expected the service to go on from a step between {oldest} and {self.received}, which are "
                f"those that this client can repeat, got {steps}: begin another session, or reset this one"
            )
        self._checkpoint = None
        self._repeated.clear()
        repeated, answers = self._from(steps)
        return self._messages(repeated, answers)

    def _from(self, steps: int) -> tuple[bytes, bytes]:
        """Return the samples and answers that are kept from a step on."""
        samples, answers = [], []
        for kept in self._kept:
            skipped = max(0, steps - kept.first)
            samples.append(kept.payload[skipped * self._sample_bytes :])
            answers.append(kept.answers[skipped * self._answer_bytes :])
        return b"".join(samples), b"".join(answers)

    def _messages(self, repeated: bytes, answers: bytes) -> Iterator[bytes]:
        size, answer_size = self._samples_at_once * self._sample_bytes, self._samples_at_once * self._answer_bytes
        chunks = [repeated[start : start + size] for start in range(0, len(repeated), size)]
        self._repeated.extend(answers[start : start + answer_size] for start in range(0, len(answers), answer_size))
        return iter([*chunks, *(message.payload for message in self._waiting)])

    def answer(self, answers: bytes) -> T | None:
        """Take the answers to a message, and return its ticket; None if it was one that was sent again.

        Raises
        ------
        SessionLostError
            If they are others than before.
        """
        if self._repeated:
            if self._repeated.popleft() != answers:
                raise SessionLostError(
                    "session: expected the same answers as before, got others: is the model another one?"
                )
            return None
        message = self._next()
        if len(answers) != message.n_samples * self._answer_bytes or self.received is None:
            raise SessionLostError(f"session: expected {message.n_samples} answers, got {len(answers)} bytes")
        self._kept.append(_Kept(self.received, message.payload, answers))
        self.received += message.n_samples
        return message.ticket

    def refuse(self) -> T:
        """Take note that a message was refused, and return its ticket: it is not sent again."""
        if self._repeated:
            raise SessionLostError("session: expected the same answers as before, got a refusal")
        return self._next().ticket

    def _next(self) -> _Waiting[T]:
        if not self._waiting:
            raise SessionLostError("session: expected one reply to each message, got one more")
        return self._waiting.popleft()

    def checkpoint(self, steps: int) -> None:
        """Take note that the service asks when all answers up to a step are there."""
        self._checkpoint = steps

    def reached(self) -> int | None:
        """Return the step of which the service is to be told now that all answers up to there are received, once."""
        steps = self._checkpoint
        if steps is None or self._repeated or self.received is None or self.received < steps:
            return None
        self._checkpoint = None
        return steps

    def durable(self, steps: int) -> None:
        """Forget what led to a step."""
        while self._kept and self._kept[0].first + len(self._kept[0].payload) // self._sample_bytes <= steps:
            self._kept.popleft()


def error_of(kind: str, message: str) -> GrurtError:
    """Return the exception of which a service has told."""
    from grurt import errors

    found = getattr(errors, kind, None)
    is_one = isinstance(found, type) and issubclass(found, GrurtError)
    return found(message) if is_one else ServingError(message)  # type: ignore[misc]
