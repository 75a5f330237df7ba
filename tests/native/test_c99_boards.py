"""Models in C on emulated boards: they test themselves there, and take what the documentation says."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

import grurt
from benchmarks.boards import plain, table
from benchmarks.boards.__main__ import BY_HAND, DEMO, STEP_GRAPH, step_graph
from benchmarks.boards.machines import MACHINES, Machine, Measured, measure
from grurt.demo import load_model
from grurt.native.c99.export import export_c99

pytestmark = pytest.mark.slow

BY_NAME = {machine.name: machine for machine in MACHINES}


def measured(machine: Machine, model: grurt.Model, folder: Path) -> Measured:
    """Return what a model takes on a board, where it has tested itself."""
    if machine.missing:
        pytest.skip(f"{machine.missing} is not installed")
    return measure(machine, model, export_c99(model, name="m").files, folder)


@pytest.mark.parametrize(("name", "weights"), [(DEMO, "float32"), (DEMO, "int8"), (STEP_GRAPH, "int8")])
@pytest.mark.parametrize("cpu", BY_NAME)
def test_a_board_answers_as_the_engine_does(name: str, cpu: str, weights: Any, tmp_path: Path) -> None:
    model = load_model() if name == DEMO else step_graph()
    model = model if weights == "float32" else model.quantize(weights)
    check_what_is_written(measured(BY_NAME[cpu], model, tmp_path), f"{name}, {weights}", cpu)


def check_what_is_written(found: Measured, model: str, cpu: str) -> None:
    """Fail unless a board takes what the table says."""
    (written,) = (record for record in table.read()["records"] if (record["model"], record["cpu"]) == (model, cpu))
    for what in ("flash", "ram", "stack", "instructions"):
        assert getattr(found, what) == pytest.approx(written[what], rel=0.1)  # compilers differ a little


@pytest.mark.parametrize("cpu", ["cortex-m4", "rv32imc"])
def test_what_is_written_by_hand_answers_the_same(cpu: str, tmp_path: Path) -> None:
    machine = BY_NAME[cpu]
    if machine.missing:
        pytest.skip(f"{machine.missing} is not installed")
    found = measure(machine, load_model(), plain.files(), tmp_path, plain.FLAGS)
    check_what_is_written(found, f"{DEMO}, {BY_HAND}", cpu)
    assert found.instructions > measured(machine, load_model(), tmp_path).instructions


def test_int8_is_small_on_a_cortex_m4(tmp_path: Path) -> None:
    """A GRU of 32 with 6 inputs and a head: what fits the smallest of such boards beside a program."""
    found = measured(BY_NAME["cortex-m4"], load_model().quantize("int8"), tmp_path)
    assert found.flash <= 8 * 1024
    assert found.ram <= 400
    assert found.ram + found.stack <= 800


@pytest.mark.parametrize("weights", ["float32", "int8"])
@pytest.mark.parametrize("cpu", ["cortex-m4", "cortex-m7", "cortex-m33"])
def test_a_fused_multiply_add_gives_the_bits_of_the_engine(cpu: str, weights: Any, tmp_path: Path) -> None:
    model = load_model() if weights == "float32" else load_model().quantize(weights)
    exported = export_c99(model, name="m")
    near = exported.files["m.c"].decode()
    (tolerance,) = re.findall(r"<= (\S+f) \* \(1", near)
    exported.files["m.c"] = near.replace(f"<= {tolerance} *", "<= 0.0f *").encode()
    if BY_NAME[cpu].missing:
        pytest.skip(f"{BY_NAME[cpu].missing} is not installed")
    measure(BY_NAME[cpu], model, exported.files, tmp_path)


def test_a_self_test_that_fails_is_seen(tmp_path: Path) -> None:
    machine, exported = BY_NAME["cortex-m4"], export_c99(load_model(), name="m")
    if machine.missing:
        pytest.skip(f"{machine.missing} is not installed")
    exported.files["m.c"] = (
        exported.files["m.c"].replace(b"return z < ", b"").replace(b", -1.0f, 1.0f);", b", -0.5f, 0.5f);")
    )
    with pytest.raises(RuntimeError, match="failed"):
        measure(machine, load_model(), exported.files, tmp_path)


def test_the_table_is_that_of_the_results() -> None:
    page = table.PAGE.read_text()
    assert table.rendered(page, table.read()) == page
