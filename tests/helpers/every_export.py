"""Networks exported by PyTorch just now, in each form that it has, and compared with it, whole and step by step."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx_exports
import programs
import pytest
import torch
from onnx_exports import tensors
from torch import Tensor
from torch_networks import Network

import grurt
from grurt.converters import convert
from grurt.network.axes import batch_first
from grurt.network.signature import StatePort, ValuePort

TOLERANCE = 2e-6

FORMS = ("torchscript", "dynamo", "pt2")

FEW_OR_ALL = [
    "torchscript",
    pytest.param("dynamo", marks=pytest.mark.slow),
    pytest.param("pt2", marks=pytest.mark.slow),
]
"""The forms as parameters: the exporters that take their time are left to the whole suite."""


def converted(network: Network, form: str, folder: Path, **options: Any) -> grurt.Model:
    """Export a network and convert the file."""
    if form == "pt2":
        path = folder / "model.pt2"
        programs.exported(network, path)
    else:
        path = folder / "model.onnx"
        path.write_bytes(onnx_exports.exported(network, dynamo=form == "dynamo", opset=18, **options))
    return convert(path)


def check_run(model: grurt.Model, network: Network, inputs: tuple[Tensor, ...]) -> None:
    """Compare what a model makes of the source's tensors, by position: exporters invent the names of outputs."""
    found = model.run({port.name: each.numpy() for port, each in zip(model.signature.inputs, inputs, strict=True)})
    assert isinstance(found, dict)
    with torch.no_grad():
        answers = tensors(network.module(*inputs))
    for port, expected in zip(model.signature.outputs, answers, strict=True):
        np.testing.assert_allclose(found[port.name], expected.numpy(), rtol=0, atol=TOLERANCE, strict=True)


def check_streams(model: grurt.Model, network: Network, steps: list[dict[int, Tensor]], state: int = 1) -> None:
    """Compare streams, one for each sequence, with the source's own loop, which hands its last output back.

    ``steps`` are the inputs of each timestep by position, those of the state left out, which is zeros at first.
    """
    carried = torch.zeros_like(network.inputs[state])
    streams: list[grurt.Stream] = []
    for given in steps:
        inputs = [given.get(place, carried) for place in range(len(network.inputs))]
        with torch.no_grad():
            *answers, carried = tensors(network.module(*inputs))
        values = {
            port.value: batch_first(port, each.numpy()).astype(np.float32)
            for port, each in zip(model.signature.inputs, inputs, strict=True)
            if isinstance(port, ValuePort)
        }
        batch = len(next(iter(values.values())))
        streams = streams or [model.stream() for _ in range(batch)]
        shown = [port for port in model.signature.outputs if not isinstance(port, StatePort)]
        for port, expected in zip(shown, answers, strict=True):
            wanted = batch_first(port, expected.numpy(), batch=batch)[:, 0]
            for row, stream in enumerate(streams):
                answer = stream.step({name: array[row, 0] for name, array in values.items()})
                assert not isinstance(answer, dict)
                np.testing.assert_allclose(answer, wanted[row], rtol=0, atol=TOLERANCE)
