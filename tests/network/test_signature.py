"""Ports that do not fit the model, and runs with lengths: see also `test_model` and `test_axes`."""

from __future__ import annotations

import numpy as np
import pytest

import grurt
from grurt.errors import InputShapeError, InputValueError, ModelError
from grurt.network.signature import Port

X = grurt.ValuePort(name="x", value="x", dtype="float32", axes=("batch", "time", "feature"))
Y = grurt.ValuePort(name="y", value="y", dtype="float32", axes=("batch", "time", "feature"))
LENGTHS = grurt.LengthsPort(name="lens", dtype="int64", axes=("batch",))


def model(signature: grurt.Signature) -> grurt.Model:
    random = np.random.default_rng(0)
    layers = [
        grurt.GRU(name="gru", input_size=2, hidden_size=4, bias=False),
        grurt.Linear(name="fc", input_size=4, output_size=6),
    ]
    shapes = {f"{layer.name}.{name}": shape for layer in layers for name, shape in layer.weight_shapes().items()}
    return grurt.Model(
        layers=layers,
        weights={name: random.uniform(-1, 1, shape) for name, shape in shapes.items()},
        outputs=[grurt.Output("y", "fc")],
        signature=signature,
    )


def state(**options: object) -> grurt.StatePort:
    given = {"name": "h", "states": ("gru",), "dtype": "float32", "axes": ("batch", "feature")} | options
    return grurt.StatePort(**given)  # type: ignore[arg-type]


def value(**options: object) -> grurt.ValuePort:
    return grurt.ValuePort(**({"name": "y", "value": "y", "dtype": "float32", "axes": Y.axes} | options))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("port", "message"),
    [
        (value(positions=2), "port 'y': 2 positions do not fit its axes"),
        (value(positions=4, axes=("batch", "time", "position", "feature")), "port 'y': 4 positions do not fit"),
        (value(axes=("batch", "time", "position", "feature")), "port 'y': 1 positions do not fit"),
        (value(positions=2, axes=("batch", "batch_position", "time", "feature")), "hold the batch twice"),
        (state(positions=2, axes=("batch", "position", "feature")), "expected GRU layers of one hidden size"),
        (state(groups=2), r"port 'h': the axes .* do not fit 1 states"),
        (value(backwards=True, axes=("batch", "feature")), "port 'y': expected a time axis that goes backwards"),
        (value(axes=("batch_time", "time", "feature")), "port 'y': the axes .* do not fit the value 'y'"),
        (value(shape=(6,)), r"port 'y': the shape \(6,\) does not fit its axes, or the size 6"),
        (value(axes=("index",)), r"port 'y': the shape \(\) does not fit"),
        (value(axes=("index", "index"), shape=(2, 2)), r"port 'y': the shape \(2, 2\) does not fit"),
        (value(axes=("index", "index"), shape=(-2, -3)), r"port 'y': the shape \(-2, -3\) does not fit"),
        (value(axes=("index", "one"), shape=(2, 3)), r"port 'y': the shape \(2, 3\) does not fit"),
        (value(axes=("index", "feature"), shape=(6,)), "port 'y': the axes .* do not fit the value 'y'"),
        (value(axes=("index", "position"), shape=(3,), positions=2), r"port 'y': the shape \(3,\) does not fit"),
        (
            state(axes=("index", "index"), shape=(2, 2)),
            r"port 'h': the shape \(2, 2\) does not fit its axes, or the state's \(4,\)",
        ),
        (state(axes=("index",), shape=(4,), states=("fc",)), "port 'h': expected GRU layers of one hidden size"),
        (state(axes=("index",), shape=(4,), dtype="int64"), "port 'h': a state is of floating point"),
    ],
)
def test_ports_that_do_not_fit(port: Port, message: str) -> None:
    outputs = (port,) if port.name == "y" else (Y, port)
    with pytest.raises(ModelError, match=message):
        model(grurt.Signature((X,), outputs))


def test_an_input_has_axes_of_its_own_for_batch_and_time() -> None:
    port = grurt.ValuePort(name="x", value="x", dtype="float32", axes=("batch_time", "feature"))
    with pytest.raises(ModelError, match="port 'x': expected an input with axes of its own for batch and time"):
        model(grurt.Signature((port,), (Y,)))


@pytest.mark.parametrize(
    ("signature", "message"),
    [
        (grurt.Signature((X, LENGTHS), (Y,), (3, 2)), "expected the lengths of sequences once at most"),
        (grurt.Signature((X,), (Y,), (3, -1)), r"signature: expected lengths in \[0, 2147483648\], got -1"),
        (
            grurt.Signature((X, grurt.LengthsPort(name="lens", dtype="int64", axes=("time",))), (Y,)),
            "port 'lens': expected lengths of integers along a batch axis",
        ),
        (
            grurt.Signature((X, grurt.LengthsPort(name="lens", dtype="float32", axes=("batch",))), (Y,)),
            "port 'lens': expected lengths of integers",
        ),
        (grurt.Signature((X, LENGTHS), (value(backwards=True),)), "port 'y': expected timesteps in order"),
    ],
)
def test_lengths_that_do_not_fit(signature: grurt.Signature, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        model(signature)


def test_behind_the_ends_layers_read_zeros() -> None:
    padded = model(grurt.Signature((X, LENGTHS), (Y,)))
    x = np.random.default_rng(1).normal(size=(2, 5, 2)).astype(np.float32)
    x[0, 3:] = np.nan  # is not read
    found = padded.run({"x": x, "lens": [3, 5]})
    assert isinstance(found, dict)
    np.testing.assert_array_equal(found["y"][0, 3:], np.tile(padded.weights["fc.bias"], (2, 1)))
    np.testing.assert_array_equal(found["y"][0, :3], padded.run(x[0, :3]))
    np.testing.assert_array_equal(found["y"][1], padded.run(x[1]))


def test_of_a_sequence_without_timesteps_all_is_zeros() -> None:
    padded = model(grurt.Signature((X, LENGTHS), (Y, state(axes=("state", "batch", "feature")))))
    found = padded.run({"x": np.ones((3, 4, 2)), "lens": [0, 4, 0]})
    assert isinstance(found, dict)
    np.testing.assert_array_equal(found["y"][[0, 2]], np.broadcast_to(padded.weights["fc.bias"], (2, 4, 6)))
    np.testing.assert_array_equal(found["h"][:, [0, 2]], 0)
    np.testing.assert_array_equal(found["y"][1], padded.run(np.ones((4, 2))))


def test_lengths_are_given_once() -> None:
    padded = model(grurt.Signature((X, LENGTHS), (Y,)))
    with pytest.raises(InputShapeError, match="expected lengths once, got the argument and the input 'lens'"):
        padded.run({"x": np.zeros((2, 5, 2)), "lens": [3, 5]}, lengths=[3, 5])
    with pytest.raises(InputValueError, match=r"lengths\[0\]: expected a length in \[0, 5\], got 6"):
        padded.run({"x": np.zeros((2, 5, 2)), "lens": [6, 5]})


def test_lengths_that_the_source_fixes() -> None:
    padded = model(grurt.Signature((X,), (Y,), (2, 4)))
    x = np.random.default_rng(1).normal(size=(2, 4, 2)).astype(np.float32)
    found = padded.run({"x": x})
    assert isinstance(found, dict)
    np.testing.assert_array_equal(found["y"][0, :2], padded.run(x[0, :2]))
    with pytest.raises(InputShapeError, match=r"lengths: expected shape \(3,\), got \(2,\)"):
        padded.run({"x": np.zeros((3, 4, 2))})
