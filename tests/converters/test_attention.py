"""Attention over all outputs by the last state, as people write it with PyTorch, and what is near it and refused."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from every_export import check_run, converted
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention, softmax
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence
from torch_networks import Net, Network

import grurt
from grurt.converters import convert_module
from grurt.errors import UnsupportedError

B, T, SIZE, HIDDEN = 3, 5, 4, 6
X = torch.randn(B, T, SIZE)
LENGTHS = torch.tensor([3, 5, 2])
MASK = torch.arange(T) < LENGTHS[:, None]


class Vector(nn.Module):
    def __init__(self, size: int) -> None:
        super().__init__()
        self.v = nn.Parameter(torch.randn(size))


def network_of(forward: Any, *inputs: Tensor, **options: Any) -> Network:
    torch.manual_seed(5)
    options = {"batch_first": True} | options
    width = HIDDEN * (1 + options.get("bidirectional", False))
    modules = {
        "gru": nn.GRU(SIZE, HIDDEN, **options),
        "fc": nn.Linear(width, 2),
        "fc_of_one": nn.Linear(HIDDEN, 2),
        "fc_of_both": nn.Linear(2 * width, 2),
        "square": nn.Linear(width, width, bias=False),
        "query": nn.Linear(width, 7),
        "key": nn.Linear(width, 7),
        "score": nn.Linear(7, 1, bias=False),
        "joined": nn.Linear(2 * width, 7),
        "products": nn.Linear(width, 1),
        "seven": Vector(7),
        "six": Vector(HIDDEN),
    }
    return Network(Net(forward, **modules).eval(), inputs or (X,), {})


def weighted(net: Any, scores: Tensor, y: Tensor) -> Tensor:
    return net.fc((softmax(scores, 1).unsqueeze(-1) * y).sum(1))


def dot(net: Any, x: Tensor) -> Any:
    """As the tutorials of seq2seq models have it."""
    y, h = net.gru(x)
    weights = softmax(torch.bmm(y, h.view(-1, HIDDEN, 1)).squeeze(2), 1)
    return net.fc(torch.bmm(y.transpose(1, 2), weights.unsqueeze(2)).squeeze(2))


def scaled_dot(net: Any, x: Tensor) -> Any:
    y, _ = net.gru(x)
    query = y[:, -1]
    weights = (torch.bmm(query.unsqueeze(1), y.transpose(1, 2)) / math.sqrt(HIDDEN)).softmax(-1)
    return net.fc_of_both(torch.cat([torch.bmm(weights, y).squeeze(1), query], 1))


def dot_of_states(net: Any, x: Tensor) -> Any:
    y, h = net.gru(x)
    weights = softmax(torch.bmm(h.permute(1, 0, 2), y.permute(0, 2, 1)), dim=2)
    return net.fc(torch.bmm(weights, y)[:, 0])


def dot_by_einsum(net: Any, x: Tensor) -> Any:
    y, h = net.gru(x)
    return net.fc(torch.einsum("bt,bth->bh", torch.einsum("bth,bh->bt", y, h[-1]).softmax(1), y))


def dot_by_sum(net: Any, x: Tensor) -> Any:
    y, h = net.gru(x)
    return weighted(net, (y * h[-1].unsqueeze(1)).sum(-1) * 0.5, y)


def dot_added(net: Any, x: Tensor) -> Any:
    y, h = net.gru(x)
    weights = softmax((y @ h[-1].unsqueeze(-1)).squeeze(-1), -1)
    return net.fc(torch.bmm(weights.unsqueeze(1), y).squeeze(1) + h[-1])


def dot_by_torch(net: Any, x: Tensor) -> Any:
    y, h = net.gru(x)
    return net.fc(scaled_dot_product_attention(h[-1].unsqueeze(1), y, y).squeeze(1))


def weighted_dot(net: Any, x: Tensor) -> Any:
    y, h = net.gru(x)
    return weighted(net, net.products(y * h[-1].unsqueeze(1)).squeeze(-1), y)


def weighted_dot_by_sum(net: Any, x: Tensor) -> Any:
    y, h = net.gru(x)
    return weighted(net, (y * h[-1].unsqueeze(1) * net.six.v).sum(-1), y)


def dot_timesteps_first(net: Any, x: Tensor) -> Any:
    y, h = net.gru(x)
    return net.fc((softmax((y * h[-1]).sum(-1, keepdim=True), 0) * y).sum(0))


def general(net: Any, x: Tensor) -> Any:
    y, h = net.gru(x)
    weights = softmax(torch.bmm(net.square(y), h.permute(1, 2, 0)).squeeze(2), -1)
    return net.fc(torch.bmm(weights.unsqueeze(1), y).squeeze(1))


def general_query(net: Any, x: Tensor) -> Any:
    y, h = net.gru(x)
    weights = softmax(y @ net.square(h[-1]).unsqueeze(-1), 1)
    return torch.tanh(net.fc_of_both(torch.cat([(weights * y).sum(1), h[-1]], -1)))


def additive(net: Any, x: Tensor) -> Any:
    y, h = net.gru(x)
    return net.fc((softmax(net.score(torch.tanh(net.query(h[-1]).unsqueeze(1) + net.key(y))), 1) * y).sum(1))


def additive_by_product(net: Any, x: Tensor) -> Any:
    y, h = net.gru(x)
    return weighted(net, torch.tanh(net.key(y) + net.query(h[-1:].transpose(0, 1))) @ net.seven.v, y)


def additive_of_a_sum(net: Any, x: Tensor) -> Any:
    y, h = net.gru(x)
    return weighted(net, net.score(torch.tanh(net.key(y + h[-1].unsqueeze(1)))).squeeze(-1), y)


def concat(net: Any, x: Tensor) -> Any:
    y, h = net.gru(x)
    query = h[-1].unsqueeze(1).repeat(1, x.size(1), 1)
    scores = net.score(torch.tanh(net.joined(torch.cat([query, y], 2)))).squeeze(2)
    return net.fc(torch.bmm(softmax(scores, 1).unsqueeze(1), y).squeeze(1))


def concat_by_sum(net: Any, x: Tensor) -> Any:
    y, h = net.gru(x)
    query = h[-1].unsqueeze(1).expand(-1, x.size(1), -1)
    return weighted(net, (net.seven.v * torch.tanh(net.joined(torch.cat((y, query), dim=2)))).sum(2), y)


def concat_by_bmm(net: Any, x: Tensor) -> Any:
    y, h = net.gru(x)
    energy = torch.tanh(net.joined(torch.cat((h[-1].unsqueeze(1).expand(-1, x.size(1), -1), y), dim=2)))
    return weighted(
        net, torch.bmm(net.seven.v.repeat(x.size(0), 1).unsqueeze(1), energy.permute(0, 2, 1)).squeeze(1), y
    )


def two_hops(net: Any, x: Tensor) -> Any:
    y, h = net.gru(x)
    query = h[-1]
    for _ in range(2):
        weights = softmax((y * query.unsqueeze(1)).sum(-1), 1)
        query = query + (weights.unsqueeze(-1) * y).sum(1)
    return net.fc(query)


def of_the_maximum(net: Any, x: Tensor) -> Any:
    y, _ = net.gru(x)
    return weighted(net, (y * y.amax(1).unsqueeze(1)).sum(-1), y)


def both_directions(net: Any, x: Tensor) -> Any:
    y, h = net.gru(x)
    query = torch.cat([h[-2], h[-1]], 1)
    return weighted(net, torch.bmm(y, query.unsqueeze(2)).squeeze(2), y)


def sum_of_directions(net: Any, x: Tensor) -> Any:
    y, h = net.gru(x)
    y = y[:, :, :HIDDEN] + y[:, :, HIDDEN:]
    weights = softmax(torch.bmm(y, (h[-2] + h[-1]).unsqueeze(2)).squeeze(2), 1)
    return net.fc_of_one(torch.bmm(weights.unsqueeze(1), y).squeeze(1))


def masked(net: Any, x: Tensor, mask: Tensor) -> Any:
    y, h = net.gru(x)
    scores = torch.bmm(y, h[-1].unsqueeze(2)).squeeze(2).masked_fill(~mask, float("-inf"))
    return weighted(net, scores, y)


def masked_by_numbers(net: Any, x: Tensor, mask: Tensor) -> Any:
    y, h = net.gru(x)
    scores = net.score(torch.tanh(net.query(h[-1]).unsqueeze(1) + net.key(y))).squeeze(-1)
    return weighted(net, torch.where(mask > 0, scores, -1e9), y)


def masked_by_a_sum(net: Any, x: Tensor, mask: Tensor) -> Any:
    y, h = net.gru(x)
    return weighted(net, (y @ h[-1].unsqueeze(-1)).squeeze(-1) / 2 - 1e9 * (1 - mask), y)


def length_mask(x: Tensor, lengths: Tensor) -> Tensor:
    return torch.arange(x.size(1)) < lengths.view(-1, 1)


def by_length(net: Any, x: Tensor, lengths: Tensor) -> Any:
    y, _ = net.gru(x)
    last = y[torch.arange(x.size(0)), lengths - 1]
    return weighted(net, (y @ last.unsqueeze(-1)).squeeze(-1).masked_fill(~length_mask(x, lengths), -1e9), y)


def packed(net: Any, x: Tensor, lengths: Tensor) -> Any:
    sequences = pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
    outputs, h = net.gru(sequences)
    y, _ = pad_packed_sequence(outputs, batch_first=True, total_length=x.size(1))
    scores = net.score(torch.tanh(net.query(h[-1]).unsqueeze(1) + net.key(y))).squeeze(-1)
    return weighted(net, scores.masked_fill(~length_mask(x, lengths), -1e9), y)


PLAIN = (dot, scaled_dot, dot_of_states, dot_by_einsum, dot_by_sum, dot_added, weighted_dot, weighted_dot_by_sum)
PLAIN += (general, general_query, additive, additive_by_product, additive_of_a_sum)
PLAIN += (concat, concat_by_sum, concat_by_bmm, two_hops, of_the_maximum)
STREAMS = {
    **{each.__name__: network_of(each) for each in PLAIN},
    "dot_by_torch": network_of(dot_by_torch),
    "dot_timesteps_first": network_of(dot_timesteps_first, X.transpose(0, 1).contiguous(), batch_first=False),
    "masked": network_of(masked, X, MASK),
    "masked_by_numbers": network_of(masked_by_numbers, X, MASK.float()),
    "masked_by_a_sum": network_of(masked_by_a_sum, X, MASK.float()),
    "by_length": network_of(by_length, X, LENGTHS),
    "packed": network_of(packed, X, LENGTHS),
}
WHOLE = {
    "both_directions": network_of(both_directions, bidirectional=True),
    "sum_of_directions": network_of(sum_of_directions, bidirectional=True),
}
OTHERS = (
    ("pt2", ("dot", "dot_by_einsum", "dot_by_torch", "concat", "masked")),
    ("dynamo", ("dot", "additive", "masked")),
)
EXPORTS = [(name, "torchscript") for name in STREAMS | WHOLE]
EXPORTS += [pytest.param(name, form, marks=pytest.mark.slow) for form, names in OTHERS for name in names]


@pytest.mark.parametrize(("name", "form"), EXPORTS)
def test_attention_of_every_kind(name: str, form: str, tmp_path: Path) -> None:
    network = (STREAMS | WHOLE)[name]
    model = converted(network, form, tmp_path)
    assert any(isinstance(layer, grurt.Attention) for layer in model.layers)
    assert (name in WHOLE) == (model.unstreamable_reason is not None)
    check_run(model, network, network.inputs)


@pytest.mark.parametrize("name", ["scaled_dot", "additive", "masked"])
def test_streams_end_with_the_answer_of_the_whole(name: str, tmp_path: Path) -> None:
    network = STREAMS[name]
    model = converted(network, "torchscript", tmp_path, open_axes={0: "batch", 1: "time"})
    for n_steps in (1, 4, 40):
        inputs = (torch.randn(1, n_steps, SIZE), torch.ones(1, n_steps, dtype=torch.bool))[: len(network.inputs)]
        with torch.no_grad():
            expected = network.module(*inputs)[0].numpy()
        frames = {
            port.name: each[0].numpy().reshape(n_steps, -1).astype(np.float32)
            for port, each in zip(model.inputs, inputs, strict=True)
        }
        answers: Any = model.stream(nonfinite="propagate").run(
            frames if len(frames) > 1 else frames[model.inputs[0].name]
        )
        np.testing.assert_allclose(answers[-1], expected, rtol=0, atol=2e-6)


@pytest.mark.slow
def test_a_module_in_hand() -> None:
    network = STREAMS["general"]
    model = convert_module(network.module, network.inputs)
    assert [layer.kind for layer in model.layers].count("attention") == 1
    check_run(model, network, network.inputs)


def at_every_timestep(net: Any, x: Tensor) -> Any:
    y, h = net.gru(x)
    return y + h[-1].unsqueeze(1), weighted(net, (y * h[-1].unsqueeze(1)).sum(-1), y)


def of_a_sigmoid(net: Any, x: Tensor) -> Any:
    y, h = net.gru(x)
    return weighted(net, net.score(torch.sigmoid(net.query(h[-1]).unsqueeze(1) + net.key(y))).squeeze(-1), y)


def filled_with_little(net: Any, x: Tensor, mask: Tensor) -> Any:
    y, h = net.gru(x)
    return weighted(net, (y @ h[-1].unsqueeze(-1)).squeeze(-1).masked_fill(~mask, -3.0), y)


def all_by_all(net: Any, x: Tensor) -> Any:
    y, _ = net.gru(x)
    return softmax(y @ y.transpose(1, 2), -1) @ y


KNOWN_LATE = "it reads a vector that is known only at the end of its own sequence"


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (network_of(at_every_timestep), KNOWN_LATE),
        (network_of(of_a_sigmoid), KNOWN_LATE),
        (network_of(filled_with_little, X, MASK), KNOWN_LATE),
        (network_of(all_by_all), "it multiplies two values with each other, as attention does"),
    ],
    ids=lambda value: value if isinstance(value, str) else value.module._forward.__name__,
)
def test_refusals(network: Network, message: str, tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError, match=message):
        converted(network, "torchscript", tmp_path)
