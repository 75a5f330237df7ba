"""Builds a library of kernels for some CPUs: what ``grurt compile`` does."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from pathlib import Path

import msgspec

from grurt.atomic import write_atomically
from grurt.errors import EngineError
from grurt.host_cpu import host_flags, machine
from grurt.kernels.places import FILE_MODE
from grurt.native.cpus import CPUS, Cpu, best_here
from grurt.native.extension import extension_module
from grurt.native.intermediate import Kernels, kernels
from grurt.native.library import MODULE, CpuDescription, Description, sealed
from grurt.native.linker import link_library
from grurt.native.machine import Fma, Target, emit, link
from grurt.version import VERSION

_TRIPLES = {"x86_64": "x86_64-unknown-linux-gnu", "aarch64": "aarch64-unknown-linux-gnu"}


def build_library(path: Path, names: Sequence[str] = ("native",)) -> Description:
    """Compile the kernels, and write them to a library that `grurt.native.library` can load.

    Parameters
    ----------
    path
        The file to write, atomically; nobody but its owner may write to it, whatever the umask.
    names
        What to compile for: names of `CPUS`, or ``native``, the best of them that this CPU is.

    Returns
    -------
    What the library says of itself.

    Raises
    ------
    EngineError
        If a name is unknown, this is not Linux, Numba is missing, or there is no linker.
    OSError
        If the file cannot be written.
    """
    cpus = _chosen(names)
    compiled: dict[tuple[str, ...], Kernels] = {}
    objects: dict[str, bytes] = {}
    for cpu in cpus:
        entry = compiled[cpu.capabilities] = compiled.get(cpu.capabilities) or kernels("entry", cpu.capabilities)
        module = link(_target(cpu), entry.modules)
        module.get_function(entry.symbols["advance"]).name = cpu.symbol
        objects[cpu.symbol] = emit(_target(cpu), module, {cpu.symbol}, hidden=True)
    description = Description(
        version=VERSION,
        machine=cpus[0].machine,
        cpus=tuple(CpuDescription(cpu.name, cpu.symbol, cpu.flags) for cpu in cpus),
    )
    objects["extension"] = _extension(cpus)
    write_atomically(path, sealed(link_library(objects, description.machine), description), mode=FILE_MODE)
    return description


def _extension(cpus: Sequence[Cpu]) -> bytes:
    """Return the object that is run before the CPU is chosen: for any CPU of the machine."""
    target = Target(_TRIPLES[cpus[0].machine])
    module = link(target, [], extension_module([cpu.symbol for cpu in cpus]))
    return emit(target, module, {f"PyInit_{MODULE}"})


def _target(cpu: Cpu) -> Target:
    fma: Fma = "instruction" if cpu.machine != "x86_64" or "fma" in cpu.flags else "exact"
    return Target(_TRIPLES[cpu.machine], cpu.llvm_name, cpu.llvm_features, fma=fma)


def _chosen(names: Sequence[str]) -> list[Cpu]:
    """Return the CPUs of some names, the best first."""
    if platform.system() != "Linux":
        raise EngineError(f"grurt compile: builds for Linux only, and this is {platform.system()}: use Numba here")
    known = {cpu.name: cpu for cpu in CPUS}
    if unknown := [name for name in names if name != "native" and name not in known]:
        raise EngineError(f"grurt compile: unknown CPU {unknown[0]!r}: expected native, {', '.join(known)}")
    chosen = [_native() if name == "native" else known[name] for name in dict.fromkeys(names)]
    if len(machines := {cpu.machine for cpu in chosen}) != 1:
        raise EngineError(f"grurt compile: expected CPUs of one machine, got {' and '.join(sorted(machines))}")
    return sorted(chosen, key=lambda cpu: -len(cpu.flags))


def _native() -> Cpu:
    """Return the best CPU that this one is, under the name native."""
    if (best := best_here()) is not None:
        return msgspec.structs.replace(best, name="native")
    found = " ".join(sorted(host_flags())) or "nothing known of it"
    raise EngineError(f"grurt compile: this CPU ({machine()}: {found}) is none of {', '.join(c.name for c in CPUS)}")
