"""Loops over GRUCell that PyTorch's exporters write out timestep by timestep; PyTorch is the truth."""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Callable
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import grurt
from grurt.converters import convert
from grurt.errors import UnsupportedError

pytestmark = pytest.mark.slow

INPUT, HIDDEN, STEPS = 3, 4, 5
X, H = (2, STEPS, INPUT), (2, HIDDEN)


class Loop(nn.Module):
    """Cells and layers, and what is made of them."""

    def __init__(self, forward: Callable[..., Any]) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.a, self.b = nn.GRUCell(INPUT, HIDDEN), nn.GRUCell(HIDDEN, HIDDEN)
        self.wide = nn.GRUCell(INPUT + 2, HIDDEN)
        self.before, self.head = nn.Linear(INPUT, INPUT), nn.Linear(HIDDEN, 2)
        self.norm, self.table = nn.LayerNorm(HIDDEN), nn.Embedding(7, INPUT)
        self._forward = forward

    def forward(self, *inputs: Tensor) -> Any:
        return self._forward(self, *inputs)


def two_layers(n: Any, x: Tensor, h: Tensor, k: Tensor) -> Any:
    ys = []
    for t in range(STEPS):
        h = n.a(torch.relu(n.before(x[:, t])), h)
        k = n.b(n.norm(h), k)
        ys.append(n.head(h + k))
    return torch.stack(ys, 1), h, k


def one_layer_behind_the_other(n: Any, x: Tensor) -> Tensor:
    h = k = x.new_zeros(len(x), HIDDEN)
    lower, upper = [], []
    for t in range(STEPS):
        h = n.a(x[:, t], h)
        lower.append(h)
    for y in lower:
        k = n.b(y, k)
        upper.append(k)
    return torch.stack(upper, 1)


def both_directions(n: Any, x: Tensor) -> Tensor:
    h = k = torch.zeros(2, HIDDEN)
    forward, backward = [], []
    for t in range(STEPS):
        h = n.a(x[:, t], h)
        forward.append(h)
    for t in reversed(range(STEPS)):
        k = n.a(x[:, t], k)
        backward.insert(0, k)
    return torch.cat([torch.stack(forward, 1), torch.stack(backward, 1)], -1)


def with_a_context(n: Any, x: Tensor, c: Tensor, h: Tensor) -> Tensor:
    ys = []
    for t in range(STEPS):
        h = n.wide(torch.cat([x[:, t], c], 1), h)
        ys.append(h)
    return torch.stack(ys, 1)


def with_an_offset(n: Any, x: Tensor, c: Tensor, h: Tensor) -> Tensor:
    ys, c = [], torch.tanh(n.before(c))
    for x_t in x.unbind(1):
        h = n.a(x_t + c, h)
        ys.append(h.unsqueeze(1))
    return torch.cat(ys, 1)


def channels_first(n: Any, x: Tensor, h: Tensor) -> Tensor:
    ys = []
    for t in range(STEPS):
        h = n.a(x[:, :, t], h)
        ys.append(h)
    return torch.stack(ys, -1)


def of_tokens(n: Any, tokens: Tensor) -> Tensor:
    h, ys = torch.zeros(2, HIDDEN), []
    for t in range(STEPS):
        h = n.a(n.table(tokens[:, t]), h)
        ys.append(n.head(h).log_softmax(-1))
    return torch.stack(ys, 1)


def of_one_sequence(n: Any, x: Tensor, h: Tensor) -> Any:
    ys = []
    for x_t in x:
        h = n.a(x_t, h)
        ys.append(h)
    return torch.stack(ys), h


def feeding_back(n: Any, x: Tensor, h: Tensor) -> Tensor:
    ys, y = [], torch.zeros(2, 2)
    for t in range(STEPS):
        h = n.wide(torch.cat([x[:, t], y], 1), h)
        y = n.head(h)
        ys.append(y)
    return torch.stack(ys, 1)


def normalizing(n: Any, x: Tensor, h: Tensor) -> Tensor:
    for t in range(STEPS):
        h = n.norm(n.a(x[:, t], h))
    return h


def skipping(n: Any, x: Tensor, h: Tensor) -> Tensor:
    for t in range(0, STEPS, 2):
        h = n.a(x[:, t], h)
    return h


