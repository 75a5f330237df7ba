"""Pools: the same bits as single streams whatever the interleaving, and nothing lost on bad input."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import threading
import time
from typing import Any

import models
import numpy as np
import pytest
import step_programs
from hypothesis import given, settings
from hypothesis import strategies as st
from paths import HELPERS

import grurt
from grurt import reference
from grurt.kernels import codes
from grurt.runtime.team import Team


def bits(outputs: Any) -> dict[str, bytes]:
    named = outputs if isinstance(outputs, dict) else {"y": outputs}
    return {name: np.ascontiguousarray(array).tobytes() for name, array in named.items()}


def random_block(model: grurt.Model, lead: tuple[int, ...], rng: np.random.Generator) -> dict[str, Any]:
    """Return inputs ``(*lead, size)`` by name."""
    return {
        port.name: rng.normal(size=(*lead, port.size)).astype(np.float32)
        if isinstance(port, grurt.Input)
        else rng.integers(0, port.vocabulary_size, lead)
        for port in model.inputs
    }


def rows(values: Any, row: int) -> Any:
    return {name: array[row] for name, array in values.items()} if isinstance(values, dict) else values[row]


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(5)


@pytest.fixture
def model(rng: np.random.Generator) -> grurt.Model:
    conv = grurt.Conv1d(name="conv", input_size=3, output_size=5, kernel_size=3, dilation=2)
    gru = grurt.GRU(name="gru", input_size=5, hidden_size=17, initial_state="learned")
    return models.layer_model(conv, gru, rng=rng)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), threads=st.sampled_from([1, 2, 3]))
def test_any_interleaving_gives_the_bits_of_single_streams(seed: int, threads: int) -> None:
    rng = np.random.default_rng(seed)
    model = step_programs.program_or_graph(rng, n_layers=5)
    n_streams = int(rng.integers(1, 80))
    pool = model.pool(n_streams, threads=threads)
    singles = [model.stream() for _ in range(n_streams)]
    for _ in range(4):
        ids = rng.permutation(n_streams)[: rng.integers(1, n_streams + 1)]
        if rng.integers(2):
            xs = random_block(model, (len(ids),), rng)
            answers = pool.step(ids, xs)
            expected = [singles[i].step(rows(xs, row)) for row, i in enumerate(ids)]
        else:
            xs = random_block(model, (len(ids), int(rng.integers(0, 5))), rng)
            answers = pool.run(ids, xs)
            expected = [singles[i].run(rows(xs, row)) for row, i in enumerate(ids)]
        for row, answer in enumerate(expected):
            assert bits(rows(answers, row)) == bits(answer)
    assert [pool.snapshot(i) for i in range(n_streams)] == [single.snapshot() for single in singles]


@pytest.mark.parametrize("linear_before_reset", [True, False])
@pytest.mark.parametrize("hidden_size", [1, 15, 16, 33, 64])
def test_pool_against_the_reference(linear_before_reset: bool, hidden_size: int, rng: np.random.Generator) -> None:
    model = models.gru_model(4, hidden_size, rng, n_layers=2, linear_before_reset=linear_before_reset)
    xs = rng.normal(size=(7, 25, 4)).astype(np.float32)
    answers = model.pool(7).run(range(7), xs)
    for x, answer in zip(xs, answers, strict=True):
        expected, _ = reference.run(model, {"x": x})
        np.testing.assert_allclose(answer, expected["y"], rtol=0, atol=2e-6)


def test_named_streams_come_and_go(model: grurt.Model, rng: np.random.Generator) -> None:
    pool = model.pool(["a", ("b", 2)])
    single = model.stream()
    for i in range(50):
        assert pool.add(i) == i
    xs = rng.normal(size=(3, 4, 3)).astype(np.float32)
    answers = pool.run([49, ("b", 2), "a"], xs)
    assert bits(answers[0]) == bits(single.run(xs[0]))
    assert len(pool) == 52
    pool.drop("a")
    assert "a" not in pool
    assert list(pool)[:2] == [("b", 2), 0]
    pool.add("a")
    assert pool.steps("a") == 0
    assert bits(pool.step(["a"], xs[:1, 0])[0]) == bits(model.stream().step(xs[0, 0]))


def test_numbered_streams_come_and_go(model: grurt.Model) -> None:
    pool = model.pool(3)
    pool.drop(1)
    assert list(pool) == [0, 2]
    assert 1 not in pool
    assert [pool.add(), pool.add()] == [1, 3]
    assert len(pool) == 4
    assert "1" not in pool
    assert True not in pool
    assert repr(pool).startswith("<grurt.StreamPool of 4 streams of <grurt.Model conv1d, gru")


def test_states_and_snapshots_are_those_of_streams(model: grurt.Model, rng: np.random.Generator) -> None:
    pool, stream = model.pool(5), model.stream()
    xs = rng.normal(size=(5, 7, 3)).astype(np.float32)
    pool.run(np.arange(5), xs)
    stream.restore(pool.snapshot(3))
    assert stream.steps == pool.steps(3) == 7
    assert {name: array.tobytes() for name, array in stream.state.items()} == {
        name: array.tobytes() for name, array in pool.state(3).items()
    }
    pool.reset(3)
    pool.set_state(3, stream.state)
    pool.restore(4, stream.snapshot())
    assert pool.snapshot(4) == stream.snapshot()
    assert bits(pool.step([4], xs[:1, 0])[0]) == bits(stream.step(xs[0, 0]))
    pool.reset(4)
    assert pool.steps(4) == 0


BAD_CALLS: dict[str, tuple[Any, Any, type[Exception], str]] = {
    "twice": ([1, 2, 1], np.zeros((3, 3)), grurt.StreamIdError, r"step: ids\[2\] is 1: the stream is named twice"),
    "unknown": ([1, 9], np.zeros((2, 3)), grurt.StreamIdError, r"step: ids\[1\] is 9: there is no such stream"),
    "dropped": ([0, 4], np.zeros((2, 3)), grurt.StreamIdError, r"ids\[1\] is 4: there is no such stream"),
    "negative": ([-1], np.zeros((1, 3)), grurt.StreamIdError, r"ids\[0\] is -1: there is no such stream"),
    "names": (
        ["a"],
        np.zeros((1, 3)),
        grurt.StreamIdError,
        "expected integers, as this pool numbers its streams, got dtype <U1",
    ),
    "floats": ([1.0], np.zeros((1, 3)), grurt.StreamIdError, "expected integers, .* got dtype float64"),
    "matrix": ([[1]], np.zeros((1, 3)), grurt.InputShapeError, r"expected ids of shape \(n_streams,\), got \(1, 1\)"),
    "rows": ([1, 2], np.zeros((3, 3)), grurt.InputShapeError, r"an input 'x': expected shape \(2, 3\), got \(3, 3\)"),
    "nan": ([1, 2], np.full((2, 3), [[0], [np.nan]]), grurt.InputValueError, r"input 'x' at \[1, 0\]: expected finite"),
    "complex": ([1], np.zeros((1, 3), complex), grurt.InputTypeError, "expected real numbers"),
}


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize(("ids", "xs", "error", "message"), BAD_CALLS.values(), ids=BAD_CALLS)
def test_a_bad_call_advances_no_stream(
    model: grurt.Model, ids: Any, xs: Any, error: type[Exception], message: str, threads: int
) -> None:
    pool = model.pool(5, threads=threads)
    pool.drop(4)
    pool.run(range(4), np.ones((4, 6, 3), np.float32))
    before = [pool.snapshot(i) for i in range(4)]
    with pytest.raises(error, match=message):
        pool.step(ids, xs)
    assert [pool.snapshot(i) for i in range(4)] == before
    pool.step(range(4), np.ones((4, 3), np.float32))
    assert pool.steps(0) == 7


def test_other_errors(model: grurt.Model, rng: np.random.Generator) -> None:
    with pytest.raises(grurt.InputValueError, match="expected at least 1 thread, and at most 1024, got 0"):
        model.pool(1, threads=0)
    with pytest.raises(grurt.InputValueError, match="expected a number of streams of at least 0, got -1"):
        model.pool(-1)
    with pytest.raises(grurt.InputValueError, match='nonfinite: expected "refuse" or "propagate"'):
        model.pool(1, nonfinite="ignore")  # type: ignore[arg-type]
    reverse = models.gru_model(2, 3, rng, direction="reverse")
    with pytest.raises(grurt.StreamingError, match="layer 'gru0' is a GRU in reverse direction"):
        reverse.pool(1)
    numbered, named = model.pool(2), model.pool(["a"])
    with pytest.raises(grurt.StreamIdError, match="this pool numbers its streams: expected no id, got 'a'"):
        numbered.add("a")
    with pytest.raises(grurt.StreamIdError, match="there is a stream 'a' already: drop it first"):
        named.add("a")
    with pytest.raises(grurt.StreamIdError, match=r"StreamPool.step: there is no stream 'b'"):
        named.step(["b"], np.zeros((1, 3)))
    with pytest.raises(grurt.StreamIdError, match=r"StreamPool.drop: there is no stream 7"):
        numbered.drop(7)
    with pytest.raises(grurt.SnapshotError, match="truncated"):
        numbered.restore(0, b"")
    with pytest.raises(grurt.InputShapeError, match=r"StreamPool.set_state: 'head': expected one of the states"):
        numbered.set_state(0, {"head": np.zeros(3)})
    with pytest.raises(TypeError, match="a StreamPool cannot be pickled"):
        numbered.__reduce__()


def test_output_array_of_the_caller(model: grurt.Model, rng: np.random.Generator) -> None:
    xs = rng.normal(size=(4, 3)).astype(np.float32)
    out = np.empty((4, 17), np.float32)
    assert model.pool(4).step(np.arange(4), xs, out) is out
    assert bits(out) == bits(model.pool(4).step(np.arange(4), xs))


def test_no_streams_at_all(model: grurt.Model) -> None:
    pool = model.pool()
    assert pool.step([], np.zeros((0, 3))).shape == (0, 17)
    assert list(pool) == []


@pytest.mark.slow
def test_threads_sleep_when_idle_and_end_with_the_pool(model: grurt.Model) -> None:
    before = threading.active_count()
    pool = model.pool(64, threads=3)
    pool.step(range(64), np.zeros((64, 3), np.float32))
    assert threading.active_count() == before + 2
    used = time.process_time()
    time.sleep(0.5)
    assert time.process_time() - used < 0.05
    del pool
    gc.collect()
    deadline = time.monotonic() + 60
    while threading.active_count() > before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert threading.active_count() == before


FORKED = """
import os, sys
import numpy as np
from grurt.demo import load_model
pool = load_model().pool(64, threads=2)
xs = np.ones((64, 6), np.float32)
pool.step(range(64), xs)
child = os.fork()
answers = pool.step(range(64), xs)
if child == 0:
    os._exit(0 if pool.steps(0) == 2 else 1)
