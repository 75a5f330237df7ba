"""Networks written as ONNX files: onnxruntime computes from them what the models do."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import every_layer
import models
import numpy as np
import onnx
import onnxruntime
import pytest
from onnx_graphs import DATA
from paths import DATA as ALL_DATA

import grurt
from grurt.converters import convert, convert_onnx, to_onnx
from grurt.converters.onnx.convert import network_of_bytes
from grurt.converters.onnx.writing import convert as writing
from grurt.errors import ConversionError, GrurtError, StreamingError
from grurt.model import Source
from grurt.network.axes import tensor_shape
from grurt.network.frames import frames_of
from grurt.network.signature import LengthsPort, Signature, ValuePort

MODELS = {
    name: model
    for name, model in every_layer.all_models().items()
    if all({"float32", "float16"} >= set(layer.matrix_formats().values()) for layer in model.layers)
}
"""Those whose answers have the numbers that the weights stand for, and nothing else."""

Array = np.ndarray[Any, np.dtype[Any]]
TOLERANCE = 2e-6
N_STEPS = 13


def is_program(layer: Any) -> bool:
    return isinstance(layer, grurt.Program)


def session_of(model: grurt.Model, *, step: bool = False) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    data = to_onnx(model, step=step)
    onnx.checker.check_model(onnx.load_model_from_string(data), full_check=True)
    return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])


def assert_close(found: Array, expected: Array) -> None:
    assert found.shape == expected.shape
    assert found.dtype == expected.dtype
    scale = max(1.0, float(np.max(np.abs(expected), initial=0)))
    tolerance = 1e-3 if expected.dtype == np.float16 else TOLERANCE
    np.testing.assert_allclose(found / scale, expected / scale, rtol=0, atol=tolerance)


def random_feed(model: grurt.Model, batch: int, n_steps: int) -> dict[str, Array]:
    """Return random inputs, states and lengths as the model's source takes them."""
    rng = np.random.default_rng([batch, n_steps])
    feed: dict[str, Array] = {}
    for port in model.signature.inputs:
        shape = tensor_shape(port, model.values, model.state_shapes, batch=batch, time=n_steps)
        if isinstance(port, ValuePort) and model.values[port.value].tokens:
            feed[port.name] = rng.integers(0, model.values[port.value].size, shape).astype(port.dtype)
        elif isinstance(port, LengthsPort):
            feed[port.name] = np.sort(rng.integers(1, n_steps + 1, shape))[::-1].astype(port.dtype)
        else:
            feed[port.name] = rng.uniform(-0.9, 0.9, shape).astype(port.dtype)
    return feed


def assert_computes(model: grurt.Model, feed: Mapping[str, Array]) -> None:
    """Check that onnxruntime answers what the model does."""
    expected = model.run(feed, nonfinite="propagate")
    found = session_of(model).run(list(expected), dict(feed))
    for array, own in zip(found, expected.values(), strict=True):
        assert_close(array, own)


@pytest.mark.parametrize("name", [name for name, model in MODELS.items() if not any(map(is_program, model.layers))])
def test_every_layer(name: str) -> None:
    for batch, n_steps in ((3, N_STEPS), (1, 1)):
        assert_computes(MODELS[name], random_feed(MODELS[name], batch, n_steps))


def test_a_step_program_is_a_timestep() -> None:
    model = next(model for model in MODELS.values() if any(map(is_program, model.layers)))
    with pytest.raises(ConversionError, match=r"is a step program, which is written as a single timestep: step=True"):
        to_onnx(model)


def test_a_function_that_no_rnn_of_onnx_has() -> None:
    op = grurt.operators
    clipped = op.RNN(
        inputs=("x", "w", "r", "b", "h"), outputs=("y", "after"), hidden_size=2, activation=grurt.Clip(-1.0, 1.0)
    )
    constants = {"w": (1, 2, 3), "r": (1, 2, 2), "b": (1, 4)}
    program = grurt.Program(
        name="p",
        inputs=("x",),
        input_shapes=((1, 1, 3),),
        constants=constants,
        states=(grurt.ProgramState("h", (1, 1, 2), "after"),),
        operators=(clipped,),
        results=("y",),
    )
    weights = {f"p.{name}": np.ones(shape) for name, shape in constants.items()}
    model = grurt.Model(layers=[program], inputs=[grurt.Input("x", 3)], weights=weights)
    with pytest.raises(ConversionError, match="ONNX: rnn 'y': RNN has no function clip"):
        to_onnx(model, step=True)


