"""Masks that are made of lengths, ``arange(n_steps) < lengths``, and the last timestep before the end of a sequence."""

from __future__ import annotations

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
from grurt.errors import InputValueError, UnsupportedError

B, T, SIZE, HIDDEN = 3, 5, 4, 6
X = torch.randn(B, T, SIZE)
LENGTHS = torch.tensor([3, 5, 2])


def network_of(forward: Any, *inputs: Tensor, **options: Any) -> Network:
    torch.manual_seed(5)
    options = {"batch_first": True} | options
    directions = 1 + options.get("bidirectional", False)
    modules = {
        "gru": nn.GRU(SIZE, HIDDEN, **options),
        "fc": nn.Linear(directions * HIDDEN, 2),
        "top": nn.GRU(HIDDEN, HIDDEN, batch_first=True),
        "conv": nn.Conv1d(HIDDEN, HIDDEN, 3),
    }
    return Network(Net(forward, **modules).eval(), inputs or (X, LENGTHS), {})


def mask_of(x: Tensor, lengths: Tensor) -> Tensor:
    return (torch.arange(x.size(1)) < lengths.view(-1, 1)).unsqueeze(-1)


def behind(net: Any, x: Tensor, lengths: Tensor) -> Any:
    return net.fc(net.gru(x)[0] * mask_of(x, lengths))


def before(net: Any, x: Tensor, lengths: Tensor) -> Any:
    return net.fc(net.gru(x * mask_of(x, lengths).float())[0])


def filled(net: Any, x: Tensor, lengths: Tensor) -> Any:
    past = (lengths[:, None] <= torch.arange(x.size(1))).unsqueeze(-1)
    return net.fc(net.gru(x)[0]).masked_fill(past, -1e9)


def not_filled(net: Any, x: Tensor, lengths: Tensor) -> Any:
    return net.fc(net.gru(x)[0].masked_fill(~mask_of(x, lengths), 0.5))


def chosen(net: Any, x: Tensor, lengths: Tensor) -> Any:
    y = net.gru(x)[0]
    return net.fc(torch.where(mask_of(x, lengths), y, torch.zeros_like(y)))


def up_to_the_last(net: Any, x: Tensor, lengths: Tensor) -> Any:
    mask = torch.arange(x.size(1)) <= (lengths - 1)[:, None]
    return net.fc(net.gru(x)[0] * mask.unsqueeze(-1).expand(-1, -1, HIDDEN))


def every_layer(net: Any, x: Tensor, lengths: Tensor) -> Any:
    mask = mask_of(x, lengths)
    y = net.top(net.gru(x * mask)[0] * mask)[0] * mask
    y = net.conv(nn.functional.pad(y.transpose(1, 2), (2, 0))).transpose(1, 2)
    return net.fc(y), y


def with_states(net: Any, x: Tensor, lengths: Tensor, h: Tensor) -> Any:
    """The state is that after the padding, which the GRU reads too."""
    y, h = net.gru(x, h)
    return net.fc(y * mask_of(x, lengths)), h


def picked(net: Any, x: Tensor, lengths: Tensor) -> Any:
    return net.fc(net.gru(x)[0][torch.arange(x.size(0)), lengths - 1])


def gathered(net: Any, x: Tensor, lengths: Tensor) -> Any:
    y = net.gru(x)[0]
    return net.fc(y.gather(1, (lengths - 1).view(-1, 1, 1).expand(-1, 1, y.size(2))).squeeze(1))


def clamped(net: Any, x: Tensor, lengths: Tensor) -> Any:
    return net.fc(net.gru(x)[0][torch.arange(x.size(0)), (lengths - 1).clamp(min=0)])


def timesteps_first(net: Any, x: Tensor, lengths: Tensor) -> Any:
    return net.fc(net.gru(x)[0][lengths - 1, torch.arange(x.size(1))])


def flat(net: Any, x: Tensor, lengths: Tensor) -> Any:
    return net.fc(net.gru(x)[0].reshape(-1, HIDDEN) * mask_of(x, lengths).view(-1, 1))