sys.exit(os.waitpid(child, 0)[1])
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_forked_process_has_threads_of_its_own() -> None:
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", FORKED]
    assert subprocess.run(command, timeout=600, check=False).returncode == 0


def test_array_ids_of_named_streams_are_names(model: grurt.Model, rng: np.random.Generator) -> None:
    xs = rng.normal(size=(2, 3)).astype(np.float32)
    for names in ([1, 0], [100, 200]):
        by_list, by_array = model.pool(names), model.pool(names)
        by_list.step(names[::-1], xs)
        by_array.step(np.array(names[::-1]), xs)
        assert [by_list.snapshot(name) for name in names] == [by_array.snapshot(name) for name in names]


def test_step_and_run_take_their_own_shapes_only(model: grurt.Model) -> None:
    pool, ids = model.pool(2), np.arange(2)
    with pytest.raises(grurt.InputShapeError, match=r"step: an input 'x': expected shape \(2, 3\), got \(2, 5, 3\)"):
        pool.step(ids, np.zeros((2, 5, 3), np.float32), np.zeros((2, 5, 17), np.float32))
    with pytest.raises(
        grurt.InputShapeError, match=r"run: an input 'x': expected shape \(2, n_steps, 3\), got \(2, 3\)"
    ):
        pool.run(ids, np.zeros((2, 3), np.float32), np.zeros((2, 17), np.float32))
    assert pool.steps(0) == 0


