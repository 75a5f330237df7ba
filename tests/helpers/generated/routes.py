"""The ways from a PyTorch module to a file that grurt reads."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from generated.writer import Program

ROUTES = {"torchscript": "onnx", "dynamo": "onnx", "pt2": "pt2"}
"""By name, the suffix of the files."""


def export(
    module: nn.Module, program: Program, inputs: dict[str, Tensor], route: str, folder: Path, *, is_open: bool
) -> Path:
    """Write a file by a route, with axes of open size or without."""
    path = folder / f"network.{route}.{ROUTES[route]}"
    with quiet():
        if route == "torchscript":
            _torchscript(module, program, inputs, path, is_open=is_open)
            return path
        dynamic = (
            tuple(axes or None for axes in open_axes(program, torch.export.Dim.AUTO).values()) if is_open else None
        )
        exported = torch.export.export(module, tuple(inputs.values()), dynamic_shapes=dynamic)
        if route == "pt2":
            torch.export.save(exported, path)
        else:
            torch.onnx.export(exported, tuple(inputs.values()), path, dynamo=True, external_data=False, verbose=False)
    return path


def _torchscript(module: nn.Module, program: Program, inputs: dict[str, Tensor], path: Path, *, is_open: bool) -> None:
    buffer = io.BytesIO()
    torch.onnx.export(
        module,
        tuple(inputs.values()),
        buffer,
        input_names=list(inputs),
        opset_version=17,
        dynamo=False,
        dynamic_axes={name: axes for name, axes in open_axes(program, None).items() if axes} if is_open else None,
    )
    path.write_bytes(buffer.getvalue())


def open_axes(program: Program, dimension: Any) -> dict[str, dict[int, Any]]:
    """Return the axes of each input whose sizes are left open: those of batch and time that are above one."""
    return {
        each.name: {
            axis: dimension or label
            for label, axis, size in (("batch", each.batch_axis, program.batch), ("time", each.time_axis, program.time))
            if axis is not None and size > 1
        }
        for each in program.inputs
    }


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Leave out what exporters say: they warn about themselves, log, and print."""
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()), torch.no_grad():
        warnings.simplefilter("ignore")
        before = logging.root.manager.disable
        logging.disable(logging.CRITICAL)
        try:
            yield
        finally:
            logging.disable(before)
