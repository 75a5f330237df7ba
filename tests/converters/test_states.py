"""States as sources hold them: made in the network, learned, apart for each layer, transposed, side by side."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from every_export import FEW_OR_ALL, check_run, converted
from torch import Tensor, nn
from torch_networks import Net, Network

B, T, SIZE, HIDDEN = 3, 5, 4, 6
X = torch.randn(B, T, SIZE)


class WithState(Net):
    """Modules, and a learned first state."""

    def __init__(self, forward: Any, **modules: nn.Module) -> None:
        super().__init__(forward, **modules)
        self.first = nn.Parameter(torch.randn(2, 1, HIDDEN))
        self.register_buffer("frozen", torch.randn(1, 1, HIDDEN).expand(2, B, HIDDEN).clone())


def network_of(forward: Any, *states: tuple[int, ...]) -> Network:
    torch.manual_seed(3)
    modules = {
        "gru": nn.GRU(SIZE, HIDDEN, 2, batch_first=True),
        "low": nn.GRU(SIZE, HIDDEN, batch_first=True),
        "top": nn.GRU(HIDDEN, HIDDEN, batch_first=True),
        "fc": nn.Linear(HIDDEN, 2),
    }
    return Network(WithState(forward, **modules).eval(), (X, *map(torch.randn, states)), {})


def zeros(net: Any, x: Tensor) -> Any:
    return net.fc(net.gru(x, torch.zeros(2, x.size(0), HIDDEN))[0])


def frozen(net: Any, x: Tensor) -> Any:
    return net.fc(net.gru(x, net.frozen)[0])


def learned(net: Any, x: Tensor) -> Any:
    return net.fc(net.gru(x, net.first.expand(-1, x.size(0), -1).contiguous())[0])


def learned_and_bounded(net: Any, x: Tensor) -> Any:
    return net.fc(net.gru(x, torch.tanh(net.first).repeat(1, x.size(0), 1))[0])


def learned_gate(net: Any, x: Tensor) -> Any:
    first = torch.sigmoid(net.first) * torch.relu(net.first)
    return net.fc(net.gru(x, first.repeat(1, x.size(0), 1))[0])


def stacked(net: Any, x: Tensor, low: Tensor, top: Tensor) -> Any:
    y, h = net.gru(x, torch.stack([low, top]))
    return net.fc(y), h[0], h[1]


def joined(net: Any, x: Tensor, low: Tensor, top: Tensor) -> Any:
    y, h = net.gru(x, torch.cat([low, top], 0))
    low, top = h.chunk(2, 0)
    return net.fc(y), low, top


def transposed(net: Any, x: Tensor, h: Tensor) -> Any:
    y, h = net.gru(x, h.transpose(0, 1).contiguous())
    return net.fc(y), h.transpose(0, 1)


def side_by_side(net: Any, x: Tensor, h: Tensor) -> Any:
    y, h = net.gru(x, h.view(x.size(0), 2, HIDDEN).transpose(0, 1).contiguous())
    return net.fc(y), h.transpose(0, 1).reshape(x.size(0), 2 * HIDDEN)


def unbound(net: Any, x: Tensor, h: Tensor) -> Any:
    low, top = h.unbind(0)
    y, low = net.low(x, low[None])
    y, top = net.top(y, top[None])
    return net.fc(y), torch.cat([low, top], 0)


def of_parts(net: Any, x: Tensor, h: Tensor) -> Any:
    low, top = h.chunk(2, -1)
    y, low = net.low(x, low.unsqueeze(0).contiguous())
    y, top = net.top(y, top.unsqueeze(0).contiguous())
    return net.fc(y), torch.cat([low[0], top[0]], -1)


NETWORKS = {
    "zeros": network_of(zeros),
    "frozen": network_of(frozen),
    "learned": network_of(learned),
    "learned_and_bounded": network_of(learned_and_bounded),
    "learned_gate": network_of(learned_gate),
    "stacked": network_of(stacked, (B, HIDDEN), (B, HIDDEN)),
    "joined": network_of(joined, (1, B, HIDDEN), (1, B, HIDDEN)),
    "transposed": network_of(transposed, (B, 2, HIDDEN)),
    "side_by_side": network_of(side_by_side, (B, 2 * HIDDEN)),
    "unbound": network_of(unbound, (2, B, HIDDEN)),
    "of_parts": network_of(of_parts, (B, 2 * HIDDEN)),
}


@pytest.mark.parametrize("form", FEW_OR_ALL)
@pytest.mark.parametrize("name", NETWORKS)
def test_states_of_every_kind(name: str, form: str, tmp_path: Path) -> None:
    network = NETWORKS[name]
    model = converted(network, form, tmp_path)
    assert model.unstreamable_reason is None
    check_run(model, network, network.inputs)
    assert model.verify().ok
