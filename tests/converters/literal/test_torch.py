"""Networks of one timestep as PyTorch has them: exported in each way, and in memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import torch
from step_graphs import program
from torch import Tensor, nn
from torch.nn import functional

import grurt
from grurt.converters import convert, convert_module
from grurt.errors import ConversionError

TOLERANCE = 2e-6


class Attending(nn.Module):
    """A decoder that attends to what an encoder has left, with a mask, and picks its word from a table."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(20, 8)
        self.query, self.key, self.score = nn.Linear(8, 8), nn.Linear(6, 8), nn.Linear(8, 1, bias=False)
        self.cell, self.out = nn.GRUCell(14, 8), nn.Linear(14, 20)

    def forward(self, token: Tensor, h: Tensor, memory: Tensor, mask: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        scores = self.score(torch.tanh(self.query(h).unsqueeze(1) + self.key(memory))).squeeze(-1)
        weights = scores.masked_fill(mask == 0, -1e9).softmax(-1)
        context = (weights.unsqueeze(1) @ memory).squeeze(1)
        h = self.cell(torch.cat([self.words(token)[:, 0], context], -1), h)
        return self.out(torch.cat([h, context], -1)).log_softmax(-1), h, weights


class Remembering(nn.Module):
    """A layer of a transformer over the last eight timesteps, which counts them."""

    def __init__(self) -> None:
        super().__init__()
        self.project, self.out, self.norm = nn.Linear(8, 24), nn.Linear(8, 8), nn.LayerNorm(8)

    def forward(self, x: Tensor, keys: Tensor, values: Tensor, step: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        q, k, v = self.project(self.norm(x)).reshape(1, 1, 3, 2, 4).permute(2, 0, 3, 1, 4)
        keys, values = torch.cat([keys[:, :, 1:], k], 2), torch.cat([values[:, :, 1:], v], 2)
        seen = (torch.arange(7, -1, -1) <= step).reshape(1, 1, 1, 8)
        y = functional.scaled_dot_product_attention(q, keys, values, attn_mask=seen)
        return x + self.out(y.transpose(1, 2).reshape(1, 1, 8)), keys, values, step + 1


class Layers(nn.Module):
    """Recurrent layers of other kinds, one on the other."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm, self.rnn, self.relu = nn.LSTM(6, 8, 2), nn.RNN(8, 5), nn.RNNCell(5, 4, nonlinearity="relu")

    def forward(self, x: Tensor, h: Tensor, c: Tensor, g: Tensor, e: Tensor) -> tuple[Tensor, ...]:
        y, (h, c) = self.lstm(x, (h, c))
        y, g = self.rnn(y, g)
        e = self.relu(y[0], e)
        return e.softmax(-1), h, c, g, e


class OwnCell(nn.Module):
    """A cell that no GRU computes: a memory beside the state, and gates on both joined."""

    def __init__(self) -> None:
        super().__init__()
        self.gates = nn.ModuleDict({name: nn.Linear(8, 5) for name in "uroz"})

    def forward(self, x: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
        joined = torch.cat([x, h], -1)
        u, r, o, z = (torch.sigmoid(self.gates[name](joined)) for name in "uroz")
        c = r * (u * c) + (1 - r) * c
        return (1 - z) * h + z * (o * torch.tanh(c)), c


@dataclass
class Case:
    """A module, what it is called with, and what goes back."""

    module: nn.Module
    inputs: Mapping[str, Tensor]
    outputs: list[str]
    pairs: Mapping[str, str]
    begins: Mapping[str, Tensor] = field(default_factory=dict)


torch.manual_seed(0)
CASES = {
    "attention": Case(
        Attending(),
        {"token": torch.ones(1, 1, dtype=torch.long), "h": torch.zeros(1, 8), "memory": torch.randn(1, 7, 6)}
        | {"mask": (torch.arange(7) < 5).float()[None]},
        ["scores", "h_out", "weights"],
        {"h": "h_out"},
    ),
    "transformer": Case(
        Remembering(),
        {"x": torch.randn(1, 1, 8), "keys": torch.zeros(1, 2, 8, 4), "values": torch.zeros(1, 2, 8, 4)}
        | {"step": torch.zeros(1)},
        ["y", "keys_out", "values_out", "step_out"],
        {"keys": "keys_out", "values": "values_out", "step": "step_out"},
    ),
    "recurrent": Case(
        Layers(),
        {"x": torch.randn(1, 1, 6), "h": torch.zeros(2, 1, 8), "c": torch.zeros(2, 1, 8), "g": torch.zeros(1, 1, 5)}
        | {"e": torch.zeros(1, 4)},
        ["y", "h_out", "c_out", "g_out", "e_out"],
        {"h": "h_out", "c": "c_out", "g": "g_out", "e": "e_out"},
    ),
    "own": Case(
        OwnCell(),
        {"x": torch.randn(1, 3), "h": torch.zeros(1, 5), "c": torch.zeros(1, 5)},
        ["h_out", "c_out"],
        {"h": "h_out", "c": "c_out"},
        {"c": torch.randn(1, 5), "h": torch.randn(1, 5)},
    ),
}


def stepped(case: Case, model: grurt.Model, names: Mapping[str, str]) -> float:
    """Return how far a stream's answers are from the module's, fed with its own states; ``names`` are of outputs."""
    generator = torch.Generator().manual_seed(1)
    states = {name: case.begins.get(name, case.inputs[name]) for name in case.pairs}
    stream, worst = model.stream(), 0.0
    frames = [name for name in case.inputs if name not in case.pairs]
    for _ in range(12):
        xs = {
            name: torch.randint(20, (1, 1), generator=generator)
            if name == "token"
            else case.inputs[name]
            if name == "mask"
            else torch.randn(case.inputs[name].shape, generator=generator)
            for name in frames
        }
        with torch.no_grad():
            results = case.module(*{**case.inputs, **xs, **states}.values())
        answers = dict(zip(case.outputs, results, strict=True))
        states = {name: answers[output] for name, output in case.pairs.items()}
        found = stream.step(*(xs[name].numpy() for name in frames))
        found = found if isinstance(found, dict) else {model.outputs[0].name: found}
        for name, answer in found.items():
            expected = answers[next(output for output in case.outputs if names[output] == name)].numpy()
            error = np.abs(np.asarray(answer).reshape(-1) - expected.reshape(-1)).max() / max(1, np.abs(expected).max())
            worst = max(worst, float(error))
    return worst


def exported(case: Case, way: str, folder: Path) -> tuple[grurt.Model, Mapping[str, str]]:
    """Return a module as it comes out of a file of an exporter, and what its outputs are called there."""
    initial = {name: state.numpy() for name, state in case.begins.items()}
    example = tuple(case.inputs.values())
    names = {"input_names": list(case.inputs), "output_names": case.outputs}
    options = {"dynamo": True, "verbose": False} if way == "dynamo" else {"dynamo": False, "opset_version": 17}
    torch.onnx.export(case.module, example, folder / "step.onnx", **names, **options)
    return convert(folder / "step.onnx", initial=initial), {name: name for name in case.outputs}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("way", ["dynamo", "tracing"])
@pytest.mark.parametrize("name", CASES)
def test_a_module_exported_as_onnx_is_the_module(name: str, way: str, tmp_path: Path) -> None:
    case = CASES[name]
    case.module.eval()
    model, names = exported(case, way, tmp_path)
    assert {state.name for layer in [program(model)] for state in layer.states} == set(case.pairs)
    assert model.verify().max_error < TOLERANCE
    assert stepped(case, model, names) < TOLERANCE


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", CASES)
def test_a_program_of_torch_export_is_the_module(name: str, tmp_path: Path) -> None:
    """Its outputs are called as the operators that write them: what goes back has to be said."""
    case = CASES[name]
    case.module.eval()
    exported_program = torch.export.export(case.module, tuple(case.inputs.values()))
    torch.export.save(exported_program, tmp_path / "step.pt2")
    specs = [spec.arg.name for spec in exported_program.graph_signature.output_specs]
    names = dict(zip(case.outputs, specs, strict=True))
    state = {given: names[output] for given, output in case.pairs.items()}
    initial = {given: begin.numpy() for given, begin in case.begins.items()}
    model = convert(tmp_path / "step.pt2", state=state, initial=initial)
    assert model.reference_run is not None
    assert model.reference_run.produced_by.startswith("torch ")
    assert model.verify().max_error < TOLERANCE
    assert stepped(case, model, names) < TOLERANCE


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_module_in_memory_is_imported_literally() -> None:
    case = CASES["transformer"]
    example = tuple(case.inputs.values())
    state = {"keys": "output_1", "values": "output_2", "step": "output_3"}
    model = convert_module(case.module.eval(), example, state=state)
    assert model.source.notes[1] == "imported literally, as a graph of one timestep"
    names = {output: f"output_{index}" for index, output in enumerate(case.outputs)}
    assert model.verify().max_error < TOLERANCE
    assert stepped(case, model, names) < TOLERANCE


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_module_in_memory_with_an_input_that_is_fixed() -> None:
    case = CASES["attention"]
    example = tuple(case.inputs.values())
    model = convert_module(case.module.eval(), example, state={"h": "output_1"}, bind={"mask": 1})
    assert [port.name for port in model.inputs] == ["token", "memory"]
    assert model.verify().max_error < TOLERANCE
    with pytest.raises(ConversionError, match="bind: the graph has no input 'masks'; it has token, h, memory, mask"):
        convert_module(case.module, example, bind={"masks": 1})
