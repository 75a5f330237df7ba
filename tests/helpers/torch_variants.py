"""Networks whose axes are moved, split, reversed or repeated around their GRUs, for an exporter to export."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch_networks import Net, Network
from torch_topologies import gru

NETWORKS: dict[str, Network] = {}
REFUSED: dict[str, tuple[Network, str]] = {}

X, SPECTRUM = (2, 5, 4), (2, 3, 5, 4)
"""``(batch, time, features)``, and ``(batch, channels, time, frequency)``."""

SMALLEST_OPSETS = {"layer_norms_spelled_out": 13, "spectrum_normalized": 14}
"""Where another version of the operators writes a network in another way."""


def add(name: str, forward: Callable[..., Any], *inputs: Any, **modules: nn.Module) -> None:
    """Add a network; inputs are shapes, or tensors."""
    tensors = tuple(each if isinstance(each, Tensor) else torch.randn(each) for each in inputs)
    NETWORKS[name] = Network(Net(forward, **modules).eval(), tensors, {})


def refuse(name: str, message: str, forward: Callable[..., Any], *inputs: Any, **modules: nn.Module) -> None:
    add(name, forward, *inputs, **modules)
    REFUSED[name] = (NETWORKS.pop(name), message)


torch.manual_seed(2)

# Sequences reversed by hand.


def both_directions(net: Any, x: Tensor) -> Tensor:
    return torch.cat([net.a(x)[0], net.b(x.flip(1))[0].flip(1)], -1)


def last_of_both_directions(net: Any, x: Tensor) -> Tensor:
    return net.fc(torch.cat([net.a(x)[1][0], net.b(x.flip(1))[0][:, -1], net.b(x.flip(1))[0][:, 0]], -1))


add("both_directions", both_directions, X, a=gru(), b=gru())
add("last_of_both_directions", last_of_both_directions, X, a=gru(), b=gru(), fc=nn.Linear(24, 3))
add(
    "reversed_stack",
    lambda net, x: net.b(net.a(x.flip(1))[0].tanh())[0].flip(1),
    X,
    a=gru(bidirectional=True),
    b=gru(16, num_layers=2, bidirectional=True),
)
add(
    "two_reversed_inputs",
    lambda net, x, z: torch.cat([net.a(x.flip(1))[0], z.flip(1)], -1).flip(1),
    X,
    (2, 5, 3),
    a=gru(),
)
add("reversed_output", lambda net, x: net.a(x.flip(1))[0], X, a=gru())
refuse(
    "reversed_and_not",
    "in another order; sort or reverse both, or none",
    lambda net, x: x + net.a(x.flip(1))[0],
    X,
    a=gru(4, 4),
)
refuse(
    "history_as_input",
    r"\(Conv\): it runs over .*; it has to run over time; instead of a history that is an input, pad on the left",
    lambda net, x, history: net.g(net.conv(torch.cat([history, x], 2)).transpose(1, 2))[0],
    (1, 4, 1),
    (1, 4, 2),
    conv=nn.Conv1d(4, 4, 3),
    g=gru(),
)
refuse(
    "several_tokens_a_step",
    r"\(GRU\): its features are merged from several axes .*; of tokens, give each as an input of its own",
    lambda net, tokens: net.g(net.emb(tokens).flatten(2))[0],
    torch.randint(0, 7, (2, 5, 3)),
    emb=nn.Embedding(7, 4),
    g=gru(12),
)
add(
    "convolution_of_reversed",
    lambda net, x: net.conv(functional.pad(net.a(x)[0].flip(1).transpose(1, 2), (2, 0))).transpose(1, 2).flip(1),
    X,
    a=gru(),
    conv=nn.Conv1d(8, 3, 3),
)

# Features and states split into parts.


def state_of_every_layer(net: Any, x: Tensor) -> Tensor:
    states = net.g(x)[1].view(2, 2, x.shape[0], 8)
    return net.fc(torch.cat([states[-1, 0], states[-1, 1]], -1))


def one_flat_state(net: Any, x: Tensor, h: Tensor) -> Any:
    y, h = net.g(x, h.reshape(h.shape[0], 2, 8).transpose(0, 1).contiguous())
    return y, h.transpose(0, 1).reshape(x.shape[0], -1)


def flat_states_of_one_number(net: Any, x: Tensor, h: Tensor) -> Any:
    of_a, of_b = h.split(1, dim=1)
    y, a = net.a(x, of_a.unsqueeze(0))
    y, b = net.b(y, of_b.unsqueeze(0))
    return y, torch.cat([a[0], b[0]], 1)


add("state_of_every_layer", state_of_every_layer, X, g=gru(num_layers=2, bidirectional=True), fc=nn.Linear(16, 3))
add("one_flat_state", one_flat_state, X, (2, 16), g=gru(num_layers=2))
add("flat_states_of_one_number", flat_states_of_one_number, X, (2, 2), a=gru(4, 1), b=gru(1, 1))
add("layers_added", lambda net, x: net.fc(net.g(x)[1].sum(0)), X, g=gru(num_layers=2), fc=nn.Linear(8, 3))
add("layers_averaged", lambda net, x: net.g(x)[1].mean(0, keepdim=True), X, g=gru(num_layers=3))
add(
    "directions_summed",
    lambda net, x: net.fc(net.g(x)[0].view(x.shape[0], x.shape[1], 2, 8).sum(2)),
    X,
    g=gru(bidirectional=True),
    fc=nn.Linear(8, 3),
)
add("horizon", lambda net, x: net.fc(net.g(x)[1][-1]).view(-1, 3, 2), X, g=gru(), fc=nn.Linear(8, 6))
add(
    "parts_of_every_step",
    lambda net, x: net.fc(net.g(x)[0]).view(x.shape[0], x.shape[1], 3, 2).transpose(2, 3),
    X,
    g=gru(),
    fc=nn.Linear(8, 6),
)
add(
    "states_of_a_vector",
    lambda net, z, x: net.g(x, net.fc(z).view(-1, 2, 8).permute(1, 0, 2).contiguous())[0],
    (2, 5),
    X,
    fc=nn.Linear(5, 16),
    g=gru(num_layers=2),
)
add(
    "one_state_for_all_layers",
    lambda net, z, x: net.g(x, torch.tanh(net.fc(z)).unsqueeze(0).repeat(3, 1, 1))[0],
    (2, 5),
    X,
    fc=nn.Linear(5, 8),
    g=gru(num_layers=3),
)
add("stacked_behind_features", lambda net, x: torch.stack(net.g(x)[0].chunk(2, -1), -1), X, g=gru())
add("stacked_inputs", lambda net, a, b: net.g(torch.stack([a, b], -1))[0], (2, 5), (2, 5), g=gru(2))
add("lifted_input", lambda net, a, b: net.g(torch.cat([a.unsqueeze(-1), b], -1))[0], (2, 5), (2, 5, 3), g=gru())
refuse(
    "states_stacked_along_the_batch",
    "axis 0 of input 'input_1' holds states, which are stacked along another axis",
    lambda net, x, a, b: net.g(x, torch.stack([a, b], 1))[0],
    X,
    (2, 8),
    (2, 8),
    g=gru(bidirectional=True),
)
refuse(
    "timesteps_split",
    r"splits axis 1 of input 'input_0'; only the features of a timestep can be split",
    lambda net, x: net.g(x.reshape(-1, 3, 4))[0],
    (2, 6, 4),
    g=gru(),
)

# Values repeated along time or features.

add(
    "modulated",
    lambda net, z, x: net.g(x * net.a(z).unsqueeze(1) + net.b(z).unsqueeze(1))[0],
    (2, 5),
    X,
    a=nn.Linear(5, 4),
    b=nn.Linear(5, 4),
    g=gru(),
)
add(
    "speaker",
    lambda net, z, x: net.g(torch.cat([x, z.unsqueeze(1).expand(-1, x.shape[1], -1)], -1))[0],
    (2, 5),
    X,
    g=gru(9),
)
add("mask_of_steps", lambda net, x, m: net.g(x * m.unsqueeze(-1))[0] * m.unsqueeze(-1), X, (2, 5), g=gru())
add("gate_of_one", lambda net, x: (lambda y: y * torch.sigmoid(net.fc(y)))(net.g(x)[0]), X, g=gru(), fc=nn.Linear(8, 1))
add("centered", lambda net, x: net.g(x - x.mean(-1, keepdim=True))[0].sum(-1), X, g=gru())
refuse(
    "normalized_over_time", "it computes across timesteps", lambda n, x: n.g(x - x.mean(1, keepdim=True))[0], X, g=gru()
)
refuse("largest", "it computes across timesteps or sequences", lambda n, x: n.g(x)[0].argmax(1), X, g=gru())

# Spectra: channels and frequencies, or frequencies and complex numbers, are the features of a timestep.


def complex_mask(net: Any, x: Tensor) -> Tensor:
    batch, _, time, frequencies = x.shape
    mask = torch.tanh(net.fc(net.g(x.permute(0, 2, 3, 1).reshape(batch, time, -1))[0]))
    re, im = mask.view(batch, time, frequencies, 2).unbind(-1)
    return torch.stack([x[:, 0] * re - x[:, 1] * im, x[:, 0] * im + x[:, 1] * re], 1)


def spectrum_normalized(net: Any, x: Tensor) -> Tensor:
    y = torch.relu(net.bn(x)).permute(0, 2, 3, 1)
    batch, time, frequencies, channels = y.shape
    z = net.along(y.reshape(-1, frequencies, channels))[0].reshape(y.shape)
    y = y + net.norm(z)
    return net.over(y.transpose(1, 2).reshape(-1, time, channels))[0].reshape(batch, frequencies, time, channels)


add("channels_flattened", lambda net, x: net.g(x.transpose(1, 2).flatten(2))[0], SPECTRUM, g=gru(12))
add("complex_mask", complex_mask, (2, 2, 5, 4), g=gru(8), fc=nn.Linear(8, 8))
add(
    "one_channel",
    lambda net, x: torch.sigmoid(net.fc(net.g(x.squeeze(1))[0])).unsqueeze(1) * x,
    (2, 1, 5, 4),
    g=gru(),
    fc=nn.Linear(8, 4),
)
add(
    "spectrum_normalized",
    spectrum_normalized,
    SPECTRUM,
    bn=nn.BatchNorm2d(3),
    along=gru(3, 3),
    norm=nn.LayerNorm([4, 3]),
    over=gru(3, 3),
)

# Functions, norms and cells that exporters spell out.

for function in ("selu", "hardswish", "mish", "logsigmoid", "glu"):
    add(function, lambda n, x, f=function: getattr(functional, f)(n.fc(n.g(x)[0])), X, g=gru(), fc=nn.Linear(8, 4))
add("celu", lambda net, x: functional.celu(net.g(x)[0] * 3, 0.7), X, g=gru())
add("distance", lambda net, x: (net.a(x)[0] - net.b(x)[0]).abs() + net.a(x)[0] ** 2, X, a=gru(), b=gru())
add("einsum", lambda net, x: torch.einsum("bti,oi->bto", net.g(x)[0], net.fc.weight), X, g=gru(), fc=nn.Linear(8, 3))
add(
    "layer_norms_spelled_out",
    lambda net, x: net.b(net.g(net.a(x))[0]),
    X,
    a=nn.LayerNorm(4),
    b=nn.LayerNorm(8, elementwise_affine=False),
    g=gru(),
)


class Cell(nn.Module):
    """A cell with a Linear for each gate, in one of the ways that text books write it."""

    def __init__(self, *, reset_before: bool, keeps: bool) -> None:
        super().__init__()
        self.of_input = nn.ModuleList(nn.Linear(4, 8) for _ in range(3))
        self.of_state = nn.ModuleList(nn.Linear(8, 8) for _ in range(3))
        self.reset_before, self.keeps = reset_before, keeps

    def forward(self, x: Tensor, h: Tensor) -> Tensor:
        r, z = (torch.sigmoid(self.of_input[i](x) + self.of_state[i](h)) for i in range(2))
        of_state = self.of_state[2](r * h) if self.reset_before else r * self.of_state[2](h)
        n = torch.tanh(self.of_input[2](x) + of_state)
        return z * h + (1 - z) * n if self.keeps else h + z * (n - h)


for before in (False, True):
    for keeps in (False, True):
        cell = Cell(reset_before=before, keeps=keeps)
        add(f"cell_{before}_{keeps}", lambda net, x, h: net.cell(x, h), (2, 4), (2, 8), cell=cell)
