"""Makes a web page that runs the demo's network on the demo's recordings, in WebAssembly.

    python examples/wasm/build.py site && python -m http.server --directory site

needs `wasm-ld`, from LLVM or PyPI's ziglang.
"""

import json
import shutil
import subprocess
import sys
from pathlib import Path

from grurt.demo import load_model, load_recordings
from grurt.native.export import Export, export

HERE = Path(__file__).parent
NAME = "activity"


def link(exported: Export, folder: Path) -> None:
    """Write a WebAssembly module of the exported object."""
    linker = ["wasm-ld"] if shutil.which("wasm-ld") else [sys.executable, "-P", "-m", "ziglang", "wasm-ld"]
    options = ["--no-entry", "--export-dynamic", "--export=__heap_base"]
    object_file = folder / f"{NAME}.o"
    object_file.write_bytes(exported.files[object_file.name])
    subprocess.run([*linker, *options, object_file, "-o", folder / f"{NAME}.wasm"], check=True)
    object_file.unlink()


def main(folder: Path) -> None:
    """Write the site."""
    folder.mkdir(parents=True, exist_ok=True)
    model, recordings = load_model(), load_recordings()
    exported = export(model, "wasm32", name=NAME)
    link(exported, folder)
    for name in ("index.html", "page.mjs", "model.mjs"):
        shutil.copy(HERE / name, folder)
    data = {
        "sizes": {
            "stateBytes": exported.state_bytes,
            "input": model.inputs[0].size,
            "output": len(recordings.classes),
        },
        "classes": recordings.classes,
        "labels": recordings.labels.tolist(),
        "sampleRate": recordings.sample_rate,
        "recordings": recordings.samples.tolist(),
    }
    (folder / "recordings.json").write_text(json.dumps(data))
    print(f"wrote {folder}: python -m http.server --directory {folder}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
