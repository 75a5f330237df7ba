"""Networks of recurrent layers over frequency and over time in turns: DPRNN, of GRUs, and DPCRN, of LSTMs.

Source: Le et al., "DPCRN: Dual-Path Convolution Recurrent Network for Single Channel Speech Enhancement", 2021.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from benchmarks.step_networks.base import StepNetwork
from benchmarks.step_networks.parts import masked


class DPRNN(nn.Module):
    """Bands of a frame ``(1, F)`` as a sequence: a GRU in both directions, then one over time."""

    def __init__(self, bins: int, band: int, channels: int, blocks: int) -> None:
        super().__init__()
        self.n_bands, self.band = bins // band, band
        self.enter = nn.Linear(band, channels)
        self.intra = nn.ModuleList(
            nn.GRU(channels, channels // 2, batch_first=True, bidirectional=True) for _ in range(blocks)
        )
        self.inter = nn.ModuleList(nn.GRU(channels, channels, batch_first=True) for _ in range(blocks))
        self.norms = nn.ModuleList(nn.LayerNorm(channels) for _ in range(2 * blocks))
        self.leave = nn.Linear(channels, band)

    def forward(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        """Return the masked frame, and the state ``(blocks, bands, C)``."""
        y = self.enter(x.reshape(1, self.n_bands, self.band))
        states = []
        for index, (intra, inter) in enumerate(zip(self.intra, self.inter, strict=True)):
            y = y + self.norms[2 * index](intra(y)[0])
            over_time, state = inter(y.transpose(0, 1), h[index : index + 1])
            y = y + self.norms[2 * index + 1](over_time.transpose(0, 1))
            states.append(state)
        mask = torch.sigmoid(self.leave(y)).reshape(x.shape)
        return x * mask, torch.cat(states)


def dprnn(bins: int = 32, band: int = 4, channels: int = 16, blocks: int = 2) -> StepNetwork:
    """Return the network."""
    module = DPRNN(bins, band, channels, blocks)
    states = {"h": (blocks, bins // band, channels)}
    return StepNetwork(module, {"x": (1, bins)}, states, ("y",), ("{}0", "{}n"))


class DPCRN(nn.Module):
    """A convolutional encoder and decoder over frequency, with LSTMs over frequency and over time between them."""

    def __init__(self, channels: int, bins: int) -> None:
        super().__init__()
        kernel = {"kernel_size": (1, 5), "stride": (1, 2), "padding": (0, 2)}
        self.encoder = nn.Sequential(nn.Conv2d(2, channels, **kernel), nn.BatchNorm2d(channels), nn.PReLU(channels))
        self.context = nn.Conv2d(channels, channels, (2, 3), padding=(0, 1))
        self.intra = nn.LSTM(channels, channels // 2, batch_first=True, bidirectional=True)
        self.intra_linear = nn.Linear(channels, channels)
        self.intra_norm = nn.LayerNorm(channels)
        self.inter = nn.LSTM(channels, channels, batch_first=True)
        self.inter_linear = nn.Linear(channels, channels)
        self.inter_norm = nn.LayerNorm(channels)
        self.decoder = nn.ConvTranspose2d(channels, 2, **kernel)

    def forward(self, spectrum: Tensor, last: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return the enhanced frame ``(1, 2, 1, F)``, the frame for the next, and the LSTM's state and cell."""
        encoded = self.encoder(spectrum)
        x = torch.relu(self.context(torch.cat([last, encoded], 2)))
        rows = x[:, :, 0].transpose(1, 2)
        rows = rows + self.intra_norm(self.intra_linear(self.intra(rows)[0]))
        over_time, (h, c) = self.inter(rows.transpose(0, 1), (h, c))
        rows = rows + self.inter_norm(self.inter_linear(over_time)).transpose(0, 1)
        mask = torch.tanh(self.decoder(rows.transpose(1, 2)[:, :, None]))
        return masked(spectrum, mask), encoded, h, c


def dpcrn(channels: int = 8, bins: int = 33) -> StepNetwork:
    """Return the network."""
    half = (bins + 1) // 2
    states = {"last": (1, channels, 1, half), "h": (1, half, channels), "c": (1, half, channels)}
    return StepNetwork(DPCRN(channels, bins), {"spectrum": (1, 2, 1, bins)}, states, ("enhanced",))
