"""Processes that end in the middle: the file is the old one or the new one, and Ctrl-C shows no traceback."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import models
import numpy as np
import pytest
from commandline import start

from grurt.demo import MODEL_PATH
from grurt.file import read

ROOT = Path(__file__).parent.parent

pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system cannot kill a process like that")

SAVE = """
import sys
from grurt.file import read
old, new = read(sys.argv[2]), read(sys.argv[3])
print("ready", flush=True)
for _ in range(1_000):
    new.save(sys.argv[1])
    old.save(sys.argv[1])
"""


def kill_savers(folder: Path, count: int) -> tuple[int, int]:
    """Kill processes that save, each at a random moment; return how often the old and the new model were there."""
    rng, moments = np.random.default_rng(91), random.Random(91)
    paths = [folder / name for name in ("model.grurt", "old.grurt", "new.grurt")]
    models.gru_model(4, 120, rng).save(paths[1])
    models.gru_model(4, 200, rng, n_layers=2).save(paths[2])
    old, new = paths[1].read_bytes(), paths[2].read_bytes()
    paths[0].write_bytes(old)
    found = []
    for _ in range(count):
        process = subprocess.Popen([sys.executable, "-c", SAVE, *map(str, paths)], stdout=subprocess.PIPE)
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(moments.uniform(0, 0.03))
        process.kill()
        process.communicate()
        content = paths[0].read_bytes()
        assert content in (old, new)
        found.append(content == new)
        read(paths[0])
    return found.count(False), found.count(True)


def test_a_killed_save_leaves_the_old_file_or_the_new_one(tmp_path: Path) -> None:
    assert sum(kill_savers(tmp_path, 8)) == 8


@pytest.mark.long
def test_hundreds_of_killed_saves_leave_the_old_file_or_the_new_one(tmp_path: Path) -> None:
    n_old, n_new = kill_savers(tmp_path, 300)
    assert min(n_old, n_new) > 20


def kill_converters(folder: Path, count: int) -> None:
    source, target = ROOT / "examples" / "activity.onnx", folder / "model.grurt"
    converted = folder / "whole.grurt"
    whole = start("convert", source, "-o", converted)
    assert whole.wait() == 0
    moments = random.Random(92)
    for _ in range(count):
        target.write_bytes(MODEL_PATH.read_bytes())
        process = start("convert", source, "-o", target)
        time.sleep(moments.uniform(0.2, 1.5))
        process.kill()
        process.communicate()
        assert target.read_bytes() in (MODEL_PATH.read_bytes(), converted.read_bytes())


def test_a_killed_convert_leaves_the_old_file_or_the_new_one(tmp_path: Path) -> None:
    kill_converters(tmp_path, 2)


@pytest.mark.long
def test_many_killed_converts_leave_the_old_file_or_the_new_one(tmp_path: Path) -> None:
    kill_converters(tmp_path, 60)


INTERRUPTIBLE = """
import sys, threading, signal, time
from grurt.__main__ import main
delay = float(sys.argv.pop(1))
timer = threading.Timer(delay, signal.raise_signal, [signal.SIGINT])
timer.daemon = True
timer.start()
main()
"""


@pytest.mark.parametrize("delay", [0.005, 0.02, 0.05, 0.1, 0.2, 0.4])
def test_ctrl_c_while_the_command_line_starts_shows_no_traceback(delay: float) -> None:
    """From the first line of `main` on: while click, the commands, Numba and the model are loaded."""
    command = [sys.executable, "-c", INTERRUPTIBLE, str(delay), "run", str(MODEL_PATH)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stderr is not None
    assert process.wait(timeout=60) == 130
    assert process.stderr.read() == b""
    process.communicate()
