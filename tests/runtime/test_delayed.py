"""Models that look ahead, as models that stream late: the bits of whole sequences, in every way to stream."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import c_programs
import commandline
import models
import numpy as np
import onnx_exports
import pytest
import torch
from looking_ahead import random_looking_ahead
from numpy.typing import NDArray
from torch import nn
from torch_networks import Network
from torch_windows import NETWORKS

import grurt
from grurt.converters import convert
from grurt.errors import StreamingError
from grurt.native.export import export
from grurt.network.functions import Clip

Floats = NDArray[np.float32]

TOLERANCE = 2e-6


def followed(model: grurt.Model, inputs: Mapping[str, Any], count: int) -> dict[str, Any]:
    """Return what streams are given of sequences: these, and so many timesteps in which nothing is present."""
    steps = len(next(iter(inputs.values())))
    present = np.repeat(np.float32([1, 0]), [steps, count])[:, np.newaxis]
    longer = {name: np.concatenate([xs, np.zeros((count, *xs.shape[1:]), xs.dtype)]) for name, xs in inputs.items()}
    return {**longer, model.inputs[-1].name: present}


def named(model: grurt.Model, answer: Any) -> dict[str, Floats]:
    return answer if isinstance(answer, dict) else {model.outputs[0].name: answer}


def stepped(model: grurt.Model, inputs: Mapping[str, Any]) -> dict[str, Floats]:
    stream = model.stream()
    steps = len(next(iter(inputs.values())))
    answers = [named(model, stream.step({name: xs[step] for name, xs in inputs.items()})) for step in range(steps)]
    return {name: np.array([answer[name] for answer in answers]) for name in answers[0]}


def whole(model: grurt.Model, inputs: Mapping[str, Any]) -> dict[str, Floats]:
    """Return what a model answers to one sequence."""
    if len(inputs) == 1:
        (xs,) = inputs.values()
        return named(model, model.run(xs))
    answers = model.run({name: xs[np.newaxis] for name, xs in inputs.items()})
    return {name: ys[0] for name, ys in answers.items()}


def check_bits(model: grurt.Model, streaming: grurt.Model, delay: int, inputs: Mapping[str, Any]) -> None:
    """Compare the answers of a stream, late as they are, with those of the whole sequence."""
    expected = whole(model, inputs)
    longest = max(len(ys) for ys in expected.values())
    steps = len(next(iter(inputs.values())))
    found = stepped(streaming, followed(streaming, inputs, delay + max(0, longest - steps)))
    assert found.keys() == expected.keys()
    for name, ys in expected.items():
        np.testing.assert_array_equal(found[name][delay:][: len(ys)], ys, strict=True)


DELAYS = {
    "same": 2,
    "same_even": 3,
    "valid": 2,
    "cut_after": 1,
    "cut_late": 0,
    "longer": 0,
    "residual": 3,
    "max_pool_dilated": 3,
    "without_the_first": 5,
    "without_both_ends": 2,
    "differences": 1,
    "ahead": 1,
    "with_what_is_ahead": 2,
    "ones_around": 0,
    "ones_before": 0,
}


def exported(network: Network, folder: Path) -> grurt.Model:
    path = folder / "model.onnx"
    path.write_bytes(onnx_exports.exported(network, dynamo=False, opset=18))
    return convert(path)


@pytest.mark.slow
@pytest.mark.parametrize("name", DELAYS)
def test_answers_are_those_of_pytorch_so_many_timesteps_later(name: str, tmp_path: Path) -> None:
    network = NETWORKS[name]
    model = exported(network, tmp_path)
    streaming, delay = model.delayed()
    assert delay == DELAYS[name]
    assert streaming.unstreamable_reason is None
    (x,) = network.inputs
    with torch.no_grad():
        answers = onnx_exports.tensors(network.module(x))[0].numpy()
    for row in range(len(x)):
        inputs = {model.inputs[0].name: x[row].numpy()}
        check_bits(model, streaming, delay, inputs)
        found = stepped(streaming, followed(streaming, inputs, delay + 8))
        found_rows = found[model.outputs[0].name][delay:][: answers.shape[1]]
        np.testing.assert_allclose(found_rows, answers[row], rtol=0, atol=TOLERANCE)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("strided", "layer 'conv.windows' gives one timestep for every 2"),
        ("both_directions", "is a GRU in reverse direction"),
    ],
)
def test_what_cannot_stream_however_late(name: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(StreamingError, match=message):
        exported(NETWORKS[name], tmp_path).delayed()


class Separator(nn.Module):
    """Convolutions that make something of nothing, dilated ones around which values pass, pools, and a GRU."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv1d(3, 8, 5, padding=2)
        self.dilated = nn.Conv1d(8, 8, 3, padding=2, dilation=2)
        self.depthwise = nn.Conv1d(8, 8, 3, padding=1, groups=8)
        self.largest = nn.MaxPool1d(3, 1, 1)
        self.mean = nn.AvgPool1d(3, 1, 1, count_include_pad=False)
        self.gru = nn.GRU(8, 8, batch_first=True)
        self.both = nn.Linear(16, 4)
        self.last = nn.Conv1d(4, 4, 4, padding="same")

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        first = torch.relu(self.first(x.transpose(1, 2)) + 0.1)
        y = first + torch.relu(self.dilated(first))
        y = y + self.depthwise(self.largest(y))
        h, end = self.gru(y.transpose(1, 2))
        y = self.both(torch.cat([h, first.transpose(1, 2)], 2)).transpose(1, 2)
        return self.mean(self.last(y)).transpose(1, 2), end


