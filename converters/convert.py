"""One function for every foreign file."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from grurt.converters.describe import Describable, describe
from grurt.converters.description import Description
from grurt.converters.detect import FileFormat, detect_format
from grurt.converters.foreign_formats import by_keys
from grurt.converters.installed import expect_onnx, is_installed
from grurt.converters.literal.options import Import, ImportOptions, StepOptions
from grurt.converters.reading import errors_named, unreadable_files_named
from grurt.converters.reference import attach_reference, check_reference, with_note
from grurt.converters.torch.checkpoint.state_dict import StateDict, finish_state_dict, module_of, read_detected
from grurt.errors import ConversionError, DescriptionError, DesignReason, UnsupportedError
from grurt.model import Model
from grurt.network.network import Network, Source
from grurt.network.reference_run import ReferenceRun

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

_SCRIPT_NOTE = "only the weights of the TorchScript program were read: its layers are those of the description"


def convert(
    source: str | Path | Mapping[str, ArrayLike],
    layers: Describable | None = None,
    *,
    entry: str | None = None,
    repair: bool = False,
    reference: bool = True,
    imported: Import | None = None,
    bind: Mapping[str, ArrayLike] | None = None,
    state: Mapping[str, str | None] | None = None,
    initial: str | Path | Mapping[str, ArrayLike] | None = None,
    context: Iterable[str] = (),
    size: Mapping[str, int] | None = None,
) -> Model:
    """Read a trained network from another framework's file, or from arrays in memory.

    What a file is follows from its content. Where the source framework is installed, the model also gets its answer
    to a test input, and is compared with it.

    Parameters
    ----------
    source
        A file that holds a whole network: ONNX, ``.pt2`` of `torch.export`, JSON of RTNeural or CoreAudioML. Or
        weights: a PyTorch state dict in ``.pt``, ``.pth``, ``.ckpt``, ``.safetensors`` or JSON, a TorchScript program,
        arrays in ``.npz``; or a mapping of arrays by name.
    layers
        The layers of weights, which carry no architecture; see `describe`. A whole network needs no description.
    entry
        Which network of weights that are of several, such as ``"actor"``: the key of its state dict in a checkpoint,
        nested keys joined by dots; or a module of a state dict. An error lists the state dicts of a checkpoint.
    repair
        Correct known mistakes of exporters, and say so in ``model.source.notes``; otherwise they are errors.
    reference
        Run the source framework on a test input and compare. False spares the time, and needs no engine.
    imported
        How a graph, which ONNX and ``.pt2`` hold, is imported: ``"meaning"`` looks for layers and for the axis of
        time; ``"literal"`` runs a graph of one timestep as it stands. None tries the one, and then the other.
        ``model.source.notes`` say so where it was literally.
    bind
        Of a graph that is imported literally: values of inputs that are fixed, by name.
    state
        Of such a graph: names of outputs that go back, by the inputs that they go back into; None for an input that is
        no state. Others are paired by name.
    initial
        Of such a graph: what its states begin as, by the names of inputs, or an ``.npz`` of that; zeros else.
    context
        Of such a graph: names of inputs that are the same at every timestep, such as the memory that an encoder left.
        A stream is given them once, and what depends on them alone is computed once: see `grurt.StreamContext`.
    size
        Of such a graph: how large a size that contexts leave open may be at most, by its name. A stream may be given
        shorter ones: what is not there is left out.

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
    begins = _read_initial(Path(initial)) if isinstance(initial, str | Path) else initial
    options = ImportOptions(imported, StepOptions(bind or {}, state or {}, begins or {}, tuple(context), size or {}))
    if isinstance(source, Mapping):
        _refuse_options(options, "arrays")
        arrays = source
        return _finished("arrays", lambda: _network_of_arrays(arrays, layers, entry, reference))
    path = Path(source)
    found = detect_format(path)
    return _finished(path.name, lambda: _network_of_file(path, found, layers, entry, repair, reference, options))


def convert_onnx(path: str | Path, *, repair: bool = False, reference: bool = True) -> Model:
    """Convert an ONNX file that holds a GRU network.

    Parameters
    ----------
    path
        The file. Weights in files beside it are found; nothing outside its folder is opened.
    repair
        Accept a file of PyTorch's with ``linear_before_reset=0``, which faulty exporters wrote by mistake, and convert
        what was meant. The model's ``source.notes`` say so.
    reference
        Run the file with onnxruntime, if that is installed, in a process of its own, and keep the answers as the
        model's reference run. Where onnxruntime cannot run it, or its process ends, ``source.notes`` say why.

    Raises
    ------
    OSError
        If the file cannot be read.
    ConversionError
        If it is not an ONNX file, is damaged, or holds weights that no layer uses; or if the package onnx is missing.
    UnsupportedError
        If it holds something that grurt does not implement: the message names the node, and says what to do.

    Examples
    --------
    >>> from grurt.converters import convert_onnx
    >>> convert_onnx("tests/data/onnx/c_eachstep_bf.ts.da.op20.onnx")
    <grurt.Model gru, linear: 363 parameters>
    """
    path = Path(path)
    with errors_named(path.name):
        return Model.from_network(_network_of_onnx(path, repair, reference, ImportOptions()))


def _finished(name: str, read: Callable[[], Network]) -> Model:
    """Return the model of what was read, compared with its source's answers, if it has them; errors say its name."""
    with unreadable_files_named(name), errors_named(name):
        model = Model.from_network(read())
    check_reference(model)
    return model


