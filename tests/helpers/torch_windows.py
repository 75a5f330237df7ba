"""Networks whose convolutions, pools and slices look ahead in time, stride over it, or make sequences shorter."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch_networks import Net, Network

NETWORKS: dict[str, Network] = {}


def add(name: str, forward: Callable[..., Any], shape: tuple[int, ...], **modules: nn.Module) -> None:
    open_axes = {0: "batch", len(shape) - 2: "time"} if len(shape) > 2 else {0: "time"}
    NETWORKS[name] = Network(Net(forward, **modules).eval(), (torch.randn(shape),), open_axes)


def gru(size: int, hidden_size: int = 6, **options: Any) -> nn.GRU:
    return nn.GRU(size, hidden_size, batch_first=True, **options)


def channels_first(function: Callable[[Any, Tensor], Tensor]) -> Callable[[Any, Tensor], Tensor]:
    """Return a network that transposes its input for ``function``, and runs a GRU over what that gives."""
    return lambda net, x: net.fc(net.gru(function(net, x.transpose(1, 2)).transpose(1, 2))[0])


def front(name: str, size: int, function: Callable[[Any, Tensor], Tensor], **modules: nn.Module) -> None:
    add(name, channels_first(function), (2, 24, 4), gru=gru(size), fc=nn.Linear(6, 3), **modules)


def residual(net: Any, x: Tensor) -> Tensor:
    x = net.a(x).relu()
    x = x + net.b(net.norm(x)).relu()
    return x + net.c(x)


def deep_speech(net: Any, x: Tensor) -> Tensor:
    y = net.norm(net.first(x)).clamp(0, 20)
    return functional.hardtanh(net.second(y), 0, 20)


def between(net: Any, x: Tensor) -> Tensor:
    y = net.first(x)[0]
    y = net.conv(y.transpose(1, 2)).relu()
    y = net.second(functional.max_pool1d(y, 2).transpose(1, 2))[0]
    return net.last(y.transpose(1, 2)).transpose(1, 2)


front("same", 8, lambda net, x: net.conv(x).relu(), conv=nn.Conv1d(4, 8, 5, padding="same"))
front("same_even", 8, lambda net, x: net.conv(x).relu(), conv=nn.Conv1d(4, 8, 4, padding="same", dilation=2))
front("valid", 8, lambda net, x: net.conv(x).relu(), conv=nn.Conv1d(4, 8, 3))
front("strided", 8, lambda net, x: net.conv(x).relu(), conv=nn.Conv1d(4, 8, 3, stride=2, padding=1))
front("strided_groups", 8, lambda net, x: net.conv(x), conv=nn.Conv1d(4, 8, 3, stride=2, padding=1, groups=2))
front(
    "separable",
    8,
    lambda net, x: net.point(net.depth(x)),
    depth=nn.Conv1d(4, 4, 3, stride=2, padding=1, groups=4, bias=False),
    point=nn.Conv1d(4, 8, 1),
)
front("padded_by_hand", 8, lambda net, x: net.conv(functional.pad(x, (2, 3))), conv=nn.Conv1d(4, 8, 3, stride=2))
front("cut_after", 8, lambda net, x: net.conv(x)[..., :-1], conv=nn.Conv1d(4, 8, 4, padding=2))
front("cut_late", 8, lambda net, x: net.conv(x).relu()[..., :-2], conv=nn.Conv1d(4, 8, 3, padding=2))
front("longer", 8, lambda net, x: net.conv(x).relu(), conv=nn.Conv1d(4, 8, 3, padding=2))
front("residual", 4, residual, **{name: nn.Conv1d(4, 4, 3, padding=1) for name in "abc"}, norm=nn.BatchNorm1d(4))
front(
    "deep_speech",
    8,
    deep_speech,
    first=nn.Conv1d(4, 8, 11, stride=2, padding=5),
    norm=nn.BatchNorm1d(8),
    second=nn.Conv1d(8, 8, 5, padding=2),
)
front(
    "inception",
    12,
    lambda net, x: torch.cat([net.a(x), net.b(x), net.pool(x)], 1),
    a=nn.Conv1d(4, 4, 3, stride=2, padding=1),
    b=nn.Conv1d(4, 4, 5, stride=2, padding=2),
    pool=nn.MaxPool1d(3, 2, 1),
)
front("max_pool", 4, lambda net, x: net.pool(x), pool=nn.MaxPool1d(2))
front("max_pool_ceil", 4, lambda net, x: net.pool(x), pool=nn.MaxPool1d(5, 3, 2, ceil_mode=True))
front("max_pool_dilated", 4, lambda net, x: net.pool(x), pool=nn.MaxPool1d(3, 1, 1, dilation=2))
front("average_pool", 4, lambda net, x: net.pool(x), pool=nn.AvgPool1d(3, 2, 1))
front("average_of_those", 4, lambda net, x: net.pool(x), pool=nn.AvgPool1d(3, 2, 1, count_include_pad=False))
front("average_pool_ceil", 4, lambda net, x: net.pool(x), pool=nn.AvgPool1d(5, 3, 2, ceil_mode=True))
front(
    "pools_after_convolutions",
    8,
    lambda net, x: net.stack(x),
    stack=nn.Sequential(
        nn.Conv1d(4, 6, 3, padding=1),
        nn.BatchNorm1d(6),
        nn.ReLU(),
        nn.MaxPool1d(2),
        nn.Conv1d(6, 8, 3, padding=1),
        nn.ReLU(),
        nn.AvgPool1d(2),
    ),
)
add(
    "between_grus",
    between,
    (2, 24, 4),
    first=gru(4, bidirectional=True),
    conv=nn.Conv1d(12, 5, 3, padding=1),
    second=gru(5),
    last=nn.Conv1d(6, 3, 2, stride=2),
)
add(
    "last_of_strided",
    lambda net, x: net.fc(net.gru(net.conv(x.transpose(1, 2)).transpose(1, 2))[1][-1]),
    (2, 24, 4),
    conv=nn.Conv1d(4, 8, 4, stride=3),
    gru=gru(8),
    fc=nn.Linear(6, 3),
)
add(
    "all_features_at_once",
    lambda net, x: net.gru(net.conv(x.unsqueeze(1)).squeeze(3).relu().transpose(1, 2))[0],
    (2, 24, 7),
    conv=nn.Conv2d(1, 8, (3, 7), stride=(2, 1), padding=(1, 0)),
    gru=gru(8),
)
add("every_second", lambda net, x: net.gru(x[:, ::2])[0], (2, 24, 4), gru=gru(4))
add("without_the_first", lambda net, x: net.gru(x)[0][:, 5:], (2, 24, 4), gru=gru(4))
add("without_both_ends", lambda net, x: net.fc(net.gru(x)[0][:, 2:-3]), (2, 24, 4), gru=gru(4), fc=nn.Linear(6, 2))
add(
    "both_directions",
    lambda net, x: net.fc(net.gru(x)[0][:, 1::2]),
    (2, 24, 4),
    gru=gru(4, bidirectional=True),
    fc=nn.Linear(12, 2),
)
add("differences", lambda net, x: net.gru(x[:, 1:] - x[:, :-1])[0], (2, 24, 4), gru=gru(4))
add("pairs", lambda net, x: net.gru(torch.cat([x[:, ::2], x[:, 1::2]], 2))[0], (2, 24, 4), gru=gru(8))
add("stacked_frames", lambda net, x: net.gru(x.reshape(x.shape[0], x.shape[1] // 3, 12))[0], (2, 24, 4), gru=gru(12))
add(
    "unbatched",
    lambda net, x: net.gru(net.pool(net.conv(x.T)).T)[0],
    (24, 4),
    conv=nn.Conv1d(4, 8, 3, padding=1),
    pool=nn.MaxPool1d(2),
    gru=nn.GRU(8, 6),
)
add(
    "in_reverse",
    lambda net, x: net.gru(net.conv(x.flip(1).transpose(1, 2)).transpose(1, 2).flip(1))[0],
    (2, 24, 4),
    conv=nn.Conv1d(4, 8, 4, padding=1),
    gru=gru(8),
)
add("ahead", lambda net, x: net.gru(torch.cat([x[:, 1:], torch.zeros_like(x[:, :1])], 1))[0], (2, 24, 4), gru=gru(4))
add(
    "with_what_is_ahead",
    lambda net, x: net.gru(x + torch.cat([x[:, 2:], torch.zeros_like(x[:, :2])], 1))[0],
    (2, 24, 4),
    gru=gru(4),
)
add(
    "ones_around",
    lambda net, x: net.gru(torch.cat([torch.ones_like(x[:, :2]), x, torch.ones_like(x[:, :1])], 1))[0],
    (2, 24, 4),
    gru=gru(4),
)
add(
    "ones_before",
    lambda net, x: net.gru(torch.cat([torch.ones_like(x[:, :1]), x[:, :-1]], 1))[0],
    (2, 24, 4),
    gru=gru(4),
)
