"""Finds a library of kernels that fits this process, and loads it: without Numba, llvmlite or a C compiler.

A library is looked at before it is loaded: it says in its own bytes which sources it was built from and what a CPU must
have to run it, so that no instruction of a library that does not fit is ever executed.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from importlib.machinery import ExtensionFileLoader, ModuleSpec
from pathlib import Path

import msgspec

from grurt.errors import EngineError
from grurt.kernels.fields import HEADER
from grurt.kernels.places import SOURCE_DIGEST, cache_directories
from grurt.native import cpus

MODULE = "kernels"
"""The name by which Python knows the module in a library: its first function is ``PyInit_kernels``."""
SUFFIX = ".grurt.so"
MARK = b"\0grurt kernels\0"
"""What stands before the description in a library, and `END` behind it."""
END = b"\0"
INTERFACE = 1
"""Of the functions in a library: a number that changes with what they take."""


class CpuDescription(msgspec.Struct, frozen=True):
    """A CPU that a library holds code for."""

    name: str
    symbol: str
    """The function to call."""
    flags: tuple[str, ...]
    """What the CPU must have, as Linux calls it."""


class Description(msgspec.Struct, frozen=True, kw_only=True):
    """What a library says of itself."""

    interface: int = INTERFACE
    version: str
    sources: str = SOURCE_DIGEST
    """Digest of the kernels' sources."""
    header: int = HEADER
    """Bytes of an object's header, which differ between builds of CPython."""
    machine: str
    cpus: tuple[CpuDescription, ...]
    """The best first."""


def entry_point() -> Callable[..., int] | None:
    """Return the entry point of a library for this process, or None if there is none.

    The environment variable ``GRURT_NATIVE`` names a library, or a folder of some; without it, libraries are looked for
    beside this file, and where compiled kernels are kept.

    Raises
    ------
    EngineError
        If the library that ``GRURT_NATIVE`` names does not fit.
    """
    chosen = os.environ.get("GRURT_NATIVE")
    if chosen and not Path(chosen).is_dir():
        try:
            return load(Path(chosen))
        except (OSError, ImportError) as error:
            raise EngineError(f"GRURT_NATIVE={chosen}: cannot be loaded: {error}") from error
    for path in _candidates(chosen):
        try:
            return load(path)
        except (EngineError, OSError, ImportError):
            continue
    return None


def _candidates(chosen: str | None) -> list[Path]:
    folders = [Path(chosen)] if chosen else [Path(__file__).parent, *cache_directories()]
    return [path for folder in folders for path in sorted(folder.glob(f"*{SUFFIX}"))]


def load(path: Path) -> Callable[..., int]:
    """Load a library, and return its entry point for the best CPU that this one can be.

    Raises
    ------
    EngineError
        If it is not a library of kernels, was built from other sources, or holds nothing for this CPU.
    OSError, ImportError
        If it cannot be read or loaded.
    """
    description = read_description(path)
    cpu = _fitting(path, description)
    loader = ExtensionFileLoader(MODULE, str(path))
    module = loader.create_module(ModuleSpec(MODULE, loader, origin=str(path)))
    loader.exec_module(module)
    entry: Callable[..., int] = getattr(module, cpu.symbol)
    return entry


def read_description(path: Path) -> Description:
    """Return what a library says of itself; raise EngineError if it is not one."""
    content = path.read_bytes()
    begin = content.find(MARK) + len(MARK)
    try:
        if begin < len(MARK):
            raise ValueError("not marked as one")
        return msgspec.json.decode(content[begin : content.index(END, begin)], type=Description)
    except ValueError as error:  # msgspec's DecodeError is one
        raise EngineError(f"{path}: expected a library of kernels, as `grurt compile` writes it: {error}") from error


def _fitting(path: Path, description: Description) -> CpuDescription:
    if (description.interface, description.sources) != (INTERFACE, SOURCE_DIGEST):
        raise EngineError(
            f"{path}: built from other kernels, of grurt {description.version}: build it again with `grurt compile`"
        )
    if description.header != HEADER:
        raise EngineError(f"{path}: built for another kind of CPython than this one")
    for cpu in description.cpus:
        if cpus.runs_here(description.machine, cpu.flags):
            return cpu
    names = ", ".join(cpu.name for cpu in description.cpus)
    raise EngineError(f"{path}: holds kernels for {names}, none of which this CPU is ({cpus.machine()})")
