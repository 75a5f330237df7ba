"""The page that cleans up speech, in headless Chromium: the samples of the command, from a file and a microphone."""

from __future__ import annotations

import base64
import io
import shutil
import subprocess
import sys
import wave
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browser import Page, browsing, served
from example_modules import modules_of
from numpy.typing import NDArray
from paths import ROOT

from grurt.converters import convert

pytestmark = pytest.mark.slow

FOLDER = ROOT / "examples" / "denoise"
RATE = 16_000
STATUS = "document.getElementById('status').textContent"
IDLE = "!document.getElementById('record').disabled"
MICROPHONE = ("--use-fake-device-for-media-stream", "--autoplay-policy=no-user-gesture-required")

Pcm = NDArray[np.int16]


@pytest.fixture(scope="module")
def example() -> Iterator[Any]:
    with modules_of(FOLDER) as modules:
        yield modules


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if shutil.which("wasm-ld") is None and find_spec("ziglang") is None:
        pytest.skip("neither wasm-ld nor ziglang, which link WebAssembly, is installed")
    folder = tmp_path_factory.mktemp("page") / "site"
    build = [sys.executable, FOLDER / "build_page.py", folder]
    printed = subprocess.run(build, capture_output=True, text=True, check=True).stdout
    assert printed == f"wrote {folder}: python -m http.server --directory {folder}\n"
    return folder


@pytest.fixture(scope="module")
def expected(example: Any, site: Path) -> Pcm:
    """Return what the command makes of the page's recording."""
    noisy = example.wav.read_wav(site / "noisy.wav", RATE)
    stream = example.spectral_stream.SpectralStream(example.networks.Gtcrn(convert(FOLDER / "gtcrn_simple.onnx")), 160)
    return np.rint(example.denoise.denoise(noisy, stream, 160) * 32768).astype(np.int16)


def heard(page: Page, which: str) -> Pcm:
    """Return the samples of a WAV file that the page shows."""
    data = page.ask(
        f"fetch(document.getElementById('{which}-audio').src).then((response) => response.blob())"
        ".then((blob) => new Promise((done) => { const reader = new FileReader();"
        " reader.onload = () => done(reader.result); reader.readAsDataURL(blob); }))"
    )
    with wave.open(io.BytesIO(base64.b64decode(data.partition(",")[2])), "rb") as file:
        assert file.getparams()[:3] == (1, 2, RATE)
        return np.frombuffer(file.readframes(file.getnframes()), "<i2")


def colours(page: Page, which: str) -> float:
    """Return how bright a spectrogram is, from 0 to 255."""
    return float(
        page.ask(
            f"(() => {{ const canvas = document.getElementById('{which}');"
            " const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);"
            " return data.reduce((sum, value, i) => sum + (i % 4 === 3 ? 0 : value), 0) / (data.length * 3 / 4); })()"
        )
    )


def test_the_page_cleans_as_the_command_does(site: Path, expected: Pcm, tmp_path: Path) -> None:
    shutil.copy(site / "noisy.wav", tmp_path / "mine.wav")
    (tmp_path / "text.wav").write_text("not sound")
    with served(site) as address, browsing(tmp_path / "profile") as page:
        page.open(address)
        said = page.wait_for(f"{IDLE} && /Real-time factor/.test({STATUS}) && {STATUS}")
        assert said.startswith("noisy.wav: 3.1 s of sound took ")
        noisy, clean = heard(page, "before"), heard(page, "after")
        given = np.frombuffer((site / "noisy.wav").read_bytes()[44:], "<i2")
        assert len(noisy) == len(clean) == len(expected)
        assert np.abs(noisy.astype(int) - given).max() <= 1  # to Chromium, 1 is 32767
        assert np.abs(clean.astype(int) - expected).max() <= 1
        assert colours(page, "after") < 0.6 * colours(page, "before")

        page.send("DOM.enable")
        page.choose("#file", tmp_path / "text.wav")
        assert page.wait_for(f"{IDLE} && /text/.test({STATUS}) && {STATUS}") == (
            "text.wav: this browser cannot read it as sound"
        )
        page.choose("#file", tmp_path / "mine.wav")
        page.wait_for(f"{IDLE} && /mine.wav: 3.1 s of sound took/.test({STATUS})")
        np.testing.assert_array_equal(heard(page, "after"), clean)
        assert page.ask("document.getElementById('save').download") == "mine-clean.wav"


def test_the_page_cleans_what_a_microphone_hears(site: Path, example: Any, tmp_path: Path) -> None:
    options = (*MICROPHONE, "--use-fake-ui-for-media-stream", f"--use-file-for-fake-audio-capture={site / 'noisy.wav'}")
    with served(site) as address, browsing(tmp_path / "profile", *options) as page:
        page.open(address)
        page.wait_for(f"{IDLE} && /Real-time factor/.test({STATUS})")
        counted = "window.blocks = 0; AudioWorkletNode = class extends AudioWorkletNode { constructor(...all) {"
        page.ask(f"{counted} super(...all); this.port.addEventListener('message', () => window.blocks++); }} }}; 0")
        page.ask("document.getElementById('record').click()")
        page.wait_for(f"{IDLE} && /^Recording/.test({STATUS})")
        assert page.ask("document.getElementById('file').disabled")
        page.wait_for("window.blocks > 200")
        page.ask("document.getElementById('record').click()")
        page.wait_for(f"{IDLE} && /were recorded, and cleaned as they came/.test({STATUS})")
        noisy, clean = (heard(page, which).astype(np.float32) / 32768 for which in ("before", "after"))
    assert len(noisy) == len(clean) >= 200 * 128
    assert len(noisy) % 128 == 0
    model = convert(FOLDER / "gtcrn_simple.onnx")
    stream = example.spectral_stream.SpectralStream(example.networks.Gtcrn(model), 128)
    again = stream.process(noisy)
    assert np.abs(clean - again).max() < 1e-3 * np.abs(noisy).max()
    assert np.abs(again).max() > 0.05


def test_a_microphone_that_may_not_be_used_is_said(site: Path, tmp_path: Path) -> None:
    with served(site) as address, browsing(tmp_path / "profile", "--deny-permission-prompts") as page:
        page.open(address)
        page.wait_for(f"{IDLE} && /Real-time factor/.test({STATUS})")
        page.ask("document.getElementById('record').click()")
        assert page.wait_for(f"{IDLE} && /^Microphone: /.test({STATUS}) && {STATUS}")
        assert page.ask("document.getElementById('record').textContent") == "Record"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_fits_a_small_screen_light_and_dark(scheme: str, site: Path, tmp_path: Path) -> None:
    with served(site) as address, browsing(tmp_path / "profile") as page:
        page.show_on(360, 760, scheme)
        page.open(address)
        page.wait_for(f"{IDLE} && /Real-time factor/.test({STATUS})")
        assert page.ask("document.documentElement.scrollWidth <= innerWidth")
        ground, text = page.ask(
            "[getComputedStyle(document.body).backgroundColor, getComputedStyle(document.body).color]"
            ".map((colour) => colour.match(/\\d+/g).slice(0, 3).reduce((sum, part) => sum + Number(part), 0) / 3)"
        )
        assert ground - text > 180 if scheme == "light" else text - ground > 180
