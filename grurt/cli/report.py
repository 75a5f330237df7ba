"""What the reports of several commands share."""

import math


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
