"""RMS normalization from every format: one layer, each answer compared with the framework's own."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from onnx_graphs import HIDDEN, after_gru, node, random
from torch import Tensor, nn

import grurt
from grurt.converters import convert, convert_module
from grurt.errors import DescriptionError, UnsupportedError

TOLERANCE = 2e-6


class Framed(nn.Module):
    """A normalization before a GRU, and one behind it."""

    def __init__(self, before: nn.Module, behind: nn.Module) -> None:
        super().__init__()
        self.before, self.behind = before, behind
        self.gru = nn.GRU(4, 5, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        answer: Tensor = self.behind(self.gru(self.before(x))[0])
        return answer


class SpelledOut(nn.Module):
    """The normalization as programs spell it out that were written before ``nn.RMSNorm``."""

    def __init__(self, size: int, form: str) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.rand(size))
        self.form = form

    def forward(self, x: Tensor) -> Tensor:
        if self.form == "rsqrt":
            return self.weight * (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-5))
        if self.form == "sqrt":
            return x / torch.sqrt((x * x).mean(-1, keepdim=True) + 1e-5) * self.weight
        return x / torch.sqrt((x * x).mean(-1, keepdim=True) + 1e-5)


def networks() -> dict[str, nn.Module]:
    torch.manual_seed(61)
    found = {
        "module": Framed(nn.RMSNorm(4, eps=1e-3), nn.RMSNorm(5)),
        "plain": Framed(nn.RMSNorm(4, elementwise_affine=False), nn.RMSNorm(5, eps=1e-2, elementwise_affine=False)),
        **{form: Framed(SpelledOut(4, form), SpelledOut(5, form)) for form in ("rsqrt", "sqrt", "plain sqrt")},
    }
    for network in found.values():
        for parameter in network.parameters():
            nn.init.uniform_(parameter, 0.3, 1.2)
    return {name: network.eval() for name, network in found.items()}


NETWORKS = networks()
X = torch.from_numpy(np.random.default_rng(62).normal(size=(2, 7, 4)).astype(np.float32)) * 2 + 1


def assert_computes(model: grurt.Model, network: nn.Module) -> None:
    assert [layer.kind for layer in model.layers] == ["rms_norm", "gru", "rms_norm"]
    answers: Any = model.run({model.signature.inputs[0].name: X.numpy()})
    (answer,) = answers.values()
    np.testing.assert_allclose(answer, network(X).detach().numpy(), rtol=0, atol=TOLERANCE)


# The older exporter of PyTorch does not know nn.RMSNorm.
EXPORTS = [(name, True, opset) for name in NETWORKS for opset in (18, 23)]
EXPORTS += [(name, False, opset) for name in ("rsqrt", "sqrt", "plain sqrt") for opset in (17, 20)]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "dynamo", "opset"), EXPORTS)
def test_onnx_as_exporters_write_it(tmp_path: Path, name: str, dynamo: bool, opset: int) -> None:
    axes: dict[str, Any] = {} if dynamo else {"dynamic_axes": {"x": {0: "batch", 1: "time"}}}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            NETWORKS[name], (X,), tmp_path / "model.onnx", dynamo=dynamo, opset_version=opset, input_names=["x"], **axes
        )
    assert_computes(convert(tmp_path / "model.onnx"), NETWORKS[name])


@pytest.mark.parametrize("attributes", [{}, {"epsilon": 1e-3, "axis": -1, "stash_type": 1}])
def test_the_onnx_operator(tmp_path: Path, attributes: dict[str, Any]) -> None:
    nodes = [node("RMSNormalization", ["s", "g"], ["y"], **attributes)]
    graph = after_gru(nodes, {"g": random(HIDDEN, seed=4)}, opset=23)
    path = tmp_path / "model.onnx"
    path.write_bytes(graph.SerializeToString())
    model = convert(path)
    epsilon = np.float32(attributes.get("epsilon", 1e-5))
    assert np.float32(model.layers[-1].epsilon) == epsilon
    assert model.verify().max_error < TOLERANCE


@pytest.mark.parametrize("name", ["module", "plain"])
def test_a_program_of_torch_export(tmp_path: Path, name: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.export.save(torch.export.export(NETWORKS[name], (X,)), tmp_path / "model.pt2")
    assert_computes(convert(tmp_path / "model.pt2"), NETWORKS[name])


@pytest.mark.slow
def test_a_module_in_memory(capfd: pytest.CaptureFixture[str]) -> None:
    network = NETWORKS["module"]
    assert_computes(convert_module(network, X), network)
    assert capfd.readouterr() == ("", "")
    chain = nn.Sequential(nn.RMSNorm(4, eps=0.1), nn.Linear(4, 3), nn.RMSNorm(3))
    model = convert_module(chain, X)
    assert [layer.kind for layer in model.layers] == ["rms_norm", "linear", "rms_norm"]
    np.testing.assert_allclose(model.run(X.numpy()), chain(X).detach().numpy(), rtol=0, atol=TOLERANCE)


def test_a_state_dict(tmp_path: Path) -> None:
    network = NETWORKS["module"]
    torch.save(network.state_dict(), tmp_path / "model.pt")
    layers = "before(rms_norm, epsilon=1e-3), gru, behind(rms_norm)"
    assert_computes(convert(tmp_path / "model.pt", layers=layers), network)


def test_a_vector_of_weights_may_be_several_things(tmp_path: Path) -> None:
    torch.save({"norm.weight": torch.rand(3)}, tmp_path / "model.pt")
    with pytest.raises(DescriptionError, match=r"norm.*weight \(3,\), may be layer_norm or rms_norm or prelu"):
        convert(tmp_path / "model.pt", layers="norm")
    with pytest.raises(
        DescriptionError, match=r"fit, with one of the kinds where .* \"norm\(layer_norm\|rms_norm\|prelu\)"
    ):
        convert(tmp_path / "model.pt")


def test_other_axes_than_the_last_are_refused(tmp_path: Path) -> None:
    proto = after_gru(
        [
            node("Mul", ["s", "s"], ["squares"]),
            node("ReduceMean", ["squares", "first"], ["mean"]),
            node("Add", ["mean", "epsilon"], ["shifted"]),
            node("Sqrt", ["shifted"], ["root"]),
            node("Div", ["s", "root"], ["y"]),
        ],
        {"epsilon": np.array(1e-5, np.float32), "first": np.array([0])},
    )
    path = tmp_path / "model.onnx"
    path.write_bytes(proto.SerializeToString())
    with pytest.raises(UnsupportedError, match=r"it normalizes other axes than the last; only the features can be"):
        convert(path)