def test_an_output_of_the_name_of_an_input() -> None:
    layer = grurt.GRU(name="gru", input_size=3, hidden_size=4)
    model = models.layer_model(layer, rng=np.random.default_rng(1))
    named = model.replaced(outputs=[grurt.Output("x", "gru")], signature=None)
    with pytest.raises(ConversionError, match="expected inputs and outputs of different names, got 'x' twice"):
        to_onnx(named, step=True)


def has_names_of_its_own(model: grurt.Model) -> bool:
    return {port.name for port in model.inputs}.isdisjoint(output.name for output in model.outputs)


@pytest.mark.parametrize(
    "name",
    [name for name, model in MODELS.items() if model.unstreamable_reason is None and has_names_of_its_own(model)],
)
def test_a_timestep_with_its_states(name: str) -> None:
    model = MODELS[name]
    session, stream, frames = session_of(model, step=True), model.stream(nonfinite="propagate"), frames_of(model)
    places = session.get_inputs()[len(model.inputs) :]
    states = {place.name: stream.state[place.name.removesuffix("_state")].reshape(place.shape) for place in places}
    assert states.keys() == {f"{layer}_state" for layer in model.state_shapes}
    xs = models.random_inputs(model.inputs, N_STEPS, np.random.default_rng(0))
    for step in range(N_STEPS):
        feed = {name: np.asarray(x[step]).reshape(1, 1, *frames.inputs[name].shape) for name, x in xs.items()}
        answers = session.run(None, feed | states)
        states = dict(zip(states, answers[len(model.outputs) :], strict=True))
        given: Any = {name: x[step] for name, x in xs.items()}
        own = stream.step(given if len(given) > 1 else given[model.inputs[0].name])
        by_name = own if isinstance(own, dict) else {model.outputs[0].name: own}
        for output, answer in zip(model.outputs, answers, strict=False):
            assert_close(answer[0, 0], by_name[output.name])
    for name, state in states.items():
        own_state = stream.state[name.removesuffix("_state")]
        assert_close(state.reshape(own_state.shape), own_state)


REFUSED = ("oss062", "qdyn", "k3_masked_backwards", "t_copies_open_length")
SOURCES = sorted(
    path
    for path in [*DATA.glob("*.onnx"), *(ALL_DATA / "keras").glob("*.keras"), *(ALL_DATA / "torch").glob("*.pt2")]
    if not any(part in path.name for part in REFUSED)
)


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)
def test_as_the_source_has_it(path: Path) -> None:
    model = convert(path, reference=False)
    for batch in (3, 1):
        lengths = model.signature.lengths
        try:
            feed = random_feed(model, len(lengths) or batch, max(lengths, default=7))
            model.run(feed)
        except GrurtError:
            continue  # of a source that has fixed the axis
        assert_computes(model, feed)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    model = convert_onnx(DATA / "k_norms.ts.op17.onnx", reference=False)
    again = grurt.Model.from_network(network_of_bytes(to_onnx(model), source=Source(format="onnx")))
    feed = random_feed(model, 2, 5)
    for found, expected in zip(again.run(feed).values(), model.run(feed).values(), strict=True):
        assert_close(found, expected)


def test_a_channels_first_grid() -> None:
    port: dict[str, Any] = {"dtype": "float32", "positions": 5, "axes": ("batch", "feature", "time", "position")}
    rng = np.random.default_rng(0)
    model = models.layer_model(
        grurt.Unflatten(name="grid", inputs=("x",), positions=5),
        grurt.GRU(name="gru", inputs=("grid",), input_size=3, hidden_size=4),
        grurt.Flatten(name="y", inputs=("gru",)),
        rng=rng,
        inputs=(grurt.Input("x", 15),),
        signature=Signature((ValuePort(name="x", value="x", **port),), (ValuePort(name="out", value="y", **port),)),
    )
    assert_computes(model, random_feed(model, 2, 7))
    grid = rng.standard_normal((3, 5)).astype(np.float32)
    session = session_of(model, step=True)
    answer, _ = session.run(None, {"x": grid[None, None], "gru_state": np.zeros((1, 5, 4), np.float32)})
    assert_close(answer[0, 0], model.stream().step(grid))


def test_quantized_weights_are_the_numbers_that_they_stand_for() -> None:
    model = MODELS["gru 17 True"]
    expected = model.run(random_feed(model, 2, 9))
    for weights, allowed in (("int8", 0.02), ("int4", 0.3)):
        quantized = model.quantize(weights)  # type: ignore[arg-type]
        answers = session_of(quantized).run(None, random_feed(model, 2, 9))
        for answer, own, before in zip(
            answers, quantized.run(random_feed(model, 2, 9)).values(), expected.values(), strict=True
        ):
            assert 0 < np.abs(answer - before).max() < allowed
            assert np.abs(answer - own).max() < allowed


