"""Calibration data out of .npy and .npz files."""

import io
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from grurt.array_types import Array
from grurt.errors import QuantizationError
from grurt.model import Model
from grurt.quantization.recordings import Recordings, recordings


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
    files = ", ".join(path.name for path, _ in found)
    return Recordings(sequences, f"{files}: sequences: {len(sequences):,}, timesteps: {joined.steps:,}")


def _read(model: Model, path: Path) -> Array | Mapping[str, Array]:
    try:
        content = np.load(io.BytesIO(path.read_bytes()), allow_pickle=False)
        if isinstance(content, np.ndarray):
            return content
        with content:
            names = [port.name for port in model.inputs]
            if len(names) == 1 and len(content.files) == 1:
                return {names[0]: content[content.files[0]]}
            if set(names) <= set(content.files):
                return {name: content[name] for name in names}
            held = ", ".join(map(repr, content.files)) or "none"
    except (ValueError, EOFError, SyntaxError, BadZipFile, zlib.error, MemoryError) as error:
        raise QuantizationError(f"{path}: expected an array as .npy or .npz holds it, got something else") from error
    raise QuantizationError(f"{path}: expected the arrays {names}, as the model's inputs are called, got {held}")
