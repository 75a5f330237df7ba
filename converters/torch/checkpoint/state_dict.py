"""Reads the weights out of a PyTorch checkpoint or a safetensors file, without torch."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import safetensors

from grurt.array_types import Array
from grurt.converters.archive import open_archive
from grurt.converters.detect import FileFormat, detect_format
from grurt.converters.json_text import check_json, decode_fields
from grurt.converters.reading import errors_named, unreadable_files_named
from grurt.converters.torch.checkpoint import legacy, zipped
from grurt.converters.torch.checkpoint.pickles import Opaque
from grurt.converters.torch.checkpoint.tensors import (
    MAX_AXES,
    MAX_INTEGER,
    TensorReader,
    TensorReference,
    decode,
    item_size,
)
from grurt.converters.torch.checkpoint.weight_norm import resolve_reparametrized
from grurt.errors import ConversionError, DesignReason, UnsupportedError
from grurt.regular_files import read_regular_file

MAX_TENSORS = 1 << 16
MAX_NAME = 200
_MAX_ATTRIBUTES = 1 << 20
"""Of all modules together, those counted again that are in several others."""

_NAME = re.compile(r"[^\x00-\x1f\x7f]{1,200}")
_QUANTIZED = ("torch.ScriptObject", "torch._utils._rebuild_qtensor")
_QUANTIZED_MODULES = ".quantized."
_WRAPPER_PREFIXES = ("module.", "model.")
_COMPILED = "_orig_mod."
_SCRIPTED = "__torch__."
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
class StateDict(Mapping[str, Array]):
    """The tensors of a checkpoint by name: floating point as float32, integers as they are, all read-only.

    Prefixes that wrappers put before every name (``module.`` of DataParallel, ``_orig_mod.`` of `torch.compile`,
    ``model.`` of Lightning) are taken off; ``prefix`` is what was taken off. Weights that weight normalization or
    pruning keeps in parts are put together.
    """

    tensors: Mapping[str, Array]
    prefix: str
    format: str
    """``"torch"``, ``"safetensors"``, ``"json"`` or ``"npz"``."""

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
        Which of them, where a checkpoint holds several: its key, such as ``"ema"``; nested keys joined by dots.

    Raises
    ------
    ConversionError
        If the file is damaged, or holds no state dict, or several and ``entry`` does not name one.
    UnsupportedError
        If its weights are quantized, have no names, or are of a dtype that no network computes with.

    Examples
    --------
    >>> from grurt.converters import read_state_dict
    >>> weights = read_state_dict("tests/data/torch/c_eachstep_bf.pt")
    >>> weights["gru.weight_ih_l0"].shape, weights["fc.bias"].shape
    ((24, 4), (3,))
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
        return finish_state_dict(_read_safetensors(path), "safetensors")
    if file_format is FileFormat.LEGACY_TORCH:
        return _from_checkpoint(*legacy.read_checkpoint(read_regular_file(path)), entry)
    with open_archive(path) as archive:
        return _from_checkpoint(*zipped.read_checkpoint(archive), entry)


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


def _from_checkpoint(checkpoint: object, reader: TensorReader, entry: str | None) -> StateDict:
    found = dict(_state_dicts(checkpoint))
    if entry is None and len(found) == 1:
        entry = next(iter(found))
    if entry not in found:
        raise _no_entry(checkpoint, entry, found)
    holder = found[entry]
    values = dict(_module_tensors(holder) if isinstance(holder, Opaque) else _items(holder))
    if not values:
        raise ConversionError(
            "checkpoint: expected a module with weights, got one without, such as a TorchScript program that was "
            "frozen; save module.state_dict() instead"
        )
    tensors = {}
    for name, value in values.items():
        if not isinstance(value, TensorReference):
            raise _not_a_tensor(name, value)
        tensors[name] = reader.array(name, value)
    return finish_state_dict(tensors, "torch")


def _state_dicts(checkpoint: object) -> Iterator[tuple[str, object]]:
    """Find the state dicts and pickled modules in a checkpoint, by the keys that lead to them, joined by dots."""
    seen = set()
    stack = [("", checkpoint)]
    while stack:
        path, value = stack.pop()
        if id(value) in seen:
            continue
        seen.add(id(value))
        items = _items(value)
        if _is_module(value) or any(isinstance(item, TensorReference) or _is_quantized(item) for _, item in items):
            yield path, value
        elif not any(name == "param_groups" for name, _ in items):  # which an optimizer's state has
            fitting = [(name, item) for name, item in items if len(path) + len(name) < MAX_NAME]
            stack += [(f"{path}.{name}" if path else name, item) for name, item in reversed(fitting)]


def _module_tensors(root: Opaque) -> Iterator[tuple[str, object]]:
    """Return what ``torch.nn.Module.state_dict`` would, from the attributes of a pickled module."""
    found = visited = 0
    stack: list[tuple[str, object]] = [("", root)]
    while stack:
        prefix, module = stack.pop()
        state = dict(_items(module.state)) if isinstance(module, Opaque) else {}
        if isinstance(module, Opaque) and _QUANTIZED_MODULES in module.name:
            raise _quantized(f"module {prefix.rstrip('.')!r}")
        tensors = _items(state.get("_parameters")) + _items(state.get("_buffers"))
        children = _items(state.get("_modules"))
        if isinstance(module, Opaque) and module.name.startswith(_SCRIPTED):
            tensors = [(name, value) for name, value in state.items() if isinstance(value, TensorReference)]
            children = [(name, value) for name, value in state.items() if isinstance(value, Opaque)]
        found += 1 + len(tensors) + len(children)
        visited += len(state)
        longest = max((len(name) for name, _ in (*tensors, *children)), default=0)
        if found > MAX_TENSORS or visited > _MAX_ATTRIBUTES or len(prefix) + longest > MAX_NAME:
            raise ConversionError(
                f"checkpoint: expected at most {MAX_TENSORS} modules and tensors with names of {MAX_NAME} characters, "
                "got more; save module.state_dict() instead"
            )
        yield from ((prefix + name, value) for name, value in tensors if value is not None)
        stack += [(f"{prefix}{name}.", child) for name, child in reversed(children)]


def _is_module(value: object) -> bool:
    """Say whether a stub stands for a module: pickled whole, or of TorchScript, whose attributes are its state."""
    if not isinstance(value, Opaque) or not isinstance(value.state, dict):
        return False
    return value.name.startswith(_SCRIPTED) or "_modules" in value.state


def _items(value: object) -> list[tuple[str, object]]:
    return [(key, item) for key, item in value.items() if isinstance(key, str)] if isinstance(value, dict) else []


def _is_quantized(value: object) -> bool:
    values = value[:2] if isinstance(value, tuple) else (value,)
    return any(isinstance(item, Opaque) and item.name in _QUANTIZED for item in values)


def _not_a_tensor(name: str, value: object) -> ConversionError:
    if _is_quantized(value) or name.endswith("_packed_params.dtype"):
        return _quantized(f"tensor {name[:MAX_NAME]!r}")
    what = value.name if isinstance(value, Opaque) else type(value).__name__
    return UnsupportedError(
        f"state dict entry {name[:MAX_NAME]!r}: expected a tensor, got {what!r}; save a state dict of tensors only"
    )


def _quantized(where: str) -> UnsupportedError:
    return UnsupportedError(
        f"{where}: expected floating point, got a weight that torch has quantized; "
        "convert the float model: grurt quantizes by itself",
        reason=DesignReason.QUANTIZED,
    )


def _no_entry(checkpoint: object, entry: str | None, found: Mapping[str, object]) -> ConversionError:
    if found:
        wanted = "one state dict" if entry is None else f"a state dict {entry!r}"
        names = ", ".join(repr(name) for name in list(found)[:20])
        return ConversionError(f"checkpoint: expected {wanted}, got {names}; name one of them as the entry")
    unnamed = checkpoint if isinstance(checkpoint, list | tuple) else [checkpoint]
    if any(isinstance(item, TensorReference) for item in unnamed):
        what = "a tensor" if unnamed[0] is checkpoint else "a list of tensors"
        return UnsupportedError(
            f"checkpoint: expected a state dict, got {what}, without names; save module.state_dict() instead",
            reason=DesignReason.NOT_SAID,
        )
    what = checkpoint.name if isinstance(checkpoint, Opaque) else type(checkpoint).__name__
    return ConversionError(
        f"checkpoint: expected a state dict, got an object of type {what!r} without tensors; save module.state_dict()"
    )


def finish_state_dict(tensors: dict[str, Array], file_format: str) -> StateDict:
    """Return the tensors as a state dict: names checked, prefixes of wrappers taken off, weights put together."""
    if len(tensors) > MAX_TENSORS:
        raise ConversionError(f"checkpoint: expected at most {MAX_TENSORS} tensors, got {len(tensors)}")
    for name in tensors:
        if not _NAME.fullmatch(name):
            raise ConversionError(
                f"checkpoint: expected names of 1 to 200 printable characters, got {name[:200]!r}; the file is damaged"
            )
    plain = {name.replace(_COMPILED, ""): array for name, array in tensors.items()}
    if len(plain) < len(tensors):
        raise ConversionError(f"checkpoint: expected names that differ by more than {_COMPILED!r}, got two that do not")
    prefix = ""
    while wrapper := next((w for w in _WRAPPER_PREFIXES if plain and all(n.startswith(w) for n in plain)), None):
        prefix += wrapper
        plain = {name.removeprefix(wrapper): array for name, array in plain.items()}
    resolved = resolve_reparametrized(plain)
    for array in resolved.values():
        array.flags.writeable = False
    return StateDict(resolved, prefix, file_format)
