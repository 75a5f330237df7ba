"""Programs of other precisions than float32, mixed ones among them: torch answers in the source's own."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from grurt.converters import convert
from grurt.runtime.verify import MOVES, TOLERANCE

pytestmark = pytest.mark.slow

UNITS = {torch.float16: 2.0**-11, torch.bfloat16: 2.0**-8}
PORTS = {torch.float16: "float16", torch.bfloat16: "float32", torch.float64: "float64"}
"""NumPy has no bfloat16."""


class Net(nn.Module):
    """A GRU and a linear layer of one dtype, between inputs and outputs of others."""

    def __init__(self, inside: torch.dtype, outside: torch.dtype | None = None) -> None:
        super().__init__()
        self.gru = nn.GRU(5, 8, batch_first=True, dtype=inside)
        self.fc = nn.Linear(8, 3, dtype=inside)
        self.inside, self.outside = inside, outside

    def forward(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        y, h = self.gru(x.to(self.inside), h.to(self.inside))
        return self.fc(y).to(self.outside or self.inside), h.to(self.outside or self.inside)


class NarrowWeights(nn.Module):
    """Weights that are kept in few bits, and made wider before they are used."""

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        gru = nn.GRU(5, 8, batch_first=True)
        self.weights = nn.ParameterList([nn.Parameter(weight.detach().to(dtype)) for weight in gru._flat_weights])

    def forward(self, x: Tensor, h: Tensor) -> Any:
        return torch._VF.gru(x, h, [weight.float() for weight in self.weights], True, 1, 0.0, False, False, True)


def exported(module: nn.Module, dtype: torch.dtype, path: Path) -> tuple[Tensor, Tensor]:
    inputs = torch.randn(2, 6, 5).to(dtype), torch.rand(1, 2, 8).to(dtype)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter warns about itself
        torch.export.save(torch.export.export(module.eval(), inputs), path)
    return inputs


@pytest.mark.parametrize("dtype", PORTS)
def test_inputs_and_outputs_are_the_sources(dtype: torch.dtype, tmp_path: Path) -> None:
    net = Net(dtype)
    inputs = exported(net, dtype, tmp_path / "model.pt2")
    model = convert(tmp_path / "model.pt2")
    assert {port.dtype for port in model.signature.inputs + model.signature.outputs} == {PORTS[dtype]}
    assert model.reference_run is not None, model.source.notes
    assert model.reference_run.precision == ("bfloat16" if dtype == torch.bfloat16 else None)
    found = model.verify()
    assert found.ok
    assert found.tolerance == max(TOLERANCE, MOVES * UNITS.get(dtype, 0))
    names = [port.name for port in model.signature.inputs]
    arrays = [x.float().numpy() if dtype == torch.bfloat16 else x.numpy() for x in inputs]
    with torch.no_grad():
        exact = net.double()(*(x.double() for x in inputs)) if dtype == torch.float64 else net(*inputs)
    for array, answer in zip(model.run(dict(zip(names, arrays, strict=True))).values(), exact, strict=True):
        np.testing.assert_allclose(array, answer.to(torch.float64).numpy(), rtol=0, atol=found.tolerance)


@pytest.mark.parametrize(
    ("inside", "outside", "precision", "tolerance"),
    [
        (torch.float16, torch.float32, "float16", MOVES * UNITS[torch.float16]),
        (torch.bfloat16, torch.float32, "bfloat16", MOVES * UNITS[torch.bfloat16]),
        (torch.float32, torch.float16, "float32", TOLERANCE + UNITS[torch.float16]),
        (torch.float32, torch.bfloat16, "bfloat16", MOVES * UNITS[torch.bfloat16]),
        (torch.float64, torch.float32, None, TOLERANCE),
    ],
)
def test_what_is_allowed_follows_the_precision_inside(
    inside: torch.dtype, outside: torch.dtype, precision: str | None, tolerance: float, tmp_path: Path
) -> None:
    exported(Net(inside, outside), outside, tmp_path / "model.pt2")
    model = convert(tmp_path / "model.pt2")
    assert model.reference_run is not None, model.source.notes
    assert model.reference_run.precision == precision
    assert model.verify().ok
    assert model.verify().tolerance == tolerance


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_narrow_weights_are_computed_with_in_float32(dtype: torch.dtype, tmp_path: Path) -> None:
    exported(NarrowWeights(dtype), torch.float32, tmp_path / "model.pt2")
    model = convert(tmp_path / "model.pt2")
    assert model.reference_run is not None, model.source.notes
    assert model.reference_run.precision is None
    assert model.verify().max_error < 2e-6


def test_a_notes_says_what_the_weights_were(tmp_path: Path) -> None:
    exported(Net(torch.bfloat16), torch.bfloat16, tmp_path / "model.pt2")
    notes = convert(tmp_path / "model.pt2", reference=False).source.notes
    assert notes == (
        "weights of bfloat16 were converted to float32",
        "inputs and outputs of bfloat16 are float32, for NumPy has none",
    )
