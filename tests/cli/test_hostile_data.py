"""Data of any length and any shape cost `grurt` the memory of a line, and numbers on options what they say."""

from __future__ import annotations

import contextlib
import importlib
import io
import itertools
import os
import struct
import subprocess
import sys
import threading
from collections.abc import Iterable
from pathlib import Path

import models
import numpy as np
import pytest
from commandline import COMMAND, fail, invoke, succeed

import grurt
from grurt.cli import run
from grurt.cli.readers import MAX_LINE
from grurt.demo import MODEL_PATH
from grurt.runtime.engine import ready

MEBIBYTE = 1 << 20


LAUNCHER = """
import os, resource, subprocess, sys
resource.setrlimit(resource.RLIMIT_CPU, (60, 60))
process = subprocess.Popen(sys.argv[2:])
_, status, used = os.wait4(process.pid, 0)
os.write(int(sys.argv[1]), f"{os.waitstatus_to_exitcode(status)} {used.ru_maxrss}".encode())
"""
"""Runs a command, whose peak of memory counts what the process had that started it: this one is small."""


def measured(*arguments: object, stdin: Iterable[bytes] = ()) -> tuple[int, str, int]:
    """Run a command on data without end; return its code, what it says on stderr, and its peak of memory in bytes."""
    ready()
    answer, to_us = os.pipe()
    process = subprocess.Popen(
        [sys.executable, "-c", LAUNCHER, str(to_us), *COMMAND, *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        pass_fds=[to_us],
    )
    os.close(to_us)
    assert process.stdin is not None
    assert process.stderr is not None

    def feed(file: io.BufferedWriter) -> None:
        with contextlib.suppress(OSError), file:  # it stops reading
            for chunk in stdin:
                file.write(chunk)

    thread = threading.Thread(target=feed, args=(process.stdin,))
    thread.start()
    said = process.stderr.read().decode()
    process.stderr.close()
    process.wait()
    thread.join()
    with os.fdopen(answer, "rb") as file:
        code, peak = map(int, file.read().split())
    return code, said, peak * 1024


@pytest.fixture(scope="module")
def usual() -> int:
    """The memory that a run takes in any case."""
    code, _, peak = measured("run", MODEL_PATH, stdin=[b"1,2,3,4,5,6\n"])
    assert code == 0
    return peak


@pytest.mark.slow
@pytest.mark.parametrize(
    ("chunk", "options"),
    [
        (b"1," * 500_000, []),
        (b'"1\n",' * 200_000, []),  # a record of many lines
        (b'"' + b"1" * MEBIBYTE, []),
        (b"{}, " * 250_000, ["--format", "jsonl"]),
        (bytes(MEBIBYTE), []),
    ],
)
def test_a_line_without_end_is_refused(chunk: bytes, options: list[str], usual: int) -> None:
    code, said, peak = measured("run", MODEL_PATH, *options, stdin=itertools.repeat(chunk))
    assert (code, said) == (2, "error: stdin: expected the next line to have at most 1,048,576 characters, got more\n")
    assert peak < usual + 64 * MEBIBYTE


@pytest.mark.slow
def test_a_file_of_terabytes_is_refused_at_once(tmp_path: Path, usual: int) -> None:
    with (tmp_path / "sparse").open("wb") as file:
        file.truncate(1 << 42)
    code, said, peak = measured("run", MODEL_PATH, tmp_path / "sparse")
    assert code == 2
    assert said.endswith("sparse: expected the next line to have at most 1,048,576 characters, got more\n")
    assert peak < usual + 64 * MEBIBYTE


def array(content: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, content)
    return file.getvalue()


@pytest.mark.slow
@pytest.mark.parametrize("order", ["C", "F"])
def test_an_array_is_read_in_the_memory_of_its_rows(order: str, tmp_path: Path, usual: int) -> None:
    """From a pipe or a file, and written likewise: of 2.9 MB of numbers, 12 MB as Python's."""
    content = array(np.ones((60_000, 6), order=order))  # type: ignore[call-overload]
    (tmp_path / "xs.npy").write_bytes(content)
    into_a_pipe = ("run", MODEL_PATH, tmp_path / "xs.npy", "--to", "npy")
    into_a_file = ("run", MODEL_PATH, "-o", tmp_path / "ys.npy")
    code, said, peak = measured(*into_a_pipe) if order == "C" else measured(*into_a_file, stdin=[content])
    assert (code, said) == (0, "")
    assert peak < usual + 4 * MEBIBYTE
    assert order == "C" or np.load(tmp_path / "ys.npy").shape == (60_000, 4)


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", ["<f8", ">f4", "<f2", ">i2", "u1"])
def test_arrays_of_every_order_and_dtype_mean_the_same(order: str, dtype: str, tmp_path: Path) -> None:
    content = np.random.default_rng(1).integers(0, 9, (300, 6)).astype(dtype, order)  # type: ignore[call-overload]
    wanted = succeed("run", MODEL_PATH, stdin="".join(f"{','.join(map(str, row))}\n" for row in content.tolist()))
    assert succeed("run", MODEL_PATH, stdin=array(content)) == wanted
    (tmp_path / "xs.npy").write_bytes(array(content))
    assert succeed("run", MODEL_PATH, tmp_path / "xs.npy") == wanted


def headed(header: str, version: int = 1, length: int | None = None) -> bytes:
    size = struct.pack("<H" if version == 1 else "<I", len(header) if length is None else length)
    return b"\x93NUMPY" + bytes([version, 0]) + size + header.encode("latin1")


def described(shape: object = (2, 6), descr: object = "<f8", order: object = False) -> str:
    return str({"descr": descr, "fortran_order": order, "shape": shape})


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (headed(described((10**12, 6))), "expected 48,000,000,000,000 bytes for its shape, got 0"),
        (headed(described((10**12, 6), order=True)), "expected 48,000,000,000,000 bytes for its shape, got 0"),
        (headed(described()) + bytes(95), "expected 96 bytes for its shape, got 95"),
        (headed(described(descr="|O")), "pickled objects of Python, which grurt does not unpickle"),
        (headed(described(descr=[("a", "O")])), "pickled objects of Python, which grurt does not unpickle"),
        (headed(described((-1, 6))), "a shape that is none"),
        (headed(described((True, 6))), "a shape that is none"),
        (headed(described(("6",))), "a shape that is none"),
        (headed(described(6)), "a header without shape, order and dtype"),
        (headed(described(descr=",f8")), "a header without shape, order and dtype"),
        (headed(described(descr="<q17")), "a header without shape, order and dtype"),
        (headed("{}"), "a header without shape, order and dtype"),
        (headed("7"), "a header without shape, order and dtype"),
        (headed("(" * 9000), "a header without shape, order and dtype"),
        (headed("{'descr': "), "a header without shape, order and dtype"),
        (headed("", 2, (1 << 32) - 1), "a header of 4,294,967,295 bytes"),
        (headed("", 3, 10_001), "a header of 10,001 bytes"),
        (headed(described(), 4), "an unknown version of the format"),
        (b"\x93NUMPY", "an unknown version of the format"),
    ],
)
def test_what_an_array_says_of_itself_is_checked(content: bytes, message: str, tmp_path: Path) -> None:
    assert fail("run", MODEL_PATH, stdin=content) == f"error: stdin: the .npy array is damaged: {message}"
    (tmp_path / "xs.npy").write_bytes(content)
    assert fail("quantize", MODEL_PATH, "--calibration", tmp_path / "xs.npy").endswith(
        "xs.npy: expected an array as .npy or .npz holds it, got something else"
    )


