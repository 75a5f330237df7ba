"""Threads that change everything a caller can change, while others step and run.

``python tests/helpers/mutation_stress.py SECONDS`` prints how often each outcome came, as JSON. What comes that is not
an answer, an exception of grurt's, or one of the caller's own containers, ends it with a traceback; so does a guard
beside an output that has been written over. A crash ends it without.
"""

from __future__ import annotations

import faulthandler
import json
import random
import sys
import threading
import time
import weakref
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import models
import numpy as np

import grurt

N_STREAMS = 400
N_STEPS = 60
GUARD = 4096
CANARY = np.float32(12345.5)

OF_CONTAINERS = (IndexError, RuntimeError, ValueError, KeyError, BufferError)
"""What Python and NumPy say of containers and arrays that change: to who changes them, and to who reads them."""


class Shared:
    """What all threads use at once, without any lock."""

    def __init__(self, seed: int) -> None:
        rng = np.random.default_rng(seed)
        small = models.gru_model(8, 16, rng, output_size=4)
        large = models.gru_model(16, 64, rng)
        two = models.layer_model(
            grurt.Concat(name="both", inputs=("a", "b")),
            grurt.GRU(name="gru", input_size=16, hidden_size=16),
            inputs=(grurt.Input("a", 8), grurt.Input("b", 8)),
            rng=rng,
        )
        tokens = models.layer_model(
            grurt.Embedding(name="embed", vocabulary_size=50, size=8),
            grurt.GRU(name="gru", input_size=8, hidden_size=16),
            rng=rng,
        )
        self.names = [f"s{i}" for i in range(N_STREAMS)]
        self.small, self.large, self.two, self.tokens = small, large, two, tokens
        self.pools: list[grurt.StreamPool] = [
            small.pool(N_STREAMS),
            small.pool(self.names),
            large.pool(N_STREAMS, threads=2),
            two.pool(self.names),
            tokens.pool(N_STREAMS),
        ]
        self.streams = [model.stream() for model in (small, large, two, tokens)]
        self.saved = {id(pool): pool.model.stream().snapshot() for pool in self.pools}
        self.saved_many = {id(pool): pool.snapshot_many(pool.ids[:9]) for pool in self.pools}
        self.active: list[Any] = [*self.names[:50]]
        self.numbers: list[Any] = [*range(50)]
        self.ids = np.arange(50)
        self.row: list[Any] = [0.5] * 8
        self.block: list[Any] = [self.row, [*self.row]]
        self.lengths = np.full(50, N_STEPS)
        self.token_block = np.zeros((50, N_STEPS), np.int64)
        self.state = {"gru0": np.zeros(16), "gru": np.zeros(16, np.float32)}
        self.guarded: list[Any] = []
        self.renew()

    def renew(self) -> None:
        """Make new arrays, where the others have been reshaped beyond use."""
        self.inputs = {
            size: [np.zeros((50, size), np.float32), np.zeros((50, N_STEPS, size), np.float32)] for size in (8, 16)
        }
        self.rows = {size: np.zeros(size, np.float32) for size in (8, 16)}
        self.mapping: dict[str, Any] = {"a": self.inputs[8][0], "b": self.inputs[8][0].copy()}
        self.outputs: list[Any] = []
        for shape in ((50, 4), (50, N_STEPS, 4), (50, 64), (50, N_STEPS, 64), (50, 16)):
            room = np.full(int(np.prod(shape)) + 2 * GUARD, CANARY, np.float32)
            self.guarded.append(room)
            self.outputs.append(room[GUARD:-GUARD].reshape(shape))
        self.outputs += [np.zeros(shape, np.float32) for shape in ((50, N_STEPS, 64), (50, 4), (4,), (64,))]

    def check_guards(self) -> None:
        """Raise unless nothing was written beside the outputs."""
        for room in self.guarded:
            assert (room[:GUARD] == CANARY).all(), "written before an output"
            assert (room[-GUARD:] == CANARY).all(), "written behind an output"
        del self.guarded[:-40]


def safely(array: Any, work: Callable[[Any], Any]) -> Any:
    """Work with NumPy on an array that others resize: NumPy lets go of the GIL, and does not hold the memory itself."""
    held = weakref.ref(array)
    result = work(array.view())
    del held
    return result


