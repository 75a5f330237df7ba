"""Finds a library of kernels that fits this process, and loads it: without Numba, llvmlite or a C compiler.

A library is looked at before it is loaded: its last bytes say which sources it was built from and what a CPU must have
to run it, and hold a digest of it all. So no instruction of a library that is damaged or does not fit is ever executed.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from importlib.machinery import ExtensionFileLoader, ModuleSpec

import msgspec

from grurt import host_cpu
from grurt.digests import blake2b
from grurt.errors import EngineError
from grurt.kernels.fields import HEADER
from grurt.kernels.places import SOURCE_DIGEST, cache_directories
from grurt.regular_files import read_regular_file
from grurt.trust import UntrustedError, expect_trusted, say_passed_by

MODULE = "kernels"
"""The name by which Python knows the module in a library: its first function is ``PyInit_kernels``."""
SUFFIX = ".grurt.so"
MARK = b"\0grurt kernels\0"
"""The end of a library; before it stand the description and the digest of all that comes before: see `sealed`."""
INTERFACE = 1
"""Of the functions in a library: a number that changes with what they take."""

MOST_REASONS = 10
"""That a message gives for as many libraries."""

_DIGEST_SIZE = 32


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
    beside this file, and where compiled kernels are kept. A library that is found in a folder is passed by if it does
    not fit, or if somebody else may have put it there: then a line on stderr says so. One that is named itself is
    loaded whoever may have put it there, as any program that somebody starts.

    Raises
    ------
    EngineError
        If the library that ``GRURT_NATIVE`` names does not fit.
    """
    chosen = os.environ.get("GRURT_NATIVE")
    if chosen and not os.path.isdir(chosen):
        try:
            return load(chosen)
        except EngineError as error:
            raise EngineError(f"GRURT_NATIVE={error}") from error
        except (OSError, ImportError) as error:
            reason = getattr(error, "strerror", None) or error
            raise EngineError(f"GRURT_NATIVE={chosen}: cannot be loaded: {reason}") from error
    for path in _candidates():
        try:
            return _load_found(path)
        except UntrustedError as error:
            say_passed_by(error)
        except (EngineError, OSError, ImportError):
            pass
    return None


def passed_by() -> list[str]:
    """Return, of each of the first libraries that are found in a folder and not used, why."""
    reasons: list[str] = []
    for path in _candidates():
        if len(reasons) == MOST_REASONS:
            return [*reasons, "and so on"]
        try:
            _load_found(path)
        except (EngineError, OSError, ImportError) as error:
            reasons.append(str(error))
    return reasons


def _candidates() -> Iterator[str]:
    for folder in _folders():
        with suppress(OSError):  # there is none, or one where nobody may look
            for name in sorted(os.listdir(folder)):
                if name.endswith(SUFFIX):
                    yield os.path.join(folder, name)


def _folders() -> Iterator[str]:
    if chosen := os.environ.get("GRURT_NATIVE"):
        yield chosen
    else:
        yield os.path.dirname(__file__)
        yield from map(str, cache_directories())


def _load_found(path: str) -> Callable[..., int]:
    expect_trusted(path)
    return load(path)


def load(path: str | os.PathLike[str]) -> Callable[..., int]:
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
    loader = ExtensionFileLoader(MODULE, os.fspath(path))
    module = loader.create_module(ModuleSpec(MODULE, loader, origin=os.fspath(path)))
    loader.exec_module(module)
    entry: Callable[..., int] = getattr(module, cpu.symbol)
    return entry


def sealed(library: bytes, description: Description) -> bytes:
    """Return what is written of a linked library: the loader of programs does not look at what follows its sections."""
    content = library + b"\0" + msgspec.json.encode(description)
    return content + _digest(content) + MARK


def read_description(path: str | os.PathLike[str]) -> Description:
    """Return what a library says of itself; raise EngineError if it is not one, or is damaged."""
    content, _, rest = read_regular_file(path).rpartition(MARK)
    content, digest = content[:-_DIGEST_SIZE], content[-_DIGEST_SIZE:]
    try:
        if rest or not content:
            raise ValueError("its end is not there")
        if digest != _digest(content):
            raise ValueError("it is damaged")
        return msgspec.json.decode(content.rpartition(b"\0")[2], type=Description)
    except ValueError as error:  # msgspec's DecodeError is one
        raise EngineError(f"{path}: expected a library of kernels, as `grurt compile` writes it: {error}") from error


def _digest(content: bytes) -> bytes:
    return blake2b(content, digest_size=_DIGEST_SIZE).digest()


def _fitting(path: str | os.PathLike[str], description: Description) -> CpuDescription:
    if (description.interface, description.sources) != (INTERFACE, SOURCE_DIGEST):
        raise EngineError(
            f"{path}: built from other kernels, of grurt {description.version}: build it again with `grurt compile`"
        )
    if description.header != HEADER:
        raise EngineError(f"{path}: built for another kind of CPython than this one")
    for cpu in description.cpus:
        if host_cpu.runs_here(description.machine, cpu.flags):
            return cpu
    names = ", ".join(cpu.name for cpu in description.cpus)
    raise EngineError(f"{path}: holds kernels for {names}, none of which this CPU is ({host_cpu.machine()})")
