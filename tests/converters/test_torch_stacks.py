"""Inputs put on top of each other and into one vector, before anything has told which axis holds their features."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path

import onnx_exports
import programs
import pytest
import torch
from programs import network_of
from torch import Tensor, nn

import grurt
from grurt.converters import convert
from grurt.converters.onnx.convert import network_of_bytes

FEATURES = 3

LAYOUTS: dict[str, tuple[tuple[int, ...], bool]] = {
    "batch first": ((2, 5, FEATURES), True),
    "time first": ((5, 2, FEATURES), False),
    "one sequence": ((1, 5, FEATURES), True),
    "one timestep": ((2, 1, FEATURES), True),
    "one timestep of one": ((1, 1, FEATURES), True),
}

STACKS: dict[str, tuple[Callable[[Tensor, Tensor], Tensor], int]] = {
    "interleaved": (lambda x, y: torch.stack([x, y], -1).flatten(2), 2 * FEATURES),
    "side by side": (lambda x, y: torch.stack([x, y], 2).flatten(2), 2 * FEATURES),
    "concatenated along a new axis": (
        lambda x, y: torch.cat([x.unsqueeze(-1), y.unsqueeze(-1), x.unsqueeze(-1)], -1).flatten(2),
        3 * FEATURES,
    ),
    "summed": (lambda x, y: torch.stack([x, y], -1).sum(-1), FEATURES),
    "mean of an outer axis": (lambda x, y: torch.stack([x, y.tanh()]).mean(0), FEATURES),
    "repeated": (lambda x, y: (x + y).repeat_interleave(2, -1), 2 * FEATURES),
}


@pytest.mark.slow
@pytest.mark.parametrize("source", ["program", "torchscript"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_stacks_of_inputs(layout: str, source: str, tmp_path: Path) -> None:
    shape, batch_first = LAYOUTS[layout]
    for stacked, size in STACKS.values():
        gru = nn.GRU(size, 8, batch_first=batch_first)
        network = network_of(
            lambda net, x, y, stacked=stacked: net.gru(stacked(x, y))[0],
            torch.randn(shape),
            torch.randn(shape),
            gru=gru,
        )
        if source == "program":
            programs.exported(network, tmp_path / "program.pt2")
            model = convert(tmp_path / "program.pt2", reference=False)
        else:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # the exporter warns about itself
                content = onnx_exports.exported(network, dynamo=False, opset=18)
            found = network_of_bytes(content, source=grurt.Source(format="onnx"), reference=False)
            model = grurt.Model.from_network(found)
        programs.check(model, network, network.inputs)
