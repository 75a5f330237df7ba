"""One function for every foreign file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from grurt.errors import ConversionError, DescriptionError, ModelError
from grurt.model import Model, Source
from grurt.network.reference_run import ReferenceRun

from .describe import Describable, describe
from .description import Description
from .detect import FileFormat, detect_format
from .installed import is_installed
from .reference import attach_reference, check_reference, with_note

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from .torch.state_dict import StateDict

_SCRIPT_NOTE = "only the weights of the TorchScript program were read: its layers are those of the description"


def convert(
    source: str | Path | Mapping[str, ArrayLike],
    layers: Describable | None = None,
    *,
    repair: bool = False,
    reference: bool = True,
) -> Model:
    """Read a trained network from another framework's file, or from arrays in memory.

    What a file is follows from its content. Where the source framework is installed, the model also gets its answer
    to a test input, and is compared with it.

    Parameters
    ----------
    source
        A file that holds a whole network: ONNX, ``.pt2`` of `torch.export`, RTNeural's JSON. Or weights: a PyTorch
        state dict in ``.pt``, ``.pth``, ``.ckpt``, ``.safetensors`` or JSON, a TorchScript program, arrays in ``.npz``;
        or a mapping of arrays by name.
    layers
        The layers of weights, which carry no architecture; see `describe`. A whole network needs no description.
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
        If ``layers`` is missing for weights, given for a whole network, or does not fit.

    Examples
    --------
    >>> from grurt.converters import convert
    >>> convert("tests/data/torch/c_eachstep_bf.pt", layers="gru, fc")
    <grurt.Model gru, linear: 363 parameters>
    """
    if isinstance(source, Mapping):
        arrays = source
        return _finished("arrays", lambda: _convert_arrays(arrays, layers, reference))
    path = Path(source)
    found = detect_format(path)
    return _finished(path.name, lambda: _convert_file(path, found, layers, repair, reference))


def _finished(name: str, convert_source: Callable[[], Model]) -> Model:
    """Return the converted model, compared with its source's answers, if it has them; errors say the source's name."""
    try:
        model = convert_source()
    except ConversionError as error:
        raise type(error)(f"{name}: {error}") from error
    except ModelError as error:
        raise ConversionError(f"{name}: {error}") from error
    check_reference(model)
    return model


def _convert_file(path: Path, found: FileFormat, layers: Describable | None, repair: bool, reference: bool) -> Model:
    if found is FileFormat.ONNX:
        return _convert_onnx(path, layers, repair, reference)
    if found is FileFormat.PT2:
        return _convert_pt2(path, layers, reference)
    if found is FileFormat.JSON:
        return _convert_json(path, layers, reference)
    if found in (FileFormat.KERAS, FileFormat.HDF5):
        return _convert_keras(path, layers, reference)
    description = None if layers is None else describe(layers)
    if found is FileFormat.NPZ:
        from .arrays import read_npz

        return _convert_weights(_as_state_dict(read_npz(path)), description, path.name, reference)
    from .torch.state_dict import read_detected

    state_dict = read_detected(path, found, description.entry if description else None)
    model = _convert_weights(state_dict, description, path.name, reference)
    return with_note(model, _SCRIPT_NOTE) if found is FileFormat.TORCHSCRIPT else model


def _convert_onnx(path: Path, layers: Describable | None, repair: bool, reference: bool) -> Model:
    if not is_installed("onnx"):
        raise ConversionError("expected the package onnx to be installed, got none; run: pip install 'grurt[onnx]'")
    from .onnx import convert_onnx

    _refuse_description(layers, "an ONNX file")
    return convert_onnx(path, repair=repair, reference=reference)


def _convert_pt2(path: Path, layers: Describable | None, reference: bool) -> Model:
    from .pt2 import convert_pt2

    _refuse_description(layers, "a program of torch.export")
    model = convert_pt2(path)
    return attach_reference(model, lambda: _pt2_reference_run(model, path)) if reference else model


def _convert_keras(path: Path, layers: Describable | None, reference: bool) -> Model:
    from .keras import convert_keras

    if layers is not None and not isinstance(layers, str | Path):
        raise DescriptionError("layers: weights of Keras need the path of a JSON file, from model.to_json()")
    return convert_keras(path, architecture=layers, reference=reference)


def _convert_json(path: Path, layers: Describable | None, reference: bool) -> Model:
    from .rtneural import convert_rtneural, is_model, read_json, read_state_dict_json

    document: Any = read_json(path)
    if is_model(document):
        _refuse_description(layers, "RTNeural's list of layers")
        model = convert_rtneural(document, Source(format="rtneural", file=path.name))
        return attach_reference(model, lambda: _torch_reference_run(model)) if reference else model
    description = None if layers is None else describe(layers)
    state_dict = read_state_dict_json(document, description.entry if description else None)
    return _convert_weights(state_dict, description, path.name, reference)


def _convert_arrays(arrays: Mapping[str, ArrayLike], layers: Describable | None, reference: bool) -> Model:
    from .arrays import read_arrays

    description = None if layers is None else describe(layers)
    return _convert_weights(_as_state_dict(read_arrays(arrays)), description, "", reference)


def _as_state_dict(arrays: dict[str, Any]) -> StateDict:
    from .torch.state_dict import finish_state_dict

    return finish_state_dict(arrays, "arrays")


def _convert_weights(state_dict: StateDict, description: Description | None, file: str, reference: bool) -> Model:
    from .torch.build import build_model

    source = Source(format=state_dict.format, file=file)
    model = build_model(state_dict, description, source, prefix=state_dict.prefix)
    return attach_reference(model, lambda: _torch_reference_run(model)) if reference else model


def _refuse_description(layers: Describable | None, what: str) -> None:
    if layers is not None:
        raise DescriptionError(f"layers: {what} holds the architecture itself; leave the description out")


def _pt2_reference_run(model: Model, path: Path) -> ReferenceRun:
    if not is_installed("torch"):
        raise ConversionError("torch is not installed")
    from .pt2.reference import reference_run

    return reference_run(model, path)


def _torch_reference_run(model: Model) -> ReferenceRun:
    if not is_installed("torch"):
        raise ConversionError("torch is not installed")
    from .torch.evaluation import reference_run

    return reference_run(model)
