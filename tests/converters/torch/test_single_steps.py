"""Networks of one timestep without a batch, as robots' policies and tutorials' decoders are written."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from grurt.converters import convert

pytestmark = pytest.mark.slow


class Policy(nn.Module):
    """A vector of observations, seen as a sequence of one timestep."""

    def __init__(self, n_layers: int) -> None:
        super().__init__()
        self.gru = nn.GRU(5, 4, n_layers)
        self.head = nn.Sequential(nn.Linear(4, 8), nn.ELU(), nn.Linear(8, 3))

    def forward(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        y, h = self.gru(x.view(1, 1, -1), h)
        return self.head(y.view(1, -1)), h


class Decoder(nn.Module):
    """The decoder of PyTorch's tutorial on translation."""

    def __init__(self, n_layers: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(7, 4)
        self.gru = nn.GRU(4, 4, n_layers)
        self.out = nn.Linear(4, 7)

    def forward(self, token: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        y, h = self.gru(torch.relu(self.embedding(token).view(1, 1, -1)), h)
        return torch.log_softmax(self.out(y[0]), dim=1), h


def exported(module: nn.Module, inputs: tuple[Tensor, Tensor], path: Path, how: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporters warn about themselves
        if how == "pt2":
            torch.export.save(torch.export.export(module, inputs), path)
        else:
            names = {"input_names": ["x", "h"], "output_names": ["y", "hn"]}
            torch.onnx.export(module, inputs, path, dynamo=how == "dynamo", verbose=False, **names)


@pytest.mark.parametrize("how", ["torchscript", "dynamo", "pt2"])
@pytest.mark.parametrize("n_layers", [1, 2])
@pytest.mark.parametrize(
    ("cls", "shape"), [(Policy, (1, 5)), (Policy, (5,)), (Policy, (1, 1, 5)), (Decoder, (1, 1)), (Decoder, (1,))]
)
def test_steps_without_a_batch_run_and_stream(
    cls: type[Policy | Decoder], shape: tuple[int, ...], n_layers: int, how: str, tmp_path: Path
) -> None:
    def sample() -> Tensor:
        return torch.randint(7, shape) if cls is Decoder else torch.randn(shape)

    module = cls(n_layers).eval()
    path = tmp_path / "step.model"
    exported(module, (sample(), torch.zeros(n_layers, 1, 4)), path, how)
    model = convert(path)
    stream, h = model.stream(), torch.zeros(n_layers, 1, 4)
    for _ in range(20):
        x, before = sample(), h
        with torch.no_grad():
            y, h = module(x, h)
        run = model.run(
            dict(zip([port.name for port in model.signature.inputs], (x.numpy(), before.numpy()), strict=True))
        )
        for found, expected in zip(run.values(), (y, h), strict=True):
            np.testing.assert_allclose(found, expected.numpy(), rtol=0, atol=2e-6, strict=True)
        streamed = stream.step(int(x.item()) if cls is Decoder else x.numpy().reshape(-1))
        np.testing.assert_allclose(streamed, y.reshape(-1), rtol=0, atol=2e-6)
