"""Graphs of whole sequences that look back only, as one timestep."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx_graphs import gru_weights, proto, random, written
from step_graphs import Array, program

import grurt
from grurt import reference
from grurt.converters import convert
from grurt.errors import ConversionError, DesignReason, UnsupportedError

TOLERANCE = 3e-6
TIME = "t"
ROWS = {"x": (TIME, 1, 3)}
IMAGE = {"x": (1, 2, TIME, 5)}


def converted(
    folder: Path, text: str, inputs: Mapping[str, Sequence[int | str]], weights: Mapping[str, Array], **options: Any
) -> tuple[grurt.Model, onnx.ModelProto]:
    dtypes = options.pop("dtypes", None)
    model = proto(written(text), inputs, options.pop("outputs", ["y"]), weights, dtypes=dtypes)
    onnx.save(model, folder / "m.onnx")
    return convert(folder / "m.onnx", imported="literal", reference=False, **options), model


def error(model: grurt.Model, source: onnx.ModelProto, steps: int = 30) -> float:
    """Return how far answers of a model, timestep after timestep in float64, are from the source's to a sequence."""
    numbers = np.random.default_rng(2)
    session = onnxruntime.InferenceSession(source.SerializeToString(), providers=["CPUExecutionProvider"])
    feed, frames = {}, {}
    for port in model.signature.inputs:
        assert isinstance(port, grurt.ValuePort)
        sizes = iter(port.shape)
        shape = [steps if axis == "time" else 1 if axis == "one" else next(sizes) for axis in port.axes]
        tokens = model.values[port.value].tokens
        array = numbers.integers(7, size=shape) if tokens else numbers.normal(size=shape).astype(np.float32)
        feed[port.name] = array
        rows = np.moveaxis(array, port.axes.index("time"), 0)
        frames[port.name] = rows.reshape(-1) if tokens else rows.reshape(steps, -1)
    names = [port.name for port in model.signature.outputs]
    expected = dict(zip(names, session.run(names, feed), strict=True))
    found, _ = reference.run(model, frames)
    worst = 0.0
    for port in model.signature.outputs:
        wanted = np.moveaxis(expected[port.name], port.axes.index("time"), 0).reshape(steps, -1)
        worst = max(worst, float(np.abs(found[port.name] - wanted).max() / max(1, np.abs(wanted).max())))
    return worst


LSTM = {"W": random(1, 20, 3), "R": random(1, 20, 5), "B": random(1, 40)}

CAUSAL: dict[str, tuple[str, Mapping[str, Sequence[int | str]], Mapping[str, Array], list[tuple[int, ...]]]] = {
    "a GRU": ("a, z = GRU<hidden_size=5>(x, W, R, B); y = Tanh(a)", ROWS, gru_weights(), [(1, 1, 5)]),
    "a GRU with the batch first": (
        "a, z = GRU<hidden_size=5>(b, W, R, B); b = Transpose<perm=[1,0,2]>(x); y = Squeeze(a, one)",
        {"x": (1, TIME, 3)},
        gru_weights() | {"one": np.array([1])},
        [(1, 1, 5)],
    ),
    "a GRU that begins with what was learned": (
        "y, z = GRU<hidden_size=5>(x, W, R, B, , h)",
        ROWS,
        gru_weights() | {"h": random(1, 1, 5)},
        [(1, 1, 5)],
    ),
    "an LSTM": ("y, z, c = LSTM<hidden_size=5>(x, W, R, B)", ROWS, LSTM, [(1, 1, 5), (1, 1, 5)]),
    "a convolution that pads": ("y = Conv<pads=[2,1,0,1]>(x, w)", IMAGE, {"w": random(4, 2, 3, 3)}, [(1, 2, 2, 5)]),
    "a convolution with holes": (
        "y = Conv<pads=[4,0,0,0],dilations=[2,1]>(x, w)",
        IMAGE,
        {"w": random(4, 2, 3, 1)},
        [(1, 2, 4, 5)],
    ),
    "zeros before a convolution": (
        "a = Pad(x, p); b = Conv<pads=[0,1,0,1]>(a, w); y = Relu(b)",
        IMAGE,
        {"w": random(4, 2, 3, 3), "p": np.array([0, 0, 2, 0, 0, 0, 0, 0])},
        [(1, 2, 2, 5)],
    ),
    "a mask of an image": (
        "a = Conv<pads=[1,0,0,0]>(x, w); b = ReduceMean<keepdims=1>(a, c); d = Sigmoid(b); y = Mul(d, x)",
        IMAGE,
        {"w": random(2, 2, 2, 1), "c": np.array([1, 3])},
        [(1, 2, 1, 5)],
    ),
    "all of it, in a loop over frequencies": (
        """a = Conv<pads=[1,0,0,0]>(x, w); b = Transpose<perm=[2,0,3,1]>(a); s = Shape(b); n = Slice(s, i, j);
        m = Concat<axis=0>(n, e); d = Reshape(b, m); f, g = GRU<hidden_size=5>(d, W, R, B); y = Tanh(f)""",
        IMAGE,
        gru_weights() | {"w": random(3, 2, 2, 1), "i": np.array([0]), "j": np.array([1]), "e": np.array([5, 3])},
        [(1, 2, 1, 5), (1, 5, 5)],
    ),
}


