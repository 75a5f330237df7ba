"""Policies of robots, as rsl_rl exports them: observations normalized, a memory, layers; with a mask that resets.

Source: Schwarke et al., "RSL-RL: A Learning Library for Robotics Research", 2025.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from benchmarks.step_networks.base import StepNetwork


class Normalizer(nn.Module):
    """Observations less their mean, divided by their spread, within bounds."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.randn(1, size))
        self.register_buffer("spread", torch.rand(1, size) + 0.5)

    def forward(self, x: Tensor) -> Tensor:
        """Return the answer."""
        return torch.clamp((x - self.mean) / (self.spread + 1e-2), -5.0, 5.0)


def actor(hidden: int, actions: int) -> nn.Sequential:
    """Return the layers behind the memory."""
    return nn.Sequential(nn.Linear(hidden, hidden), nn.ELU(), nn.Linear(hidden, actions))


class GRUPolicy(nn.Module):
    """A policy with a GRU; where ``done`` is 1, an episode begins, and the state is 0."""

    def __init__(self, observations: int, hidden: int, actions: int) -> None:
        super().__init__()
        self.normalizer = Normalizer(observations)
        self.rnn = nn.GRU(observations, hidden)
        self.actor = actor(hidden, actions)

    def forward(self, obs: Tensor, done: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        """Return the actions, and the state ``(1, 1, hidden)``."""
        y, h = self.rnn(self.normalizer(obs)[None], h * (1 - done))
        return self.actor(y[0]), h


class LSTMPolicy(nn.Module):
    """A policy with an LSTM."""

    def __init__(self, observations: int, hidden: int, actions: int) -> None:
        super().__init__()
        self.normalizer = Normalizer(observations)
        self.rnn = nn.LSTM(observations, hidden)
        self.actor = actor(hidden, actions)

    def forward(self, obs: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the actions, and the states ``(1, 1, hidden)``."""
        y, (h, c) = self.rnn(self.normalizer(obs)[None], (h, c))
        return self.actor(y[0]), h, c


def gru_policy(observations: int = 12, hidden: int = 16, actions: int = 4) -> StepNetwork:
    """Return the network."""
    return StepNetwork(
        GRUPolicy(observations, hidden, actions),
        {"obs": (1, observations), "done": (1, 1)},
        {"h": (1, 1, hidden)},
        ("actions",),
        conditions=("done",),
    )


def lstm_policy(observations: int = 12, hidden: int = 16, actions: int = 4) -> StepNetwork:
    """Return the network."""
    states = {"h": (1, 1, hidden), "c": (1, 1, hidden)}
    return StepNetwork(LSTMPolicy(observations, hidden, actions), {"obs": (1, observations)}, states, ("actions",))
