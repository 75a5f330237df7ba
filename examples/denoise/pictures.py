"""Spectrograms before and after, drawn by Matplotlib."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from spectral_stream import Samples

WINDOW, HOP = 256, 128
RANGE, SHADES = (-70, 0), 14  # dB below the loudest point of all; a shade for each 5 of them


def spectrogram(samples: Samples) -> NDArray[np.float64]:
    """Return the power of each bin and frame, of shape (WINDOW / 2 + 1, frames)."""
    frames = sliding_window_view(np.pad(samples, (0, WINDOW)), WINDOW)[::HOP]
    return np.square(np.abs(np.fft.rfft(frames * np.hanning(WINDOW)))).T


def draw(recordings: Mapping[str, Samples], sample_rate: int, path: Path) -> None:
    """Draw the spectrogram of each recording below its title, all in the same colours."""
    powers = {title: spectrogram(samples) for title, samples in recordings.items()}
    loudest = max(power.max() for power in powers.values()) or 1.0
    figure = Figure(figsize=(8, 2.2 * len(powers) + 0.4), layout="constrained")
    panels = figure.subplots(len(powers), sharex=True, squeeze=False)[:, 0]
    for axes, (title, power) in zip(panels, powers.items(), strict=True):
        seconds = power.shape[1] * HOP / sample_rate
        image = axes.imshow(
            10 * np.log10(np.maximum(power / loudest, 1e-12)),
            extent=(0, seconds, 0, sample_rate / 2000),
            origin="lower",
            aspect="auto",
            cmap=colormaps["magma"].resampled(SHADES),
            interpolation="nearest",
            clim=RANGE,
        )
        axes.set(title=title, ylabel="kHz")
    panels[-1].set(xlabel="seconds")
    figure.colorbar(image, ax=panels, label="dB")
    figure.savefig(path, dpi=100)
