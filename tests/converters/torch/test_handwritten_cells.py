"""GRU cells as people write them in PyTorch, in single timesteps and in loops; PyTorch is the truth."""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Callable
from itertools import cycle, product
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import grurt
from grurt.converters import convert
from grurt.errors import UnsupportedError

pytestmark = pytest.mark.slow

INPUT, HIDDEN = 3, 4


class Layers(nn.Module):
    """The linear layers that the cells are made of."""

    def __init__(self) -> None:
        super().__init__()
        self.z, self.r, self.n = (nn.Linear(INPUT + HIDDEN, HIDDEN) for _ in range(3))
        self.zr = nn.Linear(INPUT + HIDDEN, 2 * HIDDEN)
        self.x1, self.x2, self.x3 = (nn.Linear(INPUT, count * HIDDEN) for count in (1, 2, 3))
        self.h1, self.h2 = (nn.Linear(HIDDEN, count * HIDDEN) for count in (1, 2))
        self.h3 = nn.Linear(HIDDEN, 3 * HIDDEN, bias=False)


Cell = Callable[[Layers, Tensor, Tensor], Tensor]


def of_the_papers(w: Layers, x: Tensor, h: Tensor) -> Tensor:
    """[h, x], and z in front of the candidate."""
    hx = torch.cat([h, x], 1)
    z, r = torch.sigmoid(w.z(hx)), torch.sigmoid(w.r(hx))
    n = torch.tanh(w.n(torch.cat([r * h, x], 1)))
    return (1 - z) * h + z * n


def input_first(w: Layers, x: Tensor, h: Tensor) -> Tensor:
    """[x, h], and z in front of the state."""
    xh = torch.cat([x, h], 1)
    z, r = torch.sigmoid(w.z(xh)), torch.sigmoid(w.r(xh))
    n = torch.tanh(w.n(torch.cat([x, h * r], 1)))
    return (1 - z) * n + z * h


def chunks_of_a_sigmoid(w: Layers, x: Tensor, h: Tensor) -> Tensor:
    """Both gates from one layer."""
    z, r = torch.sigmoid(w.zr(torch.cat([x, h], 1))).chunk(2, 1)
    n = torch.tanh(w.n(torch.cat([x, r * h], 1)))
    return z * h + (1 - z) * n


def sigmoids_of_slices(w: Layers, x: Tensor, h: Tensor) -> Tensor:
    """Both gates from one layer, cut before the sigmoid."""
    both = w.zr(torch.cat([x, h], 1))
    z, r = torch.sigmoid(both[:, :HIDDEN]), torch.sigmoid(both[:, HIDDEN:])
    n = torch.tanh(w.n(torch.cat([x, r * h], 1)))
    return h + z * (n - h)


def reset_after_the_product(w: Layers, x: Tensor, h: Tensor) -> Tensor:
    """The candidate as cuDNN has it."""
    z, r = torch.sigmoid(w.zr(torch.cat([x, h], 1))).split(HIDDEN, 1)
    return (1 - z) * torch.tanh(w.x1(x) + r * w.h1(h)) + z * h


def slices_of_all_gates(w: Layers, x: Tensor, h: Tensor) -> Tensor:
    """One layer for the input, and one for the state."""
    a, b = w.x3(x), w.h3(h)
    z = torch.sigmoid(a[:, :HIDDEN] + b[:, :HIDDEN])
    r = torch.sigmoid(a[:, HIDDEN : 2 * HIDDEN] + b[:, HIDDEN : 2 * HIDDEN])
    n = torch.tanh(a[:, 2 * HIDDEN :] + r * b[:, 2 * HIDDEN :])
    return (1 - z) * n + z * h


def chunks_of_a_sum(w: Layers, x: Tensor, h: Tensor) -> Tensor:
    """The candidate as the paper has it, from layers of its own."""
    z, r = torch.sigmoid(w.x2(x) + w.h2(h)).chunk(2, 1)
    return (1 - z) * torch.tanh(w.x1(x) + w.h1(r * h)) + z * h


def subtracted(w: Layers, x: Tensor, h: Tensor) -> Tensor:
    """No 1 - z."""
    xh = torch.cat([x, h], 1)
    z, r = torch.sigmoid(w.z(xh)), torch.sigmoid(w.r(xh))
    return h - z * h + z * torch.tanh(w.n(torch.cat([x, h * r], 1)))


def interpolated(w: Layers, x: Tensor, h: Tensor) -> Tensor:
    """torch.lerp."""
    xh = torch.cat([x, h], 1)
    z, r = torch.sigmoid(w.z(xh)), torch.sigmoid(w.r(xh))
    return torch.lerp(h, torch.tanh(w.n(torch.cat([x, h * r], 1))), z)


def gate_of_the_state_alone(w: Layers, x: Tensor, h: Tensor) -> Tensor:
    """A reset gate without an input, and an update gate without a state."""
    z, r = torch.sigmoid(w.x1(x)), torch.sigmoid(w.h1(h))
    return (1 - z) * torch.tanh(w.n(torch.cat([x, r * h], 1))) + z * h


CELLS: list[Cell] = [
    of_the_papers,
    input_first,
    chunks_of_a_sigmoid,
    sigmoids_of_slices,
    reset_after_the_product,
    slices_of_all_gates,
    chunks_of_a_sum,
    subtracted,
    interpolated,
    gate_of_the_state_alone,
]