@pytest.mark.parametrize("name", CAUSAL)
def test_a_graph_that_looks_back_only_is_one_timestep(name: str, tmp_path: Path) -> None:
    text, inputs, weights, states = CAUSAL[name]
    model, source = converted(tmp_path, text, inputs, weights)
    assert list(model.state_shapes.values()) == states
    assert model.source.notes[0] == "imported literally, one timestep along 't' of whole sequences"
    assert error(model, source) <= TOLERANCE


def test_the_port_has_the_axes_of_the_source(tmp_path: Path) -> None:
    model, _ = converted(tmp_path, *CAUSAL["a convolution that pads"][:3])
    (port,) = model.signature.inputs
    assert port == grurt.ValuePort(
        name="x", value="x", dtype="float32", axes=("index", "index", "time", "index"), shape=(1, 2, 5)
    )


def test_tokens_are_read_one_by_one(tmp_path: Path) -> None:
    text = "a = Gather(table, x); b = Transpose<perm=[1,0,2]>(a); y, z = GRU<hidden_size=5>(b, W, R, B)"
    weights = {**gru_weights(), "table": random(7, 3)}
    model, source = converted(tmp_path, text, {"x": (1, TIME)}, weights, dtypes={"x": onnx.TensorProto.INT64})
    assert model.inputs == (grurt.TokenInput("x", 7),)
    assert error(model, source) <= TOLERANCE


@pytest.mark.slow
def test_the_source_answers_a_sequence_and_the_engine_streams_it(tmp_path: Path) -> None:
    text, inputs, weights, _ = CAUSAL["all of it, in a loop over frequencies"]
    onnx.save(proto(written(text), inputs, ["y"], weights), tmp_path / "m.onnx")
    model = convert(tmp_path / "m.onnx", imported="literal")
    assert model.reference_run is not None
    assert model.reference_run.inputs["x"].shape == (1, 2, 24, 5)
    verification = model.verify()
    assert verification.max_error < TOLERANCE
    assert verification.streamed
    assert verification.same_bits


