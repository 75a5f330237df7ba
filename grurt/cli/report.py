"""What the reports of several commands share."""

import math
from collections.abc import Iterable, Sequence

from grurt.escaping import escaped, shown
from grurt.installing import install_command

STREAMS = "streams: can run one timestep at a time"
"""What is said of a model that can."""

JSON_SHOWS_ALL = "--json shows all"
"""What a list is folded with, where the command has that option."""

MAX_ROWS = 40
"""Rows of a table, or lines of a list, that are shown of longer ones: a screen of them."""

MAX_CELL = 60
"""Characters of a cell, a name for example."""

_LAST = 9
"""Rows that are shown of the end of what is folded."""


_EXTRAS = {"onnxruntime": "onnx", "torch": "torch", "keras": "keras"}
"""The extra that brings each package that a comparison may miss."""


def shown_note(note: str) -> str:
    """Return a remark of a model as it is printed: with what to do where a package was missing."""
    package = note.removesuffix(" is not installed").rpartition(" ")[2]
    is_missing = note.endswith(f"{package} is not installed") and package in _EXTRAS
    return shown(note, 400) + (f": {install_command(_EXTRAS[package])}" if is_missing else "")


def shown_notes(notes: Iterable[str]) -> list[str]:
    """Return the lines for a model's remarks."""
    return folded([f"note: {shown_note(note)}" for note in notes], JSON_SHOWS_ALL)


def json_number(number: float) -> float | None:
    """Return a number that JSON can hold: None for NaN and the infinities."""
    return number if math.isfinite(number) else None


def cell(text: str, width: int = MAX_CELL) -> str:
    """Return the text escaped, and cut where it is wider."""
    line = escaped(text[: width + 1])
    return line if len(line) <= width else f"{line[: width - 3]}..."


def folding(count: int) -> tuple[int, int]:
    """Return how many rows are shown of the beginning, and how many of the end, where there are so many."""
    return (count, 0) if count <= MAX_ROWS else (MAX_ROWS - 1 - _LAST, _LAST)


def folded(lines: Sequence[str], hint: str) -> list[str]:
    """Return the lines; of many the first and the last, how many there are between them, and what shows those."""
    first, last = folding(len(lines))
    if first == len(lines):
        return list(lines)
    return [*lines[:first], f"... {len(lines) - first - last:,} more: {hint}", *lines[-last:]]


def table(header: list[str], rows: list[list[str]], *, align: str, hint: str | None = None) -> list[str]:
    """Return lines of aligned columns: ``align`` has ``<`` or ``>`` for each, as `format` understands them.

    Where there is a hint, which says what shows all of them, many rows are folded; and cells are cut.
    """
    if hint is not None:
        first, last = folding(len(rows))
        left = len(rows) - first - last
        rows = [[cell(text) for text in row] for row in [*rows[:first], *rows[len(rows) - last :]]]
    widths = [max(len(row[index]) for row in [header, *rows]) for index in range(len(header))]
    lines = [
        "  ".join(f"{text:{side}{width}}" for text, side, width in zip(row, align, widths, strict=True)).rstrip()
        for row in [header, *rows]
    ]
    if hint is not None and left:
        lines.insert(first + 1, f"... {left:,} more: {hint}")
    return lines
