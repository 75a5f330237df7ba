"""stdin, stdout and stderr may be closed, full, or what nobody expects there: one line says so, and the exit code."""

from __future__ import annotations

import io
import os
import shlex
import subprocess
from pathlib import Path

import numpy as np
import pytest
from commandline import COMMAND, invoke, write

from grurt.demo import MODEL_PATH

pytestmark = pytest.mark.slow

LINE = "1,2,3,4,5,6"
ANSWER = "0.21493201,0.13285086,0.1517794,0.50043774\n"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "data.csv", [LINE])
    return tmp_path


def shell(text: str) -> tuple[int, str, str]:
    """Run a line of a shell; return code, stdout and stderr. ``grurt`` is the command, and ``MODEL`` the demo's."""
    words = {"grurt": shlex.join(COMMAND), "MODEL": str(MODEL_PATH)}
    for word, meaning in words.items():
        text = text.replace(word, meaning, 1)
    result = subprocess.run(["bash", "-c", text], capture_output=True, text=True, check=False, timeout=60)
    return result.returncode, result.stdout, result.stderr


@pytest.mark.parametrize(
    ("text", "code", "message"),
    [
        ("grurt run MODEL <&-", 2, "stdin is closed: name a file, or send timesteps to stdin"),
        ("grurt run MODEL 0>other.csv", 2, "stdin: Bad file descriptor"),
        ("grurt run MODEL data.csv >&-", 2, "stdout: it is closed, and the answers would go there"),
        ("grurt verify MODEL >&-", 2, "stdout: it is closed, and the result would go there"),
        ("grurt verify MODEL >&- 2>&-", 2, ""),
        ("grurt run MODEL data.csv >/dev/full", 2, "stdout: No space left on device"),
        ("grurt verify MODEL >/dev/full", 2, "stdout: No space left on device"),
        ("grurt run --help >/dev/full", 2, "stdout: No space left on device"),
        ("grurt verify MODEL 1<data.csv", 2, "stdout: Bad file descriptor"),
        ("grurt run nothing.grurt 2>/dev/full", 2, ""),
        ("grurt --help | true; exit ${PIPESTATUS[0]}", 141, ""),
    ],
)
def test_what_cannot_be_read_or_written(text: str, code: int, message: str) -> None:
    assert shell(text) == (code, "", f"error: {message}\n" if message else "")


@pytest.mark.parametrize("closed", ["<&-", ">&-", "<&- >&- 2>&-"])
def test_no_file_becomes_a_standard_stream_that_is_closed(closed: str, folder: Path) -> None:
    """Or what a library prints would be written into it."""
    assert shell(f"grurt run MODEL data.csv -o answers.csv {closed}") == (0, "", "")
    assert (folder / "answers.csv").read_text() == ANSWER


def test_an_array_is_written_to_where_stdout_stands(folder: Path) -> None:
    """At its end, or at the place where what came before has left it."""
    for way in (">>", "1<>"):
        (folder / "ys.npy").write_bytes(b"before")
        assert shell(f"(printf before; grurt run MODEL data.csv --to npy) {way} ys.npy") == (0, "", "")
        before, magic, after = (folder / "ys.npy").read_bytes().partition(b"\x93NUMPY")
        assert before == (b"beforebefore" if way == ">>" else b"before")
        assert np.load(io.BytesIO(magic + after)).shape == (1, 4)


def test_stdin_may_be_any_file_or_pipe() -> None:
    for text in ("<(cat data.csv)", "/dev/fd/3 3<data.csv"):
        assert shell(f"grurt run MODEL {text}") == (0, ANSWER, "")
    assert shell("cat data.csv | grurt run MODEL /dev/stdin") == (0, ANSWER, "")
    assert shell("grurt run MODEL data.csv -o /dev/stdout | cat") == (0, ANSWER, "")


@pytest.mark.parametrize(
    "arguments",
    [
        ["inspect", "{}"],
        ["verify", "{}"],
        ["run", "{}"],
        ["quantize", "{}"],
        ["bench", "{}"],
        ["export", "{}", "-o", "out", "--target", "wasm32"],
        ["convert", "{}", "-o", "out.grurt"],
        ["verify", MODEL_PATH, "--against", "{}"],
        ["bench", MODEL_PATH, "--against", "{}"],
        ["quantize", MODEL_PATH, "--calibration", "{}"],
    ],
)
def test_nothing_waits_for_a_model_that_is_a_pipe(arguments: list[object], folder: Path) -> None:
    os.mkfifo(folder / "pipe")
    for path, what in (("pipe", "a pipe"), ("/dev/null", "a device")):
        result = invoke(*(str(argument).format(path) for argument in arguments))
        assert result.exit_code == 2
        assert result.stderr.endswith(f": {path}: expected a regular file, got {what}\n")


def test_nor_for_a_description_that_is_one(folder: Path) -> None:
    for name in ("pipe.toml", "pipe.json"):
        os.mkfifo(folder / name)
        result = invoke("convert", MODEL_PATH, "--layers", name, "-o", "out.grurt")
        assert result.stderr.endswith(f"Invalid value for '--layers': {name}: expected a regular file, got a pipe\n")
