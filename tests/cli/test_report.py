"""Tables and lists of reports: aligned, folded where they are long, and cut where they are wide."""

from __future__ import annotations

import json
from pathlib import Path

import models
import numpy as np
from commandline import succeed
from hostile_texts import PAYLOAD, assert_printable

import grurt
from grurt.cli.report import MAX_CELL, MAX_ROWS, cell, folded, shown_note, table


def test_a_table_is_as_wide_as_its_cells() -> None:
    assert table(["a", "b"], [["long", "1"], ["s", "1000"]], align="<>") == ["a        b", "long     1", "s     1000"]


def test_many_rows_are_folded_and_wide_cells_cut() -> None:
    rows = [[str(index), "x" * index] for index in range(1000)]
    lines = table(["n", "text"], rows, align=">>", hint="--all shows them")
    assert len(lines) == 1 + MAX_ROWS
    assert lines[31] == "... 961 more: --all shows them"
    assert max(map(len, lines)) == 3 + 2 + MAX_CELL
    assert lines[-1] == f"999  {'x' * 57}..."
    assert len(table(["n", "text"], rows, align=">>")) == 1001


def test_short_lists_are_not_folded() -> None:
    lines = [str(index) for index in range(MAX_ROWS)]
    assert folded(lines, "hint") == lines
    assert folded([*lines, "40"], "hint") == [*lines[:30], "... 2 more: hint", *lines[32:], "40"]
    assert folded([], "hint") == []


def test_cells_are_printable() -> None:
    assert_printable(cell(PAYLOAD))
    assert cell("a\u202eb") == "a\\u202eb"
    assert len(cell("\x9b" * 60)) == MAX_CELL
    assert_printable(shown_note(f"{PAYLOAD} is not installed"))


def test_quantize_shows_six_outputs_and_the_worst_of_the_others(tmp_path: Path) -> None:
    names = [f"fc{index}" for index in range(45)]
    models.layer_model(
        *(grurt.Linear(name=name, inputs=("x",), input_size=2, output_size=2) for name in names),
        rng=np.random.default_rng(1),
        inputs=[grurt.Input("x", 2)],
        outputs=[grurt.Output(f"y{name}", name) for name in names],
    ).save(tmp_path / "model.grurt")
    arguments = ("quantize", tmp_path / "model.grurt", "--steps", 1)
    text = succeed(*arguments)
    assert max(map(len, text.splitlines())) < 160
    assert text.count("... 6 more: --json shows all") == 2
    assert text.count("yfc5 dB  worst of 39 more\n") == 2
    found = json.loads(succeed(*arguments, "--json"))
    worst = min(output["decibels"] for output in found["spans"][0]["outputs"][6:])
    assert text.splitlines()[-1].endswith(f"{worst:.1f}")


def test_verify_shows_the_largest_errors_of_many(tmp_path: Path) -> None:
    names = [f"y{index}" for index in range(50)]
    layer = grurt.Activation(name="a", inputs=("x",), function=grurt.Relu())
    model = models.layer_model(
        layer,
        rng=np.random.default_rng(1),
        inputs=[grurt.Input("x", 1)],
        outputs=[grurt.Output(name, "a") for name in names],
    )
    x = np.ones((1, 3, 1), np.float32)
    answers = {name: x + np.float32(1e-6 * (name == "y35")) for name in names}
    model.replaced(reference_run=grurt.ReferenceRun({"x": x}, answers, "a source")).save(tmp_path / "model.grurt")
    text = succeed("verify", tmp_path / "model.grurt")
    errors = [line for line in text.splitlines() if line.startswith("  y")]
    assert len(errors) == MAX_ROWS - 1
    assert errors[0].startswith("  y35: 9.5e-07")
    assert "... 11 more: --json shows all" in text
