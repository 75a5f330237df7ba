"""Answers into CSV, JSON lines and .npy, one at a time as they are given."""

import json
import os
import shutil
import tempfile
from typing import Any, BinaryIO, Protocol

import numpy as np

from grurt.array_types import Floats
from grurt.cli.formats import Format
from grurt.cli.layout import Layout
from grurt.escaping import escaped


class AnswerWriter(Protocol):
    """Writes what `Stream.step` returned."""

    def write(self, answer: Any) -> None:
        """Write the answer of one timestep."""

    def close(self) -> None:
        """Write what is left to write; the file stays open."""


class Numbers:
    """Writes numbers as text.

    Without a format, in the fewest digits that give the same float32 again; with one, as `format` understands it.
    """

    def __init__(self, float_format: str | None = None) -> None:
        self._format = float_format

    def texts(self, values: Floats) -> list[str]:
        """Return the text of each number of an array ``(size,)``."""
        if self._format is None:
            return [str(value) for value in values]
        return [format(float(value), self._format) for value in values]


class CsvWriter:
    """A line for each answer, the outputs side by side; before them a header line, where one is wanted."""

    def __init__(self, file: BinaryIO, layout: Layout, numbers: Numbers, *, delimiter: str, header: bool) -> None:
        self._file = file
        self._layout = layout
        self._numbers = numbers
        self._delimiter = delimiter
        if header:
            self._line([self._quoted(name) for name in layout.field_names])

    def write(self, answer: Any) -> None:
        self._line(self._numbers.texts(self._layout.join(answer)))

    def close(self) -> None:
        """Every line has been written already."""

    def _quoted(self, name: str) -> str:
        """Return a name as a field; a terminal gets it printable, as it might obey what else there is in it."""
        shown = escaped(name) if self._file.isatty() else name
        return '"' + shown.replace('"', '""') + '"' if {self._delimiter, '"'} & set(shown) else shown

    def _line(self, fields: list[str]) -> None:
        self._file.write((self._delimiter.join(fields) + "\n").encode())


class JsonLinesWriter:
    """A line for each answer: an array, or with several outputs an object of arrays.

    NaN and infinities stand as Python's ``json`` writes and reads them.
    """

    def __init__(self, file: BinaryIO, layout: Layout, numbers: Numbers) -> None:
        self._file = file
        self._layout = layout
        self._numbers = numbers

    def write(self, answer: Any) -> None:
        arrays = {name: self._array(np.ravel(value)) for name, value in self._layout.by_name(answer).items()}
        if len(arrays) == 1:
            (line,) = arrays.values()
        else:
            line = "{" + ", ".join(f"{json.dumps(name)}: {array}" for name, array in arrays.items()) + "}"
        self._file.write(f"{line}\n".encode())

    def close(self) -> None:
        """Every line has been written already."""

    def _array(self, values: Floats) -> str:
        if np.isfinite(values).all():
            return f"[{', '.join(self._numbers.texts(values))}]"
        return json.dumps(values.tolist())


class NpyWriter:
    """One float32 array ``(n_steps, width)``, whose header tells how many rows there are when the last one is known.

    Of a batch of sequences it is ``(batch, n_steps, width)``, if all are answered alike. Rows are kept on the disk
    until then, where the file is one that is written once from beginning to end.
    """

    def __init__(self, file: BinaryIO, layout: Layout, n_sequences: int | None) -> None:
        self._target = file
        self._n_sequences = n_sequences
        self._layout = layout
        self._file = file if file.seekable() and not _is_appended_to(file) else tempfile.TemporaryFile()  # noqa: SIM115 - closed by close()
        self._begin = self._file.tell()
        self._count = 0
        self._write_header()

    def write(self, answer: Any) -> None:
        self._file.write(self._layout.join(answer).astype("<f4").tobytes())
        self._count += 1

    def close(self) -> None:
        self._file.seek(self._begin)
        self._write_header()
        if self._file is self._target:
            self._file.seek(0, os.SEEK_END)
            return
        self._file.seek(0)
        shutil.copyfileobj(self._file, self._target)
        self._file.close()

    def _write_header(self) -> None:
        """Write the header, for which NumPy leaves room: it has the same size for every number of rows."""
        lead = [self._count]
        if self._n_sequences and self._count % self._n_sequences == 0:
            lead = [self._n_sequences, self._count // self._n_sequences]
        header = {"shape": (*lead, self._layout.width), "fortran_order": False, "descr": "<f4"}
        np.lib.format.write_array_header_1_0(self._file, header)


def _is_appended_to(file: BinaryIO) -> bool:
    """Say whether whatever is written goes to the end of a file, as the ``>>`` of a shell has it."""
    try:
        from fcntl import F_GETFL, fcntl

        return bool(fcntl(file.fileno(), F_GETFL) & os.O_APPEND)
    except (ImportError, OSError):  # another operating system, or no file of it
        return False


def make_writer(
    file: BinaryIO,
    layout: Layout,
    file_format: Format,
    *,
    float_format: str | None,
    delimiter: str,
    header: bool,
    n_sequences: int | None = None,
) -> AnswerWriter:
    """Return a writer of a format to a file that is open for writing bytes; ``n_sequences`` of a batch of them."""
    numbers = Numbers(float_format)
    if file_format == "npy":
        return NpyWriter(file, layout, n_sequences)
    if file_format == "jsonl":
        return JsonLinesWriter(file, layout, numbers)
    return CsvWriter(file, layout, numbers, delimiter=delimiter, header=header)
