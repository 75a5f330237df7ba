"""What a step network is: a module of one timestep, with its frames and its states, and how it is exported."""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

Shape = tuple[int, ...]
Arrays = dict[str, NDArray[np.generic]]


@dataclass(frozen=True)
class StepNetwork:
    """One timestep of a network: static shapes, states in and states out.

    Parameters
    ----------
    module
        Takes frames, then states; returns outputs, then what the states become. Its BatchNorms get statistics.
    frames
        Shapes of the inputs that are no states, by name.
    states
        Shapes of the states, by name.
    outputs
        Names of the outputs that are no states.
    naming
        How a state is called as an input, and as an output.
    tokens
        How many different ones there are, for each frame that is a token.
    conditions
        Frames that are 0 or 1.
    initial
        What each number of a state begins as, where that is not 0.
    """

    module: nn.Module
    frames: Mapping[str, Shape]
    states: Mapping[str, Shape]
    outputs: tuple[str, ...] = ("y",)
    naming: tuple[str, str] = ("{}_in", "{}_out")
    tokens: Mapping[str, int] = field(default_factory=dict)
    conditions: tuple[str, ...] = ()
    initial: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        torch.manual_seed(0)
        for module in self.module.eval().modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.running_mean = torch.randn(module.num_features) * 0.1
                module.running_var = torch.rand(module.num_features) + 0.5

    @property
    def pairs(self) -> dict[str, str]:
        """The outputs that go back, by the inputs that they go back into."""
        given, becomes = self.naming
        return {given.format(name): becomes.format(name) for name in self.states}

    @property
    def input_names(self) -> list[str]:
        """The names of all inputs, in order."""
        return [*self.frames, *self.pairs]

    @property
    def output_names(self) -> list[str]:
        """The names of all outputs, in order."""
        return [*self.outputs, *self.pairs.values()]

    def initial_states(self) -> Arrays:
        """Return what the states begin as, by the names of inputs."""
        return {
            given: np.full(shape, self.initial.get(name, 0.0), np.float32)
            for given, (name, shape) in zip(self.pairs, self.states.items(), strict=True)
        }

    def random_frames(self, random: np.random.Generator) -> Arrays:
        """Return inputs of one timestep that are no states, by name."""
        return {name: self._random(name, shape, random) for name, shape in self.frames.items()}

    def _random(self, name: str, shape: Shape, random: np.random.Generator) -> NDArray[np.generic]:
        if name in self.tokens:
            return random.integers(0, self.tokens[name], shape)
        if name in self.conditions:
            return (random.random(shape) < 0.1).astype(np.float32)
        return random.standard_normal(shape, np.float32)

    def example(self) -> tuple[Tensor, ...]:
        """Return inputs to export with."""
        arrays = self.random_frames(np.random.default_rng(0)) | self.initial_states()
        return tuple(torch.from_numpy(array) for array in arrays.values())


def onnx_of(network: StepNetwork, *, dynamo: bool = False, opset: int = 18) -> bytes:
    """Return what one of PyTorch's two exporters makes of a network."""
    buffer = io.BytesIO()
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")  # the exporters warn about themselves
        torch.onnx.export(
            network.module,
            network.example(),
            buffer,
            input_names=network.input_names,
            output_names=network.output_names,
            opset_version=opset,
            dynamo=dynamo,
            **({"external_data": False, "verbose": False} if dynamo else {}),
        )
    return buffer.getvalue()


def pt2_of(network: StepNetwork) -> bytes:
    """Return the program of ``torch.export``, which names inputs as the arguments of ``forward``."""
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.export.save(torch.export.export(network.module, network.example()), buffer)
    return buffer.getvalue()