def test_later_versions_of_the_format_are_read() -> None:
    for version in (2, 3):
        assert len(succeed("run", MODEL_PATH, stdin=headed(described(), version) + bytes(96)).splitlines()) == 2


@pytest.mark.parametrize(
    ("text", "options"), [("1e999", []), ("-1e999", []), ("9" * 5000, []), ("1e999", ["--format", "jsonl"])]
)
def test_a_number_beyond_all_floats_is_no_infinity(text: str, options: list[str]) -> None:
    line = f"[{text},1,1,1,1,1]" if options else f"{text},1,1,1,1,1"
    message = fail("run", MODEL_PATH, *options, "--nonfinite", "propagate", stdin=f"{line}\n")
    assert f"expected a float32, got {'-' * (text[0] == '-')}inf, which is beyond its range" in message


def test_infinities_are_what_they_are(tmp_path: Path) -> None:
    propagate = ("run", MODEL_PATH, "--nonfinite", "propagate")
    wanted = succeed(*propagate, stdin="inf,1,1,1,1,-Infinity\n")
    assert succeed(*propagate, "--to", "csv", stdin="[Infinity, 1, 1, 1, 1, -Infinity]\n") == wanted
    assert succeed(*propagate, stdin=array(np.array([[np.inf, 1, 1, 1, 1, -np.inf]]))) == wanted


