"""Reads the weights out of a PyTorch checkpoint or a safetensors file, without torch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import chain
from pathlib import Path

import numpy as np
import safetensors

from grurt.array_types import Array
from grurt.converters.archive import open_archive
from grurt.converters.detect import FileFormat, detect_format
from grurt.converters.json_text import check_json, decode_fields
from grurt.converters.reading import errors_named, unreadable_files_named
from grurt.converters.torch.checkpoint import legacy, zipped
from grurt.converters.torch.checkpoint.candidates import TOP, Leaf, contents_of
from grurt.converters.torch.checkpoint.choice import chosen, no_such_module
from grurt.converters.torch.checkpoint.modules import MAX_TENSORS, is_array, is_quantized, quantized, shape_of
from grurt.converters.torch.checkpoint.names import MAX_NAME, likeness, unwrapped
from grurt.converters.torch.checkpoint.pickles import Opaque
from grurt.converters.torch.checkpoint.tensors import MAX_AXES, MAX_INTEGER, TensorReader, decode, item_size
from grurt.converters.torch.checkpoint.weight_norm import resolve_reparametrized
from grurt.errors import ConversionError, UnsupportedError
from grurt.regular_files import read_regular_file

_PACKED = "_packed_params.dtype"
"""What stands beside a weight that torch has quantized."""

_OTHERS = {
    FileFormat.ONNX: "an ONNX file",
    FileFormat.PT2: "a program of torch.export",
    FileFormat.JSON: "a JSON text",
    FileFormat.NPZ: "NumPy's arrays",
    FileFormat.KERAS: "a Keras model",
    FileFormat.HDF5: "an HDF5 file",
}
_SAFETENSORS_DTYPES = {
    "F64": "float64",
    "F32": "float32",
    "F16": "float16",
    "BF16": "bfloat16",
    "I64": "int64",
    "I32": "int32",
    "I16": "int16",
    "I8": "int8",
    "U8": "uint8",
    "BOOL": "bool",
}


@dataclass(frozen=True, eq=False)
class Beside(Mapping[str, Array]):
    """Arrays and numbers that lie beside the weights of a checkpoint, by the keys that lead to them.

    Each is read when it is asked for; ``shapes`` are known before. A number has the shape ``()``.
    """

    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    read: Callable[[str], Array] = lambda name: np.zeros(0)

    def __getitem__(self, name: str) -> Array:
        if name not in self.shapes:
            raise KeyError(name)
        return self.read(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self.shapes)

    def __len__(self) -> int:
        return len(self.shapes)


@dataclass(frozen=True, eq=False)
class Together(Mapping[str, Array]):
    """The arrays of two mappings; of two of one name, that of the first."""

    first: Mapping[str, Array]
    second: Mapping[str, Array]

    def __getitem__(self, name: str) -> Array:
        return self.first[name] if name in self.first else self.second[name]

    def __iter__(self) -> Iterator[str]:
        return chain(self.first, (name for name in self.second if name not in self.first))

    def __len__(self) -> int:
        return len(self.first) + sum(name not in self.first for name in self.second)


@dataclass(frozen=True, eq=False)
class StateDict(Mapping[str, Array]):
    """The tensors of a checkpoint by name: floating point as float32, integers as they are, all read-only.

    Prefixes that wrappers put before every name (``module.`` of DataParallel, ``_orig_mod.`` of `torch.compile`,
    ``model.`` of Lightning) are taken off; ``prefix`` is what was taken off. Weights that weight normalization or
    pruning keeps in parts are put together.
    """

    tensors: Mapping[str, Array]
    prefix: str
    format: str
    """``"torch"``, ``"safetensors"``, ``"json"`` or ``"arrays"``."""
    beside: Beside = field(default_factory=Beside)
    """What lies beside it in the checkpoint; an optimizer's state does not count."""
    others: tuple[str, ...] = ()
    """Entries of the checkpoint's other state dicts."""
    unread: tuple[str, ...] = ()
    """Names of what stands in the state dict and is neither an array nor a number nor a text."""

    def __getitem__(self, name: str) -> Array:
        return self.tensors[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.tensors)

    def __len__(self) -> int:
        return len(self.tensors)


def read_state_dict(path: str | Path, *, entry: str | None = None) -> StateDict:
    """Read a state dict from ``.pt``, ``.pth``, ``.ckpt`` or ``.safetensors``, by content, without torch.

    Nothing that the file names is imported or called, and every size and offset is checked.

    Parameters
    ----------
    path
        The file: a state dict, a pickled module, or a checkpoint that holds one of them.
    entry
        Which of them, where a checkpoint holds several: its key, such as ``"ema"``; nested keys joined by dots; ``"."``
        for what is the whole checkpoint. It may go on with a module's name: of that module only is the state dict.

    Raises
    ------
    ConversionError
        If the file is damaged, or holds no state dict, or several and ``entry`` does not name one; the message lists
        them.
    UnsupportedError
        If its weights are quantized, have no names, or are of a dtype that no network computes with.

    Examples
    --------
    >>> from grurt.converters import read_state_dict
    >>> weights = read_state_dict("tests/data/torch/c_eachstep_bf.pt")
    >>> weights["gru.weight_ih_l0"].shape, weights["fc.bias"].shape
    ((24, 4), (3,))
    >>> list(read_state_dict("tests/data/torch/c_eachstep_bf.pt", entry="fc"))
    ['weight', 'bias']
    """
    path = Path(path)
    found = detect_format(path)
    with unreadable_files_named(path.name), errors_named(path.name):
        if found in _OTHERS:
            raise ConversionError(f"expected a state dict, got {_OTHERS[found]}; convert it with convert(path)")
        return read_detected(path, found, entry)


