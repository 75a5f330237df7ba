"""The picture of `grurt inspect`."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from types import FrameType

import models
import numpy as np
import pytest
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


def test_a_step_program_shows_its_states_and_what_computes() -> None:
    op = grurt.operators
    program = grurt.Program(
        name="net",
        inputs=("x",),
        input_shapes=((2, 3),),
        constants={"w": (3, 4)},
        states=(grurt.ProgramState("level", (2, 4), "next"),),
        operators=(
            op.MatMul(inputs=("x", "w"), outputs=("product",)),
            op.Slice(inputs=("level",), outputs=("kept",), starts=(1, 0), sizes=(1, 4), steps=(1, 1)),
            op.Combine(inputs=("product", "kept"), outputs=("next",), operation="add"),
        ),
        results=("next",),
    )
    model = grurt.Model(layers=[program], inputs=[grurt.Input("x", 6)], weights={"net.w": np.ones((3, 4))})
    assert draw(summarize(model)) == [
        "○    x        6 numbers",
        "│ ○  level    2 x 4, as the timestep before has left it",
        "● │  product  mat_mul 2 x 4, 24 multiply-adds",
        "├─╯",
        "●    next     combine 2 x 4, add",
        "●    net      program 6 → 8, 12 weights, keeps 8 numbers",
        "▼    y        8 numbers after every timestep",
    ]
    assert (
        draw(summarize(model.quantize("int8")))[2]
        == "● │  product  mat_mul 2 x 4, 24 multiply-adds, weight_format=int8"
    )


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


def parallel(count: int) -> grurt.Model:
    names = [f"layer{index}" for index in range(count)]
    return models.layer_model(
        *(grurt.Activation(name=name, inputs=("x",), function=grurt.Relu()) for name in names),
        rng=np.random.default_rng(1),
        inputs=[grurt.Input("x", 1)],
        outputs=[grurt.Output(f"y{name}", name) for name in names],
    )


@pytest.mark.slow
def test_thousands_of_parallel_layers_are_folded(tmp_path: Path) -> None:
    """A screen of each part; with --all every layer, but no more lanes."""
    parallel(4000).save(tmp_path / "model.grurt")
    text = succeed("inspect", tmp_path / "model.grurt")
    assert len(text) < 16_000
    lines = text.splitlines()
    assert max(map(len, lines)) < 160
    assert "... 7,962 more: --all shows them" in lines
    assert "... 3,962 more: --all shows them" in lines
    assert "... 3,961 more: --all shows them" in lines
    for name in ("layer0", "layer3999", "total", "output ylayer0", "output ylayer3999"):
        assert any(line.startswith(name) for line in lines)
    everything = succeed("inspect", "--all", tmp_path / "model.grurt")
    assert len(everything) < 600 * 4000
    assert "more: --all" not in everything
    assert re.search(r"^.*│ ● +layer2000 +activation 1, relu$", everything, re.MULTILINE)
    assert re.search(r"^layer2000 +activation +x", everything, re.MULTILINE)


def test_a_picture_takes_time_in_proportion_to_its_layers() -> None:
    """Counted in bytecodes, of which there are a few thousand a layer, however many lanes there are."""

    def instructions(count: int) -> int:
        summary = summarize(parallel(count))
        counted = 0

        def trace(frame: FrameType, event: str, argument: object) -> object:
            nonlocal counted
            frame.f_trace_opcodes = True
            counted += event == "opcode"
            return trace

        sys.settrace(trace)
        try:
            draw(summary, hint="--all shows them")
        finally:
            sys.settrace(None)
        return counted

    assert instructions(1200) < 3 * instructions(600)


def test_no_more_lanes_than_fit_are_drawn() -> None:
    lines = draw(summarize(parallel(30)))
    assert max(map(len, lines)) <= 90
    assert any("…" in line for line in lines)
    few = draw(summarize(parallel(20)))
    assert not any("…" in line for line in few)


def test_long_names_and_lists_are_cut(tmp_path: Path) -> None:
    layers = [
        grurt.Activation(name=f"{index:02}{'n' * 150}", inputs=("x",), function=grurt.Relu()) for index in range(60)
    ]
    total = grurt.Add(name="sum", inputs=tuple(layer.name for layer in layers))
    inputs = [grurt.Input("x", 1)]
    models.layer_model(*layers, total, rng=np.random.default_rng(1), inputs=inputs).save(tmp_path / "model.grurt")
    assert max(map(len, succeed("inspect", "--all", tmp_path / "model.grurt").splitlines())) < 260


def test_reprs_fit_a_line() -> None:
    model = parallel(4000)
    for shown in (model, model.stream(), model.pool(2)):
        assert len(repr(shown)) < 250
        assert "activation and 3,992 more" in repr(shown)
