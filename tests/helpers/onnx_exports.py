"""Networks exported to ONNX by PyTorch just now, and compared with it."""

from __future__ import annotations

import contextlib
import io
import warnings
from typing import Any

import numpy as np
import torch
from onnx_graphs import TOLERANCE
from torch_networks import Network

import grurt


def exported(network: Network, *, dynamo: bool, opset: int, open_axes: Any = None) -> bytes:
    buffer = io.BytesIO()
    names = [f"input_{index}" for index in range(len(network.inputs))]
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")  # the exporters warn about themselves
        torch.onnx.export(
            network.module,
            network.inputs,
            buffer,
            input_names=names,
            opset_version=opset,
            dynamo=dynamo,
            **({"external_data": False, "verbose": False} if dynamo else {}),
            **({"dynamic_axes": dict.fromkeys(names[:1], open_axes)} if open_axes else {}),
        )
    return buffer.getvalue()


def check(model: grurt.Model, network: Network, inputs: tuple[torch.Tensor, ...]) -> None:
    """Compare with PyTorch, by position: exporters invent the names of outputs."""
    with torch.no_grad():
        answers = network.module(*inputs)
    found = model.run({port.name: array.numpy() for port, array in zip(model.signature.inputs, inputs, strict=True)})
    assert isinstance(found, dict)
    expected = answers if isinstance(answers, tuple) else (answers,)
    for port, array in zip(model.signature.outputs, expected, strict=True):
        np.testing.assert_allclose(found[port.name], array.numpy(), rtol=0, atol=TOLERANCE, strict=True)
