"""What Linux says of the CPU that this process runs on."""

from __future__ import annotations

import functools
import os
import struct
import sys
from collections.abc import Collection

from grurt.regular_files import open_regular_file

DOT_PRODUCT = "asimddp"
"""Linux's name of the dot product of bytes on Arm."""

_AT_HWCAP = 16
_MOST_BYTES = 1 << 16
_HWCAP_BITS = {0: "fp", 1: "asimd", 20: DOT_PRODUCT}
"""Of 64-bit Arm, as far as anybody here asks (``asm/hwcap.h``)."""


def machine() -> str:
    """Return what this process runs on, ``x86_64`` or ``aarch64`` for example; ``unknown`` where it is not POSIX."""
    return os.uname().machine if os.name == "posix" else "unknown"


def runs_here(machine_name: str, flags: Collection[str]) -> bool:
    """Return whether code for a machine that needs some flags may run in this process."""
    return machine_name == machine() and host_flags().issuperset(flags)


@functools.cache
def host_flags() -> frozenset[str]:
    """Return what Linux says that the CPU has and programs may use; nothing where it cannot be known.

    Of 64-bit Arm, it is the flags that the process was started with: under emulation those of the emulated CPU, where
    ``/proc/cpuinfo`` may be that of the other one. Under macOS it is Apple's, all of which have the dot product.
    """
    if sys.platform == "darwin" and machine() == "arm64":
        return frozenset(_HWCAP_BITS.values())
    if machine() == "aarch64":
        return flags_at_start("/proc/self/auxv")
    return flags_in_cpuinfo("/proc/cpuinfo")


def flags_in_cpuinfo(cpuinfo: str | os.PathLike[str]) -> frozenset[str]:
    """Return the flags of the first core in a file such as ``/proc/cpuinfo``."""
    try:
        with open_regular_file(cpuinfo) as lines:
            for line in lines:  # the kernel writes one block for each core: the first is enough
                key, _, value = line.partition(b":")
                if key.strip() == b"flags":
                    return frozenset(value.decode("ascii", "replace").split())
    except OSError:
        pass
    return frozenset()


def flags_at_start(vector: str | os.PathLike[str]) -> frozenset[str]:
    """Return the flags in a file such as ``/proc/self/auxv`` of 64-bit Arm: pairs of a key and a value."""
    try:
        with open_regular_file(vector) as file:
            content = file.read(_MOST_BYTES)
    except OSError:
        return frozenset()
    pairs = struct.iter_unpack("=QQ", content[: len(content) // 16 * 16])
    bits = next((value for key, value in pairs if key == _AT_HWCAP), 0)
    return frozenset(name for bit, name in _HWCAP_BITS.items() if bits >> bit & 1)
