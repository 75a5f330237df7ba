"""The same model and the same inputs give the same bits, however the timesteps are handed in."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, get_args

import models
import numpy as np
import pytest
import step_programs
from bits import Answers, assert_same_bits, named, run_in_blocks, stepped
from hypothesis import given, settings
from hypothesis import strategies as st

import grurt

SEEDS = st.integers(0, 2**32 - 1)

LONG: dict[str, Callable[[], None]] = {}
"""By name, the tests on random models with many more of them, which are others each time."""


def on_random_models(max_examples: int, **strategies: st.SearchStrategy[Any]) -> Callable[[Any], Any]:
    """Return a decorator that makes a property test of a function, and the long form of it."""

    def decorate(check: Any) -> Any:
        LONG[check.__name__] = settings(deadline=None, max_examples=1_000, database=None)(given(**strategies)(check))
        return settings(deadline=None, max_examples=max_examples, derandomize=True)(given(**strategies)(check))

    return decorate


def random_model(rng: np.random.Generator, **options: Any) -> grurt.Model:
    """Return a random program or model, with weights of a random format."""
    model = step_programs.program_or_graph(rng, n_layers=6, **options)
    weights = rng.choice(get_args(grurt.network.layers.base.WeightFormat))
    is_program = isinstance(model.layers[0], grurt.Program)
    if is_program or weights == "float32" or not any(models.can_be_quantized(layer) for layer in model.layers):
        return model
    return model.quantize(weights)


@on_random_models(80, seed=SEEDS, n_steps=st.integers(1, 200), cuts=st.lists(st.integers(0, 1000), max_size=5))
def test_steps_and_blocks(seed: int, n_steps: int, cuts: list[int]) -> None:
    rng = np.random.default_rng(seed)
    model = random_model(rng)
    inputs = models.random_inputs(model.inputs, n_steps, rng)
    by_step = model.stream()
    by_block = model.stream()
    whole = model.stream()
    by_step.state = by_block.state = whole.state = models.random_states(model, rng)
    expected = stepped(by_step, inputs)
    assert_same_bits(run_in_blocks(by_block, inputs, cuts), expected)
    assert_same_bits(named(model, whole.run(inputs)), expected)
    assert_same_bits(by_block.state, by_step.state)
    assert_same_bits(whole.state, by_step.state)


@on_random_models(40, seed=SEEDS, n_steps=st.integers(1, 200), batch=st.integers(1, 9))
def test_streams_and_whole_sequences(seed: int, n_steps: int, batch: int) -> None:
    """A batch with lengths is so many streams; behind LastStep stands their last answer."""
    rng = np.random.default_rng(seed)
    model = random_model(rng)
    lengths = rng.integers(1, n_steps + 1, batch)
    rows = [models.random_inputs(model.inputs, n_steps, rng) for _ in range(batch)]
    inputs = {name: np.stack([row[name] for row in rows]) for name in rows[0]}
    found = model.run(inputs, lengths=lengths)
    assert isinstance(found, dict)
    for row, length in enumerate(lengths):
        streamed = stepped(model.stream(), {name: xs[:length] for name, xs in rows[row].items()})
        for output in model.outputs:
            answers = streamed[output.name]
            if model.values[output.value].per_step:
                assert_same_bits({"y": found[output.name][row, :length]}, {"y": answers})
                assert not found[output.name][row, length:].any()
            else:
                assert_same_bits({"y": found[output.name][row]}, {"y": answers[-1]})


@on_random_models(40, seed=SEEDS, batch=st.integers(1, 4))
def test_a_batch_is_its_sequences_also_for_models_that_cannot_stream(seed: int, batch: int) -> None:
    rng = np.random.default_rng(seed)
    model = random_model(rng, streams=False)
    n_steps = int(rng.integers(1, 200))
    lengths = rng.integers(1, n_steps + 1, batch)
    rows = [models.random_inputs(model.inputs, n_steps, rng) for _ in range(batch)]
    found = model.run({name: np.stack([row[name] for row in rows]) for name in rows[0]}, lengths=lengths)
    assert isinstance(found, dict)
    for row, length in enumerate(lengths):
        alone = model.run({name: xs[np.newaxis, :length] for name, xs in rows[row].items()})
        assert isinstance(alone, dict)
        for output in model.outputs:
            answers = found[output.name][row]
            answers = answers[:length] if model.values[output.value].per_step else answers
            assert_same_bits({"y": answers}, {"y": alone[output.name][0]})


@pytest.mark.parametrize("hidden_size", [1, 3, 8, 15, 16, 17, 31, 64, 100])
@pytest.mark.parametrize("linear_before_reset", [True, False])
def test_every_way_to_run_one_gru(hidden_size: int, linear_before_reset: bool) -> None:
    rng = np.random.default_rng(hidden_size)
    options: dict[str, Any] = {"linear_before_reset": linear_before_reset}
    model = models.gru_model(5, hidden_size, rng, n_layers=2, output_size=3, **options)
    xs = rng.normal(size=(23, 5)).astype(np.float32)
    expected = {"y": np.stack([model.stream().run(xs[: t + 1])[-1] for t in range(len(xs))])}
    assert_same_bits(stepped(model.stream(), {"x": xs}), expected)
    assert_same_bits({"y": model.stream().run(xs)}, expected)
    assert_same_bits({"y": model.run(xs)}, expected)
    batch = np.stack([xs[::-1], xs, np.zeros_like(xs)])
    assert_same_bits({"y": model.run(batch)[1]}, expected)
    reversed_memory = np.asfortranarray(xs)
    assert_same_bits({"y": model.stream().run(reversed_memory)}, expected)
    buffer = np.empty((23, 3), np.float32)
    assert model.stream().run(xs, out=buffer) is buffer
    assert_same_bits({"y": buffer}, expected)


@on_random_models(40, seed=SEEDS, n_steps=st.integers(2, 200))
def test_snapshots_forks_and_resets(seed: int, n_steps: int) -> None:
    rng = np.random.default_rng(seed)
    model = random_model(rng)
    inputs = models.random_inputs(model.inputs, n_steps, rng)
    middle = int(rng.integers(n_steps))
    before = {name: xs[:middle] for name, xs in inputs.items()}
    after = {name: xs[middle:] for name, xs in inputs.items()}
    stream = model.stream()
    stream.run(before)
    saved = stream.snapshot()
    fork = stream.fork()
    by_state = model.stream()
    by_state.state = stream.state
    expected = named(model, stream.run(after))
    assert_same_bits(named(model, fork.run(after)), expected)
    assert_same_bits(named(model, by_state.run(after)), expected)
    restored = model.stream()
    restored.run(after)
    restored.restore(saved)
    assert_same_bits(named(model, restored.run(after)), expected)
    stream.reset()
    stream.run(before)
    assert_same_bits(named(model, stream.run(after)), expected)
    assert stream.snapshot() == fork.snapshot()


@on_random_models(30, seed=SEEDS, n_streams=st.integers(1, 12), threads=st.sampled_from([1, 2]))
def test_pools_and_threads(seed: int, n_streams: int, threads: int) -> None:
    """Sequences that a pool advances in any interleaving, and streams in threads of their own, answer as if alone."""
    rng = np.random.default_rng(seed)
    model = random_model(rng)
    lengths = rng.integers(1, 40, n_streams)
    rows = [models.random_inputs(model.inputs, int(length), rng) for length in lengths]
    expected = [stepped(model.stream(), row) for row in rows]
    pool = model.pool(n_streams, threads=threads)
    done = np.zeros(n_streams, np.int64)
    found: list[list[Answers]] = [[] for _ in rows]
    while (left := np.flatnonzero(done < lengths)).size:
        ids = rng.permutation(left)[: rng.integers(1, left.size + 1)]
        n_steps = int(rng.integers(1, (lengths - done)[ids].min() + 1))
        block = {name: np.stack([rows[i][name][done[i] : done[i] + n_steps] for i in ids]) for name in rows[0]}
        answers = named(model, pool.run(ids, block))
        for row, i in enumerate(ids):
            found[i].append({name: array[row] for name, array in answers.items()})
        done[ids] += n_steps
    for i, blocks in enumerate(found):
        assert_same_bits({name: np.concatenate([block[name] for block in blocks]) for name in blocks[0]}, expected[i])
    with ThreadPoolExecutor(4) as executor:
        for answers, alone in zip(executor.map(lambda row: stepped(model.stream(), row), rows), expected, strict=True):
            assert_same_bits(answers, alone)


CONTINUE = """
import sys
import numpy as np
import grurt
folder = sys.argv[1]
for number in range(int(sys.argv[2])):
    stream = grurt.load(f"{folder}/{number}.grurt").stream()
    stream.restore(open(f"{folder}/{number}.snapshot", "rb").read())
    answers = stream.run(dict(np.load(f"{folder}/{number}.npz")))
    answers = answers if isinstance(answers, dict) else {"y": answers}
    np.savez(f"{folder}/{number}.answers.npz", **answers)