def test_a_busy_stream_turns_a_second_thread_away(rng: np.random.Generator) -> None:
    model = models.gru_model(64, 256, rng)
    stream = model.stream()
    xs = rng.normal(size=(40_000, 64)).astype(np.float32)
    expected = model.stream().run(xs[:1])
    answers: list[Any] = []
    thread = threading.Thread(target=lambda: answers.append(stream.run(xs)))
    thread.start()
    deadline = time.monotonic() + 60
    while not stream._context.array[codes.CONTEXT_BUSY] and time.monotonic() < deadline:
        time.sleep(0.001)
    errors = []
    while thread.is_alive():
        try:
            stream.run(xs[:8])
        except grurt.ConcurrentUseError as error:
            errors.append(str(error))
        time.sleep(0.001)
    thread.join()
    assert errors
    assert errors[0].startswith("another thread is using this stream or pool: expected one thread at a time")
    assert answers[0].shape == (40_000, 256)
    stream.reset()
    assert bits(stream.run(xs[:1])) == bits(expected)


INTERRUPTED = """
import signal, sys, threading
import numpy as np
import models
rng = np.random.default_rng(0)
model = models.gru_model(32, 128, rng)
pool = model.pool(64, threads=2)
xs = rng.normal(size=(64, 400, 32)).astype(np.float32)
interrupted = 0
for _ in range(6):
    timer = threading.Timer(0.01, signal.raise_signal, [signal.SIGINT])
    try:
        timer.start()
        pool.run(range(64), xs)
        timer.join()
    except KeyboardInterrupt:
        interrupted += 1
    steps = {pool.steps(i) for i in range(64)}
    for i in range(64):
        pool.reset(i)
pool.run(range(64), xs[:, :5])
single = model.stream()
assert np.array_equal(pool.step(range(64), xs[:, 5])[63], single.run(xs[63, :6])[-1])
sys.exit(0 if interrupted else 3)
"""


