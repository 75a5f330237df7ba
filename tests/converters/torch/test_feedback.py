"""Networks whose own loop feeds back something else than the state of a GRU: PyTorch's loop is the truth."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from grurt.converters import convert

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]  # the exporters warn about themselves


class Step(nn.Module):
    """Two GRUs, and what is done to their states before they are handed back."""

    def __init__(self, hand_back: Callable[[Step, torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.gru = nn.GRU(4, 6, num_layers=2, batch_first=True)
        self.fc = nn.Linear(6, 3)
        self.linear = nn.Linear(6, 6)
        self.norm = nn.LayerNorm(6)
        nn.init.uniform_(self.norm.weight, 0.5, 1.5)
        self.hand_back = hand_back

    def forward(self, x: torch.Tensor, h: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        y, n = self.gru(x, h)
        return self.fc(y), self.hand_back(self, n)


HANDED_BACK: dict[str, Callable[[Step, torch.Tensor], torch.Tensor]] = {
    "as it is": lambda _, n: n,
    "through a layer": lambda step, n: torch.tanh(step.linear(n)),
    "scaled": lambda _, n: n * 0.5,
    "clamped": lambda _, n: n.clamp(-0.3, 0.3),
    "exchanged": lambda _, n: n.flip(0),
    "features reversed": lambda _, n: n.flip(-1),
    "one of them changed": lambda step, n: torch.cat([n[:1], step.norm(n[1:])]),
}


@pytest.mark.parametrize("suffix", ["onnx", "pt2"])
@pytest.mark.parametrize("name", HANDED_BACK)
def test_a_stream_does_what_the_loop_does_or_is_refused(name: str, suffix: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    module = Step(HANDED_BACK[name]).eval()
    example = (torch.randn(1, 1, 4), torch.randn(2, 1, 6))
    path = tmp_path / f"step.{suffix}"
    if suffix == "onnx":
        torch.onnx.export(module, example, path, dynamo=False, input_names=["x", "h"], output_names=["y", "hn"])
    else:
        torch.export.save(torch.export.export(module, example), path)
    model = convert(path)
    # A step graph of ONNX streams literally; the outputs of a .pt2 file have no names by which states would be found.
    assert (model.unstreamable_reason is None) == (name == "as it is" or suffix == "onnx")
    if model.unstreamable_reason is None:
        stream, h = model.stream(), torch.zeros(2, 1, 6)
        for x in torch.randn(20, 1, 1, 4):
            with torch.no_grad():
                y, h = module(x, h)
            np.testing.assert_allclose(stream.step(x.reshape(-1).numpy()), y.reshape(-1), rtol=0, atol=2e-6)
