"""Models in C on other machines with Linux, under user-mode emulation: every kind of layer, the engine's bits."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import c99_models
import every_layer
import pytest

from grurt.native.c99.export import export_c99

pytestmark = pytest.mark.slow

MACHINES = {
    "aarch64": ("aarch64-linux-gnu-gcc", "qemu-aarch64", ()),
    "riscv64": ("riscv64-linux-gnu-gcc", "qemu-riscv64", ()),
    "armv7 (Raspberry Pi 2)": ("arm-linux-gnueabihf-gcc", "qemu-arm", ("-mcpu=cortex-a7", "-mfpu=neon-vfpv4")),
}

NAMES = (
    *("functions", "gates", "gates int8", "gru 17 False int4", "random 2 float16", "random 6", "random 9 int8"),
    *("program 1", "program in int8"),
)


@pytest.mark.parametrize("machine", MACHINES)
def test_another_machine_computes_the_bits_of_the_engine(machine: str, tmp_path: Path) -> None:
    compiler, emulator, flags = MACHINES[machine]
    for tool in (compiler, emulator):
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is not installed")
    models = every_layer.all_models()
    for name in NAMES:
        folder = tmp_path / name.replace(" ", "_")
        exported = export_c99(models[name], name="m")
        exact = re.sub(rb"<= \S+f \* \(1", b"<= 0.0f * (1", exported.files["m.c"])
        assert exact != exported.files["m.c"]
        exported.files["m.c"] = exact
        exported.write(folder)
        sources = (folder / "main.c", folder / "m.c", "-o", folder / "program", "-lm")
        c99_models.compile_c(compiler, *flags, "-std=c99", "-O1", *c99_models.STRICT, "-static", *sources)
        run = subprocess.run([emulator, folder / "program"], capture_output=True, text=True, check=False, timeout=60)
        assert run.returncode == 0, (name, run.stdout, run.stderr)
