"""Files of two timesteps: the first and the last of these are also all of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from every_export import FEW_OR_ALL, check_run, converted
from torch import Tensor, nn
from torch_networks import Net, Network


def network_of(forward: Any, n_steps: int) -> Network:
    torch.manual_seed(6)
    return Network(Net(forward, gru=nn.GRU(6, 4)).eval(), (torch.randn(n_steps, 3, 6),), {})


def put_together(net: Any, x: Tensor) -> Any:
    left, right = torch.split(x, 3, dim=2)
    return torch.stack(net.gru(torch.cat([right, left], -1))[0].unbind(0), 0)


def ends(net: Any, x: Tensor) -> Any:
    y = net.gru(x)[0]
    return torch.stack([y[0], y[-1]], 0)


def ends_backwards(net: Any, x: Tensor) -> Any:
    y = net.gru(x)[0]
    return torch.stack([y[-1], y[0]], 0)


def changed_one_by_one(net: Any, x: Tensor) -> Any:
    return torch.stack([step.tanh() for step in net.gru(x)[0].unbind(0)], 0)


@pytest.mark.parametrize("forward", [put_together, changed_one_by_one, ends, ends_backwards])
@pytest.mark.parametrize("form", FEW_OR_ALL)
@pytest.mark.parametrize("exported_with", [2, 4])
def test_two_timesteps_are_all_or_the_ends(forward: Any, form: str, exported_with: int, tmp_path: Path) -> None:
    network = network_of(forward, exported_with)
    model = converted(network, form, tmp_path)
    for n_steps in (2, 5):
        check_run(model, network, (torch.randn(n_steps, 3, 6),))
