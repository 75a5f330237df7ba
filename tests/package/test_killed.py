"""Processes that end in the middle: the file is the old one or the new one, and Ctrl-C shows no traceback."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import models
import numpy as np
import pytest
from commandline import start
from paths import ROOT

from grurt.demo import MODEL_PATH
from grurt.loading import read

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system cannot kill a process like that"),
]

SAVE = """
import sys
from grurt.loading import read
old, new = read(sys.argv[2]), read(sys.argv[3])
print("ready", flush=True)
for _ in range(1_000):
    new.save(sys.argv[1])
    old.save(sys.argv[1])
"""


def kill_savers_and_check(folder: Path, count: int) -> tuple[int, int]:
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
    assert sum(kill_savers_and_check(tmp_path, 8)) == 8


@pytest.mark.long
def test_hundreds_of_killed_saves_leave_the_old_file_or_the_new_one(tmp_path: Path) -> None:
    n_old, n_new = kill_savers_and_check(tmp_path, 300)
    assert min(n_old, n_new) > 0


def kill_commands_and_check(folder: Path, arguments: Sequence[object], count: int) -> None:
    """Kill a command that writes a model, at random moments of its life."""
    target, finished = folder / "model.grurt", folder / "whole.grurt"
    begun = time.monotonic()
    start(*arguments, "-o", finished).communicate()
    duration = time.monotonic() - begun
    old, new = MODEL_PATH.read_bytes(), finished.read_bytes()
    assert old != new
    moments = random.Random(92)
    for _ in range(count):
        target.write_bytes(old)
        process = start(*arguments, "-o", target)
        time.sleep(moments.uniform(0.3, 1.1) * duration)
        process.kill()
        process.communicate()
        assert target.read_bytes() in (old, new)


CONVERT = ("convert", ROOT / "examples" / "activity.onnx")
QUANTIZE = ("quantize", MODEL_PATH, "--weights", "float16")


@pytest.mark.parametrize("arguments", [CONVERT, QUANTIZE], ids=["convert", "quantize"])
def test_a_killed_command_leaves_the_old_file_or_the_new_one(tmp_path: Path, arguments: Sequence[object]) -> None:
    kill_commands_and_check(tmp_path, arguments, 1)


@pytest.mark.long
@pytest.mark.parametrize("arguments", [CONVERT, QUANTIZE], ids=["convert", "quantize"])
def test_many_killed_commands_leave_the_old_file_or_the_new_one(tmp_path: Path, arguments: Sequence[object]) -> None:
    kill_commands_and_check(tmp_path, arguments, 40)


INTERRUPTIBLE = """
import os, signal, sys, threading
from grurt import __main__ as command
delay, run = float(sys.argv.pop(1)), command._run

def run_until_interrupted():
    timer = threading.Timer(delay, os.kill, [os.getpid(), signal.SIGINT])  # a signal to the thread would end no read
    timer.daemon = True
    timer.start()
    run()

command._run = run_until_interrupted
command.main()
"""


@pytest.mark.parametrize("delay", [0.005, 0.05, 0.2, 0.4])
def test_ctrl_c_while_the_command_line_starts_shows_no_traceback(delay: float) -> None:
    """From the first line of `main` on: while click, the commands, Numba and the model are loaded."""
    command = [sys.executable, "-c", INTERRUPTIBLE, str(delay), "run", str(MODEL_PATH)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stderr is not None
    assert process.wait(timeout=600) == 130
    assert process.stderr.read() == b""
    process.communicate()