def read_detected(path: Path, file_format: FileFormat, entry: str | None) -> StateDict:
    """Read a state dict from a file of a format that `detect_format` has found."""
    if file_format is FileFormat.SAFETENSORS:
        return module_of(finish_state_dict(_read_safetensors(path), "safetensors"), entry)
    if file_format is FileFormat.LEGACY_TORCH:
        checkpoint, reader = legacy.read_checkpoint(read_regular_file(path))
        return _from_checkpoint(checkpoint, reader, entry, reader.leaf)
    with open_archive(path) as archive:
        return _from_checkpoint(*zipped.read_checkpoint(archive), entry, partial(_read_again, path))


def _read_again(path: Path, name: str, leaf: Leaf) -> Array:
    """Return an array that lies beside the weights of an archive, which is closed by now."""
    with open_archive(path) as archive:
        return zipped.tensor_reader(archive).leaf(name, leaf)


def _read_safetensors(path: Path) -> dict[str, Array]:
    data = read_regular_file(path)
    header = data[8 : 8 + int.from_bytes(data[:8], "little")]
    if header.count(b"{") > MAX_TENSORS + 2:  # one around all, one of metadata
        raise ConversionError(f"safetensors: expected at most {MAX_TENSORS} tensors, got more")
    check_json(header, len(data), "safetensors")
    try:
        entries = safetensors.deserialize(data)  # type: ignore[no-untyped-call]
    except safetensors.SafetensorError as error:
        raise ConversionError(f"safetensors: expected a sound file, got damage: {error}") from error
    decode_fields(header, "safetensors")  # deserialize takes the last tensor of a name
    del data, header
    tensors = {}
    for name, entry in sorted(entries, key=lambda item: item[0]):  # they come in no order
        dtype = _SAFETENSORS_DTYPES.get(entry["dtype"], entry["dtype"])
        item_size(name, dtype)
        tensors[name] = _shaped(name, decode(entry["data"], dtype), entry["shape"])
    return tensors


def _shaped(name: str, array: Array, shape: Sequence[int]) -> Array:
    if len(shape) > MAX_AXES or any(size >= MAX_INTEGER for size in shape):
        raise ConversionError(
            f"tensor {name[:200]!r}: expected at most {MAX_AXES} axes of sizes that memory can hold, got others; the "
            "file is damaged"
        )
    try:
        return array.reshape(shape)
    except ValueError as error:  # an empty array whose other sizes are too large together
        raise ConversionError(f"tensor {name[:200]!r}: expected a shape that fits, got {shape}") from error


def _from_checkpoint(
    checkpoint: object, reader: TensorReader, entry: str | None, read_later: Callable[[str, Leaf], Array]
) -> StateDict:
    """Return the state dict that an entry means; what lies beside it is read when it is asked for."""
    contents = contents_of(checkpoint)
    candidate, module = chosen(contents, checkpoint, entry)
    if not candidate.values:
        raise ConversionError(
            "checkpoint: expected a module with weights, got one without, such as a TorchScript program that was "
            "frozen; save module.state_dict() instead"
        )
    tensors = {name: reader.leaf(name, array) for name, array in candidate.arrays.items()}
    beside = contents.beside(candidate)
    found = replace(
        finish_state_dict(tensors, "torch"),
        beside=Beside(
            {name: shape_of(leaf) for name, leaf in beside.items()}, lambda name: read_later(name, beside[name])
        ),
        others=tuple(contents.others(candidate)),
        unread=tuple(_unread(candidate.values)),
    )
    return module_of(found, module or None)


def _unread(values: Mapping[str, object]) -> Iterator[str]:
    """Yield the names of objects in a state dict; raise UnsupportedError for one that has the name of a weight."""
    for name, value in values.items():
        if is_quantized(value) or name.endswith(_PACKED):
            raise quantized(f"tensor {name[:MAX_NAME]!r}")
        if not isinstance(value, Opaque) or is_array(value):
            continue
        if likeness(name):
            raise UnsupportedError(
                f"state dict entry {name[:MAX_NAME]!r}: expected a tensor, got {value.name!r}; "
                "save a state dict of tensors only"
            )
        yield name


def finish_state_dict(tensors: dict[str, Array], file_format: str) -> StateDict:
    """Return the tensors as a state dict: names checked, prefixes of wrappers taken off, weights put together."""
    if len(tensors) > MAX_TENSORS:
        raise ConversionError(f"checkpoint: expected at most {MAX_TENSORS} tensors, got {len(tensors)}")
    names, prefix = unwrapped(tensors)
    resolved = resolve_reparametrized({names[name]: array for name, array in tensors.items()})
    for array in resolved.values():
        array.flags.writeable = False
    return StateDict(resolved, prefix, file_format)


def module_of(whole: StateDict, module: str | None) -> StateDict:
    """Return the state dict of one of its modules, beside which all others lie; of all of it, if none is named.

    Raises
    ------
    ConversionError
        If there is no such module.
    """
    if module is None or module == TOP:
        return whole
    start = f"{module.removeprefix(whole.prefix)}."
    tensors = {name.removeprefix(start): array for name, array in whole.items() if name.startswith(start)}
    if not tensors:
        raise no_such_module(module, whole)
    rest = {name: array for name, array in whole.items() if not name.startswith(start)}
    shapes = {name: array.shape for name, array in rest.items()} | dict(whole.beside.shapes)
    beside = Beside(shapes, Together(rest, whole.beside).__getitem__)
    return replace(whole, tensors=tensors, prefix=f"{whole.prefix}{start}", beside=beside)
