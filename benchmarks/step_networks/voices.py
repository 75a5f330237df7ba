"""Small networks of speech: DTLN and a detector of voices, of LSTMs, and NSNet2, of GRUs.

Sources: Westhausen and Meyer, "Dual-Signal Transformation LSTM Network", 2020; Silero VAD, version 5; Braun and Tashev,
"Data augmentation and loss normalization for deep noise suppression", 2020.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from benchmarks.step_networks.base import StepNetwork


class DTLN(nn.Module):
    """A mask by two LSTMs for an encoded block ``(1, 1, N)``, normalized; states and cells side by side."""

    def __init__(self, samples: int, features: int, hidden: int) -> None:
        super().__init__()
        self.encode = nn.Conv1d(samples, features, 1, bias=False)
        self.norm = nn.LayerNorm(features, eps=1e-7)
        self.lstms = nn.ModuleList(nn.LSTM(size, hidden, batch_first=True) for size in (features, hidden))
        self.mask = nn.Linear(hidden, features)
        self.decode = nn.Conv1d(features, samples, 1, bias=False)

    def forward(self, block: Tensor, states: Tensor) -> tuple[Tensor, Tensor]:
        """Return the block without noise, and the states ``(1, 2, hidden, 2)``."""
        encoded = self.encode(block.permute(0, 2, 1)).permute(0, 2, 1)
        x, new = self.norm(encoded), []
        for index, lstm in enumerate(self.lstms):
            h, c = states[:, index, :, 0][None], states[:, index, :, 1][None]
            x, (h, c) = lstm(x, (h, c))
            new.append(torch.stack([h[0], c[0]], -1))
        y = encoded * torch.sigmoid(self.mask(x))
        return self.decode(y.permute(0, 2, 1)).permute(0, 2, 1), torch.stack(new, 1)


def dtln(samples: int = 32, features: int = 24, hidden: int = 16) -> StepNetwork:
    """Return the network."""
    module = DTLN(samples, features, hidden)
    return StepNetwork(module, {"block": (1, 1, samples)}, {"states": (1, 2, hidden, 2)}, ("out",), ("in_{}", "out_{}"))


class VoiceDetector(nn.Module):
    """A Fourier transform by a convolution, a convolutional encoder, one LSTM cell, and one probability."""

    def __init__(self, window: int, channels: int, hidden: int) -> None:
        super().__init__()
        self.window = window
        self.stft = nn.Conv1d(1, window + 2, window, stride=window // 2, bias=False)
        sizes = (window // 2 + 1, channels, channels // 2, channels // 2, hidden)
        strides = (1, 2, 2, 1)
        self.encoder = nn.ModuleList(
            nn.Conv1d(sizes[i], sizes[i + 1], 3, stride=strides[i], padding=1) for i in range(4)
        )
        self.cell = nn.LSTMCell(hidden, hidden)
        self.head = nn.Conv1d(hidden, 1, 1)

    def forward(self, input: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:  # noqa: A002 - as the file has it
        """Return the probability ``(1, 1)``, and the state ``(2, 1, hidden)``."""
        padded = nn.functional.pad(input, (0, self.window // 4), mode="reflect")
        spectrum = self.stft(padded[:, None])
        half = self.window // 2 + 1
        x = torch.sqrt(spectrum[:, :half] ** 2 + spectrum[:, half:] ** 2)
        for conv in self.encoder:
            x = torch.relu(conv(x))
        h, c = self.cell(x.mean(-1), (state[0], state[1]))
        y = torch.sigmoid(self.head(torch.relu(h)[..., None]))
        return y.mean(2), torch.stack([h, c])


def voice_detector(samples: int = 144, window: int = 32, channels: int = 16, hidden: int = 16) -> StepNetwork:
    """Return the network: of the size of Silero VAD with 576, 256, 128, 128."""
    module = VoiceDetector(window, channels, hidden)
    return StepNetwork(module, {"input": (1, samples)}, {"state": (2, 1, hidden)}, ("output",), ("{}", "{}N"))


class NSNet2(nn.Module):
    """Gains of frequencies ``(1, 1, F)``: a layer, two GRUs, three layers."""

    def __init__(self, bins: int, hidden: int, wide: int) -> None:
        super().__init__()
        self.enter = nn.Linear(bins, hidden)
        self.gru1 = nn.GRU(hidden, hidden, batch_first=True)
        self.gru2 = nn.GRU(hidden, hidden, batch_first=True)
        self.leave = nn.Sequential(
            nn.Linear(hidden, wide), nn.ReLU(), nn.Linear(wide, wide), nn.ReLU(), nn.Linear(wide, bins), nn.Sigmoid()
        )

    def forward(self, x: Tensor, h1: Tensor, h2: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the gains, and the states ``(1, 1, hidden)``."""
        y, h1 = self.gru1(torch.relu(self.enter(x)), h1)
        y, h2 = self.gru2(y, h2)
        return self.leave(y), h1, h2


def nsnet2(bins: int = 33, hidden: int = 24, wide: int = 32) -> StepNetwork:
    """Return the network: of the published size with 161, 400, 600."""
    states = {"h1": (1, 1, hidden), "h2": (1, 1, hidden)}
    return StepNetwork(NSNet2(bins, hidden, wide), {"x": (1, 1, bins)}, states, ("gains",))