"""


@pytest.mark.slow
def test_snapshots_in_another_process(tmp_path: Path) -> None:
    """Twenty random models: saved, loaded elsewhere, and their streams continued there."""
    expected = []
    for number in range(20):
        rng = np.random.default_rng(900 + number)
        model = random_model(rng)
        inputs = models.random_inputs(model.inputs, 60, rng)
        middle = int(rng.integers(60))
        stream = model.stream()
        stream.run({name: xs[:middle] for name, xs in inputs.items()})
        model.save(tmp_path / f"{number}.grurt")
        (tmp_path / f"{number}.snapshot").write_bytes(stream.snapshot())
        rest = {name: xs[middle:] for name, xs in inputs.items()}
        np.savez(tmp_path / f"{number}.npz", **rest)
        answers = stream.run(rest)
        expected.append(answers if isinstance(answers, dict) else {"y": answers})
    subprocess.run([sys.executable, "-c", CONTINUE, tmp_path, "20"], check=True)
    for number, answers in enumerate(expected):
        assert_same_bits(dict(np.load(tmp_path / f"{number}.answers.npz")), answers)


@settings(deadline=None, max_examples=20, derandomize=True)
@given(seed=SEEDS)
def test_a_model_from_a_file(seed: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    rng = np.random.default_rng(seed)
    model = random_model(rng)
    inputs = models.random_inputs(model.inputs, 8, rng)
    path = tmp_path_factory.mktemp("model") / "model.grurt"
    model.save(path)
    assert_same_bits(named(model, grurt.load(path).stream().run(inputs)), named(model, model.stream().run(inputs)))


@pytest.mark.long
@pytest.mark.parametrize("test", LONG.values(), ids=LONG)
def test_a_thousand_random_models(test: Callable[[], None]) -> None:
    test()


def test_random_models_are_of_every_kind_of_layer_and_of_weights() -> None:
    rng = np.random.default_rng(1)
    layers = [
        layer for _ in range(60) for layer in (*random_model(rng).layers, *random_model(rng, streams=False).layers)
    ]
    # no stream has those of the first two kinds, and one of the last one ends: see test_attention.py
    others = {"unfold", "repeat_vector", "attention"}
    assert {layer.kind for layer in layers} | others == {
        kind.__struct_config__.tag for kind in grurt.network.layers.AnyLayer.__args__
    }
    formats = {layer.weight_format for layer in layers if isinstance(layer, grurt.network.layers.MatrixLayer)}
    assert formats == set(get_args(grurt.network.layers.base.WeightFormat))
    grus = [layer for layer in layers if isinstance(layer, grurt.GRU)]
    assert {gru.scan for gru in grus} == {"time", "positions"}
    assert {gru.masked for gru in grus} == {gru.linear_before_reset for gru in grus} == {True, False}
