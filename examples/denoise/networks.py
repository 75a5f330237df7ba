"""Networks that clean up speech: what each one sees of a spectrum, and what its answer means."""

import numpy as np
from deep_filter import DeepFilterNet3
from spectral_stream import Samples, Spectrum

import grurt


class Gtcrn:
    """GTCRN reads and writes the real and imaginary part of every bin.

    X. Rong et al.: GTCRN: a speech enhancement model requiring ultralow computational resources, ICASSP 2024.
    """

    sample_rate = 16_000
    window: Samples = np.sqrt(np.hanning(513)[:-1]).astype(np.float32)  # periodic: the next window begins where it ends
    hop = 256
    lookahead = 0

    def __init__(self, model: grurt.Model) -> None:
        self.stream = model.stream()

    def enhance(self, spectrum: Spectrum) -> Spectrum:
        """Return the network's own spectrum."""
        parts = self.stream.step(spectrum.view(np.float32).reshape(-1, 2))
        return parts.view(np.complex64)[:, 0]


class NSNet2:
    """NSNet2 reads the logarithm of every bin's power, and answers with a gain for each.

    S. Braun, I. Tashev: Data augmentation and loss normalization for deep noise suppression, SPECOM 2020.
    """

    sample_rate = 16_000
    window: Samples = np.sqrt(np.hanning(320)).astype(np.float32)  # as its authors have it
    hop = 160
    lookahead = 0
    floor = np.float32(1e-12)
    least_gain = np.float32(1e-4)  # -80 dB

    def __init__(self, model: grurt.Model) -> None:
        self.stream = model.stream()

    def enhance(self, spectrum: Spectrum) -> Spectrum:
        """Return the spectrum, each bin by its gain."""
        power = np.square(spectrum.real) + np.square(spectrum.imag)
        gain = self.stream.step(np.log10(np.maximum(power, self.floor)))
        return spectrum * np.maximum(gain, self.least_gain)


NETWORKS = {"gtcrn": Gtcrn, "nsnet2": NSNet2, "deepfilternet3": DeepFilterNet3}
