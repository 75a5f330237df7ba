"""What docs/debugging.md says of assembly and profiles."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from paths import ROOT


def printed(*command: object) -> str:
    environment = os.environ | {"NUMBA_OPT": "1"}  # it is quicker
    return subprocess.run(
        [sys.executable, *map(str, command)], env=environment, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True
    ).stdout


@pytest.mark.slow
def test_the_assembly_of_kernels() -> None:
    lengths = dict(line.split()[::-1] for line in printed("-m", "benchmarks.assembly").splitlines())
    assert int(lengths["entry.advance"]) > 10
    assert int(lengths["dense._multiply_panel"]) > 10


@pytest.mark.long
def test_one_kernel_in_llvms_language() -> None:
    text = printed("-m", "benchmarks.assembly", "--llvm", "dense._multiply_panel")
    assert text.startswith("define ")
    assert "@llvm.fma.v16f32" in text


@pytest.mark.long
@pytest.mark.skipif(sys.platform != "linux", reason="perf is Linux's")
def test_perf_knows_the_kernels(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import os, sys, grurt\n"
        'grurt.load("grurt/demo/activity.grurt").stream().step([0] * 6)\n'
        'path = f"/tmp/perf-{os.getpid()}.map"\n'
        "print(sys.argv[1], open(path).read())\n"
        "os.remove(path)\n"
    )
    argument, *lines = printed("-m", "benchmarks.profile", script, "argument").split("\n")
    lines = [argument.removeprefix("argument "), *filter(None, lines)]
    functions = {line.split(" ", 2)[2] for line in lines}
    assert {"entry.advance", "cell.timestep"} <= functions
    assert all(re.fullmatch(r"[0-9a-f]+ [0-9a-f]+ \S+", line) for line in lines)
