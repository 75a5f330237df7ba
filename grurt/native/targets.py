"""The platforms that models are exported to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from grurt.errors import EngineError
from grurt.native.machine import Target


@dataclass(frozen=True)
class Platform:
    """A platform: its default CPU first.

    Parameters
    ----------
    name
        As ``grurt export --target`` takes it.
    cpus
        What LLVM is told of each CPU, by the name that ``--cpu`` takes.
    compiler
        How to compile a C program with the exported object, as an example.
    """

    name: str
    cpus: Mapping[str, Target]
    compiler: str


def _targets(triple: str, *names: str, **options: Any) -> dict[str, Target]:
    return {name: Target(triple, name, **options) for name in names}


_X86_64 = "x86_64-unknown-linux-gnu"
_AARCH64 = "aarch64-unknown-linux-gnu"
_WASM32 = "wasm32-unknown-unknown"
_NEON = ("f16c", "neon")

PLATFORMS = {
    platform.name: platform
    for platform in (
        Platform(
            "x86_64-linux-gnu",
            _targets(_X86_64, "x86-64-v3")
            | _targets(_X86_64, "x86-64-v4", features="-prefer-256-bit")
            | {"x86-64-v2": Target(_X86_64, "x86-64-v2", fma="exact")},
            "cc",
        ),
        Platform(
            "aarch64-linux-gnu",
            _targets(_AARCH64, "generic", "cortex-a53", "cortex-a72", capabilities=_NEON)
            | _targets(_AARCH64, "cortex-a76", "neoverse-n1", capabilities=(*_NEON, "dotprod"))
            | {"armv8.2-a+dotprod": Target(_AARCH64, "generic", "+v8.2a,+dotprod", capabilities=(*_NEON, "dotprod"))},
            "aarch64-linux-gnu-gcc",
        ),
        Platform(
            "riscv64-linux-gnu",
            _targets("riscv64-unknown-linux-gnu", "generic-rv64", features="+m,+a,+f,+d,+c", abi="lp64d", lanes=4),
            "riscv64-linux-gnu-gcc",
        ),
        Platform(
            "thumbv7em-none-eabihf",
            _targets("thumbv7em-none-eabihf", "cortex-m4", "cortex-m7", lanes=4, reloc="static"),
            "arm-none-eabi-gcc -mcpu=cortex-m4 -mthumb -mfloat-abi=hard -mfpu=fpv4-sp-d16 --specs=rdimon.specs",
        ),
        Platform(
            "riscv32",
            _targets(
                "riscv32-unknown-elf", "generic-rv32", features="+m,+a,+f,+c", abi="ilp32f", lanes=4, reloc="static"
            ),
            "riscv64-unknown-elf-gcc -march=rv32imafc -mabi=ilp32f",
        ),
        Platform(
            "wasm32",
            # WebAssembly has no fused multiply-add that gives the same bits everywhere.
            _targets(_WASM32, "generic", features="+simd128", fma="rounded", lanes=4, reloc="static")
            | {"exact": Target(_WASM32, "generic", "+simd128", fma="exact", lanes=4, reloc="static")},
            "wasm-ld --no-entry --export-dynamic --export=__heap_base",
        ),
    )
}


def find_target(platform: str, cpu: str | None) -> tuple[Platform, str]:
    """Return a platform by name, and the name of the CPU to compile for; raise EngineError if there is no such one."""
    if platform not in PLATFORMS:
        raise EngineError(f"target: expected one of {', '.join(PLATFORMS)}, got {platform!r}")
    found = PLATFORMS[platform]
    if cpu is not None and cpu not in found.cpus:
        raise EngineError(f"cpu: expected one of {', '.join(found.cpus)} for {platform}, got {cpu!r}")
    return found, cpu or next(iter(found.cpus))
