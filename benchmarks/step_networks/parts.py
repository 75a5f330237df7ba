"""What several step networks consist of."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class CachedConv2d(nn.Module):
    """A convolution over time and frequency of one frame, and the frames before it: ``(1, C, 1, F)``."""

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        self.conv = conv

    @property
    def past(self) -> int:
        """How many frames before it a frame needs."""
        return (self.conv.kernel_size[0] - 1) * self.conv.dilation[0]

    def forward(self, x: Tensor, cache: Tensor) -> tuple[Tensor, Tensor]:
        """Return the answer, and the frames that the next one needs."""
        frames = torch.cat([cache, x], 2)
        return self.conv(frames), frames[:, :, 1:]


class CachedConv1d(nn.Module):
    """A dilated convolution over time of one timestep, and those before it: ``(1, C, 1)``."""

    def __init__(self, channels: int, taps: int, dilation: int = 1, *, is_depthwise: bool = True) -> None:
        super().__init__()
        groups = channels if is_depthwise else 1
        self.conv = nn.Conv1d(channels, channels, taps, dilation=dilation, groups=groups)
        self.past = (taps - 1) * dilation

    def forward(self, x: Tensor, cache: Tensor) -> tuple[Tensor, Tensor]:
        """Return the answer, and the timesteps that the next one needs."""
        steps = torch.cat([cache, x], 2)
        return self.conv(steps), steps[:, :, 1:]


class GroupedGRU(nn.Module):
    """Two GRUs, each of half of the features, so that the product is half as large."""

    def __init__(self, n_inputs: int, n_hidden: int, *, bidirectional: bool = False) -> None:
        super().__init__()
        self.halves = nn.ModuleList(
            nn.GRU(n_inputs // 2, n_hidden // 2, batch_first=True, bidirectional=bidirectional) for _ in range(2)
        )

    def forward(self, x: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return the answers side by side, and the states."""
        parts = x.chunk(2, -1)
        states = (None, None) if state is None else [each.contiguous() for each in state.chunk(2, -1)]
        found = [half(part, each) for half, part, each in zip(self.halves, parts, states, strict=True)]
        return torch.cat([y for y, _ in found], -1), torch.cat([h for _, h in found], -1)


class DualPathGRU(nn.Module):
    """A grouped GRU over the frequencies of a frame in both directions, and one over time at each frequency."""

    def __init__(self, channels: int, bins: int) -> None:
        super().__init__()
        self.intra = GroupedGRU(channels, channels // 2, bidirectional=True)
        self.intra_linear = nn.Linear(channels, channels)
        self.intra_norm = nn.LayerNorm((bins, channels), eps=1e-8)
        self.inter = GroupedGRU(channels, channels)
        self.inter_linear = nn.Linear(channels, channels)
        self.inter_norm = nn.LayerNorm((bins, channels), eps=1e-8)

    def forward(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Return the answer to ``(1, C, 1, F)``, and the state ``(1, F, C)``."""
        frame = x.permute(0, 2, 3, 1)  # (1, 1, F, C)
        along, _ = self.intra(frame.reshape(frame.shape[0] * frame.shape[1], frame.shape[2], frame.shape[3]))
        intra = frame + self.intra_norm(self.intra_linear(along).reshape(frame.shape))
        rows = intra.permute(0, 2, 1, 3)  # (1, F, 1, C)
        over_time, state = self.inter(rows.reshape(rows.shape[1], rows.shape[2], rows.shape[3]), state)
        mixed = self.inter_linear(over_time).reshape(rows.shape).permute(0, 2, 1, 3)
        return (intra + self.inter_norm(mixed)).permute(0, 3, 1, 2), state


class Bands(nn.Module):
    """Low frequencies as they are, high ones in bands; and back."""

    def __init__(self, low: int, high: int, bands: int) -> None:
        super().__init__()
        self.low = low
        self.merge = nn.Linear(high, bands, bias=False)
        self.split = nn.Linear(bands, high, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return the bands."""
        return torch.cat([x[..., : self.low], self.merge(x[..., self.low :])], -1)

    def back(self, x: Tensor) -> Tensor:
        """Return frequencies."""
        return torch.cat([x[..., : self.low], self.split(x[..., self.low :])], -1)


def masked(spectrum: Tensor, mask: Tensor) -> Tensor:
    """Return the product of complex numbers: ``(1, 2, 1, F)`` each."""
    real = spectrum[:, 0] * mask[:, 0] - spectrum[:, 1] * mask[:, 1]
    imaginary = spectrum[:, 1] * mask[:, 0] + spectrum[:, 0] * mask[:, 1]
    return torch.stack([real, imaginary], 1)
