"""A speech enhancer as GTCRN: grouped temporal convolutions, attention of a GRU over time, dual-path grouped GRUs.

Source: Rong et al., "GTCRN: A Speech Enhancement Model Requiring Ultralow Computational Resources", 2024.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from benchmarks.step_networks.base import StepNetwork
from benchmarks.step_networks.parts import Bands, CachedConv2d, DualPathGRU, masked

DILATIONS = (1, 2, 5)


class Neighbours(nn.Module):
    """Each frequency beside its neighbours, as channels."""

    def __init__(self) -> None:
        super().__init__()
        self.unfold = nn.Unfold(kernel_size=(1, 3), padding=(0, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Return ``(1, 3 C, 1, F)``."""
        return self.unfold(x).reshape(x.shape[0], 3 * x.shape[1], x.shape[2], x.shape[3])


class TimeAttention(nn.Module):
    """A factor for each channel, by a GRU over its energy."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gru = nn.GRU(channels, 2 * channels, batch_first=True)
        self.linear = nn.Linear(2 * channels, channels)

    def forward(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Return the answer, and the state ``(1, 1, 2 C)``."""
        energy = x.pow(2).mean(-1)
        y, state = self.gru(energy.transpose(1, 2), state)
        return x * torch.sigmoid(self.linear(y)).transpose(1, 2)[..., None], state


class ConvBlock(nn.Module):
    """A convolution over frequency, a BatchNorm and an activation."""

    def __init__(self, conv: nn.Module, activation: nn.Module) -> None:
        super().__init__()
        self.conv = conv
        self.norm = nn.BatchNorm2d(conv.out_channels)
        self.activation = activation

    def forward(self, x: Tensor) -> Tensor:
        """Return the answer."""
        return self.activation(self.norm(self.conv(x)))


class TemporalBlock(nn.Module):
    """Half of the channels through a dilated depthwise convolution over time and frequency, then shuffled."""

    def __init__(self, channels: int, dilation: int) -> None:
        super().__init__()
        half = channels // 2
        self.neighbours = Neighbours()
        self.expand = ConvBlock(nn.Conv2d(3 * half, channels, 1), nn.PReLU())
        depthwise = nn.Conv2d(channels, channels, 3, padding=(0, 1), dilation=(dilation, 1), groups=channels)
        self.depthwise = CachedConv2d(depthwise)
        self.norm = nn.BatchNorm2d(channels)
        self.activation = nn.PReLU()
        self.project = ConvBlock(nn.Conv2d(channels, half, 1), nn.Identity())
        self.attention = TimeAttention(half)

    def forward(self, x: Tensor, cache: Tensor, state: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the answer, and the cache and the state for the next frame."""
        left, right = x.chunk(2, 1)
        y, cache = self.depthwise(self.expand(self.neighbours(left)), cache)
        y, state = self.attention(self.project(self.activation(self.norm(y))), state)
        shuffled = torch.stack([y, right], 2).reshape(x.shape)
        return shuffled, cache, state


class GTCRN(nn.Module):
    """The network, for one frame of a spectrum ``(1, F, 1, 2)``."""

    def __init__(self, channels: int, low: int, high: int, bands: int) -> None:
        super().__init__()
        self.bands = Bands(low, high, bands)
        self.neighbours = Neighbours()
        stride = {"kernel_size": (1, 5), "stride": (1, 2), "padding": (0, 2)}
        self.down = nn.ModuleList(
            ConvBlock(conv, nn.PReLU())
            for conv in (nn.Conv2d(9, channels, **stride), nn.Conv2d(channels, channels, groups=2, **stride))
        )
        self.encoder = nn.ModuleList(TemporalBlock(channels, dilation) for dilation in DILATIONS)
        self.dual_paths = nn.ModuleList(DualPathGRU(channels, narrow(low + bands)) for _ in range(2))
        self.decoder = nn.ModuleList(TemporalBlock(channels, dilation) for dilation in DILATIONS[::-1])
        self.up = nn.ModuleList(
            (
                ConvBlock(nn.ConvTranspose2d(channels, channels, groups=2, **stride), nn.PReLU()),
                ConvBlock(nn.ConvTranspose2d(channels, 2, **stride), nn.Tanh()),
            )
        )

    def forward(
        self, mix: Tensor, conv_cache: Tensor, tra_cache: Tensor, inter_cache: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return the enhanced frame, and the caches: of encoder and decoder, side by side in time."""
        spectrum = mix.permute(0, 3, 2, 1)
        size = torch.sqrt(spectrum[:, :1] ** 2 + spectrum[:, 1:] ** 2 + 1e-12)
        x = self.neighbours(self.bands(torch.cat([size, spectrum], 1)))
        skips = [x := block(x) for block in self.down]
        x, caches, states = self._temporal(self.encoder, x, conv_cache[0], tra_cache[0], skips)
        inters = []
        for index, dual_path in enumerate(self.dual_paths):
            x, state = dual_path(x, inter_cache[index])
            inters.append(state)
        for index, block in enumerate(self.decoder):
            x, cache, state = block(
                x + skips.pop(), self._part(conv_cache[1], index, DILATIONS[::-1]), tra_cache[1, index]
            )
            caches.append(cache)
            states.append(state)
        for block in self.up:
            x = block(x + skips.pop())
        y = masked(spectrum, self.bands.back(x)).permute(0, 3, 2, 1)
        n = len(DILATIONS)
        new_conv = torch.stack([torch.cat(caches[:n], 2), torch.cat(caches[n:], 2)])
        new_tra = torch.stack([torch.stack(states[:n]), torch.stack(states[n:])])
        return y, new_conv, new_tra, torch.stack(inters)

    def _temporal(
        self, blocks: nn.ModuleList, x: Tensor, cache: Tensor, state: Tensor, skips: list[Tensor]
    ) -> tuple[Tensor, list[Tensor], list[Tensor]]:
        caches, states = [], []
        for index, block in enumerate(blocks):
            x, new_cache, new_state = block(x, self._part(cache, index, DILATIONS), state[index])
            caches.append(new_cache)
            states.append(new_state)
            skips.append(x)
        return x, caches, states

    def _part(self, cache: Tensor, index: int, dilations: tuple[int, ...]) -> Tensor:
        start = 2 * sum(dilations[:index])
        return cache[:, :, start : start + 2 * dilations[index]]


def narrow(bins: int) -> int:
    """Return how many frequencies two strides of 2 leave."""
    return ((bins + 1) // 2 + 1) // 2


def gtcrn(channels: int = 8, low: int = 9, high: int = 24, bands: int = 8) -> StepNetwork:
    """Return the network: of the published size with 16 channels, and 65, 192 and 64 frequencies."""
    bins = narrow(low + bands)
    return StepNetwork(
        GTCRN(channels, low, high, bands),
        {"mix": (1, low + high, 1, 2)},
        {
            "conv_cache": (2, 1, channels, 2 * sum(DILATIONS), bins),
            "tra_cache": (2, len(DILATIONS), 1, 1, channels),
            "inter_cache": (2, 1, bins, channels),
        },
        ("enh",),
        ("{}", "{}_out"),
    )