class Step(nn.Module):
    """One timestep, the state handed in and out."""

    def __init__(self, cell: Cell) -> None:
        super().__init__()
        self.layers = Layers()
        self.head = nn.Linear(HIDDEN, 2)
        self.cell = cell

    def forward(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        h = self.cell(self.layers, x, h)
        return self.head(h), h


class Loop(nn.Module):
    """A loop over the timesteps, which exporters unroll."""

    def __init__(self, cell: Cell, first: str) -> None:
        super().__init__()
        self.step = Step(cell)
        self.first = nn.Parameter(torch.randn(1, HIDDEN)) if first == "learned" else None

    def forward(self, xs: Tensor, h: Tensor | None = None) -> Tensor:
        if h is None:
            h = xs.new_zeros(len(xs), HIDDEN) if self.first is None else self.first.expand(len(xs), HIDDEN)
        ys = []
        for t in range(xs.shape[1]):
            y, h = self.step(xs[:, t], h)
            ys.append(y)
        return torch.stack(ys, 1)


def converted(module: nn.Module, inputs: tuple[Tensor, ...], how: str, folder: Path) -> grurt.Model:
    path = folder / "model.file"
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")  # the exporters warn about themselves
        if how == "pt2":
            torch.export.save(torch.export.export(module, inputs), path)
        else:
            torch.onnx.export(module, inputs, path, dynamo=how == "dynamo", verbose=False)
    return convert(path)


def check(model: grurt.Model, module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
    names = [port.name for port in model.signature.inputs]
    found = model.run({name: array.numpy() for name, array in zip(names, inputs, strict=True)})
    with torch.no_grad():
        answers = module(*inputs)
    for array, expected in zip(found.values(), answers if isinstance(answers, tuple) else (answers,), strict=True):
        np.testing.assert_allclose(array, expected.numpy(), rtol=0, atol=2e-6, strict=True)


@pytest.mark.parametrize(("cell", "how"), list(zip(CELLS, cycle(["torchscript", "dynamo", "pt2"]), strict=False)))
def test_a_timestep(cell: Cell, how: str, tmp_path: Path) -> None:
    module = Step(cell).eval()
    model = converted(module, (torch.randn(2, INPUT), torch.randn(2, HIDDEN)), how, tmp_path)
    assert [layer.kind for layer in model.layers] == ["gru", "linear"]
    check(model, module, (torch.randn(2, INPUT), torch.randn(2, HIDDEN)))
    stream, h = model.stream(), torch.zeros(1, HIDDEN)
    for x in torch.randn(20, 1, INPUT):
        with torch.no_grad():
            y, h = module(x, h)
        np.testing.assert_allclose(stream.step(x[0].numpy()), y[0], rtol=0, atol=2e-6)


EXPORTERS = ["torchscript", "dynamo", "pt2"]
FIRST_STATES = ["zeros", "learned", "given"]
LOOPS = list(product(CELLS, FIRST_STATES, EXPORTERS))


@pytest.mark.parametrize(("cell", "first", "how"), [LOOPS[index] for index in range(0, len(LOOPS), 4)])
def test_a_loop(cell: Cell, first: str, how: str, tmp_path: Path) -> None:
    check_loop(cell, first, how, tmp_path)


@pytest.mark.long
@pytest.mark.parametrize(("cell", "first", "how"), LOOPS)
def test_every_loop(cell: Cell, first: str, how: str, tmp_path: Path) -> None:
    check_loop(cell, first, how, tmp_path)


def check_loop(cell: Cell, first: str, how: str, tmp_path: Path) -> None:
    module = Loop(cell, first).eval()
    inputs = (torch.randn(2, 5, INPUT), *((torch.randn(2, HIDDEN),) if first == "given" else ()))
    model = converted(module, inputs, how, tmp_path)
    assert [layer.kind for layer in model.layers] == ["gru", "linear"]
    check(model, module, inputs)


def of_two_inputs(w: Layers, x: Tensor, h: Tensor) -> Tensor:
    """A candidate that reads something else than the gates."""
    xh = torch.cat([x, h], 1)
    z, r = torch.sigmoid(w.z(xh)), torch.sigmoid(w.r(xh))
    return (1 - z) * torch.tanh(w.n(torch.cat([x * 2, r * h], 1))) + z * h


def with_another_state(w: Layers, x: Tensor, h: Tensor) -> Tensor:
    """A reset gate in front of something else than the state."""
    xh = torch.cat([x, h], 1)
    z, r = torch.sigmoid(w.z(xh)), torch.sigmoid(w.r(xh))
    return (1 - z) * torch.tanh(w.n(torch.cat([x, r * (2 * h)], 1))) + z * h


def with_two_updates(w: Layers, x: Tensor, h: Tensor) -> Tensor:
    """Weights of the old and the new state that do not add up to one."""
    xh = torch.cat([x, h], 1)
    z, r = torch.sigmoid(w.z(xh)), torch.sigmoid(w.r(xh))
    return (1 - z) * torch.tanh(w.n(torch.cat([x, r * h], 1))) + r * h


@pytest.mark.parametrize("cell", [of_two_inputs, with_another_state, with_two_updates], ids=lambda cell: cell.__name__)
def test_what_is_no_gru_is_none(cell: Cell, tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError):
        converted(Step(cell).eval(), (torch.randn(2, INPUT), torch.randn(2, HIDDEN)), "torchscript", tmp_path)
