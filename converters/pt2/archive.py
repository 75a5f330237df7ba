"""The two layouts in which ``torch.export.save`` writes a program.

::

    <root>/models/model.json                              the program, since torch 2.8
    <root>/data/weights/model_weights_config.json         where each weight is, and its dtype, size and strides
    <root>/data/constants/model_constants_config.json     the same for constants
    <root>/data/weights/weight_<n>                        the bytes

    serialized_exported_program.json                      the program, before
    serialized_state_dict.pt, serialized_constants.pt     checkpoints of ``torch.save``
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from grurt.array_types import Array
from grurt.converters.archive import Archive, open_archive
from grurt.converters.json_text import decode_json
from grurt.converters.pt2.scalar_types import DTYPES
from grurt.converters.torch.checkpoint.tensors import (
    MAX_AXES,
    StorageReference,
    TensorReader,
    TensorReference,
    item_size,
)
from grurt.converters.torch.checkpoint.zipped import read_checkpoint
from grurt.errors import ConversionError, DesignReason, UnsupportedError

_OLD_PROGRAM = "serialized_exported_program.json"
_OLD_TENSORS = ("serialized_state_dict.pt", "serialized_constants.pt")


def read_archive(path: Path) -> tuple[Mapping[str, Any], dict[str, Array]]:
    """Return the program's JSON and its weights, buffers and constants by name.

    Raises
    ------
    ConversionError
        If the archive is damaged or incomplete.
    UnsupportedError
        If it holds no program, several, or weights that are pickled.
    """
    with open_archive(path) as archive:
        if _OLD_PROGRAM in archive.names:
            return _json(archive, _OLD_PROGRAM), _old_tensors(archive)
        programs = [name for name in archive.names if "/models/" in f"/{name}" and name.endswith(".json")]
        if len(programs) != 1:
            raise UnsupportedError(
                f"archive: expected one program in models/, got {len(programs)}; write it with torch.export.save, "
                "and leave out what was compiled for a device"
            )
        root = programs[0].rpartition("models/")[0]
        stem = programs[0].rpartition("/")[2].removesuffix(".json")
        byte_order = f"{root}byteorder"
        big = byte_order in archive.names and archive.read(byte_order).strip() == b"big"
        reader = TensorReader(archive.read, archive.size, ">" if big else "<")
        tensors: dict[str, Array] = {}
        for folder in ("weights", "constants"):
            tensors |= _tensors(archive, f"{root}data/{folder}/", f"{stem}_{folder}_config.json", reader)
        return _json(archive, programs[0]), tensors


def _json(archive: Archive, name: str) -> Mapping[str, Any]:
    document = decode_json(archive.read(name), archive.size, f"archive: {name[:200]!r}")
    if not isinstance(document, dict):
        raise ConversionError(f"archive: expected an object in {name!r}, got {type(document).__name__}")
    return document


def _tensors(archive: Archive, folder: str, config: str, reader: TensorReader) -> dict[str, Array]:
    if folder + config not in archive.names:
        return {}
    entries = _json(archive, folder + config).get("config")
    if not isinstance(entries, dict):
        raise ConversionError(f"archive: expected the weights' places in {config!r}, got none; the file is damaged")
    return {name: reader.array(name, _reference(name, entry, archive, folder)) for name, entry in entries.items()}


def _reference(name: str, entry: Mapping[str, Any], archive: Archive, folder: str) -> TensorReference:
    try:
        path, pickled, meta = folder + entry["path_name"], entry.get("use_pickle", False), entry["tensor_meta"]
        number, offset = meta["dtype"], meta["storage_offset"]["as_int"]
        sizes, strides = (tuple(item["as_int"] for item in meta[key]) for key in ("sizes", "strides"))
    except (KeyError, TypeError, AttributeError) as error:
        raise ConversionError(f"tensor {name!r}: expected its place, size and strides; the file is damaged") from error
    if pickled:
        raise UnsupportedError(
            f"tensor {name!r}: expected the bytes of a plain tensor, got a pickled one, such as a quantized weight; "
            "export the model of floating-point weights",
            reason=DesignReason.QUANTIZED,
        )
    whole = all(type(value) is int and value >= 0 for value in (number, offset, *sizes, *strides))
    if not whole or len(sizes) > MAX_AXES:
        raise ConversionError(
            f"tensor {name!r}: expected a dtype, size, offset and strides that are not negative; the file is damaged"
        )
    dtype = DTYPES.get(number, f"number {number}")
    return TensorReference(
        StorageReference(dtype, path, archive.entry_size(path) // item_size(name, dtype)), dtype, offset, sizes, strides
    )


def _old_tensors(archive: Archive) -> dict[str, Array]:
    found: dict[str, Array] = {}
    with ExitStack() as stack:
        for name in _OLD_TENSORS:
            if name in archive.names and (data := archive.read(name)):
                inner = stack.enter_context(open_archive(io.BytesIO(data), archive.inflated))
                checkpoint, reader = read_checkpoint(inner)
                found |= {key: reader.array(key, tensor) for key, tensor in _references(checkpoint)}
    return found


def _references(checkpoint: object) -> Iterator[tuple[str, TensorReference]]:
    for name, value in checkpoint.items() if isinstance(checkpoint, dict) else ():
        if not isinstance(value, TensorReference):
            raise UnsupportedError(f"tensor {name!r}: expected a plain tensor; export the model of floating point")
        yield name, value
