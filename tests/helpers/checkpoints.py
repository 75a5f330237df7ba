"""The stored checkpoints, and how to write hostile ones."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import paths

DATA = paths.DATA / "torch"


def stored(name: str) -> Mapping[str, np.ndarray[Any, np.dtype[Any]]]:
    """Return the arrays of a stored .npz file."""
    with np.load(DATA / name) as arrays:
        return dict(arrays)


def entries(path: Path) -> dict[str, bytes]:
    """Return the entries of a zip archive."""
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def zipped(files: Mapping[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    """Return a zip archive of these entries."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def appended(archive: bytes, name: str, content: bytes) -> bytes:
    """Return a zip archive with one more entry, which is not compressed."""
    buffer = io.BytesIO(archive)
    with zipfile.ZipFile(buffer, "a") as opened:
        opened.writestr(name, content)
    return buffer.getvalue()


def checkpoint(pickled: bytes, storages: Mapping[str, bytes] | None = None) -> bytes:
    """Return a checkpoint in the zip format with this pickle."""
    files = {f"archive/data/{key}": content for key, content in (storages or {}).items()}
    return zipped({"archive/data.pkl": pickled, **files})


def tensor(
    key: str = "0", numel: int = 4, offset: int = 0, size: tuple[int, ...] = (4,), stride: tuple[int, ...] = (1,)
) -> bytes:
    """Return the opcodes, of protocol 2, that leave a tensor on the stack."""
    storage = b"(X\x07\x00\x00\x00storagectorch\nFloatStorage\n" + text(key) + text("cpu") + integer(numel) + b"tQ"
    view = integer(offset) + integers(size) + integers(stride) + b"\x89ccollections\nOrderedDict\n)R"
    return b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + view + b"tR"


def state_dict(**tensors: bytes) -> bytes:
    """Return a whole pickle of a state dict of these tensors."""
    return b"\x80\x02}(" + b"".join(text(name) + opcodes for name, opcodes in tensors.items()) + b"u."


def text(value: str) -> bytes:
    encoded = value.encode()
    return b"X" + len(encoded).to_bytes(4, "little") + encoded


def integer(value: int) -> bytes:
    encoded = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
    return b"\x8a" + len(encoded).to_bytes(1, "little") + encoded


def integers(values: tuple[int, ...]) -> bytes:
    return b"(" + b"".join(integer(value) for value in values) + b"t"
