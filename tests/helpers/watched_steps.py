"""Runs random step programs with kernels in plain Python, and looks at every number that a step reads and writes.

What a step reads and writes lies in the storages of its views, and up to 15 numbers behind them, which it does not
change, always within memory that was allocated; or in its own working memory, or among the weights. Memory that a
program has not yet written is NaN: nothing that it answers comes from there.

``GRURT_ENGINE=python python tests/helpers/watched_steps.py answers.npz 0 10`` does that with ten programs, and writes
their answers to a file.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any

import models
import numpy as np
import step_programs

import grurt
from grurt.kernels import codes, operations, simd
from grurt.kernels.programs import walk
from grurt.kernels.programs.tables import TEMPORARY_BYTES
from grurt.kernels.sizes import F32_BYTES, I64_BYTES
from grurt.lanes import LANES
from grurt.lowering.programs import tables
from grurt.lowering.programs.steps import Step
from grurt.lowering.programs.views import Storage

N_STEPS = 3

Range = tuple[int, int]
"""Addresses: the first, and the one behind the last."""

_memory = simd.memory


class Watch:
    """Looks at the memory of one program while its steps run."""

    def __init__(self, model: grurt.Model, steps: Sequence[Step]) -> None:
        self.plan = model.plan
        self.steps = steps
        self.n_accesses = 0
        self.allocated: list[Range] = []
        self.allowed: list[Range] | None = None

    def begin(self, c: int, op: int, out: Any, first: int, n_rows: int, streams: int) -> None:
        """Note the memory of a call, fill the arena with NaN, and run the program."""
        weights, scratch = (number_at(c, slot) for slot in (codes.CONTEXT_WEIGHTS, codes.CONTEXT_SCRATCH))
        rows = number_at(c, codes.CONTEXT_CAPACITY)
        state = number_at(c, codes.CONTEXT_STATES)
        n_states = 1 + max((number_at(streams, row) for row in range(n_rows)), default=0) if streams else 1
        self.allocated = [
            (weights, weights + self.plan.weights.nbytes),
            (scratch, scratch + F32_BYTES * rows * self.plan.scratch_size),
            (state, state + n_states * self.plan.initial_state.nbytes),
        ]
        arena = scratch + rows * number_at(op, codes.OP_TEMP)
        size = scratch + F32_BYTES * rows * self.plan.scratch_size - arena
        _memory(arena, np.float32, size // F32_BYTES)[:] = np.nan
        _run_program(c, op, out, first, n_rows, streams)

    def run(self, kernel: Callable[[int, int], None], bases: int, step: int, number: int) -> None:
        """Run a step, and look at what it reads and writes."""
        its = self.steps[number]
        read = [self._range(bases, storage, LANES - 1) for storage in its.storages]
        tables_of_step = (bases - TEMPORARY_BYTES, bases + I64_BYTES * (codes.BASE_INPUTS + 64))
        self.allowed = [*read, tables_of_step, self.allocated[0]]
        before = [_memory(begin, np.uint8, end - begin).copy() for begin, end in self.allocated]
        kernel(bases, step)
        self.allowed = None
        written = [self._range(bases, view.storage, 0) for view in its.outputs]
        written += [self._range(bases, storage, 0) for storage in its.work]
        for (begin, end), old in zip(self.allocated, before, strict=True):
            changed = _memory(begin, np.uint8, end - begin) != old
            for low, high in (*written, (bases - TEMPORARY_BYTES, bases)):
                changed[max(0, low - begin) : max(0, high - begin)] = False
            assert not changed.any(), (type(its).__name__, number, np.flatnonzero(changed))

    def memory(self, address: int, dtype: Any, count: int) -> Any:
        """Return memory as kernels see it, if they may."""
        end = address + np.dtype(dtype).itemsize * count
        for ranges in (self.allowed, self.allocated) if self.allowed is not None else ():
            assert ranges is not None
            assert any(low <= address and end <= high for low, high in ranges), (address, end, ranges)
            self.n_accesses += 1
        return _memory(address, dtype, count)

    def _range(self, bases: int, storage: Storage, behind: int) -> Range:
        begin = number_at(bases, storage.base) + F32_BYTES * storage.offset
        return begin, begin + F32_BYTES * (storage.size + behind)


def number_at(address: int, place: int) -> int:
    """Return the int64 at a place of a table."""
    return int(_memory(address + I64_BYTES * place, np.int64, 1)[0])


def watched(seed: int) -> dict[str, Any]:
    """Return what a random program answers, step by step, in a block and in a pool; AssertionError if it is amiss."""
    model = program_of(seed)
    watch = Watch(model, _lowered_steps(model))
    operations._run_program = watch.begin
    simd.memory = watch.memory
    for name, kernel in KERNELS.items():
        setattr(walk, name, _watched_kernel(kernel, watch))
    found = answers(model, seed)
    assert watch.n_accesses
    return found


def answers(model: grurt.Model, seed: int) -> dict[str, Any]:
    """Return what a program answers step by step, in a block, and in a pool, by seed, call and output."""
    xs = models.random_inputs(model.inputs, N_STEPS, np.random.default_rng(seed))
    stream, pool = model.stream(), model.pool(3)
    pool.step([2], {name: x[:1] for name, x in xs.items()})
    found = {
        "step": [stream.step({name: x[t] for name, x in xs.items()}) for t in range(N_STEPS)][-1],
        "run": model.stream().run(xs),
        "pool": pool.step([1, 2, 0], {name: np.stack([x[0], x[1], x[0]]) for name, x in xs.items()}),
    }
    return {
        f"{seed} {call} {output.name}": answer[output.name] if isinstance(answer, dict) else answer
        for call, answer in found.items()
        for output in model.outputs
    }


def program_of(seed: int) -> grurt.Model:
    """Return the random program of a seed: every second one with weights in fewer bits."""
    model = step_programs.random_step_program(seed)
    return step_programs.in_any_format(model, np.random.default_rng(seed)) if seed % 2 else model


def _lowered_steps(model: grurt.Model) -> Sequence[Step]:
    found: list[Sequence[Step]] = []

    def write(self: tables.StepTables, steps: Sequence[Step]) -> int:
        found.append(steps)
        return _write(self, steps)

    tables.StepTables.write = write  # type: ignore[method-assign]
    assert model.plan
    tables.StepTables.write = _write  # type: ignore[method-assign]
    return found[0]


def _watched_kernel(kernel: Callable[[int, int], None], watch: Watch) -> Callable[[int, int], None]:
    def run(bases: int, step: int) -> None:
        program = watch.plan.operations[watch.plan.operations[:, codes.OP_KIND] == codes.PROGRAM][0]
        first = number_at(bases, codes.BASE_WEIGHTS) + program[codes.OP_STEPS]
        watch.run(kernel, bases, step, int(step - first) // (F32_BYTES * codes.STEP_SLOTS))

    return run


_run_program = operations._run_program
_write = tables.StepTables.write
KERNELS = {name: getattr(walk, name) for name in dir(walk) if name.startswith("run_") and name != "run_steps"}


if __name__ == "__main__":
    found: dict[str, Any] = {}
    for number in range(int(sys.argv[2]), int(sys.argv[3])):
        found |= watched(number)
    np.savez(sys.argv[1], **found)
