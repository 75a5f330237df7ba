"""Networks exported by PyTorch just now, by both exporters, with frozen and with open sizes."""

from __future__ import annotations

import pytest
import torch
import torch_networks
from onnx_exports import check, exported
from onnx_graphs import TOLERANCE
from torch_networks import NETWORKS, Network

import grurt
from grurt.converters.onnx.convert import network_of_bytes

OPEN = sorted(name for name, network in NETWORKS.items() if network.open_axes)


def resized(model: grurt.Model, network: Network) -> tuple[torch.Tensor, ...]:
    sizes = {"batch": 3, "time": 7}
    return tuple(
        torch.randn([sizes.get(axis, size) for axis, size in zip(port.axes, array.shape, strict=True)])
        for port, array in zip(model.signature.inputs, network.inputs, strict=True)
    )


def check_everything(data: bytes, network: Network) -> None:
    model = grurt.Model.from_network(network_of_bytes(data, source=grurt.Source(format="onnx"), reference=True))
    assert model.verify().max_error < TOLERANCE
    assert model.verify().same_bits
    check(model, network, network.inputs)
    check(model, network, resized(model, network))


@pytest.mark.slow
@pytest.mark.parametrize("opset", [17, 20])
@pytest.mark.parametrize("name", NETWORKS)
def test_torchscript_exporter(name: str, opset: int) -> None:
    check_everything(exported(NETWORKS[name], dynamo=False, opset=opset), NETWORKS[name])


@pytest.mark.slow
@pytest.mark.parametrize("opset", [7, 9, 11, 13])
@pytest.mark.parametrize("name", ["softmax", "convolution", "states_of_a_list", "cells", "layer_norms"])
def test_old_versions_of_the_operators(name: str, opset: int) -> None:
    """onnxruntime does not run all of them: compared with PyTorch alone."""
    network = NETWORKS[name]
    data = exported(network, dynamo=False, opset=opset)
    model = grurt.Model.from_network(network_of_bytes(data, source=grurt.Source(format="onnx")))
    check(model, network, network.inputs)
    check(model, network, resized(model, network))


@pytest.mark.slow
@pytest.mark.parametrize("name", OPEN)
def test_torchscript_exporter_with_open_sizes(name: str) -> None:
    network = NETWORKS[name]
    check_everything(exported(network, dynamo=False, opset=18, open_axes=network.open_axes), network)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["softmax", "all_sizes_equal"])
def test_dynamo_exporter(name: str) -> None:
    check_everything(exported(NETWORKS[name], dynamo=True, opset=20), NETWORKS[name])


@pytest.mark.long
@pytest.mark.parametrize("opset", [18, 20])
@pytest.mark.parametrize("name", NETWORKS)
def test_dynamo_exporter_on_everything(name: str, opset: int) -> None:
    check_everything(exported(NETWORKS[name], dynamo=True, opset=opset), NETWORKS[name])


def test_double_precision_is_converted_and_noted() -> None:
    single = NETWORKS["softmax"]
    network = Network(
        torch_networks.Net(
            lambda net, x: net.fc(net.gru(x)[0]), gru=torch_networks.gru(), fc=torch.nn.Linear(8, 3)
        ).double(),
        tuple(array.double() for array in single.inputs),
        {},
    )
    data = exported(network, dynamo=False, opset=17)
    model = grurt.Model.from_network(network_of_bytes(data, source=grurt.Source(format="onnx")))
    assert model.source.notes == ("weights of float64 were converted to float32",)
    check(model, network, network.inputs)
