"""The page of examples/writer, in headless Chromium: what is typed is told and gone on with as in Python."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browser import Page, browsing, served
from paths import ROOT

import grurt

FOLDER = ROOT / "examples" / "writer"
KINDS = "['Python', 'English'].map((kind) => document.getElementById(kind).value)"


def set_to(page: Page, name: str, value: object) -> None:
    """Change what an input of the page holds, as a user does."""
    there = f"document.getElementById('{name}')"
    page.ask(f"{there}.value = {json.dumps(value)}, {there}.dispatchEvent(new Event('input')), 0")


def shown(page: Page, name: str) -> str:
    return str(page.ask(f"document.getElementById('{name}').textContent"))


@pytest.mark.slow
def test_the_page_reads_and_writes_as_python_does(tmp_path: Path) -> None:
    if shutil.which("wasm-ld") is None and find_spec("ziglang") is None:
        pytest.skip("neither wasm-ld nor ziglang, which link WebAssembly, is installed")
    site, model = tmp_path / "site", grurt.load(FOLDER / "writer.grurt")

    def expect(text: str, **options: Any) -> None:
        """Compare what the page shows of a text with Python."""
        assert shown(page, "before") == text
        np.testing.assert_array_equal(np.float32(page.ask(KINDS)), model.run_text(text)["kind"][-1])
        assert shown(page, "behind") == model.generate_text(text, **options)

    with browsing(tmp_path / "profile") as page:
        build = [sys.executable, FOLDER / "build_page.py", site]
        printed = subprocess.run(build, capture_output=True, text=True, check=True).stdout
        assert printed == f"wrote {site}: python -m http.server --directory {site}\n"
        with served(site) as address:
            page.open(address)
            page.wait_for("/characters in/.test(document.getElementById('status').textContent)")
            expect("def ", max_tokens=300, temperature=0.5, seed=1)
            set_to(page, "count", "60")
            page.ask(
                "document.getElementById('typed').focus(), document.getElementById('typed').setSelectionRange(4, 4)"
            )
            page.send("Input.insertText", text="read(self):")
            expect("def read(self):", max_tokens=60, temperature=0.5, seed=1)
            page.ask("document.getElementById('again').click()")
            expect("def read(self):", max_tokens=60, temperature=0.5, seed=2)
            set_to(page, "typed", "The file is closed by")
            set_to(page, "temperature", "0")
            expect("The file is closed by", max_tokens=60, temperature=0)
            python, english = page.ask(KINDS)
            assert english > python
            set_to(page, "typed", "")
            assert (shown(page, "behind"), page.ask(KINDS)) == ("", [0.5, 0.5])
        assert page.errors == []
