"""What a stream can reach, it can save and restore: also states beyond float32, where what is computed has no bound."""

from __future__ import annotations

from typing import Any

import models
import msgspec
import numpy as np
import pytest

import grurt
from grurt.errors import InputValueError
from grurt.network import functions as fn

RELU = grurt.GRU(name="gru", input_size=3, hidden_size=4, candidate_activation=grurt.Relu())
OPEN_GATE = grurt.GRU(name="gru", input_size=3, hidden_size=4, gate_activation=grurt.Affine(scale=2.0))
BOUNDED = grurt.GRU(name="gru", input_size=3, hidden_size=4)
BEHIND = (
    grurt.Linear(name="fc", input_size=3, output_size=3),
    grurt.Conv1d(name="conv", input_size=3, output_size=3, kernel_size=3),
)
PROGRAM = grurt.Program(
    name="program",
    input_shapes=((3,),),
    states=(grurt.ProgramState("sum", (3,), "new"), grurt.ProgramState("last", (3, 1), "column")),
    operators=(
        grurt.operators.Combine(inputs=("sum", "fc"), outputs=("new",), operation="add"),
        grurt.operators.Reshape(inputs=("new",), outputs=("column",), shape=(3, 1)),
    ),
    results=("new", "last"),
)
REACHES = {
    "relu": (RELU,),
    "relu, reset before": (msgspec.structs.replace(RELU, linear_before_reset=False),),
    "relu in float16": (msgspec.structs.replace(RELU, weight_format="float16"),),
    "relu in int8": (msgspec.structs.replace(RELU, weight_format="int8"),),
    "a gate beyond 1": (OPEN_GATE,),
    "a history of what was computed": BEHIND,
    "a program": (BEHIND[0], PROGRAM),
}
BOUNDED_BEHIND = (BEHIND[0], BOUNDED)
LARGE = np.float32([[3e38, -3e38, 3e38], [-3e38, 3e38, 3e38]] * 3)


def model_of(layers: tuple[Any, ...]) -> grurt.Model:
    rng = np.random.default_rng(91)
    plain = tuple(
        msgspec.structs.replace(layer, weight_format="float32") if layer.name == "gru" else layer for layer in layers
    )
    model = models.layer_model(*plain, rng=rng)
    weights = {name: 4 * np.sign(array) + array for name, array in model.weights.items()}
    model = grurt.Model(layers=plain, weights=weights)
    wanted = getattr(layers[-1], "weight_format", "float32")
    return model if wanted == "float32" else model.quantize(wanted)


def far_stream(model: grurt.Model) -> grurt.Stream:
    """Return a stream that finite inputs, and a finite state before them, have taken to a state that is not."""
    stream = model.stream()
    stream.state = {name: np.full(shape, 3e38) for name, shape in model.state_shapes.items()}
    stream.run(LARGE)
    assert not all(np.isfinite(state).all() for state in stream.state.values())
    return stream


@pytest.mark.parametrize(
    "layers",
    [*REACHES.values(), (BOUNDED,), BOUNDED_BEHIND],
    ids=[*REACHES, "a sum beyond float32", "behind a sum beyond float32"],
)
def test_a_stream_takes_back_what_it_wrote(layers: tuple[Any, ...]) -> None:
    """Sums go beyond float32 before a bounded function too: infinities of both signs give NaN."""
    model = model_of(layers)
    stream = far_stream(model)
    saved = stream.snapshot()
    expected = stream.run(LARGE[:3])
    stream.restore(saved)
    assert stream.snapshot() == saved
    assert stream.run(LARGE[:3]).tobytes() == expected.tobytes()
    pool = model.pool(2)
    pool.restore(1, saved)
    assert pool.snapshot(1) == saved


@pytest.mark.parametrize("layers", REACHES.values(), ids=REACHES)
def test_a_state_without_bound_is_handed_on(layers: tuple[Any, ...]) -> None:
    model = model_of(layers)
    stream = far_stream(model)
    other, pool = model.stream(), model.pool(["a"])
    other.state = stream.state
    pool.set_state("a", stream.state)
    expected = stream.fork().run(LARGE[:2])
    for found in (other.run(LARGE[:2]), pool.run(["a"], LARGE[np.newaxis, :2])[0]):
        assert found.tobytes() == expected.tobytes()


