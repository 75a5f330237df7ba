"""What the reports of several commands share."""

import math

STREAMS = "streams: can run one timestep at a time"
"""What is said of a model that can."""


def shown_note(note: str) -> str:
    """Return a remark of a model as it is printed: with what to do where a package was missing."""
    _, missing, rest = note.rpartition(" is not installed")
    if not missing or rest:
        return note
    return f"{note}: pip install {note.removesuffix(missing).rpartition(' ')[2]}"


def json_number(number: float) -> float | None:
    """Return a number that JSON can hold: None for NaN and the infinities."""
    return number if math.isfinite(number) else None


def table(header: list[str], rows: list[list[str]], *, align: str) -> str:
    """Return lines of aligned columns: ``align`` has ``<`` or ``>`` for each, as `format` understands them."""
    widths = [max(len(row[index]) for row in [header, *rows]) for index in range(len(header))]
    return "\n".join(
        "  ".join(f"{cell:{side}{width}}" for cell, side, width in zip(row, align, widths, strict=True)).rstrip()
        for row in [header, *rows]
    )
