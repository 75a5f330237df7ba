"""A speech enhancer as DeepFilterNet: gains of bands, and a short complex filter in time at each low frequency.

Source: Schröter et al., "DeepFilterNet: Perceptually Motivated Real-Time Speech Enhancement", 2023.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from benchmarks.step_networks.base import StepNetwork
from benchmarks.step_networks.parts import CachedConv2d

TAPS = 5
"""Of the filter in time."""


class GroupedLinear(nn.Module):
    """Groups of features, each through a matrix of its own."""

    def __init__(self, n_inputs: int, n_outputs: int, groups: int) -> None:
        super().__init__()
        self.groups = groups
        self.weight = nn.Parameter(torch.randn(groups, n_inputs // groups, n_outputs // groups) * n_inputs**-0.5)

    def forward(self, x: Tensor) -> Tensor:
        """Return the answer to ``(1, 1, features)``."""
        split = x.unflatten(-1, (self.groups, -1))
        return torch.einsum("btgi,gih->btgh", split, self.weight).flatten(2)


class SqueezedGRU(nn.Module):
    """A grouped layer, GRUs, and a grouped layer."""

    def __init__(self, n_inputs: int, n_hidden: int, n_outputs: int, layers: int, groups: int) -> None:
        super().__init__()
        self.enter = GroupedLinear(n_inputs, n_hidden, groups)
        self.gru = nn.GRU(n_hidden, n_hidden, layers, batch_first=True)
        self.leave = GroupedLinear(n_hidden, n_outputs, groups)

    def forward(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        """Return the answer, and the state."""
        y, h = self.gru(torch.relu(self.enter(x)), h)
        return torch.relu(self.leave(y)), h


def separable(channels: int, stride: int = 1) -> nn.Sequential:
    """Return a convolution over frequency, taken apart."""
    depthwise = nn.Conv2d(channels, channels, (1, 3), (1, stride), (0, 1), groups=channels, bias=False)
    return nn.Sequential(depthwise, nn.Conv2d(channels, channels, 1, bias=False), nn.BatchNorm2d(channels), nn.ReLU())


def pathway(n_inputs: int, channels: int) -> nn.Sequential:
    """Return a convolution of one number for each channel."""
    return nn.Sequential(nn.Conv2d(n_inputs, channels, 1, bias=False), nn.BatchNorm2d(channels), nn.ReLU())


class DeepFilter(nn.Module):
    """The network, for features of bands ``(1, 1, 1, E)`` and of the spectrum ``(1, 2, 1, D)``, and the spectrum."""

    def __init__(self, channels: int, bands: int, bins: int, hidden: int, groups: int) -> None:
        super().__init__()
        self.bins = bins
        self.band_conv = CachedConv2d(nn.Conv2d(1, channels, 3, padding=(0, 1), bias=False))
        self.band_down = nn.ModuleList(separable(channels, stride) for stride in (2, 2, 1))
        self.bin_conv = CachedConv2d(nn.Conv2d(2, channels, 3, padding=(0, 1), bias=False, groups=2))
        self.bin_down = separable(channels, 2)
        wide = channels * bands // 4
        self.bin_linear = GroupedLinear(channels * bins // 2, wide, groups)
        self.encoder = SqueezedGRU(wide, hidden, wide, 1, groups)
        self.snr = nn.Linear(wide, 1)
        self.band_gru = SqueezedGRU(wide, hidden, wide, 1, groups)
        self.skips = nn.ModuleList(pathway(channels, channels) for _ in range(4))
        self.band_same = separable(channels)
        self.band_up = nn.ModuleList(self._up(channels) for _ in range(2))
        self.gains = nn.Conv2d(channels, 1, (1, 3), padding=(0, 1))
        self.bin_gru = SqueezedGRU(wide, hidden, hidden, 2, groups)
        self.bin_path = CachedConv2d(nn.Conv2d(channels, 2 * TAPS, (TAPS, 1), groups=2, bias=False))
        self.filter = nn.Linear(hidden, bins * 2 * TAPS)

    def _up(self, channels: int) -> nn.Module:
        wider = nn.ConvTranspose2d(
            channels, channels, (1, 3), (1, 2), (0, 1), output_padding=(0, 1), groups=channels, bias=False
        )
        return nn.Sequential(wider, nn.Conv2d(channels, channels, 1, bias=False), nn.BatchNorm2d(channels), nn.ReLU())

    def forward(
        self,
        feat_erb: Tensor,
        feat_spec: Tensor,
        spec: Tensor,
        erb_buf: Tensor,
        spec_buf: Tensor,
        path_buf: Tensor,
        past_buf: Tensor,
        h_enc: Tensor,
        h_erb: Tensor,
        h_df: Tensor,
    ) -> tuple[Tensor, ...]:
        """Return the gains, the filtered spectrum and the signal-to-noise ratio; then the states."""
        e0, erb_buf = self.band_conv(feat_erb, erb_buf)
        e1 = self.band_down[0](torch.relu(e0))
        e2 = self.band_down[1](e1)
        e3 = self.band_down[2](e2)
        c0, spec_buf = self.bin_conv(feat_spec, spec_buf)
        c0 = torch.relu(c0)
        c1 = self.bin_down(c0)
        both = self._flat(e3) + torch.relu(self.bin_linear(self._flat(c1)))
        emb, h_enc = self.encoder(both, h_enc)
        snr = torch.sigmoid(self.snr(emb)) * 50 - 15
        gains, h_erb = self._gains(emb, h_erb, e0, e1, e2, e3)
        y, h_df = self.bin_gru(emb, h_df)
        path, path_buf = self.bin_path(c0, path_buf)
        coefficients = torch.tanh(self.filter(y)).reshape(1, self.bins, 2 * TAPS) + path[:, :, 0].transpose(1, 2)
        past = torch.cat([past_buf, spec], 2)  # (1, 2, TAPS, D)
        filtered = self._filtered(past, coefficients.reshape(1, self.bins, TAPS, 2).permute(0, 3, 2, 1))
        return gains, filtered, snr, erb_buf, spec_buf, path_buf, past[:, :, 1:], h_enc, h_erb, h_df

    def _flat(self, x: Tensor) -> Tensor:
        return x.permute(0, 2, 3, 1).flatten(2)

    def _gains(self, emb: Tensor, h: Tensor, e0: Tensor, e1: Tensor, e2: Tensor, e3: Tensor) -> tuple[Tensor, Tensor]:
        y, h = self.band_gru(emb, h)
        x = y.reshape(1, 1, e3.shape[3], e3.shape[1]).permute(0, 3, 1, 2)
        x = self.band_same(self.skips[3](e3) + x)
        x = self.band_up[0](self.skips[2](e2) + x)
        x = self.band_up[1](self.skips[1](e1) + x)
        return torch.sigmoid(self.gains(self.skips[0](e0) + x)), h

    def _filtered(self, past: Tensor, coefficients: Tensor) -> Tensor:
        real = (past[:, 0] * coefficients[:, 0] - past[:, 1] * coefficients[:, 1]).sum(1)
        imaginary = (past[:, 0] * coefficients[:, 1] + past[:, 1] * coefficients[:, 0]).sum(1)
        return torch.stack([real, imaginary], 1)


def deep_filter(channels: int = 8, bands: int = 16, bins: int = 24, hidden: int = 32, groups: int = 4) -> StepNetwork:
    """Return the network: of the size of DeepFilterNet3 with 64, 32, 96, 256, 16."""
    return StepNetwork(
        DeepFilter(channels, bands, bins, hidden, groups),
        {"feat_erb": (1, 1, 1, bands), "feat_spec": (1, 2, 1, bins), "spec": (1, 2, 1, bins)},
        {
            "erb_buf": (1, 1, 2, bands),
            "spec_buf": (1, 2, 2, bins),
            "path_buf": (1, channels, TAPS - 1, bins),
            "past_buf": (1, 2, TAPS - 1, bins),
            "h_enc": (1, 1, hidden),
            "h_erb": (1, 1, hidden),
            "h_df": (2, 1, hidden),
        },
        ("gains", "filtered", "lsnr"),
        ("{}", "new_{}"),
    )
