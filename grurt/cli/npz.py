"""Reads the arrays of a model's inputs out of .npz archives of strangers."""

from __future__ import annotations

import io
from typing import BinaryIO

from grurt.array_types import Array
from grurt.cli.npy import read_array
from grurt.converters.archive import COMPRESSION, Archive, open_archive
from grurt.escaping import listed

INFLATED_FLOOR = 64 << 20
"""Bytes that an archive may unpack to in any case: recordings of silence shrink to next to nothing."""


def read_npz(file: BinaryIO, names: list[str]) -> dict[str, Array]:
    """Return the arrays of some names; a single array may have any name.

    Raises
    ------
    LookupError
        If they are not there.
    ValueError
        If it is no archive of arrays, or a damaged one.
    """
    size = file.seek(0, 2)
    file.seek(0)
    with open_archive(file, INFLATED_FLOOR + COMPRESSION * size) as archive:
        found = _entries(archive, names)
        if not set(names) <= found.keys():
            held = listed(map(repr, sorted(found)))
            raise LookupError(
                f"expected the arrays [{listed(map(repr, names))}], as the model's inputs are called, got {held}"
            )
        return {name: read_array(io.BytesIO(archive.read(found[name]))) for name in names}


def _entries(archive: Archive, names: list[str]) -> dict[str, str]:
    """Return the entries of an archive by the names of their arrays; a single one has the name of a single input."""
    if len(names) == 1 and len(archive.names) == 1:
        return dict(zip(names, archive.names, strict=True))
    return {name.removesuffix(".npy"): name for name in archive.names}
