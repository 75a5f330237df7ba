"""What pyproject.toml cannot say: wheels carry the kernels, compiled for the CPUs that `release.kernels` chooses.

Without ``GRURT_WHEEL_CPUS``, that is the CPU of the machine where the wheel is built. With it, for example
``"x86-64-v3 x86-64-v4"``, these, for all machines of the kind; with ``none``, the wheel is pure Python.
"""

import shutil
import sys
from pathlib import Path

from setuptools import Distribution, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_py import build_py

ROOT = Path(__file__).parent

if not (ROOT / "grurt" / "converters" / "__init__.py").is_file():
    raise SystemExit(
        "setup.py: expected a link to the folder converters/, but this checkout has none: check grurt/converters out "
        "again where links are allowed, with `git config core.symlinks true` and `git checkout -- grurt/converters` "
        "(on Windows with developer mode switched on), or put a copy of the folder there"
    )

sys.path.insert(0, str(ROOT))

from release.kernels import VARIABLE, chosen  # noqa: E402 - of this checkout

CHOICE = chosen()


class BuildWithKernels(build_py):
    """Copies the modules, and compiles the kernels beside them."""

    def run(self) -> None:
        package = Path(self.build_lib, "grurt")
        if not self.editable_mode:
            shutil.rmtree(package, ignore_errors=True)  # of another build in the same folder
        super().run()
        if self.editable_mode:
            return
        (package / "converters.py").unlink(missing_ok=True)  # stands in for the folder, which is there
        if CHOICE.cpus:
            from grurt.native.build import build_library

            print(
                f"grurt: compiling the kernels for {' '.join(CHOICE.cpus)}, ten to thirty seconds for each CPU "
                f"({VARIABLE} chooses others, or none)",
                flush=True,
            )
            build_library(package / "native" / "kernels.grurt.so", CHOICE.cpus)


class PlatformDistribution(Distribution):
    """What is installed where a machine's own libraries are."""

    def has_ext_modules(self) -> bool:
        return bool(CHOICE.cpus)


class PlatformWheel(bdist_wheel):
    """A wheel for one machine and every Python: the library uses CPython's stable ABI only."""

    def get_tag(self) -> tuple[str, str, str]:
        return ("py3", "none", CHOICE.tag)


setup(distclass=PlatformDistribution, cmdclass={"build_py": BuildWithKernels, "bdist_wheel": PlatformWheel})
