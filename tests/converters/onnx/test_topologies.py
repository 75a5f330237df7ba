"""Networks of several GRUs, loops and axes, exported by PyTorch just now, and what is refused of them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch_topologies
import torch_variants
from onnx_exports import check, exported
from onnx_graphs import TOLERANCE
from torch_networks import Network

import grurt
from grurt.converters.onnx.convert import network_of_bytes
from grurt.errors import GrurtError

NETWORKS = torch_topologies.NETWORKS | torch_variants.NETWORKS
REFUSED = torch_topologies.REFUSED | torch_variants.REFUSED

FROZEN = {"token_decoder"}
"""Whose second input holds tokens."""

QUICK_DYNAMO = ["loop", "grouped", "context", "dual_path_states", "complex_mask"]


def converted(data: bytes) -> grurt.Model:
    return grurt.Model.from_network(network_of_bytes(data, source=grurt.Source(format="onnx"), reference=True))


def resized(model: grurt.Model, network: Network) -> tuple[torch.Tensor, ...]:
    """Return inputs of other batch and time sizes, a time for each stage of the model."""
    inputs = []
    for port, array in zip(model.signature.inputs, network.inputs, strict=True):
        assert not isinstance(port, grurt.LengthsPort)
        stage = model.values[port.value].stage if isinstance(port, grurt.ValuePort) else 0
        sizes = {"batch": 3, "time": 7 - stage, "batch_position": 3 * port.positions}
        inputs.append(torch.randn([sizes.get(axis, size) for axis, size in zip(port.axes, array.shape, strict=True)]))
    return tuple(inputs)


def check_everything(name: str, *, dynamo: bool, opset: int) -> None:
    network = NETWORKS[name]
    model = converted(exported(network, dynamo=dynamo, opset=opset))
    verification = model.verify()
    assert verification.max_error < TOLERANCE
    assert verification.same_bits
    check(model, network, network.inputs)
    if name not in FROZEN:
        check(model, network, resized(model, network))


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_torchscript_exporter(name: str) -> None:
    check_everything(name, dynamo=False, opset=18)


@pytest.mark.parametrize("name", torch_variants.SMALLEST_OPSETS)
def test_operators_of_earlier_versions(name: str) -> None:
    check_everything(name, dynamo=False, opset=torch_variants.SMALLEST_OPSETS[name])


@pytest.mark.slow
@pytest.mark.parametrize("name", QUICK_DYNAMO)
def test_dynamo_exporter(name: str) -> None:
    check_everything(name, dynamo=True, opset=20)


@pytest.mark.long
@pytest.mark.parametrize("opset", [18, 20, 24])
@pytest.mark.parametrize("name", NETWORKS)
def test_dynamo_exporter_on_everything(name: str, opset: int) -> None:
    check_everything(name, dynamo=True, opset=opset)


@pytest.mark.parametrize("name", REFUSED)
def test_refused_with_the_reason(name: str) -> None:
    network, message = REFUSED[name]
    with pytest.raises(GrurtError, match=message):
        converted(exported(network, dynamo=False, opset=18))


def test_a_loop_is_one_gru_however_long_it_is() -> None:
    model = converted(exported(NETWORKS["loop_with_states"], dynamo=False, opset=18))
    assert [layer.kind for layer in model.layers] == ["gru", "gru"]
    assert model.signature.outputs[1] == grurt.StatePort(
        name=model.signature.outputs[1].name,
        states=("first", "second"),
        dtype="float32",
        axes=("state", "batch", "feature"),
    )


def test_states_of_groups_lie_side_by_side() -> None:
    model = converted(exported(NETWORKS["grouped"], dynamo=False, opset=18))
    (_, given), (_, returned) = model.signature.inputs, model.signature.outputs
    assert isinstance(given, grurt.StatePort)
    assert isinstance(returned, grurt.StatePort)
    assert given.states == returned.states == ("a", "b")
    assert given.groups == returned.groups == 2


def test_dual_paths_stream() -> None:
    model = converted(exported(NETWORKS["dual_path_states"], dynamo=False, opset=18))
    scans = [layer.scan for layer in model.layers if isinstance(layer, grurt.GRU)]
    assert scans == ["positions", "positions", "time"]
    assert model.unstreamable_reason is None
    assert model.signature.inputs[0].axes == ("batch", "feature", "time", "position")
    assert model.signature.inputs[1].axes == ("state", "batch_position", "feature")


def test_a_decoder_is_a_stage_of_its_own() -> None:
    model = converted(exported(NETWORKS["bridge"], dynamo=False, opset=18))
    assert len(model.stages) == 2


class Packed(torch.nn.Module):
    """Padded sequences with their lengths, as PyTorch packs them; they may begin with zeros that are written out."""

    def __init__(self, *, ordered: bool, bidirectional: bool, zeros: bool = False) -> None:
        super().__init__()
        self.zeros = zeros
        self.gru = torch.nn.GRU(4, 8, batch_first=True, bidirectional=bidirectional)
        self.fc = torch.nn.Linear(16 if bidirectional else 8, 3)
        self.ordered = ordered

    def forward(self, x: torch.Tensor, lengths: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        packed = torch.nn.utils.rnn.pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=self.ordered)
        y, h = self.gru(packed, torch.zeros(1, x.size(0), 8) if self.zeros else None)
        y, _ = torch.nn.utils.rnn.pad_packed_sequence(y, batch_first=True)
        return self.fc(y), h


@pytest.mark.slow
def test_packed_sequences_that_begin_with_zeros() -> None:
    """PyTorch sorts the initial states with the sequences; zeros stay what they are."""
    module = Packed(ordered=False, bidirectional=False, zeros=True).eval()
    inputs = (torch.randn(3, 5, 4), torch.tensor([3, 5, 2]))
    network, open_axes = Network(module, inputs, {}), {0: "batch", 1: "time"}
    model = converted(exported(network, dynamo=False, opset=18, open_axes=open_axes))
    assert model.verify().max_error < TOLERANCE
    check(model, network, (torch.randn(4, 9, 4), torch.tensor([9, 6, 6, 1])))


@pytest.mark.slow
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("lengths", [[5, 3, 2], [3, 5, 2]])
def test_packed_sequences(lengths: list[int], bidirectional: bool) -> None:
    """Behind their ends, sequences give what the layers after the GRU make of zeros."""
    ordered = lengths == sorted(lengths, reverse=True)
    module = Packed(ordered=ordered, bidirectional=bidirectional).eval()
    inputs = (torch.randn(3, 5, 4), torch.tensor(lengths))
    model = converted(exported(Network(module, inputs, {}), dynamo=False, opset=18))
    assert model.verify().max_error < TOLERANCE
    assert model.verify().same_bits
    check(model, Network(module, inputs, {}), inputs)
    x, other = torch.randn(4, 9, 4), torch.tensor([9, 6, 6, 1])
    check(model, Network(module, (x, other), {}), (x, other))
    found = model.run({"input_0": x.numpy(), "input_1": other.numpy()})
    assert isinstance(found, dict)
    behind = found[model.signature.outputs[0].name][3, 1:]
    np.testing.assert_array_equal(behind, np.tile(model.weights["fc.bias"], (8, 1)))
