"""Networks that look ahead in time, stride or shorten sequences, by every way out of PyTorch, against PyTorch."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import onnx_exports
import programs
import pytest
import torch
from torch_networks import Network
from torch_windows import NETWORKS

import grurt
from grurt.converters import convert
from grurt.converters.onnx.convert import network_of_bytes

WITHOUT_REFERENCE = {"same_even"}
"""Whose padding onnxruntime does not compute, beside a dilation."""

INVALID = {"unbatched"}
"""Which the older exporter writes as pools without a batch."""


QUICK = ("strided_groups", "pools_after_convolutions", "stacked_frames", "without_both_ends")


def some(names: Iterable[str], others: pytest.MarkDecorator = pytest.mark.long) -> list[Any]:
    """Return the names as parameters, of which all but some are marked."""
    return [name if name in QUICK else pytest.param(name, marks=others) for name in names]


def converted(data: bytes, name: str) -> grurt.Model:
    model = grurt.Model.from_network(network_of_bytes(data, source=grurt.Source(format="onnx"), reference=True))
    assert (model.reference_run is None) == (name in WITHOUT_REFERENCE), model.source.notes
    assert model.unstreamable_reason is not None
    return model


def of_length(network: Network, n_steps: int) -> tuple[torch.Tensor, ...]:
    (x,) = network.inputs
    return (torch.randn([n_steps if size == 24 else size for size in x.shape]),)


@pytest.mark.parametrize("name", some([name for name in NETWORKS if name not in INVALID], pytest.mark.slow))
def test_open_axes(name: str) -> None:
    """Files whose time axis is open, at other lengths than the one that they were exported with."""
    network = NETWORKS[name]
    model = converted(onnx_exports.exported(network, dynamo=False, opset=18, open_axes=network.open_axes), name)
    for n_steps in (24, 18, 12) if name in ("pairs", "stacked_frames") else (24, 13, 19):
        onnx_exports.check(model, network, of_length(network, n_steps))


@pytest.mark.slow
@pytest.mark.parametrize("name", some(NETWORKS))
def test_dynamo(name: str) -> None:
    network = NETWORKS[name]
    model = converted(onnx_exports.exported(network, dynamo=True, opset=20), "")
    onnx_exports.check(model, network, network.inputs)


@pytest.mark.slow
@pytest.mark.parametrize("decompose", [False, True])
@pytest.mark.parametrize("name", some(NETWORKS))
def test_programs(name: str, decompose: bool, tmp_path: Path) -> None:
    network = NETWORKS[name]
    programs.exported(network, tmp_path / "program.pt2", decompose=decompose)
    model = convert(tmp_path / "program.pt2")
    assert model.reference_run is not None, model.source.notes
    programs.check(model, network, network.inputs)


@pytest.mark.parametrize("n_steps", [1, 2, 3, 4])
def test_sequences_that_are_too_short_are_refused_where_pytorch_refuses_them(n_steps: int) -> None:
    network = NETWORKS["last_of_strided"]
    model = converted(onnx_exports.exported(network, dynamo=False, opset=18, open_axes=network.open_axes), "")
    inputs = of_length(network, n_steps)
    if n_steps == 4:
        onnx_exports.check(model, network, inputs)
        return
    with pytest.raises(RuntimeError, match="Kernel size can't be greater than actual input size"):
        network.module(*inputs)
    message = rf"layer 'conv\.windows': expected at least 4 timesteps, got {n_steps}: run longer sequences"
    with pytest.raises(grurt.InputShapeError, match=message):
        model.run({"input_0": inputs[0].numpy()})
