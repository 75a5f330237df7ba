"""Links an object that `grurt export --target wasm32` has written into a WebAssembly module.

    python examples/wasm/link.py out/activity.o activity.wasm

needs `wasm-ld`, from LLVM or PyPI's ziglang.
"""

import shutil
import subprocess
import sys
from pathlib import Path

OPTIONS = ("--no-entry", "--export-dynamic", "--export=__heap_base")


def link(object_file: Path, module: Path) -> None:
    """Write a module of an object."""
    linker = ["wasm-ld"] if shutil.which("wasm-ld") else [sys.executable, "-P", "-m", "ziglang", "wasm-ld"]
    subprocess.run([*linker, *OPTIONS, object_file, "-o", module], check=True)


if __name__ == "__main__":
    link(Path(sys.argv[1]), Path(sys.argv[2]))
