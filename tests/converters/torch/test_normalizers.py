"""Normalizers of inputs, in a state dict or beside it, against what their libraries compute."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import grurt
from grurt.converters import convert
from grurt.errors import ConversionError, DescriptionError

TOLERANCE = 2e-6
SIZE = 6


def statistics(size: int = SIZE) -> tuple[torch.Tensor, torch.Tensor]:
    """Return a mean that is far larger than the deviation, as of positions, and a variance."""
    generator = torch.Generator().manual_seed(3)
    return torch.randn(size, generator=generator) * 50, torch.rand(size, generator=generator) + 0.05


class EmpiricalNormalization(nn.Module):
    """That of rsl_rl."""

    def __init__(self) -> None:
        super().__init__()
        mean, variance = statistics()
        self.register_buffer("_mean", mean[None])
        self.register_buffer("_var", variance[None])
        self.register_buffer("_std", variance.sqrt()[None])
        self.register_buffer("count", torch.tensor(1000))

    def forward(self, x: Any) -> Any:
        return (x - self._mean) / (self._std + 0.01)


class RunningStandardScaler(nn.Module):
    """That of skrl."""

    def __init__(self) -> None:
        super().__init__()
        mean, variance = statistics()
        self.register_buffer("running_mean", mean.double())
        self.register_buffer("running_variance", variance.double())
        self.register_buffer("current_count", torch.ones((), dtype=torch.float64))

    def forward(self, x: Any) -> Any:
        normal = (x - self.running_mean.float()) / (torch.sqrt(self.running_variance.float()) + 1e-8)
        return torch.clamp(normal, -5, 5)


class RunningMeanStd(nn.Module):
    """That of rl_games."""

    def __init__(self) -> None:
        super().__init__()
        mean, variance = statistics()
        self.register_buffer("running_mean", mean.double())
        self.register_buffer("running_var", variance.double())
        self.register_buffer("count", torch.ones((), dtype=torch.float64))

    def forward(self, x: Any) -> Any:
        normal = (x - self.running_mean.float()) / torch.sqrt(self.running_var.float() + 1e-5)
        return torch.clamp(normal, -5.0, 5.0)


class Standard(nn.Module):
    """Hand-written, of statistics of a training set."""

    def __init__(self) -> None:
        super().__init__()
        mean, variance = statistics()
        self.register_buffer("mean", mean)
        self.register_buffer("std", variance.sqrt())

    def forward(self, x: Any) -> Any:
        return (x - self.mean) / self.std


class Policy(nn.Module):
    """A recurrent network behind a normalizer, which is its last module, though it is the first to run."""

    def __init__(self, normalizer: nn.Module) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.rnn, self.head = nn.GRU(SIZE, 8, batch_first=True), nn.Linear(8, 3)
        self.obs = normalizer

    def forward(self, x: Any) -> Any:
        return self.head(self.rnn(self.obs(x))[0])


def save(tmp_path: Path, checkpoint: object) -> Path:
    torch.save(checkpoint, tmp_path / "policy.pt")
    return tmp_path / "policy.pt"


def observations() -> torch.Tensor:
    mean, variance = statistics()
    return mean + torch.randn(2, 9, SIZE, generator=torch.Generator().manual_seed(5)) * 4 * variance.sqrt()


def assert_equal(model: grurt.Model, module: Callable[[torch.Tensor], torch.Tensor]) -> None:
    with torch.no_grad():
        expected = module(observations()).numpy()
    np.testing.assert_allclose(model.run(observations().numpy()), expected, atol=TOLERANCE, rtol=0)


def suggestion(path: Path) -> str:
    with pytest.raises(DescriptionError) as caught:
        convert(path)
    (line,) = [line for line in str(caught.value).splitlines() if "--layers" in line]
    return line.partition('--layers "')[2].removesuffix('"')


@pytest.mark.parametrize(
    ("normalizer", "described"),
    [
        (EmpiricalNormalization, "obs(normalizer, epsilon=0.01)"),
        (RunningStandardScaler, "obs(normalizer, epsilon=1e-8, epsilon_to=deviation):clip(-5,5)"),
    ],
)
def test_suggestions_have_what_known_classes_do(normalizer: Any, described: str, tmp_path: Path) -> None:
    policy = Policy(normalizer())
    path = save(tmp_path, policy.state_dict())
    assert suggestion(path) == f"{described}, rnn, head"
    model = convert(path, suggestion(path))
    assert_equal(model, policy)
    assert model.source.notes == ()
    with pytest.raises(DescriptionError, match="describe their layers, such as " + re.escape(described)):
        convert(path, "rnn, head")
    assert model.reference_run is not None


@pytest.mark.parametrize(
    ("normalizer", "epsilon", "clip"), [(RunningMeanStd, "1e-5", ":clip(-5,5)"), (Standard, "0", "")]
)
def test_suggestions_ask_for_what_no_tensor_shows(normalizer: Any, epsilon: str, clip: str, tmp_path: Path) -> None:
    policy = Policy(normalizer())
    path = save(tmp_path, policy.state_dict())
    text = suggestion(path)
    assert text == "obs(normalizer, epsilon=?), rnn, head"
    with pytest.raises(DescriptionError, match=r"obs: epsilon: expected a number, got '\?'"):
        convert(path, text)
    model = convert(path, text.replace("?)", f"{epsilon}){clip}"))
    assert_equal(model, policy)
    clips = [
        note for note in model.source.notes if note == "obs: taken without a range that it clips to, as :clip(-5,5)"
    ]
    assert bool(clips) == (not clip)


def test_a_normalizer_beside_the_weights(tmp_path: Path) -> None:
    """As pickled by libraries that keep it outside of the network."""
    mean, variance = statistics()
    policy = Policy(RunningMeanStd())
    del policy.obs
    checkpoint = {
        "model": policy.state_dict(),
        "obs_rms": {"mean": mean.double().numpy(), "var": variance.double().numpy(), "count": 7.5},
        "ret_rms": {"mean": np.float64(3), "var": np.float64(2), "count": 7.5},
    }
    path = save(tmp_path, checkpoint)
    with pytest.raises(DescriptionError) as caught:
        convert(path)
    assert "Beside the weights lie obs_rms.mean (6,), obs_rms.var (6,)\n" in str(caught.value)
    assert "If the inputs are normalized with obs_rms, say so: obs_rms(normalizer, epsilon=?)\n" in str(caught.value)
    assert "ret_rms" not in str(caught.value)  # numbers are no statistics of features
    for described in (
        "obs_rms(normalizer, epsilon=1e-8)",
        "obs(normalizer, mean=obs_rms.mean, var=obs_rms.var, epsilon=1e-8)",
    ):
        model = convert(path, f"{described}:clip(-10,10), rnn, head")
        assert_equal(
            model,
            lambda x: policy.head(policy.rnn(torch.clamp((x - mean) / torch.sqrt(variance + 1e-8), -10, 10))[0]),
        )
    assert model.source.notes == (
        "beside the weights, and not used: obs_rms.count, ret_rms.mean, ret_rms.var, ret_rms.count",
    )
    (note,) = convert(path, "rnn, head, ignore(obs_rms)").source.notes[:1]
    assert note == "left out, as the description says: obs_rms"


def test_statistics_of_the_module_itself_and_of_one_number(tmp_path: Path) -> None:
    policy = Policy(Standard())
    weights = {name.removeprefix("obs."): tensor for name, tensor in policy.state_dict().items()}
    assert_equal(convert(save(tmp_path, weights), ".(normalizer, epsilon=0), rnn, head"), policy)
    weights["std"] = torch.tensor(2.0)
    model = convert(save(tmp_path, weights), ".(normalizer, epsilon=0, name=standard), rnn, head")
    assert model.layers[0].name == "standard"
    assert_equal(model, lambda x: policy.head(policy.rnn((x - policy.obs.mean) / 2)[0]))


ARRAYS = {
    "tiny": np.full(3, 1e-40),
    "m": np.zeros(3),
    "s": np.ones(3),
    "v": np.ones(3),
    "low": -np.ones(3),
    "two": np.ones(2),
    "grid": np.ones((3, 3)),
}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("mean=m, std=s", "expected the epsilon of a normalizer, which no tensor shows, got none; say epsilon=0 for"),
        ("mean=m, epsilon=0", "module 'n': expected a mean, and a std or var, got mean"),
        ("std=s, epsilon=0", "module 'n': expected a mean, and a std or var, got std"),
        ("mean=m, std=s, epsilon=0, epsilon_to=variance", "expected epsilon_to=deviation beside a standard deviation"),
        ("mean=m, std=two, epsilon=0", "expected as many means as deviations, one for each feature, got 3 and 2"),
        ("mean=m, var=low, epsilon=0", "expected deviations above zero, got one that is not; is the epsilon right"),
        ("mean=m, std=m, epsilon=0", "expected deviations above zero, got one that is not; is the epsilon right"),
        ("mean=grid, std=s, epsilon=0", r"expected one number for each feature in 'mean', got the shape \(3, 3\)"),
        ("mean=m, std=s, epsilon=nan", "expected deviations above zero, got one that is not"),
        ("mean=m, std=s, epsilon=inf", "expected deviations above zero, got one that is not"),
        ("mean=m, std=tiny, epsilon=0", r"n\.weight.* (finite|infinity)"),
    ],
)
def test_normalizers_that_do_not_fit(options: str, message: str) -> None:
    with pytest.raises(ConversionError, match=message):
        convert({name: array for name, array in ARRAYS.items() if f"={name}" in options}, f"n(normalizer, {options})")


def test_statistics_that_may_be_two_things(tmp_path: Path) -> None:
    """A batch normalization without weights has the same names, and in old files no counter."""
    path = save(tmp_path, {"n.running_mean": torch.zeros(3), "n.running_var": torch.ones(3)})
    with pytest.raises(
        DescriptionError, match=r"may be batch_norm or normalizer; write n\(batch_norm\); write n\(norm"
    ):
        convert(path, "n")
    assert convert(path, "n(batch_norm)").layers[0].kind == "batch_norm"
    assert convert(path, "n(normalizer, epsilon=1e-5)").layers[0].kind == "batch_norm"
