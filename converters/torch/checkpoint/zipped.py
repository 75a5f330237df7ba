"""Checkpoints in the zip format, which ``torch.save`` writes since torch 1.6.

::

    <root>/data.pkl       the object, with persistent ids in place of storages
    <root>/data/<key>     the bytes of each storage
    <root>/byteorder      "little" or "big"; absent in older files, which are little-endian
"""

from __future__ import annotations

from grurt.converters.archive import Archive
from grurt.converters.torch.checkpoint.pickles import read_pickle
from grurt.converters.torch.checkpoint.tensors import ALLOWED, TensorReader, storage_reference


def read_checkpoint(archive: Archive) -> tuple[object, TensorReader]:
    """Return the pickled object, with references in place of tensors, and the reader that resolves them."""
    checkpoint, _ = read_pickle(
        archive.read(f"{_root(archive)}data.pkl"), ALLOWED, storage_reference, file_size=archive.size
    )
    return checkpoint, tensor_reader(archive)


def tensor_reader(archive: Archive) -> TensorReader:
    """Return the reader that resolves references of this archive's pickle."""
    root = _root(archive)
    big = f"{root}byteorder" in archive.names and archive.read(f"{root}byteorder").strip() == b"big"
    return TensorReader(lambda key: archive.read(f"{root}data/{key}"), archive.size, ">" if big else "<")


def _root(archive: Archive) -> str:
    pickled = min((name for name in archive.names if f"/{name}".endswith("/data.pkl")), key=len)
    return pickled.removesuffix("data.pkl")
