"""Exported models in C programs, which are compiled and run for a platform, and print the bits of their answers."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from paths import ROOT

import grurt
from grurt import host_cpu
from grurt.kernels import codes
from grurt.lowering.lower import plan_of
from grurt.native import c_source, cpus
from grurt.native.export import Export
from grurt.native.interface import Interface

BOARD = ROOT / "examples" / "cortex_m4"

Floats = np.ndarray[Any, np.dtype[np.float32]]


@dataclass(frozen=True)
class Toolchain:
    """What compiles C for a platform, and runs it here; of which Python package, if it is of one; the CPU, if said."""

    compiler: tuple[str | Path, ...]
    runner: tuple[str | Path, ...] = ()
    package: str | None = None
    cpu: str | None = None

    def run(self, folder: Path, *sources: str | Path) -> str:
        """Compile a program in a folder, and return what it prints."""
        program = folder / "program"
        command = [*self.compiler, *(folder / source for source in sources), "-o", program]
        finished = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False, timeout=60)
        assert finished.returncode == 0, finished.stderr
        finished = subprocess.run(
            [*map(str, self.runner), str(program)], capture_output=True, text=True, check=False, timeout=300
        )
        assert finished.returncode == 0, finished.stderr
        return finished.stdout


# Without a C library: output, the end of the program, and what a compiler's own library has for a 32-bit CPU.
_WEBASSEMBLY = '__attribute__((import_module("env"), import_name("put"))) void put(char c);'
_RISCV = """\
typedef unsigned long long u64;
int main(void);
static long call(long number, long a, const void *b, long c)
{
    register long a0 __asm__("a0") = a, a2 __asm__("a2") = c, a7 __asm__("a7") = number;
    register const void *a1 __asm__("a1") = b;
    __asm__ volatile("ecall" : "+r"(a0) : "r"(a1), "r"(a2), "r"(a7) : "memory");
    return a0;
}
static void put(char c) { call(64, 1, &c, 1); }
void _start(void)
{
    call(93, main(), 0, 0);
    for (;;) {
    }
}
static u64 divided(u64 a, u64 b, u64 *rest)
{
    *rest = 0;
    for (int i = 0; i < 64; i++) {
        *rest = *rest << 1 | a >> 63;
        a <<= 1;
        if (*rest >= b) {
            *rest -= b;
            a |= 1;
        }
    }
    return a;
}
long long __divdi3(long long a, long long b)
{
    u64 rest, result = divided(a < 0 ? -a : a, b < 0 ? -b : b, &rest);
    return (a < 0) == (b < 0) ? result : -result;
}
long long __moddi3(long long a, long long b)
{
    u64 rest;
    divided(a < 0 ? -a : a, b < 0 ? -b : b, &rest);
    return a < 0 ? -rest : rest;
}
"""

_HOSTED = ("-O1", "-Wall", "-Wextra", "-Werror", "-std=c99", "-pedantic")
_RISCV32 = ("-march=rv32imafc", "-mabi=ilp32f", "-mno-relax", "-static", "-nostdlib", "-ffreestanding", "-O1")
_WASM32 = ("-target", "wasm32-freestanding", "-nostdlib", "-ffreestanding", "-O1", "-Wl,--no-entry,--export=main")
_CORTEX_M4 = ("-mcpu=cortex-m4", "-mthumb", "-mfloat-abi=hard", "-mfpu=fpv4-sp-d16", "--specs=rdimon.specs", "-O1")

TOOLCHAINS = {
    "x86_64-linux-gnu": Toolchain(("cc", *_HOSTED)),
    "aarch64-linux-gnu": Toolchain(("aarch64-linux-gnu-gcc", *_HOSTED, "-static"), ("qemu-aarch64",)),
    "riscv64-linux-gnu": Toolchain(("riscv64-linux-gnu-gcc", *_HOSTED, "-static"), ("qemu-riscv64",)),
    "riscv32": Toolchain(("riscv64-linux-gnu-gcc", *_RISCV32), ("qemu-riscv32",)),
    "thumbv7em-none-eabihf": Toolchain(
        ("arm-none-eabi-gcc", *_CORTEX_M4, "-nostartfiles", "-T", BOARD / "mps2.ld", BOARD / "board.c"),
        (
            *("qemu-system-arm", "-M", "mps2-an386", "-nographic", "-monitor", "none", "-serial", "none"),
            *("-semihosting-config", "enable=on,target=native", "-kernel"),
        ),
    ),
    "wasm32": Toolchain(
        (sys.executable, "-P", "-m", "ziglang", "cc", *_WASM32),
        ("node", Path(__file__).with_name("run_wasm.mjs")),
        package="ziglang",
        cpu="exact",
    ),
}


def toolchain(platform: str, cpu: str | None = None) -> Toolchain:
    """Return the tools for a platform; skip the test if they, or the CPU, are not there."""
    found = TOOLCHAINS[platform]
    for name in (found.compiler[0], *found.runner[:1]):
        if shutil.which(name) is None:
            pytest.skip(f"{name} is not installed")
    if found.package is not None and find_spec(found.package) is None:
        pytest.skip(f"{found.package} is not installed")
    if platform == "x86_64-linux-gnu":
        (level,) = (level for level in cpus.CPUS if level.name == (cpu or "x86-64-v3"))
        if not host_cpu.runs_here(level.machine, level.flags):
            pytest.skip(f"this CPU is not an {level.name}")
    return found


def answers(
    exported: Export, platform: str, model: grurt.Model, inputs: Mapping[str, Any], folder: Path
) -> list[Floats]:
    """Return what an exported model answers on its platform to the timesteps of some inputs, by output."""
    tools = toolchain(platform)
    exported.write(folder)
    (folder / "bits.c").write_text(_program(exported.name, model, inputs))
    printed = tools.run(folder, "bits.c", f"{exported.name}.o")
    rows = [np.array([int(word, 16) for word in line.split()], np.uint32) for line in printed.splitlines()]
    ends = np.cumsum([port.size for port in model.plan.outputs])[:-1]
    return np.split(np.array(rows).view(np.float32), ends, axis=1)


def _program(name: str, model: grurt.Model, inputs: Mapping[str, Any]) -> str:
    ports = c_source.parameters(Interface.of(name, model, plan_of))
    n_steps = len(next(iter(inputs.values())))
    read = [port for port in ports if port.is_input]
    written = [port for port in ports if not port.is_input]
    data = [f"static const {each.type} {each.name}[] = {{{_numbers(inputs[each.port.name])}}};" for each in read]
    data += [f"static float {each.name}[{each.count}];" for each in written]
    arguments = ", ".join(
        ["&state", "&scratch", *(f"{each.name} + {each.count} * t" for each in read), *(each.name for each in written)]
    )
    show = "".join(f"show({each.name}, {each.count});" for each in written)
    return f"""\
