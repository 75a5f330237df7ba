"""Turns: what waits in the sessions of a model is advanced, one sample of each at a time, by one call of their pool."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from contextlib import suppress
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np

from grurt.errors import InputValueError

if TYPE_CHECKING:
    from grurt.errors import GrurtError
    from grurt.runtime.pool import StreamPool
    from grurt.serving.layout import Layout
    from grurt.serving.session import Message, Receiver, Session

TURN = 200e-6
"""Seconds after which a turn ends, and that a call of the pool may take: then the event loop looks after all others."""

_SMOOTHING = 0.2
_N_SIZES = 20


class Counts:
    """What has been done so far."""

    def __init__(self) -> None:
        self.samples = 0
        self.calls = 0
        self.call_seconds = 0.0
        self.calls_by_size = [0] * _N_SIZES
        """Calls of the pool with at most ``2**i`` samples, and more than half of that."""


class Turns:
    """Advances the sessions of a model.

    What arrives within one turn of the event loop is advanced by one call of the pool. There are no timers: a turn
    follows as soon as the loop has looked at its sockets. Sessions take turns, with one sample each.

    Parameters
    ----------
    pool
        Whose streams the sessions are, by number.
    layout
        How samples and answers lie in messages.
    call_soon
        What the event loop has: it is told of a turn.
    high, low
        With so many samples that wait, a session's holder is told to send no more, and with so few to go on.
    counts
        What is counted on; None to begin.
    """

    def __init__(
        self,
        pool: StreamPool,
        layout: Layout,
        call_soon: Callable[[Callable[[], None]], object],
        *,
        high: int,
        low: int,
        counts: Counts | None = None,
    ) -> None:
        self.counts = counts or Counts()
        self._pool = pool
        self._layout = layout
        self._call_soon = call_soon
        self._high, self._low = high, low
        self._ready: deque[Session[Any]] = deque()
        self._is_due = False
        self._seconds_per_sample = 4e-6
        self.now = perf_counter()
        """The time of the latest turn, in seconds of `time.perf_counter`."""

    @property
    def n_waiting_sessions(self) -> int:
        """How many sessions wait for their turn."""
        return len(self._ready)

    def submit(self, session: Session[Any], message: Message) -> None:
        """Let a message wait for its turn."""
        session.waiting.append(message)
        session.n_waiting += message[1] or 1
        if not session.is_in_turn and not session.held_back:
            self._enter(session)
        if session.n_waiting >= self._high and not session.is_full and session.holder is not None:
            session.is_full = True
            session.holder.pause()

    def _enter(self, session: Session[Any]) -> None:
        session.is_in_turn = True
        self._ready.append(session)
        if not self._is_due:
            self._is_due = True
            self._call_soon(self.turn)

    def go_on(self, session: Session[Any], reason: int = 0) -> None:
        """Advance a session again that was held back for some reason, unless it is for another one."""
        session.held_back &= ~reason
        if session.waiting and not session.is_in_turn and not session.held_back:
            self._enter(session)

    def leave(self, session: Session[Any]) -> None:
        """Forget that a session has its turn: it is advanced elsewhere."""
        if session.is_in_turn:
            session.is_in_turn = False
            with suppress(ValueError):
                self._ready.remove(session)

    def turn(self) -> None:
        """Advance sessions until nothing waits, or the time is over; then the rest has its turn."""
        self._is_due = False
        start = self.now = perf_counter()
        while self._ready and self.now - start < TURN:
            self._advance()
        if self._ready and not self._is_due:
            self._is_due = True
            self._call_soon(self.turn)

    def finish(self) -> None:
        """Advance until nothing waits."""
        while self._ready:
            self._advance()

    def _advance(self) -> None:
        """Advance as many sessions as the time of a turn suffices for, by one sample each."""
        batch, samples = self._next_samples(max(1, int(TURN / self._seconds_per_sample)))
        if not batch:
            self.now = perf_counter()
            return
        start = perf_counter()
        if len(batch) == 1 and len(samples[0]) > self._layout.sample_bytes:
            answers = self._run(batch[0], samples[0])
        else:
            answers = self._step(batch, samples)
        self.now = perf_counter()
        self._count(len(answers) // self._layout.answer_bytes, self.now - start)
        self._hand_out(batch, answers)
        self.now = perf_counter()

    def _next_samples(self, limit: int) -> tuple[list[Session[Any]], list[bytes]]:
        """Return sessions, and the next sample of each: or several, if there is only one session."""
        ready, size = self._ready, self._layout.sample_bytes
        batch: list[Session[Any]] = []
        samples: list[bytes] = []
        while ready and len(batch) < limit:
            session = ready.popleft()
            if session.held_back or not session.waiting:
                session.is_in_turn = False
                continue
            payload, count, receiver = session.waiting[0]
            if count == 1:
                samples.append(payload)
            elif count:
                n_samples = 1 if batch or ready else min(limit, count - session.done)
                samples.append(payload[session.done * size : (session.done + n_samples) * size])
            else:
                session.waiting.popleft()
                self._after(session, 1)
                receiver.answer(b"")
                limit -= 1
                continue
            batch.append(session)
        return batch, samples

    def _step(self, batch: list[Session[Any]], samples: list[bytes]) -> bytes:
        pool = self._pool
        answers = pool.step(
            [session.slot for session in batch], self._layout.arrays(b"".join(samples)), faults="report"
        )
        faults = pool.faults
        if faults:
            self._refuse(batch, dict(faults))
            sound = np.ones(len(batch), bool)
            sound[[row for row, _ in faults]] = False
            answers = (
                {name: array[sound] for name, array in answers.items()} if isinstance(answers, dict) else answers[sound]
            )
            batch[:] = [session for session, is_sound in zip(batch, sound, strict=True) if is_sound]
        return self._layout.packed(answers)

    def _run(self, session: Session[Any], samples: bytes) -> bytes:
        """Advance one session by a block; messages of several samples are known to be sound."""
        arrays = self._layout.arrays(samples)
        if isinstance(arrays, dict):
            answers = self._pool.run([session.slot], {name: array[np.newaxis] for name, array in arrays.items()})
        else:
            answers = self._pool.run([session.slot], arrays[np.newaxis])
        if isinstance(answers, dict):
            return self._layout.packed({name: array[0] for name, array in answers.items()})
        return self._layout.packed(answers[0])

    def _refuse(self, batch: list[Session[Any]], faults: dict[int, str]) -> None:
        for row, reason in faults.items():
            session = batch[row]
            payload, _, receiver = session.waiting.popleft()
            self._after(session, 1)
            receiver.refuse(self._error_of(payload, reason))

    def _error_of(self, payload: bytes, reason: str) -> GrurtError:
        """Return what is wrong with a sample, in its own terms: the pool knows only all of them."""
        try:
            self._layout.expect_sound(payload)
        except InputValueError as error:
            return error
        return InputValueError(reason)

    def _hand_out(self, batch: list[Session[Any]], answers: bytes) -> None:
        size, now, start = self._layout.answer_bytes, self.now, 0
        if len(batch) == 1:
            size = len(answers)
        for session in batch:
            answer = answers[start : start + size]
            start += size
            waiting = session.waiting
            payload, count, receiver = waiting[0]
            session.touched = now
            session.last_answer = answer
            if session.watchers:
                self._show(session, payload, answer)
            if count == 1:
                waiting.popleft()
                session.n_samples += 1
                if waiting:
                    self._after(session, 1)
                else:
                    session.n_waiting = 0
                    session.is_in_turn = False
                    if session.is_full:
                        self._make_room(session)
                receiver.answer(answer)
            else:
                self._hand_out_some(session, count, answer, receiver)

    def _hand_out_some(self, session: Session[Any], count: int, answer: bytes, receiver: Receiver) -> None:
        n_answers = len(answer) // self._layout.answer_bytes
        answers = self._collected(session, count, n_answers, answer)
        session.n_samples += n_answers
        self._after(session, n_answers)
        if answers:
            receiver.answer(answers)

    def _after(self, session: Session[Any], n_samples: int) -> None:
        """Let a session have its next turn, if it has anything to do, and ask for more where little waits."""
        session.n_waiting -= n_samples
        if session.waiting:
            self._ready.append(session)
        else:
            session.is_in_turn = False
        if session.is_full and session.n_waiting <= self._low:
            self._make_room(session)

    @staticmethod
    def _make_room(session: Session[Any]) -> None:
        session.is_full = False
        if session.holder is not None:
            session.holder.resume()

    def _collected(self, session: Session[Any], count: int, n_answers: int, answer: bytes) -> bytes:
        """Return all answers to a message, once there are as many as it has samples; b"" before that."""
        session.partial.append(answer)
        session.done += n_answers
        if session.done < count:
            return b""
        session.waiting.popleft()
        whole = b"".join(session.partial)
        session.partial, session.done = [], 0
        return whole

    def _show(self, session: Session[Any], payload: bytes, answer: bytes) -> None:
        size = self._layout.sample_bytes
        n_samples = len(answer) // self._layout.answer_bytes
        for watcher in session.watchers:
            watcher(self._layout, payload[session.done * size : (session.done + n_samples) * size], answer)

    def _count(self, n_samples: int, seconds: float) -> None:
        counts = self.counts
        counts.samples += n_samples
        counts.calls += 1
        counts.call_seconds += seconds
        counts.calls_by_size[min(_N_SIZES - 1, max(0, n_samples - 1).bit_length())] += 1
        if n_samples:
            known = self._seconds_per_sample
            found = min(seconds / n_samples, 2 * known)  # more is the system, which had something else to do
            self._seconds_per_sample += _SMOOTHING * (found - known)
