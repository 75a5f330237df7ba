"""The picture of `grurt inspect`."""

from __future__ import annotations

import re
from pathlib import Path

import models
import numpy as np
from commandline import Terminal, succeed

import grurt
from grurt.cli.picture import draw
from grurt.summary import summarize


def chain() -> grurt.Model:
    return models.layer_model(
        grurt.Embedding(name="emb", vocabulary_size=7, size=3),
        grurt.GRU(name="gru", input_size=3, hidden_size=4),
        grurt.LastStep(name="last"),
        grurt.Linear(name="fc", input_size=4, output_size=1),
        rng=np.random.default_rng(2),
    )


def branches() -> grurt.Model:
    layers = [
        grurt.Linear(name="p", input_size=4, output_size=4),
        grurt.GRU(name="there", input_size=4, hidden_size=4),
        grurt.GRU(name="back", inputs=("p",), input_size=4, hidden_size=4, direction="reverse"),
        grurt.Concat(name="both", inputs=("there", "back")),
        grurt.Linear(name="q", input_size=8, output_size=4),
        grurt.Add(name="sum", inputs=("p", "q")),
    ]
    return models.layer_model(*layers, rng=np.random.default_rng(2))


def test_a_chain() -> None:
    assert draw(summarize(chain())) == [
        "○  x     a token of 7",
        "●  emb   embedding 7 → 3, 21 weights, vocabulary_size=7",
        "●  gru   gru 3 → 4, 108 weights, keeps 4 numbers",
        "●  last  last_step 4",
        "●  fc    linear 4 → 1, 5 weights",
        "▼  y     1 number once a sequence",
    ]


def test_branches_and_merges() -> None:
    assert draw(summarize(branches())) == [
        "○      x      4 numbers",
        "●      p      linear 4, 20 weights",
        "├─╮",
        "│ ●    there  gru 4, 120 weights, a state of 4 numbers",
        "├─│─╮",
        "│ │ ●  back   gru 4, 120 weights, a state of 4 numbers, direction=reverse",
        "│ ├─╯",
        "│ ●    both   concat 4 → 8",
        "│ ●    q      linear 8 → 4, 36 weights",
        "├─╯",
        "●      sum    add 4",
        "▼      y      4 numbers after every timestep",
    ]


def test_ascii() -> None:
    lines = draw(summarize(branches()), ascii_only=True)
    assert all(line.isascii() for line in lines)
    assert lines[2:4] == ["+-+", "| *    there  gru 4, 120 weights, a state of 4 numbers"]


def test_narrow_terminals() -> None:
    lines = draw(summarize(branches()), width=24)
    assert max(map(len, lines)) == 24
    assert lines[3] == "│ ●    there  gru 4, 12…"
    assert draw(summarize(chain()), width=1)[0] == "…"


def test_a_terminal_of_80_columns(tmp_path: Path) -> None:
    """The picture is cut, and the table leaves out what the picture shows; nothing of that where nobody looks."""
    layers = [
        grurt.GRU(name=name, inputs=("x",), input_size=40, hidden_size=40, clip=3.5, masked=False)
        for name in ("a_layer_with_a_long_name", "another_one", "one_more")
    ]
    merged = grurt.Add(name="sum", inputs=tuple(layer.name for layer in layers))
    inputs = [grurt.Input("x", 40)]
    models.layer_model(*layers, merged, rng=np.random.default_rng(1), inputs=inputs).save(tmp_path / "model.grurt")
    shown = Terminal("inspect", tmp_path / "model.grurt").read_to_end()
    assert "\x1b" not in shown
    assert max(map(len, shown.splitlines())) == 80
    assert re.search(
        r"^layer +kind +size +state +parameters +bytes +multiply-adds$", shown.replace("\r", ""), re.MULTILINE
    )
    piped = succeed("inspect", tmp_path / "model.grurt")
    assert "multiply-adds  options\n" in piped
    assert max(map(len, piped.splitlines())) > 80
