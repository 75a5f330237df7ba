"""Networks exported with one timestep, and run on more: PyTorch is the truth."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from onnx_exports import exported
from programs import exported as saved
from programs import network_of
from torch import Tensor, nn
from torch_networks import Network

import grurt
from grurt.converters import convert

pytestmark = pytest.mark.slow


def last_kept(net: nn.Module, x: Tensor) -> Tensor:
    return net.fc(net.gru(x)[0][:, -1:])


def reversed_by_hand(net: nn.Module, x: Tensor) -> Tensor:
    return net.fc(net.gru(x.flip(1))[0].flip(1))


def converted(network: Network, how: str, folder: Path) -> grurt.Model:
    path = folder / f"network.{'pt2' if how == 'pt2' else 'onnx'}"
    if how == "pt2":
        saved(network, path)
    else:
        path.write_bytes(exported(network, dynamo=how == "dynamo", opset=18))
    return convert(path, reference=False)


@pytest.mark.parametrize(
    ("forward", "how"),
    [
        (last_kept, "torchscript"),
        (last_kept, "pt2"),  # the other exporter leaves a slice of all timesteps out
        (reversed_by_hand, "torchscript"),
        (reversed_by_hand, "dynamo"),
        (reversed_by_hand, "pt2"),
    ],
)
def test_what_one_timestep_hides(forward: Callable[..., Tensor], how: str, tmp_path: Path) -> None:
    """A slice that keeps the last timestep, and one that reverses, keep all that there is of one."""
    torch.manual_seed(0)
    network = network_of(forward, torch.randn(2, 1, 3), gru=nn.GRU(3, 4, batch_first=True), fc=nn.Linear(4, 2))
    model = converted(network, how, tmp_path)
    for n_steps in (1, 5):
        x = torch.randn(2, n_steps, 3)
        (answer,) = model.run({model.signature.inputs[0].name: x.numpy()}).values()
        with torch.no_grad():
            np.testing.assert_allclose(answer, network.module(x).numpy(), rtol=0, atol=2e-6)