#include "{name}.h"
#if __STDC_HOSTED__
#include <stdio.h>
static void put(char c) {{ putchar(c); }}
#elif defined __wasm__
{_WEBASSEMBLY}
#else
{_RISCV}
#endif
static {name}_state state;
static {name}_scratch scratch;
{chr(10).join(data)}
static void show(const float *y, int n)
{{
    for (int i = 0; i < n; i++) {{
        union {{ float number; uint32_t bits; }} each;
        each.number = y[i];
        for (int shift = 28; shift >= 0; shift -= 4) put("0123456789abcdef"[each.bits >> shift & 15]);
        put(' ');
    }}
}}
int main(void)
{{
    unsigned char *bytes = (unsigned char *)&state;
    for (unsigned i = 0; i < sizeof state; i++) bytes[i] = 0xff;
    bytes = (unsigned char *)&scratch;
    for (unsigned i = 0; i < sizeof scratch; i++) bytes[i] = 0xff;
    {name}_reset(&state);
    for (int t = 0; t < {n_steps}; t++) {{
        int status = {name}_step({arguments});
        if (status != {codes.OK}) return status;
        {show}
        put('\\n');
    }}
    return 0;
}}
"""


def _numbers(array: Any) -> str:
    if array.dtype == np.float32:
        return ",".join(f"{float(number).hex()}f" for number in array.ravel())
    return ",".join(map(str, array.ravel().tolist()))
