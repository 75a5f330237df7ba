"""A speech enhancer as FastEnhancer: blocks of a GRU over time and attention over frequency.

Source: Ahn et al., "FastEnhancer: Speed-Optimized Streaming Neural Speech Enhancement", 2025.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from benchmarks.step_networks.base import StepNetwork


class RNNFormer(nn.Module):
    """A GRU over time at each frequency, and then attention of all frequencies: ``(F, C)``."""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.gru = nn.GRU(channels, channels, batch_first=True)
        self.mixed = nn.Linear(channels, channels)
        self.norm = nn.BatchNorm1d(channels)
        self.qkv = nn.Linear(channels, 3 * channels, bias=False)
        self.attended = nn.Linear(channels, channels)
        self.attended_norm = nn.BatchNorm1d(channels)

    def forward(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Return the answer, and the state ``(1, F, C)``."""
        bins, channels = x.shape
        y, state = self.gru(x[:, None], state)
        x = x + self.norm(self.mixed(y[:, 0]))
        q, k, v = self.qkv(x).reshape(bins, 3, self.heads, channels // self.heads).permute(1, 2, 0, 3)
        y = nn.functional.scaled_dot_product_attention(q[None], k[None], v[None])[0]
        y = self.attended(y.permute(1, 0, 2).reshape(bins, channels))
        return x + self.attended_norm(y), state


class FastEnhancer(nn.Module):
    """The network, for one frame of a spectrum ``(1, 2, F)``."""

    def __init__(self, bins: int, channels: int, inner: tuple[int, int], blocks: int, heads: int) -> None:
        super().__init__()
        n_rows, n_inner = inner
        self.encode = nn.Sequential(nn.Conv1d(2, channels, 8, stride=4, padding=2), nn.BatchNorm1d(channels), nn.SiLU())
        self.encoder = nn.ModuleList(self._conv(channels) for _ in range(2))
        self.narrow = nn.Linear(bins // 4, n_rows)
        self.enter = nn.Conv1d(channels, n_inner, 1)
        self.place = nn.Parameter(0.1 * torch.randn(n_rows, n_inner))
        self.blocks = nn.ModuleList(RNNFormer(n_inner, heads) for _ in range(blocks))
        self.widen = nn.Linear(n_rows, bins // 4)
        self.leave = nn.Conv1d(n_inner, channels, 1)
        self.join = nn.ModuleList(nn.Conv1d(2 * channels, channels, 1) for _ in range(2))
        self.decoder = nn.ModuleList(self._conv(channels) for _ in range(2))
        self.decode = nn.ConvTranspose1d(channels, 2, 8, stride=4, padding=2)

    def _conv(self, channels: int) -> nn.Module:
        return nn.Sequential(nn.Conv1d(channels, channels, 3, padding=1), nn.BatchNorm1d(channels), nn.SiLU())

    def forward(self, spec: Tensor, *states: Tensor) -> tuple[Tensor, ...]:
        """Return the enhanced frame, and the state of each block."""
        size = torch.sqrt(spec.pow(2).sum(1, keepdim=True) + 1e-9)
        x = self.encode(spec * size ** (0.3 - 1))
        skips = []
        for conv in self.encoder:
            skips.append(x)
            x = x + conv(x)
        rows = self.enter(self.narrow(x))[0].T + self.place
        new = []
        for block, state in zip(self.blocks, states, strict=True):
            rows, state = block(rows, state)
            new.append(state)
        x = self.leave(self.widen(rows.T[None]))
        for join, conv in zip(self.join, self.decoder, strict=True):
            x = conv(join(torch.cat([x, skips.pop()], 1)))
        mask = self.decode(x)
        real = spec[:, 0] * mask[:, 0] - spec[:, 1] * mask[:, 1]
        imaginary = spec[:, 0] * mask[:, 1] + spec[:, 1] * mask[:, 0]
        return torch.stack([real, imaginary], 1), *new


def fast_enhancer(
    bins: int = 32, channels: int = 12, inner: tuple[int, int] = (6, 8), blocks: int = 2, heads: int = 2
) -> StepNetwork:
    """Return the network: of about the size of FastEnhancer-B with 256, 48, (36, 36), 3, 4."""
    states = {f"rnn_{index}": (1, *inner) for index in range(blocks)}
    module = FastEnhancer(bins, channels, inner, blocks, heads)
    return StepNetwork(module, {"spec": (1, 2, bins)}, states, ("enhanced",), ("cache_in_{}", "cache_out_{}"))
