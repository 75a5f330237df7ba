"""What PyTorch answers for a random network, in float64: whole sequences, and the source's own loop."""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from generated.writer import Program

Arrays = dict[str, Tensor]
Array = np.ndarray[Any, Any]

TOLERANCE = 2e-6


@dataclass(frozen=True)
class Answer:
    """An answer in float64, and how far from it PyTorch's own float32 is."""

    exact: Array
    rounding: float
    dtype: np.dtype[Any]

    def difference(self, found: Array) -> float:
        """Return the largest difference in units of what is allowed; infinite if the shapes or dtypes differ."""
        if found.shape != self.exact.shape or found.dtype != self.dtype:
            return float("inf")
        scale = max(1.0, float(np.abs(self.exact).max(initial=0.0)))
        allowed = max(TOLERANCE * scale, 4 * self.rounding)
        with np.errstate(invalid="ignore"):
            return float(np.abs(found - self.exact).max(initial=0.0)) / allowed


class Source(ABC):
    """A program that has become a network of its framework, and what that answers."""

    program: Program

    @abstractmethod
    def answers(self, inputs: Arrays) -> list[Answer]:
        """Return what the network gives."""

    def inputs(self, batch: int, time: int, seed: object) -> Arrays:
        torch.manual_seed(number_of(f"{self.program.seed} {seed}"))
        sizes = {"torch": torch, "batch": batch, "time": time}
        return {each.name: eval(each.text, sizes) for each in self.program.inputs}

    @property
    def takes_sequences(self) -> bool:
        return any(each.time_axis is not None for each in self.program.inputs)

    def slice_of(self, inputs: Arrays, start: int, end: int) -> Arrays:
        """Return the inputs at some timesteps."""
        axes = {each.name: each.time_axis for each in self.program.inputs}
        return {
            name: tensor if (axis := axes[name]) is None else tensor.narrow(axis, start, end - start)
            for name, tensor in inputs.items()
        }

    def loop(self, inputs: list[Arrays]) -> Iterator[list[Answer]]:
        """Yield the answers to one input after the other, as the source's loop feeds its states back."""
        state: Mapping[str, Tensor] = {}
        for given in inputs:
            answers = self.answers({**given, **state})
            yield answers
            state = {
                name: torch.from_numpy(answers[place].exact).to(given[name].dtype)
                for name, place in self.program.fed_back.items()
            }


@dataclass(frozen=True)
class TorchSource(Source):
    """A module of PyTorch."""

    program: Program

    @cached_property
    def module(self) -> nn.Module:
        return made(self.program)

    def answers(self, inputs: Arrays) -> list[Answer]:
        single = called(self.module, inputs)
        default = torch.get_default_dtype()
        torch.set_default_dtype(torch.float64)  # of tensors that the module makes itself
        try:
            wide = called(self.module.double(), widened(inputs))
        finally:
            torch.set_default_dtype(default)
            self.module.float()
        return answers_of(single, wide)


def number_of(seed: str) -> int:
    """Return a number for a seed that is a text."""
    return random.Random(seed).getrandbits(32)


def widened(inputs: Arrays) -> Arrays:
    return {name: tensor.double() if tensor.is_floating_point() else tensor for name, tensor in inputs.items()}


def answers_of(single: list[Tensor], wide: list[Tensor]) -> list[Answer]:
    """Return the answers of float64, and what those of float32 are beside them."""
    return [
        Answer(exact.double().numpy(), _distance(narrow, exact), narrow.numpy().dtype)
        for narrow, exact in zip(single, wide, strict=True)
    ]


def made(program: Program) -> nn.Module:
    """Return the module of a program, with random weights far from zero."""
    names: dict[str, Any] = {"torch": torch, "nn": nn, "F": functional}
    exec(program.source, names)
    torch.manual_seed(random.Random(program.seed).getrandbits(32))
    module: nn.Module = names["Network"]().eval()
    for parameter in module.parameters():
        nn.init.uniform_(parameter, -0.6, 0.6)
    for name, buffer in module.named_buffers():
        if name.endswith("running_mean"):
            nn.init.uniform_(buffer, -0.5, 0.5)
        if name.endswith("running_var"):
            nn.init.uniform_(buffer, 0.5, 2.0)
    return module


def called(module: nn.Module, inputs: Arrays) -> list[Tensor]:
    with torch.no_grad():
        answers = module(*inputs.values())
    return list(answers) if isinstance(answers, tuple) else [answers]


def _distance(narrow: Tensor, wide: Tensor) -> float:
    return float((narrow.double() - wide.double()).abs().max()) if narrow.numel() else 0.0
