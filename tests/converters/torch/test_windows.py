"""Convolutions and pools of state dicts: their padding and strides are described, and computed as PyTorch does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import grurt
from grurt.converters import convert
from grurt.errors import DescriptionError


class Front(nn.Module):
    """Modules over time in front of a GRU; those with weights are called ``front.0`` and so on."""

    def __init__(self, *modules: nn.Module) -> None:
        super().__init__()
        self.front = nn.Sequential(*modules)
        self.gru = nn.GRU(8, 6, batch_first=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.gru(self.front(x.transpose(1, 2)).transpose(1, 2))[0]
        return y


def saved(module: nn.Module, folder: Path) -> Path:
    torch.save(module.state_dict(), folder / "front.pt")
    return folder / "front.pt"


@pytest.mark.parametrize(
    ("modules", "layers"),
    [
        ([nn.Conv1d(4, 8, 3, padding=1)], "front.0(padding=1)"),
        ([nn.Conv1d(4, 8, 4, padding="same", dilation=2)], "front.0(padding=same, dilation=2)"),
        ([nn.Conv1d(4, 8, 3)], "front.0(padding=0)"),
        ([nn.Conv1d(4, 8, 3, stride=2, padding=1)], "front.0(padding=1, stride=2)"),
        ([nn.Conv1d(4, 8, 3, stride=2, groups=2)], "front.0(padding=0, stride=2, groups=2)"),
        ([nn.ConstantPad1d((2, 0), 0.0), nn.Conv1d(4, 8, 3, stride=2)], "front.1(padding=causal, stride=2)"),
        (
            [nn.Conv1d(4, 8, 3, padding=1), nn.ReLU(), nn.MaxPool1d(3, 2, 1), nn.Conv1d(8, 8, 2), nn.AvgPool1d(2)],
            (
                "front.0(padding=1):relu, (max_pool, kernel_size=3, stride=2, padding=1), front.3(padding=0), "
                "(average_pool, kernel_size=2)"
            ),
        ),
    ],
    ids=str,
)
def test_described(modules: list[nn.Module], layers: str, tmp_path: Path) -> None:
    module = Front(*modules).eval()
    model = convert(saved(module, tmp_path), layers=f"{layers}, gru")
    assert model.verify().ok
    assert model.unstreamable_reason is not None
    assert model.source.notes == ()
    for n_steps in (12, 17):
        xs = torch.randn(2, n_steps, 4)
        with torch.no_grad():
            np.testing.assert_allclose(model.run(xs.numpy()), module(xs).numpy(), rtol=0, atol=2e-6)


def test_a_pool_of_a_named_input(tmp_path: Path) -> None:
    description = """
    inputs = [{ kind = "features", name = "x", size = 8 }]
    layers = [{ kind = "max_pool", kernel_size = 2, stride = 1 }, { module = "gru" }]
    """
    (tmp_path / "layers.toml").write_text(description)
    module = Front(nn.MaxPool1d(2, 1)).eval()
    model = convert(saved(module, tmp_path), layers=str(tmp_path / "layers.toml"))
    xs = torch.randn(2, 9, 8)
    with torch.no_grad():
        np.testing.assert_allclose(model.run(xs.numpy()), module(xs).numpy(), rtol=0, atol=2e-6)


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ("front.0(padding=-1)", "module 'front.0': expected padding to be at least 0, got -1"),
        ("front.0(stride=0)", "module 'front.0': expected stride to be at least 1, got 0"),
        ("front.0(padding=full)", "front.0: "),
        (
            "front.0(kernel_size=3)",
            "layer 'front.0': kernel_size is an option of max_pool and average_pool, not conv1d",
        ),
        ("front.0, (max_pool)", "layer 'max_pool': expected a pool with its kernel_size, and a number as its padding"),
        (
            "front.0, (max_pool, kernel_size=2, padding=same)",
            "layer 'max_pool': expected a pool with its kernel_size, and a number as its padding",
        ),
        (
            "front.0, (average_pool, kernel_size=2000)",
            "layer 'average_pool': expected a kernel_size of at most 1024, got 2000",
        ),
        (
            "(max_pool, kernel_size=2), front.0",
            "layer 'max_pool': expected a pool behind a layer that says how many features it gives; name the model's",
        ),
    ],
)
def test_described_wrongly(layers: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(DescriptionError, match=message):
        convert(saved(Front(nn.Conv1d(4, 8, 3)), tmp_path), layers=f"{layers}, gru")


def test_a_convolution_of_which_nothing_is_said_is_causal(tmp_path: Path) -> None:
    model = convert(saved(Front(nn.Conv1d(4, 8, 3)), tmp_path), layers="front.0, gru")
    assert isinstance(model, grurt.Model)
    assert model.unstreamable_reason is None
    assert model.source.notes == ("front.0: taken as causal, padded with zeros on the left only",)


@pytest.mark.parametrize("operation", ["mean", "max", "sum"])
def test_what_all_timesteps_come_to(operation: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    gru, fc = nn.GRU(4, 8, batch_first=True), nn.Linear(8, 2)
    torch.save(nn.ModuleDict({"gru": gru, "fc": fc}).state_dict(), tmp_path / "model.pt")
    model = convert(tmp_path / "model.pt", layers=f"gru, ({operation}_over_time), fc")
    assert model.verify().ok
    assert model.unstreamable_reason is None
    xs = torch.randn(3, 7, 4)
    with torch.no_grad():
        y = gru(xs)[0]
        expected = fc({"mean": y.mean(1), "max": y.amax(1), "sum": y.sum(1)}[operation]).numpy()
    np.testing.assert_allclose(model.run(xs.numpy()), expected, rtol=0, atol=2e-6)
    with pytest.raises(DescriptionError, match="expected a layer before it that says how many features it gives"):
        convert(tmp_path / "model.pt", layers=f"({operation}_over_time), gru, fc")
