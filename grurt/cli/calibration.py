"""Calibration data out of the files that ``grurt run`` reads."""

import io
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import cast

import numpy as np

from grurt.array_types import Array
from grurt.cli.formats import format_of_input, is_archive
from grurt.cli.layout import input_layout
from grurt.cli.npy import MAGIC as NPY_MAGIC
from grurt.cli.npy import read_array
from grurt.cli.npz import read_npz
from grurt.cli.places import naming
from grurt.cli.readers import TimestepReader
from grurt.errors import ConversionError, QuantizationError
from grurt.escaping import listed
from grurt.gzipped import is_gzipped
from grurt.model import Model
from grurt.quantization.recordings import MAX_NUMBERS, Recordings, input_width, recordings
from grurt.regular_files import open_regular_file


def read_calibration(model: Model, paths: Iterable[Path]) -> Recordings:
    """Return the recordings of all files, each with the shapes that `grurt.quantization.loss` takes.

    An .npz file holds an array for each of the model's inputs, under its name; a single array may have any name. A file
    of text is one sequence.

    Raises
    ------
    QuantizationError, click.ClickException
        If a file holds something else.
    """
    found = [(path, recordings(model, _read(model, path), str(path))) for path in paths]
    sequences = tuple(sequence for _, data in found for sequence in data.sequences)
    joined = Recordings(sequences, "")
    files = listed(path.name for path, _ in found)
    return Recordings(sequences, f"{files}: sequences: {len(sequences):,}, timesteps: {joined.steps:,}")


def _read(model: Model, path: Path) -> Array | Mapping[str, Array] | list[Mapping[str, Array]]:
    try:
        with naming(str(path)), open_regular_file(path) as file:
            start = file.read(len(NPY_MAGIC))
            file.seek(0)
            if is_archive(start):
                return read_npz(file, [*(port.name for port in model.inputs), *model.context_shapes])
            if start == NPY_MAGIC:
                return read_array(file)
            if b"\0" in start and not is_gzipped(start):
                raise ValueError("no text")
            reader = TimestepReader(
                cast("io.BufferedReader", file), str(path), input_layout(model), file_format=format_of_input(path.name)
            )
            return _sequences(model, path, reader)
    except QuantizationError:
        raise
    except LookupError as error:
        raise QuantizationError(f"{path}: {error.args[0]}") from error
    except (ValueError, ConversionError) as error:
        raise QuantizationError(f"{path}: expected an array as .npy or .npz holds it, got something else") from error


def _sequences(model: Model, path: Path, reader: TimestepReader) -> list[Mapping[str, Array]]:
    """Return the sequences of a file that is read timestep by timestep."""
    found: list[dict[str, list[object]]] = []
    most = MAX_NUMBERS // input_width(model)
    for count, timestep in enumerate(reader, 1):
        if count > most:
            raise QuantizationError(f"{path}: expected at most {most:,} timesteps, got more: calibrate with a part")
        if reader.begins_sequence:
            found.append({port.name: [] for port in model.inputs})
        for name, value in (timestep if isinstance(timestep, dict) else {model.inputs[0].name: timestep}).items():
            found[-1][name].append(value)
    return [{name: np.array(values) for name, values in sequence.items()} for sequence in found]
