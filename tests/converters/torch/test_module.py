"""convert_module, against the module itself."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import grurt
from grurt.converters import convert_module
from grurt.errors import ConversionError
from grurt.installing import install_command

TOLERANCE = 2e-6


def randomized(module: nn.Module) -> nn.Module:
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.uniform_(-0.6, 0.6, generator=generator)
    return module


def assert_same(model: grurt.Model, module: nn.Module, *inputs: Tensor) -> None:
    """Compare all outputs, states included, with the module's own for these inputs, in its own shapes."""
    names = [port.name for port in model.signature.inputs]
    found = model.run({name: tensor.numpy() for name, tensor in zip(names, inputs, strict=False)})
    assert isinstance(found, dict)
    training = module.training
    with torch.no_grad():
        result = module.eval()(*inputs)
    module.train(training)
    expected = result if isinstance(result, tuple) else (result,)
    for port, tensor in zip(model.signature.outputs, expected, strict=True):
        assert found[port.name].dtype == tensor.numpy().dtype
        np.testing.assert_allclose(found[port.name], tensor.numpy(), atol=TOLERANCE, rtol=0)


@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"num_layers": 3, "dropout": 0.5},
        {"bidirectional": True, "num_layers": 2},
        {"bias": False},
        {"dtype": torch.float64},
    ],
    ids=lambda options: "-".join(options) or "plain",
)
def test_gru(batch_first: bool, options: dict[str, Any]) -> None:
    gru = randomized(nn.GRU(3, 5, batch_first=batch_first, **options))
    model = convert_module(gru)
    assert model.reference_run is not None
    assert [port.name for port in model.signature.inputs] == ["input", "h_0"]
    assert [port.name for port in model.signature.outputs] == ["output", "h_n"]
    xs = torch.randn(4, 6, 3, dtype=options.get("dtype"))
    count = options.get("num_layers", 1) * (1 + options.get("bidirectional", False))
    states = torch.rand(count, 4 if batch_first else 6, 5, dtype=options.get("dtype")) * 2 - 1
    assert_same(model, gru, xs, states)
    assert_same(model, gru, xs)


CHAINS = {
    "activations": (
        nn.Sequential(
            nn.Linear(3, 6), nn.LeakyReLU(0.3), nn.Linear(6, 6), nn.ELU(0.5), nn.Linear(6, 6), nn.GELU(),
            nn.Linear(6, 6), nn.Sigmoid(), nn.Linear(6, 6), nn.Hardsigmoid(), nn.Linear(6, 6), nn.Tanh(),
            nn.Softsign(), nn.Softplus(),
            nn.Hardtanh(-0.5, 0.7), nn.ReLU6(), nn.ReLU(), nn.Softmax(dim=-1), nn.LogSoftmax(dim=-1),
        ),
        torch.randn(2, 5, 3),
    ),
    "gru at the end": (
        nn.Sequential(nn.Linear(3, 4), nn.Dropout(0.5), nn.LayerNorm(4, eps=0.1), nn.Identity(), nn.GRU(4, 5, 2)),
        torch.randn(6, 2, 3),
    ),
    "a module in two places": (
        nn.Sequential(shared := nn.Linear(3, 3), nn.Tanh(), shared, nn.GRU(3, 5, batch_first=True)),
        torch.randn(2, 6, 3),
    ),
    "nested, batch first": (
        nn.Sequential(nn.Sequential(nn.Linear(3, 4, bias=False), nn.GELU("tanh")), nn.GRU(4, 5, batch_first=True)),
        torch.randn(2, 6, 3),
    ),
    "tokens": (nn.Sequential(nn.Embedding(9, 4), nn.GRU(4, 5, batch_first=True)), torch.randint(9, (2, 6))),
}  # fmt: skip


@pytest.mark.parametrize("name", CHAINS)
def test_chains_need_no_example(name: str) -> None:
    module, xs = CHAINS[name]
    assert_same(convert_module(randomized(module)), module, xs)


