"""Add pink noise, as of a fan or of wind, to a recording: the same noise each time.

Usage:
    python examples/denoise/add_noise.py examples/denoise/speech.wav noisy.wav [--snr 5] [--seed 1] [--times 1]
"""

import argparse
from pathlib import Path

import numpy as np
from spectral_stream import Samples
from wav import read_wav, write_wav

SAMPLE_RATE = 16_000
LOWEST = 50  # Hz: below, the noise is no louder


def pink_noise(count: int, seed: int, sample_rate: int) -> Samples:
    """Return noise of the same power in every octave."""
    spectrum = np.fft.rfft(np.random.default_rng(seed).standard_normal(count))
    frequencies = np.fft.rfftfreq(count, 1 / sample_rate)
    return np.fft.irfft(spectrum / np.sqrt(np.maximum(frequencies, LOWEST)), count).astype(np.float32)


def at_times_the_rate(samples: Samples, times: int) -> Samples:
    """Return samples at so many times their rate, with no frequencies that they did not have."""
    return times * np.fft.irfft(np.fft.rfft(samples), times * len(samples))


def add_noise(speech: Samples, snr: float, seed: int, sample_rate: int = SAMPLE_RATE) -> Samples:
    """Return speech with noise whose power is `snr` dB below that of the speech."""
    noise = pink_noise(len(speech), seed, sample_rate)
    scale = np.sqrt(np.mean(np.square(speech)) / np.mean(np.square(noise))) * 10 ** (-snr / 20)
    return speech + np.float32(scale) * noise


def main() -> None:
    """Read, add, write."""
    parser = argparse.ArgumentParser(description="Add pink noise to a recording.")
    parser.add_argument("speech", type=Path, help=f"WAV file, one channel of 16 bits, at {SAMPLE_RATE} Hz")
    parser.add_argument("noisy", type=Path, help="WAV file to write")
    parser.add_argument("--snr", type=float, default=5, help="speech over noise in dB (default: 5)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--times", type=int, default=1, choices=range(1, 7), help="raise the sample rate (default: 1)")
    options = parser.parse_args()
    sample_rate = options.times * SAMPLE_RATE
    speech = at_times_the_rate(read_wav(options.speech, SAMPLE_RATE), options.times)
    write_wav(options.noisy, add_noise(speech, options.snr, options.seed, sample_rate), sample_rate)


if __name__ == "__main__":
    main()
