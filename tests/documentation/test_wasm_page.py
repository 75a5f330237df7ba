"""The page of examples/wasm, in headless Chromium: the same answers as Python's, within rounding."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from browser import browsing, served
from paths import ROOT

from grurt.demo import load_model, load_recordings


def test_the_page_answers_as_python_does(tmp_path: Path) -> None:
    if shutil.which("wasm-ld") is None and find_spec("ziglang") is None:
        pytest.skip("neither wasm-ld nor ziglang, which link WebAssembly, is installed")
    site = tmp_path / "site"
    with browsing(tmp_path / "profile") as page:
        build = [sys.executable, ROOT / "examples" / "wasm" / "build.py", site]
        printed = subprocess.run(build, capture_output=True, text=True, check=True).stdout
        assert printed == f"wrote {site}: python -m http.server --directory {site}\n"
        with served(site) as address:
            page.open(address)
            answers = json.loads(page.wait_for("document.getElementById('answers').textContent"))
            said = page.ask("document.getElementById('summary').textContent")
    recordings = load_recordings()
    expected = load_model().run(recordings.samples)[:, -1]
    right = (expected.argmax(1) == recordings.labels).sum()
    assert re.fullmatch(rf"{right} of 40 recordings told right; [\d.]+ µs a timestep\.", said)
    assert np.abs(np.array(answers) - expected).max() < 1e-6
