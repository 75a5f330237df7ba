"""Networks that give the timesteps of all sequences one below the other, as those of characters do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from every_export import FEW_OR_ALL, check_run, converted
from torch import Tensor, nn
from torch_networks import Net, Network

import grurt

V, B, T, INPUT, HIDDEN = 10, 3, 5, 4, 6


def rows(net: Any, tokens: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
    y, h = net.gru(net.embedding(tokens), h)
    return net.fc(y.reshape(-1, HIDDEN)), h


def viewed(net: Any, tokens: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
    y, h = net.gru(net.embedding(tokens), h)
    return torch.softmax(net.fc(y.contiguous().view(y.size(0) * y.size(1), y.size(2))), 1), h


def behind(net: Any, tokens: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
    y, h = net.gru(net.embedding(tokens), h)
    return torch.log_softmax(net.fc(y).reshape(-1, V), dim=-1), h


def network_of(forward: Any, *, batch_first: bool, batch: int = B, n_steps: int = T) -> Network:
    torch.manual_seed(5)
    gru = nn.GRU(INPUT, HIDDEN, batch_first=batch_first)
    net = Net(forward, gru=gru, fc=nn.Linear(HIDDEN, V), embedding=nn.Embedding(V, INPUT))
    shape = (batch, n_steps) if batch_first else (n_steps, batch)
    return Network(net.eval(), (torch.randint(0, V, shape), torch.randn(1, batch, HIDDEN)), {})


@pytest.mark.parametrize("form", FEW_OR_ALL)
@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize("forward", [rows, viewed, behind])
def test_the_rows_of_all_timesteps(forward: Any, batch_first: bool, form: str, tmp_path: Path) -> None:
    network = network_of(forward, batch_first=batch_first)
    model = converted(network, form, tmp_path)
    merged = "batch_time" if batch_first else "time_batch"
    assert model.signature.outputs[0].axes == (merged, "feature")
    check_run(model, network, network.inputs)
    assert model.verify().ok
    model.save(tmp_path / "model.grurt")
    check_run(grurt.load(tmp_path / "model.grurt"), network, network.inputs)


@pytest.mark.parametrize("form", FEW_OR_ALL)
def test_a_stream_gives_the_row_of_a_timestep(form: str, tmp_path: Path) -> None:
    network = network_of(rows, batch_first=True, n_steps=1)
    model = converted(network, form, tmp_path)
    stream, h = model.stream(), torch.zeros(1, B, HIDDEN)
    for token in torch.randint(0, V, (6,)):
        with torch.no_grad():
            expected, h = network.module(token.expand(B, 1), h)
        np.testing.assert_allclose(stream.step(int(token)), expected[0].numpy(), rtol=0, atol=2e-6)


def test_sequences_of_other_lengths(tmp_path: Path) -> None:
    network = network_of(rows, batch_first=True)
    model = converted(network, "torchscript", tmp_path, open_axes={1: "t"})
    check_run(model, network, (torch.randint(0, V, (B, 9)), torch.randn(1, B, HIDDEN)))
