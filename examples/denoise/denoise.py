"""Clean up a noisy recording of speech: WAV in, WAV out, in blocks as a microphone gives them.

Usage:
    grurt convert examples/denoise/gtcrn_simple.onnx -o gtcrn.grurt
    python examples/denoise/add_noise.py examples/denoise/speech.wav noisy.wav
    python examples/denoise/denoise.py noisy.wav clean.wav --model gtcrn.grurt --picture before-after.png
"""

import argparse
import importlib.util
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from networks import NETWORKS
from spectral_stream import Samples, SpectralNetwork, SpectralStream, Spectrum
from wav import read_wav, write_wav

import grurt


class Timed:
    """A network, and how many nanoseconds each of its frames took."""

    def __init__(self, network: SpectralNetwork) -> None:
        self.sample_rate, self.window, self.hop = network.sample_rate, network.window, network.hop
        self.lookahead = network.lookahead
        self.network = network
        self.nanoseconds: list[int] = []

    def enhance(self, spectrum: Spectrum) -> Spectrum:
        """Return the network's answer."""
        started = time.perf_counter_ns()
        enhanced = self.network.enhance(spectrum)
        self.nanoseconds.append(time.perf_counter_ns() - started)
        return enhanced


def denoise(samples: Samples, stream: SpectralStream, block: int) -> Samples:
    """Return the recording, cleaned up block by block, without the delay."""
    padded = np.pad(samples, (0, -len(samples) % block))
    blocks = [stream.process(padded[start : start + block]) for start in range(0, len(padded), block)]
    return np.concatenate([*blocks, stream.flush()])[stream.delay :][: len(samples)]


def report(stream: SpectralStream, network: Timed, block: int, seconds: float, spent: float) -> None:
    """Say how much of the time that there was the transforms and the network took, and how late an answer is."""
    milliseconds = 1000 / network.sample_rate
    median, slow = np.percentile(network.nanoseconds, (50, 99)) / 1000
    print(f"{seconds:.1f} s of sound took {1000 * spent:.1f} ms: real-time factor {spent / seconds:.4f}")
    print(f"network, a frame of {network.hop * milliseconds:g} ms: median {median:.1f} us, 99 % within {slow:.1f} us")
    print(f"delay {stream.delay * milliseconds:.4g} ms, and {block * milliseconds:.4g} ms to gather a block")


def parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Return the options, refusing those that cannot be followed."""
    parser = argparse.ArgumentParser(description="Clean up a noisy recording of speech.")
    parser.add_argument("noisy", type=Path, help="WAV file, one channel of 16 bits, at the network's sample rate")
    parser.add_argument("clean", type=Path, help="WAV file to write")
    parser.add_argument("--model", type=Path, required=True, help="the converted network, a .grurt file")
    parser.add_argument("--network", choices=NETWORKS, default="gtcrn", help="which it is (default: gtcrn)")
    parser.add_argument("--block", type=int, default=160, help="samples a block; the answer is the same (default: 160)")
    parser.add_argument("--picture", type=Path, help="draw spectrograms before and after, with Matplotlib")
    options = parser.parse_args(arguments)
    if options.block < 1:
        parser.error(f"--block: expected at least 1, not {options.block}")
    if options.clean.resolve() in (options.noisy.resolve(), options.model.resolve()):
        parser.error(f"{options.clean} would replace what it is made of: choose another name")
    if options.picture and importlib.util.find_spec("matplotlib") is None:
        parser.error('--picture needs Matplotlib: pip install "grurt[report]"')
    return options


def main(arguments: Sequence[str] | None = None) -> None:
    """Read, clean up, write, report."""
    options = parsed(arguments)
    try:
        network = Timed(NETWORKS[options.network](grurt.load(options.model)))
        noisy = read_wav(options.noisy, network.sample_rate)
        stream = SpectralStream(network, options.block)
        started = time.perf_counter()
        clean = denoise(noisy, stream, options.block)
        spent = time.perf_counter() - started
        write_wav(options.clean, clean, network.sample_rate)
        if options.picture:
            from pictures import draw

            draw({"before": noisy, "after": clean}, network.sample_rate, options.picture)
    except (grurt.InputShapeError, grurt.InputTypeError) as error:
        sys.exit(f"denoise: {options.model} is not --network {options.network}: {error}")
    except (OSError, ValueError, grurt.GrurtError) as error:
        sys.exit(f"denoise: {error}")
    report(stream, network, options.block, len(noisy) / network.sample_rate, spent)


if __name__ == "__main__":
    main()
