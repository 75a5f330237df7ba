"""Networks that join the timesteps of a sequence: sums, means, maxima, and softmax-weighted sums, masked or not."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from every_export import FEW_OR_ALL, check_run, converted
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence
from torch_networks import Net, Network

import grurt
from grurt.errors import UnsupportedError

B, T, SIZE, HIDDEN = 3, 5, 4, 6
X = torch.randn(B, T, SIZE)
LENGTHS = torch.tensor([3, 5, 2])
MASK = (torch.arange(T) < LENGTHS[:, None]).float()


def network_of(forward: Any, *inputs: Tensor, **options: Any) -> Network:
    torch.manual_seed(5)
    options = {"batch_first": True} | options
    width = HIDDEN * (1 + options.get("bidirectional", False))
    modules = {
        "gru": nn.GRU(SIZE, HIDDEN, **options),
        "fc": nn.Linear(width, 2),
        "score": nn.Linear(width, 1, bias=False),
        "scores": nn.Linear(width, width),
        "hidden": nn.Linear(width, 7),
        "of_hidden": nn.Linear(7, 1),
        "average": nn.AdaptiveAvgPool1d(1),
        "largest": nn.AdaptiveMaxPool1d(1),
    }
    return Network(Net(forward, **modules).eval(), inputs or (X,), {})


def mean(net: Any, x: Tensor) -> Any:
    return net.fc(net.gru(x)[0].mean(1))


def kept(net: Any, x: Tensor) -> Any:
    return net.fc(net.gru(x)[0].mean(dim=1, keepdim=True)).squeeze(1)


def mean_first(net: Any, x: Tensor) -> Any:
    return net.fc(net.gru(x)[0].mean(0))


def maximum(net: Any, x: Tensor) -> Any:
    return net.fc(net.gru(x)[0].max(dim=1)[0])


def amax(net: Any, x: Tensor) -> Any:
    return net.fc(net.gru(x)[0].amax(1))


def minimum(net: Any, x: Tensor) -> Any:
    return net.fc(net.gru(x)[0].amin(1))


def total(net: Any, x: Tensor) -> Any:
    return net.fc(net.gru(x)[0].sum(1) * 0.1)


def several(net: Any, x: Tensor) -> Any:
    """As ULMFiT has it: the last state, the maximum and the mean side by side; and all timesteps."""
    y, h = net.gru(x)
    joined = h[-1] + y.amax(1) + y.mean(1)
    return net.fc(joined), net.fc(y)


def concatenated(net: Any, x: Tensor) -> Any:
    y, _ = net.gru(x)
    return torch.cat([y[:, -1], y.max(1).values, y.mean(1)], dim=-1)


def adaptive_average(net: Any, x: Tensor) -> Any:
    return net.fc(net.average(net.gru(x)[0].transpose(1, 2)).squeeze(-1))


def adaptive_maximum(net: Any, x: Tensor) -> Any:
    return net.fc(net.largest(net.gru(x)[0].permute(0, 2, 1)).squeeze(2))


def attended(net: Any, x: Tensor) -> Any:
    y, _ = net.gru(x)
    return net.fc((torch.softmax(net.score(y), dim=1) * y).sum(1))


def attended_tanh(net: Any, x: Tensor) -> Any:
    """As Yang et al. 2016 have it."""
    y, _ = net.gru(x)
    weights = torch.softmax(net.of_hidden(torch.tanh(net.hidden(y))).squeeze(-1), dim=-1)
    return net.fc((weights.unsqueeze(-1) * y).sum(dim=1))


def attended_bmm(net: Any, x: Tensor) -> Any:
    y, _ = net.gru(x)
    weights = torch.softmax(net.score(y).squeeze(2) / math.sqrt(HIDDEN), dim=1)
    return net.fc(torch.bmm(weights.unsqueeze(1), y).squeeze(1))


def attended_from_the_right(net: Any, x: Tensor) -> Any:
    y, _ = net.gru(x)
    return net.fc((y.transpose(1, 2) @ torch.softmax(net.score(y), dim=1)).squeeze(-1))


def attended_einsum(net: Any, x: Tensor) -> Any:
    y, _ = net.gru(x)
    return net.fc(torch.einsum("bt,bth->bh", torch.softmax(net.score(y).squeeze(-1), 1), y))


def attended_by_feature(net: Any, x: Tensor) -> Any:
    y, _ = net.gru(x)
    return net.fc((torch.softmax(net.scores(y), dim=1) * y).sum(1))


def timesteps_first(net: Any, x: Tensor) -> Any:
    y, _ = net.gru(x)
    return net.fc((torch.softmax(net.score(y), dim=0) * y).sum(0))


def masked_mean(net: Any, x: Tensor, mask: Tensor) -> Any:
    mask = mask.unsqueeze(-1)
    return net.fc((net.gru(x)[0] * mask).sum(1) / mask.sum(1).clamp(min=1e-9))


def masked_mean_of_booleans(net: Any, x: Tensor, mask: Tensor) -> Any:
    y = net.gru(x)[0].masked_fill(~mask.unsqueeze(-1), 0.0)
    return net.fc(y.sum(1) / mask.float().sum(1, keepdim=True))


def masked_maximum(net: Any, x: Tensor, mask: Tensor) -> Any:
    return net.fc(net.gru(x)[0].masked_fill(~mask.unsqueeze(-1), -1e9).amax(1))


def masked_attention(net: Any, x: Tensor, mask: Tensor) -> Any:
    y, _ = net.gru(x)
    scores = net.score(y).squeeze(-1).masked_fill(~mask, float("-inf"))
    return net.fc((torch.softmax(scores, 1).unsqueeze(-1) * y).sum(1))


def length_mask(x: Tensor, lengths: Tensor) -> Tensor:
    return (torch.arange(x.size(1)) < lengths.view(-1, 1)).unsqueeze(-1)


def mean_by_length(net: Any, x: Tensor, lengths: Tensor) -> Any:
    return net.fc((net.gru(x)[0] * length_mask(x, lengths)).sum(1) / lengths.unsqueeze(-1))


def mean_by_mask(net: Any, x: Tensor, lengths: Tensor) -> Any:
    mask = length_mask(x, lengths).float()
    return net.fc((net.gru(x)[0] * mask).sum(1) / mask.sum(1))


def maximum_by_length(net: Any, x: Tensor, lengths: Tensor) -> Any:
    return net.fc(net.gru(x)[0].masked_fill(~length_mask(x, lengths), -1e9).amax(1))


def attention_by_length(net: Any, x: Tensor, lengths: Tensor) -> Any:
    y, _ = net.gru(x)
    scores = net.score(y).masked_fill(~length_mask(x, lengths), -1e9)
    return net.fc((torch.softmax(scores, 1) * y).sum(1))


def packed(net: Any, x: Tensor, lengths: Tensor) -> Tensor:
    sequences = pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
    return pad_packed_sequence(net.gru(sequences)[0], batch_first=True, total_length=x.size(1))[0]


def packed_mean(net: Any, x: Tensor, lengths: Tensor) -> Any:
    return net.fc(packed(net, x, lengths).sum(1) / lengths.unsqueeze(-1))


def packed_attention(net: Any, x: Tensor, lengths: Tensor) -> Any:
    y = packed(net, x, lengths)
    scores = net.score(y).masked_fill(~length_mask(x, lengths), -1e9)
    return net.fc((torch.softmax(scores, 1) * y).sum(1))


BOOLEAN = MASK.bool()
NETWORKS = {
    **{
        each.__name__: network_of(each)
        for each in (mean, kept, maximum, amax, minimum, total, several, concatenated, adaptive_average)
    },
    **{
        each.__name__: network_of(each)
        for each in (adaptive_maximum, attended, attended_tanh, attended_bmm, attended_from_the_right)
    },
    "attended_einsum": network_of(attended_einsum),
    "attended_by_feature": network_of(attended_by_feature),
    "mean_first": network_of(mean_first, X.transpose(0, 1).contiguous(), batch_first=False),
    "timesteps_first": network_of(timesteps_first, X.transpose(0, 1).contiguous(), batch_first=False),
    "masked_mean": network_of(masked_mean, X, MASK),
    "masked_mean_of_booleans": network_of(masked_mean_of_booleans, X, BOOLEAN),
    "masked_maximum": network_of(masked_maximum, X, BOOLEAN),
    "masked_attention": network_of(masked_attention, X, BOOLEAN),
    "mean_by_length": network_of(mean_by_length, X, LENGTHS),
    "mean_by_mask": network_of(mean_by_mask, X, LENGTHS),
    "maximum_by_length": network_of(maximum_by_length, X, LENGTHS),
    "attention_by_length": network_of(attention_by_length, X, LENGTHS),
}
WHOLE = {
    "both_directions_mean": network_of(mean, bidirectional=True),
    "both_directions_attended": network_of(attended, bidirectional=True),
}
PACKED = {
    "packed_mean": network_of(packed_mean, X, LENGTHS),
    "packed_attention": network_of(packed_attention, X, LENGTHS),
}


@pytest.mark.parametrize("form", FEW_OR_ALL)
@pytest.mark.parametrize("name", NETWORKS | WHOLE)
def test_poolings_of_every_kind(name: str, form: str, tmp_path: Path) -> None:
    network = (NETWORKS | WHOLE)[name]
    model = converted(network, form, tmp_path)
    assert any(isinstance(layer, grurt.TimePooling) for layer in model.layers)
    assert name in WHOLE or model.unstreamable_reason is None
    check_run(model, network, network.inputs)
    if len(network.inputs) == 1:
        network.module.float()
        check_run(model, network, (torch.randn(X.shape),))


@pytest.mark.parametrize("name", PACKED)
def test_packed_sequences(name: str, tmp_path: Path) -> None:
    """Which torch.export cannot export."""
    model = converted(PACKED[name], "torchscript", tmp_path)
    check_run(model, PACKED[name], PACKED[name].inputs)


@pytest.mark.parametrize("name", ["mean", "attended", "masked_mean", "concatenated"])
def test_streams_end_with_the_answer_of_the_whole(name: str, tmp_path: Path) -> None:
    network = NETWORKS[name]
    model = converted(network, "torchscript", tmp_path, open_axes={0: "batch", 1: "time"})
    for n_steps in (1, 4, 11):
        inputs = torch.randn(1, n_steps, SIZE), torch.ones(1, n_steps)
        inputs = inputs[: len(network.inputs)]
        with torch.no_grad():
            expected = network.module(*inputs)[0].numpy()
        frames = {port.name: each[0].numpy() for port, each in zip(model.inputs, inputs, strict=True)}
        frames = {name: each.reshape(n_steps, -1) for name, each in frames.items()}
        answers = model.stream().run(frames)
        np.testing.assert_allclose(answers[-1], expected, rtol=0, atol=2e-6)


def packed_plain_mean(net: Any, x: Tensor, lengths: Tensor) -> Any:
    return net.fc(packed(net, x, lengths).mean(1))


def weights_shown(net: Any, x: Tensor) -> Any:
    y, _ = net.gru(x)
    weights = torch.softmax(net.score(y), dim=1)
    return net.fc((weights * y).sum(1)), weights


def of_the_last(net: Any, x: Tensor) -> Any:
    """One vector, repeated at every timestep."""
    _, h = net.gru(x)
    return net.fc(h[-1].unsqueeze(1).expand(-1, x.size(1), -1).mean(1))


def of_other_scores(net: Any, x: Tensor) -> Any:
    """Seven scores for six features."""
    y, _ = net.gru(x)
    return (torch.softmax(net.hidden(y), 1).unsqueeze(-1) * y.unsqueeze(2)).sum(1)


def of_several_scores(net: Any, x: Tensor) -> Any:
    y, _ = net.gru(x)
    return torch.softmax(net.hidden(y), 1).transpose(1, 2) @ y


def of_several_scores_by_einsum(net: Any, x: Tensor) -> Any:
    y, _ = net.gru(x)
    return torch.einsum("btk,bth->bkh", torch.softmax(net.hidden(y), 1), y)


def repeated_mask(net: Any, x: Tensor, lengths: Tensor) -> Any:
    y = net.gru(x)[0] * length_mask(x, lengths)
    return y.sum(1) / length_mask(x, lengths).expand(-1, -1, HIDDEN).sum(1)


def of_no_sequence(net: Any, x: Tensor) -> Any:
    y, h = net.gru(x)
    return (torch.softmax(net.score(y), 1) * h[-1].unsqueeze(1)).sum(1)


def of_the_other_axis(net: Any, x: Tensor) -> Any:
    y, _ = net.gru(x)
    return torch.softmax(net.score(y), 1) @ y[:, :1]


def divided(net: Any, x: Tensor) -> Any:
    return net.fc(net.gru(x)[0].sum(1) / x.size(1))


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (network_of(divided), "depends on how many timesteps or sequences there are"),
        (network_of(packed_plain_mean, X, LENGTHS), "it joins all timesteps of packed sequences, those behind their"),
        (
            network_of(of_other_scores),
            r"it weights a value of shape .* with scores that have other axes; use",
        ),
        (network_of(of_several_scores), "it weights timesteps with several scores; use one score for each timestep"),
        (network_of(of_several_scores_by_einsum), "it weights timesteps by another equation; expected one such as"),
        (network_of(repeated_mask, X, LENGTHS), "it sums a mask that is repeated for features; sum the mask before it"),
        (network_of(of_no_sequence), "with scores that have other axes"),
        (network_of(of_the_other_axis), "it weights timesteps with several scores"),
        (network_of(of_the_last), "it pools a vector that is the same at every timestep; pool a sequence"),
        (network_of(weights_shown), "weights that a softmax over timesteps has made, which are known at the end"),
    ],
)
def test_refusals(network: Network, message: str, tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError, match=message):
        converted(network, "torchscript", tmp_path, open_axes={0: "batch", 1: "time"})
