"""What depends on how a wheel is built: everything else stands in pyproject.toml.

Without ``GRURT_WHEEL_CPUS``, the package is pure Python and depends on Numba. With it, for example ``"x86-64-v3
x86-64-v4"``, the wheel carries the kernels compiled for these CPUs, and Numba becomes the extra ``jit``. Then Numba,
the other dependencies and a linker must be there when it is built: ``python -m build --wheel --no-isolation``.
"""

import os
import sys
from pathlib import Path

from setuptools import Distribution, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_py import build_py

CPUS = os.environ.get("GRURT_WHEEL_CPUS", "").split()
DEPENDENCIES = ["msgspec>=0.19", "numpy>=2.0", "safetensors>=0.5"]
JIT = ["numba>=0.61"]


class BuildWithKernels(build_py):
    """Copies the modules, and compiles the kernels beside them."""

    def run(self) -> None:
        super().run()
        if CPUS and not self.editable_mode:
            sys.path.insert(0, str(Path(__file__).parent))
            from grurt.native.build import build_library

            build_library(Path(self.build_lib, "grurt", "native", "kernels.grurt.so"), CPUS)


class PlatformDistribution(Distribution):
    """What is installed where a machine's own libraries are."""

    def has_ext_modules(self) -> bool:
        return bool(CPUS)


class PlatformWheel(bdist_wheel):
    """A wheel for one machine and every Python: the library needs no C library, and only CPython's stable ABI."""

    def get_tag(self) -> tuple[str, str, str]:
        if not CPUS:
            return super().get_tag()
        from grurt.native.cpus import CPUS as KNOWN

        (machine,) = {cpu.machine for cpu in KNOWN if cpu.name in CPUS}
        return "py3", "none", f"manylinux_2_17_{machine}.musllinux_1_1_{machine}"


setup(
    distclass=PlatformDistribution,
    cmdclass={"build_py": BuildWithKernels, "bdist_wheel": PlatformWheel},
    install_requires=DEPENDENCIES + ([] if CPUS else JIT),
)
