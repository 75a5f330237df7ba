"""Axes that a file declares open and fixes all the same: exporters write Python's numbers into a graph."""

from __future__ import annotations

import itertools
import re
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx_graphs
import pytest
import torch
from onnx_graphs import INPUT, after_gru, node
from torch import Tensor, nn

from grurt.converters import convert
from grurt.errors import DesignReason, UnsupportedError

H = 8
NUMBERS = re.compile(r"\b(100\d|101\d|400\d|\d{4,})\b")
"""What stands for sizes that are open, or is computed of that."""


class Net(nn.Module):
    """A GRU between what a forward function does with Python's numbers of sequences and timesteps."""

    def __init__(self, forward: Callable[..., Any], *, batch_first: bool = True) -> None:
        super().__init__()
        self.gru = nn.GRU(6, H, batch_first=batch_first)
        self.fc = nn.Linear(H, 3)
        self.cell = nn.GRUCell(6, H)
        self.function = forward

    def forward(self, *inputs: Tensor) -> Any:
        return self.function(self, *inputs, *map(int, inputs[0].shape[:2]))


def flattened(net: Net, x: Tensor, b: int, t: int) -> Tensor:
    return net.fc(net.gru(x)[0].reshape(b * t, H)).reshape(b, t, 3)


def viewed(net: Net, x: Tensor, b: int, t: int) -> Tensor:
    return net.fc(net.gru(x.view(b, t, 6))[0])


