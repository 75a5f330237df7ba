"""The streaming transform of examples/denoise: what comes back, when, and in blocks of any size."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from example_modules import modules_of
from numpy.typing import NDArray
from paths import ROOT

PAGE = ROOT / "docs" / "denoising.md"
RATE = 16_000

Samples = NDArray[np.float32]


@pytest.fixture(scope="module")
def example() -> Iterator[Any]:
    with modules_of(ROOT / "examples" / "denoise") as modules:
        yield modules


class Network:
    """Changes nothing, unless there are gains: those of the frames one after the other, then silence."""

    sample_rate = RATE
    lookahead = 0

    def __init__(self, window: Samples, hop: int, gains: NDArray[np.complex64] | None = None) -> None:
        self.window, self.hop = window, hop
        self.gains = None if gains is None else iter(gains)
        self.spectra: list[NDArray[np.complex64]] = []

    def enhance(self, spectrum: NDArray[np.complex64]) -> NDArray[np.complex64]:
        assert spectrum.dtype == np.complex64
        assert spectrum.shape == (len(self.window) // 2 + 1,)
        self.spectra.append(spectrum.copy())
        return spectrum if self.gains is None else spectrum * next(self.gains, np.complex64(0))


class Remembering(Network):
    """Mixes each spectrum with what it said before: a frame that is left out or put in changes all that follow."""

    def enhance(self, spectrum: NDArray[np.complex64]) -> NDArray[np.complex64]:
        before = self.spectra[-1] if self.spectra else np.zeros_like(spectrum)
        self.spectra.append(np.tanh(spectrum) + np.complex64(0.9j) * before)
        return self.spectra[-1]


class LookingAhead(Network):
    """Changes nothing, three frames late."""

    lookahead = 3

    def enhance(self, spectrum: NDArray[np.complex64]) -> NDArray[np.complex64]:
        self.spectra.append(spectrum)
        return self.spectra[-4] if len(self.spectra) > 3 else np.zeros_like(spectrum)


def root_hann(size: int) -> Samples:
    return np.sqrt(np.hanning(size + 1)[:-1]).astype(np.float32)


def noise(count: int, seed: int = 0) -> Samples:
    return np.random.default_rng(seed).uniform(-1, 1, count).astype(np.float32)


def in_blocks(stream: Any, samples: Samples, blocks: Iterator[int]) -> Samples:
    """Return what a stream answers to samples in blocks of these sizes, and to its end."""
    answers = []
    while len(samples):
        block, samples = np.split(samples, [next(blocks)])
        answers.append(stream.process(block))
        assert len(answers[-1]) == len(block)
    return np.concatenate([*answers, stream.flush()])


WINDOWS = [(root_hann(512), 256), (np.sqrt(np.hanning(320)).astype(np.float32), 160), (np.hamming(400), 100)]


@pytest.mark.parametrize(("window", "hop"), WINDOWS, ids=["root of Hann", "symmetric", "four that overlap"])
@pytest.mark.parametrize("block", [1, 7, 64, 160, 256, 1000])
def test_a_network_that_changes_nothing_gives_back_the_signal(
    window: Samples, hop: int, block: int, example: Any
) -> None:
    samples = noise(7000 // block * block)
    stream = example.spectral_stream.SpectralStream(Network(np.float32(window), hop), block)
    assert len(window) - hop <= stream.delay < len(window)
    if block % hop == 0:
        assert stream.delay == len(window) - hop
    answers = in_blocks(stream, samples, iter(lambda: block, 0))
    assert answers.dtype == np.float32
    assert np.abs(answers[: stream.delay]).max(initial=0) < 1e-6
    assert np.abs(answers[stream.delay :] - samples).max() < 5e-7


@pytest.mark.parametrize("block", [1, 160, 512])
def test_a_network_that_looks_ahead_answers_so_many_frames_later(block: int, example: Any) -> None:
    samples = noise(7000 // block * block)
    stream = example.spectral_stream.SpectralStream(LookingAhead(root_hann(512), 256), block)
    assert stream.delay == example.spectral_stream.SpectralStream(Network(root_hann(512), 256), block).delay + 3 * 256
    answers = in_blocks(stream, samples, iter(lambda: block, 0))
    assert np.abs(answers[: stream.delay]).max() < 1e-6
    assert np.abs(answers[stream.delay :] - samples).max() < 5e-7


def test_frames_and_their_sums_are_those_of_torch(example: Any) -> None:
    """Each frame with a gain of its own: only overlapping frames at the right places give the same samples."""
    torch = pytest.importorskip("torch")
    size, hop, frames = 512, 256, 40
    samples, window = noise(frames * hop), root_hann(size)
    random = np.random.default_rng(1)
    gains = np.exp(2j * np.pi * random.random((frames, 1))) * random.random((frames, size // 2 + 1))
    gains[:, [0, -1]] = gains[:, [0, -1]].real
    network = Network(window, hop, gains.astype(np.complex64))
    stream = example.spectral_stream.SpectralStream(network, hop)
    answers = in_blocks(stream, samples, iter(lambda: hop, 0))

    padded = torch.from_numpy(np.concatenate([np.zeros(size - hop, np.float32), samples]).astype(np.float64))
    in_float64 = torch.from_numpy(window.astype(np.float64))
    spectra = torch.stft(padded, size, hop, window=in_float64, center=False, return_complex=True).T.numpy()
    assert np.abs(np.array(network.spectra[:frames]) - spectra).max() < 1e-5
    pieces = np.fft.irfft(spectra * gains) * window
    expected = np.zeros(size + (frames - 1) * hop)
    for frame, piece in enumerate(pieces):
        expected[frame * hop : frame * hop + size] += piece
    assert np.abs(answers[: len(expected)] - expected).max() < 1e-6


def test_the_delays_of_the_page(example: Any) -> None:
    table = PAGE.read_text().partition("<!-- latency: begin -->")[2].partition("<!-- latency: end -->")[0]
    rows = [
        [int(cell) for cell in re.findall(r"\b(\d+) (?=\|)", row)] for row in table.splitlines() if "---" not in row
    ]
    blocks, delays, sums, milliseconds = filter(None, rows)
    streams = [example.spectral_stream.SpectralStream(Network(root_hann(512), 256), block) for block in blocks]
    assert delays == [stream.delay for stream in streams]
    assert sums == [delay + block for delay, block in zip(delays, blocks, strict=True)]
    assert milliseconds == [1000 * samples / RATE for samples in sums]


def test_no_bit_depends_on_the_blocks(example: Any) -> None:
    samples = noise(9000)

    def answers(blocks: Iterator[int], block: int = 1) -> Samples:
        stream = example.spectral_stream.SpectralStream(Remembering(root_hann(512), 256), block)
        return in_blocks(stream, samples, blocks)[stream.delay :]

    expected = answers(iter(lambda: len(samples), 0))
    random = np.random.default_rng(2)
    np.testing.assert_array_equal(answers(iter(lambda: int(random.integers(0, 700)), -1)), expected)
    for block in (1, 3, 100, 4500):
        np.testing.assert_array_equal(answers(iter(lambda block=block: block, 0), block), expected)


def test_blocks_that_are_refused_leave_no_trace(example: Any) -> None:
    samples = noise(2560)
    untouched, refusing = (
        example.spectral_stream.SpectralStream(Remembering(root_hann(512), 256), 160) for _ in range(2)
    )
    answers = []
    for block in np.split(samples, 16):
        with pytest.raises(ValueError, match=r"expected a multiple of 32 samples of one channel, got \(33,\)"):
            refusing.process(noise(33))
        with pytest.raises(ValueError, match=r"of one channel, got \(64, 1\)"):
            refusing.process(noise(64)[:, np.newaxis])
        with pytest.raises(ValueError, match="expected finite samples, got a NaN or an infinity"):
            refusing.process(np.where(np.arange(64) == 63, np.float32(np.nan), noise(64)))
        answers.append(refusing.process(block))
    np.testing.assert_array_equal(np.concatenate(answers), untouched.process(samples))
    np.testing.assert_array_equal(refusing.flush(), untouched.flush())


def test_transforms_that_lose_samples_are_refused(example: Any) -> None:
    stream = example.spectral_stream.SpectralStream
    with pytest.raises(ValueError, match="a hop of 100 samples does not divide the window of 512"):
        stream(Network(root_hann(512), 100))
    with pytest.raises(ValueError, match="no frame covers some of the samples"):
        stream(Network(root_hann(512), 512))
    with pytest.raises(ValueError, match="a block has at least one sample, not 0"):
        stream(Network(root_hann(512), 256), 0)