LOOPS: list[tuple[Callable[..., Any], tuple[Any, ...], list[str]]] = [
    (two_layers, (X, H, H), ["linear", "activation", "gru", "layer_norm", "gru", "add", "linear"]),
    (one_layer_behind_the_other, (X,), ["gru", "gru"]),
    (both_directions, (X,), ["gru", "gru", "concat"]),
    (with_a_context, (X, (2, 2), H), ["last_step", "concat", "gru"]),
    (with_an_offset, (X, (2, INPUT), H), ["linear", "activation", "last_step", "add", "gru"]),
    (channels_first, ((2, INPUT, STEPS), H), ["gru"]),
    (of_tokens, (torch.randint(0, 7, (2, STEPS)),), ["embedding", "gru", "linear", "activation"]),
    (of_one_sequence, ((STEPS, INPUT), (HIDDEN,)), ["gru"]),
]
REFUSED = [
    (feeding_back, "it reads, at a timestep, what was computed of its output at the timestep before"),
    (normalizing, "its state is that of the timestep before, changed by other operators"),
    (skipping, "its state is not that of the timestep before"),
]
EXPORTERS = ["torchscript", "dynamo", "pt2", "decomposed"]


def inputs_of(shapes: tuple[Any, ...]) -> tuple[Tensor, ...]:
    return tuple(shape if isinstance(shape, Tensor) else torch.randn(shape) for shape in shapes)


def converted(module: nn.Module, inputs: tuple[Tensor, ...], how: str, path: Path) -> grurt.Model:
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")  # the exporters warn about themselves
        if how in ("pt2", "decomposed"):
            program = torch.export.export(module, inputs)
            torch.export.save(program.run_decompositions({}) if how == "decomposed" else program, path)
        else:
            torch.onnx.export(module, inputs, path, dynamo=how == "dynamo", verbose=False)
    return convert(path)


@pytest.mark.parametrize(("loop", "how"), list(zip(LOOPS, cycle(EXPORTERS), strict=False)))
def test_a_loop_is_a_gru(loop: Any, how: str, tmp_path: Path) -> None:
    check(*loop, how, tmp_path)


@pytest.mark.long
@pytest.mark.parametrize("how", EXPORTERS)
@pytest.mark.parametrize("loop", LOOPS)
def test_every_loop_is_a_gru(loop: Any, how: str, tmp_path: Path) -> None:
    check(*loop, how, tmp_path)


def check(forward: Callable[..., Any], shapes: tuple[Any, ...], layers: list[str], how: str, tmp_path: Path) -> None:
    module, inputs = Loop(forward).eval(), inputs_of(shapes)
    model = converted(module, inputs, how, tmp_path / "model.file")
    assert sorted(layer.kind for layer in model.layers) == sorted(layers)
    assert model.source.notes[-1] == "the file computes 5 timesteps one by one, and the model as many as a sequence has"
    found = model.run({port.name: x.numpy() for port, x in zip(model.signature.inputs, inputs, strict=True)})
    with torch.no_grad():
        answers = module(*inputs)
    for array, expected in zip(found.values(), answers if isinstance(answers, tuple) else (answers,), strict=True):
        np.testing.assert_allclose(array, expected.numpy(), rtol=0, atol=2e-6, strict=True)


def test_the_model_takes_sequences_of_any_length(tmp_path: Path) -> None:
    module = Loop(two_layers).eval()
    model = converted(module, inputs_of((X, H, H)), "torchscript", tmp_path / "model.onnx")
    x, h, k = inputs_of(((1, 2 * STEPS, INPUT), (1, HIDDEN), (1, HIDDEN)))
    names = [port.name for port in model.signature.inputs]
    found = list(model.run(dict(zip(names, (x.numpy(), h.numpy(), k.numpy()), strict=True))).values())
    with torch.no_grad():
        first, h, k = module(x[:, :STEPS], h, k)
        second, h, k = module(x[:, STEPS:], h, k)
    np.testing.assert_allclose(found[0], torch.cat([first, second], 1).numpy(), rtol=0, atol=2e-6)
    np.testing.assert_allclose(found[1], h.numpy(), rtol=0, atol=2e-6)


@pytest.mark.parametrize(("refused", "how"), list(zip(REFUSED, EXPORTERS, strict=False)))
def test_what_is_no_gru(refused: Any, how: str, tmp_path: Path) -> None:
    forward, message = refused
    with pytest.raises(UnsupportedError, match=message):
        converted(Loop(forward).eval(), inputs_of((X, H)), how, tmp_path / "model.file")