def calls(shared: Shared, pick: random.Random) -> list[Callable[[], object]]:
    """Return the calls of one thread that steps and runs."""

    def pool_call() -> None:
        pool = pick.choice(shared.pools)
        ids: Any = pick.choice([shared.ids, shared.numbers, shared.active, range(50), tuple(shared.active)])
        x: Any = pick.choice([*shared.inputs[8], *shared.inputs[16], shared.mapping, shared.token_block])
        if pick.random() < 0.2 and isinstance(x, np.ndarray):
            x = safely(x, lambda own: own.astype(np.float64))
        out = pick.choice([None, *shared.outputs])
        pick.choice([pool.step, pool.run])(ids, x, out, faults=pick.choice(["raise", "report"]))

    def stream_call() -> None:
        stream = pick.choice(shared.streams)
        row: Any = pick.choice([*shared.rows.values(), shared.mapping, shared.row])
        blocks = [block for block, _ in shared.inputs.values()]
        block: Any = pick.choice([*blocks, shared.mapping, shared.lengths, shared.block])
        match pick.randrange(4):
            case 0:
                stream.step(row, pick.choice([None, *shared.outputs]))
            case 1:
                stream.run(block, pick.choice([None, *shared.outputs]))
            case 2:
                stream.step(pick.randrange(60))
            case _:
                stream.advance()

    def model_call() -> None:
        model = pick.choice([shared.small, shared.large, shared.tokens])
        x = pick.choice([shared.inputs[8][1], shared.inputs[16][1], shared.token_block])
        model.run(x, lengths=pick.choice([None, shared.lengths]))

    def mapping_call() -> None:
        shared.two.run(shared.mapping if pick.random() < 0.5 else {"a": shared.inputs[8][1], "b": shared.inputs[8][1]})

    return [pool_call] * 6 + [stream_call] * 2 + [model_call, mapping_call]


def mutations(shared: Shared, pick: random.Random) -> list[Callable[[], object]]:
    """Return the changes of one thread that spoils what the others use."""

    def arrays() -> list[Any]:
        found = [*shared.inputs[8], *shared.inputs[16], *shared.rows.values(), *shared.outputs]
        found += [shared.ids, shared.lengths, shared.token_block]
        found += [part for saved in shared.saved_many.values() for part in saved[:2]]
        return [*found, *(stream.input for stream in shared.streams), *(stream.output for stream in shared.streams)]

    def reshape() -> None:
        array = pick.choice(arrays())
        array.shape = pick.choice([(-1,), (1, -1), (-1, 1), (50, -1), (50, N_STEPS, -1)])

    def resize() -> None:
        array = pick.choice(arrays())
        array.resize(pick.choice([(1,), (50, 8), (50, N_STEPS, 8), (0,), (100_000,)]), refcheck=False)

    def write() -> None:
        value = pick.choice([0, 1, 7, 10**9])
        safely(pick.choice(arrays()), lambda own: own.fill(value))

    def flags() -> None:
        pick.choice(arrays()).setflags(write=pick.random() < 0.8)

    def ids() -> None:
        which, everything = pick.choice([(shared.active, shared.names), (shared.numbers, [*range(N_STREAMS)])])
        match pick.randrange(5):
            case 0:
                which.extend(pick.sample(everything, 40))
            case 1:
                del which[pick.randrange(60) :]
            case 2:
                which[pick.randrange(len(which))] = pick.choice([*everything, "nobody", None, [], 10**30])
            case 3:
                which[:] = pick.sample(everything, 50)
            case _:
                which.reverse()

    def lists() -> None:
        match pick.randrange(5):
            case 0:
                shared.row.append(random.random())
            case 1:
                del shared.row[pick.randrange(9) :]
            case 2:
                shared.row[pick.randrange(8)] = pick.choice([random.random(), pick.randrange(10**20), None, True])
            case 3:
                shared.row[:] = [random.random() for _ in range(8)]
            case _:
                shared.block[:] = [shared.row, *([random.random()] * 8 for _ in range(pick.randrange(70)))]

    def mapping() -> None:
        match pick.randrange(3):
            case 0:
                shared.mapping.pop(pick.choice(["a", "b"]))
            case 1:
                shared.mapping[pick.choice(["a", "b", "c"])] = pick.choice(arrays())
            case _:
                shared.mapping.clear()

    def streams() -> None:
        pool = pick.choice(shared.pools)
        stream_id = pick.choice([*shared.names, *range(N_STREAMS)])
        match pick.randrange(10):
            case 0:
                pool.drop(stream_id)
            case 1:
                pool.add() if pick.random() < 0.5 else pool.add(stream_id)
            case 2:
                pool.reset(stream_id)
            case 3:
                pool.restore(stream_id, shared.saved[id(pool)])
            case 4:
                pool.snapshot(stream_id)
            case 5:
                pool.set_state(stream_id, shared.state)
            case 6:
                shared.saved_many[id(pool)] = pool.snapshot_many(
                    pick.choice([shared.ids, shared.numbers, shared.active])
                )
            case 7:
                pool.restore_many(pool.ids[:9], shared.saved_many[id(pool)])
            case 8:
                pool.copy(pick.choice([shared.ids, shared.numbers, shared.active]), shared.active)
            case _:
                assert len([*pool]) <= N_STREAMS * 20, "more streams than there can be"

    def own_streams() -> None:
        stream = pick.choice(shared.streams)
        match pick.randrange(5):
            case 0:
                stream.reset()
            case 1:
                stream.restore(stream.snapshot())
            case 2:
                stream.state = shared.state
            case 3:
                stream.fork().step(shared.rows[8])
            case _:
                shared.state[pick.choice(["gru0", "gru"])].resize((pick.choice([1, 16, 64]),), refcheck=False)

    return [reshape, resize, write, flags, ids, ids, lists, mapping, streams, streams, own_streams, shared.renew]