@pytest.mark.parametrize("text", ["9" * 25, "1e300", "9" * 5000])
def test_a_token_is_one_that_an_integer_can_hold(text: str, tmp_path: Path) -> None:
    layer = grurt.Embedding(name="e", vocabulary_size=5, size=2)
    models.layer_model(layer, rng=np.random.default_rng(1)).save(tmp_path / "model.grurt")
    assert "column 1: expected a token id, got " in fail("run", tmp_path / "model.grurt", stdin=f"{text}\n")


def test_wide_models_may_have_long_lines(tmp_path: Path) -> None:
    width = MAX_LINE // 40
    layer = grurt.Activation(name="a", inputs=("x",), function=grurt.Relu())
    model = models.layer_model(layer, rng=np.random.default_rng(1), inputs=[grurt.Input("x", width)])
    model.save(tmp_path / "model.grurt")
    line = ",".join(["0." + "1" * 48] * width)
    assert MAX_LINE < len(line) < 64 * width
    assert len(succeed("run", tmp_path / "model.grurt", stdin=line).split(",")) == width


def test_whole_sequences_have_a_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    layer = grurt.GRU(name="gru", input_size=2, hidden_size=1, direction="reverse")
    models.layer_model(layer, rng=np.random.default_rng(1)).save(tmp_path / "model.grurt")
    monkeypatch.setattr(run, "MAX_SEQUENCE", 6)
    assert len(invoke("run", tmp_path / "model.grurt", stdin="1,2\n" * 3).stdout.splitlines()) == 3
    message = fail("run", tmp_path / "model.grurt", stdin="1,2\n" * 4)
    assert message == (
        "error: stdin, line 4: the model needs whole sequences, and one of more than 6 numbers is not read: "
        "call Model.run in Python"
    )


# Calibration


def test_an_archive_that_unpacks_to_much_more_is_refused(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "bomb.npz", samples=np.zeros((3_000_000, 6), np.float32))
    assert (tmp_path / "bomb.npz").stat().st_size < 100_000
    assert "bomb.npz: expected an array as .npy or .npz holds it" in fail(
        "quantize", MODEL_PATH, "--calibration", tmp_path / "bomb.npz"
    )


def test_what_the_model_does_not_read_may_be_anything(tmp_path: Path) -> None:
    np.savez(tmp_path / "xs.npz", samples=np.zeros((30, 6)), labels=np.array(["a", "b"]))
    assert "timesteps: 30" in succeed("quantize", MODEL_PATH, "--steps", 10, "--calibration", tmp_path / "xs.npz")


def test_a_wide_model_is_measured_on_fewer_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    layer = grurt.Linear(name="fc", input_size=63, output_size=1)
    models.layer_model(layer, rng=np.random.default_rng(1)).save(tmp_path / "model.grurt")
    monkeypatch.setattr(importlib.import_module("grurt.quantization.loss"), "MAX_NUMBERS", 1 << 18)
    monkeypatch.setattr("grurt.quantization.recordings._MAX_RANDOM", 8 * 63 * 128)
    message = fail("quantize", tmp_path / "model.grurt")
    assert message == (
        "error: steps: expected a long stream of at most 4,096 timesteps, "
        "as each has 64 numbers of inputs and outputs, got 10,000"
    )
    assert "8 random sequences of 128 timesteps" in succeed("quantize", tmp_path / "model.grurt", "--steps", 10)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["quantize", "--steps", 10**12], "1000000000000 is not in the range 1<=x<=1000000"),
        (["quantize", "--steps", 0], "0 is not in the range"),
        (["quantize", "--max-loss", "1e999dB"], "--max-loss: expected decibels"),
        (["bench", "--seconds", "nan"], "nan is not in the range 0<x<=3600"),
        (["bench", "--seconds", "inf"], "inf is not in the range 0<x<=3600"),
        (["bench", "--sample-rate", "nan"], "nan is not in the range"),
        (["bench", "--sample-rate", "inf"], "inf is not in the range"),
        (["run", "--float-format", ".999999999f"], "expected a format that gives a plain number"),
        (["run", "--float-format", "999999999"], "expected a format that gives a plain number"),
        (["run", "--columns", "9" * 5000], "expected a column '999"),
    ],
)
def test_numbers_of_options_are_bounded(arguments: list[object], message: str) -> None:
    assert message in fail(arguments[0], MODEL_PATH, *arguments[1:], stdin="1,2,3,4,5,6\n")
