"""DeepFilterNet3: gains for bands as wide as the ear's, and below 4.8 kHz a short filter in time for every bin.

H. Schröter et al.: DeepFilterNet: perceptually motivated real-time speech enhancement, Interspeech 2023.
"""

import numpy as np
from numpy.typing import NDArray
from spectral_stream import Samples, Spectrum

import grurt

BAND_WIDTHS = (2,) * 13 + (5, 5, 7, 7, 8, 10, 12, 13, 15, 18, 20, 24, 28, 31, 37, 42, 50, 56, 67)
"""Bins of each band: equally wide on the scale of equivalent rectangular bandwidths (ERB), but at least 2 bins."""
FIRST_BINS = np.cumsum(BAND_WIDTHS) - BAND_WIDTHS

FILTERED_BINS = 96
TAPS = 5
LOOKAHEAD = 2  # so many of the frames under the filter are newer than the one that it answers
NEWEST_SHARE = np.float32(0.01)  # of running means, which forget within about a second


class DeepFilterNet3:
    """DeepFilterNet3 reads the loudness of bands and the phases of low bins, each normalized by running means.

    It answers with gains of bands, for the spectrum of two frames ago, and with complex filters over the last five
    spectra as they were heard, which take the place of its low bins.
    """

    sample_rate = 48_000
    window: Samples = np.sin(0.5 * np.pi * np.sin(np.pi * (np.arange(960) + 0.5) / 960) ** 2).astype(
        np.float32
    )  # Vorbis
    hop = 480
    lookahead = LOOKAHEAD

    def __init__(self, model: grurt.Model) -> None:
        self.stream = model.stream()
        self._heard = np.zeros((TAPS, len(self.window) // 2 + 1), np.complex64)  # oldest first
        self._loudness = np.linspace(-60, -90, len(BAND_WIDTHS), dtype=np.float32)
        self._magnitude = np.linspace(1e-3, 1e-4, FILTERED_BINS, dtype=np.float32)

    def enhance(self, spectrum: Spectrum) -> Spectrum:
        """Return the spectrum of two frames ago: the low bins filtered, each other one by the gain of its band."""
        answer = self.stream.step({"feat_erb": self._bands(spectrum), "feat_spec": self._low_bins(spectrum)})
        self._heard[:-1] = self._heard[1:]
        self._heard[-1] = spectrum
        enhanced = self._heard[-1 - LOOKAHEAD] * np.repeat(answer["m"], BAND_WIDTHS)
        filters = answer["coefs"].reshape(FILTERED_BINS, TAPS, 2).view(np.complex64)[..., 0]
        enhanced[:FILTERED_BINS] = np.einsum("bt,tb->b", filters, self._heard[:, :FILTERED_BINS])
        return enhanced

    def _bands(self, spectrum: Spectrum) -> NDArray[np.float32]:
        """Return how much louder each band is than it mostly was, in units of 40 dB."""
        scaled = spectrum / np.float32(len(self.window))
        power = np.square(scaled.real) + np.square(scaled.imag)
        means = np.add.reduceat(power, FIRST_BINS) / np.float32(BAND_WIDTHS)
        loudness = 10 * np.log10(means + np.float32(1e-10))
        self._loudness += NEWEST_SHARE * (loudness - self._loudness)
        return (loudness - self._loudness) / 40

    def _low_bins(self, spectrum: Spectrum) -> NDArray[np.float32]:
        """Return the low bins over the roots of their mean magnitudes: real parts, then imaginary ones."""
        low = spectrum[:FILTERED_BINS] / np.float32(len(self.window))
        self._magnitude += NEWEST_SHARE * (np.abs(low) - self._magnitude)
        normalized = low / np.sqrt(self._magnitude)
        return np.stack([normalized.real, normalized.imag])
