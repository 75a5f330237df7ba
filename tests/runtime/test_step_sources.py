"""Models of sources that take one timestep, in tensors of any rank: the same bits as with plain vectors, every way."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import models
import numpy as np
import onnxruntime
import pytest
from commandline import succeed
from step_sources import shown_as_step

import grurt
from grurt.container.header import DESCRIPTION, METADATA
from grurt.container.reading import decode
from grurt.container.writing import encode
from grurt.errors import ConversionError, GrurtError, InputShapeError, InputValueError
from grurt.native.export import export
from grurt.network.frames import frames_of
from grurt.network.reference_run import ReferenceRun
from grurt.network.signature import StatePort
from grurt.quantization.loss import loss
from grurt.runtime.feeds import run_feed

N_STEPS = 6
SHAPE, FRAME = (1, 2, 3, 1, 4), (2, 3, 4)
ANSWER, ANSWER_FRAME = (3, 1, 2, 2), (3, 2, 2)
RNG = np.random.default_rng(31)
PLAIN = models.layer_model(
    grurt.GRU(name="gru", input_size=24, hidden_size=8),
    grurt.GRU(name="second", input_size=8, hidden_size=5),
    grurt.Linear(name="fc", input_size=5, output_size=12),
    rng=RNG,
)
MODEL = shown_as_step(PLAIN, {"x": SHAPE}, {"y": ANSWER})
XS = RNG.normal(size=(N_STEPS, 24)).astype(np.float32)
FRAMES = XS.reshape(N_STEPS, *FRAME)
YS = PLAIN.stream().run(XS)

FORMS: dict[str, Callable[[Any], Any]] = {
    "frame": lambda frame: frame,
    "flat": lambda frame: frame.ravel(),
    "the source's shape": lambda frame: frame.reshape(SHAPE),
    "float64": lambda frame: frame.astype(np.float64),
    "float64, flat": lambda frame: frame.astype(np.float64).ravel(),
    "float64, the source's shape": lambda frame: frame.astype(np.float64).reshape(SHAPE),
    "strided": lambda frame: np.repeat(frame, 2, axis=1)[:, ::2],
    "transposed in memory": lambda frame: np.asfortranarray(frame),
    "lists": lambda frame: frame.tolist(),
    "tuples": lambda frame: tuple(tuple(map(tuple, rows)) for rows in frame.tolist()),
    "flat list": lambda frame: frame.ravel().tolist(),
    "bytes": lambda frame: frame.tobytes(),
    "mapping": lambda frame: {"x": frame},
}


def same_bits(found: Any, expected: Any) -> None:
    assert found.shape == expected.shape
    assert found.dtype == expected.dtype
    assert found.tobytes() == expected.tobytes()


def test_a_frame_is_the_sources_tensor_without_axes_of_size_1() -> None:
    frames = frames_of(MODEL)
    assert frames.inputs["x"].shape == FRAME
    assert frames.inputs["x"].source_shape == SHAPE
    assert frames.outputs["y"].shape == ANSWER_FRAME
    assert MODEL.fingerprint == PLAIN.fingerprint


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_step_takes_a_frame_in_every_form(form: Callable[[Any], Any]) -> None:
    stream = MODEL.stream()
    same_bits(np.array([stream.step(form(frame)) for frame in FRAMES]), YS.reshape(N_STEPS, *ANSWER_FRAME))
    out = np.empty(ANSWER_FRAME, np.float32)
    assert stream.step(form(FRAMES[0]), out) is out


def test_advance_has_arrays_of_frames() -> None:
    stream = MODEL.stream()
    assert stream.input.shape == FRAME
    assert stream.output.shape == ANSWER_FRAME
    for frame, answer in zip(FRAMES, YS, strict=True):
        stream.input[...] = frame
        stream.advance()
        same_bits(stream.output, answer.reshape(ANSWER_FRAME))


@pytest.mark.parametrize("form", ["frames", "flat", "lists", "float64", "strided", "bytes"])
def test_blocks_have_a_leading_axis(form: str) -> None:
    blocks = {
        "frames": FRAMES,
        "flat": XS,
        "lists": FRAMES.tolist(),
        "float64": FRAMES.astype(np.float64),
        "strided": np.repeat(FRAMES, 2, axis=2)[:, :, ::2],
        "bytes": FRAMES.tobytes(),
    }
    expected = YS.reshape(N_STEPS, *ANSWER_FRAME)
    same_bits(MODEL.stream().run(blocks[form]), expected)
    if form != "bytes":
        same_bits(MODEL.run(blocks[form]), expected)
        same_bits(MODEL.run(np.array([blocks[form], blocks[form]]))[1], expected)


def test_pools_take_a_frame_of_each_stream() -> None:
    pool = MODEL.pool(4)
    ids = [2, 0, 3]
    for frame, answer in zip(FRAMES, YS, strict=True):
        found = pool.step(ids, np.array([frame] * 3))
        for each in found:
            same_bits(each, answer.reshape(ANSWER_FRAME))
    whole = MODEL.pool(4).run(ids, np.array([FRAMES] * 3))
    same_bits(whole[1], YS.reshape(N_STEPS, *ANSWER_FRAME))
    same_bits(MODEL.pool(4).run(ids, np.array([XS] * 3)), whole)


WRONG = [(24, 1), (2, 3, 5), (2, 12), (3, 2, 4), (1, 2, 3, 4), (25,), (2, 3, 4, 1)]


@pytest.mark.parametrize("shape", WRONG, ids=str)
def test_other_shapes_leave_no_trace(shape: tuple[int, ...]) -> None:
    stream, pool = MODEL.stream(), MODEL.pool(2)
    for each in (np.zeros(shape, np.float32), np.zeros(shape), np.zeros(shape).tolist()):
        with pytest.raises(InputShapeError):
            stream.step(each)
        with pytest.raises(InputShapeError):
            pool.step([0, 1], np.array([each, each]))
        with pytest.raises(InputShapeError):
            stream.run(np.array([each, each]))
    assert stream.steps == pool.steps(0) == 0
    assert not any(state.any() for state in stream.state.values())


def test_a_nan_is_named_by_its_place_in_the_frame() -> None:
    frame = FRAMES[0].copy()
    frame[1, 2, 3] = np.nan
    with pytest.raises(InputValueError, match=r"input 'x' at \[1, 2, 3\]"):
        MODEL.stream().step(frame)


def test_a_mapping_is_one_call_of_the_source() -> None:
    feed = {"x": FRAMES[0].reshape(SHAPE)}
    found = MODEL.run(feed)
    assert found.keys() == {"y", "gru_out", "second_out"}
    same_bits(found["y"], YS[0].reshape(ANSWER))
    stream = MODEL.stream()
    stream.step(FRAMES[0])
    same_bits(found["gru_out"], stream.state["gru"])
    with pytest.raises(InputShapeError, match=r"expected shape \(1, 2, 3, 1, 4\), got \(2, 1, 2, 3, 1, 4\)"):
        MODEL.run({"x": np.zeros((2, *SHAPE), np.float32)})


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16"])
def test_a_loop_over_the_source_is_a_stream(dtype: Any) -> None:
    names = [f"{name}_{end}" for name in PLAIN.state_shapes for end in ("in", "out")]
    model = shown_as_step(PLAIN, {"x": SHAPE}, {"y": ANSWER}, dtypes=dict.fromkeys(["x", "y", *names], dtype))
    session = grurt.InferenceSession(model)
    assert [port.shape for port in session.get_inputs()] == [list(SHAPE), [8], [5]]
    states = {f"{name}_in": np.zeros(shape, dtype) for name, shape in model.state_shapes.items()}
    stream = model.stream()
    for frame in FRAMES.astype(dtype):
        feed = {"x": frame.reshape(SHAPE), **states}
        y, *after = session.run(None, feed)
        stream.state = {name.removesuffix("_in"): state for name, state in states.items()}
        same_bits(y, stream.step(frame).reshape(ANSWER).astype(dtype))
        same_bits(model.run(feed)["y"], y)
        assert (run_feed(model, feed) is not None) == (dtype == "float32")
        states = dict(zip(states, after, strict=True))
        for state, kept in zip(after, stream.state.values(), strict=True):
            same_bits(state, kept.astype(dtype))


def test_which_states_belong_together_has_been_said() -> None:
    plain = models.layer_model(
        grurt.GRU(name="a", input_size=3, hidden_size=4),
        grurt.GRU(name="b", input_size=4, hidden_size=4),
        rng=np.random.default_rng(1),
    )
    crossed = {"h1_in": "a", "h2_in": "b", "h1_out": "b", "h2_out": "a"}

    def signature(**axes: Any) -> grurt.Signature:
        ports = {
            name: StatePort(name=name, states=(state,), dtype="float32", **axes) for name, state in crossed.items()
        }
        x, y = plain.signature.inputs + plain.signature.outputs
        return grurt.Signature((x, ports["h1_in"], ports["h2_in"]), (y, ports["h1_out"], ports["h2_out"]))

    by_meaning = plain.replaced(signature=signature(axes=("one", "feature")))
    assert by_meaning.unstreamable_by_design is grurt.DesignReason.FED_BACK_STATE
    literal = plain.replaced(signature=signature(axes=("one", "index"), shape=(4,)))
    assert literal.unstreamable_reason is None
    same_bits(literal.stream().step(np.ones(3)), plain.stream().step(np.ones(3)))


@pytest.mark.parametrize("dtype", ["bool", "int32", "int64"])
def test_inputs_of_whole_numbers(dtype: Any) -> None:
    model = shown_as_step(PLAIN, {"x": SHAPE}, {"y": ANSWER}, dtypes={"x": dtype})
    xs = np.random.default_rng(5).integers(2, size=SHAPE)
    found = model.run({"x": xs.astype(dtype)})["y"]
    same_bits(found, PLAIN.stream().step(xs.ravel().astype(np.float32)).reshape(ANSWER))


def test_the_reference_run_is_one_call() -> None:
    states = {f"{name}_in": np.full(shape, 0.25, np.float32) for name, shape in MODEL.state_shapes.items()}
    inputs = {"x": FRAMES[0].reshape(SHAPE), **states}
    run = ReferenceRun(inputs, MODEL.run(inputs), "test")
    verification = MODEL.replaced(reference_run=run).verify()
    assert verification.same_bits
    assert verification.max_error == 0
    with pytest.raises(GrurtError, match="expected 3 along its index axis, got 2"):
        MODEL.replaced(reference_run=ReferenceRun({**inputs, "x": np.zeros((1, 2, 2, 1, 4), "f")}, run.outputs, "test"))


def test_the_file_has_the_shapes() -> None:
    content = encode(MODEL)
    assert decode(content).signature == MODEL.signature
    assert description_of(content)["version"] == 2
    plain = description_of(encode(PLAIN))
    assert plain["version"] == 1
    assert all("shape" not in port for ports in ("inputs", "outputs") for port in plain["signature"][ports])


def description_of(content: bytes) -> Any:
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    return json.loads(header[METADATA][DESCRIPTION])


def test_several_inputs_and_outputs() -> None:
    plain = models.layer_model(
        grurt.Concat(name="both", inputs=("a", "b")),
        grurt.GRU(name="gru", input_size=10, hidden_size=6),
        grurt.Slice(name="part", inputs=("gru",), start=2, stop=6),
        rng=np.random.default_rng(3),
        inputs=[grurt.Input("a", 6), grurt.Input("b", 4)],
        outputs=[grurt.Output("y", "gru"), grurt.Output("z", "part")],
    )
    model = shown_as_step(plain, {"b": (1, 4), "a": (3, 1, 2)}, {"y": (6,), "z": (2, 2)})
    stream, other = model.stream(), plain.stream()
    a, b = np.arange(6, dtype=np.float32).reshape(3, 2), np.ones(4, np.float32)
    for given in ((a, b), (a.reshape(3, 1, 2), b.reshape(1, 4)), (a.tolist(), b.tobytes())):
        found, expected = stream.step(*given), other.step(a.ravel(), b)
        same_bits(found["y"], expected["y"])
        same_bits(found["z"], expected["z"].reshape(2, 2))
    same_bits(stream.run({"a": np.array([a]), "b": b[np.newaxis]})["z"][0], other.step(a.ravel(), b)["z"].reshape(2, 2))
    assert [array.shape for array in stream.inputs.values()] == [(3, 2), (4,)]
    stream.inputs["a"][...], stream.inputs["b"][...] = a, b
    stream.advance()
    same_bits(stream.outputs["z"], other.step(a.ravel(), b)["z"].reshape(2, 2))


def test_a_model_of_a_step_is_written_as_one() -> None:
    with pytest.raises(ConversionError, match="expected a source of sequences, got one of timesteps"):
        grurt.converters.to_onnx(MODEL)
    session = onnxruntime.InferenceSession(grurt.converters.to_onnx(MODEL, step=True))
    feed = {port.name: np.zeros(port.shape, np.float32) for port in session.get_inputs()}
    assert feed["x"].shape == (1, 1, *FRAME)
    y, *_ = session.run(None, {**feed, "x": FRAMES[:1, np.newaxis]})
    assert y.shape == (1, 1, *ANSWER_FRAME)
    np.testing.assert_allclose(y.ravel(), YS[0], rtol=0, atol=2e-6)


def test_quantized_and_pickled_models_keep_their_source() -> None:
    small = MODEL.quantize("int8", calibration=FRAMES)
    assert small.signature == MODEL.signature
    same_bits(small.weights["gru.weight_hh"], PLAIN.quantize("int8", calibration=XS).weights["gru.weight_hh"])
    assert pickle.loads(pickle.dumps(MODEL)).signature == MODEL.signature
    assert loss(MODEL, small, FRAMES).outputs == loss(PLAIN, PLAIN.quantize("int8", calibration=XS), XS).outputs


def test_the_command_line_has_frames_flat_and_shows_their_shapes(tmp_path: Path) -> None:
    MODEL.save(tmp_path / "step.grurt")
    np.save(tmp_path / "xs.npy", XS)
    succeed("run", tmp_path / "step.grurt", tmp_path / "xs.npy", "--output", tmp_path / "ys.npy")
    same_bits(np.load(tmp_path / "ys.npy"), YS)
    shown = succeed("inspect", tmp_path / "step.grurt")
    assert "x: float32 (1, 2, 3, 1, 4)" in shown
    assert "2 x 3 x 4 numbers" in shown


def test_a_program_in_c_has_frames_flat() -> None:
    header = export(MODEL, "x86_64-linux-gnu", name="step").files["step.h"].decode()
    assert "STEP_X_SIZE 24 /* input, float, 2 by 3 by 4, row by row */" in header
