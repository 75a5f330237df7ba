"""Sessions and their turns, without any network: answers have the bits of a stream that is alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from serving import Inbox, Loop, mixed_model

import grurt
from grurt.demo import load_model, load_recordings
from grurt.serving.errors import SessionInUseError
from grurt.serving.limits import Limits
from grurt.serving.session import SLOW_READER, End
from grurt.serving.sessions import Sessions

SAMPLES = load_recordings().samples
EXPECTED = load_model().run(SAMPLES)


def new_sessions(loop: Loop, model: grurt.Model | None = None, **limits: Any) -> Sessions:
    return Sessions("activity", model or load_model(), Limits(**limits), loop.call_soon)


def test_any_mixture_of_messages_gives_the_bits_of_single_streams() -> None:
    loop = Loop()
    sessions = new_sessions(loop)
    rng = np.random.default_rng(5)
    inboxes = [Inbox() for _ in range(12)]
    begun = [sessions.begin(f"s{i}") for i in range(12)]
    at = [0] * 12
    while min(at) < 100:
        for i in rng.permutation(12)[: rng.integers(1, 12)]:
            n_samples = min(int(rng.choice([1, 1, 1, 2, 7])), 100 - at[i])
            if n_samples:
                payload = SAMPLES[i, at[i] : at[i] + n_samples].tobytes()
                sessions.turns.submit(begun[i], (payload, n_samples, inboxes[i]))
                at[i] += n_samples
        if rng.random() < 0.7:
            loop.run()
    loop.run()
    for i in range(12):
        expected = load_model().stream().run(SAMPLES[i])
        assert b"".join(inboxes[i].replies) == expected.tobytes()  # type: ignore[arg-type]
        assert sessions.steps(begun[i]) == begun[i].n_samples == 100
        assert begun[i].n_waiting == 0


def test_what_arrives_within_one_turn_is_one_call() -> None:
    loop = Loop()
    sessions = new_sessions(loop)
    inbox = Inbox()
    for i in range(40):
        sessions.turns.submit(sessions.begin(f"s{i}"), (SAMPLES[i, 0].tobytes(), 1, inbox))
    assert loop.run() == 1
    counts = sessions.turns.counts
    assert (counts.calls, counts.samples, counts.calls_by_size[6]) == (1, 40, 1)


def test_who_floods_has_one_sample_in_turn() -> None:
    loop = Loop()
    sessions = new_sessions(loop)
    order: list[str] = []

    class Named(Inbox):
        def __init__(self, name: str) -> None:
            super().__init__()
            self.name = name

        def answer(self, answers: bytes) -> None:
            order.append(self.name)

    flood, calm = sessions.begin("flood"), sessions.begin("calm")
    for sample in SAMPLES[0, :50]:
        sessions.turns.submit(flood, (sample.tobytes(), 1, Named("flood")))
    for sample in SAMPLES[1, :3]:
        sessions.turns.submit(calm, (sample.tobytes(), 1, Named("calm")))
    loop.run()
    assert order[:6] == ["flood", "calm"] * 3
    assert order.count("flood") == 50


def test_a_block_does_not_make_others_wait() -> None:
    loop = Loop()
    sessions = new_sessions(loop)
    block, single = Inbox(), Inbox()
    sessions.turns.submit(sessions.begin("block"), (SAMPLES[0].tobytes(), 100, block))
    sessions.turns.submit(sessions.begin("single"), (SAMPLES[1, 0].tobytes(), 1, single))
    loop.due.pop()()
    assert single.replies == [load_model().stream().step(SAMPLES[1, 0]).tobytes()]
    loop.run()
    assert block.replies == [load_model().stream().run(SAMPLES[0]).tobytes()]


def test_a_bad_sample_is_refused_and_nobody_else_sees_anything() -> None:
    loop = Loop()
    sessions = new_sessions(loop)
    bad = SAMPLES[1, 0].copy()
    bad[4] = np.nan
    inboxes = [Inbox() for _ in range(3)]
    begun = [sessions.begin(f"s{i}") for i in range(3)]
    for sample, session, inbox in zip((SAMPLES[0, 0], bad, SAMPLES[2, 0]), begun, inboxes, strict=True):
        sessions.turns.submit(session, (sample.tobytes(), 1, inbox))
        sessions.turns.submit(session, (SAMPLES[5, 0].tobytes(), 1, inbox))
    loop.run()
    assert inboxes[1].replies == [
        "input 'samples' at [0, 4]: expected finite numbers, got nan",
        load_model().stream().step(SAMPLES[5, 0]).tobytes(),
    ]
    for i in (0, 2):
        expected = load_model().stream().run(np.stack([SAMPLES[i, 0], SAMPLES[5, 0]]))
        assert b"".join(inboxes[i].replies) == expected.tobytes()  # type: ignore[arg-type]
    assert [sessions.steps(session) for session in begun] == [2, 1, 2]
    assert sessions.turns.counts.samples == 5


def test_several_inputs_and_outputs() -> None:
    loop = Loop()
    model = mixed_model()
    sessions = new_sessions(loop, model)
    rng = np.random.default_rng(1)
    sensor, word = rng.normal(size=(9, 3)).astype("f4"), rng.integers(7, size=9)
    session, other, inbox = sessions.begin("s"), sessions.begin("t"), Inbox()
    layout = sessions.layout
    sessions.turns.submit(session, (layout.joined({"sensor": sensor[:5], "word": word[:5]}, 5), 5, inbox))
    loop.run()
    for i in range(5, 9):
        one = layout.joined({"sensor": sensor[i : i + 1], "word": word[i : i + 1]}, 1)
        sessions.turns.submit(session, (one, 1, inbox))
        sessions.turns.submit(other, (one, 1, Inbox()))
    loop.run()
    answers = layout.outputs_of(b"".join(inbox.replies))  # type: ignore[arg-type]
    expected = model.stream().run({"sensor": sensor, "word": word})
    for name, array in expected.items():
        np.testing.assert_array_equal(answers[name], array)


def test_what_has_its_turn_comes_behind_the_samples_before_it() -> None:
    loop = Loop()
    sessions = new_sessions(loop)
    session, inbox = sessions.begin("s"), Inbox()

    class Reset(Inbox):
        def answer(self, answers: bytes) -> None:
            sessions.reset(session)

    for sample in SAMPLES[0, :4]:
        sessions.turns.submit(session, (sample.tobytes(), 1, inbox))
    sessions.turns.submit(session, (b"", 0, Reset()))
    sessions.turns.submit(session, (SAMPLES[0, 0].tobytes(), 1, inbox))
    loop.run()
    assert inbox.replies[0] == inbox.replies[4] != inbox.replies[3]
    assert sessions.steps(session) == 1


def test_who_floods_with_what_is_refused_has_turns_as_well() -> None:
    loop = Loop()
    sessions = new_sessions(loop)
    order: list[str] = []

    class Noted(Inbox):
        def answer(self, answers: bytes) -> None:
            order.append("calm" if answers else "flood")

    flood, calm = sessions.begin("flood"), sessions.begin("calm")
    for _ in range(2000):
        sessions.turns.submit(flood, (b"", 0, Noted()))
    sessions.turns.submit(calm, (SAMPLES[0, 0].tobytes(), 1, Noted()))
    loop.run()
    assert order.index("calm") < 200
    assert (len(order), flood.n_waiting) == (2001, 0)


def test_a_session_has_one_holder() -> None:
    loop = Loop()
    sessions = new_sessions(loop)
    session, first, second = sessions.begin("s"), Inbox(), Inbox()
    sessions.hold(session, first, takeover=False)
    with pytest.raises(SessionInUseError, match="session 's' is in use"):
        sessions.hold(session, second, takeover=False)
    sessions.turns.submit(session, (SAMPLES[0, 0].tobytes(), 1, first))
    sessions.hold(session, second, takeover=True)
    assert first.told == [End.TAKEN_OVER]
    loop.run()
    assert sessions.steps(session) == 0, "what the first one had sent was not advanced"
    assert not sessions.let_go(session, first), "who does not hold it cannot let it go"
    sessions.turns.submit(session, (SAMPLES[0, 0].tobytes(), 1, second))
    loop.run()
    assert len(second.replies) == 1


def test_an_ended_session_leaves_nothing() -> None:
    loop = Loop()
    sessions = new_sessions(loop)
    session, inbox = sessions.begin("s"), Inbox()
    sessions.hold(session, inbox, takeover=False)
    sessions.turns.submit(session, (SAMPLES[0].tobytes(), 100, inbox))
    sessions.end(session, End.LIFETIME)
    assert inbox.told == ["pause", End.LIFETIME]
    assert len(sessions) == len(sessions.pool) == 0
    other, second = sessions.begin("s"), Inbox()
    sessions.turns.submit(other, (SAMPLES[0, 0].tobytes(), 1, second))
    loop.run()
    assert second.replies == [load_model().stream().step(SAMPLES[0, 0]).tobytes()]


def test_who_is_to_send_less_is_told_when_there_is_room() -> None:
    loop = Loop()
    sessions = new_sessions(loop, waiting=4)
    session, inbox = sessions.begin("s"), Inbox()
    sessions.hold(session, inbox, takeover=False)
    for sample in SAMPLES[0, :6]:
        sessions.turns.submit(session, (sample.tobytes(), 1, inbox))
    assert inbox.told == ["pause"]
    loop.run()
    assert inbox.told == ["pause", "resume"]


def test_who_does_not_read_is_not_advanced() -> None:
    loop = Loop()
    sessions = new_sessions(loop)
    session, inbox = sessions.begin("s"), Inbox()
    session.held_back |= SLOW_READER
    sessions.turns.submit(session, (SAMPLES[0, 0].tobytes(), 1, inbox))
    loop.run()
    assert inbox.replies == []
    sessions.turns.go_on(session, SLOW_READER)
    loop.run()
    assert len(inbox.replies) == 1


class Last(Inbox):
    """Keeps only the last answer."""

    last = b""

    def answer(self, answers: bytes) -> None:
        self.last = answers


def comes_and_goes(n_rounds: int) -> None:
    """Advance a thousand sessions by a hundred samples, again and again others."""
    loop, inbox = Loop(), Last()
    sessions = new_sessions(loop)
    payloads = [sample.tobytes() for sample in SAMPLES[0]]
    resident = []
    for number in range(n_rounds):
        begun = [sessions.begin(f"{number}-{i}") for i in range(1000)]
        for payload in payloads:
            for session in begun:
                sessions.turns.submit(session, (payload, 1, inbox))
            loop.run()
        assert inbox.last == EXPECTED[0, -1].tobytes()
        for session in begun:
            sessions.end(session)
        resident.append(int(Path("/proc/self/statm").read_text().split()[1]) * 4096)
    assert resident[-1] - resident[n_rounds // 3] < 4 << 20


@pytest.mark.slow
def test_sessions_that_come_and_go_leave_nothing_behind() -> None:
    comes_and_goes(10)


@pytest.mark.long
def test_a_day_of_samples_leaves_nothing_behind() -> None:
    comes_and_goes(100)


def test_time_is_over() -> None:
    sessions = new_sessions(Loop(), idle=10, lifetime=100)
    idle, old = sessions.begin("idle"), sessions.begin("old")
    old.touched += 95
    now = idle.began
    assert not [*sessions.overdue(now + 5)]
    assert [*sessions.overdue(now + 11)] == [(idle, End.IDLE)]
    assert dict(sessions.overdue(now + 101)) == {idle: End.LIFETIME, old: End.LIFETIME}
