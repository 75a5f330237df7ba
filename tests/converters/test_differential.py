"""Random networks, converted from every format, answer as their frameworks do; or they are refused, by design."""

from __future__ import annotations

import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import differential
import numpy as np
import pytest
import torch
from generated import comparison, families, script
from generated.comparison import BY_DESIGN, CRASHED, REFUSED, RIGHT, WHOLE, WRONG, Outcome
from generated.tally import Tally, stored
from generated.truth import TorchSource
from generated.writer import Input, Output, Program

import grurt
from grurt.converters import convert_module
from grurt.errors import ConversionError, DesignReason, UnsupportedError

NETWORKS, SEED = 500, 3
"""Those of the long run."""

MOST_REFUSED = 0.03
"""The part of files that may be refused for no reason of design."""


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # the exporters warn about themselves
def test_some_networks() -> None:
    """No answer is wrong, and no exception is another library's."""
    found = list(differential.cases(15, 1, routes=("torchscript", "pt2")))  # the other exporter takes seconds
    assert len(found) > 25
    assert [case.outcome for case in found if case.outcome.kind in (WRONG, CRASHED)] == []
    assert sum(case.outcome.kind == RIGHT for case in found) > 15


@pytest.mark.long
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("framework", ["torch", "keras"])
def test_many_networks(framework: str) -> None:
    if framework == "keras":
        pytest.importorskip("keras", reason="only the extra 'keras' has it: see CONTRIBUTING.md")
    found = Tally(NETWORKS, SEED, differential.weights((framework,)))
    for case in differential.cases(NETWORKS, SEED, frameworks=(framework,)):
        found.count(case.program.family, case.outcome)
    print(found.table())
    assert found.total(WRONG) == found.total(CRASHED) == 0
    assert found.refused_part < MOST_REFUSED


def test_the_same_seed_gives_the_same_network() -> None:
    for name in families.FAMILIES:
        one, other = (families.program(name, "7.1") for _ in range(2))
        assert one == other
        assert one.source != families.program(name, "7.2").source


SOURCE = """\
class Network(nn.Module):
    def __init__(self):
        super().__init__()
        self.gru = nn.GRU(3, 4, batch_first=True)

    def forward(self, x, h):
        y, n = self.gru(x, h)
        return y, n
"""


def source_of(text: str = SOURCE, *reasons: DesignReason) -> TorchSource:
    """Return a network with a state."""
    inputs = (
        Input("x", "torch.randn(batch, time, 3)", 0, 1),
        Input("h", "torch.randn(1, batch, 4)", 1, None, is_state=True),
    )
    outputs = (Output("y", 1), Output("n", None, "h"))
    return TorchSource(Program("test", "0", text, inputs, outputs, 2, 3, frozenset(reasons), ()))


def model_of(source: TorchSource, change: Callable[[dict[str, Any]], None] = lambda weights: None) -> grurt.Model:
    """Return what a network is converted to, with changed weights."""
    model = convert_module(source.module, tuple(source.inputs(2, 3, "example").values()))
    weights = {name: np.array(array) for name, array in model.weights.items()}
    change(weights)
    return grurt.Model.from_network(model.replaced(weights=weights))


def test_a_right_network_is_right() -> None:
    source = source_of()
    assert comparison.judged(source, lambda: model_of(source)) == Outcome(RIGHT)


def test_wrong_answers_are_wrong() -> None:
    source = source_of()

    def swap_gates(weights: dict[str, Any]) -> None:
        weights["gru.weight_hh"][:] = np.roll(weights["gru.weight_hh"], 4, axis=0)

    outcome = comparison.judged(source, lambda: model_of(source, swap_gates))
    assert outcome.kind == WRONG
    assert "whole sequences of batch 2, time 3: output 0" in outcome.detail


def test_a_stream_is_compared_with_the_loop() -> None:
    """Which feeds back something else than a stream keeps."""
    plain, changed = source_of(), source_of(SOURCE.replace("return y, n", "return y, n * 0.5"))
    with pytest.raises(comparison.DifferenceError, match="step 1 of a stream: output 0"):
        comparison.streamed(changed, model_of(plain))


@pytest.mark.parametrize(
    ("error", "reasons", "kind"),
    [
        (UnsupportedError("no", reason=DesignReason.IMAGES), [DesignReason.IMAGES], BY_DESIGN),
        (UnsupportedError("no", reason=DesignReason.IMAGES), [], REFUSED),
        (UnsupportedError("no"), [DesignReason.IMAGES], REFUSED),
        (ConversionError("damaged"), [DesignReason.IMAGES], REFUSED),
        (KeyError("a"), [], CRASHED),
    ],
)
def test_refusals_are_told_apart(error: Exception, reasons: list[DesignReason], kind: str) -> None:
    def refuse() -> grurt.Model:
        raise error

    assert comparison.judged(source_of(SOURCE, *reasons), refuse).kind == kind


def test_what_does_not_stream_is_told_apart() -> None:
    changed = SOURCE.replace("return y, n", "return y, n * 0.5")
    one, other = source_of(changed), source_of(changed, DesignReason.FED_BACK_STATE)
    assert comparison.judged(one, lambda: model_of(one)).kind == WHOLE
    assert comparison.judged(other, lambda: model_of(other)).reason is DesignReason.FED_BACK_STATE


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("route", ["torchscript", "pt2"])
def test_scripts_show_what_went_wrong(
    route: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    path = script.write(source_of().program, route, True, Outcome(WRONG, 'a """text"""'), tmp_path)
    with torch.random.fork_rng():
        runpy.run_path(str(path))
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("largest difference")]
    assert len(lines) == 2
    assert all(float(line.rpartition(" ")[2]) < 2e-6 for line in lines)


def test_what_is_stored_has_every_family() -> None:
    found = stored()
    assert list(found.weights.items())[: len(families.FAMILIES)] == list(differential.weights().items())
    assert found.total(WRONG) == found.total(CRASHED) == 0
