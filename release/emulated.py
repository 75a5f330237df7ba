"""A Python for 64-bit Arm on another machine: Debian's, run by qemu's user-mode emulation.

It takes ``qemu-aarch64`` and ``apt-get``, and about 75 MB in a folder of its own; nothing is installed.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

ARM = "aarch64"
EMULATOR = f"qemu-{ARM}"
CPU = "max"
"""As qemu calls it: with all that it knows. ``cortex-a72`` has no dot product."""

PACKAGES = ("python3-minimal", "libpython3-stdlib", "libstdc++6")

_APT = """\
APT::Architecture "arm64";
APT::Architectures {{ "arm64"; }};
APT::Install-Recommends "0";
APT::Sandbox::User "root";
Dir::State "{folder}/state";
Dir::State::status "{folder}/state/status";
Dir::Cache "{folder}/cache";
Debug::NoLocking "1";
"""


def reason_not() -> str | None:
    """Return why this machine cannot emulate; None if it can."""
    missing = [name for name in (EMULATOR, "apt-get", "dpkg-deb") if shutil.which(name) is None]
    return f"{' and '.join(missing)}: not installed" if missing else None


class Arm:
    """An emulated Python, and the packages that are installed for it."""

    def __init__(self, folder: Path) -> None:
        self._root = folder / "root"
        self.site = folder / "site"
        if not self._root.is_dir():
            _unpack(folder, self._root)
        self._python = (self._root / "usr" / "bin" / "python3").resolve()
        self.version = self._python.name.removeprefix("python")

    def install(self, *requirements: str) -> None:
        """Install wheels from the index, or by their paths."""
        tags = [f"--platform=manylinux_2_{minor}_aarch64" for minor in (17, 27, 28)]
        command = [
            *(sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--upgrade"),
            *(f"--target={self.site}", "--only-binary=:all:", f"--python-version={self.version}", *tags),
            "--platform=linux_aarch64",
        ]
        subprocess.run([*command, *requirements], check=True)

    def run(self, *arguments: str, cpu: str = CPU, environment: dict[str, str] | None = None, **options: object) -> str:
        """Run Python with some arguments, and return what it wrote to stdout."""
        known = {name: value for name, value in os.environ.items() if not name.startswith(("GRURT_", "PYTHON"))}
        variables = {"PYTHONPATH": str(self.site), "OPENBLAS_NUM_THREADS": "1"} | (environment or {})
        # The emulator shows `_root` in place of /, from where grurt would look whose the library's folders are.
        if (library := self.site / "grurt" / "native" / "kernels.grurt.so").exists():
            variables = {"GRURT_NATIVE": str(library)} | variables
        command = [EMULATOR, "-cpu", cpu, "-L", str(self._root), str(self._python), *arguments]
        return subprocess.run(  # type: ignore[call-overload, no-any-return]
            command, env=known | variables, stdout=subprocess.PIPE, text=True, check=True, **options
        ).stdout


def _unpack(folder: Path, root: Path) -> None:
    """Fetch Debian's packages, and all that they need, and unpack them."""
    for name in ("state/lists/partial", "cache/archives/partial"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    (folder / "state" / "status").touch()
    (folder / "apt.conf").write_text(_APT.format(folder=folder))
    _apt(folder, "update")
    _apt(folder, "install", "--download-only", "--yes", *PACKAGES)
    begun = folder / "unpacked"
    for package in sorted((folder / "cache" / "archives").glob("*.deb")):
        subprocess.run(["dpkg-deb", "--extract", package, begun], check=True)
    begun.rename(root)


def _apt(folder: Path, *arguments: str) -> None:
    variables = os.environ | {"APT_CONFIG": str(folder / "apt.conf"), "DEBIAN_FRONTEND": "noninteractive"}
    subprocess.run(["apt-get", "--quiet=2", *arguments], env=variables, stdout=subprocess.DEVNULL, check=True)


def arguments_of(tests: Sequence[str]) -> list[str]:
    """Return the arguments that run tests, one process and without what needs a terminal's time."""
    return ["-m", "pytest", "-q", "-p", "no:cacheprovider", "-o", "timeout=0", *tests]
