"""Converts any module through torch's ONNX exporter, in memory."""

from __future__ import annotations

import inspect
import io
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import torch
from torch import Tensor, nn

from grurt.converters.kinds import KINDS
from grurt.converters.literal.options import ImportOptions
from grurt.converters.sampling import SEED
from grurt.converters.torch.module.evaluated import evaluation_mode, flat_tensors
from grurt.errors import ConversionError
from grurt.network.network import Network, Source
from grurt.network.reference_run import ReferenceRun

OPSET = 20
"""The first in which layer normalization and Gelu are single operators, and the last that the older exporter knows."""

NEWER_OPSET = max(OPSET, *(kind.opset for kind in KINDS.values()))
"""Of the newer exporter."""


def network_of_export(
    module: nn.Module, example: tuple[Tensor, ...], *, reference: bool, options: ImportOptions
) -> Network:
    """Export a module that is called with the example, and return the graph's network, imported as ``options`` say."""
    from grurt.converters.onnx.convert import network_of_bytes

    input_names = _input_names(module, len(example))
    with evaluation_mode(module):
        count = len(flat_tensors(_run(module, example)))
        output_names = ["output"] if count == 1 else [f"output_{index}" for index in range(count)]
        data = _export(module, example, input_names, output_names)
    source = Source(
        format="torch", producer=f"torch {torch.__version__}", notes=("exported to ONNX by torch.onnx.export",)
    )
    network = network_of_bytes(data, source=source, options=options)
    if not reference:
        return network
    sample = tuple(
        torch.as_tensor(options.step.bind[name], dtype=tensor.dtype).expand(tensor.shape)
        if name in options.step.bind
        else tensor
        for name, tensor in zip(input_names, _sample(example), strict=True)
    )
    with evaluation_mode(module):
        results = flat_tensors(_run(module, sample))
    inputs = {name: tensor.cpu().numpy() for name, tensor in zip(input_names, sample, strict=True)}
    outputs = {name: tensor.cpu().numpy() for name, tensor in zip(output_names, results, strict=True)}
    run = ReferenceRun(
        {port.name: inputs[port.name] for port in network.signature.inputs},
        {port.name: outputs[port.name] for port in network.signature.outputs},
        f"torch {torch.__version__}",
    )
    return network.replaced(reference_run=run)


def _run(module: nn.Module, inputs: tuple[Tensor, ...]) -> object:
    try:
        return module(*inputs)
    except Exception as error:
        raise ConversionError(
            f"convert_module: expected a module that runs on the example, got {type(module).__name__}: "
            f"{_reason(error)}; check the example's shapes and dtypes"
        ) from error


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {next(iter(str(error).strip().splitlines()), 'no reason given')}"


def _export(module: nn.Module, example: tuple[Tensor, ...], inputs: list[str], outputs: list[str]) -> bytes:
    """Return the module as ONNX.

    The exporter that traces TorchScript comes first: it is quick. What it does not know, the newer one may.
    """
    names: dict[str, Any] = {"input_names": inputs, "output_names": outputs}
    newer_first = _is_beyond_tracing(module)
    if newer_first:  # tracing would fail, and print the whole graph
        with suppress(Exception), _silence():
            return _exported_program(module, example, names)
    try:
        with _silence():
            return _traced(module, example, names)
    except Exception as error:
        if not newer_first:
            with suppress(Exception), _silence():
                return _exported_program(module, example, names)
        raise ConversionError(
            f"convert_module: expected a module that torch can export, got {type(module).__name__}: "
            f"{_reason(error)}; torch.onnx.export(module, example_input, 'model.onnx') shows all of it"
        ) from error


def _is_beyond_tracing(module: nn.Module) -> bool:
    """Say whether a module holds one that the exporter of TorchScript does not know."""
    classes = {name for kind in KINDS.values() if kind.opset > OPSET for name in kind.classes}
    return any(type(part).__name__ in classes for part in module.modules())


def _traced(module: nn.Module, example: tuple[Tensor, ...], names: dict[str, Any]) -> bytes:
    buffer = io.BytesIO()
    torch.onnx.export(
        module,
        example,
        buffer,  # type: ignore[arg-type] # which this exporter takes, though the annotation lacks it
        dynamo=False,
        opset_version=OPSET,
        **names,
    )
    return buffer.getvalue()


def _exported_program(module: nn.Module, example: tuple[Tensor, ...], names: dict[str, Any]) -> bytes:
    program = torch.onnx.export(module, example, dynamo=True, opset_version=NEWER_OPSET, verbose=False, **names)
    data: bytes = program.model_proto.SerializeToString()  # type: ignore[union-attr] # a program, without a file
    return data


@contextmanager
def _silence() -> Iterator[None]:
    """Keep the exporter's warnings and log lines from the user: the conversion checks the result itself."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def _input_names(module: nn.Module, count: int) -> list[str]:
    """Return the names of the first arguments of ``forward``, as far as it names them."""
    parameters = [
        name
        for name, parameter in inspect.signature(module.forward).parameters.items()
        if parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD)
    ]
    return [parameters[index] if index < len(parameters) else f"input_{index}" for index in range(count)]


def _sample(example: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Return seeded numbers in the shapes of the example, in [-1, 1] as a GRU's state is; integers stay as they are."""
    generator = torch.Generator().manual_seed(SEED)
    return tuple(
        (torch.rand(tensor.shape, generator=generator) * 2 - 1).to(tensor) if tensor.is_floating_point() else tensor
        for tensor in example
    )
