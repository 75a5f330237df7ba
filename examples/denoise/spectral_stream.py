"""A streaming short-time Fourier transform and its inverse, with a network between them."""

from math import gcd
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.float32]
Spectrum = NDArray[np.complex64]


class SpectralNetwork(Protocol):
    """What stands between the transform and its inverse.

    Attributes
    ----------
    sample_rate
        Samples a second.
    window
        float32, shape (window,): what a frame is multiplied by before it is transformed.
    hop
        Samples from one frame to the next; a divisor of the window's length.
    lookahead
        How many newer frames an answer waits for.
    """

    sample_rate: int
    window: Samples
    hop: int
    lookahead: int

    def enhance(self, spectrum: Spectrum) -> Spectrum:
        """Take the next frame's spectrum, and return that of `lookahead` frames ago as it should be.

        Both are complex64 of shape (window / 2 + 1,). What answers frames before the first one is silence.
        """


class SpectralStream:
    """Gives back as many samples as it takes, `delay` samples later.

    Each `hop` samples, the newest ones under the window become a spectrum, the network changes it, and what comes back
    is added to what the frames before it left there (overlap-add). A network that changes nothing gives back the
    signal. Which frames there are does not depend on the blocks, and so no bit of the answer does.

    Parameters
    ----------
    network
        Any `SpectralNetwork`. It keeps a state: one for each stream.
    block
        All blocks are of this many samples, or of a multiple; 1 is any. The delay is window - hop where `block` is a
        multiple of the hop, and up to hop - 1 samples more where it is not: window - gcd(block, hop). To it come
        lookahead * hop samples.

    Attributes
    ----------
    delay
        Output sample i + delay answers input sample i.
    """

    def __init__(self, network: SpectralNetwork, block: int = 1) -> None:
        size, hop = len(network.window), network.hop
        if size % hop:
            raise ValueError(f"a hop of {hop} samples does not divide the window of {size}")
        if block < 1:
            raise ValueError(f"a block has at least one sample, not {block}")
        self.network = network
        self.granule = gcd(block, hop)
        self.delay = size - self.granule + network.lookahead * hop
        self._frame = np.zeros(size, np.float32)  # the newest samples, with room for the next hop at its end
        self._overlap = np.zeros(size, np.float32)  # sums of frames; the first hop of them is complete
        self._synthesis = synthesis_window(network.window, hop)
        self._gathered = 0  # of the next hop
        self._finished = np.zeros(hop - self.granule, np.float32)  # samples that wait to be handed out

    def process(self, samples: Samples) -> Samples:
        """Take the next samples, and return as many.

        Parameters
        ----------
        samples
            float32 of shape (n,), n a multiple of what `block` promised.

        Returns
        -------
        A new float32 array of shape (n,). The first `delay` samples of a stream come from before its beginning.

        Raises
        ------
        ValueError
            The samples are too few or too many, of several channels, or not finite; the stream is as it was.
        """
        if samples.ndim != 1 or len(samples) % self.granule:
            raise ValueError(f"expected a multiple of {self.granule} samples of one channel, got {samples.shape}")
        if not np.isfinite(samples).all():
            raise ValueError("expected finite samples, got a NaN or an infinity")
        count, hop = len(samples), self.network.hop
        finished = [self._finished]
        while len(samples):
            taken = samples[: hop - self._gathered]
            start = len(self._frame) - hop + self._gathered
            self._frame[start : start + len(taken)] = taken
            self._gathered += len(taken)
            samples = samples[len(taken) :]
            if self._gathered == hop:
                finished.append(self._next_hop())
        ready = np.concatenate(finished)
        self._finished = ready[count:]
        return ready[:count]

    def flush(self) -> Samples:
        """Return the `delay` samples that are still inside, as if silence followed; then the stream is at its end."""
        return self.process(np.zeros(self.delay, np.float32))

    def _next_hop(self) -> Samples:
        """Put a full frame through the network; return the samples that no later frame adds to."""
        hop = self.network.hop
        spectrum = self.network.enhance(np.fft.rfft(self._frame * self.network.window))
        self._overlap += np.fft.irfft(spectrum, len(self._frame)) * self._synthesis
        finished = self._overlap[:hop].copy()
        for buffer in (self._overlap, self._frame):
            buffer[:-hop] = buffer[hop:]
            buffer[-hop:] = 0
        self._gathered = 0
        return finished


def synthesis_window(window: Samples, hop: int) -> Samples:
    """Return the window for the way back: window / sum of the squares of all windows that cover a sample."""
    covering = np.square(window, dtype=np.float64).reshape(-1, hop).sum(axis=0)
    if covering.min() <= 0:
        raise ValueError("no frame covers some of the samples: the window is 0 at each of their places")
    return (window / np.tile(covering, len(window) // hop)).astype(np.float32)
