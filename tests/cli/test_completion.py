"""What a shell completes, asked as shells ask."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import models
import numpy as np
import pytest
from commandline import COMMAND, succeed

import grurt
from grurt.demo import MODEL_PATH

KEPT = ["gru", "fc"]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "model.grurt"
    models.layer_model(
        grurt.GRU(name="gru", input_size=2, hidden_size=4),
        grurt.Linear(name="fc", input_size=4, output_size=1),
        rng=np.random.default_rng(1),
    ).save(path)
    return path


def ask(instruction: str, words: str = "", cwd: Path | None = None) -> str:
    environment = {
        **os.environ,
        "_GRURT_COMPLETE": instruction,
        "COMP_WORDS": words,
        "COMP_CWORD": str(len(words.split(" ")) - 1),
    }
    result = subprocess.run(COMMAND, env=environment, cwd=cwd, capture_output=True, text=True, check=True)
    assert result.stderr == ""
    return result.stdout


def completed(words: str, cwd: Path | None = None) -> list[str]:
    return [line.partition(",")[2] for line in ask("bash_complete", f"grurt {words}", cwd).split()]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_that_the_help_names(shell: str) -> None:
    assert f'eval "$(_GRURT_COMPLETE={shell if shell == "bash" else "bash"}_source grurt)"' in succeed("--help")
    if shell == "bash" and subprocess.run(["bash", "--version"], capture_output=True, check=False).returncode:
        pytest.skip("bash, whose version click asks for, is not installed")
    assert "_GRURT_COMPLETE" in ask(f"{shell}_source")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("exp", ["export"]),
        (f"export {MODEL_PATH} --target thumb", ["thumbv7em-none-eabihf"]),
        (f"inspect {MODEL_PATH} --target wasm", ["wasm32"]),
        (f"export {MODEL_PATH} --target thumbv7em-none-eabihf --cpu cortex-", ["cortex-m4", "cortex-m7"]),
        (f"export {MODEL_PATH} --cpu ", []),
        ("compile --cpu x86-64-v3", ["x86-64-v3-vnni", "x86-64-v3"]),
        ("compile --cpu n", ["native"]),
        ("quantize model.grurt --keep ", KEPT),
        ("quantize model.grurt --keep f", ["fc"]),
        ("quantize none.grurt --keep ", []),
        ("run model.grurt --to j", ["jsonl"]),
    ],
)
def test_values(words: str, expected: list[str], model: Path) -> None:
    assert completed(words, model.parent) == expected


def test_a_damaged_model_completes_nothing(tmp_path: Path) -> None:
    (tmp_path / "model.grurt").write_bytes(b"damaged")
    assert completed("quantize model.grurt --keep ", tmp_path) == []
