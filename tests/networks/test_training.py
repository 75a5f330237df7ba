"""The scripts of examples/networks train their networks, compare them, and write what the other tests read."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from paths import ROOT

from benchmarks import networks

pytestmark = pytest.mark.long

NEEDED = {
    "sine": ["keras"],
    "rollout": ["keras", "statsmodels"],
    "sentiment": ["keras"],
    "bits": ["keras"],
    "digits": ["sklearn"],
    "lengths": ["names"],
    "characters": ["names"],
}
DATA = Path(__file__).with_name("data")


@pytest.mark.parametrize("name", networks.EXAMPLES)
def test_a_network_is_trained_again(name: str, tmp_path: Path) -> None:
    script, options = networks.EXAMPLES[name]
    if missing := [package for package in ("torch", "onnx", *NEEDED.get(name, ())) if find_spec(package) is None]:
        pytest.skip(f"not installed: {', '.join(missing)}")
    arguments = [text for option, number in options.items() for text in (f"--{option}", str(number))]
    path = ROOT / "examples" / "networks" / f"{script}.py"
    command = [sys.executable, str(path), *arguments, "--output", str(tmp_path)]
    text = subprocess.run(command, capture_output=True, text=True, check=True, cwd=os.sep).stdout
    found = re.findall(r"largest difference (?:from \w+|of scores)? ?([\d.]+e[+-]\d+)", text)
    assert found
    assert max(map(float, found)) < 2e-5
    written = {path.name for path in tmp_path.iterdir()}
    assert written == {path.name for path in DATA.iterdir() if path.name.startswith(tuple(written))}
