"""What a client keeps: every message has one reply, whatever the service forgets."""

from __future__ import annotations

import random

import pytest

from grurt.errors import InputValueError
from grurt.serving.errors import ServingError
from grurt.serving.journal import Journal, SessionLostError, error_of


class Service:
    """Stands in for a service whose state is the list of the samples that it has had."""

    def __init__(self) -> None:
        self.state: list[int] = []
        self.stored: list[int] = []

    def reply(self, message: bytes) -> bytes | None:
        """Return an answer for each sample, which tells the whole history; None if one of the samples is 0."""
        if 0 in message:
            return None
        answers = b""
        for sample in message:
            self.state.append(sample)
            answers += bytes([sum(self.state) % 251])
        return answers


@pytest.mark.parametrize("seed", range(200))
def test_every_message_has_its_reply_once_whatever_breaks(seed: int) -> None:
    rng = random.Random(seed)
    service, journal = Service(), Journal[int](1, 1, 4)
    sent: dict[int, bytes] = {}
    replies: dict[int, bytes | None] = {}
    wire: list[bytes] = [*journal.begin(0)]
    proposed: list[int] | None = None

    def take(message: bytes) -> None:
        answer = service.reply(message)
        ticket = journal.refuse() if answer is None else journal.answer(answer)
        if ticket is not None:
            assert ticket not in replies
            replies[ticket] = answer

    for number in range(120):
        message = bytes(rng.choice([1, 2, 3, 9, 0]) for _ in range(rng.choice([1, 1, 1, 3, 6])))
        journal.add(message, number)
        sent[number] = message
        wire.append(message)
        while wire and rng.random() < 0.6:
            take(wire.pop(0))
        if rng.random() < 0.2 and proposed is None:
            proposed = [*service.state]
            journal.checkpoint(len(proposed))
        if proposed is not None and (steps := journal.reached()) is not None:
            service.stored, proposed = proposed, None
            if rng.random() < 0.7:
                journal.durable(steps)
        if rng.random() < 0.1:  # the connection breaks, some messages with it; the service may have done them
            for message in wire[: rng.randrange(len(wire) + 1)]:
                service.reply(message)
            service.state, proposed = [*service.stored], None
            wire = [*journal.begin(len(service.state))]
    for message in wire:
        take(message)
    alone = Service()
    assert replies == {number: alone.reply(message) for number, message in sent.items()}
    assert journal.received == len(alone.state)


def test_a_step_that_it_cannot_go_on_from() -> None:
    journal = Journal[int](1, 1, 4)
    assert [*journal.begin(7)] == []
    for sample in (b"\1", b"\2"):
        journal.add(sample, 0)
        journal.answer(sample)
    journal.durable(8)
    for steps in (7, 10):
        with pytest.raises(SessionLostError, match=f"between 8 and 9, .* got {steps}"):
            journal.begin(steps)
    assert [*journal.begin(8)] == [b"\2"]


def test_other_answers_than_before_are_an_error() -> None:
    journal = Journal[int](1, 1, 4)
    journal.begin(0)
    journal.add(b"\1", 1)
    assert journal.answer(b"a") == 1
    journal.begin(0)
    with pytest.raises(SessionLostError, match="expected the same answers"):
        journal.answer(b"b")


def test_replies_that_nobody_has_asked_for() -> None:
    journal = Journal[int](1, 1, 4)
    journal.begin(0)
    with pytest.raises(SessionLostError, match="one more"):
        journal.answer(b"a")


def test_a_checkpoint_is_told_when_everything_before_it_is_there() -> None:
    journal = Journal[int](1, 1, 4)
    journal.begin(0)
    journal.add(b"\1\2\3", 1)
    journal.checkpoint(2)
    assert journal.reached() is None
    journal.answer(b"abc")
    assert (journal.reached(), journal.reached()) == (2, None)
    journal.durable(2)
    assert journal.n_kept == 3, "a message is forgotten as a whole"


def test_errors_are_those_of_the_service() -> None:
    assert isinstance(error_of("InputValueError", "x"), InputValueError)
    for kind in ("SystemExit", "GrurtErrors", "shown", "annotations"):
        assert type(error_of(kind, "x")) is ServingError
