"""The page of examples/wasm, in headless Chromium: the same answers as Python's, within rounding."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from paths import ROOT

from grurt.demo import load_model, load_recordings

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
OPTIONS = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--virtual-time-budget=60000")


class Silent(SimpleHTTPRequestHandler):
    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    """Return where the page is served."""
    if shutil.which("wasm-ld") is None and find_spec("ziglang") is None:
        pytest.skip("neither wasm-ld nor ziglang, which link WebAssembly, is installed")
    site = tmp_path / "site"
    build = [sys.executable, ROOT / "examples" / "wasm" / "build.py", site]
    printed = subprocess.run(build, capture_output=True, text=True, check=True).stdout
    assert printed == f"wrote {site}: python -m http.server --directory {site}\n"
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Silent, directory=str(site))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/index.html"
        server.shutdown()
        thread.join()


def test_the_page_answers_as_python_does(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        pytest.skip("Chromium is not installed")
    address = request.getfixturevalue("address")
    command = [browser, *OPTIONS, f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom", address]
    page = subprocess.run(command, capture_output=True, text=True, check=True, timeout=180).stdout
    recordings = load_recordings()
    expected = load_model().run(recordings.samples)[:, -1]
    assert re.search(rf"{(expected.argmax(1) == recordings.labels).sum()} of 40 recordings told right; [\d.]+ µs", page)
    answers = re.search(r'<script id="answers" type="application/json">(.*?)</script>', page)
    assert answers is not None
    assert np.abs(np.array(json.loads(answers[1])) - expected).max() < 1e-6
