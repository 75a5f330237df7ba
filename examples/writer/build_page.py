"""Makes a web page on which one types: a network in WebAssembly tells code from prose, and goes on with the text.

    python examples/writer/build_page.py build/writer && python -m http.server --directory build/writer

needs `wasm-ld`, from LLVM or PyPI's ziglang. The network is compiled as `exact`: the page draws what Python draws.
"""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import grurt
from grurt.native.export import export

HERE = Path(__file__).parent
NAME = "writer"


def main(folder: Path) -> None:
    """Write the site."""
    folder.mkdir(parents=True, exist_ok=True)
    exported = export(grurt.load(HERE / f"{NAME}.grurt"), "wasm32", cpu="exact", name=NAME)
    with tempfile.TemporaryDirectory() as place:
        exported.write(Path(place))
        shutil.copy(Path(place, f"{NAME}.mjs"), folder)
        link = [sys.executable, HERE.parent / "wasm" / "link.py", f"{place}/{NAME}.o", folder / f"{NAME}.wasm"]
        subprocess.run(link, check=True)
    for file in (HERE / "page").iterdir():
        shutil.copy(file, folder)
    print(f"wrote {folder}: python -m http.server --directory {folder}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
