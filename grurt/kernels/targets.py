"""What the CPU that code is written for can do, where that decides which code is written.

LLVM chooses instructions for nearly everything. What is asked for by name: dot products of bytes, the pause of a thread
that watches, its clock, the conversion of float16, for which LLVM would call a function that is not there if there
were no instruction, and the loads and stores of some lanes, which it would make of a branch for each.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import llvmlite.binding as llvm
from numba.core import config

from grurt import host_cpu

SSE2 = "sse2"
AVX512 = "avx512f"
NEON = "neon"
CONVERTS_FLOAT16 = "f16c"
VNNI_512 = "avx512vnni"
VNNI_256 = "avxvnni"
DOT_PRODUCT = "dotprod"
"""The capabilities, by LLVM's names of the features."""

_WITH_FLOAT16 = ("ivybridge", "haswell", "broadwell", "skylake", "x86-64-v3", "znver1", "znver2", "znver3")
_WITH_AVX512 = ("skylake-avx512", "x86-64-v4")
_WITH_VNNI = (
    "cascadelake",
    "cooperlake",
    "icelake-client",
    "icelake-server",
    "tigerlake",
    "rocketlake",
    "sapphirerapids",
    "emeraldrapids",
    "graniterapids",
    "znver4",
    "znver5",
)
_WITH_VNNI_256 = (
    "alderlake",
    "raptorlake",
    "meteorlake",
    "arrowlake",
    "lunarlake",
    "gracemont",
    "sierraforest",
    "grandridge",
)
_WITH_DOT_PRODUCT = (
    "cortex-a55",
    "cortex-a75",
    "cortex-a76",
    "cortex-a78",
    "neoverse-n1",
    "neoverse-n2",
    "neoverse-v1",
    "neoverse-v2",
    "apple-m1",
)
_BY_NAME = {
    name: frozenset({*others, CONVERTS_FLOAT16})
    for names, others in (
        (_WITH_FLOAT16, (SSE2,)),
        (_WITH_AVX512, (SSE2, AVX512)),
        (_WITH_VNNI, (SSE2, AVX512, VNNI_512)),
        (_WITH_VNNI_256, (SSE2, VNNI_256)),
        (_WITH_DOT_PRODUCT, (NEON, DOT_PRODUCT)),
    )
    for name in names
}

_chosen: ContextVar[frozenset[str] | None] = ContextVar("capabilities", default=None)


@contextmanager
def compiling_for(capabilities: frozenset[str]) -> Iterator[None]:
    """Write the code of kernels that are compiled meanwhile for a CPU with these capabilities."""
    token = _chosen.set(capabilities)
    try:
        yield
    finally:
        _chosen.reset(token)


def by_name(cpu: str) -> frozenset[str]:
    """Return the capabilities of a CPU by LLVM's name of it: none if it is not known, which is always right."""
    return _BY_NAME.get(cpu, frozenset())


def capabilities() -> frozenset[str]:
    """Return the capabilities of the CPU that is compiled for: Numba's settings, or this machine's."""
    if (chosen := _chosen.get()) is not None:
        return chosen
    if config.CPU_FEATURES:
        return frozenset(name[1:] for name in config.CPU_FEATURES.split(",") if name.startswith("+"))
    if config.CPU_NAME:
        return by_name(config.CPU_NAME)
    if llvm.get_process_triple().startswith(("aarch64", "arm64")):  # of which LLVM finds neither
        has_dot_product = host_cpu.DOT_PRODUCT in host_cpu.host_flags()
        return frozenset({NEON, CONVERTS_FLOAT16, *([DOT_PRODUCT] if has_dot_product else [])})
    return frozenset(name for name, present in llvm.get_host_cpu_features().items() if present)
