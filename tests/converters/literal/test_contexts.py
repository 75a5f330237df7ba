"""Inputs that stay the same for a whole stream: given once, beside onnxruntime, which gets them each time."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import step_networks
from commandline import fail, succeed
from step_networks import Array

import grurt
from grurt.converters import convert, to_onnx
from grurt.errors import ConversionError

DECODERS = ("bahdanau_decoder", "luong_decoder")
TOLERANCE = 2e-6
N_STEPS = 40


def source(name: str, tmp_path: Path) -> Path:
    path = tmp_path / f"{name}.onnx"
    path.write_bytes(step_networks.exported(name, dynamo=False))
    return path


def random_frames(name: str) -> list[dict[str, Array]]:
    """Return frames with one memory."""
    frames = [dict(frame) for frame in step_networks.random_frames(step_networks.network(name), N_STEPS)]
    return [frame | {"memory": frames[0]["memory"]} for frame in frames]


def stepped(model: grurt.Model, frames: list[dict[str, Array]]) -> dict[str, Array]:
    stream = model.stream(context={"memory": frames[0]["memory"]})
    tokens = {port.name for port in model.inputs if port.tokens}
    given = [{k: x.item() if k in tokens else x for k, x in frame.items() if k != "memory"} for frame in frames]
    answers: list[Any] = [stream.step(frame) for frame in given]
    if len(model.outputs) == 1:
        answers = [{model.outputs[0].name: answer} for answer in answers]
    return {name: np.array([answer[name].ravel() for answer in answers]) for name in answers[0]}


@pytest.mark.parametrize("name", DECODERS)
def test_decoders_agree_with_onnxruntime(name: str, tmp_path: Path) -> None:
    path, network, frames = source(name, tmp_path), step_networks.network(name), random_frames(name)
    model = convert(path, imported="literal", context=["memory"])
    assert model.source.notes[-1] == "inputs that a stream is given once: memory"
    assert "memory" not in [port.name for port in model.inputs]
    expected = step_networks.source_answers(network, step_networks.session(path.read_bytes()), frames)
    found = stepped(model, frames)
    for output, array in expected.items():
        assert np.abs(found[output] - array.reshape(N_STEPS, -1)).max() < TOLERANCE * np.abs(array).max(), output
    verification = model.verify()
    assert verification.max_error < 1e-6
    assert verification.same_bits
    assert verification.streamed


@pytest.mark.parametrize("name", DECODERS)
def test_the_file_that_is_written_of_it_takes_it_as_an_input(name: str, tmp_path: Path) -> None:
    model, frames = convert(source(name, tmp_path), imported="literal", context=["memory"]), random_frames(name)
    session = step_networks.session(to_onnx(model, step=True))
    inputs = [port.name for port in session.get_inputs()]
    assert inputs[-1] == "memory"
    feed = {port.name: np.zeros(port.shape, np.float32) for port in session.get_inputs()[len(model.inputs) : -1]}
    feed |= {key: x.reshape(1, 1, -1)[..., :] for key, x in frames[0].items()}
    feed |= {port.name: frames[0][port.name] for port in model.inputs if port.tokens}
    feed["memory"] = frames[0]["memory"]
    answers = dict(zip([port.name for port in session.get_outputs()], session.run(None, feed), strict=True))
    for output, array in stepped(model, frames[:1]).items():
        np.testing.assert_allclose(answers[output].ravel(), array.ravel(), atol=TOLERANCE)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"context": ["nothing"]}, "context: the graph has no input 'nothing' that is not fixed; it has x, memory, h"),
        ({"context": ["h"]}, "context: a recurrent layer begins each timestep with 'h': it is a state"),
        ({"context": ["memory"], "state": {"memory": None}}, "context: the input 'memory' is a state, as state or"),
        (
            {"context": ["memory"], "bind": {"memory": 0.0}},
            "context: the graph has no input 'memory' that is not fixed",
        ),
        ({"context": ["x", "memory"]}, "every input of the graph is a state or a context"),
    ],
)
def test_what_cannot_be_one_is_said(options: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(ConversionError, match=message):
        convert(source("luong_decoder", tmp_path), **options)


def test_the_commands_take_it(tmp_path: Path) -> None:
    path, model = source("luong_decoder", tmp_path), tmp_path / "decoder.grurt"
    assert "note: inputs that a stream is given once: memory" in succeed(
        "convert", path, "--context", "memory", "-o", model
    )
    assert succeed("verify", model, "--against", path).endswith("ok\n")
    shown = succeed("inspect", model)
    assert "context memory, given once: 1 x 7 x 16 numbers" in shown
    assert re.search("○.* memory +1 x 7 x 16, given once", shown)
    frames = random_frames("luong_decoder")[:3]
    np.save(tmp_path / "x.npy", np.array([frame["x"].ravel() for frame in frames]))
    np.savez(tmp_path / "memory.npz", memory=frames[0]["memory"])
    succeed("run", model, tmp_path / "x.npy", "--context", tmp_path / "memory.npz", "-o", tmp_path / "y.npy")
    expected = stepped(grurt.load(model), frames)["y"]
    assert np.array_equal(np.load(tmp_path / "y.npy"), expected)
    assert "expected a context, which the model reads at every timestep: give memory" in fail(
        "run", model, tmp_path / "x.npy"
    )
    np.savez(tmp_path / "other.npz", other=np.zeros(3))
    assert "expected the contexts ['memory'], got ['other']" in fail(
        "run", model, tmp_path / "x.npy", "--context", tmp_path / "other.npz"
    )
    assert "for a context" in succeed("export", model, "-o", tmp_path / "out", "--target", "x86_64-linux-gnu")
    assert "grurt step" in succeed("bench", model, "--seconds", "0.01")
    assert "int8" in succeed("quantize", model, "-o", tmp_path / "small.grurt")
