"""What depends on how a wheel is built: everything else stands in pyproject.toml.

Without ``GRURT_WHEEL_CPUS``, the package is pure Python and depends on Numba. With it, for example ``"x86-64-v3
x86-64-v4"``, the wheel carries the kernels compiled for these CPUs, and Numba becomes the extra ``jit``. Then Numba,
the other dependencies and a linker must be there when it is built: ``python -m build --wheel --no-isolation``.
"""

import os
import shutil
import sys
from pathlib import Path

from setuptools import Distribution, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_py import build_py

if not (Path(__file__).parent / "grurt" / "converters" / "__init__.py").is_file():
    raise SystemExit(
        "setup.py: expected a link to the folder converters/, but this checkout has none: check grurt/converters out "
        "again where links are allowed, with `git config core.symlinks true` and `git checkout -- grurt/converters` "
        "(on Windows with developer mode switched on), or put a copy of the folder there"
    )

CPUS = os.environ.get("GRURT_WHEEL_CPUS", "").split()
DEPENDENCIES = ["msgspec>=0.19", "numpy>=2.0", "safetensors>=0.5"]
JIT = ["numba>=0.61"]


def machine() -> str:
    """Return the machine that all the CPUs are of; empty if there are none."""
    if not CPUS:
        return ""
    sys.path.insert(0, str(Path(__file__).parent))
    from grurt.native.cpus import CPUS as KNOWN

    machines = {cpu.name: cpu.machine for cpu in KNOWN}
    found = {machines.get(name) for name in CPUS}
    if len(found) != 1 or None in found:
        chosen = " ".join(CPUS)
        raise SystemExit(
            f"GRURT_WHEEL_CPUS: expected names of CPUs of one machine, out of {', '.join(machines)}; got {chosen!r}"
        )
    return str(found.pop())


MACHINE = machine()


class BuildWithKernels(build_py):
    """Copies the modules, and compiles the kernels beside them."""

    def run(self) -> None:
        package = Path(self.build_lib, "grurt")
        if not self.editable_mode:
            shutil.rmtree(package, ignore_errors=True)  # of another build in the same folder
        super().run()
        if self.editable_mode:
            return
        (package / "converters.py").unlink()  # stands in for the folder, which is there
        if MACHINE:
            from grurt.native.build import build_library

            build_library(package / "native" / "kernels.grurt.so", CPUS)


class PlatformDistribution(Distribution):
    """What is installed where a machine's own libraries are."""

    def has_ext_modules(self) -> bool:
        return bool(MACHINE)


class PlatformWheel(bdist_wheel):
    """A wheel for one machine and every Python: the library needs no C library, and only CPython's stable ABI."""

    def get_tag(self) -> tuple[str, str, str]:
        if not MACHINE:
            return super().get_tag()
        return "py3", "none", f"manylinux_2_17_{MACHINE}.musllinux_1_1_{MACHINE}"


setup(
    distclass=PlatformDistribution,
    cmdclass={"build_py": BuildWithKernels, "bdist_wheel": PlatformWheel},
    install_requires=DEPENDENCIES + ([] if MACHINE else JIT),
)