def _network_of_file(
    path: Path,
    found: FileFormat,
    layers: Describable | None,
    entry: str | None,
    repair: bool,
    reference: bool,
    options: ImportOptions,
) -> Network:
    if found is FileFormat.ONNX:
        _refuse_description(layers, entry, "an ONNX file")
        return _network_of_onnx(path, repair, reference, options)
    if found is FileFormat.PT2:
        from grurt.converters.pt2.convert import network_of_file

        _refuse_description(layers, entry, "a program of torch.export")
        return network_of_file(path, reference=reference, options=options)
    _refuse_options(options, "such a file")
    if found in (FileFormat.KERAS, FileFormat.HDF5):
        _refuse_description(None, entry, "a file of Keras")
        return _network_of_keras(path, layers, reference)
    if found is FileFormat.JSON:
        return _network_of_json(path, layers, entry, reference)
    description, entry = _described(layers, entry)
    if found is FileFormat.NPZ:
        from grurt.converters.arrays.npz import read_npz

        state_dict = module_of(finish_state_dict(read_npz(path), "arrays"), entry)
    else:
        state_dict = read_detected(path, found, entry)
    network = _network_of_weights(state_dict, description, path.name, reference)
    return with_note(network, _SCRIPT_NOTE) if found is FileFormat.TORCHSCRIPT else network


def _described(layers: Describable | None, entry: str | None) -> tuple[Description | None, str | None]:
    """Return the description, and the entry that the caller or the description gives."""
    description = None if layers is None else describe(layers)
    told = None if description is None else description.entry
    if entry is not None and told not in (None, entry):
        raise DescriptionError(f"entry: expected one, got {entry!r} and, in the description, {told!r}")
    return description, told if entry is None else entry


def _network_of_onnx(path: Path, repair: bool, reference: bool, options: ImportOptions) -> Network:
    expect_onnx()
    from grurt.converters.onnx.convert import network_of_file

    return network_of_file(path, repair=repair, reference=reference, options=options)


def _network_of_keras(path: Path, layers: Describable | None, reference: bool) -> Network:
    from grurt.converters.keras.convert import network_of_file

    if layers is not None and not isinstance(layers, str | Path):
        raise DescriptionError("layers: weights of Keras need the path of a JSON file, from model.to_json()")
    return network_of_file(path, architecture=Path(layers) if layers else None, reference=reference)


def _network_of_json(path: Path, layers: Describable | None, entry: str | None, reference: bool) -> Network:
    from grurt.converters.rtneural import coreaudioml
    from grurt.converters.rtneural.convert import is_model, network_of_document
    from grurt.converters.rtneural.reading import read_json
    from grurt.converters.rtneural.weights import read_state_dict_json

    document = read_json(path)
    if (foreign := by_keys(document.keys())) is not None:
        what, advice = foreign
        raise UnsupportedError(
            f"expected a model that grurt reads, got {what}; {advice}", reason=DesignReason.OTHER_FORMAT
        )
    if is_model(document):
        _refuse_description(layers, entry, "RTNeural's list of layers")
        network = network_of_document(document, Source(format="rtneural", file=path.name))
        return attach_reference(network, lambda: _evaluated(network)) if reference else network
    if coreaudioml.is_model(document):
        _refuse_description(layers, entry, "model_data")
        simple = coreaudioml.read(document)
        network = coreaudioml.network_of(simple, Source(format="coreaudioml", file=path.name))
        run = partial(coreaudioml.reference_run, simple, network)
        return attach_reference(network, run) if reference else network
    description, entry = _described(layers, entry)
    state_dict = read_state_dict_json(document, entry)
    return _network_of_weights(state_dict, description, path.name, reference)


def _network_of_arrays(
    arrays: Mapping[str, ArrayLike], layers: Describable | None, entry: str | None, reference: bool
) -> Network:
    from grurt.converters.arrays.npz import read_arrays

    description, entry = _described(layers, entry)
    state_dict = module_of(finish_state_dict(read_arrays(arrays), "arrays"), entry)
    return _network_of_weights(state_dict, description, "", reference)


def _network_of_weights(state_dict: StateDict, description: Description | None, file: str, reference: bool) -> Network:
    from grurt.converters.torch.assembly.build import network_of_state_dict

    network = network_of_state_dict(state_dict, description, file)
    return attach_reference(network, lambda: _evaluated(network)) if reference else network


def _refuse_description(layers: Describable | None, entry: str | None, what: str) -> None:
    if layers is not None:
        raise DescriptionError(f"layers: {what} holds the architecture itself; leave the description out")
    if entry is not None:
        raise DescriptionError(f"entry: expected none, got {entry!r}: {what} holds one network; leave it out")


def _read_initial(path: Path) -> Mapping[str, ArrayLike]:
    """Return the arrays in a file of states."""
    from grurt.converters.arrays.npz import read_npz

    if detect_format(path) is not FileFormat.NPZ:
        raise ConversionError(f"{path.name}: expected states in an .npz file, got another format")
    with unreadable_files_named(path.name), errors_named(path.name):
        return read_npz(path)


def _refuse_options(options: ImportOptions, what: str) -> None:
    if options != ImportOptions():
        raise ConversionError(
            f"imported, bind, state, initial, context and size are for graphs, in ONNX files and .pt2; got {what}"
        )


def _evaluated(network: Network) -> ReferenceRun:
    """Return what torch computes for a network of which there is no other source."""
    if not is_installed("torch"):
        raise ConversionError("torch is not installed")
    from grurt.converters.torch.assembly.evaluation import reference_run

    return reference_run(network)
