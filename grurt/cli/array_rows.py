"""The rows of arrays that hold one sequence of timesteps, or a batch of sequences of one length."""

import io
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from grurt.array_types import Array
from grurt.cli.layout import Layout
from grurt.cli.npy import read_header, read_rows
from grurt.errors import ConversionError
from grurt.escaping import listed


@dataclass(frozen=True)
class ArrayRows:
    """Rows ``(width,)``, a timestep each.

    Parameters
    ----------
    rows
        All of them, of one sequence after the other.
    lead
        ``(n_steps,)``, or ``(batch, n_steps)``.
    """

    rows: Iterator[Array]
    lead: tuple[int, ...]

    @property
    def n_sequences(self) -> int | None:
        """How many there are, of a batch."""
        return self.lead[0] if len(self.lead) > 1 else None

    @property
    def length(self) -> int:
        """Timesteps of a sequence, at least 1."""
        return max(1, self.lead[-1])


def rows_of_npy(file: io.BufferedReader, layout: Layout) -> ArrayRows:
    """Return the rows of an .npy array, which are read as they are asked for.

    Raises
    ------
    ValueError
        If the array is damaged.
    LookupError
        If it is none of such rows.
    """
    header = read_header(file)
    if header is None:
        raise LookupError("expected an .npy array, got something else; see --format")
    lead = _lead(header.shape, header.dtype, layout.width, "")
    if header.by_columns and len(lead) > 1:
        raise LookupError("expected an array in C's order, got one in Fortran's: save numpy.ascontiguousarray of it")
    return ArrayRows(read_rows(file, replace(header, shape=(math.prod(lead), layout.width))), lead)


def rows_of_npz(file: io.BufferedReader, layout: Layout) -> ArrayRows:
    """Return the rows of the arrays of an .npz archive side by side, all of which are read; raise as `rows_of_npy`."""
    from grurt.cli.npz import read_npz

    if not file.seekable():
        raise LookupError("expected a file, as an .npz archive is not read from one end to the other, got a pipe")
    try:
        arrays = read_npz(file, [part.name for part in layout.parts])
    except ConversionError as error:
        raise ValueError(str(error)) from error
    leads = {_lead(arrays[p.name].shape, arrays[p.name].dtype, p.size, f"{p.name!r}: ") for p in layout.parts}
    if len(leads) > 1:
        found = listed(str(array.shape) for array in arrays.values())
        raise LookupError(f"expected as many timesteps of every input, got arrays of shapes {found}")
    (lead,) = leads
    count = math.prod(lead)
    columns = [arrays[part.name].reshape(count, part.size) for part in layout.parts]
    return ArrayRows((np.concatenate([column[i].astype(object) for column in columns]) for i in range(count)), lead)


def _lead(shape: tuple[int, ...], dtype: np.dtype[Any], width: int, label: str) -> tuple[int, ...]:
    """Return the axes before the numbers of a timestep; a timestep of one number may have no axis of its own."""
    if dtype.kind not in "fiu":
        raise LookupError(f"{label}expected an array of numbers, got one of {dtype}")
    lead = shape[:-1] if shape[-1:] == (width,) and len(shape) > 1 else shape if width == 1 else ()
    if not 1 <= len(lead) <= 2:
        wanted = f"(n_steps, {width}) or (batch, n_steps, {width})"
        raise LookupError(f"{label}expected an array of shape {wanted}, got {shape}")
    return lead
