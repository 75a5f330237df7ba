"""Threads, processes and interruptions: a model may be shared, and a stream never answers two callers at once."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import models
import numpy as np
import pytest
from paths import HELPERS

import grurt
from grurt.errors import ConcurrentUseError
from grurt.runtime.context import Context

MESSAGE = "^another thread is using this stream or pool: expected one thread at a time; give each thread a stream of"

Array = np.ndarray[Any, np.dtype[np.float32]]


@pytest.fixture(scope="module")
def model() -> grurt.Model:
    return models.gru_model(3, 5, np.random.default_rng(61), n_layers=2, output_size=2)


@pytest.fixture(scope="module")
def tokens_model() -> grurt.Model:
    layers = (
        grurt.Embedding(name="embed", vocabulary_size=9, size=4),
        grurt.GRU(name="gru", input_size=4, hidden_size=3),
    )
    return models.layer_model(*layers, rng=np.random.default_rng(62))


@contextmanager
def another_thread_inside(context: Context) -> Iterator[None]:
    """Hold the context as a thread does that works with it."""
    entered, leave = threading.Event(), threading.Event()

    def hold() -> None:
        entered.set()
        leave.wait()

    thread = threading.Thread(target=context.exclusively, args=(hold,))
    thread.start()
    entered.wait()
    try:
        yield
    finally:
        leave.set()
        thread.join()


X, XS = np.ones(3, np.float32), np.ones((4, 3), np.float32)

STREAM_CALLS: dict[str, Callable[[grurt.Stream], object]] = {
    "step": lambda stream: stream.step(X),
    "step of a list": lambda stream: stream.step([1, 2, 3]),
    "step with out": lambda stream: stream.step(X, out=np.zeros(2, np.float32)),
    "advance": lambda stream: stream.advance(),
    "run": lambda stream: stream.run(XS),
    "a long run": lambda stream: stream.run(np.ones((1_000, 3), np.float32)),
    "reset": lambda stream: stream.reset(),
    "state": lambda stream: stream.state,
    "state =": lambda stream: setattr(stream, "state", {"gru0": np.zeros(5)}),
    "snapshot": lambda stream: stream.snapshot(),
    "restore": lambda stream: stream.restore(stream.model.stream().snapshot()),
    "fork": lambda stream: stream.fork(),
}


@pytest.mark.parametrize("call", STREAM_CALLS.values(), ids=STREAM_CALLS)
def test_a_stream_in_use_turns_every_call_away(model: grurt.Model, call: Callable[[grurt.Stream], object]) -> None:
    stream = model.stream()
    stream.run(XS)
    before = stream.snapshot()
    with another_thread_inside(stream._context), pytest.raises(ConcurrentUseError, match=MESSAGE):
        call(stream)
    assert stream.snapshot() == before
    call(stream)


def test_a_stream_of_tokens_in_use_turns_a_step_away(tokens_model: grurt.Model) -> None:
    stream = tokens_model.stream()
    with another_thread_inside(stream._context):
        for token in (3, np.int64(3)):
            with pytest.raises(ConcurrentUseError, match=MESSAGE):
                stream.step(token)
    assert stream.steps == 0


POOL_CALLS: dict[str, Callable[[grurt.StreamPool], object]] = {
    "step": lambda pool: pool.step(np.arange(4), XS),
    "step of a list": lambda pool: pool.step([0, 1, 2, 3], XS.tolist()),
    "step by a list": lambda pool: pool.step([0, 1, 2, 3], XS),
    "step with a fault": lambda pool: pool.step([0, 1, 2, 3], np.full_like(XS, np.nan), faults="report"),
    "run": lambda pool: pool.run(np.arange(4), np.ones((4, 6, 3), np.float32)),
    "run with out": lambda pool: pool.run(
        np.arange(4), np.ones((4, 6, 3), np.float32), np.zeros((4, 6, 2), np.float32)
    ),
    "add": lambda pool: pool.add(),
    "drop": lambda pool: pool.drop(1),
    "reset": lambda pool: pool.reset(2),
    "state": lambda pool: pool.state(2),
    "set_state": lambda pool: pool.set_state(2, {"gru0": np.zeros(5)}),
    "snapshot": lambda pool: pool.snapshot(2),
    "restore": lambda pool: pool.restore(2, pool.model.stream().snapshot()),
    "copy": lambda pool: pool.copy([0, 1], [1, 0]),
    "snapshot_many": lambda pool: pool.snapshot_many([0, 1]),
    "restore_many": lambda pool: pool.restore_many([0, 1], pool.model.pool(2).snapshot_many([0, 1])),
}


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("call", POOL_CALLS.values(), ids=POOL_CALLS)
def test_a_pool_in_use_turns_every_call_away(
    model: grurt.Model, call: Callable[[grurt.StreamPool], object], threads: int
) -> None:
    pool = model.pool(5, threads=threads)
    pool.run(range(5), np.ones((5, 6, 3), np.float32))
    before = [pool.snapshot(i) for i in pool]
    with another_thread_inside(pool._front), pytest.raises(ConcurrentUseError, match=MESSAGE):
        call(pool)
    assert [pool.snapshot(i) for i in pool] == before
    call(pool)


class Intruder(str):
    """An id, at whose look-up another thread comes and wants to use the pool."""

    pool: grurt.StreamPool
    turned_away = 0
    __slots__ = ()

    def __hash__(self) -> int:
        if threading.current_thread() is threading.main_thread():
            thread = threading.Thread(target=self.intrude)
            thread.start()
            thread.join()
        return super().__hash__()

    def intrude(self) -> None:
        try:
            self.pool.drop("other")
        except ConcurrentUseError:
            Intruder.turned_away += 1


NAMED_CALLS: dict[str, Callable[[grurt.StreamPool, str], object]] = {
    "step": lambda pool, name: pool.step([name], XS[:1]),
    "run": lambda pool, name: pool.run([name], XS[np.newaxis]),
    "add": lambda pool, name: pool.add(type(name)("third")),
    "drop": lambda pool, name: pool.drop(name),
    "reset": lambda pool, name: pool.reset(name),
    "state": lambda pool, name: pool.state(name),
    "set_state": lambda pool, name: pool.set_state(name, {"gru0": np.zeros(5)}),
    "snapshot": lambda pool, name: pool.snapshot(name),
    "restore": lambda pool, name: pool.restore(name, pool.model.stream().snapshot()),
    "copy": lambda pool, name: pool.copy([name], ["other"]),
    "snapshot_many": lambda pool, name: pool.snapshot_many([name]),
    "restore_many": lambda pool, name: pool.restore_many([name], pool.model.pool(1).snapshot_many([0])),
}


@pytest.mark.parametrize("call", NAMED_CALLS.values(), ids=NAMED_CALLS)
def test_no_thread_comes_between_the_look_up_of_a_stream_and_the_work_on_it(
    model: grurt.Model, call: Callable[[grurt.StreamPool, str], object]
) -> None:
    """Or the place of a stream that was dropped meanwhile, and taken by another, would be worked on."""
    pool = model.pool(["one", "other"])
    Intruder.pool, Intruder.turned_away = pool, 0
    call(pool, Intruder("one"))
    assert Intruder.turned_away > 0
    assert "other" in pool


def hammer(call: Callable[[int], bool], n_threads: int, seconds: float) -> list[int]:
    """Call from several threads as fast as they can, and return how often each was let in."""
    counts = [0] * n_threads
    start = threading.Barrier(n_threads)
    end = time.monotonic() + seconds

    def work(number: int) -> None:
        start.wait()
        done = False
        while not done:
            for _ in range(100):
                counts[number] += call(number)
            done = time.monotonic() > end

    threads = [threading.Thread(target=work, args=(number,)) for number in range(n_threads)]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)  # the GIL changes hands as often as it can
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    return counts


def was_let_in(call: Callable[[], object]) -> bool:
    try:
        call()
    except ConcurrentUseError:
        return False
    return True


def hammer_one_stream_and_check(model: grurt.Model, seconds: float) -> int:
    """Step one stream from three threads, in all the ways there are; return how many calls were let in."""
    stream = model.stream()
    x, block = np.ones(3, np.float32), np.ones((7, 3), np.float32)
    answers: list[Any] = [[] for _ in range(3)]

    def call(number: int) -> bool:
        match number:
            case 0:
                return was_let_in(lambda: answers[0].append(stream.step(x)))
            case 1:
                return was_let_in(lambda: answers[1].append(stream.step([1, 1, 1])))
            case _:
                return was_let_in(lambda: answers[2].append(stream.run(block)))

    counts = hammer(call, 3, seconds)
    n_steps = counts[0] + counts[1] + 7 * counts[2]
    assert stream.steps == n_steps
    # Constant input: every answer must be that of some timestep of the sequence, and none may be given out twice.
    expected = [tuple(y) for y in model.stream().run(np.ones((n_steps, 3), np.float32))]
    found = [tuple(y) for y in answers[0] + answers[1]] + [tuple(y) for ys in answers[2] for y in ys]
    assert sorted(found) == sorted(expected)
    return sum(counts)


@pytest.mark.slow
def test_threads_that_share_a_stream_get_right_answers_or_errors(model: grurt.Model) -> None:
    assert hammer_one_stream_and_check(model, seconds=1) > 100  # of at least 300 calls


@pytest.mark.long
def test_threads_that_share_a_stream_for_a_minute(model: grurt.Model) -> None:
    assert hammer_one_stream_and_check(model, seconds=60) > 100_000


def stream_in_threads_and_check(n_threads: int, seconds: float, turns: int) -> int:
    """Let threads stream on one model until time is up, and this one had its turns; return their timesteps."""
    rng = np.random.default_rng(63)
    model = models.gru_model(8, 96, rng, n_layers=2, output_size=3)
    xs = rng.normal(size=(n_threads, 500, 8)).astype(np.float32)
    expected = model.run(xs)
    wrong: list[int] = []
    rounds = [0] * n_threads
    stop = threading.Event()

    def work(row: int) -> None:
        stream = model.stream()
        out = np.zeros_like(expected[row])
        while not rounds[row] or not stop.is_set():
            stream.reset()
            out.fill(0)
            for t in range(250):
                stream.step(xs[row, t], out=out[t])
            out[250:] = stream.run(xs[row, 250:])
            if out.tobytes() != expected[row].tobytes():
                wrong.append(row)
            rounds[row] += 1

    threads = [threading.Thread(target=work, args=(row,)) for row in range(n_threads)]
    for thread in threads:
        thread.start()
    end = time.monotonic() + seconds
    while time.monotonic() < end or (turns > 0 and time.monotonic() < end + 60):
        time.sleep(0.001)
        turns -= 1
    stop.set()
    for thread in threads:
        thread.join()
    assert turns <= 0
    assert not wrong
    return 500 * sum(rounds)


@pytest.mark.slow
def test_eight_threads_with_streams_of_their_own() -> None:
    assert stream_in_threads_and_check(8, seconds=2, turns=50) >= 8 * 500


@pytest.mark.long
def test_eight_threads_with_streams_of_their_own_for_a_minute() -> None:
    assert stream_in_threads_and_check(8, seconds=60, turns=500) > 100_000


def test_the_gil_is_free_while_a_kernel_runs() -> None:
    """Another thread executes bytecode during one call, that begins and ends with the GIL."""
    rng = np.random.default_rng(64)
    pool = models.gru_model(64, 256, rng).pool(64)
    xs, out = rng.normal(size=(64, 200, 64)).astype(np.float32), np.zeros((64, 200, 256), np.float32)
    ids = np.arange(64)
    turns = 0
    stop = threading.Event()

    def count() -> None:
        nonlocal turns
        while not stop.is_set():
            turns += 1
            time.sleep(0)

    other = threading.Thread(target=count)
    other.start()
    before = turns
    pool.run(ids, xs, out)
    during = turns - before
    stop.set()
    other.join()
    assert during > 100


def test_a_step_of_a_small_model_keeps_the_gil(model: grurt.Model) -> None:
    """Another thread that wants the GIL does not get it between two steps, and the steps do not wait for it."""
    stream = model.stream()
    x = np.zeros(3, np.float32)
    out = stream.step(x)
    turns = 0
    go = threading.Event()

    def count() -> None:
        nonlocal turns
        go.wait()
        turns += 1

    other = threading.Thread(target=count)
    other.start()
    interval = sys.getswitchinterval()
    sys.setswitchinterval(100)  # seconds: only who lets go of the GIL loses it
    try:
        go.set()
        for _ in range(100):
            stream.step(x, out)
        assert turns == 0
    finally:
        sys.setswitchinterval(interval)
    other.join()
    assert turns == 1


def answer_from_snapshot(path: str, saved: bytes, xs: Array) -> bytes:
    """Go on with a stream in another process."""
    stream = grurt.load(path).stream()
    stream.restore(saved)
    return bytes(np.asarray(stream.run(xs)).tobytes())


@pytest.mark.slow
@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_a_stream_goes_on_in_a_new_process(model: grurt.Model, method: str, tmp_path: Path) -> None:
    if method not in multiprocessing.get_all_start_methods():
        pytest.skip(f"this system has no {method}")
    xs = np.random.default_rng(65).normal(size=(20, 3)).astype(np.float32)
    model.save(tmp_path / "model.grurt")
    stream = model.stream()
    stream.run(xs[:9])
    with multiprocessing.get_context(method).Pool(1) as processes:
        arguments = (str(tmp_path / "model.grurt"), stream.snapshot(), xs[9:])
        found = processes.apply(answer_from_snapshot, arguments)
    assert found == stream.run(xs[9:]).tobytes()


def run_script(script: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", script]
    return subprocess.run(command, cwd=HELPERS, timeout=600, check=False, capture_output=True, text=True)


FORKED = """
import os, sys, threading
import numpy as np
import models, grurt
model = models.gru_model(32, 256, np.random.default_rng(0))
xs = np.ones((20_000, 32), np.float32)
idle, busy = model.stream(), model.stream()
idle.run(xs[:3])
expected = idle.fork().run(xs[:5])
inside = threading.Thread(target=busy.run, args=(xs,))
inside.start()
while not busy.steps:
    pass
