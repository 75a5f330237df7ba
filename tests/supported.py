"""Generates docs/supported.md: what becomes of the small model files under tests/data.

Usage:
    python tests/supported.py
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))

import checkpoints
import onnx_graphs

import grurt
from grurt.converters import convert
from grurt.errors import GrurtError

PAGE = Path(__file__).parent.parent / "docs" / "supported.md"

HEADER = """\
# What becomes of each file

The small model files that the tests carry, converted, and run on the inputs whose answers their frameworks gave. This
page is written by `python tests/supported.py`, and a test checks that it is current.

| file | written by | holds | largest difference, or the refusal |
| --- | --- | --- | --- |
"""

TORCH: dict[str, tuple[str | None, str]] = {
    "sd_zip.pt": ("gru, fc", "io.npz"),
    "sd_legacy.pt": ("gru, fc", "io.npz"),
    "sd_dataparallel.pt": ("gru, fc", "io.npz"),
    "sd_bf16.pt": ("gru, fc", "io.npz"),
    "ckpt_lightning.ckpt": ("gru, fc", "io.npz"),
    "full_module.pt": ("gru, fc", "io.npz"),
    "model.safetensors": ("gru, fc", "io.npz"),
    "jit_trace.pt": ("gru, fc", "io.npz"),
    "export.pt2": (None, "io.npz"),
    "sd_weightnorm_new.pt": ("gru, fc", "sd_weightnorm_new_io.npz"),
    "list_params.pt": ("gru, fc", "io.npz"),
    "sd_dynquant.pt": ("gru, fc", "io.npz"),
    "b_lasthidden.pt": ("gru, last, fc", "b_lasthidden.npz"),
    "d_bi.pt": ("gru, fc", "d_bi.npz"),
    "h_nsnet2.pt": ("fc1:relu, gru1, gru2, fc2:relu, fc3:relu, fc4:sigmoid", "h_nsnet2.npz"),
    "j_conv_causal.pt": ("conv:tanh, gru, fc", "j_conv_causal.npz"),
    "k_norms.pt": ("bn, gru, ln, fc", "k_norms.npz"),
}
"""Files, the description of their layers, and where the answers are."""


@dataclass(frozen=True)
class Row:
    """What became of one file."""

    file: str
    source: str
    holds: str
    result: str

    def __str__(self) -> str:
        cells = (f"`{self.file}`", self.source, self.holds, self.result)
        return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"


def rows() -> Iterator[Row]:
    """Convert every file, and compare."""
    for path in sorted(onnx_graphs.DATA.glob("*.onnx")):
        if ".decomp." in path.name:  # of other weights than those whose answers are stored
            continue
        yield _row(path, None, *onnx_graphs.stored(path.name))
    for name, (layers, answers) in TORCH.items():
        arrays = checkpoints.stored(answers)
        x, y = (arrays["x"], arrays["y"]) if "x" in arrays else (arrays["in_x"], arrays["out_y"])
        yield _row(checkpoints.DATA / name, layers, {"x": x}, {"y": y})


def _row(path: Path, layers: str | None, inputs: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> Row:
    file = f"{path.parent.name}/{path.name}"
    try:
        model = convert(path, layers, reference=False)
    except GrurtError as error:
        return Row(file, "", "", f"refused: {str(error).removeprefix(path.name + ': ')}")
    source = model.source.producer or model.source.format
    holds = ", ".join(dict.fromkeys(layer.kind for layer in model.layers))
    return Row(file, source, holds, f"{_difference(model, inputs, expected):.1e}")


def _difference(model: grurt.Model, inputs: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> float:
    names = [port.name for port in model.signature.inputs]
    given = inputs if set(names) <= inputs.keys() else dict(zip(names, inputs.values(), strict=True))
    found = model.run(given)
    pairs = [(found[name], array) for name, array in expected.items()] if expected.keys() == found.keys() else []
    pairs = pairs or list(zip(found.values(), expected.values(), strict=False))
    return max(float(np.abs(array - answer).max()) for array, answer in pairs)


def page() -> str:
    """Return the page."""
    return HEADER + "\n".join(map(str, rows())) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
