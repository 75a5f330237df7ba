"""Branches that ask for the size of an axis, as PyTorch's older exporter writes ``squeeze`` where it lost the shape."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnx_graphs
import pytest
import torch
from onnx import NodeProto, TensorProto, helper
from onnx_graphs import HIDDEN, INPUT, after_gru, node
from torch import Tensor, nn
from torch_networks import Net

from grurt.converters import convert
from grurt.errors import DesignReason, UnsupportedError


def squeeze_if_one(axis: str, asked: str = "axis") -> list[NodeProto]:
    """Return ``y = s.squeeze(axis)`` by an If; the names are those of constants."""
    graphs = [
        helper.make_graph([made], name, [], [helper.make_tensor_value_info(name, TensorProto.FLOAT, None)])
        for name, made in (
            ("squeezed", node("Squeeze", ["s", "axes"], ["squeezed"])),
            ("same", node("Identity", ["s"], ["same"])),
        )
    ]
    return [
        node("Shape", ["s"], ["sizes"]),
        node("Gather", ["sizes", asked], ["size"]),
        node("Equal", ["size", "one"], ["is_one"]),
        node("If", ["is_one"], ["y"], then_branch=graphs[0], else_branch=graphs[1]),
    ]


def weights(axis: int, asked: int) -> dict[str, np.ndarray]:
    return {"axes": np.array([axis]), "axis": np.array(asked), "one": np.array(1)}


@pytest.mark.parametrize(("size", "axes"), [(1, ("batch", "feature")), (4, ("time", "batch", "feature"))])
def test_an_axis_of_known_size(size: int, axes: tuple[str, ...]) -> None:
    network = onnx_graphs.convert(after_gru(squeeze_if_one("axes"), weights(0, 0), shape=(size, "b", INPUT)))
    assert network.signature.outputs[0].axes == axes


def test_an_axis_of_open_size_is_refused() -> None:
    message = r"it removes axis 0 of input 'x' where it happens to be of size 1; remove an axis whose size is known"
    with pytest.raises(UnsupportedError, match=message) as caught:
        onnx_graphs.convert(after_gru(squeeze_if_one("axes"), weights(0, 0), shape=("t", "b", INPUT)))
    assert caught.value.reason is DesignReason.DATA_DEPENDENT


def test_another_question_is_refused_as_a_branch() -> None:
    with pytest.raises(UnsupportedError) as caught:
        onnx_graphs.convert(after_gru(squeeze_if_one("axes"), weights(0, 1), shape=(1, "b", INPUT)))
    assert "If" in str(caught.value)


@pytest.mark.slow
def test_the_last_output_by_length(tmp_path: Path) -> None:
    """Time first, which makes the exporter lose the shape."""

    def forward(net: Any, x: Tensor, lengths: Tensor) -> Tensor:
        y = net.gru(x)[0].transpose(0, 1)
        index = (lengths - 1).view(-1, 1, 1).expand(-1, 1, HIDDEN)
        return net.fc(y.gather(1, index).squeeze(1))

    net = Net(forward, gru=nn.GRU(4, HIDDEN), fc=nn.Linear(HIDDEN, 3)).eval()
    inputs = (torch.randn(6, 3, 4), torch.tensor([6, 2, 4]))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of shapes that are lost
        torch.onnx.export(
            net,
            inputs,
            tmp_path / "model.onnx",
            dynamo=False,
            input_names=["x", "lengths"],
            dynamic_axes={"x": {0: "t", 1: "b"}, "lengths": {0: "b"}},
        )
    assert b"then_branch" in (tmp_path / "model.onnx").read_bytes()
    model = convert(tmp_path / "model.onnx")
    assert model.reference_run is not None
    for x, lengths in (inputs, (torch.randn(9, 4, 4), torch.tensor([1, 9, 5, 8]))):
        with torch.no_grad():
            answer = net(x, lengths)
        (found,) = model.run({"x": x.numpy(), "lengths": lengths.numpy()}).values()
        np.testing.assert_allclose(found, answer, rtol=0, atol=1e-5)
