"""What a stage reads of the one before it as a sequence of its own: windows, or a vector that is repeated."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from grurt.errors import InputShapeError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from grurt.array_types import Floats
    from grurt.network.layers import RepeatVector, Unfold


def repeat(
    layer: RepeatVector, vectors: Floats, like: tuple[int, NDArray[np.int64]] | None
) -> tuple[Floats, NDArray[np.int64]]:
    """Return vectors ``(batch, size)`` as sequences ``(batch, n_steps, size)``, and how long each is, ``(batch,)``.

    ``like`` are the same two numbers of the sequences that have as many timesteps, where the layer reads some.
    """
    n_steps, lengths = like or (layer.n_steps, np.full(len(vectors), layer.n_steps))
    return np.repeat(vectors[:, np.newaxis], n_steps, axis=1), lengths


def unfold(layer: Unfold, xs: Floats, lengths: NDArray[np.int64]) -> tuple[Floats, NDArray[np.int64]]:
    """Return the windows of a batch of sequences, and how many there are of each.

    Parameters
    ----------
    layer
        What to read.
    xs
        ``(batch, n_steps, size)``.
    lengths
        Timesteps of each sequence, ``(batch,)``. What is behind them is not read.

    Returns
    -------
    ``(batch, n_windows, kernel_size * size)``, zeros behind the last window of a sequence; and ``(batch,)``.

    Raises
    ------
    InputShapeError
        If a sequence has no window.
    """
    batch, n_steps, size = xs.shape
    shortest = int(lengths.min(initial=n_steps))
    if shortest < layer.least_steps:
        raise InputShapeError(
            f"Model.run: layer {layer.name!r}: expected at least {layer.least_steps} timesteps, got {shortest}: run "
            "longer sequences"
        )
    counts = (lengths + layer.surplus) // layer.stride + 1
    n_windows = layer.window_count(n_steps)
    windows = np.zeros((batch, n_windows, layer.kernel_size, size), np.float32)
    if np.all(lengths == n_steps):
        _unfold(layer, xs, windows)
    else:
        for x, own, length, count in zip(xs, windows, lengths.tolist(), counts.tolist(), strict=True):
            _unfold(layer, x[np.newaxis, :length], own[np.newaxis, :count])
    return windows.reshape(batch, n_windows, layer.kernel_size * size), counts


def _unfold(layer: Unfold, xs: Floats, windows: Floats) -> None:
    """Write the windows ``(batch, n_windows, kernel_size, size)`` of sequences of one length."""
    batch, n_steps, size = xs.shape
    before, length = layer.padding_before(n_steps), (windows.shape[1] - 1) * layer.stride + layer.span
    if before <= 0 and length - before <= n_steps:
        padded = xs[:, -before:]
    else:
        padded = np.full((batch, length, size), layer.fill, np.float32)
        start, stop = max(0, before), min(length, before + n_steps)
        if start < stop:
            padded[:, start:stop] = xs[:, start - before : stop - before]
    sequence, timestep, feature = padded.strides
    strides = (sequence, layer.stride * timestep, layer.dilation * timestep, feature)
    windows[:] = np.lib.stride_tricks.as_strided(padded, windows.shape, strides, writeable=False)
