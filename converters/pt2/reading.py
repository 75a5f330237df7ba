"""A program and its constants, out of one file."""

from __future__ import annotations

from pathlib import Path

from grurt.array_types import Array
from grurt.converters.pt2.archive import read_archive
from grurt.converters.pt2.program import Program, read_program
from grurt.errors import ConversionError


def read_constants(path: Path) -> tuple[Program, dict[str, Array]]:
    """Return the program of a file, and its constants by the names of the tensors that stand for them."""
    document, tensors = read_archive(path)
    program = read_program(document)
    missing = [name for name in program.states.values() if name not in tensors]
    if missing:
        raise ConversionError(
            f"program: expected the weight {missing[0][:80]!r} in the archive, got none; the file is incomplete"
        )
    constants = {placeholder: tensors[name] for placeholder, name in program.states.items()}
    conditions = {name: array != 0 for name, array in constants.items() if program.dtypes.get(name) == "bool"}
    return program, constants | conditions
