"""What a source framework does in its own process is not the converter's end: crashes, endless loops, hunger."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest
from google.protobuf.message import EncodeError

from grurt.converters import apart, convert
from grurt.converters.apart import PackedArray, ask
from grurt.errors import ConversionError

FILE = Path(__file__).parents[1] / "data" / "onnx" / "c_eachstep_bf.ts.da.op20.onnx"

LIBRARY = """
import ctypes, os, signal, sys, time
__version__ = "0.0"
class SessionOptions:
    def add_session_config_entry(self, key, value): pass
class GraphOptimizationLevel: ORT_ENABLE_BASIC = 1
def InferenceSession(*arguments, **options):
    {body}
"""

DEATHS = {
    "ctypes.string_at(0)": "onnxruntime, in a process of its own, was ended by SIGSEGV; the model itself was converted",
    "os.abort()": "was ended by SIGABRT; the model itself",
    "os.kill(os.getpid(), signal.SIGKILL)": "was ended by SIGKILL, as the system does where memory is short; the model",
    "os._exit(0)": "ended without an answer, with exit code 0; the model itself",
    "sys.exit('bye')": "ended without an answer, with exit code 1; the model itself",
}


def library(folder: Path, monkeypatch: pytest.MonkeyPatch, body: str) -> None:
    """Put an onnxruntime in front of the real one, which does this when it makes a session."""
    (folder / "onnxruntime.py").write_text(LIBRARY.format(body=body))
    monkeypatch.syspath_prepend(folder)


@pytest.mark.slow
@pytest.mark.usefixtures("processes_of_their_own")
@pytest.mark.parametrize("body", DEATHS)
def test_the_death_of_a_library_is_a_note(body: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    library(tmp_path, monkeypatch, body)
    model = convert(FILE)
    assert model.reference_run is None
    (note,) = model.source.notes
    assert DEATHS[body] in note
    assert note.startswith("no reference run: onnxruntime, in a process of its own, ")
    assert note.endswith("give --no-reference, or convert(..., reference=False), to leave the comparison out")
    assert no_child_is_left()


@pytest.mark.slow
@pytest.mark.usefixtures("processes_of_their_own")
def test_what_takes_too_long_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    library(tmp_path, monkeypatch, "while True: pass")
    monkeypatch.setattr(apart, "MAX_SECONDS", 2)
    (note,) = convert(FILE).source.notes
    assert "took more than 2 s, and was ended; the model itself was converted, and not compared" in note
    assert no_child_is_left()


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not limit the memory of a process")
@pytest.mark.usefixtures("processes_of_their_own")
def test_memory_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    library(tmp_path, monkeypatch, "bytearray(apart_limit)".replace("apart_limit", str(5 << 30)))
    (note,) = convert(FILE).source.notes
    assert note == "no reference run: it takes more than 4,096 MiB of memory"


@pytest.mark.slow
@pytest.mark.usefixtures("processes_of_their_own")
def test_a_library_that_prints_does_not_disturb_the_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    library(tmp_path, monkeypatch, "os.write(1, b'hello' * 99); print('hello'); raise ValueError('no such thing')")
    (note,) = convert(FILE).source.notes
    assert note == "no reference run: onnxruntime cannot run the file: no such thing"


@pytest.mark.slow
@pytest.mark.usefixtures("processes_of_their_own")
def test_a_library_that_cannot_be_imported_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "onnxruntime.py").write_text("raise ImportError('libonnx.so: no such file')")
    monkeypatch.syspath_prepend(tmp_path)
    (note,) = convert(FILE).source.notes
    assert note == "no reference run: onnxruntime cannot be imported: libonnx.so: no such file"


def test_a_frozen_application_starts_no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    with pytest.raises(ConversionError, match="onnxruntime is run by an interpreter of its own, and this program has"):
        ask("onnxruntime", "no.module", b"")


@pytest.mark.parametrize("executable", ["", None, "/usr/bin/blender"])
def test_nor_does_a_program_that_python_is_embedded_in(executable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", executable)
    with pytest.raises(ConversionError, match="and this program has none"):
        ask("onnxruntime", "no.module", b"")


def test_a_process_that_cannot_be_started_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    with pytest.raises(ConversionError, match="expected a process for torch, got none: No such file or directory"):
        ask("torch", "no.module", b"")


@pytest.mark.slow
def test_a_python_that_cannot_start_does_not_run_the_request(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONINSPECT", "1")
    monkeypatch.setattr(apart, "_START", "raise RuntimeError('no start')")
    with pytest.raises(ConversionError, match="with exit code 1: RuntimeError: no start;"):
        ask("torch", "no.module", f"open({str(tmp_path / 'file')!r}, 'w')\n".encode())
    assert not (tmp_path / "file").exists()


def test_what_python_says_when_it_cannot_start_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apart, "_START", "raise RuntimeError('no start')")
    with pytest.raises(ConversionError, match="ended without an answer, with exit code 1: RuntimeError: no start;"):
        ask("torch", "no.module", b"x" * 1_000_000)


def test_arrays_come_back_as_they_were() -> None:
    for dtype in ("float16", "float32", "float64", "int64", "int32", "bool"):
        array = np.arange(24).reshape(2, 3, 4).astype(dtype)[:, ::2]
        np.testing.assert_array_equal(PackedArray.of(array).unpacked(), array, strict=True)
    np.testing.assert_array_equal(PackedArray.of(np.float32(3)).unpacked(), np.float32(3), strict=True)


SCRIPT = """
import sys, threading
sys.path.insert(0, {library!r})
from grurt.converters import convert
{body}
"""


@pytest.mark.slow
def test_ctrl_c_ends_both(tmp_path: Path) -> None:
    (tmp_path / "onnxruntime.py").write_text(
        LIBRARY.format(body="open('started', 'w').write(str(os.getpid())); time.sleep(50)")
    )
    script = SCRIPT.format(library=str(tmp_path), body=f"convert({str(FILE)!r})")
    process = subprocess.Popen(
        [sys.executable, "-c", script], cwd=tmp_path, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    started = tmp_path / "started"
    while not started.exists() or not started.read_text():
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=30)
    assert said.strip().endswith("KeyboardInterrupt")
    with pytest.raises(ProcessLookupError):
        os.kill(int(started.read_text()), 0)


@pytest.mark.slow
@pytest.mark.parametrize("body", ["found = [convert(sys.argv[1])]", """
found = []
thread = threading.Thread(target=lambda: found.append(convert(sys.argv[1])))
thread.start(); thread.join()
"""])  # fmt: skip
def test_a_program_without_a_guard_is_not_run_again(body: str, tmp_path: Path) -> None:
    """From a folder with a space, by a relative path, where files lie that are called as modules are."""
    folder = tmp_path / "my models"
    folder.mkdir()
    (folder / "a model.onnx").write_bytes(FILE.read_bytes())
    for name in ("onnxruntime.py", "msgspec.py", "signal.py"):
        (folder / name).write_text("raise SystemExit('this is not the module')")
    script = SCRIPT.format(
        library=str(tmp_path), body=textwrap.dedent(body) + "\nprint(found[0].reference_run.produced_by)"
    )
    (folder / "program.py").write_text(script)
    command = [sys.executable, "-P", "program.py", "a model.onnx"]
    result = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.startswith("onnxruntime 1.")
    assert result.stdout.count("\n") == 1


def no_child_is_left() -> bool:
    """Say whether no process of ours is left, not even one that nobody has waited for."""
    try:
        return os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None
    except ChildProcessError:
        return True


class TooLarge:
    """A model whose weights, read from the files beside it, are more than a protobuf message may hold."""

    def SerializeToString(self) -> bytes:  # noqa: N802 - protobuf's name
        raise EncodeError("Failed to serialize proto")


def test_a_model_of_more_than_two_gigabytes_is_given_to_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("grurt.converters.onnx.reference._with_weights_inside", lambda *_: TooLarge())
    (note,) = convert(FILE).source.notes
    assert note == "no reference run: onnxruntime cannot be given the file: Failed to serialize proto"