@pytest.mark.slow
def test_sequences_of_any_length_and_the_state_at_their_end(tmp_path: Path) -> None:
    torch.manual_seed(3)
    network = Network(Separator().eval(), (torch.randn(1, 20, 3),), {1: "time"})
    model = exported(network, tmp_path)
    streaming, delay = model.delayed()
    assert delay == 9
    for steps in (1, 2, 3, 8, 9, 10, 40):
        xs = np.random.default_rng(steps).normal(size=(steps, 3)).astype(np.float32)
        inputs = {model.inputs[0].name: xs}
        check_bits(model, streaming, delay, inputs)
        stream = streaming.stream()
        answers = stream.run(followed(streaming, inputs, delay))
        with torch.no_grad():
            ys, end = network.module(torch.from_numpy(xs)[np.newaxis])
        np.testing.assert_allclose(answers[delay:], ys[0], rtol=0, atol=TOLERANCE)
        np.testing.assert_allclose(stream.state["gru"], end[0, 0], rtol=0, atol=TOLERANCE)


def random_inputs(model: grurt.Model, steps: int, seed: int) -> dict[str, Any]:
    return models.random_inputs(model.inputs, steps, np.random.default_rng(seed))


@pytest.mark.parametrize("seed", range(40))
def test_random_models_have_the_bits_of_whole_sequences(seed: int) -> None:
    model = random_looking_ahead(seed)
    if model.unstreamable_reason is None:
        pytest.fail("nothing looks ahead")
    streaming, delay = model.delayed()
    for steps in (1, 2, 7, 30):
        check_bits(model, streaming, delay, random_inputs(model, steps, seed))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_blocks_pools_forks_snapshots_and_files(seed: int, tmp_path: Path) -> None:
    model = random_looking_ahead(seed)
    streaming, delay = model.delayed()
    streaming.save(tmp_path / "streaming.grurt")
    read = grurt.load(tmp_path / "streaming.grurt")
    assert read.source.notes[-1] == f"streams, {delay} timesteps late"
    inputs = followed(streaming, random_inputs(model, 25, seed), delay)
    expected = stepped(streaming, inputs)
    first, second = ({name: xs[part] for name, xs in inputs.items()} for part in (slice(None, 6), slice(6, None)))
    stream = streaming.stream()
    before = stream.run(first)
    fork, restored = stream.fork(), read.stream()
    restored.restore(stream.snapshot())
    for each in (stream, fork, restored):
        after = each.run(second)
        for name, ys in expected.items():
            np.testing.assert_array_equal(np.concatenate([before[name], after[name]]), ys)
    pool = read.pool(3)
    for step in range(25 + delay):
        answers = pool.step([2, 0], {name: np.array([xs[step]] * 2) for name, xs in inputs.items()})
        for name, ys in expected.items():
            np.testing.assert_array_equal(answers[name], [ys[step]] * 2)


@pytest.mark.slow
@pytest.mark.parametrize("weights", ["float16", "int8"])
def test_quantized_models(weights: Any) -> None:
    model = random_looking_ahead(4).quantize(weights)
    streaming, delay = model.delayed()
    check_bits(model, streaming, delay, random_inputs(model, 20, 4))


@pytest.mark.slow
def test_exported_models_wait_too(tmp_path: Path) -> None:
    model = random_looking_ahead(5)
    streaming, delay = model.delayed()
    inputs = followed(streaming, random_inputs(model, 12, 5), delay)
    exported = export(streaming, "x86_64-linux-gnu")
    found = c_programs.answers(exported, "x86_64-linux-gnu", streaming, inputs, tmp_path)
    for ys, expected in zip(found, stepped(streaming, inputs).values(), strict=True):
        np.testing.assert_array_equal(ys, expected)


def looking_ahead(*more: Any, **options: Any) -> grurt.Model:
    """Return a model that begins with the timestep that comes next."""
    ahead = grurt.Unfold(name="ahead", inputs=("x",), padding=(-1, 1))
    return models.layer_model(ahead, *more, rng=np.random.default_rng(1), inputs=[grurt.Input("x", 3)], **options)


