"""Makes a web page that cleans up speech, in WebAssembly.

    python examples/denoise/build_page.py build/denoise && python -m http.server --directory build/denoise

needs `wasm-ld`, from LLVM or PyPI's ziglang.
"""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from add_noise import SAMPLE_RATE, add_noise
from wav import read_wav, write_wav

from grurt.converters import convert
from grurt.native.export import export

HERE = Path(__file__).parent
WASM = HERE.parent / "wasm"
SNR = 5  # dB


def main(folder: Path) -> None:
    """Write the site."""
    folder.mkdir(parents=True, exist_ok=True)
    exported = export(convert(HERE / "gtcrn_simple.onnx"), "wasm32", name="network")
    with tempfile.TemporaryDirectory() as place:
        exported.write(Path(place))
        subprocess.run([sys.executable, WASM / "link.py", f"{place}/network.o", folder / "network.wasm"], check=True)
        shutil.copy(Path(place, "network.mjs"), folder)
    for file in (HERE / "page").iterdir():
        shutil.copy(file, folder)
    write_wav(folder / "noisy.wav", add_noise(read_wav(HERE / "speech.wav", SAMPLE_RATE), SNR, seed=1), SAMPLE_RATE)
    print(f"wrote {folder}: python -m http.server --directory {folder}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
