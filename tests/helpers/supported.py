"""Generates docs/supported.md: what becomes of the model files under tests/data.

Usage:
    python tests/helpers/supported.py
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterable
from pathlib import Path

from collection import Outcome, checkpoints, collection, keras_files
from paths import ROOT

PAGE = ROOT / "docs" / "supported.md"

TOLERANCE = 2e-6

HEADER = """\
# What becomes of each file

The model files that the tests carry, converted, and run on the inputs whose answers their frameworks gave: {agree}
agree, {unanswered} convert but have no answers to compare with, {refused} are refused with the reason. Files of one
network that differ in the version of the operators, in axes of open size or in the way they were saved share a line.

This page is written by `python tests/helpers/supported.py`, and a test checks that it is current. What kinds of network
there are besides, as PyTorch's exporters write them, is in `torch_networks.py`, `torch_topologies.py` and
`torch_variants.py` beside it. RTNeural's JSON and plain arrays are compared with equations in float64, in
`tests/converters/rtneural` and `tests/converters/arrays`.
"""

TABLE = """\
| file | files | holds | largest difference, or the refusal |
| --- | ---: | --- | --- |
"""

SECTIONS = {
    "pytorch": "ONNX files of PyTorch",
    "gru_operator": "The GRU operator of ONNX alone",
    "onnxruntime": "ONNX files that onnxruntime changed",
    "keras3": "Keras 3",
    "keras2": "Keras 2",
    "keras": "Keras, more kinds",
    "torch": "PyTorch checkpoints and programs",
}
"""The titles of the tables, by the beginning of the folder's name."""


def pattern(file: str) -> str:
    """Return what stands for a file and others of its kind."""
    folder, _, name = file.partition("/")
    first, *others = name.split(".")
    if folder.startswith("pytorch"):
        return f"{first}.{others[0]}*.onnx"
    if folder == "keras3":
        return f"*.{name.partition('.')[2]}" if name.endswith(".onnx") else f"{first}.*"
    return f"{first}.*" if folder == "keras" else name


def page(outcomes: Iterable[Outcome]) -> str:
    """Return the page."""
    everything = list(outcomes)
    sections: dict[str, dict[tuple[str, str], list[Outcome]]] = {}
    for outcome in everything:
        folder = outcome.file.partition("/")[0]
        title = next(SECTIONS[start] for start in SECTIONS if folder == start or folder.startswith(f"{start}_"))
        kinds = ", ".join(dict.fromkeys(layer.kind for layer in outcome.model.layers)) if outcome.model else ""
        sections.setdefault(title, {}).setdefault((pattern(outcome.file), kinds), []).append(outcome)
    converted = [outcome for outcome in everything if outcome.model is not None]
    agree = sum(outcome.difference is not None for outcome in converted)
    text = HEADER.format(agree=agree, unanswered=len(converted) - agree, refused=len(everything) - len(converted))
    for title in SECTIONS.values():
        text += f"\n## {title}\n\n{TABLE}"
        text += "".join(_line(*key, group) for key, group in sections.get(title, {}).items())
    return text


def _line(name: str, kinds: str, group: list[Outcome]) -> str:
    cells = (f"`{name}`", str(len(group)), kinds, _result(group))
    return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |\n"


def _result(group: list[Outcome]) -> str:
    if group[0].model is None:
        return "refused: " + re.sub(r"\(/|\bnode '[^']*'", "node", group[0].refusal)
    differences = [outcome.difference for outcome in group if outcome.difference is not None]
    if not differences:
        return "converted; there are no answers to compare with"
    worst = max(differences)
    return "below 2e-6" if worst < TOLERANCE else f"{worst:.0e}, rounded to 16 bits by the source"


def outcomes(folder: Path) -> list[Outcome]:
    """Convert all files; the collection is unpacked to a folder."""
    return [*collection(folder), *checkpoints(), *keras_files()]


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        PAGE.write_text(page(outcomes(Path(name))), encoding="utf-8")