@pytest.mark.slow
def test_an_interrupted_call_leaves_no_thread_at_work() -> None:
    result = subprocess.run([sys.executable, "-c", INTERRUPTED], cwd=HELPERS, timeout=600, check=False)
    assert result.returncode == 0


@pytest.mark.parametrize("after", ["a refused call", "a call", "a reset", "an added stream"])
def test_an_exception_that_leaves_while_threads_work(monkeypatch: pytest.MonkeyPatch, after: str) -> None:
    """Whatever is done next with the pool is done when all streams of the call have been run."""
    rng = np.random.default_rng(58)
    model = models.gru_model(16, 128, rng)
    pool, alone = model.pool(64, threads=2), model.pool(64)
    xs = rng.normal(size=(64, 100, 16)).astype(np.float32)

    def interrupted(team: Team, status: int) -> int:
        monkeypatch.undo()
        raise KeyboardInterrupt

    monkeypatch.setattr(Team, "settle", lambda team: None)
    monkeypatch.setattr(Team, "_finish", interrupted)
    with pytest.raises(KeyboardInterrupt):
        pool.run(np.arange(64), xs)
    alone.run(range(64), xs)
    if after == "a refused call":
        with pytest.raises(grurt.StreamIdError, match="there is no such stream"):
            pool.step([10**12] * 64, xs[:, 0])
    elif after == "a reset":
        pool.reset(3)
        alone.reset(3)
    elif after == "an added stream":
        pool.add()
        alone.add()
    assert bits(pool.step(range(64), xs[:, 0])) == bits(alone.step(range(64), xs[:, 0]))
    assert [pool.steps(i) for i in range(64)] == [alone.steps(i) for i in range(64)]


INTERRUPTED_GROWTH = """
import random, signal, sys, time
import numpy as np
import models
from grurt.kernels import codes
armed = False
def interrupt(*arguments):
    if armed:
        raise KeyboardInterrupt
signal.signal(signal.SIGALRM, interrupt)
model = models.gru_model(3, 5, np.random.default_rng(0))
interruptions = 0
end = time.monotonic() + 30
while interruptions < 100 and time.monotonic() < end:
    pool = model.pool(range(16), threads=2) if interruptions % 2 else model.pool([*"abcdefghijklmnop"])
    try:
        try:
            armed = True
            signal.setitimer(signal.ITIMER_REAL, random.uniform(5e-6, 150e-6))
            pool.add("new")
        finally:
            armed = False
    except KeyboardInterrupt:
        interruptions += 1
    signal.setitimer(signal.ITIMER_REAL, 0)
    for context in pool._slots.contexts:
        assert context.addressed[0] is pool._slots.states.buffer
        assert context.array[codes.CONTEXT_STATES] == pool._slots.states.buffer.ctypes.data
        assert context.array[codes.CONTEXT_LAST_CALL] == pool._slots.last_call.ctypes.data
        assert context.array[codes.CONTEXT_N_SLOTS] == len(pool._slots.last_call)
    assert pool._front.array[codes.CONTEXT_OWN_STREAMS] == pool._slots.own_streams.ctypes.data
    assert len(pool) == len(list(pool))
sys.exit(0 if interruptions else 3)
"""


@pytest.mark.slow
def test_an_interrupted_add_leaves_the_pool_as_it_was_or_larger() -> None:
    command = [sys.executable, "-c", INTERRUPTED_GROWTH]
    result = subprocess.run(command, cwd=HELPERS, timeout=600, check=False, capture_output=True, text=True)
    assert (result.returncode, result.stderr) == (0, "")


def test_more_ids_than_streams_and_other_odd_ids(model: grurt.Model) -> None:
    pool, named = model.pool(np.int64(2)), model.pool(["a"])
    with pytest.raises(grurt.StreamIdError, match=r"ids\[2\] is 0: the stream is named twice"):
        pool.step([0, 1, 0, 1, 0], np.zeros((5, 3), np.float32))
    with pytest.raises(grurt.StreamIdError, match="expected a sequence of ids, got NoneType"):
        named.step(None, np.zeros((1, 3)))
    with pytest.raises(grurt.StreamIdError, match=r"there is no stream \['a'\]"):
        named.step([["a"]], np.zeros((1, 3)))
    with pytest.raises(grurt.StreamIdError, match="this pool names its streams: expected an id, got none"):
        named.add()
    loose = model.pool(1, nonfinite="propagate")
    loose.step([0], np.full((1, 3), np.nan))
    with pytest.raises(grurt.SnapshotError, match="holds a NaN or an infinity among the inputs that a layer keeps"):
        pool.restore(0, loose.snapshot(0))
