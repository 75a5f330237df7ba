"""Networks that detect events: convolutions with BatchNorm and MaxPool before a GRU, and dilated ones with caches.

Sources: Arik et al., "Convolutional Recurrent Neural Networks for Small-Footprint Keyword Spotting", 2017; Bai et al.,
"An Empirical Evaluation of Generic Convolutional and Recurrent Networks for Sequence Modeling", 2018.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from benchmarks.step_networks.base import StepNetwork
from benchmarks.step_networks.parts import CachedConv1d


class Detector(nn.Module):
    """Convolutions over the last frames and frequency, pooled over frequency, then a GRU."""

    def __init__(self, bins: int, frames: int, channels: int, hidden: int, events: int) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, channels, (frames, 3), padding=(0, 1)),
            nn.BatchNorm2d(channels),
            nn.ReLU(),
            nn.MaxPool2d((1, 2)),
            nn.Conv2d(channels, channels, (1, 3), padding=(0, 1)),
            nn.BatchNorm2d(channels),
            nn.ReLU(),
            nn.MaxPool2d((1, 3), stride=(1, 2), padding=(0, 1)),
        )
        self.gru = nn.GRU(channels * ((bins // 2 + 1) // 2), hidden, batch_first=True)
        self.head = nn.Linear(hidden, events)

    def forward(self, frame: Tensor, frames: Tensor, h: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return probabilities, the last frames ``(1, frames - 1, F)``, and the state ``(1, 1, hidden)``."""
        frames = torch.cat([frames, frame], 1)
        y, h = self.gru(self.features(frames[:, None]).flatten(1)[:, None], h)
        return torch.sigmoid(self.head(y[:, 0])), frames[:, 1:], h


def detector(bins: int = 20, frames: int = 4, channels: int = 6, hidden: int = 16, events: int = 3) -> StepNetwork:
    """Return the network."""
    return StepNetwork(
        Detector(bins, frames, channels, hidden, events),
        {"frame": (1, 1, bins)},
        {"frames": (1, frames - 1, bins), "h": (1, 1, hidden)},
        ("probabilities",),
        ("past_{}", "present_{}"),
    )


class TCN(nn.Module):
    """Blocks of a dilated convolution, a normalization, and a layer, each added to what came in."""

    def __init__(self, n_inputs: int, channels: int, blocks: int, n_outputs: int) -> None:
        super().__init__()
        self.enter = nn.Conv1d(n_inputs, channels, 1)
        self.convs = nn.ModuleList(
            CachedConv1d(channels, 3, 2**index, is_depthwise=index % 2 == 0) for index in range(blocks)
        )
        self.norms = nn.ModuleList(nn.GroupNorm(1, channels) for _ in range(blocks))
        self.points = nn.ModuleList(nn.Conv1d(channels, channels, 1) for _ in range(blocks))
        self.leave = nn.Conv1d(channels, n_outputs, 1)

    def forward(self, x: Tensor, *caches: Tensor) -> tuple[Tensor, ...]:
        """Return the answer ``(1, outputs, 1)``, and the cache of each block."""
        x, new = self.enter(x), []
        for conv, norm, point, cache in zip(self.convs, self.norms, self.points, caches, strict=True):
            y, cache = conv(x, cache)
            x = x + point(nn.functional.gelu(norm(y)))
            new.append(cache)
        return self.leave(x), *new


def tcn(n_inputs: int = 5, channels: int = 12, blocks: int = 4, n_outputs: int = 3) -> StepNetwork:
    """Return the network."""
    module = TCN(n_inputs, channels, blocks, n_outputs)
    states = {f"cache{i}": (1, channels, conv.past) for i, conv in enumerate(module.convs)}
    return StepNetwork(module, {"x": (1, n_inputs, 1)}, states)
