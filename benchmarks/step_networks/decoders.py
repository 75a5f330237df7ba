"""Decoders with attention over a memory, which an encoder left: one token, or one vector, at a time.

Sources: Bahdanau et al., "Neural Machine Translation by Jointly Learning to Align and Translate", 2015; Luong et al.,
"Effective Approaches to Attention-based Neural Machine Translation", 2015.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from benchmarks.step_networks.base import StepNetwork


class BahdanauDecoder(nn.Module):
    """A token, and what the last state attends to, through a GRU."""

    def __init__(self, vocabulary: int, size: int, hidden: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, size)
        self.query, self.key = nn.Linear(hidden, hidden), nn.Linear(hidden, hidden)
        self.score = nn.Linear(hidden, 1)
        self.gru = nn.GRU(size + hidden, hidden, batch_first=True)
        self.head = nn.Linear(hidden, vocabulary)

    def forward(self, token: Tensor, memory: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the logits, the weights of the memory's places, and the state ``(1, 1, hidden)``."""
        query = hidden.permute(1, 0, 2)
        scores = self.score(torch.tanh(self.query(query) + self.key(memory))).squeeze(2).unsqueeze(1)
        weights = torch.softmax(scores, -1)
        context = torch.bmm(weights, memory)
        y, hidden = self.gru(torch.cat([self.embedding(token), context], 2), hidden)
        return self.head(y), weights, hidden


def bahdanau_decoder(places: int = 7, vocabulary: int = 20, size: int = 8, hidden: int = 16) -> StepNetwork:
    """Return the network."""
    return StepNetwork(
        BahdanauDecoder(vocabulary, size, hidden),
        {"token": (1, 1), "memory": (1, places, hidden)},
        {"hidden": (1, 1, hidden)},
        ("logits", "weights"),
        tokens={"token": vocabulary},
    )


class LuongDecoder(nn.Module):
    """A vector through a GRU, what its answer attends to by a product, and both together once more."""

    def __init__(self, n_inputs: int, hidden: int, n_outputs: int) -> None:
        super().__init__()
        self.gru = nn.GRU(n_inputs + hidden, hidden, batch_first=True)
        self.general = nn.Linear(hidden, hidden, bias=False)
        self.join = nn.Linear(2 * hidden, hidden)
        self.head = nn.Linear(hidden, n_outputs)

    def forward(self, x: Tensor, memory: Tensor, h: Tensor, attended: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the answer, the state ``(1, 1, hidden)``, and what was attended, which the next timestep is fed."""
        y, h = self.gru(torch.cat([x, attended], 2), h)
        scores = torch.bmm(y, self.general(memory).transpose(1, 2))
        context = torch.bmm(torch.softmax(scores, -1), memory)
        attended = torch.tanh(self.join(torch.cat([context, y], 2)))
        return self.head(attended), h, attended


def luong_decoder(places: int = 7, n_inputs: int = 6, hidden: int = 16, n_outputs: int = 5) -> StepNetwork:
    """Return the network."""
    return StepNetwork(
        LuongDecoder(n_inputs, hidden, n_outputs),
        {"x": (1, 1, n_inputs), "memory": (1, places, hidden)},
        {"h": (1, 1, hidden), "attended": (1, 1, hidden)},
        naming=("{}", "next_{}"),
    )