def work(
    act: Callable[[], Callable[[], object]], counts: Counter[str], end: float, faults: list[BaseException]
) -> None:
    """Act until time is up, and count what comes of it."""
    while time.monotonic() < end and not faults:
        try:
            act()()
        except grurt.GrurtError as error:
            counts[type(error).__name__] += 1
        except OF_CONTAINERS as error:
            counts[f"{type(error).__name__} of a container"] += 1
        except BaseException as error:
            faults.append(error)
        else:
            counts["done"] += 1


def stress(seconds: float, n_threads: int = 20, seed: int = 0) -> dict[str, int]:
    """Let half of the threads call, and half of them change; return how often each outcome came."""
    shared = Shared(seed)
    end = time.monotonic() + seconds
    counts: list[Counter[str]] = []
    faults: list[BaseException] = []
    threads = []
    for number in range(n_threads):
        pick = random.Random(1000 * seed + number)
        acts = calls(shared, pick) if number % 2 else mutations(shared, pick)
        counts.append(Counter())
        arguments = (lambda pick=pick, acts=acts: pick.choice(acts), counts[-1], end, faults)
        threads.append(threading.Thread(target=work, args=arguments))
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        time.sleep(0.05)
        with suppress(IndexError):
            shared.check_guards()
    if faults:
        raise faults[0]
    total: Counter[str] = sum(counts, Counter())
    assert all(len(pool) == len([*pool]) for pool in shared.pools), "a pool has lost count"
    check_answers(shared)
    return dict(total)


def check_answers(shared: Shared) -> None:
    """Raise unless every pool gives the answers of single streams, after all that."""
    rng = np.random.default_rng(0)
    for pool in shared.pools:
        ids = [*pool][:30]
        xs = {
            port.name: rng.integers(0, 50, (len(ids), 5)) if port.tokens else rng.normal(size=(len(ids), 5, port.size))
            for port in pool.model.inputs
        }
        fresh = pool.model.stream()
        for stream_id in ids:
            pool.restore(stream_id, fresh.snapshot())
        answers = pool.run(ids, xs)
        for row, answer in enumerate(answers):
            expected = pool.model.stream().run({name: array[row] for name, array in xs.items()})
            assert answer.tobytes() == expected.tobytes(), "a wrong answer"


if __name__ == "__main__":
    faulthandler.enable()
    sys.setswitchinterval(1e-5)
    print(json.dumps(stress(float(sys.argv[1]))))
