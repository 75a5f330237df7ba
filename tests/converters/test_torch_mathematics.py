"""Mathematics, conditions, reductions and delays as PyTorch networks hold them: both ONNX exporters, and ``.pt2``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx_exports
import programs
import pytest
import torch
from programs import X, network_of
from torch import Tensor, nn
from torch.nn import functional
from torch_networks import BATCH_FIRST, Network, gru

import grurt
from grurt.converters import convert
from grurt.converters.onnx.convert import network_of_bytes
from grurt.errors import UnsupportedError

ROW = torch.tensor([0.1, -0.2, 0.3])
WHOLE_MASK = torch.ones(5, 8, dtype=torch.bool)


def stacked_frames(x: Tensor, count: int) -> Tensor:
    padded, n_steps = functional.pad(x, (0, 0, count - 1, 0)), x.size(1)
    return torch.cat([padded[:, i : i + n_steps] for i in range(count)], -1)


def zeros_first(x: Tensor, steps: int) -> Tensor:
    return torch.cat([x.new_zeros(x.size(0), steps, x.size(2)), x[:, :-steps]], 1)


BEHIND: dict[str, Callable[[Tensor], Any]] = {
    "functions": lambda y: torch.cat(
        [
            *(torch.exp(y), torch.log(y.abs() + 1), torch.sqrt(y.abs()), torch.rsqrt(y.abs() + 0.5)),
            *(1 / (y.abs() + 1), torch.reciprocal(y + 5), y.sign(), (3 * y).round(), torch.floor(3 * y)),
            *(torch.ceil(3 * y), torch.sin(y), torch.cos(y), torch.erf(y), torch.square(y)),
        ],
        -1,
    ),
    "powers": lambda y: torch.cat(
        [y**2, y**3, (y.abs() + 0.1) ** 0.5, (y.abs() + 1) ** 1.7, 2.0**y, (y + 3) ** -1], -1
    ),
    "two values": lambda y: torch.cat(
        [torch.maximum(y, -y), torch.minimum(y, ROW), y.clamp(min=0.1), y / (y.abs() + 1), ROW / (y + 4), y / ROW], -1
    ),
    "comparisons": lambda y: torch.cat(
        [
            *((y > 0).float(), (y < 0.1).float(), (y >= ROW).float(), (y <= -y).float(), (y != 0).float()),
            *(((y > 0) & (y < 0.2)).float(), ((y > 0) | (y < -0.2)).float(), (~(y > 0)).float(), (y > 0) * y),
        ],
        -1,
    ),
    "choices": lambda y: torch.cat(
        [torch.where(y > 0, y, y * 0.1), torch.where(y > 0, y, 0.5), y.masked_fill(y < 0, -3.0)], -1
    ),
    "reductions": lambda y: torch.cat(
        [
            *(y.amax(-1, keepdim=True), y.amin(-1, keepdim=True), y.sum(-1, keepdim=True), y.mean(-1, keepdim=True)),
            *(y.norm(dim=-1, keepdim=True), y.norm(1, dim=-1, keepdim=True), torch.logsumexp(y, -1, keepdim=True)),
            *(y.prod(-1, keepdim=True), y.std(-1, keepdim=True), y.var(-1, keepdim=True, unbiased=False)),
        ],
        -1,
    ),
    "arcs": lambda y: torch.cat(
        [
            *(torch.atan(y * size) for size in (1, 1e-6, 1e6, 1e20)),
            torch.asin((3 * y).tanh()),
            torch.acos((3 * y).tanh()),
        ],
        -1,
    ),
    "extremes and their places": lambda y: tuple(y.max(-1)),
    "the largest": lambda y: y.argmax(-1),
    "unit vectors": lambda y: functional.normalize(y, dim=-1),
    "one-hot of the largest": lambda y: functional.one_hot(y.argmax(-1), 3).float(),
    "a decision": lambda y: (torch.sigmoid(y) > 0.5).long(),
}
"""Functions of a linear layer behind a GRU."""

DELAYS: dict[str, tuple[Callable[[Any, Tensor], Any], int]] = {
    "before": (lambda net, x: net.fc(net.gru(zeros_first(x, 1))[0]), 4),
    "difference": (lambda net, x: net.fc(net.gru(x - zeros_first(x, 1))[0]), 4),
    "behind": (lambda net, x: functional.pad(net.gru(x)[0], (0, 0, 2, -2)), 4),
    "cut, then padded": (lambda net, x: net.gru(functional.pad(x[:, :-2], (0, 0, 2, 0)))[0], 4),
    "frames": (lambda net, x: net.fc(net.gru(stacked_frames(x, 3))[0]), 12),
    "channels first": (
        lambda net, x: net.gru(functional.pad(x.transpose(1, 2), (2, 0))[:, :, :-2].transpose(1, 2))[0],
        4,
    ),
}

AHEAD: dict[str, tuple[Callable[[Any, Tensor], Any], str]] = {
    "first": (
        lambda net, x: net.gru(torch.cat([x[:, :1], x[:, :-1]], 1))[0],
        "it puts timesteps of several values one behind the other|last timesteps|selected positions",
    ),
    "changed": (
        lambda net, x: net.gru(torch.cat([x[:, :1] * 0, x[:, :-1].tanh()], 1))[0],
        "it puts timesteps of several values one behind the other",
    ),
}

SOURCES = ("torchscript", "dynamo", "program")


def check(network: Network, source: str, path: Path) -> grurt.Model:
    """Convert a network, and compare it with PyTorch, and its streams with whole sequences."""
    model = converted(network, source, path)
    if source == "program":
        programs.check(model, network, network.inputs)
    else:
        onnx_exports.check(model, network, network.inputs)
        verification = model.verify()
        assert verification.same_bits
    return model


def converted(network: Network, source: str, path: Path) -> grurt.Model:
    if source == "program":
        programs.exported(network, path)
        return grurt.Model.from_network(convert(path))
    open_axes = BATCH_FIRST if source == "torchscript" else None
    content = onnx_exports.exported(network, dynamo=source == "dynamo", opset=18, open_axes=open_axes)
    found = network_of_bytes(content, source=grurt.Source(format="onnx"), reference=True)
    return grurt.Model.from_network(found)


@pytest.mark.slow
@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("name", BEHIND)
def test_behind_a_gru(name: str, source: str, tmp_path: Path) -> None:
    function = BEHIND[name]
    network = network_of(lambda net, x: function(net.fc(net.gru(x)[0])), X, gru=gru(), fc=nn.Linear(8, 3))
    check(network, source, tmp_path / "program.pt2")


@pytest.mark.slow
@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("name", DELAYS)
def test_delays(name: str, source: str, tmp_path: Path) -> None:
    forward, size = DELAYS[name]
    network = network_of(forward, X, gru=gru(size), fc=nn.Linear(8, 3))
    model = check(network, source, tmp_path / "program.pt2")
    assert model.unstreamable_reason is None
    if source == "torchscript":
        onnx_exports.check(model, network, (torch.randn(3, 11, 4),))


@pytest.mark.slow
@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("name", AHEAD)
def test_what_is_no_delay_is_refused(name: str, source: str, tmp_path: Path) -> None:
    forward, message = AHEAD[name]
    with pytest.raises(UnsupportedError, match=message):
        converted(network_of(forward, X, gru=gru(), fc=nn.Linear(8, 3)), source, tmp_path / "program.pt2")


@pytest.mark.slow
@pytest.mark.parametrize("source", SOURCES)
def test_a_sequence_without_its_end(source: str, tmp_path: Path) -> None:
    network = network_of(lambda net, x: net.fc(net.gru(x[:, :-1])[0]), X, gru=gru(), fc=nn.Linear(8, 3))
    model = check(network, source, tmp_path / "program.pt2")
    assert model.unstreamable_reason is not None


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda y: y.round(decimals=1), "it rounds to decimals; multiply before round and divide behind it"),
        (lambda y: y.sum(), "it reduces all axes to one number; reduce the axis of the features"),
        (lambda y: y.argmax(), "it names one place in all axes; name the one of a feature, with dim=-1"),
        (lambda y: y.norm(3, dim=(1, 2)), "it is a norm of order 3 over 2 axes; use that of a vector"),
        (lambda y: y.std((1, 2)), "it is no variance over one axis of known size; use that of the features"),
        (lambda y: y.sum(-1, dtype=torch.int64), "it sums in another type; sum in float32"),
        (lambda y: torch.dstack([y[0, 0], y[0, 0]]), "it makes tensors of more axes; use torch.cat or torch.stack"),
        (
            lambda y: y[torch.tensor([0, 1]), :, torch.tensor([1, 2])],
            "it picks by several indices, or by a mask that is computed; pick features by constants",
        ),
        (
            lambda y: y[0][WHOLE_MASK],
            "it picks by a mask of several axes; pick features by constants",
        ),
    ],
)
def test_calls_that_are_refused(function: Callable[[Tensor], Tensor], message: str, tmp_path: Path) -> None:
    network = network_of(lambda net, x: function(net.gru(x)[0]), X, gru=gru())
    programs.exported(network, tmp_path / "program.pt2")
    with pytest.raises(UnsupportedError, match=message):
        convert(tmp_path / "program.pt2")
