"""A speech enhancer as UL-UNAS: a U-Net of inverted bottlenecks, with attention of GRUs over time and over frequency.

Source: Rong et al., "UL-UNAS: Ultra-Lightweight U-Nets for Real-Time Speech Enhancement via Network Architecture
Search", 2025.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

from benchmarks.step_networks.base import StepNetwork
from benchmarks.step_networks.gtcrn import TimeAttention
from benchmarks.step_networks.parts import Bands, CachedConv2d, DualPathGRU


class AffinePReLU(nn.Module):
    """A PReLU, and a scale and shift of its own for each channel and frequency, beside the input."""

    def __init__(self, channels: int, bins: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(1 + 0.1 * torch.randn(1, channels, 1, bins))
        self.shift = nn.Parameter(0.1 * torch.randn(1, channels, 1, bins))
        self.prelu = nn.PReLU(channels)

    def forward(self, x: Tensor) -> Tensor:
        """Return the answer."""
        return self.scale * x + self.shift + self.prelu(x)


class FrequencyAttention(nn.Module):
    """A factor for each frequency, by a GRU over groups of them, in both directions."""

    def __init__(self, bins: int, group: int = 4) -> None:
        super().__init__()
        self.group = group
        self.missing = -bins % group
        self.gru = nn.GRU(group, group, batch_first=True, bidirectional=True)
        self.linear = nn.Linear(2 * group, group)

    def forward(self, x: Tensor) -> Tensor:
        """Return the answer."""
        bins = x.shape[-1]
        energy = nn.functional.pad(x.pow(2).mean(1), (0, self.missing))
        y, _ = self.gru(energy.reshape(1, (bins + self.missing) // self.group, self.group))
        factors = torch.sigmoid(self.linear(y)).reshape(1, 1, 1, bins + self.missing)
        return x * factors[..., :bins]


class Block(nn.Module):
    """An inverted bottleneck whose depthwise convolution sees frames before, and both attentions.

    With ``up``, the convolution is transposed, and of this frame alone.
    """

    def __init__(self, n_inputs: int, n_outputs: int, bins: int, stride: int, *, up: bool = False) -> None:
        super().__init__()
        self.expand = nn.Sequential(nn.Conv2d(n_inputs, n_outputs, 1), nn.BatchNorm2d(n_outputs), nn.PReLU(n_outputs))
        shape = {"stride": (1, stride), "groups": n_outputs}
        if up:
            self.depthwise: nn.Module = nn.ConvTranspose2d(n_outputs, n_outputs, (1, 3), padding=(0, 1), **shape)
        else:
            self.depthwise = CachedConv2d(nn.Conv2d(n_outputs, n_outputs, (3, 3), padding=(0, 1), **shape))
        self.norm = nn.BatchNorm2d(n_outputs)
        self.activation = AffinePReLU(n_outputs, bins)
        self.project = nn.Sequential(nn.Conv2d(n_outputs, n_outputs, 1), nn.BatchNorm2d(n_outputs))
        self.time = TimeAttention(n_outputs)
        self.frequency = FrequencyAttention(bins)

    def forward(self, x: Tensor, cache: Tensor | None, state: Tensor) -> tuple[Tensor, Tensor | None, Tensor]:
        """Return the answer, and the cache and the state for the next frame."""
        y = self.expand(x)
        if cache is None:
            y = self.depthwise(y)
        else:
            y, cache = self.depthwise(y, cache)
        y, state = self.time(self.project(self.activation(self.norm(y))), state)
        return self.frequency(y), cache, state


class ULUNAS(nn.Module):
    """The network, for one frame of a spectrum ``(1, F, 1, 2)``: states of each block by themselves."""

    def __init__(self, channels: tuple[int, ...], low: int, high: int, bands: int) -> None:
        super().__init__()
        self.bands = Bands(low, high, bands)
        self.sizes = widths(low + bands, len(channels))
        strides = [2 if index < 2 else 1 for index in range(len(channels))]
        self.encoder = nn.ModuleList(
            Block(before, after, bins, stride)
            for (before, after), bins, stride in zip(pairwise((1, *channels)), self.sizes[1:], strides, strict=True)
        )
        self.dual_paths = nn.ModuleList(DualPathGRU(channels[-1], self.sizes[-1]) for _ in range(2))
        self.decoder = nn.ModuleList(
            Block(before, after, bins, stride, up=True)
            for (before, after), bins, stride in zip(
                pairwise((*channels[::-1], 2)), self.sizes[-2::-1], strides[::-1], strict=True
            )
        )

    def forward(self, spectrum: Tensor, *states: Tensor) -> tuple[Tensor, ...]:
        """Return the enhanced frame, and the states: caches, states of attentions, states over time."""
        n = len(self.encoder)
        caches, attentions, inters = states[:n], states[n : 3 * n], states[3 * n :]
        power = spectrum.pow(2).sum(-1).permute(0, 2, 1)[:, None]
        x = self.bands(torch.log10(power + 1e-6))
        skips, new_caches, new_attentions, new_inters = [], [], [], []
        for index, block in enumerate(self.encoder):
            x, cache, state = block(x, caches[index], attentions[index])
            new_caches.append(cache)
            new_attentions.append(state)
            skips.append(x)
        for index, dual_path in enumerate(self.dual_paths):
            x, state = dual_path(x, inters[index])
            new_inters.append(state)
        for index, block in enumerate(self.decoder):
            x, _, state = block(x + skips.pop(), None, attentions[n + index])
            new_attentions.append(state)
        mask = torch.sigmoid(self.bands.back(x)[:, :1])
        y = spectrum * mask[:, 0].permute(0, 2, 1)[..., None]
        return y, *new_caches, *new_attentions, *new_inters


def widths(bins: int, blocks: int) -> list[int]:
    """Return how many frequencies come into each block, and out of the last: the first two halve them."""
    sizes = [bins]
    for index in range(blocks):
        sizes.append((sizes[-1] + 1) // 2 if index < 2 else sizes[-1])
    return sizes


def ulunas(channels: tuple[int, ...] = (4, 6, 6, 8, 8), low: int = 9, high: int = 24, bands: int = 8) -> StepNetwork:
    """Return the network: near the published size with 12, 24, 24, 32, 16 channels, and 65, 192, 64 frequencies."""
    sizes = widths(low + bands, len(channels))
    outputs = (*channels, *channels[-2::-1], 2)
    states = {f"cache_{i}": (1, n, 2, sizes[i]) for i, n in enumerate(channels)}
    states |= {f"attention_{i}": (1, 1, 2 * n) for i, n in enumerate(outputs)}
    states |= {f"inter_{i}": (1, sizes[-1], channels[-1]) for i in range(2)}
    return StepNetwork(ULUNAS(channels, low, high, bands), {"spectrum": (1, low + high, 1, 2)}, states, ("enhanced",))
