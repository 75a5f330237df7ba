"""Masks: inputs of booleans and whole numbers, and those that are made of tokens."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx_graphs
import pytest
import torch
from every_export import FEW_OR_ALL, check_run, converted
from onnx_graphs import INPUT, after_gru, written
from torch import Tensor, nn
from torch_networks import Net, Network

import grurt
from grurt.errors import InputTypeError, InputValueError, UnsupportedError

B, T, SIZE, HIDDEN = 3, 5, 4, 6
X = torch.randn(B, T, SIZE)
TOKENS = torch.tensor([[3, 1, 4, 0, 0], [1, 5, 0, 2, 6], [0, 0, 0, 0, 0]])


def network_of(forward: Any, *inputs: Tensor) -> Network:
    torch.manual_seed(5)
    modules = {
        "gru": nn.GRU(SIZE, HIDDEN, batch_first=True),
        "fc": nn.Linear(HIDDEN, 2),
        "embedding": nn.Embedding(9, SIZE, padding_idx=0),
    }
    return Network(Net(forward, **modules).eval(), inputs, {})


def behind(net: Any, x: Tensor, mask: Tensor) -> Any:
    return net.fc(net.gru(x)[0] * mask.unsqueeze(-1))


def before(net: Any, x: Tensor, mask: Tensor) -> Any:
    return net.fc(net.gru(x * mask[:, :, None].float())[0])


def filled(net: Any, x: Tensor, mask: Tensor) -> Any:
    return net.fc(net.gru(x)[0]).masked_fill(~mask.unsqueeze(-1), -1e4)


def chosen(net: Any, x: Tensor, mask: Tensor) -> Any:
    return torch.where(mask, net.fc(net.gru(x)[0]), -1.0)


def where_zero(net: Any, x: Tensor, mask: Tensor) -> Any:
    return net.fc(net.gru(x)[0]).masked_fill(mask.unsqueeze(-1) == 0, -1e4)


def as_boolean(net: Any, x: Tensor, mask: Tensor) -> Any:
    return net.fc(net.gru(x)[0]).masked_fill(mask.bool().logical_not().unsqueeze(-1), 0.5)


def of_tokens(net: Any, tokens: Tensor) -> Any:
    return net.fc(net.gru(net.embedding(tokens))[0]) * (tokens != 0).unsqueeze(-1)


def of_tokens_filled(net: Any, tokens: Tensor) -> Any:
    return net.fc(net.gru(net.embedding(tokens))[0]).masked_fill((tokens == 0).unsqueeze(-1), -1e9)


def drawn(shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    return (torch.rand(shape) > 0.4).to(dtype)


INTEGER, BOOLEAN = torch.int64, torch.bool
NETWORKS = {
    "behind": network_of(behind, X, drawn((B, T), BOOLEAN)),
    "behind_integer": network_of(behind, X, drawn((B, T), INTEGER)),
    "before": network_of(before, X, drawn((B, T), BOOLEAN)),
    "before_integer": network_of(before, X, drawn((B, T), INTEGER)),
    "filled": network_of(filled, X, drawn((B, T), BOOLEAN)),
    "chosen": network_of(chosen, X, drawn((B, T, 1), BOOLEAN)),
    "where_zero": network_of(where_zero, X, drawn((B, T), INTEGER)),
    "as_boolean": network_of(as_boolean, X, drawn((B, T), INTEGER)),
    "of_tokens": network_of(of_tokens, TOKENS),
    "of_tokens_filled": network_of(of_tokens_filled, TOKENS),
}


@pytest.mark.parametrize("form", FEW_OR_ALL)
@pytest.mark.parametrize("name", NETWORKS)
def test_masks_of_every_kind(name: str, form: str, tmp_path: Path) -> None:
    network = NETWORKS[name]
    model = converted(network, form, tmp_path)
    assert model.unstreamable_reason is None
    check_run(model, network, network.inputs)
    if len(network.inputs) == 2:
        check_run(model, network, (torch.randn(X.shape), drawn(network.inputs[1].shape, network.inputs[1].dtype)))
        assert model.signature.inputs[1].dtype == str(network.inputs[1].dtype).removeprefix("torch.")


def masked(text: str, **shapes: tuple[int | str, ...]) -> grurt.Model:
    graph = after_gru(
        written(text), {"zero": np.array(0), "nine": np.array([1, 9])}, inputs={"m": ("t", "b", 1)} | shapes
    )
    graph.graph.input[1].type.tensor_type.elem_type = 7
    return onnx_graphs.convert(graph)


def test_whole_numbers_that_float32_lacks_are_refused() -> None:
    model = masked("f = Cast <to = 1> (m); y = Mul(s, f)")
    given = {"x": np.zeros((4, 2, INPUT), np.float32), "m": np.full((4, 2, 1), 1 << 24)}
    with pytest.raises(InputValueError, match=r"input 'm': expected whole numbers below 2\*\*24, as float32 has them"):
        model.run(given)
    with pytest.raises(InputTypeError, match="expected real numbers"):
        model.run(given | {"m": given["m"].astype(complex)})


def of_a_token(token: Any) -> Network:
    def forward(net: Any, tokens: Tensor) -> Any:
        return net.fc(net.gru(net.embedding(tokens))[0]).masked_fill((tokens == token).unsqueeze(-1), 0.0)

    return network_of(forward, TOKENS)


@pytest.mark.parametrize(
    ("token", "message"),
    [
        (torch.arange(T), "it compares tokens with several numbers; compare tokens with one token at a time"),
        (-1, "it compares tokens with -1, which is none"),
    ],
)
def test_tokens_are_compared_with_tokens(token: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError, match=message):
        converted(of_a_token(token), "torchscript", tmp_path)