def test_the_answer_at_the_end_is_that_of_the_sequence() -> None:
    model = looking_ahead(
        grurt.GRU(name="gru", input_size=3, hidden_size=4),
        grurt.LastStep(name="last"),
        grurt.Linear(name="fc", input_size=4, output_size=2),
    )
    streaming, delay = model.delayed()
    xs = np.random.default_rng(2).normal(size=(6, 3)).astype(np.float32)
    stream = streaming.stream()
    answers = stream.run(followed(streaming, {"x": xs}, delay))
    for steps in (1, 4, 6):
        until = model.run(xs[:steps])
        there = stepped(streaming, followed(streaming, {"x": xs[:steps]}, delay))["y"]
        np.testing.assert_array_equal(there[-1], until)
    np.testing.assert_array_equal(answers[-1], model.run(xs))


def test_names_that_are_taken_stay_what_they_are() -> None:
    present = grurt.Linear(name="present", inputs=("ahead",), input_size=3, output_size=2)
    model = looking_ahead(present)
    streaming, delay = model.delayed()
    assert [port.name for port in streaming.inputs] == ["x", "present'"]
    check_bits(model, streaming, delay, {"x": np.ones((4, 3), np.float32)})


def test_infinities_made_of_nothing_go_nowhere() -> None:
    model = looking_ahead(
        grurt.Activation(name="log", function=grurt.Log()),
        grurt.Conv1d(name="conv", input_size=3, output_size=2, kernel_size=3),
    )
    xs = np.random.default_rng(2).uniform(1, 2, size=(6, 3)).astype(np.float32)
    streaming, _ = model.delayed()
    answers = stepped(streaming, followed(streaming, {"x": xs}, 1))["y"]
    expected = model.run(xs)
    np.testing.assert_array_equal(answers[1:-1], expected[:-1])
    assert np.isfinite(answers[1:-1]).all()


def test_infinities_do_not_touch_what_waits() -> None:
    model = looking_ahead(
        grurt.Activation(name="log", inputs=("x",), function=grurt.Log()),
        grurt.Activation(name="floor", function=Clip(-2.0, 2.0)),
        grurt.Concat(name="both", inputs=("ahead", "log", "floor")),
    )
    streaming, delay = model.delayed()
    assert delay == 1
    xs = np.float32([[1, 0, 2], [0, 3, 0], [2, 1, 0], [1, 1, 1]])
    check_bits(model, streaming, delay, {"x": xs})


def test_infinities_reach_later_stages_beside_an_input() -> None:
    model = looking_ahead(
        grurt.Activation(name="log", function=grurt.Log()),
        grurt.Unfold(name="later", padding=(-1, 1)),
        grurt.Concat(name="all", inputs=("later", "x")),
        grurt.Activation(name="floor", function=Clip(-2.0, 2.0)),
    )
    xs = np.float32([[1, 0, 2], [0, 3, 0], [2, 1, 0], [1, 1, 1]])
    streaming, delay = model.delayed()
    check_bits(model, streaming, delay, {"x": xs})
    xs[2, 0] = np.inf
    with pytest.raises(grurt.InputValueError, match=r"input 'x' at \[2, 0\]: expected finite numbers, got inf"):
        model.run(xs)


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ([grurt.GRU(name="gru", input_size=3, hidden_size=2, direction="reverse")], "'gru' is a GRU in reverse"),
        ([grurt.FirstStep(name="first")], "'first'"),
        ([grurt.Unfold(name="few", stride=2)], "'few' gives one timestep for every 2"),
    ],
)
def test_what_is_refused(layers: list[Any], message: str) -> None:
    with pytest.raises(StreamingError, match=message):
        looking_ahead(*layers).delayed()


def test_an_end_does_not_wait_for_what_is_later() -> None:
    later = grurt.Unfold(name="later", inputs=("ahead",), padding=(-1, 1))
    outputs = (grurt.Output("end", "last"), grurt.Output("later", "later"))
    model = looking_ahead(later, grurt.LastStep(name="last", inputs=("ahead",)), outputs=outputs)
    with pytest.raises(
        StreamingError, match="'last' is the end of a sequence, beside which others are 1 timesteps later"
    ):
        model.delayed()


def test_a_model_that_streams_is_not_delayed() -> None:
    from grurt.demo import load_model

    with pytest.raises(StreamingError, match="the model streams as it is: nothing in it looks ahead"):
        load_model().delayed()


def test_who_asks_for_a_stream_hears_of_it() -> None:
    with pytest.raises(StreamingError, match=r"looks 1 timestep ahead; use Model\.run on .*, or Model\.delayed$"):
        looking_ahead().stream()


def test_the_command(tmp_path: Path) -> None:
    model = looking_ahead(grurt.GRU(name="gru", input_size=3, hidden_size=4))
    model.save(tmp_path / "model.grurt")
    said = commandline.succeed("delay", tmp_path / "model.grurt", "-o", tmp_path / "streaming.grurt")
    assert said.startswith(f"wrote {tmp_path / 'streaming.grurt'}, ")
    assert said.endswith("note: streams, 1 timesteps late\n")
    check_bits(model, grurt.load(tmp_path / "streaming.grurt"), 1, {"x": np.ones((4, 3), np.float32)})
    said = commandline.fail("delay", tmp_path / "streaming.grurt", "-o", tmp_path / "again.grurt")
    assert "the model streams as it is" in said
    assert not (tmp_path / "again.grurt").exists()