def test_a_state_without_bound_goes_from_one_run_to_the_next() -> None:
    sequence = ("batch", "time", "feature")
    signature = grurt.Signature(
        (
            grurt.ValuePort(name="x", value="x", axes=sequence, dtype="float32"),
            grurt.StatePort(name="h", states=("gru",), axes=STATE, dtype="float32"),
        ),
        (
            grurt.ValuePort(name="y", value="y", axes=sequence, dtype="float32"),
            grurt.StatePort(name="hn", states=("gru",), axes=STATE, dtype="float32"),
        ),
    )
    relu, bounded = (
        grurt.Model(layers=model.layers, weights=model.weights, signature=signature)
        for model in (model_of((RELU,)), model_of((BOUNDED,)))
    )
    first = relu.run({"x": LARGE[np.newaxis]})
    assert not np.isfinite(first["hn"]).all()
    second = relu.run({"x": LARGE[np.newaxis], "h": first["hn"]})
    whole = relu.run({"x": np.concatenate([LARGE, LARGE])[np.newaxis]})
    assert second["y"].tobytes() == whole["y"][:, len(LARGE) :].tobytes()
    with pytest.raises(InputValueError, match="state 'h': expected finite numbers, got a NaN or an infinity"):
        bounded.run({"x": LARGE[np.newaxis], "h": first["hn"]})


STATE = ("state", "batch", "feature")


def test_a_state_that_has_bounds_is_not_set_beyond_all() -> None:
    """A NaN or an infinity in it is no state of a stream, but a mistake."""
    stream = model_of((BOUNDED,)).stream()
    clipped = model_of((msgspec.structs.replace(RELU, clip=3.0),)).stream()
    history = models.layer_model(BEHIND[1], rng=np.random.default_rng(92)).stream()
    for bad in (np.inf, np.nan):
        for one, state in ((stream, {"gru": np.full(4, bad)}), (clipped, {"gru": np.full(4, bad)})):
            with pytest.raises(InputValueError, match="'gru': expected finite numbers"):
                one.state = state
        with pytest.raises(InputValueError, match="'conv': expected finite numbers"):
            history.state = {"conv": np.full((2, 3), bad)}


POLES: tuple[Any, ...] = (
    grurt.Activation(name="pole", function=fn.Log()),
    grurt.Activation(name="pole", function=fn.Exp()),
    grurt.Activation(name="pole", function=fn.Sqrt()),
    grurt.Activation(name="pole", function=fn.Reciprocal()),
    grurt.Activation(name="pole", function=fn.Pow(exponent=-0.5)),
    grurt.Binary(name="pole", inputs=("x", "x"), operation="div"),
)


@pytest.mark.parametrize("pole", POLES, ids=lambda layer: getattr(layer, "operation", None) or layer.function.name)
def test_a_bounded_state_behind_a_pole_is_handed_on(pole: Any) -> None:
    """What is infinite for numbers of ordinary size makes NaN of any state."""
    model = models.layer_model(pole, *BOUNDED_BEHIND, inputs=(grurt.Input("x", 3),), rng=np.random.default_rng(94))
    stream, other = model.stream(), model.stream()
    for xs in ([0.0, -1.0, 100.0], [100.0, 100.0, 0.0]):
        stream.step(xs)
    assert not np.isfinite(stream.state["gru"]).all()
    other.state = stream.state
    assert other.step([1.0, 1.0, 1.0]).tobytes() == stream.step([1.0, 1.0, 1.0]).tobytes()


FUNCTIONS = [
    fn.Relu(),
    fn.LeakyRelu(),
    fn.ThresholdedRelu(),
    fn.Elu(),
    fn.Gelu(),
    fn.Sigmoid(),
    fn.HardSigmoid(slope=0.2, offset=0.5),
    fn.Tanh(),
    fn.ScaledTanh(alpha=-1.7, beta=0.6),
    fn.Softsign(),
    fn.Softplus(),
    fn.Affine(scale=2.0, offset=1.0),
    fn.Clip(minimum=-2.0, maximum=3.0),
]


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda function: function.name)
def test_functions_stay_within_their_bounds(function: Any) -> None:
    layer = grurt.Activation(name="f", function=function)
    model = models.layer_model(layer, inputs=(grurt.Input("x", 1),), rng=np.random.default_rng(93))
    xs = np.concatenate([np.linspace(-50, 50, 5_001), [3e38, -3e38]]).astype(np.float32)[:, np.newaxis]
    ys = model.run(xs, nonfinite="propagate")
    least, largest = np.float32(function.bounds)
    assert least <= ys.min()
    assert ys.max() <= largest
    if np.isfinite(largest):
        assert ys.max() > largest - 0.05