class Tagger(nn.Module):
    """A network that is no chain: a residual connection, states in and out, a mode that matters."""

    def __init__(self) -> None:
        super().__init__()
        self.proj = nn.Linear(3, 5)
        self.dropout = nn.Dropout(0.5)
        self.gru = nn.GRU(5, 5, 2, batch_first=True)
        self.fc = nn.Linear(5, 2)

    def forward(self, frames: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        xs = self.dropout(torch.relu(self.proj(frames)))
        ys, state = self.gru(xs, state)
        return torch.sigmoid(self.fc(xs + ys)), state


def test_any_module_through_its_export() -> None:
    module = randomized(Tagger())
    model = convert_module(module, (torch.zeros(2, 7, 3), torch.zeros(2, 2, 5)))
    assert [port.name for port in model.signature.inputs] == ["frames", "state"]
    assert model.reference_run is not None
    assert model.verify().ok
    assert_same(model, module, torch.randn(3, 11, 3), torch.rand(2, 3, 5) * 2 - 1)
    assert model.source.notes[0] == "exported to ONNX by torch.onnx.export"


class LastHidden(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(11, 4)
        self.gru = nn.GRU(4, 5, batch_first=True)
        self.fc = nn.Linear(5, 3)

    def forward(self, tokens: Tensor) -> Tensor:
        return torch.log_softmax(self.fc(self.gru(self.embedding(tokens))[1][-1]), dim=-1)


def test_tokens_through_the_export() -> None:
    module = randomized(LastHidden())
    model = convert_module(module, torch.randint(11, (2, 7)))
    assert_same(model, module, torch.randint(11, (3, 9)))


@pytest.mark.filterwarnings("ignore:.*weight_norm.*deprecated")
@pytest.mark.parametrize("normalize", [nn.utils.weight_norm, nn.utils.parametrizations.weight_norm])
def test_weights_that_are_computed_go_through_the_export(normalize: Any) -> None:
    module = randomized(nn.Sequential(normalize(nn.Linear(3, 4)), nn.GRU(4, 5, batch_first=True)))
    assert_same(convert_module(module, torch.zeros(2, 6, 3)), module, torch.randn(2, 6, 3))


@pytest.mark.parametrize("module", [nn.GRU(3, 4), Tagger()], ids=["direct", "exported"])
def test_the_module_is_left_as_it_was(module: nn.Module) -> None:
    module.train()
    list(module.modules())[-1].eval()
    modes = [part.training for part in module.modules()]
    weights = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    random_state = torch.get_rng_state()
    convert_module(module, None if isinstance(module, nn.GRU) else (torch.zeros(2, 7, 3), torch.zeros(2, 2, 5)))
    assert [part.training for part in module.modules()] == modes
    assert all(torch.equal(tensor, weights[name]) for name, tensor in module.state_dict().items())
    assert all(parameter.grad is None and parameter.requires_grad for parameter in module.parameters())
    assert torch.equal(torch.get_rng_state(), random_state)


def test_model_does_not_follow_the_module() -> None:
    gru = nn.GRU(3, 4)
    model = convert_module(gru, reference=False)
    before = model.fingerprint
    with torch.no_grad():
        gru.weight_ih_l0.zero_()
    del model.__dict__["fingerprint"]
    assert model.fingerprint == before


def test_the_exporter_says_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    convert_module(Tagger(), (torch.zeros(2, 7, 3), torch.zeros(2, 2, 5)), reference=False)
    assert capfd.readouterr() == ("", "")


def test_missing_example() -> None:
    with pytest.raises(
        ConversionError, match=r"expected an example_input for Tagger, .*torch\.zeros\(2, 5, input_size\)"
    ):
        convert_module(Tagger())


def test_example_of_something_else() -> None:
    with pytest.raises(ConversionError, match="expected an example_input of tensors, got something else"):
        convert_module(Tagger(), (torch.zeros(2, 7, 3), None))  # type: ignore[arg-type]


def test_something_else_than_a_module() -> None:
    with pytest.raises(ConversionError, match=r"expected a torch\.nn\.Module, got dict"):
        convert_module({})  # type: ignore[arg-type]


class Branching(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        raise NotImplementedError("no forward here")


def test_module_that_fails() -> None:
    with pytest.raises(
        ConversionError,
        match=r"that runs on the example, got Branching: NotImplementedError: no forward here; check the example",
    ):
        convert_module(Branching(), torch.zeros(2, 3))


@pytest.mark.slow
def test_module_that_cannot_be_exported() -> None:
    class Custom(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            return x.sort()[0]

    class Unexportable(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.special.bessel_j0(x)

    with pytest.raises(ConversionError, match="expected a module that torch can export, got Unexportable"):
        convert_module(Unexportable(), torch.zeros(2, 3, 4))


def test_without_torch_the_message_says_how_to_install_it() -> None:
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "from grurt.converters import convert_module\n"
        "try: convert_module(None)\n"
        "except Exception as error: print(type(error).__name__, error)"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert found == (
        f"ConversionError convert_module: expected torch to be installed, got none; run: {install_command('torch')}\n"
    )
