"""Calibration data out of .npy and .npz files."""

import io
from collections.abc import Iterable, Mapping
from pathlib import Path

from grurt.array_types import Array
from grurt.cli.npy import read_array
from grurt.cli.places import naming
from grurt.converters.archive import COMPRESSION, Archive, open_archive
from grurt.errors import ConversionError, QuantizationError
from grurt.escaping import listed
from grurt.model import Model
from grurt.quantization.recordings import Recordings, recordings
from grurt.regular_files import open_regular_file

INFLATED_FLOOR = 64 << 20
"""Bytes that an archive may unpack to in any case: recordings of silence shrink to next to nothing."""


def read_calibration(model: Model, paths: Iterable[Path]) -> Recordings:
    """Return the recordings of all files, each with the shapes that `grurt.quantization.loss` takes.

    An .npz file holds an array for each of the model's inputs, under its name; a single array may have any name.

    Raises
    ------
    QuantizationError
        If a file holds something else.
    """
    found = [(path, recordings(model, _read(model, path), str(path))) for path in paths]
    sequences = tuple(sequence for _, data in found for sequence in data.sequences)
    joined = Recordings(sequences, "")
    files = listed(path.name for path, _ in found)
    return Recordings(sequences, f"{files}: sequences: {len(sequences):,}, timesteps: {joined.steps:,}")


def _read(model: Model, path: Path) -> Array | Mapping[str, Array]:
    names = [*(port.name for port in model.inputs), *model.context_shapes]
    try:
        with naming(str(path)), open_regular_file(path) as file:
            is_archive = file.read(2) == b"PK"
            size = file.seek(0, 2)
            file.seek(0)
            if not is_archive:
                return read_array(file)
            with open_archive(file, INFLATED_FLOOR + COMPRESSION * size) as archive:
                found = _entries(archive, names)
                if set(names) <= found.keys():
                    return {name: read_array(io.BytesIO(archive.read(found[name]))) for name in names}
    except (ValueError, ConversionError) as error:
        raise QuantizationError(f"{path}: expected an array as .npy or .npz holds it, got something else") from error
    held = listed(map(repr, sorted(found)))
    raise QuantizationError(
        f"{path}: expected the arrays [{listed(map(repr, names))}], as the model's inputs are called, got {held}"
    )


def _entries(archive: Archive, names: list[str]) -> dict[str, str]:
    """Return the entries of an archive by the names of their arrays; a single one has the name of a single input."""
    if len(names) == 1 and len(archive.names) == 1:
        return dict(zip(names, archive.names, strict=True))
    return {name.removesuffix(".npy"): name for name in archive.names}
