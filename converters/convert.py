"""One function for every foreign file."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from grurt.errors import ConversionError, DescriptionError, ModelError
from grurt.model import Model, Source
from grurt.reference_run import ReferenceRun

from .describe import Describable, describe
from .detect import FileFormat, detect_format
from .reference import attach_reference, check_reference


def convert(
    path: str | Path, *, layers: Describable | None = None, repair: bool = False, reference: bool = True
) -> Model:
    """Read a trained network from another framework's file.

    What the file is follows from its content. Where the source framework is installed, the model also gets its answer
    to a test input, and is compared with it.

    Parameters
    ----------
    path
        An ONNX file, or a PyTorch state dict: ``.pt``, ``.pth``, ``.ckpt``, ``.safetensors``.
    layers
        The layers of a state dict, which carries weights only; see `describe`. An ONNX file needs no description.
    repair
        Correct known mistakes of exporters, and say so in ``model.source.notes``; otherwise they are errors.
    reference
        Run the source framework on a test input and compare. False spares the time, and needs no engine.

    Raises
    ------
    ConversionError
        If there is no such file, or it is damaged, or the model's answers differ from its source's.
    UnsupportedError
        If it holds something that grurt does not implement.
    DescriptionError
        If ``layers`` is missing for a state dict, given for an ONNX file, or does not fit.

    Examples
    --------
    >>> from grurt.converters import convert
    >>> convert("tests/data/torch/c_eachstep_bf.pt", layers="gru, fc")
    <grurt.Model gru, linear: 363 parameters>
    """
    path = Path(path)
    found = detect_format(path)
    try:
        if found is FileFormat.ONNX:
            model = _convert_onnx(path, layers, repair, reference)
        else:
            model = _convert_state_dict(path, found, layers, reference)
    except ConversionError as error:
        raise type(error)(f"{path.name}: {error}") from error
    except ModelError as error:
        raise ConversionError(f"{path.name}: {error}") from error
    if reference:
        check_reference(model)
    return model


def _convert_onnx(path: Path, layers: Describable | None, repair: bool, reference: bool) -> Model:
    if importlib.util.find_spec("onnx") is None:
        raise ConversionError("expected the package onnx to be installed, found none; run: pip install 'grurt[onnx]'")
    from .onnx import convert_onnx

    if layers is not None:
        raise DescriptionError("layers: an ONNX file holds the architecture itself; leave the description out")
    return convert_onnx(path, repair=repair, reference=reference)


def _convert_state_dict(path: Path, found: FileFormat, layers: Describable | None, reference: bool) -> Model:
    from .torch.build import build_model
    from .torch.state_dict import read_detected

    description = None if layers is None else describe(layers)
    state_dict = read_detected(path, found, description.entry if description else None)
    source = Source(format=state_dict.format, file=path.name)
    model = build_model(state_dict, description, prefix=state_dict.prefix, source=source)
    return attach_reference(model, lambda: _torch_reference_run(model)) if reference else model


def _torch_reference_run(model: Model) -> ReferenceRun:
    if importlib.util.find_spec("torch") is None:
        raise ConversionError("torch is not installed")
    from .torch.evaluation import reference_run

    return reference_run(model)
