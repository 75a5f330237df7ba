"""Loops over a GRU that reads one timestep at a call, which exporters write out: PyTorch is the truth."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from onnx_exports import exported, in_float64
from programs import exported as saved
from torch import Tensor, nn
from torch_networks import Network

import grurt
from grurt.converters import convert
from grurt.errors import UnsupportedError

pytestmark = pytest.mark.slow

STEPS, INPUT, HIDDEN = 5, 4, 6
ROUTES = ("torchscript", "dynamo", "pt2")


class Loop(nn.Module):
    def __init__(self, forward: Callable[[Any, Tensor], Tensor], layers: int) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.gru = nn.GRU(INPUT, HIDDEN, layers, batch_first=True)
        self.encoder, self.fc = nn.GRU(INPUT, HIDDEN, layers, batch_first=True), nn.Linear(HIDDEN, 3)
        self.layers, self._forward = layers, forward

    def first(self, x: Tensor) -> Tensor:
        return x.new_zeros(self.layers, x.shape[0], HIDDEN)

    def forward(self, *inputs: Tensor) -> Tensor:
        return self._forward(self, *inputs)


def each(net: Any, x: Tensor) -> Tensor:
    h, ys = net.first(x), []
    for t in range(STEPS):
        y, h = net.gru(x[:, t : t + 1], h)
        ys.append(net.fc(y))
    return torch.cat(ys, 1)


def picked(net: Any, x: Tensor) -> Tensor:
    h, ys = net.first(x), []
    for t in range(STEPS):
        y, h = net.gru(torch.relu(x[:, t]).unsqueeze(1), h)
        ys.append(y[:, 0])
    return torch.stack(ys, 1)


def backwards(net: Any, x: Tensor) -> Tensor:
    h, ys = net.first(x), []
    for t in reversed(range(STEPS)):
        y, h = net.gru(x[:, t : t + 1], h)
        ys.insert(0, y)
    return torch.cat(ys, 1)


def last(net: Any, x: Tensor) -> Tensor:
    h = net.first(x)
    for t in range(STEPS):
        _, h = net.gru(x[:, t : t + 1], h)
    return net.fc(h[-1])


def decoder(net: Any, x: Tensor, source: Tensor) -> Tensor:
    h, ys = net.encoder(source)[1], []
    for t in range(STEPS):
        y, h = net.gru(x[:, t : t + 1], h)
        ys.append(net.fc(y))
    return torch.cat(ys, 1)


def in_chunks(net: Any, x: Tensor) -> Tensor:
    a, h = net.gru(x[:, :2])
    return torch.cat([a, net.gru(x[:, 2:], h)[0]], 1)


def converted(forward: Callable[..., Tensor], layers: int, route: str, folder: Path, count: int = 1) -> Any:
    network = Network(Loop(forward, layers).eval(), tuple(torch.randn(2, STEPS, INPUT) for _ in range(count)), {})
    path = folder / ("network.pt2" if route == "pt2" else "network.onnx")
    if route == "pt2":
        saved(network, path)
    else:
        path.write_bytes(exported(network, dynamo=route == "dynamo", opset=18))
    return network, convert(path, reference=False)


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize(("forward", "layers"), [(each, 1), (each, 2), (picked, 1), (backwards, 1), (last, 2)])
def test_a_loop_is_one_gru(forward: Callable[[Any, Tensor], Tensor], layers: int, route: str, tmp_path: Path) -> None:
    network, model = converted(forward, layers, route, tmp_path)
    assert sum(isinstance(layer, grurt.GRU) for layer in model.layers) == layers
    assert (model.unstreamable_reason is None) is (forward is not backwards)
    x = torch.randn(3, STEPS, INPUT)
    with torch.no_grad():
        expected = network.module.double()(x.double()).numpy()
    (found,) = model.run({model.signature.inputs[0].name: x.numpy()}).values()
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-6)


@pytest.mark.parametrize("route", ROUTES)
def test_a_decoder_begins_with_the_state_of_an_encoder(route: str, tmp_path: Path) -> None:
    network, model = converted(decoder, 1, route, tmp_path, 2)
    inputs = torch.randn(3, STEPS, INPUT), torch.randn(3, STEPS + 2, INPUT)
    with torch.no_grad():
        expected = network.module.double()(*(x.double() for x in inputs)).numpy()
    given = {port.name: x.numpy() for port, x in zip(model.signature.inputs, inputs, strict=True)}
    (found,) = model.run(given).values()
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-6)


@pytest.mark.parametrize("route", ROUTES)
def test_chunks_of_several_timesteps_are_no_cells(route: str, tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError, match="it works on 2 selected positions of axis 1 of input"):
        converted(in_chunks, 1, route, tmp_path)


def into_a_buffer(net: Any, x: Tensor) -> Tensor:
    h, ys = net.first(x), torch.zeros(x.shape[0], STEPS, HIDDEN)
    for t in range(STEPS):
        y, h = net.gru(x[:, t : t + 1], h)
        ys[:, t] = y[:, 0]
    return net.fc(ys)


def into_a_part(net: Any, x: Tensor) -> Tensor:
    ys, zs = torch.zeros(2, STEPS, HIDDEN), net.gru(x)[0]
    for t in range(STEPS - 1):
        ys[:, t] = zs[:, t]
    return ys


def repeated_into_a_buffer(net: Any, x: Tensor) -> Tensor:
    ys = torch.zeros(2, STEPS, HIDDEN)
    ys[:, 0].copy_(net.gru(x)[0][:, -1, :1])
    return ys


def of_buffer(forward: Callable[..., Tensor], route: str, folder: Path, **options: Any) -> tuple[Network, grurt.Model]:
    network = Network(Loop(forward, 1).eval(), (torch.randn(2, STEPS, INPUT),), {})
    path = folder / ("network.onnx" if route == "dynamo" else "network.pt2")
    if route == "dynamo":
        path.write_bytes(exported(network, dynamo=True, opset=18))
    else:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")  # the exporter warns about itself
            program = torch.export.export(network.module, network.inputs, **options)
            torch.export.save(program.run_decompositions({}), path)
    return network, convert(path, reference=False)


@pytest.mark.parametrize("route", ["dynamo", "decomposed"])
def test_what_a_loop_writes_into_a_buffer(route: str, tmp_path: Path) -> None:
    network, model = of_buffer(into_a_buffer, route, tmp_path)
    assert [layer.kind for layer in model.layers] == ["gru", "linear"]
    assert model.unstreamable_reason is None
    x = torch.randn(2, STEPS, INPUT)
    (found,) = model.run({model.signature.inputs[0].name: x.numpy()}).values()
    (expected,) = in_float64(network.module, (x,))
    np.testing.assert_allclose(found, expected.numpy(), rtol=0, atol=2e-6)


def test_a_buffer_that_is_not_filled(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError, match=r"\(ScatterElements\)"):
        of_buffer(into_a_part, "dynamo", tmp_path)


def test_a_buffer_of_open_size(tmp_path: Path) -> None:
    sizes = {"dynamic_shapes": (({0: torch.export.Dim.AUTO},),)}
    with pytest.raises(
        UnsupportedError, match="it writes into a tensor of open size; collect what a loop gives in a list"
    ):
        of_buffer(into_a_buffer, "decomposed", tmp_path, **sizes)


def test_a_number_that_is_repeated_in_a_buffer(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError, match="it repeats what it writes over another tensor"):
        of_buffer(repeated_into_a_buffer, "decomposed", tmp_path)
