"""Cells that no GRU operator computes."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from benchmarks.step_networks.base import StepNetwork


class ConvGRU(nn.Module):
    """A GRU whose products are convolutions over images ``(1, C, H, W)``."""

    def __init__(self, n_inputs: int, channels: int) -> None:
        super().__init__()
        self.gates = nn.Conv2d(n_inputs + channels, 2 * channels, 3, padding=1)
        self.candidate = nn.Conv2d(n_inputs + channels, channels, 3, padding=1)

    def forward(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        """Return the mean of each channel, and the state."""
        z, r = torch.sigmoid(self.gates(torch.cat([x, h], 1))).chunk(2, 1)
        n = torch.tanh(self.candidate(torch.cat([x, r * h], 1)))
        h = (1 - z) * h + z * n
        return h.mean((2, 3)), h


class MinGRU(nn.Module):
    """``h' = (1 - z) h + z n``, with z and n of the input alone."""

    def __init__(self, n_inputs: int, hidden: int) -> None:
        super().__init__()
        self.gate, self.candidate = nn.Linear(n_inputs, hidden), nn.Linear(n_inputs, hidden)

    def forward(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        """Return the state, twice."""
        z = torch.sigmoid(self.gate(x))
        h = (1 - z) * h + z * self.candidate(x)
        return h, h.clone()


class LiGRU(nn.Module):
    """``n = relu(W x + U h)``, ``h' = z h + (1 - z) n``, with a BatchNorm of what comes in."""

    def __init__(self, n_inputs: int, hidden: int) -> None:
        super().__init__()
        self.w, self.u = nn.Linear(n_inputs, 2 * hidden, bias=False), nn.Linear(hidden, 2 * hidden, bias=False)
        self.norm = nn.BatchNorm1d(2 * hidden)
        self.head = nn.Linear(hidden, 3)

    def forward(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        """Return the answer, and the state."""
        z, n = (self.norm(self.w(x)) + self.u(h)).chunk(2, 1)
        z = torch.sigmoid(z)
        h = z * h + (1 - z) * torch.relu(n)
        return self.head(h), h


class MemoryCell(nn.Module):
    """A memory C beside the state, which scales the update gate; from C = 0 it stays 0."""

    def __init__(self, n_inputs: int, hidden: int) -> None:
        super().__init__()
        self.of_x = nn.ModuleList(nn.Linear(n_inputs, hidden) for _ in range(4))
        self.of_h = nn.ModuleList(nn.Linear(hidden, hidden, bias=False) for _ in range(4))

    def forward(self, x: Tensor, h: Tensor, memory: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the output gate, the state and the memory."""
        u, r, c, z = (torch.sigmoid(w(x) + v(h)) for w, v in zip(self.of_x, self.of_h, strict=True))
        u = u * memory
        memory = r * u + (1 - r) * memory
        o = c * torch.tanh(memory)
        h = (1 - z) * h + z * o
        return o, h, memory


class InputCandidateCell(nn.Module):
    """A candidate without recurrence, and one gate, which forgets; ``bounded``: tanh of all of it."""

    def __init__(self, n_inputs: int, hidden: int, *, bounded: bool) -> None:
        super().__init__()
        self.bounded = bounded
        self.candidate, self.forget = nn.Linear(n_inputs, hidden), nn.Linear(n_inputs, hidden)
        self.recurrent = nn.Linear(hidden, hidden, bias=False)
        self.head = nn.Linear(hidden, 2)

    def forward(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        """Return the answer, and the state."""
        n = torch.tanh(self.candidate(x))
        f = torch.sigmoid(self.forget(x) + self.recurrent(h))
        h = (1 - f) * h + f * n
        h = torch.tanh(h) if self.bounded else h
        return self.head(h), h


class DifferenceGate(nn.Module):
    """``sigmoid(max(c - h, 0))`` of the present input and output."""

    def __init__(self, n_inputs: int, hidden: int) -> None:
        super().__init__()
        self.enter = nn.Linear(n_inputs, hidden)
        self.gru = nn.GRUCell(hidden, hidden)

    def forward(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        """Return the gate, and the state."""
        c = self.enter(x)
        h = self.gru(c, h)
        return torch.sigmoid(torch.clamp(c - h, min=0)), h


class JoinedCell(nn.Module):
    """Gates on the joined vector of state and input; ``update`` says whether z lets the candidate in, or keeps h."""

    def __init__(self, n_inputs: int, hidden: int, *, update: bool) -> None:
        super().__init__()
        self.update = update
        self.z, self.r, self.n = (nn.Linear(hidden + n_inputs, hidden) for _ in range(3))
        self.head = nn.Linear(hidden, 2)

    def forward(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        """Return the answer, and the state."""
        joined = torch.cat([h, x], 1)
        z, r = torch.sigmoid(self.z(joined)), torch.sigmoid(self.r(joined))
        n = torch.tanh(self.n(torch.cat([r * h, x], 1)))
        h = (1 - z) * h + z * n if self.update else (1 - z) * n + z * h
        return self.head(h), h


def conv_gru(n_inputs: int = 2, channels: int = 4, height: int = 5, width: int = 6) -> StepNetwork:
    """Return the network."""
    module = ConvGRU(n_inputs, channels)
    return StepNetwork(module, {"image": (1, n_inputs, height, width)}, {"h": (1, channels, height, width)})


def of_vectors(module: nn.Module, n_inputs: int = 3, hidden: int = 8, memory: float | None = None) -> StepNetwork:
    """Return a cell of a vector and a state, and, if it begins as some number, a memory."""
    if memory is None:
        return StepNetwork(module, {"x": (1, n_inputs)}, {"h": (1, hidden)})
    states = {"h": (1, hidden), "memory": (1, hidden)}
    return StepNetwork(module, {"x": (1, n_inputs)}, states, initial={"memory": memory})
