"""Blocks of different lengths in one call of a pool: the bits of single streams, or nothing at all."""

from __future__ import annotations

from itertools import chain
from typing import Any

import models
import numpy as np
import pytest
import step_programs
from hypothesis import given, settings
from hypothesis import strategies as st

import grurt
from grurt.errors import ConcurrentUseError, InputShapeError, InputTypeError, InputValueError, StreamIdError
from grurt.runtime.ragged import even_blocks

N_STREAMS = 12
MODEL = models.gru_model(3, 17, np.random.default_rng(170))


def inputs_of(model: grurt.Model, n_rows: int, rng: np.random.Generator) -> dict[str, Any]:
    return {
        port.name: rng.normal(size=(n_rows, port.size)).astype(np.float32)
        if isinstance(port, grurt.Input)
        else rng.integers(0, port.vocabulary_size, n_rows)
        for port in model.inputs
    }


def named(answers: Any) -> dict[str, np.ndarray]:
    return answers if isinstance(answers, dict) else {"y": answers}


@pytest.mark.slow
@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), threads=st.sampled_from([1, 2]), names=st.booleans())
def test_they_have_the_bits_of_single_streams(seed: int, threads: int, names: bool) -> None:
    rng = np.random.default_rng(seed)
    model = step_programs.program_or_graph(rng, n_layers=4)
    ids = [f"s{i}" for i in range(N_STREAMS)] if names else [*range(N_STREAMS)]
    pool = model.pool(ids if names else N_STREAMS, threads=threads)
    singles = [model.stream() for _ in ids]
    for _ in range(3):
        order = rng.permutation(N_STREAMS)[: rng.integers(1, N_STREAMS + 1)]
        lengths = rng.choice([0, 1, 2, 3, 7, 20], len(order))
        xs = inputs_of(model, int(lengths.sum()), rng)
        answers = named(pool.run_ragged([ids[i] for i in order], xs, lengths))
        ends = np.cumsum(lengths)
        for i, begin, end in zip(order, ends - lengths, ends, strict=True):
            expected = named(singles[i].run({name: x[begin:end] for name, x in xs.items()}))
            for name, answer in named(expected).items():
                assert answers[name if name in answers else "y"][begin:end].tobytes() == answer.tobytes()
    assert [pool.snapshot(stream) for stream in ids] == [single.snapshot() for single in singles]


@given(lengths=st.lists(st.integers(0, 30), max_size=30))
def test_the_parts_hold_every_row_once_and_in_order(lengths: list[int]) -> None:
    counts = np.array(lengths, np.int64)
    rows_of: list[list[int]] = [[] for _ in lengths]
    parts = 0
    for streams, rows in even_blocks(counts):
        parts += 1
        for stream, places in zip(streams.tolist(), rows.tolist(), strict=True):
            rows_of[stream] += places
    assert [len(places) for places in rows_of] == lengths
    assert [*chain.from_iterable(rows_of)] == [*range(sum(lengths))]
    assert parts * (parts + 1) <= 2 * sum(lengths)


@pytest.mark.parametrize(
    ("ids", "rows", "lengths", "error", "message"),
    [
        ([0, 1], 3, [1, 1], InputShapeError, r"as many rows as the lengths are together, 2, got 3"),
        ([0, 1], 3, [3], InputShapeError, r"a length for each of 2 streams, got shape \(1,\)"),
        ([0, 1], 3, [4, -1], InputValueError, r"lengths from 0 to 2\*\*40, got -1 to 4"),
        ([0, 1], 3, [1.5, 1.5], InputTypeError, r"lengths of an integer dtype, got dtype float64"),
        ([0, 0], 3, [1, 2], StreamIdError, r"expected each target once"),
        ([0, 9], 3, [1, 2], StreamIdError, r"there is no stream 9"),
    ],
)
def test_what_does_not_fit_is_refused(ids: list[int], rows: int, lengths: Any, error: type, message: str) -> None:
    pool = MODEL.pool(2)
    with pytest.raises(error, match=rf"StreamPool\.run_ragged: .*{message}"):
        pool.run_ragged(ids, np.zeros((rows, 3), np.float32), lengths)
    assert [pool.steps(i) for i in pool.ids] == [0, 0]


def test_a_nan_in_the_last_row_leaves_all_streams_as_they_were() -> None:
    pool = MODEL.pool(2)
    xs = np.zeros((9, 3), np.float32)
    xs[8, 1] = np.nan
    with pytest.raises(InputValueError, match=r"input 'x' at \[8, 1\]: expected finite numbers"):
        pool.run_ragged([0, 1], xs, [2, 7])
    assert [pool.steps(i) for i in pool.ids] == [0, 0]
    assert np.isnan(MODEL.pool(2, nonfinite="propagate").run_ragged([0, 1], xs, [2, 7])[8]).any()


def test_a_pool_in_use_turns_the_call_away() -> None:
    pool = MODEL.pool(["a"])

    class Reenters:
        def __hash__(self) -> int:
            with pytest.raises(ConcurrentUseError):
                pool.run_ragged(["a"], np.zeros((1, 3), np.float32), [1])
            return 1

    with pytest.raises(StreamIdError):
        pool.reset(Reenters())
