"""Samples and answers as bytes and as JSON."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from serving import mixed_model

import grurt
from grurt.demo import load_model
from grurt.errors import InputShapeError, InputTypeError, InputValueError
from grurt.serving.layout import layout_of


def test_one_input_is_a_float32_row() -> None:
    layout = layout_of(load_model())
    samples = np.arange(12, dtype="<f4").reshape(2, 6)
    assert layout.n_samples(samples.tobytes()) == 2
    np.testing.assert_array_equal(layout.arrays(samples.tobytes()), samples)
    assert layout.from_json(samples.tolist()) == samples.tobytes()
    assert layout.from_json(samples[0].tolist()) == layout.from_json({"samples": [0, 1, 2, 3, 4, 5]})


def test_several_inputs_lie_one_after_the_other() -> None:
    layout = layout_of(mixed_model())
    assert (layout.sample_bytes, layout.answer_bytes) == (3 * 4 + 8, 2 * 4 + 4 * 4)
    sensor, word = np.array([[1, 2, 3], [4, 5, 6]], "<f4"), np.array([6, 0], "<i8")
    payload = sensor[0].tobytes() + word[:1].tobytes() + sensor[1].tobytes() + word[1:].tobytes()
    arrays = layout.arrays(payload)
    assert isinstance(arrays, dict)
    np.testing.assert_array_equal(arrays["sensor"], sensor)
    np.testing.assert_array_equal(arrays["word"], word)
    assert layout.from_json({"word": [6, 0], "sensor": sensor.tolist()}) == payload
    assert layout.joined({"sensor": sensor, "word": word}, 2) == payload


def test_answers_of_several_outputs() -> None:
    model = mixed_model()
    layout = layout_of(model)
    answers = {"answer": np.ones((3, 2), "f4"), "hidden": np.arange(12, dtype="f4").reshape(3, 4)}
    packed = layout.packed(answers)
    assert packed[:24] == np.array([1, 1, 0, 1, 2, 3], "<f4").tobytes()
    one, several = layout.to_json(packed[:24], single=True), layout.to_json(packed, single=False)
    assert {name: array.tolist() for name, array in one.items()} == {"answer": [1, 1], "hidden": [0, 1, 2, 3]}
    assert several["hidden"].tolist()[2] == [8, 9, 10, 11]


@pytest.mark.parametrize("n_bytes", [0, 1, 23, 25])
def test_half_a_sample_is_none(n_bytes: int) -> None:
    with pytest.raises(InputShapeError, match=f"message: expected samples of 24 bytes each, .* got {n_bytes} bytes$"):
        layout_of(load_model()).n_samples(bytes(n_bytes))


@pytest.mark.parametrize(
    ("value", "error", "message"),
    [
        ([1, 2, 3], InputShapeError, r"expected shape \(6,\), or a list of such, got \(3,\)"),
        ([[1] * 6, [1] * 5], InputShapeError, "expected lists of equal lengths"),
        ([], InputShapeError, r"expected shape \(6,\)"),
        (3.0, InputShapeError, r"got \(\)"),
        ([True] * 6, InputTypeError, "expected numbers, got bool"),
        (["1"] * 6, InputTypeError, "expected numbers, got str"),
        ({"x": [1] * 6}, InputShapeError, "expected inputs by name, samples"),
        ([10**400] * 6, InputValueError, "expected numbers of 64 bits, got a larger one"),
        ([[[[1] * 6]]], InputShapeError, "or a list of such"),
    ],
)
def test_json_that_is_no_sample(value: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        layout_of(load_model()).from_json(value)


def test_tokens_are_integers() -> None:
    layout = layout_of(mixed_model())
    for word, error in ((1.0, InputTypeError), (2**70, InputValueError)):
        with pytest.raises(error):
            layout.from_json({"sensor": [0, 0, 0], "word": word})
    with pytest.raises(InputShapeError, match="as many samples of each input"):
        layout.from_json({"sensor": [[0, 0, 0]], "word": [1, 2]})


@pytest.mark.parametrize(("sensor", "word"), [(np.nan, 0), (np.inf, 0), (0, 7), (0, -1)])
def test_what_cannot_be_computed_with_is_told_by_its_place(sensor: float, word: int) -> None:
    layout = layout_of(mixed_model())
    payload = layout.joined({"sensor": np.full((1, 3), sensor, "f4"), "word": np.array([word])}, 1)
    with pytest.raises(InputValueError, match=r"input '(sensor|word)' at "):
        layout.expect_sound(payload)


def test_a_grid_has_the_shape_of_the_source() -> None:
    model = grurt.Model(
        layers=[grurt.GRU(name="gru", input_size=2, hidden_size=3, bias=False)],
        weights={"gru.weight_ih": np.ones((9, 2)), "gru.weight_hh": np.ones((9, 3))},
    )
    described = [port.described() for port in (*layout_of(model).inputs, *layout_of(model).outputs)]
    assert described == [
        {"name": "x", "dtype": "float32", "shape": [2]},
        {"name": "y", "dtype": "float32", "shape": [3]},
    ]
