"""Programs of torch.export: networks exported just now, against what torch gives."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import checkpoints
import numpy as np
import pytest
import torch
from checkpoints import DATA, entries, zipped
from programs import TOLERANCE, X, check, exported, network_of, resized
from torch import Tensor, nn
from torch.nn import functional
from torch_networks import NETWORKS, Network
from torch_topologies import NETWORKS as TOPOLOGIES
from torch_topologies import REFUSED as REFUSED_TOPOLOGIES

from grurt.converters import convert
from grurt.errors import UnsupportedError

AUTO = torch.export.Dim.AUTO


QUICK = (
    "softmax",
    "prelu",
    "dropout",
    "one_step_with_state",
    "unbatched_with_states",
    "time_first_last",
    "last_state_too",
)
QUICK += ("linear_of_states", "steps_as_rows", "bidirectional_states", "states_of_a_list", "states_apart", "batch_norm")
QUICK += (
    "learned_state",
    "skip",
    "layer_norms",
    "convolution",
    "univariate",
    "two_inputs",
    "two_outputs",
    "cells_stacked",
)
QUICK += ("loop", "hand_made_cell", "grouped", "bridge_of_directions", "token_decoder", "context", "dual_path_states")
QUICK += ("causal_convolutions", "modules_used_twice", "several_heads", "attention", "generator", "product_over_time")


def some_quick(names: Iterable[str]) -> list[Any]:
    """Return the names as parameters, of which all but some are left to long runs."""
    return [name if name in QUICK else pytest.param(name, marks=pytest.mark.long) for name in names]


@pytest.mark.slow
@pytest.mark.parametrize("name", some_quick(NETWORKS))
def test_networks_of_every_kind(name: str, tmp_path: Path) -> None:
    network = NETWORKS[name]
    exported(network, tmp_path / "program.pt2")
    model = convert(tmp_path / "program.pt2")
    assert model.reference_run is not None, model.source.notes
    assert model.verify().max_error < TOLERANCE
    check(model, network, network.inputs)
    check(model, network, resized(model, network, batch=3, time=7))


@pytest.mark.slow
@pytest.mark.parametrize("name", some_quick(TOPOLOGIES))
def test_networks_of_several_grus(name: str, tmp_path: Path) -> None:
    network = TOPOLOGIES[name]
    exported(network, tmp_path / "program.pt2")
    model = convert(tmp_path / "program.pt2")
    assert model.reference_run is not None, model.source.notes
    check(model, network, network.inputs)


@pytest.mark.slow
@pytest.mark.parametrize("name", some_quick(REFUSED_TOPOLOGIES))
def test_networks_that_no_stream_computes(name: str, tmp_path: Path) -> None:
    exported(REFUSED_TOPOLOGIES[name][0], tmp_path / "program.pt2")
    with pytest.raises(
        UnsupportedError, match=rf"the operator is not supported|grurt has no layer|{REFUSED_TOPOLOGIES[name][1]}"
    ):
        convert(tmp_path / "program.pt2", reference=False)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["softmax", "convolution", "several_heads"])
def test_strict_exports(name: str, tmp_path: Path) -> None:
    network = (NETWORKS | TOPOLOGIES)[name]
    exported(network, tmp_path / "program.pt2", strict=True)
    check(convert(tmp_path / "program.pt2", reference=False), network, network.inputs)


DECOMPOSED = ("softmax", "dropout", "states_flattened", "bidirectional_states", "bidirectional_last_states")
DECOMPOSED += ("layer_norms", "batch_norm", "convolution", "cells", "cells_stacked")
DECOMPOSED += ("loop", "grouped", "context", "token_decoder")


@pytest.mark.slow
@pytest.mark.parametrize("name", some_quick(DECOMPOSED))
def test_decomposed_programs(name: str, tmp_path: Path) -> None:
    """Whose GRUs are copies of a cell for each timestep, and become GRUs again, for sequences of any length."""
    network = (NETWORKS | TOPOLOGIES)[name]
    exported(network, tmp_path / "program.pt2", decompose=True)
    model = convert(tmp_path / "program.pt2", reference=False)
    check(model, network, network.inputs)
    if name in NETWORKS and model.signature.inputs[0].axes[0] == "batch":
        check(model, network, resized(model, network, batch=3, time=7))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["softmax", "two_outputs", "layer_norms", "learned_state"])
def test_open_sizes(name: str, tmp_path: Path) -> None:
    network = NETWORKS[name]
    axes: Any = {0: AUTO, 1: AUTO}
    exported(network, tmp_path / "program.pt2", dynamic_shapes={"inputs": (axes,)})
    model = convert(tmp_path / "program.pt2")
    check(model, network, resized(model, network, batch=3, time=7))


class Tied(nn.Module):
    """Tokens in and out through one table, a constant, a lifted tensor and an unused layer."""

    def __init__(self) -> None:
        super().__init__()
        self.emb, self.gru, self.out = nn.Embedding(9, 8), nn.GRU(8, 8, batch_first=True), nn.Linear(8, 9, bias=False)
        self.out.weight, self.unused = self.emb.weight, nn.Linear(3, 3)
        self.offset = torch.linspace(-1, 1, 9)
        self.register_buffer("scale", torch.tensor(1.7))

    def forward(self, tokens: Tensor) -> Tensor:
        y = self.gru(self.emb(tokens))[0]
        return (self.out(y) + self.offset) * self.scale - torch.tensor([0.5] * 9)


@pytest.mark.slow
def test_tied_parameters_constants_and_buffers(tmp_path: Path) -> None:
    network = Network(Tied().eval(), (torch.randint(9, (2, 5)),), {})
    exported(network, tmp_path / "program.pt2")
    model = convert(tmp_path / "program.pt2")
    check(model, network, network.inputs)
    assert model.source.notes == ("not read by the program, and left out: unused.weight, unused.bias",)


MORE = {
    "silu": lambda net, x: functional.hardswish(functional.silu(net.gru(x)[0])),
    "clamps": lambda net, x: functional.relu6(net.gru(x)[0].clamp(min=-0.2) * 8).clamp(max=3.0),
    "shapes": lambda net, x: net.gru(x)[0].flatten(0, 1).unflatten(0, (2, 5)).reshape(2, 5, 8),
    "parts": lambda net, x: torch.stack(net.gru(x)[0].chunk(1, 0)).squeeze(0),
    "sums": lambda net, x: 1.0 - (net.gru(x)[0] / 2.0).neg(),
    "converted": lambda net, x: net.gru(x.to(torch.float32).contiguous())[0].clone(),
    "stacked_states": lambda net, x: torch.cat(net.gru(x, torch.full((1, 2, 8), 0.25))[1].unbind(0), 1),
    "same_twice": lambda net, x: (lambda y: (y, y))(net.gru(x)[0]),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", MORE)
def test_more_operators(name: str, tmp_path: Path) -> None:
    network = network_of(MORE[name], X, gru=nn.GRU(4, 8, batch_first=True))
    exported(network, tmp_path / "program.pt2")
    check(convert(tmp_path / "program.pt2", reference=False), network, network.inputs)


@pytest.mark.slow
def test_weight_normalization_of_a_gru(tmp_path: Path) -> None:
    gru = nn.GRU(4, 8, batch_first=True)
    nn.utils.parametrizations.weight_norm(gru, "weight_hh_l0")
    network = network_of(lambda net, x: net.gru(x)[0], X, gru=gru)
    exported(network, tmp_path / "program.pt2")
    check(convert(tmp_path / "program.pt2", reference=False), network, network.inputs)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_other_dtypes(dtype: torch.dtype, tmp_path: Path) -> None:
    network = network_of(lambda net, x: net.fc(net.gru(x)[0]), X, gru=nn.GRU(4, 8), fc=nn.Linear(8, 3))
    network = Network(network.module.to(dtype), (X.to(dtype),), {})
    exported(network, tmp_path / "program.pt2")
    model = convert(tmp_path / "program.pt2", reference=False)
    given = (network.inputs[0].float() if dtype is torch.bfloat16 else network.inputs[0]).numpy()
    found = model.run({model.signature.inputs[0].name: given})
    expected = network.module.float()(network.inputs[0].float()).detach().numpy()
    (array,) = found.values()
    assert array.dtype == given.dtype
    np.testing.assert_allclose(array, expected, rtol=0, atol=2e-6 if dtype is torch.float64 else 2e-3)


def test_the_stored_program() -> None:
    model = convert(DATA / "export.pt2", reference=False)
    arrays = checkpoints.stored("io.npz")
    found = model.run({model.signature.inputs[0].name: arrays["x"]})
    np.testing.assert_allclose(next(iter(found.values())), arrays["y"], atol=TOLERANCE, rtol=0)


def old_layout(path: Path) -> bytes:
    """Return a program in the layout of torch 2.1 to 2.7: the same JSON, and checkpoints of ``torch.save``."""
    files = {name.partition("/")[2]: data for name, data in entries(path).items()}
    weights = io.BytesIO()
    torch.save(torch.export.load(path).state_dict, weights)
    return zipped(
        {
            "serialized_exported_program.json": files["models/model.json"],
            "serialized_state_dict.pt": weights.getvalue(),
            "serialized_constants.pt": b"",
            "version": b"7.3",
        }
    )


@pytest.mark.slow
def test_the_old_layout(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        (tmp_path / "old.pt2").write_bytes(old_layout(DATA / "export.pt2"))
    model, same = (convert(path, reference=False) for path in (tmp_path / "old.pt2", DATA / "export.pt2"))
    assert model.fingerprint == same.fingerprint
