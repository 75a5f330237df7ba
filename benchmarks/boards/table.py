"""The table of what models take on boards, in a page of the documentation."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.boards.machines import MACHINES
from benchmarks.tables import between_markers

RESULTS = Path(__file__).parent / "results.json"
PAGE = Path(__file__).parents[2] / "docs" / "microcontroller.md"
MARKER = "boards"

_HEADER = """\
| model | CPU | for example | flash | RAM | stack | instructions a timestep |
| --- | --- | --- | ---: | ---: | ---: | ---: |"""


_NOTE = (
    "Flash and RAM are what a program takes more with the model, its inputs and outputs than without: weights, code, "
    "what is linked for it, state and scratch. Stack: of a step, by painting it. Instructions: counted by QEMU, which "
    "knows no cycles. -: too large for the emulated board."
)


def rendered(page: str, results: Mapping[str, Any]) -> str:
    """Return a page with the table of some results."""
    rows = "\n".join(_row(record) for record in results["records"])
    versions = "; ".join(results["versions"])
    note = f"<sub>`python -m benchmarks.boards`, {results['date']}: {versions}; `-std=c99 -Os`. {_NOTE}</sub>"
    return between_markers(page, MARKER, f"{_HEADER}\n{rows}\n\n{note}")


def _row(record: Mapping[str, Any]) -> str:
    boards = {machine.name: machine.boards for machine in MACHINES}[record["cpu"]]
    numbers = [record[key] for key in ("flash", "ram", "stack", "instructions")] if "flash" in record else ["-"] * 4
    cells = [record["model"], record["cpu"], boards, *(f"{n:,}" if isinstance(n, int) else n for n in numbers)]
    return f"| {' | '.join(cells)} |"


def write(records: Sequence[Mapping[str, Any]], date: str, versions: Sequence[str]) -> None:
    """Write results, and the page with their table."""
    lines = ",\n".join(f"    {json.dumps(record)}" for record in records)
    head = f'  "date": {json.dumps(date)},\n  "versions": {json.dumps(list(versions))},\n'
    RESULTS.write_text(f'{{\n{head}  "records": [\n{lines}\n  ]\n}}\n')
    PAGE.write_text(rendered(PAGE.read_text(), read()))


def read() -> dict[str, Any]:
    """Return the results that are there."""
    found: dict[str, Any] = json.loads(RESULTS.read_text())
    return found
