"""Programs that weigh little and ask for much are converted, or refused, in memory and time in proportion to them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
from bounded_conversions import Outcome, outcomes
from hostile_programs import LARGE, SMALL, Y, call, program

from grurt.converters import convert
from grurt.converters.pt2 import emitter
from grurt.errors import UnsupportedError


def what_becomes_of(
    programs: Mapping[str, Callable[[], bytes]], folder: Path, **options: bool
) -> Mapping[str, Outcome]:
    """Write programs to files, convert these within limits, and check that each is a model or an error of grurt's."""
    paths = [folder / f"{name}.pt2" for name in programs]
    for path, make in zip(paths, programs.values(), strict=True):
        path.write_bytes(make())
    found = outcomes(paths, **options)
    for name, outcome in found.items():
        assert outcome.error in ("", "ConversionError", "UnsupportedError"), (name, outcome)
        assert not outcome.error or outcome.text.startswith(f"{name}: "), (name, outcome)
    return {name.removesuffix(".pt2"): outcome for name, outcome in found.items()}


@pytest.mark.slow
def test_small_programs(tmp_path: Path) -> None:
    found = what_becomes_of(SMALL, tmp_path)
    for name in ("added", "multiplied", "negated_constants"):
        assert found[name].error == "", name
    for name in ("repeated_constants", "doubled_constants"):
        assert "the constants that the graph computes are too large" in found[name].text, name


@pytest.mark.long
def test_large_programs(tmp_path: Path) -> None:
    what_becomes_of(LARGE, tmp_path)


def test_more_nodes_than_calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(emitter, "MAX_NODES", 3)
    (tmp_path / "m.pt2").write_bytes(program([call("relu.default", "y", self=Y)], "y"))
    with pytest.raises(UnsupportedError, match="the program comes to more than 3 nodes; export a part of it"):
        convert(tmp_path / "m.pt2")


@pytest.mark.parametrize(
    ("calls", "message"),
    [
        (
            [call("split.Tensor", ["y"], self=Y, split_size=1, dim=0)],
            "it splits into 2 parts for 1 outputs; export it again",
        ),
        ([call("relu.default", "y", self=Y, shape=[1] * 17)], "tensor 'y': expected at most 16 axes, got 17"),
    ],
)
def test_what_no_exporter_writes(calls: list[dict[str, object]], message: str, tmp_path: Path) -> None:
    (tmp_path / "m.pt2").write_bytes(program(calls, "y"))
    with pytest.raises(UnsupportedError, match=message):
        convert(tmp_path / "m.pt2")


def test_a_run_that_writes_constants_out(tmp_path: Path) -> None:
    """torch would write out the zeros, which take no memory here."""
    pytest.importorskip("torch")
    (tmp_path / "m.pt2").write_bytes(SMALL["added"]())
    *_, note = convert(tmp_path / "m.pt2").source.notes
    assert note.startswith("no reference run: a run on a test input writes 1717")


def test_torch_runs_only_what_the_outputs_need(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    dead = call("zeros.default", "dead", size=[1 << 20, 1 << 20], shape=[1 << 20, 1 << 20])
    (tmp_path / "m.pt2").write_bytes(program([dead, call("relu.default", "y", self=Y)], "y"))
    model = convert(tmp_path / "m.pt2")
    assert model.reference_run is not None, model.source.notes


def test_a_gru_may_be_called_often(tmp_path: Path) -> None:
    given = {"input": Y, "hx": "h", "params": ["w", "u"], "has_biases": False, "num_layers": 1, "train": False}
    calls = [call("zeros.default", "h", size=[1, 2, 4], shape=[1, 2, 4])]
    calls += [call("gru.input", [f"y{i}", f"n{i}"], **given, bidirectional=False, batch_first=True) for i in range(2)]
    calls.append(call("add.Tensor", "y", self="y0", other="y1"))
    (tmp_path / "m.pt2").write_bytes(program(calls, "y", {"w": np.ones((12, 8)), "u": np.ones((12, 4))}))
    model = convert(tmp_path / "m.pt2")
    assert [layer.kind for layer in model.layers].count("gru") == 4
