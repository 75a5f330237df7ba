"""Makes a web page that runs the demo's network on the demo's recordings, in WebAssembly.

    python examples/wasm/build.py build/activity && python -m http.server --directory build/activity

needs `wasm-ld`, from LLVM or PyPI's ziglang.
"""

import json
import shutil
import sys
import tempfile
from pathlib import Path

from link import link

from grurt.demo import load_model, load_recordings
from grurt.native.export import export

HERE = Path(__file__).parent
NAME = "activity"


def main(folder: Path) -> None:
    """Write the site."""
    folder.mkdir(parents=True, exist_ok=True)
    model, recordings = load_model(), load_recordings()
    exported = export(model, "wasm32", name=NAME)
    with tempfile.TemporaryDirectory() as place:
        exported.write(Path(place))
        shutil.copy(Path(place, f"{NAME}.mjs"), folder)
        link(Path(place, f"{NAME}.o"), folder / f"{NAME}.wasm")
    for name in ("index.html", "page.mjs"):
        shutil.copy(HERE / name, folder)
    data = {
        "classes": recordings.classes,
        "labels": recordings.labels.tolist(),
        "sampleRate": recordings.sample_rate,
        "recordings": recordings.samples.tolist(),
    }
    (folder / "recordings.json").write_text(json.dumps(data))
    print(f"wrote {folder}: python -m http.server --directory {folder}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
