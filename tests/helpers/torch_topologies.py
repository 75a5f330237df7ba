"""Networks of several GRUs, loops and axes, as people write them with PyTorch, for an exporter to export."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch_networks import Net, Network

NETWORKS: dict[str, Network] = {}

X, Y = (2, 5, 4), (2, 3, 3)


def add(name: str, forward: Callable[..., Any], *inputs: Any, **modules: nn.Module) -> None:
    """Add a network; inputs are shapes, or tensors of tokens."""
    tensors = tuple(each if isinstance(each, Tensor) else torch.randn(each) for each in inputs)
    NETWORKS[name] = Network(Net(forward, **modules).eval(), tensors, {})


def gru(size: int = 4, hidden_size: int = 8, **options: Any) -> nn.GRU:
    return nn.GRU(size, hidden_size, batch_first=True, **options)


torch.manual_seed(1)

# Loops over the timesteps, which exporters unroll.


def loop(net: Any, x: Tensor) -> Tensor:
    a, b, outputs = torch.zeros(len(x), 8), torch.zeros(len(x), 8), []
    for t in range(x.shape[1]):
        a = net.first(torch.relu(net.fc(x[:, t])), a)
        b = net.second(a, b)
        outputs.append(torch.sigmoid(net.out(b + a)))
    return torch.stack(outputs, 1)


def loop_with_states(net: Any, x: Tensor, h: Tensor) -> Any:
    (a, b), outputs = h, []
    for step in x.unbind(0):
        a = net.first(step, a)
        b = net.second(a, b)
        outputs.append(b.unsqueeze(0))
    return torch.cat(outputs, 0), torch.stack([a, b])


def loop_of_last(net: Any, x: Tensor) -> Tensor:
    h = torch.zeros(len(x), 8)
    for t in range(x.shape[1]):
        h = net.first(x[:, t], h)
    return net.out(h)


def loops_of_both_directions(net: Any, x: Tensor) -> Tensor:
    n_steps = x.shape[1]
    a, b, forward, backward = torch.zeros(len(x), 8), torch.zeros(len(x), 8), [], []
    for t in range(n_steps):
        a = net.first(x[:, t], a)
        forward.append(a)
        b = net.other(x[:, n_steps - 1 - t], b)
        backward.insert(0, b)
    return torch.cat([torch.stack(forward, 1), torch.stack(backward, 1)], -1)


class HandMade(nn.Module):
    """A cell as text books write it, with a Linear for each gate."""

    def __init__(self) -> None:
        super().__init__()
        self.of_input = nn.ModuleList(nn.Linear(4, 8) for _ in range(3))
        self.of_state = nn.ModuleList(nn.Linear(8, 8, bias=index == 2) for index in range(3))

    def forward(self, x: Tensor, h: Tensor) -> Tensor:
        r, z = (torch.sigmoid(self.of_state[i](h) + self.of_input[i](x)) for i in range(2))
        n = torch.tanh(self.of_input[2](x) + r * self.of_state[2](h))
        return (1 - z) * n + z * h


def hand_made_loop(net: Any, x: Tensor) -> Tensor:
    h, outputs = torch.zeros(len(x), 8), []
    for t in range(x.shape[1]):
        h = net.cell(x[:, t], h)
        outputs.append(h)
    return torch.stack(outputs, 1)


CELLS = {"first": nn.GRUCell(4, 8), "second": nn.GRUCell(8, 8, bias=False)}
add("loop", loop, X, fc=nn.Linear(4, 4), out=nn.Linear(8, 3), **CELLS)
add("loop_with_states", loop_with_states, (5, 2, 4), (2, 2, 8), **CELLS)
add("loop_of_last", loop_of_last, X, first=nn.GRUCell(4, 8), out=nn.Linear(8, 3))
add("loops_of_both_directions", loops_of_both_directions, X, first=nn.GRUCell(4, 8), other=nn.GRUCell(4, 8))
add("hand_made_cell", lambda net, x, h: net.cell(x, h), (2, 4), (2, 8), cell=HandMade())
add("hand_made_loop", hand_made_loop, X, cell=HandMade())

# Groups, and parts of the features.


def grouped(net: Any, x: Tensor, h: Tensor) -> Any:
    (p, q), (of_a, of_b) = x.chunk(2, -1), h.chunk(2, -1)
    (y, of_a), (z, of_b) = net.a(p, of_a.contiguous()), net.b(q, of_b.contiguous())
    return torch.cat([y, z], -1), torch.cat([of_a, of_b], -1)


def shuffled(net: Any, x: Tensor) -> Tensor:
    wide = torch.tanh(net.fc(x))
    a, b = net.a(wide[..., :4])[0], net.b(wide[..., 4:])[0]
    return net.out(torch.cat([a[..., :4], b[..., :4], a[..., 4:], b[..., 4:]], -1))


def states_of_layers(net: Any, x: Tensor, h: Tensor) -> Any:
    y, of_a = net.a(x, h[:2])
    z, of_b = net.b(y, h[2:])
    return z, torch.cat([of_a, of_b])


add("grouped", grouped, (2, 5, 8), (1, 2, 16), a=gru(), b=gru())
add("shuffled", shuffled, X, fc=nn.Linear(4, 8), a=gru(), b=gru(), out=nn.Linear(16, 3))
add(
    "some_features",
    lambda net, x: net.out(torch.cat([net.a(x[..., :3])[0], x[..., 2:]], -1)),
    X,
    a=gru(3),
    out=nn.Linear(10, 3),
)
add("one_feature", lambda net, x: net.a(x[..., 2:3])[0], X, a=gru(1))
add("gated_halves", lambda net, x: (lambda p, q: p * torch.sigmoid(q))(*net.a(x)[0].chunk(2, -1)), X, a=gru())
add("directions_added", lambda net, x: (lambda y: y[..., :8] + y[..., 8:])(net.a(x)[0]), X, a=gru(bidirectional=True))
add("states_of_layers", states_of_layers, X, (3, 2, 8), a=gru(num_layers=2), b=gru(8))

# A second sequence that begins where the first one ended.


def decoder(state: Callable[[Any, Tensor], Tensor]) -> Callable[..., Tensor]:
    return lambda net, x, y: net.out(net.d(y, state(net, net.e(x)[1]))[0])


def with_context(net: Any, x: Tensor, y: Tensor) -> Tensor:
    _, h = net.e(x)
    context = h[-1].unsqueeze(1)
    z, _ = net.d(torch.cat([y, context.expand(-1, y.shape[1], -1)], -1), h)
    return net.out(torch.cat([z + context, context.repeat(1, y.shape[1], 1)], -1))


add("handed_over", decoder(lambda net, h: h), X, Y, e=gru(num_layers=2), d=gru(3, num_layers=2), out=nn.Linear(8, 3))
add(
    "bridge",
    decoder(lambda net, h: torch.tanh(net.fc(h))),
    X,
    Y,
    e=gru(),
    fc=nn.Linear(8, 6),
    d=gru(3, 6),
    out=nn.Linear(6, 3),
)
add(
    "bridge_of_directions",
    decoder(lambda net, h: net.fc(torch.cat([h[0], h[1]], -1)).unsqueeze(0)),
    X,
    Y,
    e=gru(bidirectional=True),
    fc=nn.Linear(16, 6),
    d=gru(3, 6),
    out=nn.Linear(6, 3),
)
add(
    "token_decoder",
    lambda net, x, y: net.out(net.d(net.emb(y), net.e(x)[1])[0]).log_softmax(-1),
    X,
    torch.randint(0, 11, (2, 3)),
    e=gru(),
    emb=nn.Embedding(11, 3),
    d=gru(3),
    out=nn.Linear(8, 11),
)
add("context", with_context, X, Y, e=gru(), d=gru(11), out=nn.Linear(16, 3))
add(
    "state_of_a_vector",
    lambda net, z, y: net.d(y, torch.tanh(net.fc(z)).unsqueeze(0))[0],
    (2, 7),
    Y,
    fc=nn.Linear(7, 8),
    d=gru(3),
)

# Dual paths: one GRU scans the frequencies of a timestep, another one the timesteps of a frequency.


class DualPath(nn.Module):
    """A block over (batch, time, frequency, features)."""

    def __init__(self, *, bidirectional: bool = True, norm: tuple[int, ...] = ()) -> None:
        super().__init__()
        self.intra = gru(4, 6, bidirectional=bidirectional)
        self.intra_out = nn.Linear(12 if bidirectional else 6, 4)
        self.inter, self.inter_out = gru(4, 6), nn.Linear(6, 4)
        self.norm = nn.LayerNorm(norm) if norm else nn.Identity()

    def forward(self, x: Tensor, h: Tensor | None = None) -> tuple[Tensor, Tensor]:
        batch, time, frequencies, features = x.shape
        y = self.intra(x.reshape(batch * time, frequencies, features))[0]
        x = x + self.norm(self.intra_out(y).reshape(x.shape))
        y, h = self.inter(x.transpose(1, 2).reshape(batch * frequencies, time, features), h)
        y = self.inter_out(y).reshape(batch, frequencies, time, features).transpose(1, 2)
        return x + self.norm(y), h


def channels_first(net: Any, x: Tensor, h: Tensor) -> Any:
    y, h = net.block(x.permute(0, 2, 3, 1), h)
    return y.permute(0, 3, 1, 2), h


GRID = (2, 3, 5, 4)
add("dual_path", lambda net, x: net.block(x)[0], GRID, block=DualPath())
add("dual_path_step", channels_first, (1, 4, 1, 5), (1, 5, 6), block=DualPath())
add("dual_path_states", channels_first, (2, 4, 3, 5), (1, 10, 6), block=DualPath(norm=(4,)))
add("dual_path_norm", lambda net, x: net.block(x)[0], GRID, block=DualPath(bidirectional=False, norm=(5, 4)))
add(
    "dual_paths",
    lambda net, x: net.out(net.b(net.a(torch.relu(net.fc(x)))[0])[0].reshape(len(x), x.shape[1], -1)),
    (2, 3, 5, 2),
    fc=nn.Linear(2, 4),
    a=DualPath(),
    b=DualPath(norm=(4,)),
    out=nn.Linear(20, 3),
)
add(
    "one_gru_for_every_channel",
    lambda net, x: net.out(net.g(x.reshape(-1, x.shape[2], 1))[0]).reshape(x.shape),
    (2, 3, 7),
    g=gru(1, 6),
    out=nn.Linear(6, 1),
)

# What surrounds a GRU.


def causal(net: Any, x: Tensor) -> Tensor:
    y = net.conv(net.pad(x.transpose(1, 2)))
    z = torch.relu(net.norm(net.wide(y)[..., : y.shape[-1]]))
    return net.g(net.last(z)[:, :, :-2].transpose(1, 2))[0]


add(
    "causal_convolutions",
    causal,
    (2, 9, 4),
    pad=nn.ConstantPad1d((2, 0), 0.0),
    conv=nn.Conv1d(4, 4, 3),
    wide=nn.Conv1d(4, 4, 3, padding=4, dilation=2),
    norm=nn.BatchNorm1d(4),
    last=nn.Conv1d(4, 4, 3, padding=2),
    g=gru(),
)
add(
    "modules_used_twice",
    lambda net, x: net.g(net.fc(net.g(net.fc(x))[0]))[0],
    (2, 5, 8),
    fc=nn.Linear(8, 8),
    g=gru(8),
)
add(
    "weight_norms",
    lambda net, x: net.fc(net.g(x)[0]),
    X,
    fc=nn.utils.parametrizations.weight_norm(nn.Linear(8, 3)),
    g=nn.utils.parametrizations.weight_norm(gru(), "weight_hh_l0"),
)
add(
    "several_heads",
    lambda net, x: (lambda y, h: (net.a(y).softmax(-1), torch.sigmoid(net.b(y)), net.a(h[-1]), h))(*net.g(x)),
    X,
    g=gru(),
    a=nn.Linear(8, 3),
    b=nn.Linear(8, 2),
)

REFUSED: dict[str, tuple[Network, str]] = {}


def refuse(name: str, message: str, forward: Callable[..., Any], *inputs: Any, **modules: nn.Module) -> None:
    add(name, forward, *inputs, **modules)
    REFUSED[name] = (NETWORKS.pop(name), message)


def attention(net: Any, x: Tensor) -> Tensor:
    y = net.g(x)[0]
    return (y @ y.transpose(1, 2)).softmax(-1) @ y


def normalizing_its_state(net: Any, x: Tensor, h: Tensor) -> Tensor:
    for t in range(x.shape[1]):
        h = net.norm(net.cell(x[:, t], h))
    return h


def feeding_itself(net: Any, x: Tensor, h: Tensor) -> Tensor:
    outputs = []
    for _ in range(3):
        h = net.cell(x, h)
        x = torch.tanh(h)
        outputs.append(x)
    return torch.stack(outputs, 1)


refuse("attention", "it multiplies two values with each other, as attention does", attention, X, g=gru())
refuse("product_over_time", "it computes across timesteps or sequences", lambda n, x: n.g(x)[0].prod(1), X, g=gru())
refuse(
    "centred_over_time",
    "it reads a vector that is known only at the end of its own sequence",
    lambda n, x: (lambda y: y - y.mean(1, keepdim=True))(n.g(x)[0]),
    X,
    g=gru(),
)
refuse(
    "cell_that_reads_itself",
    "it is the state of 'cell', and other layers read it too",
    lambda net, h: net.cell(h, h),
    (2, 8),
    cell=nn.GRUCell(8, 8),
)
refuse(
    "generator",
    "it reads, at a timestep, what was computed of its output at the timestep before; a network that feeds its output",
    feeding_itself,
    (2, 8),
    (2, 8),
    cell=nn.GRUCell(8, 8),
)
refuse(
    "cell_behind_the_end",
    "its input is one vector, 'g.last', for a whole sequence; a GRU reads a sequence",
    lambda net, x, h: net.cell(net.g(x)[0][:, -1], h),
    X,
    (2, 8),
    g=gru(),
    cell=nn.GRUCell(8, 8),
)
refuse(
    "computed_state",
    "its state is computed by other layers in the same timestep; a GRU's state must be that of the timestep before",
    lambda net, x: net.cell(x, net.fc(x)),
    (2, 8),
    cell=nn.GRUCell(8, 8),
    fc=nn.Linear(8, 8),
)
refuse(
    "normalized_state",
    "its state is that of the timestep before, changed by other operators; a GRU hands its state on as it is",
    normalizing_its_state,
    X,
    (2, 8),
    cell=nn.GRUCell(4, 8),
    norm=nn.LayerNorm(8),
)
add(
    "one_vector_repeated",
    lambda net, x: net.d(net.e(x)[1][-1].unsqueeze(1).repeat(1, x.shape[1], 1))[0],
    X,
    e=gru(),
    d=gru(8),
)
add(
    "one_vector_repeated_seven_times",
    lambda net, x: net.f(net.d(net.e(x)[1][-1].unsqueeze(1).expand(-1, 7, -1))[0]),
    X,
    e=gru(bidirectional=True),
    d=gru(8, bidirectional=True),
    f=nn.Linear(16, 3),
)
add(
    "convolution_that_looks_ahead",
    lambda net, x: net.g(net.conv(x.transpose(1, 2)).transpose(1, 2))[0],
    X,
    conv=nn.Conv1d(4, 4, 3, padding=1),
    g=gru(),
)
add(
    "convolution_cut_in_the_middle",
    lambda net, x: net.g(net.conv(x.transpose(1, 2))[:, :, 1:-1].transpose(1, 2))[0],
    X,
    conv=nn.Conv1d(4, 4, 3, padding=2),
    g=gru(),
)
refuse("softsort", "it sorts something else than lengths", lambda n, x: n.g(x)[0].topk(3, -1)[0], X, g=gru())


def plain_rnn(net: Any, x: Tensor) -> Tensor:
    h, outputs = torch.zeros(len(x), 8), []
    for t in range(x.shape[1]):
        h = torch.tanh(net.i(x[:, t]) + net.h(h))
        outputs.append(h)
    return net.g(torch.stack(outputs, 1))[0]


refuse(
    "plain_rnn",
    "it multiplies the state of a plain RNN, whose timesteps are written out; grurt runs GRU networks; train the model",
    plain_rnn,
    X,
    i=nn.Linear(4, 8),
    h=nn.Linear(8, 8),
    g=gru(8),
)
refuse(
    "each_timestep_twice",
    "it works on a sequence of 2 values for each timestep; a stream gives|it selects 10 of 5 positions",
    lambda net, x: net.fc(net.g(x)[0].repeat_interleave(2, 1)),
    X,
    g=gru(),
    fc=nn.Linear(8, 3),
)
refuse(
    "last_of_timesteps_twice",
    "it selects from a dimension of 2 merged axes; select from each of them before they are merged|it selects 10 of 5",
    lambda net, x: net.fc(net.g(x)[0].repeat_interleave(2, 1)[:, -1:]),
    X,
    g=gru(),
    fc=nn.Linear(8, 3),
)
refuse(
    "sequences_in_one_batch",
    "it puts sequences of several values one behind the other; a stream gives one output for each input",
    lambda net, x: torch.cat([net.g(x)[0], net.h(x)[0]], 0),
    X,
    g=gru(),
    h=gru(),
)


# Axes of size 1, and axes of the same size beside each other.


def stacked_twice(net: Any, x: Tensor) -> Tensor:
    y = torch.stack([x, net.a(x)], 2).flatten(2)
    y = net.g(torch.stack([y, net.b(y)], -1).sum(-1))[0]
    return net.fc(torch.stack([step * 2 for step in y.unbind(1)], 1))


def normalized_grid(net: Any, x: Tensor) -> Tensor:
    """A grid ``(batch, channels, time, width)`` whose positions are convolved one by one, and normalized together."""
    y = net.norm(torch.relu(net.conv(x)).permute(0, 2, 3, 1))
    columns = y.permute(0, 2, 1, 3).reshape(-1, y.shape[1], 4)
    y = y + net.g(columns)[0].reshape(y.shape[0], 3, -1, 4).permute(0, 2, 1, 3)
    return y.permute(0, 3, 1, 2)


add(
    "single_states_beside_each_other",
    lambda net, x: net.fc(net.g(x)[1].transpose(0, 1).flatten(1)),
    X,
    g=gru(4, 1, num_layers=2),
    fc=nn.Linear(2, 3),
)
add("stacked_twice", stacked_twice, X, a=nn.Linear(4, 4), b=nn.Linear(8, 8), g=gru(8), fc=nn.Linear(8, 3))
add(
    "normalized_grid",
    normalized_grid,
    (2, 4, 5, 3),
    conv=nn.Conv2d(4, 4, 1),
    norm=nn.LayerNorm([3, 4]),
    g=gru(4, 4),
)
add(
    "some_of_stacked_features",
    lambda net, x: net.g(torch.stack([x, net.fc(x)], 3).flatten(2)[..., [2, 0, 5]])[0],
    X,
    fc=nn.Linear(4, 4),
    g=gru(3),
)
add(
    "parts_of_every_second_timestep",
    lambda net, x: net.fc(net.g(functional.glu(x[:, ::2], dim=-1))[0]),
    X,
    g=gru(2),
    fc=nn.Linear(8, 3),
)
add(
    "softmax_of_single_features",
    lambda net, x: net.g(x * net.fc(x).reshape(*x.shape[:2], 4, 1).softmax(-1).flatten(2))[0],
    X,
    fc=nn.Linear(4, 4),
    g=gru(),
)
add(
    "timesteps_of_stacked_features",
    lambda net, x: net.g(
        torch.stack([s.tanh() for s in torch.stack([x, net.fc(x)], 2).flatten(2).unbind(1)], 1),
    )[0],
    X,
    fc=nn.Linear(4, 4),
    g=gru(8),
)
add("every_second_of_six", lambda net, x: net.g(net.fc(x[:, ::2].square()))[0], (2, 6, 4), fc=nn.Linear(4, 4), g=gru())
add("every_second_but_the_end", lambda net, x: net.g(x[:, :-1:2].square())[0], (2, 6, 4), g=gru())
add("padded_features", lambda net, x: net.g(functional.pad(x, (1, 2)))[0], X, g=gru(7))
add(
    "timesteps_apart",
    lambda net, x: net.fc(torch.stack([net.fc(s).relu() for s in net.g(x)[0].unbind(1)], 1)).reshape(
        *x.shape[:2], 2, 4
    ),
    X,
    g=gru(),
    fc=nn.Linear(8, 8),
)