child = os.fork()
if child == 0:
    ok = np.array_equal(idle.run(xs[:5]), expected) and np.array_equal(model.stream().run(xs[:2]), model.run(xs[:2]))
    try:
        busy.step(xs[0])
    except grurt.ConcurrentUseError:
        os._exit(0 if ok else 1)
    os._exit(2)
assert np.array_equal(idle.run(xs[:5]), expected)
inside.join()
assert busy.steps == 20_000
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_fork_takes_idle_streams_along_and_refuses_those_in_use() -> None:
    """The thread that was inside a stream does not live on in the child, so its state is half of something there."""
    result = run_script(FORKED)
    assert (result.returncode, result.stderr) == (0, "")


INTERRUPTED = """
import signal, sys, threading, time
import numpy as np
import models
model = models.gru_model(32, 256, np.random.default_rng(0))
xs = np.random.default_rng(1).normal(size=(400_000, 32)).astype(np.float32)
stream = model.stream()
stream.run(xs[:10])

def interrupted_after(call):
    begun = time.process_time()
    timer = threading.Timer(0.3, signal.raise_signal, [signal.SIGINT])
    try:
        timer.start()
        call()
    except KeyboardInterrupt:
        return time.process_time() - begun
    finally:
        timer.join()
    sys.exit("it was not interrupted")

whole = interrupted_after(lambda: model.run(xs))
streamed = interrupted_after(lambda: stream.run(xs))
assert 10 <= stream.steps < 400_000, stream.steps
done = stream.steps - 10
again = model.stream()
again.run(xs[:10])
again.run(xs[:done])
assert again.snapshot() == stream.snapshot()
assert np.array_equal(stream.run(xs[:5]), again.run(xs[:5]))
print(whole, streamed)
"""


@pytest.mark.slow
def test_ctrl_c_ends_a_long_run_soon_and_leaves_a_state_that_can_go_on() -> None:
    """Seconds of work, interrupted after 0.3 s: it takes hardly more, and the stream stands after whole timesteps."""
    result = run_script(INTERRUPTED)
    assert (result.returncode, result.stderr) == (0, "")
    assert all(float(seconds) < 1 for seconds in result.stdout.split())


def test_a_long_run_gives_the_bits_of_short_ones_and_checks_all_of_its_input_first(model: grurt.Model) -> None:
    xs = np.random.default_rng(66).normal(size=(5_000, 3)).astype(np.float32)
    stream, other = model.stream(), model.stream()
    found = stream.run(xs)
    expected = np.concatenate([other.run(part) for part in np.split(xs, 50)])
    assert found.tobytes() == expected.tobytes()
    assert stream.snapshot() == other.snapshot()
    xs[4_999, 2] = np.nan
    with pytest.raises(grurt.InputValueError, match=r"input 'x' at \[4999, 2\]: expected finite numbers, got nan"):
        stream.run(xs)
    assert stream.snapshot() == other.snapshot()
