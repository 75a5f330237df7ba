"""The CPUs that kernels are compiled for."""

from __future__ import annotations

import msgspec

from grurt.host_cpu import DOT_PRODUCT, runs_here

_V2 = ("cx16", "lahf_lm", "popcnt", "pni", "ssse3", "sse4_1", "sse4_2")
_V3 = (*_V2, "avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "abm", "movbe", "xsave")
_V4 = (*_V3, "avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl")


class Cpu(msgspec.Struct, frozen=True):
    """A CPU to compile for.

    Parameters
    ----------
    name
        As ``grurt compile --cpu`` takes it.
    machine
        ``x86_64`` or ``aarch64``, as Linux calls it.
    llvm_name, llvm_features
        What LLVM is told.
    flags
        What Linux must say of a CPU before code for this one may run there: see `grurt.host_cpu`.
    capabilities
        What the kernels' source is told: see `grurt.kernels.targets`.
    """

    name: str
    machine: str
    llvm_name: str
    llvm_features: str = ""
    flags: tuple[str, ...] = ()
    capabilities: tuple[str, ...] = ()

    @property
    def symbol(self) -> str:
        """The name of its entry point in a library."""
        return "advance_" + self.name.translate(str.maketrans("-.+", "___"))


CPUS = (
    # The levels of the x86-64 psABI. For the clock of level 4's first CPUs, LLVM would split its vectors.
    Cpu(
        "x86-64-v4-vnni",
        "x86_64",
        "x86-64-v4",
        "-prefer-256-bit,+avx512vnni",
        (*_V4, "avx512_vnni"),
        ("avx512f", "avx512vnni", "f16c", "sse2"),
    ),
    Cpu("x86-64-v4", "x86_64", "x86-64-v4", "-prefer-256-bit", _V4, ("avx512f", "f16c", "sse2")),
    Cpu("x86-64-v3-vnni", "x86_64", "x86-64-v3", "+avxvnni", (*_V3, "avx_vnni"), ("avxvnni", "f16c", "sse2")),
    Cpu("x86-64-v3", "x86_64", "x86-64-v3", "", _V3, ("f16c", "sse2")),
    Cpu("x86-64-v2", "x86_64", "x86-64-v2", "", _V2, ("sse2",)),
    Cpu(
        "armv8.2-a+dotprod",
        "aarch64",
        "generic",
        "+v8.2a,+dotprod",
        ("fp", "asimd", DOT_PRODUCT),
        ("dotprod", "f16c", "neon"),
    ),
    Cpu("armv8-a", "aarch64", "generic", "", ("fp", "asimd"), ("f16c", "neon")),
)
"""The best of each machine first."""


def best_here() -> Cpu | None:
    """Return the best of the CPUs that this one is; None if it is none of them."""
    return next((cpu for cpu in CPUS if runs_here(cpu.machine, cpu.flags)), None)
