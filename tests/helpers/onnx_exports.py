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
    """Compare with PyTorch in float64, by position: exporters invent the names of outputs."""
    found = model.run({port.name: array.numpy() for port, array in zip(model.signature.inputs, inputs, strict=True)})
    assert isinstance(found, dict)
    with torch.no_grad():
        given = tensors(network.module(*inputs))
    exact = in_float64(network.module, inputs)
    for port, like, array in zip(model.signature.outputs, given, exact, strict=True):
        assert (found[port.name].dtype, found[port.name].shape) == (like.numpy().dtype, like.shape)
        np.testing.assert_allclose(found[port.name], array.numpy(), rtol=0, atol=TOLERANCE)


def in_float64(module: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
    """Return what a module answers in float64: where a network amplifies rounding, float32 is no truth."""
    dtype, default = next(module.parameters()).dtype, torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)  # of tensors that the module makes itself
    try:
        with torch.no_grad():
            return tensors(module.double()(*(x.double() if x.is_floating_point() else x for x in inputs)))
    finally:
        module.to(dtype)
        torch.set_default_dtype(default)


def tensors(answers: Any) -> tuple[torch.Tensor, ...]:
    return answers if isinstance(answers, tuple) else (answers,)
