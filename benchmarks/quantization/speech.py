"""What GTCRN, a speech enhancer that is a step program, loses on noisy speech."""

import sys
from importlib import import_module
from pathlib import Path

import numpy as np

import grurt
from benchmarks.network import Floats
from benchmarks.tables import markdown_table
from grurt.converters import convert
from grurt.quantization import Limit, layers_to_keep, loss

FOLDER = Path(__file__).parents[2] / "examples" / "denoise"

LIMIT = Limit(decibels=45)


def speech_table() -> str:
    """Return the table of GTCRN: in every format, and in int8 with the matrices kept that cost most."""
    model = convert(FOLDER / "gtcrn_simple.onnx", reference=False)
    frames = _noisy_frames()
    kept = layers_to_keep(model, "int8", LIMIT, frames)
    matrices = sum(len(layer.parts()) for layer in model.layers)
    variants = {
        "float32": model,
        "float16": model.quantize("float16"),
        "int8": model.quantize("int8"),
        f"int8, {len(kept)} of {matrices} kept for {LIMIT}": model.quantize("int8", keep=kept),
    }
    return markdown_table(
        ["GTCRN", "bytes of weights", "dB", "largest error", "mean error"],
        [_row(name, model, quantized, frames) for name, quantized in variants.items()],
    )


def _row(name: str, model: grurt.Model, quantized: grurt.Model, frames: Floats) -> list[str]:
    size = f"{sum(array.nbytes for array in quantized.weights.values()):,}"
    if quantized is model:
        return [name, size, "", "", ""]
    worst = loss(model, quantized, frames, steps=1).worst
    return [name, size, f"{worst.decibels:.1f}", f"{worst.largest:.2g}", f"{worst.mean:.2g}"]


def _noisy_frames() -> Floats:
    """Return the spectra of the example's recording, with its noise, as the network reads them."""
    sys.path.insert(0, str(FOLDER))
    try:
        network, wav, noise = (import_module(name) for name in ("networks", "wav", "add_noise"))
    finally:
        sys.path.remove(str(FOLDER))
    gtcrn = network.Gtcrn
    noisy = noise.add_noise(wav.read_wav(FOLDER / "speech.wav", gtcrn.sample_rate), snr=5, seed=1)
    windows = np.lib.stride_tricks.sliding_window_view(noisy, len(gtcrn.window))[:: gtcrn.hop]
    spectra = np.fft.rfft(windows * gtcrn.window).astype(np.complex64)
    return spectra.view(np.float32)