def of_logits(net: Any, x: Tensor, lengths: Tensor) -> Any:
    """All timesteps, the last one of each sequence, and the last one of the longest."""
    y = net.gru(x)[0]
    logits = net.fc(y)
    return logits, logits[torch.arange(x.size(0)), lengths - 1], net.fc(y[:, -1])


def packed(net: Any, x: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
    sequences = pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
    y, h = net.gru(sequences)
    return pad_packed_sequence(y, batch_first=True, total_length=x.size(1))[0], h


def packed_and_masked(net: Any, x: Tensor, lengths: Tensor) -> Any:
    return net.fc(packed(net, x, lengths)[0]).masked_fill(~mask_of(x, lengths), -1e9)


def packed_and_picked(net: Any, x: Tensor, lengths: Tensor) -> Any:
    return net.fc(packed(net, x, lengths)[0][torch.arange(x.size(0)), lengths - 1])


NETWORKS = {
    "behind": network_of(behind),
    "behind_column": network_of(behind, X, LENGTHS.view(-1, 1)),
    "behind_both_directions": network_of(behind, bidirectional=True),
    "before": network_of(before),
    "before_both_directions": network_of(before, bidirectional=True),
    "filled": network_of(filled),
    "not_filled": network_of(not_filled),
    "chosen": network_of(chosen),
    "up_to_the_last": network_of(up_to_the_last),
    "flat": network_of(flat),
    "every_layer": network_of(every_layer),
    "with_states": network_of(with_states, X, LENGTHS, torch.randn(1, B, HIDDEN)),
    "picked": network_of(picked),
    "picked_of_one": network_of(picked, X[:1], LENGTHS[:1]),
    "gathered": network_of(gathered),
    "clamped": network_of(clamped),
    "timesteps_first": network_of(timesteps_first, X.transpose(0, 1).contiguous(), LENGTHS, batch_first=False),
    "of_logits": network_of(of_logits),
}
PACKED = {
    "masked": network_of(packed_and_masked),
    "picked": network_of(packed_and_picked),
    "picked_both_directions": network_of(packed_and_picked, bidirectional=True),
}


def check_all(model: grurt.Model, network: Network) -> None:
    x, lengths, *states = network.inputs
    check_run(model, network, network.inputs)
    for other in ([1, 5, 4], [5, 5, 5], [2, 1, 5]):
        given = torch.tensor(other, dtype=lengths.dtype)[: len(lengths)].view(lengths.shape)
        check_run(model, network, (torch.randn(x.shape), given, *map(torch.randn_like, states)))


@pytest.mark.parametrize("form", FEW_OR_ALL)
@pytest.mark.parametrize("name", NETWORKS)
def test_the_source_runs_over_the_ends(name: str, form: str, tmp_path: Path) -> None:
    network = NETWORKS[name]
    model = converted(network, form, tmp_path)
    check_all(model, network)
    (port,) = (port for port in model.signature.inputs if isinstance(port, grurt.LengthsPort))
    assert not port.packed
    assert (model.unstreamable_reason is None) == ("both" not in name)
    assert model.verify().ok
    model.save(tmp_path / "model.grurt")
    check_run(grurt.load(tmp_path / "model.grurt"), network, network.inputs)


@pytest.mark.parametrize("name", PACKED)
def test_packed_sequences_are_masked_and_picked_from(name: str, tmp_path: Path) -> None:
    network = PACKED[name]
    model = converted(network, "torchscript", tmp_path)
    check_all(model, network)
    (port,) = (port for port in model.signature.inputs if isinstance(port, grurt.LengthsPort))
    assert port.packed


@pytest.mark.parametrize("name", ["behind", "filled", "picked", "every_layer"])
def test_a_stream_has_nothing_behind_its_end(name: str, tmp_path: Path) -> None:
    network = NETWORKS[name]
    model = converted(network, "torchscript", tmp_path)
    assert [port.name for port in model.inputs] == ["input_0"]
    with torch.no_grad():
        answers = network.module(X[:1], torch.tensor([T]))
    expected = (answers[0] if isinstance(answers, tuple) else answers)[0].numpy()
    found = model.stream().run(X[0].numpy())
    steps = next(iter(found.values())) if isinstance(found, dict) else found
    np.testing.assert_allclose(steps[-1] if expected.ndim == 1 else steps, expected, rtol=0, atol=2e-6)


def test_sequences_without_timesteps(tmp_path: Path) -> None:
    network = NETWORKS["behind"]
    check_run(converted(network, "torchscript", tmp_path), network, (X, torch.tensor([0, 5, 0])))
    picks = converted(NETWORKS["picked"], "torchscript", tmp_path)
    with pytest.raises(InputValueError, match=r"lengths\[1\]: expected a length in \[1, 5\], got 0"):
        picks.run({"input_0": X.numpy(), "input_1": [3, 0, 2]})


def both(net: Any, x: Tensor, lengths: Tensor) -> Any:
    y = net.gru(x)[0]
    return net.fc(y[:, -1] + y[torch.arange(x.size(0)), lengths - 1])


def shorter(net: Any, x: Tensor, lengths: Tensor) -> Any:
    return net.fc(net.gru(x)[0] * (torch.arange(x.size(1)) < (lengths - 1)[:, None]).unsqueeze(-1))


def before_the_last(net: Any, x: Tensor, lengths: Tensor) -> Any:
    return net.fc(net.gru(x)[0].gather(1, (lengths - 2).view(-1, 1, 1).expand(-1, 1, HIDDEN)).squeeze(1))


def past_alone(net: Any, x: Tensor, lengths: Tensor) -> Any:
    return net.fc(net.gru(x)[0] * ~mask_of(x, lengths))


def infinite(net: Any, x: Tensor, lengths: Tensor) -> Any:
    return net.fc(net.gru(x)[0]).masked_fill(~mask_of(x, lengths), -float("inf"))


def as_numbers(net: Any, x: Tensor, lengths: Tensor) -> Any:
    return net.fc(net.gru(x)[0] * mask_of(x, lengths)) / lengths.view(-1, 1, 1).float()


def two_lengths(net: Any, x: Tensor, lengths: Tensor, others: Tensor) -> Any:
    return net.fc(net.gru(x * mask_of(x, lengths))[0] * mask_of(x, others))


def tokens(net: Any, x: Tensor, tokens: Tensor, lengths: Tensor) -> Any:
    mask = torch.arange(tokens.size(1)) < lengths[:, None]
    return net.fc(net.gru(nn.functional.embedding(tokens * mask.long(), net.fc.weight.T.repeat(1, 2)) + x)[0])


def of_one_sequence(net: Any, x: Tensor, lengths: Tensor) -> Any:
    return net.fc(net.gru(x)[0].unsqueeze(0) * mask_of(x.unsqueeze(0), lengths))


def second_sequence(net: Any, x: Tensor, others: Tensor, lengths: Tensor) -> Any:
    y = net.top(others, net.gru(x)[1])[0]
    return net.fc(y * mask_of(others, lengths))


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (network_of(tokens, X, torch.ones(B, T, dtype=torch.int64), LENGTHS), "it masks something else than values of"),
        (
            network_of(of_one_sequence, X[0], LENGTHS),
            r"it masks a value of shape \(1, 5, 6\) by the lengths of sequences",
        ),
        (
            network_of(second_sequence, X, torch.randn(B, T, HIDDEN), LENGTHS),
            "it reads the lengths of sequences behind the end of others; mask and pick in the first sequence",
        ),
        (network_of(both), "it reads the timestep before the end of each sequence, and what the padding behind it has"),
        (network_of(picked, bidirectional=True), "as a GRU in reverse direction; pack the sequences with pack_padded_"),
        (network_of(shorter), "it compares timesteps with something else than the lengths of sequences"),
        (network_of(before_the_last), "it picks something else than the last timestep before the end of each sequence"),
        (network_of(past_alone), "it computes with a mask of the timesteps before the ends of sequences"),
        (network_of(infinite), "behind the ends of sequences it puts something else than one finite number"),
        (network_of(as_numbers), "layer 'div': it reads a vector that is known only at the end of its own sequence"),
        (
            network_of(two_lengths, X, LENGTHS, LENGTHS),
            "it reads lengths of sequences from 'input_2', and another node from 'input_1'",
        ),
    ],
)
def test_refused(network: Network, message: str, tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError, match=message):
        converted(network, "torchscript", tmp_path)