REFUSED: dict[str, tuple[str, Mapping[str, Sequence[int | str]], Mapping[str, Array], str]] = {
    "looks ahead": (
        "y = Conv<pads=[1,0,1,0]>(x, w)",
        IMAGE,
        {"w": random(2, 2, 3, 1)},
        "timestep by timestep: node 'y' (Conv): it works along an axis of open size, axis 2 of 'x'",
    ),
    "backwards": (
        'a, z = GRU<hidden_size=5>(x, W, R, B); y, q = GRU<hidden_size=5,direction="reverse">(x, W, R, B)',
        ROWS,
        gru_weights(),
        "nor does it compute a sequence timestep by timestep",
    ),
    "both": (
        """a, z = GRU<hidden_size=5>(x, W, R, B); b, q = GRU<hidden_size=5,direction="reverse">(x, W, R, B);
        y = Add(a, b)""",
        ROWS,
        gru_weights(),
        "it runs for one timestep, and begins at the same state each time",
    ),
    "a mean over time": (
        "a, z = GRU<hidden_size=5>(x, W, R, B); b = ReduceMean(a, c); y = Add(a, b)",
        ROWS,
        gru_weights() | {"c": np.array([0])},
        "timestep by timestep: node 'b' (ReduceMean): it works along an axis of open size, axis 0 of 'a'",
    ),
    "the last timestep": (
        "a, z = GRU<hidden_size=5>(x, W, R, B); b = Slice(a, i, j); y = Add(a, b)",
        ROWS,
        gru_weights() | {"i": np.array([-1]), "j": np.array([2**62])},
        "timestep by timestep: node 'b' (Slice): it leaves timesteps out",
    ),
    "the last hundred timesteps": (
        "a, z = GRU<hidden_size=5>(x, W, R, B); y = Slice(a, i, j)",
        ROWS,
        gru_weights() | {"i": np.array([-100]), "j": np.array([2**62])},
        "timestep by timestep: node 'y' (Slice): it leaves timesteps out",
    ),
    "the first hundred timesteps": (
        "b = Slice(x, i, j, k); y, z = GRU<hidden_size=5>(b, W, R, B)",
        ROWS,
        gru_weights() | {"i": np.array([0]), "j": np.array([100]), "k": np.array([-3])},
        "timestep by timestep: node 'b' (Slice): it leaves timesteps out",
    ),
    "what is known of a place": (
        """a, z = GRU<hidden_size=5>(x, W, R, B); n = Shape(a); t = Slice(n, i, j); p = Slice(table, i, t, i);
        y = Add(a, p)""",
        ROWS,
        gru_weights() | {"i": np.array([0]), "j": np.array([1]), "table": random(1000, 1, 1, 5)},
        "output 'y': its answer to one of 24 timesteps depends on later ones, or on all",
    ),
    "a sum of all before": (
        "a, z = GRU<hidden_size=5>(x, W, R, B); b = CumSum(a, c); y = Add(a, b)",
        ROWS,
        gru_weights() | {"c": np.array(0)},
        "timestep by timestep: node 'b' (CumSum): it works along an axis of open size",
    ),
    "an answer for all": (
        "a, y = GRU<hidden_size=5>(x, W, R, B)",
        ROWS,
        gru_weights(),
        "'y': it has no axis of the size 't', as each timestep needs",
    ),
    "nothing": ("y = Relu(x)", ROWS, {}, "nothing looks back along 't': a graph without states"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_graph_that_does_not_is_refused(name: str, tmp_path: Path) -> None:
    text, inputs, weights, message = REFUSED[name]
    with pytest.raises(UnsupportedError) as caught:
        converted(tmp_path, text, inputs, weights)
    assert message in str(caught.value)
    assert "nor does it compute a sequence timestep by timestep" in str(caught.value)


def test_sizes_without_a_name_are_no_time(tmp_path: Path) -> None:
    from grurt.converters.literal.causal import network_of_sequences
    from grurt.converters.literal.options import StepOptions
    from grurt.converters.onnx.reading import read_graph
    from grurt.converters.onnx.tensors import ExternalData
    from grurt.network.network import Source

    source = proto(written("y = Relu(x)"), {"x": (2, 3)}, ["y"], {})
    graph = read_graph(source, ExternalData(tmp_path), 1000)
    with pytest.raises(UnsupportedError, match="no input has an axis of open size with a name, which time could") as e:
        network_of_sequences(graph, Source(format="onnx"), StepOptions())
    assert e.value.reason is DesignReason.NOT_SAID


def test_a_long_timestep_is_tried_in_a_short_sequence(tmp_path: Path) -> None:
    text = ";".join(
        ["a0 = Conv<pads=[1,0,0,0]>(x, w)", *(f"a{i + 1} = Tanh(a{i})" for i in range(100)), "y = Neg(a100)"]
    )
    model, source = converted(tmp_path, text, {"x": (1, 1, TIME, 20000)}, {"w": random(1, 1, 2, 1)})
    assert error(model, source, steps=3) <= TOLERANCE


def test_a_sequence_that_is_too_large_is_not_tried(tmp_path: Path) -> None:
    text = ";".join(
        ["a0 = Conv<pads=[1,0,0,0]>(x, w)", *(f"a{i + 1} = Tanh(a{i})" for i in range(400)), "y = Neg(a400)"]
    )
    with pytest.raises(ConversionError, match="a sequence of 6 timesteps is too large to be tried"):
        converted(tmp_path, text, {"x": (1, 1, TIME, 20000)}, {"w": random(1, 1, 2, 1)})


def test_states_that_are_said_are_not_looked_for(tmp_path: Path) -> None:
    with pytest.raises(ConversionError, match="state: the graph has no output 'z'; it has y"):
        converted(tmp_path, *CAUSAL["a GRU"][:3], state={"x": "z"})
    assert program(converted(tmp_path, *CAUSAL["a GRU"][:3])[0]).states[0].name == "a.state"