def test_what_cannot_be_written(monkeypatch: pytest.MonkeyPatch) -> None:
    reverse = models.gru_model(3, 4, np.random.default_rng(1), direction="reverse")
    with pytest.raises(
        StreamingError, match="cannot be written as a single timestep: layer 'gru0' is a GRU in reverse"
    ):
        to_onnx(reverse, step=True)
    port: dict[str, Any] = {"dtype": "float32", "axes": ("time", "feature")}
    same = models.gru_model(3, 4, np.random.default_rng(1)).replaced(
        signature=Signature((ValuePort(name="x", value="x", **port),), (ValuePort(name="x", value="y", **port),))
    )
    with pytest.raises(ConversionError, match="expected inputs and outputs of different names, got 'x' twice"):
        to_onnx(same)
    monkeypatch.setattr(writing, "MAX_WEIGHTS", 100)
    with pytest.raises(ConversionError, match="expected weights of at most 100 bytes, got"):
        to_onnx(reverse)
    monkeypatch.setattr("grurt.converters.installed.is_installed", lambda _: False)
    with pytest.raises(ConversionError, match="expected the package onnx to be installed, got none"):
        to_onnx(reverse)


@pytest.mark.parametrize("padding", [(0, 0), (1, 2), (-1, 3), (0, -2), "same", "same_lower"], ids=str)
@pytest.mark.parametrize(("kernel_size", "stride", "dilation"), [(1, 1, 1), (3, 1, 2), (3, 2, 1), (2, 3, 1)])
def test_windows_of_timesteps(kernel_size: int, stride: int, dilation: int, padding: Any) -> None:
    layer = grurt.Unfold(name="u", kernel_size=kernel_size, stride=stride, dilation=dilation, padding=padding, fill=0.5)
    gru = grurt.GRU(name="gru", input_size=3 * kernel_size, hidden_size=4)
    model = models.layer_model(layer, gru, rng=np.random.default_rng(1), inputs=[grurt.Input("x", 3)])
    for n_steps in (9, 10, 11):
        assert_computes(model, random_feed(model, 2, n_steps))


def padded(*, packed: bool) -> grurt.Model:
    """Return a model of masks, picks and resets, whose inputs are of every dtype, and an output of merged axes."""
    axes: Any = ("batch", "time", "feature")
    layers = [
        grurt.GRU(name="gru", inputs=("x", "keep"), input_size=3, hidden_size=5, scaled_state=True),
        grurt.PastEnd(name="masked", value=0.5),
        grurt.LastStep(name="end", inputs=("gru",), by_length=True),
    ]
    signature = grurt.Signature(
        (
            grurt.ValuePort(name="x", value="x", dtype="float32", axes=axes),
            grurt.ValuePort(name="keep", value="keep", dtype="bool", axes=("batch", "time")),
            grurt.LengthsPort(name="lengths", dtype="int64", axes=("batch",), packed=packed),
        ),
        (
            grurt.ValuePort(name="y", value="y", dtype="float32", axes=("time_batch", "feature")),
            grurt.ValuePort(name="all", value="all", dtype="float32", axes=("batch_time", "feature")),
            grurt.ValuePort(name="last", value="last", dtype="float32", axes=("batch", "feature")),
        ),
    )
    return models.layer_model(
        *layers,
        rng=np.random.default_rng(2),
        inputs=(grurt.Input("x", 3), grurt.Input("keep", 1)),
        outputs=(grurt.Output("y", "masked"), grurt.Output("all", "gru"), grurt.Output("last", "end")),
        signature=signature,
    )


@pytest.mark.parametrize("packed", [True, False])
def test_masks_picks_and_resets(packed: bool) -> None:
    model = padded(packed=packed)
    rng = np.random.default_rng(3)
    feed = {
        "x": rng.normal(size=(3, 7, 3)).astype(np.float32),
        "keep": rng.uniform(size=(3, 7)) > 0.3,
        "lengths": np.array([4, 7, 2]),
    }
    session = onnxruntime.InferenceSession(to_onnx(model), providers=["CPUExecutionProvider"])
    found = model.run(feed)
    assert isinstance(found, dict)
    for port, expected in zip(model.signature.outputs, session.run(None, feed), strict=True):
        np.testing.assert_allclose(found[port.name], expected, rtol=0, atol=2e-6, strict=True)