def parts(net: Net, x: Tensor, b: int, t: int) -> Tensor:
    return net.fc(net.gru(x)[0].view(b, t, 2, H // 2).reshape(b, t, H))


def with_state(net: Net, x: Tensor, h: Tensor, b: int, t: int) -> tuple[Tensor, Tensor]:
    y, h = net.gru(x, h)
    return net.fc(y.reshape(b * t, H)).view(b, t, 3), h


def unrolled(net: Net, x: Tensor, b: int, t: int) -> Tensor:
    h, steps = x.new_zeros(b, H), []
    for index in range(t):
        h = net.cell(x[:, index], h)
        steps.append(net.fc(h))
    return torch.stack(steps, 1)


NETS = {"flattened": flattened, "viewed": viewed, "parts": parts, "with_state": with_state, "unrolled": unrolled}


def inputs_of(name: str, batch: int, time: int) -> tuple[Tensor, ...]:
    x = torch.randn(batch, time, 6)
    return (x, torch.rand(1, batch, H)) if name == "with_state" else (x,)


def export(net: nn.Module, inputs: Sequence[Tensor], opened: str, path: Path) -> None:
    """Export with dynamo=False, and declare the axes of these letters as open."""
    places = [{"b": 0, "t": 1}, {"b": 1}]
    names = ("x", "h")[: len(inputs)]
    axes = {n: {p[a]: a for a in opened if a in p} for n, p in zip(names, places, strict=False)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of numbers that were frozen
        torch.onnx.export(net, tuple(inputs), path, dynamo=False, input_names=list(axes), dynamic_axes=axes)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "opened"),
    [*itertools.product((name for name in NETS if name != "unrolled"), ("b", "t", "bt")), ("unrolled", "b")],
)
def test_one_timestep_and_one_sequence_are_what_a_file_is_for(name: str, opened: str, tmp_path: Path) -> None:
    """It streams as the source's own loop of single timesteps does."""
    net, inputs = Net(NETS[name]).eval(), inputs_of(name, 1, 1)
    export(net, inputs, opened, tmp_path / "model.onnx")
    model = convert(tmp_path / "model.onnx")
    assert model.verify().ok
    assert any(
        "declared open" in note and "but the graph fixes it: taken for 1" in note for note in model.source.notes
    ) or (
        name == "unrolled" and opened == "b"  # its state of zeros fits any batch
    )
    assert not any(NUMBERS.search(note) for note in model.source.notes)
    xs = torch.randn(1, 9, 6)
    with torch.no_grad():
        h = torch.zeros(1, 1, H)
        stream = model.stream()
        for t in range(9):
            if name == "with_state":
                expected, h = net(xs[:, t : t + 1], h)
            elif name == "unrolled":
                h = net.cell(xs[:, t], h[0])[None]
                expected = net.fc(h[0])
            else:
                y, h = net.gru(xs[:, t : t + 1], h)
                expected = net.fc(y)
            np.testing.assert_allclose(stream.step(xs[0, t].numpy()), expected.reshape(3), rtol=0, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize(("batch", "time"), [(1, 4), (4, 1), (4, 4)])
@pytest.mark.parametrize("name", NETS)
def test_other_sizes_are_named(name: str, batch: int, time: int, tmp_path: Path) -> None:
    """For every choice of axes that are declared open: those that are not are fixed, and convert."""
    net, inputs = Net(NETS[name]).eval(), inputs_of(name, batch, time)
    with torch.no_grad():
        answers = net(*inputs)
    expected = answers if isinstance(answers, tuple) else (answers,)
    for opened in ("", "b", "t", "bt"):
        if name == "unrolled" and time == 1 and "t" in opened:
            continue  # nothing repeats in a loop of one timestep: below
        export(net, inputs, opened, tmp_path / "model.onnx")
        frozen = {axis: size for axis, size in (("b", batch), ("t", time)) if axis in opened and size != 1}
        if name == "unrolled":  # whose loop is over timesteps
            frozen.pop("b", None)
        if not frozen:
            model = convert(tmp_path / "model.onnx", reference=False)
            found = model.run({p.name: x.numpy() for p, x in zip(model.signature.inputs, inputs, strict=True)})
            for array, answer in zip(found.values(), expected, strict=True):
                np.testing.assert_allclose(array, answer, rtol=0, atol=1e-5)
            continue
        with pytest.raises(UnsupportedError, match="but frozen at 4") as caught:
            convert(tmp_path / "model.onnx", reference=False)
        assert caught.match("export with sizes that are taken from the tensors themselves, not from Python numbers")
        for axis, index in (("b", 0), ("t", 1)):
            named = f"axis {index} of input 'x' is declared open ({axis}), but frozen at" in str(caught.value)
            assert named == (axis in frozen) or (axis in opened and axis not in frozen)
        assert not NUMBERS.search(str(caught.value))


def cut_apart(net: Net, x: Tensor, b: int, t: int) -> Tensor:
    h, steps = x.new_zeros(x.shape[0], H), []
    for step in x.unbind(1):
        h = net.cell(step, h)
        steps.append(h)
    return net.fc(torch.stack(steps, 1).relu())


def last_of_loop(net: Net, x: Tensor, b: int, t: int) -> Tensor:
    h = x.new_zeros(x.shape[0], H)
    for index in range(t):
        h = net.cell(x[:, index], h)
    return net.fc(h)


def backwards(net: Net, x: Tensor, b: int, t: int) -> Tensor:
    h, steps = x.new_zeros(x.shape[0], H), []
    for index in reversed(range(t)):
        h = net.cell(x[:, index], h)
        steps.insert(0, h)
    return net.fc(torch.stack(steps, 1))


def without_cells(net: Net, x: Tensor, b: int, t: int) -> Tensor:
    return net.fc(net.gru(torch.stack([step.tanh() for step in x.unbind(1)], 1))[0])


def merely_joined(net: Net, x: Tensor, b: int, t: int) -> Tensor:
    return net.fc(net.gru(torch.stack(x.unbind(1), 1))[0])


@pytest.mark.slow
@pytest.mark.parametrize("forward", [unrolled, cut_apart, last_of_loop, backwards, without_cells, merely_joined])
def test_a_loop_written_out_for_an_example_is_frozen_at_it(forward: Callable[..., Any], tmp_path: Path) -> None:
    """The file answers other sequences with the timesteps of its example, or not at all: it does not say `any`."""
    export(Net(forward).eval(), inputs_of("", 2, 7), "bt", tmp_path / "model.onnx")
    with pytest.raises(
        UnsupportedError, match=r"axis 1 of input 'x' is declared open \(t\), but frozen at 7;"
    ) as caught:
        convert(tmp_path / "model.onnx", reference=False)
    assert caught.value.reason is DesignReason.FAULTY_SOURCE


@pytest.mark.slow
def test_a_loop_over_the_first_timesteps_alone_is_none_over_all(tmp_path: Path) -> None:
    net = Net(lambda net, x, b, t: cut_apart(net, x[:, : t - 2], b, t)).eval()
    export(net, inputs_of("", 2, 7), "bt", tmp_path / "model.onnx")
    with pytest.raises(UnsupportedError, match="it keeps no more than 5 timesteps of axis 1 of input 'x'") as caught:
        convert(tmp_path / "model.onnx", reference=False)
    assert caught.value.reason is DesignReason.SEQUENCE_LENGTH


@pytest.mark.slow
def test_two_sequences_of_frozen_lengths_are_named(tmp_path: Path) -> None:
    net = Net(lambda net, x, z, b, t: unrolled(net, x, b, t) + unrolled(net, z, b, t)).eval()
    x, z = torch.randn(2, 4, 6), torch.randn(2, 4, 6)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            net,
            (x, z),
            tmp_path / "model.onnx",
            dynamo=False,
            input_names=["x", "z"],
            dynamic_axes={"x": {1: "t"}, "z": {1: "u"}},
        )
    with pytest.raises(UnsupportedError, match="frozen at 4") as caught:
        convert(tmp_path / "model.onnx", reference=False)
    assert caught.value.reason is DesignReason.FAULTY_SOURCE


@pytest.mark.slow
@pytest.mark.parametrize("opened", ["t", "bt"])
def test_a_loop_of_one_timestep_says_what_was_frozen(opened: str, tmp_path: Path) -> None:
    export(Net(unrolled).eval(), inputs_of("unrolled", 1, 1), opened, tmp_path / "model.onnx")
    with pytest.raises(UnsupportedError, match="export the model again with sequences of a fixed length"):
        convert(tmp_path / "model.onnx", reference=False)


def test_what_depends_on_the_number_of_timesteps_is_refused_at_one_of_them_too() -> None:
    """A product over time is none over one timestep, but one timestep is not what the file was frozen at."""
    nodes = [
        node("Reshape", ["s", "shape"], ["r"]),
        node("ReduceProd", ["r"], ["y"], axes=[0], keepdims=0),
    ]
    weights = {"shape": np.array([-1, 1, onnx_graphs.HIDDEN])}
    graph = after_gru(nodes, weights, shape=("t", 1, INPUT), opset=17)
    with pytest.raises(UnsupportedError, match="across timesteps"):
        onnx_graphs.convert(graph)
    graph = after_gru(
        nodes, weights | {"shape": np.array([0, 1, onnx_graphs.HIDDEN])}, shape=("t", "b", INPUT), opset=17
    )
    with pytest.raises(UnsupportedError, match="across timesteps"):
        onnx_graphs.convert(graph)


@pytest.mark.parametrize("fixed", list(itertools.product(((4, 1), (3, 5)), ("t", "b", 7))))
def test_no_message_has_numbers_that_nobody_chose(fixed: tuple[tuple[int, int], Any]) -> None:
    (first, second), batch = fixed
    nodes = [node("Reshape", ["s", "shape"], ["y"])]
    graph = after_gru(nodes, {"shape": np.array([first, -1, second])}, shape=("t", batch, INPUT))
    with pytest.raises(UnsupportedError) as caught:
        onnx_graphs.convert(graph)
    assert not NUMBERS.search(str(caught.value))
    assert not re.search(r"\b(252|336|1000)\b", str(caught.value))


def test_a_size_that_is_written_as_a_name_is_fixed() -> None:
    """The dynamo exporter names the axes that it was to leave open and found to be fixed: "4"."""
    nodes = [node("Reshape", ["s", "shape"], ["y"])]
    graph = after_gru(nodes, {"shape": np.array([4, 2, onnx_graphs.HIDDEN])}, shape=("4", "2", INPUT))
    model = onnx_graphs.converted_and_checked(graph)
    assert not [note for note in model.source.notes if "declared open" in note]


def test_what_is_computed_of_open_sizes_is_an_open_number() -> None:
    nodes = [node("Flatten", ["f"], ["flat"], axis=1), node("MatMul", ["flat", "M"], ["y"])]
    nodes = [node("Transpose", ["s"], ["f"], perm=[1, 0, 2]), *nodes]
    graph = after_gru(nodes, {"M": onnx_graphs.random(7, 3)}, shape=("t", "b", INPUT))
    message = (
        r"it expects 7 features, and gets a tensor of shape \(b, an open number\): the file is damaged, or was exported"
    )
    with pytest.raises(UnsupportedError, match=message):
        onnx_graphs.convert(graph)


def test_an_initial_state_that_was_frozen_for_one_sequence_is_compared_with_one() -> None:
    graph = onnx_graphs.proto(
        [node("GRU", ["x", "W", "R", "B", "", "h"], ["Y", ""], hidden_size=onnx_graphs.HIDDEN, linear_before_reset=1)],
        {"x": ("t", "b", INPUT)},
        ["Y"],
        {**onnx_graphs.gru_weights(), "h": onnx_graphs.random(1, 1, onnx_graphs.HIDDEN)},
    )
    model = onnx_graphs.converted_and_checked(graph)
    assert model.reference_run is not None
    assert model.reference_run.inputs["x"].shape == (16, 1, INPUT)


@pytest.mark.slow
def test_a_loop_over_a_state_of_four_sequences_is_not_compared_with_one(tmp_path: Path) -> None:
    """Zeros for four of them go with one, and make four of it."""
    net, inputs = Net(unrolled).eval(), inputs_of("unrolled", 4, 3)
    export(net, inputs, "b", tmp_path / "model.onnx")
    model = convert(tmp_path / "model.onnx")
    reason = "onnxruntime runs the file with no other number of sequences than the exporter's example"
    assert f"no reference run: {reason}" in model.source.notes
    with torch.no_grad():
        expected = net(*inputs)
    found = model.run({model.signature.inputs[0].name: inputs[0].numpy()})
    np.testing.assert_allclose(next(iter(found.values())), expected, rtol=0, atol=1e-5)
