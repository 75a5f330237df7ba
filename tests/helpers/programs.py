"""Programs of torch.export: exported just now, and compared with what torch gives."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch_networks import Net, Network

import grurt

TOLERANCE = 2e-6

torch.manual_seed(3)
X = torch.randn(2, 5, 4)
"""A batch of sequences."""


def exported(network: Network, path: Path, *, decompose: bool = False, **options: Any) -> None:
    """Export a network to a file."""
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # the exporter warns about itself
        program = torch.export.export(network.module, network.inputs, **options)
        torch.export.save(program.run_decompositions() if decompose else program, path)


def check(model: grurt.Model, network: Network, inputs: tuple[Tensor, ...]) -> None:
    """Compare a model's answers with the network's."""
    with torch.no_grad():
        answers = network.module(*inputs)
    found = model.run({port.name: array.numpy() for port, array in zip(model.signature.inputs, inputs, strict=True)})
    for array, expected in zip(found.values(), answers if isinstance(answers, tuple) else (answers,), strict=True):
        np.testing.assert_allclose(array, expected.numpy(), rtol=0, atol=TOLERANCE, strict=True)


def resized(model: grurt.Model, network: Network, **sizes: int) -> tuple[Tensor, ...]:
    """Return inputs with other sizes of these axes than those that the network was exported with."""
    return tuple(
        torch.randn([sizes.get(axis, size) for axis, size in zip(port.axes, array.shape, strict=True)])
        for port, array in zip(model.signature.inputs, network.inputs, strict=True)
    )


def network_of(forward: Callable[..., Any], *inputs: Tensor, **modules: nn.Module) -> Network:
    """Return a network of modules, and the function that computes with them."""
    return Network(Net(forward, **modules).eval(), inputs, {})
