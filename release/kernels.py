"""Which CPUs a wheel carries kernels for: what ``GRURT_WHEEL_CPUS`` says, or this machine's own."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass

from grurt import host_cpu
from grurt.native.cpus import CPUS, best_here
from grurt.native.linker import find_linker

VARIABLE = "GRURT_WHEEL_CPUS"
NONE = "none"
"""The variable's value for a wheel of Python alone."""


@dataclass(frozen=True)
class Choice:
    """The CPUs of a wheel.

    Parameters
    ----------
    cpus
        As `grurt.native.build.build_library` takes them; none for a wheel of Python alone.
    machine
        What they all are of; empty without CPUs.
    is_portable
        Whether they were chosen by name: then the wheel is for others too, not only for the machine that builds it.
    """

    cpus: tuple[str, ...] = ()
    machine: str = ""
    is_portable: bool = True

    @property
    def tag(self) -> str:
        """The platforms that may install the wheel: the library calls no C library, so any Linux may."""
        if not self.cpus:
            return "any"
        if not self.is_portable:
            return f"linux_{self.machine}"
        return f"manylinux_2_17_{self.machine}.musllinux_1_1_{self.machine}"


def chosen() -> Choice:
    """Return what the wheel that is being built is for.

    Raises
    ------
    SystemExit
        If the variable names no CPUs of one machine.
    """
    names = os.environ.get(VARIABLE, "").split()
    if names == [NONE]:
        return Choice()
    return _named(tuple(names)) if names else _this_machine()


def _named(names: tuple[str, ...]) -> Choice:
    machines = {cpu.name: cpu.machine for cpu in CPUS}
    found = {machines.get(name) for name in names}
    machine = found.pop()
    if found or machine is None:
        raise SystemExit(
            f"{VARIABLE}: expected {NONE}, or names of CPUs of one machine, out of {', '.join(machines)}; "
            f"got {' '.join(names)!r}"
        )
    return Choice(names, machine)


def _this_machine() -> Choice:
    """Return the best that this CPU is; nothing where no library is for it: there Numba compiles."""
    if sys.platform != "linux" or best_here() is None:
        return Choice()
    return Choice(("native",), host_cpu.machine(), is_portable=False)


def needs_linker(choice: Choice) -> bool:
    """Return whether this machine has no linker for a wheel's kernels, so that one must be installed."""
    return bool(choice.cpus) and find_linker(choice.machine) is None
