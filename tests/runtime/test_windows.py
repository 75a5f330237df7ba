"""Short sequences by `Model.run`: the quick way gives the bits of the general one."""

from __future__ import annotations

import concurrent.futures
from typing import Any

import models
import numpy as np
import pytest

import grurt
from grurt.errors import InputShapeError, InputTypeError, InputValueError
from grurt.runtime import sequences, windows
from grurt.runtime.sequences import run_arrays

MODELS = {
    "each step": models.gru_model(3, 20, np.random.default_rng(0), output_size=4),
    "last step": models.gru_model(3, 20, np.random.default_rng(0), output_size=4, last_step=True),
    "convolution": models.layer_model(
        grurt.Conv1d(name="conv", input_size=3, output_size=5, kernel_size=4), rng=np.random.default_rng(0)
    ),
    "tokens": models.layer_model(
        grurt.Embedding(name="embedding", vocabulary_size=7, size=3),
        grurt.GRU(name="gru", input_size=3, hidden_size=6, initial_state="learned"),
        rng=np.random.default_rng(0),
    ),
    "reverse": models.gru_model(3, 6, np.random.default_rng(0), direction="reverse"),
    "two outputs": models.layer_model(
        grurt.GRU(name="gru", input_size=3, hidden_size=6),
        grurt.LastStep(name="last"),
        outputs=(grurt.Output("all", "gru"), grurt.Output("end", "last")),
        rng=np.random.default_rng(0),
    ),
}


def sequence(model: grurt.Model, n_steps: int) -> Any:
    (xs,) = models.random_inputs(model.inputs, n_steps, np.random.default_rng(n_steps)).values()
    return xs


def general(model: grurt.Model, xs: Any) -> Any:
    return run_arrays(model, xs, lengths=None, nonfinite="refuse")


def assert_same(found: Any, expected: Any) -> None:
    if isinstance(expected, dict):
        assert found.keys() == expected.keys()
        for name, array in expected.items():
            assert_same(found[name], array)
    else:
        assert found.dtype == expected.dtype
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("name", MODELS)
def test_the_bits_are_those_of_the_general_way(name: str) -> None:
    model = MODELS[name]
    for n_steps in (1, 2, 30, 3, 1000, 1, 5000):
        xs = sequence(model, n_steps)
        for _ in range(2):  # from the initial state each time
            assert_same(model.run(xs), general(model, xs))
        assert_same(model.run(xs[np.newaxis]), general(model, xs[np.newaxis]))


@pytest.mark.parametrize("name", ["each step", "reverse"])
def test_short_sequences_go_the_quick_way(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    xs = sequence(MODELS[name], 30)
    expected = general(MODELS[name], xs)
    monkeypatch.setattr(sequences, "run_arrays", None)
    np.testing.assert_array_equal(windows.run_window(MODELS[name], xs), expected)
    np.testing.assert_array_equal(windows.run_window(MODELS[name], np.asfortranarray(xs)), expected)
    assert windows.run_window(MODELS[name], xs.astype(np.float16)) is None


def test_what_would_keep_much_memory_goes_the_general_way() -> None:
    model = models.gru_model(3, 300, np.random.default_rng(0), direction="reverse")
    most = windows.most_whole_steps(model.plan)
    assert 0 < most < windows.MAX_STEPS
    assert windows.run_window(model, sequence(model, most)) is not None
    assert windows.run_window(model, sequence(model, most + 1)) is None


def test_the_answers_are_the_callers_own() -> None:
    model, xs = MODELS["each step"], sequence(MODELS["each step"], 5)
    first = model.run(xs)
    before = first.copy()
    model.run(-xs)
    np.testing.assert_array_equal(first, before)


XS = sequence(MODELS["each step"], 6)
BAD: dict[str, tuple[Any, type[Exception], str]] = {
    "a NaN": (np.where(np.arange(18).reshape(6, 3) == 7, np.nan, XS).astype(np.float32), InputValueError, r"at \[2, 1"),
    "no timestep": (XS[:0], InputShapeError, "expected at least 1 timestep, got 0"),
    "other features": (np.zeros((6, 4), np.float32), InputShapeError, r"expected shape \(n_steps, 3\), got \(6, 4\)"),
    "no axis": (np.array(1.0, np.float32), InputShapeError, r"expected shape \(n_steps, 3\), got \(\)"),
    "complex": (XS.astype(complex), InputTypeError, "expected real numbers"),
}


@pytest.mark.parametrize(("xs", "error", "message"), BAD.values(), ids=BAD)
def test_what_is_refused_says_why(xs: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        MODELS["each step"].run(xs)
    assert_same(MODELS["each step"].run(XS), general(MODELS["each step"], XS))


def test_what_propagates_is_computed() -> None:
    xs = np.where(np.arange(18).reshape(6, 3) == 7, np.nan, XS).astype(np.float32)
    assert np.isnan(MODELS["each step"].run(xs, nonfinite="propagate")[2:]).all()
    with pytest.raises(InputValueError):
        MODELS["each step"].run(xs)


def test_from_many_threads() -> None:
    model = MODELS["each step"]
    inputs = [sequence(model, n_steps) for n_steps in range(1, 40)]
    expected = [general(model, xs) for xs in inputs]
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        for _ in range(20):
            for found, own in zip(pool.map(model.run, inputs), expected, strict=True):
                np.testing.assert_array_equal(found, own)
