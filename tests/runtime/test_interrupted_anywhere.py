"""An exception from outside, at whatever point of a call: what was called works, as it was before or as it is after."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Iterator
from functools import partial
from itertools import count
from typing import Any

import models
import numpy as np
import pytest

import grurt

MODEL = models.layer_model(
    grurt.Conv1d(name="conv", input_size=3, output_size=4, kernel_size=3, dilation=2),
    grurt.GRU(name="gru", input_size=4, hidden_size=5),
    rng=np.random.default_rng(81),
)
TOKENS = models.layer_model(
    grurt.Embedding(name="embed", vocabulary_size=9, size=4),
    grurt.GRU(name="gru", input_size=4, hidden_size=3),
    rng=np.random.default_rng(82),
)
GENERATOR = models.layer_model(
    grurt.Embedding(name="embed", vocabulary_size=9, size=4),
    grurt.GRU(name="gru", input_size=4, hidden_size=9),
    rng=np.random.default_rng(82),
)
XS = np.random.default_rng(83).normal(size=(600, 3)).astype(np.float32)
LATER = MODEL.stream()
LATER.run(XS[:9])
LATER_POOL = MODEL.pool(16)
LATER_POOL.run(range(16), XS[:80].reshape(16, 5, 3))
LATER_MANY = LATER_POOL.snapshot_many(range(16))


@pytest.fixture(autouse=True)
def _no_garbage_is_collected() -> Iterator[None]:
    """The collector calls what testing tools have left with it: an exception in there is none in a call."""
    gc.disable()
    yield
    gc.enable()


class Interruption(BaseException):
    """What no code expects."""


def interrupted(call: Callable[[], object], number: int, *, opcodes: bool) -> bool:
    """Make a call in which a trace function raises at the event of a number; return whether there was such an event."""
    events = count(1)

    def trace(frame: Any, event: str, argument: Any) -> Any:
        frame.f_trace_opcodes = opcodes
        if next(events) == number:
            raise Interruption
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        call()
    except Interruption:
        return True
    finally:
        sys.settrace(before)
    return next(events) > number


EVERY_EVENT = range(1, 100_000)


Stream, Pool = grurt.Stream, grurt.StreamPool

STREAM_CALLS: dict[str, Callable[[Stream], object]] = {
    "step": lambda stream: stream.step(XS[0]),
    "step of a list": lambda stream: stream.step(XS[0].tolist()),
    "advance": lambda stream: stream.advance(),
    "run": lambda stream: stream.run(XS[:4]),
    "reset": lambda stream: stream.reset(),
    "state": lambda stream: stream.state,
    "state =": lambda stream: setattr(stream, "state", {"gru": np.ones(5), "conv": np.ones((4, 3))}),
    "snapshot": lambda stream: stream.snapshot(),
    "restore": lambda stream: stream.restore(LATER.snapshot()),
    "fork": lambda stream: stream.fork(),
}


@pytest.mark.slow
@pytest.mark.parametrize("opcodes", [False, True], ids=["lines", "instructions"])
@pytest.mark.parametrize("call", STREAM_CALLS.values(), ids=STREAM_CALLS)
def test_a_stream_stands_before_or_after_the_call(call: Callable[[Stream], object], opcodes: bool) -> None:
    start = MODEL.stream()
    start.run(XS[:3])
    done = start.fork()
    call(done)
    stream = start.fork()
    for number in EVERY_EVENT[:: 7 if opcodes else 1]:
        stream.restore(start.snapshot())
        if not interrupted(lambda: call(stream), number, opcodes=opcodes):
            break
        assert stream.snapshot() in (start.snapshot(), done.snapshot())
    assert number > 1
    call(stream)


def test_a_long_run_stands_after_some_of_its_timesteps() -> None:
    stream = MODEL.stream()
    for number in EVERY_EVENT:
        stream.reset()
        if not interrupted(lambda: stream.run(XS), number, opcodes=False):
            break
        assert stream.snapshot() == after(stream.steps)
    with pytest.raises(grurt.InputValueError, match="got nan"):  # all of it is checked, as ever
        stream.run(np.full((600, 3), np.nan))


AFTER: dict[int, bytes] = {}


def after(n_steps: int) -> bytes:
    if n_steps not in AFTER:
        stream = MODEL.stream()
        stream.run(XS[:n_steps])
        AFTER[n_steps] = stream.snapshot()
    return AFTER[n_steps]


def test_a_step_of_a_token() -> None:
    stream, twin = TOKENS.stream(), TOKENS.stream()
    twin.step(4)
    for number in EVERY_EVENT:
        stream.reset()
        if not interrupted(lambda: stream.step(4), number, opcodes=False):
            break
        assert stream.snapshot() in (TOKENS.stream().snapshot(), twin.snapshot())
    assert stream.step(4).shape == (3,)


def test_a_state_that_the_kernels_set() -> None:
    given = {"gru": np.float32([0.25, -0.5, 0.75])}
    for target in (TOKENS.stream(), TOKENS.pool(1)):
        set_it: Callable[[], object]
        if isinstance(target, grurt.Stream):
            set_it, snapshot = partial(setattr, target, "state", given), target.snapshot
        else:
            set_it, snapshot = partial(target.set_state, 0, given), partial(target.snapshot, 0)
        before = snapshot()
        set_it()
        after = snapshot()
        for number in EVERY_EVENT:
            target.reset() if isinstance(target, grurt.Stream) else target.reset(0)
            if not interrupted(set_it, number, opcodes=True):
                break
            assert snapshot() in (before, after)
        assert number > 1


POOL_CALLS: dict[str, Callable[[Pool, list[Any]], object]] = {
    "step of an array": lambda pool, ids: pool.step(np.array(ids), XS[:16]),
    "step of a list": lambda pool, ids: pool.step(ids, XS[:16].tolist()),
    "step by a list": lambda pool, ids: pool.step(ids, XS[:16]),
    "step with a fault": lambda pool, ids: pool.step(ids, np.where(XS[:16] > 1.5, np.nan, XS[:16]), faults="report"),
    "run": lambda pool, ids: pool.run(ids, XS[:32].reshape(16, 2, 3)),
    "add": lambda pool, ids: pool.add() if ids[0] == 0 else pool.add("new"),
    "drop": lambda pool, ids: pool.drop(ids[3]),
    "reset": lambda pool, ids: pool.reset(ids[3]),
    "state": lambda pool, ids: pool.state(ids[3]),
    "set_state": lambda pool, ids: pool.set_state(ids[3], {"gru": np.ones(5), "conv": np.ones((4, 3))}),
    "snapshot": lambda pool, ids: pool.snapshot(ids[3]),
    "restore": lambda pool, ids: pool.restore(ids[3], LATER.snapshot()),
    "copy": lambda pool, ids: pool.copy(ids[::-1], ids),
    "snapshot_many": lambda pool, ids: pool.snapshot_many(ids),
    "restore_many": lambda pool, ids: pool.restore_many(ids, LATER_MANY),
}


def standing(pool: Pool) -> dict[Any, bytes]:
    found = {name: pool.snapshot(name) for name in pool}
    assert len(pool) == len(found)
    return found


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["numbers", "names", "two threads"])
@pytest.mark.parametrize("call", POOL_CALLS.values(), ids=POOL_CALLS)
def test_a_pool_stands_before_or_after_the_call(call: Callable[[Pool, list[Any]], object], kind: str) -> None:
    ids: list[Any] = [f"s{i}" for i in range(16)] if kind == "names" else list(range(16))

    def fresh() -> Pool:
        pool = MODEL.pool(ids if kind == "names" else 16, threads=2 if kind == "two threads" else 1)
        pool.step(ids, XS[:16])
        return pool

    done, pool = fresh(), fresh()
    before = standing(pool)
    call(done, ids)
    for number in EVERY_EVENT[:: 1 if kind == "numbers" else 3]:
        if not interrupted(partial(call, pool, ids), number, opcodes=False):
            break
        found = standing(pool)
        assert found in (before, standing(done))
        pool.step(np.array([*pool]), XS[: len(pool)])  # nothing of a call that was left is still to be done
        if found.keys() == before.keys():
            for name, saved in before.items():
                pool.restore(name, saved)
        else:
            pool = fresh()
    assert number > 1


@pytest.mark.slow
@pytest.mark.parametrize("threads", [1, 2])
def test_streams_that_generate_stand_before_or_after_the_call(threads: int) -> None:
    prompts = [[1 + row % 3] * (1 + row % 4) for row in range(9)]

    def call(pool: Pool) -> object:
        return pool.generate(range(9), prompts, 3)

    pool, done = GENERATOR.pool(9, threads=threads), GENERATOR.pool(9)
    before = standing(pool)
    call(done)
    for number in EVERY_EVENT[:: 5 if threads == 1 else 3]:
        if not interrupted(partial(call, pool), number, opcodes=False):
            break
        assert standing(pool) in (before, standing(done))
        for name, saved in before.items():
            pool.restore(name, saved)
    assert number > 1
    assert standing(pool) == standing(done)


@pytest.mark.parametrize(
    "xs", [XS[:40], XS.reshape(6, 100, 3), {"x": XS[np.newaxis, :40]}, {"x": XS.reshape(6, 100, 3)}]
)
def test_a_model_answers_as_before(xs: Any) -> None:
    def answer() -> bytes:
        found = MODEL.run(xs)
        return bytes((found["y"] if isinstance(xs, dict) else found).tobytes())

    expected = answer()
    for number in EVERY_EVENT:
        if not interrupted(answer, number, opcodes=False):
            break
    assert number > 1
    assert answer() == expected
