"""Networks as people write them with PyTorch: what an exporter may be asked to export."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

Forward = Callable[..., Any]


class Net(nn.Module):
    """Modules by name, and the function that computes with them; all weights are random and far from zero."""

    def __init__(self, forward: Forward, **modules: nn.Module) -> None:
        super().__init__()
        self._forward = forward
        for name, module in modules.items():
            self.add_module(name, module)
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -0.6, 0.6)
        for name, buffer in self.named_buffers():
            if name.endswith("running_mean"):
                nn.init.uniform_(buffer, -0.5, 0.5)
            if name.endswith("running_var"):
                nn.init.uniform_(buffer, 0.5, 2.0)

    def forward(self, *inputs: Tensor) -> Any:
        return self._forward(self, *inputs)


@dataclass(frozen=True)
class Network:
    """A module, example inputs, and for the TorchScript exporter the axes that it leaves open in the first input."""

    module: nn.Module
    inputs: tuple[Tensor, ...]
    open_axes: dict[int, str]


NETWORKS: dict[str, Network] = {}

BATCH_FIRST = {0: "batch", 1: "time"}


def add(name: str, forward: Forward, *shapes: tuple[int, ...], open_axes: Any = None, **modules: nn.Module) -> None:
    inputs = tuple(torch.randn(shape) for shape in shapes)
    NETWORKS[name] = Network(Net(forward, **modules).eval(), inputs, open_axes or {})


def gru(size: int = 4, hidden_size: int = 8, **options: Any) -> nn.GRU:
    return nn.GRU(size, hidden_size, batch_first=options.pop("batch_first", True), **options)


def head(function: Callable[[Tensor], Tensor]) -> Forward:
    return lambda net, x: function(net.fc(net.gru(x)[0]))


def last(net: Any, x: Tensor) -> Tensor:
    return net.fc(net.gru(x)[0][:, -1])


def with_state(net: Any, x: Tensor, h: Tensor) -> Any:
    y, hn = net.gru(x, h)
    return net.fc(y), hn


def ends(net: Any, x: Tensor) -> Tensor:
    y, _ = net.gru(x)
    return net.fc(torch.cat([y[:, -1, :8], y[:, 0, 8:]], 1))


def final_state(function: Callable[[Tensor], Tensor]) -> Forward:
    return lambda net, x: net.fc(function(net.gru(x)[1]))


torch.manual_seed(0)
X, H = (2, 5, 4), (1, 2, 8)

for activation in (
    "relu",
    "sigmoid",
    "tanh",
    "leaky_relu",
    "elu",
    "gelu",
    "softplus",
    "hardsigmoid",
    "softsign",
    "silu",
):
    add(activation, head(getattr(functional, activation)), X, open_axes=BATCH_FIRST, gru=gru(), fc=nn.Linear(8, 3))
add("gelu_tanh", head(lambda y: functional.gelu(y, approximate="tanh")), X, gru=gru(), fc=nn.Linear(8, 3))
add("hardtanh", head(functional.hardtanh), X, gru=gru(), fc=nn.Linear(8, 3))
add("softmax", head(lambda y: y.softmax(-1)), X, gru=gru(), fc=nn.Linear(8, 3))
add("log_softmax_of_last", lambda net, x: last(net, x).log_softmax(1), X, gru=gru(), fc=nn.Linear(8, 3))
add("prelu", lambda net, x: net.act(net.fc(net.gru(x)[0])), X, gru=gru(), fc=nn.Linear(8, 3), act=nn.PReLU())
add("prelu_of_each", lambda net, x: net.act(last(net, x)), X, gru=gru(), fc=nn.Linear(8, 3), act=nn.PReLU(3))
add("linear_without_bias", head(torch.clone), X, open_axes=BATCH_FIRST, gru=gru(), fc=nn.Linear(8, 3, bias=False))
add("dropout", lambda net, x: net.gru(x)[0], X, open_axes=BATCH_FIRST, gru=gru(num_layers=3, dropout=0.5))

add("one_step", head(torch.clone), (2, 1, 4), gru=gru(), fc=nn.Linear(8, 3))
add("one_step_of_one", head(torch.clone), (1, 1, 4), gru=gru(), fc=nn.Linear(8, 3))
add("one_step_with_state", with_state, (1, 1, 4), (1, 1, 8), gru=gru(), fc=nn.Linear(8, 3))
add("all_sizes_equal", with_state, (8, 8, 8), (1, 8, 8), gru=gru(8), fc=nn.Linear(8, 8))
add("all_sizes_equal_last", final_state(lambda h: h[-1]), (8, 8, 8), gru=gru(8, num_layers=3), fc=nn.Linear(8, 8))
add("all_sizes_one", with_state, (1, 1, 1), (1, 1, 1), gru=gru(1, 1), fc=nn.Linear(1, 1))
add("hidden_size_one", head(torch.clone), (2, 5, 1), open_axes=BATCH_FIRST, gru=gru(1, 1), fc=nn.Linear(1, 1))

add("unbatched", head(torch.clone), (5, 4), open_axes={0: "time"}, gru=gru(batch_first=False), fc=nn.Linear(8, 3))
add("unbatched_with_states", lambda net, x, h: net.gru(x, h), (5, 4), (2, 8), gru=gru(batch_first=False, num_layers=2))
add(
    "time_first_last",
    lambda net, x: net.fc(net.gru(x)[0][-1]),
    (5, 2, 4),
    open_axes={0: "time", 1: "batch"},
    gru=gru(batch_first=False),
    fc=nn.Linear(8, 3),
)
add(
    "channels_first",
    lambda net, x: net.gru(x.transpose(1, 2))[0].transpose(1, 2),
    (2, 4, 5),
    open_axes={0: "batch", 2: "time"},
    gru=gru(),
)

add("states_only", lambda net, x: net.gru(x)[1], X, gru=gru(num_layers=2))
add("last_state_only", lambda net, x: net.gru(x)[1][-1], X, gru=gru(num_layers=2))
add("last_state_too", lambda net, x: (net.gru(x)[0], net.gru(x)[1][-1]), X, gru=gru())
add("last_step_kept", lambda net, x: net.fc(net.gru(x)[0][:, -1:]), X, gru=gru(), fc=nn.Linear(8, 3))
add("linear_of_states", final_state(torch.clone), X, open_axes=BATCH_FIRST, gru=gru(), fc=nn.Linear(8, 3))
add(
    "two_last_states",
    final_state(lambda h: torch.cat([h[-1], h[-2]], 1)),
    X,
    open_axes=BATCH_FIRST,
    gru=gru(num_layers=2),
    fc=nn.Linear(16, 3),
)
add(
    "states_flattened",
    final_state(lambda h: h.permute(1, 0, 2).flatten(1)),
    X,
    open_axes=BATCH_FIRST,
    gru=gru(num_layers=2),
    fc=nn.Linear(16, 3),
)
add(
    "states_reshaped",
    final_state(lambda h: h.transpose(0, 1).reshape(h.shape[1], -1)),
    X,
    open_axes=BATCH_FIRST,
    gru=gru(num_layers=2),
    fc=nn.Linear(16, 3),
)
add(
    "steps_as_rows",
    lambda net, x: net.fc(net.gru(x)[0].reshape(-1, 8)).view(x.shape[0], x.shape[1], 3),
    X,
    open_axes=BATCH_FIRST,
    gru=gru(),
    fc=nn.Linear(8, 3),
)

add(
    "bidirectional_last_states",
    final_state(lambda h: torch.cat([h[-2], h[-1]], -1)),
    X,
    open_axes=BATCH_FIRST,
    gru=gru(num_layers=2, bidirectional=True),
    fc=nn.Linear(16, 3),
)
add("bidirectional_last", last, X, open_axes=BATCH_FIRST, gru=gru(bidirectional=True), fc=nn.Linear(16, 3))
add("bidirectional_ends", ends, X, open_axes=BATCH_FIRST, gru=gru(bidirectional=True), fc=nn.Linear(16, 3))
add("bidirectional_states", lambda net, x, h: net.gru(x, h), X, (4, 2, 8), gru=gru(num_layers=2, bidirectional=True))
add(
    "bidirectional_stack",
    head(torch.clone),
    X,
    open_axes=BATCH_FIRST,
    gru=gru(num_layers=3, bidirectional=True),
    fc=nn.Linear(16, 3),
)


def one_of_two_states(net: Any, x: Tensor, h: Tensor) -> Any:
    y, hn = net.first(x, h)
    return net.second(y)[0], hn


def states_crossed(net: Any, x: Tensor, a: Tensor, b: Tensor) -> Any:
    y, first = net.first(x, b)
    y, second = net.second(y, a)
    return y, second, first


def states_of_a_list(net: Any, x: Tensor, h: Tensor) -> Any:
    y, first = net.first(x, h[0:1])
    y, second = net.second(y, h[1].unsqueeze(0))
    return y, torch.stack([first[0], second[0]])


def states_batch_first(net: Any, x: Tensor, h: Tensor) -> Any:
    y, hn = net.gru(x, h.transpose(0, 1))
    return y, hn.transpose(0, 1)


def states_apart(net: Any, x: Tensor, a: Tensor, b: Tensor) -> Any:
    y, hn = net.gru(x, torch.stack([a, b]))
    return y, hn[0], hn[1]


add("one_of_two_states", one_of_two_states, X, H, first=gru(), second=gru(8, 6))
add("states_crossed", states_crossed, X, H, H, first=gru(), second=gru(8))
add("states_of_a_list", states_of_a_list, X, (2, 2, 8), first=gru(), second=gru(8))
add("states_batch_first", states_batch_first, X, (2, 3, 8), gru=gru(num_layers=3))
add("states_apart", states_apart, X, (2, 8), (2, 8), gru=gru(num_layers=2))


class LearnedState(nn.Module):
    """An initial state that is trained with the network."""

    def __init__(self) -> None:
        super().__init__()
        self.state = nn.Parameter(torch.zeros(2, 1, 8))

    def forward(self, x: Tensor) -> Tensor:
        return self.state.repeat(1, x.shape[0], 1)


add(
    "learned_state",
    lambda net, x: net.gru(x, net.h0(x))[0],
    X,
    open_axes=BATCH_FIRST,
    gru=gru(num_layers=2),
    h0=LearnedState(),
)

add("residual", lambda net, x: (lambda a: a + net.gru(a)[0])(net.fc(x).relu()), X, fc=nn.Linear(4, 8), gru=gru(8))
add("skip", lambda net, x: net.fc(torch.cat([x, net.gru(x)[0]], -1)), X, gru=gru(), fc=nn.Linear(12, 3))
add("gated", lambda net, x: (lambda y: y * torch.sigmoid(net.fc(y)))(net.gru(x)[0]), X, gru=gru(), fc=nn.Linear(8, 8))
add("scaled", lambda net, x: net.gru((x - 0.3) / 1.7)[0] * 2.0 - 1.0, X, open_axes=BATCH_FIRST, gru=gru())
add(
    "layer_norms",
    lambda net, x: net.out(net.gru(net.ln(x))[0]),
    X,
    open_axes=BATCH_FIRST,
    gru=gru(),
    ln=nn.LayerNorm(4),
    out=nn.LayerNorm(8, elementwise_affine=False),
)
add(
    "batch_norm",
    lambda net, x: net.gru(net.bn(x.transpose(1, 2)).transpose(1, 2))[0],
    X,
    open_axes=BATCH_FIRST,
    bn=nn.BatchNorm1d(4),
    gru=gru(),
)
add(
    "convolution",
    lambda net, x: net.gru(net.conv(functional.pad(x.transpose(1, 2), (4, 0))).relu().transpose(1, 2))[0],
    (2, 9, 4),
    open_axes=BATCH_FIRST,
    conv=nn.Conv1d(4, 6, 3, dilation=2, groups=2),
    gru=gru(6),
)
add(
    "squeezed",
    lambda net, x: net.fc(net.gru(x)[0]).squeeze(-1),
    X,
    open_axes=BATCH_FIRST,
    gru=gru(),
    fc=nn.Linear(8, 1),
)
add("squeezed_last", lambda net, x: last(net, x).squeeze(-1).sigmoid(), X, gru=gru(), fc=nn.Linear(8, 1))
add(
    "univariate",
    lambda net, x: net.fc(net.gru(x.unsqueeze(-1))[0]),
    (2, 5),
    open_axes=BATCH_FIRST,
    gru=gru(1),
    fc=nn.Linear(8, 1),
)
add("two_inputs", lambda net, x, z: net.gru(torch.cat([x, z], -1))[0], (2, 5, 3), (2, 5, 2), gru=gru(5))
add(
    "two_outputs",
    lambda net, x: (lambda y: (net.a(y), net.b(y).sigmoid()))(net.gru(x)[0]),
    X,
    open_axes=BATCH_FIRST,
    gru=gru(),
    a=nn.Linear(8, 3),
    b=nn.Linear(8, 2),
)


def cells(net: Any, x: Tensor, a: Tensor, b: Tensor) -> Any:
    a = net.first(x, a)
    b = net.second(a, b)
    return net.fc(b), a, b


def cells_stacked(net: Any, x: Tensor, h: Tensor) -> Any:
    a = net.first(x, h[0])
    b = net.second(a, h[1])
    return net.fc(b), torch.stack([a, b])


CELLS = {"first": nn.GRUCell(4, 8), "second": nn.GRUCell(8, 8, bias=False), "fc": nn.Linear(8, 3)}
add("cells", cells, (2, 4), (2, 8), (2, 8), open_axes={0: "batch"}, **CELLS)
add("cells_stacked", cells_stacked, (2, 4), (2, 2, 8), **CELLS)


def step_of_a_sequence(net: Any, x: Tensor, h: Tensor) -> Any:
    y, hn = net.gru(x.unsqueeze(0), h)
    return net.fc(y.squeeze(0)), hn


add("step_of_a_sequence", step_of_a_sequence, (3, 4), (1, 3, 8), gru=gru(batch_first=False), fc=nn.Linear(8, 3))
