"""Months of service in short: millions of timesteps, counters near their end, saturated and vanishing states."""

from __future__ import annotations

import hashlib
import struct

import models
import numpy as np
import pytest
from endurance import TOLERANCE, step_for_long_apart
from floats import is_denormal

import grurt
from grurt import reference
from grurt.kernels import codes


@pytest.mark.slow
def test_a_million_steps() -> None:
    step_for_long_apart(1_000_000, checkpoints=10)


@pytest.mark.long
def test_fifty_million_steps() -> None:
    """Run with ``-s`` to see how the speed at the end compares with that at the beginning."""
    ratio = step_for_long_apart(50_000_000, checkpoints=50)
    print(f"\nthe last tenth took {ratio:.3f} times as long as the first")
    assert ratio < 1.5


def at_step(model: grurt.Model, saved: bytes, n_steps: int) -> bytes:
    """Return a snapshot with another number of timesteps, as if the stream had been running for that long."""
    content = saved[:32] + struct.pack("<Q", n_steps) + saved[40:-16]
    return content + hashlib.blake2b(content, digest_size=16).digest()


@pytest.mark.parametrize("n_steps", [2**31 - 5, 2**32 - 5, 2**53 - 5, 2**61, 2**62 - 20])
def test_counters_pass_the_ends_of_their_types(n_steps: int) -> None:
    """The history of a convolution is a ring that begins where the number of timesteps says."""
    rng = np.random.default_rng(82)
    model = models.layer_model(
        grurt.Conv1d(name="conv", input_size=3, output_size=4, kernel_size=4, dilation=7),
        grurt.GRU(name="gru", input_size=4, hidden_size=9, initial_state="learned"),
        rng=rng,
    )
    xs = rng.normal(size=(60, 3)).astype(np.float32)
    young, old, pool = model.stream(), model.stream(), model.pool(3)
    young.run(xs[:25])
    old.restore(at_step(model, young.snapshot(), n_steps))
    pool.restore(1, old.snapshot())
    assert old.steps == n_steps
    expected = young.run(xs[25:40])
    found = np.stack([old.step(x) for x in xs[25:40]])
    assert found.tobytes() == expected.tobytes()
    assert pool.run([1], xs[np.newaxis, 25:40])[0].tobytes() == expected.tobytes()
    assert old.steps == pool.steps(1) == n_steps + 15
    again = model.stream()
    again.restore(old.snapshot())
    assert again.run(xs[40:]).tobytes() == young.run(xs[40:]).tobytes() == old.run(xs[40:]).tobytes()


@pytest.mark.parametrize("n_calls", [2**31 - 3, 2**32 - 3, 2**53 - 3])
def test_a_pools_count_of_calls_passes_the_ends_of_its_types(n_calls: int) -> None:
    """By this count a pool knows a stream that is named twice in a call."""
    model = models.gru_model(2, 5, np.random.default_rng(86))
    pool, stream = model.pool(4), model.stream()
    xs = np.random.default_rng(87).normal(size=(8, 2)).astype(np.float32)
    pool._front.array[codes.CONTEXT_CALL] = n_calls
    for x in xs:
        assert pool.step(np.array([2]), x[np.newaxis])[0].tobytes() == stream.step(x).tobytes()
        with pytest.raises(grurt.StreamIdError, match="the stream is named twice"):
            pool.step(np.array([1, 1]), xs[:2])
    assert pool._front.array[codes.CONTEXT_CALL] > n_calls + 8


def test_a_count_that_no_stream_can_reach_is_refused() -> None:
    """2^62 timesteps are 146,000 years at a million a second. Counting on from 2^63 - 5 would overflow."""
    model = models.gru_model(2, 3, np.random.default_rng(83))
    for n_steps in (2**62, 2**63 - 5, 2**64 - 1):
        with pytest.raises(grurt.SnapshotError, match="restore: the snapshot is damaged: its state does not have the"):
            model.stream().restore(at_step(model, model.stream().snapshot(), n_steps))


@pytest.mark.parametrize("linear_before_reset", [True, False])
def test_saturated_states_stay_in_range_and_come_back(linear_before_reset: bool) -> None:
    rng = np.random.default_rng(84)
    model = models.gru_model(3, 20, rng, n_layers=2, linear_before_reset=linear_before_reset)
    stream = model.stream()
    for sign in (1, -1, 1):
        ys = stream.run(np.full((500, 3), sign * 3e38, np.float32))
        assert np.abs(ys).max() <= 1
        assert all(np.abs(state).max() <= 1 for state in stream.state.values())
    xs = rng.normal(size=(400, 3)).astype(np.float32)
    states = stream.state
    expected = reference.run(model, {"x": xs}, states)[0]["y"]
    np.testing.assert_allclose(stream.run(xs), expected, rtol=0, atol=TOLERANCE)


def test_denormal_inputs_and_states_are_taken_as_zero_and_cost_nothing() -> None:
    model = models.gru_model(3, 20, np.random.default_rng(85), n_layers=2, initial_state="zeros", bias=False)
    stream, silent = model.stream(), model.stream()
    stream.state = {name: np.full(shape, 1e-41, np.float32) for name, shape in model.state_shapes.items()}
    found = stream.run(np.full((2_000, 3), 1e-41, np.float32))
    assert not is_denormal(found).any()
    assert not any(is_denormal(state).any() for state in stream.state.values())
    np.testing.assert_array_equal(found, silent.run(np.zeros((2_000, 3), np.float32)))
